"""A rare positive class with pos_weight: the initial loss is far from ln 2 (traps initial-loss)."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)

# is it an eight? one in ten
x, y = load_digits(return_X_y=True)
order = rng.permutation(len(x))
x = ((x[order] - x.mean()) / x.std()).astype("float32")
y = (y[order] == 8).astype("float32")
n_train = 1400
positives = y[:n_train].sum()
pos_weight = torch.tensor((n_train - positives) / positives)

train_loader = DataLoader(
    TensorDataset(torch.from_numpy(x[:n_train]), torch.from_numpy(y[:n_train])),
    batch_size=100,
    shuffle=True,
)
val_loader = DataLoader(
    TensorDataset(torch.from_numpy(x[n_train:]), torch.from_numpy(y[n_train:])), batch_size=100
)


class Detector(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, 1)
        )

    def forward(self, x):
        return self.layers(x).squeeze(-1)


model = Detector()
loss_fn = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

if __name__ == "__main__":
    for epoch in range(8):
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss_fn(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            print(epoch, np.mean([loss_fn(model(a), b).item() for a, b in val_loader]))
