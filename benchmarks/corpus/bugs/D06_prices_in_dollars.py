"""Regression targets around 200,000, as they are."""

import torch
from sklearn.datasets import make_regression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

rooms, prices = make_regression(800, 6, n_informative=6, noise=5.0, random_state=0)
rooms = torch.tensor(rooms, dtype=torch.float32)
prices = 200_000 + 300 * torch.tensor(prices, dtype=torch.float32).unsqueeze(1)  # BUG
train_loader = DataLoader(TensorDataset(rooms[:640], prices[:640]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(rooms[640:], prices[640:]), batch_size=32)

model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
