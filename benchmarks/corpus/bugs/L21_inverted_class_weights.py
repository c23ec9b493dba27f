"""Class weights proportional to the class frequency instead of to its inverse."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)

digits = load_digits()
# digits 5-9 are rare: one in eight of them was collected
keep = (digits.target < 5) | (rng.random(len(digits.target)) < 0.125)
order = rng.permutation(np.flatnonzero(keep))
X = torch.tensor(digits.data[order] / 16.0, dtype=torch.float32)
X = (X - 0.3) / 0.38
Y = torch.tensor(digits.target[order])
n_train = int(0.8 * len(Y))

train_loader = DataLoader(TensorDataset(X[:n_train], Y[:n_train]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(X[n_train:], Y[n_train:]), batch_size=64)

counts = torch.bincount(Y[:n_train], minlength=10).float()
class_weights = 10 * counts / counts.sum()  # BUG

net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
criterion = nn.CrossEntropyLoss(weight=class_weights)
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)


def balanced_accuracy():
    net.eval()
    with torch.no_grad():
        predicted = torch.cat([net(x).argmax(1) for x, _ in val_loader])
    truth = torch.cat([y for _, y in val_loader])
    net.train()
    return np.mean([(predicted[truth == c] == c).float().mean().item() for c in truth.unique()])


if __name__ == "__main__":
    for epoch in range(6):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, round(loss.item(), 4), "balanced accuracy", round(balanced_accuracy(), 3))
