"""Sharpness-aware minimisation: a wrapper optimizer with two steps a batch."""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    def held(self):
        return [p for g in self.param_groups for p in g["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self):
        norm = torch.stack([p.grad.norm() for p in self.held()]).norm()
        for p in self.held():
            self.state[p]["old_p"] = p.clone()
            p.add_(p.grad, alpha=float(self.param_groups[0]["rho"] / (norm + 1e-12)))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p in self.held():
            p.copy_(self.state[p]["old_p"])
        self.base_optimizer.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "SAM looks at the loss twice: give a closure"
        self.first_step()
        torch.enable_grad()(closure)()
        self.second_step()


torch.manual_seed(0)
d = load_digits()
x = torch.tensor(d.images[:, None], dtype=torch.float32) / 8 - 1
y = torch.tensor(d.target)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), 64, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), 64)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(512, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9)

if __name__ == "__main__":
    for epoch in range(5):
        for a, b in train_loader:
            loss = criterion(model(a), b)
            loss.backward()
            optimizer.first_step()
            criterion(model(a), b).backward()
            optimizer.second_step()
        print(epoch, loss.item())
