"""The sound twin of the mistake: An ExponentialLR chosen per epoch is stepped inside the batch loop."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

bunch = load_diabetes()
inputs = torch.tensor(StandardScaler().fit_transform(bunch.data), dtype=torch.float32)
targets = torch.tensor(StandardScaler().fit_transform(bunch.target[:, None]), dtype=torch.float32)
train_loader = DataLoader(TensorDataset(inputs[:352], targets[:352]), batch_size=8, shuffle=True)
val_loader = DataLoader(TensorDataset(inputs[352:], targets[352:]), batch_size=90)

model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
scheduler = ExponentialLR(optimizer, gamma=0.8)


def train_one_epoch(model, loader, optimizer, criterion):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


def main(epochs=10):
    for epoch in range(epochs):
        train_loss = train_one_epoch(model, train_loader, optimizer, criterion)
        scheduler.step()
        with torch.no_grad():
            val_loss = sum(criterion(model(x), y).item() for x, y in val_loader) / len(val_loader)
        lr = optimizer.param_groups[0]["lr"]
        print(f"epoch {epoch:02d} lr {lr:.2e} train {train_loss:.4f} val {val_loss:.4f}")


if __name__ == "__main__":
    main()
