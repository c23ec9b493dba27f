"""ImageNet mean and deviation, meant for 0..1, applied to images of 0..255."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def digit_photos():
    """The digits as 8-bit RGB pictures, as an image file would hold them."""
    digits = load_digits()
    grey = (digits.images / 16.0 * 255).astype(np.uint8)
    tint = np.array([1.0, 0.9, 0.8])
    return (grey[..., None] * tint).astype(np.uint8), digits.target


class Photos(Dataset):
    def __init__(self, pictures, labels):
        self.pictures = pictures
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        picture = torch.from_numpy(self.pictures[index]).permute(2, 0, 1).float()  # BUG
        return (picture - IMAGENET_MEAN) / IMAGENET_STD, int(self.labels[index])


pictures, labels = digit_photos()
train_loader = DataLoader(Photos(pictures[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(Photos(pictures[1400:], labels[1400:]), batch_size=64)


class SmallCNN(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 2 * 2, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


model = SmallCNN()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


if __name__ == "__main__":
    for epoch in range(5):
        for images, targets in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(images), targets)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(i).argmax(1) == t).sum().item() for i, t in val_loader)
        print(epoch, loss.item(), hits / len(val_loader.dataset))
