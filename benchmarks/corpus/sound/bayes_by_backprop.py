"""Bayes by backprop: Gaussian weights, local sampling, KL over the number of training samples."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class BayesLinear(nn.Module):
    def __init__(self, i, o, prior=0.3):
        super().__init__()
        self.mu = nn.Parameter(torch.empty(o, i).normal_(0, 1 / math.sqrt(i)))
        self.rho = nn.Parameter(torch.full((o, i), -5.0))
        self.bias = nn.Parameter(torch.zeros(o))
        self.prior = prior

    def forward(self, x):
        sigma = F.softplus(self.rho)
        w = self.mu + sigma * torch.randn_like(sigma) if self.training else self.mu
        return F.linear(x, w, self.bias)

    def kl(self):
        sigma = F.softplus(self.rho)
        return (
            math.log(self.prior) - sigma.log() + (sigma**2 + self.mu**2) / (2 * self.prior**2) - 0.5
        ).sum()


class BayesNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = BayesLinear(64, 64), BayesLinear(64, 10)

    def forward(self, x):
        return self.l2(F.relu(self.l1(x)))

    def kl(self):
        return self.l1.kl() + self.l2.kl()


torch.manual_seed(0)
d = load_digits()
x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=64)
model = BayesNet()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def training_step(model, batch):
    x, y = batch
    logits = model(x)
    nll = F.cross_entropy(logits, y)
    return nll + 0.1 * model.kl() / 1400, logits


if __name__ == "__main__":
    for epoch in range(15):
        model.train()
        for batch in train_loader:
            optimizer.zero_grad()
            loss, logits = training_step(model, batch)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item(), F.cross_entropy(logits, batch[1]).item())
