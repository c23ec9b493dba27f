"""Cosine annealing with warm restarts: the rate rises again on purpose (traps lr-schedule)."""

import torch
from sklearn.datasets import load_wine
from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
EPOCHS = 14

wine = load_wine()
features = torch.tensor(wine.data, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
cultivar = torch.tensor(wine.target)
shuffled = torch.randperm(len(features))
train_idx, val_idx = shuffled[:130], shuffled[130:]

train_loader = DataLoader(
    TensorDataset(features[train_idx], cultivar[train_idx]), batch_size=13, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[val_idx], cultivar[val_idx]), batch_size=48)

model = nn.Sequential(
    nn.Linear(13, 32),
    nn.ELU(),
    nn.Linear(32, 32),
    nn.ELU(),
    nn.Linear(32, 3),
)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2, eta_min=1e-4)

if __name__ == "__main__":
    steps = len(train_loader)
    for epoch in range(EPOCHS):
        for i, (x, y) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step(epoch + i / steps)
        x, y = next(iter(val_loader))
        print(epoch, optimizer.param_groups[0]["lr"], (model(x).argmax(1) == y).float().mean())
