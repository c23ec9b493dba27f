"""train() is called once before the epochs and evaluate() leaves the model in eval mode."""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

X, y = load_wine(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
X_train, X_val, y_train, y_val = train_test_split(
    X.astype(np.float32), y, test_size=0.25, stratify=y, random_state=0
)
train_loader = DataLoader(
    TensorDataset(torch.from_numpy(X_train), torch.from_numpy(y_train)), batch_size=16, shuffle=True
)
val_loader = DataLoader(TensorDataset(torch.from_numpy(X_val), torch.from_numpy(y_val)), batch_size=45)


class WineNet(nn.Module):
    def __init__(self, features=13, classes=3):
        super().__init__()
        self.block1 = nn.Sequential(nn.Linear(features, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2))
        self.block2 = nn.Sequential(nn.Linear(48, 24), nn.BatchNorm1d(24), nn.ReLU())
        self.classifier = nn.Linear(24, classes)

    def forward(self, x):
        return self.classifier(self.block2(self.block1(x)))


def train_one_epoch(model, loader, optimizer, criterion):
    losses = []
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def evaluate(model, loader):
    model.eval()  # BUG
    with torch.no_grad():
        return np.mean([(model(xb).argmax(1) == yb).float().mean().item() for xb, yb in loader])


model = WineNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


def main():
    model.train()
    for epoch in range(8):
        loss = train_one_epoch(model, train_loader, optimizer, criterion)
        print(f"epoch {epoch} | loss {loss:.4f} | accuracy {evaluate(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
