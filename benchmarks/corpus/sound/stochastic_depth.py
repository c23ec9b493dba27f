"""Residual blocks that are dropped at random in training."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=64)


class Dropped(nn.Module):
    def __init__(self, width, survive):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.survive = survive

    def forward(self, x):
        if not self.training:
            return x + self.survive * self.body(x)
        kept = (torch.rand(x.size(0), 1, 1, 1, device=x.device) < self.survive).float()
        return x + kept * self.body(x)


model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    Dropped(16, 0.9),
    nn.MaxPool2d(2),
    Dropped(16, 0.8),
    nn.Flatten(),
    nn.Linear(16 * 16, 10),
)


loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
