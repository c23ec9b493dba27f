"""Two heads and learned uncertainty weights in the loss: it may go below zero."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = ((images - images.mean()) / images.std()).flatten(1)
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=64)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.digit, self.ink = nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, x):
        h = self.body(x)
        return {"digit": self.digit(h), "ink": self.ink(h).squeeze(1)}


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, out, target):
        losses = torch.stack(
            [F.cross_entropy(out["digit"], target["digit"]), F.mse_loss(out["ink"], target["ink"])]
        )
        return (losses * (-self.log_variance).exp() + self.log_variance).sum()


class Pairs(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], {"digit": self.y[i], "ink": self.x[i].mean()}


train_loader = DataLoader(Pairs(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(Pairs(images[1400:], labels[1400:]), batch_size=64)
model, loss_fn = TwoHeads(), Weighted()
optimizer = torch.optim.Adam([*model.parameters(), *loss_fn.parameters()], lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
