"""An augmentation whose noise is far above the signal."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)

NOISE = 10.0  # BUG


class DigitSet(Dataset):
    """Standardised digits; the training part gets fresh noise at every read."""

    def __init__(self, start, stop, augment):
        digits = load_digits()
        pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
        self.images = ((pixels - pixels.mean()) / pixels.std())[start:stop]
        self.labels = torch.tensor(digits.target)[start:stop]
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            image = image + NOISE * torch.randn_like(image)
        return image, self.labels[i]


train_loader = DataLoader(DigitSet(0, 1400, augment=True), batch_size=50, shuffle=True)
val_loader = DataLoader(DigitSet(1400, 1797, augment=False), batch_size=50)

model = nn.Sequential(
    nn.Conv2d(1, 16, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def accuracy(loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    for epoch in range(6):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"{epoch} loss={loss.item():.3f} val={accuracy(val_loader):.3f}")
