"""Deep evidential regression on diabetes (normal-inverse-gamma outputs)."""

import math

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

raw = load_diabetes()
x = torch.tensor(StandardScaler().fit_transform(raw.data), dtype=torch.float32)
y = torch.tensor(StandardScaler().fit_transform(raw.target[:, None]), dtype=torch.float32)
perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, test = perm[:350], perm[350:]
train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(x[test], y[test]), batch_size=92)


class Evidential(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 4)

    def forward(self, x):
        gamma, v, alpha, beta = self.out(self.body(x)).split(1, dim=-1)
        return gamma, F.softplus(v) + 1e-6, F.softplus(alpha) + 1 + 1e-6, F.softplus(beta) + 1e-6


class EvidentialLoss(nn.Module):
    def __init__(self, coeff=0.01):
        super().__init__()
        self.coeff = coeff

    def forward(self, out, y):
        gamma, v, alpha, beta = out
        omega = 2 * beta * (1 + v)
        nll = (
            0.5 * torch.log(math.pi / v)
            - alpha * torch.log(omega)
            + (alpha + 0.5) * torch.log(v * (y - gamma) ** 2 + omega)
        )
        nll = nll + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)
        reg = (y - gamma).abs() * (2 * v + alpha)
        return (nll + self.coeff * reg).mean()


torch.manual_seed(0)
model = Evidential()
criterion = EvidentialLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

if __name__ == "__main__":
    for epoch in range(40):
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        if epoch % 10 == 9:
            with torch.no_grad():
                print(epoch, loss.item(), *(criterion(model(a), b).item() for a, b in val_loader))
