"""Micro-batches accumulated with the full loss each."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)

MICRO_BATCHES = 4

digits = load_digits()
pixels = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
pixels = (pixels - 0.3) / 0.38
dataset = TensorDataset(pixels, torch.tensor(digits.target))
train_set, val_set = random_split(dataset, [1440, 357])
train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
val_loader = DataLoader(val_set, batch_size=64)


class Net(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.fc = nn.Linear(2 * channels * 16, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(torch.flatten(x, 1))


model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    optimizer.zero_grad()
    total = 0.0
    for i, (images, targets) in enumerate(loader):
        loss = criterion(model(images), targets)
        total += loss.item()
        loss.backward()  # BUG
        if (i + 1) % MICRO_BATCHES == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return total / len(loader)


def main():
    for epoch in range(5):
        train_loss = train_one_epoch(model, train_loader, optimizer, criterion)
        model.eval()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(f"epoch {epoch + 1}/5  train loss {train_loss:.4f}  val accuracy {hits / len(val_set):.3f}")


if __name__ == "__main__":
    main()
