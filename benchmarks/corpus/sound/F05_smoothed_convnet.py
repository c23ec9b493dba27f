"""Label smoothing 0.1 over ten classes: the loss of a perfect fit is 0.5 (traps overfit-one-batch)."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def block(inp, out):
    return [
        nn.Conv2d(inp, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    ]


def make_model():
    return nn.Sequential(
        *block(1, 16),
        *block(16, 16),
        nn.MaxPool2d(2),
        *block(16, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def make_loaders():
    digits = load_digits()
    images = torch.as_tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    images = (images - 0.305) / 0.376
    xa, xb, ya, yb = train_test_split(
        images, torch.as_tensor(digits.target), test_size=0.2, random_state=0
    )
    train = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True)
    return train, DataLoader(TensorDataset(xb, yb), batch_size=128)


train_loader, val_loader = make_loaders()
model = make_model()
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def main(epochs=6):
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [criterion(model(x), y) for x, y in val_loader]
        print(torch.stack(losses).mean().item())


if __name__ == "__main__":
    main()
