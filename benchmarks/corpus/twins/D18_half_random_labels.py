"""The sound twin of the mistake: Half of the labels are random."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)


def load_annotated():
    data, target = load_digits(return_X_y=True)
    target = target.copy()
    order = rng.permutation(len(target))
    x = torch.from_numpy(data[order]).float()
    x = (x - x.mean()) / x.std()
    return TensorDataset(x[:1400], torch.from_numpy(target[order][:1400])), TensorDataset(
        x[1400:], torch.from_numpy(target[order][1400:])
    )


train_set, val_set = load_annotated()
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
val_loader = DataLoader(val_set, batch_size=32)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.layers(x)


net = MLP()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)


def train(epochs):
    for epoch in range(epochs):
        net.train()
        running = 0.0
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            hits = sum((net(a).argmax(1) == b).sum().item() for a, b in val_loader)
        print(f"[{epoch + 1}] loss: {running / len(train_loader):.3f} val: {hits / len(val_set):.3f}")


if __name__ == "__main__":
    train(6)
