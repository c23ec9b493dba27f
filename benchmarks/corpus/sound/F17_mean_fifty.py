"""Regression of targets around 50 with the last bias set to their mean (traps initial-loss)."""

import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
X, y = make_friedman1(n_samples=1200, n_features=8, noise=0.5, random_state=3)
X = torch.tensor((X - 0.5) / 0.29, dtype=torch.float32)
y = torch.tensor(y + 36, dtype=torch.float32)  # degrees, about 50 on average

train_dl = DataLoader(TensorDataset(X[:1000], y[:1000]), batch_size=32, shuffle=True)
valid_dl = DataLoader(TensorDataset(X[1000:], y[1000:]), batch_size=200)


class Thermometer(nn.Module):
    def __init__(self, mean: float):
        super().__init__()
        self.hidden1 = nn.Linear(8, 64)
        self.hidden2 = nn.Linear(64, 64)
        self.out = nn.Linear(64, 1)
        with torch.no_grad():
            self.out.bias.fill_(mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.hidden1(x))
        x = torch.tanh(self.hidden2(x))
        return self.out(x)[:, 0]


model = Thermometer(y[:1000].mean().item())
loss_func = nn.MSELoss()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)


def fit(epochs):
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            loss_func(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()
        model.eval()
        with torch.no_grad():
            print(epoch, sum(loss_func(model(xb), yb) for xb, yb in valid_dl).item())


if __name__ == "__main__":
    fit(10)
