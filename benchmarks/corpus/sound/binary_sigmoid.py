"""Sigmoid and BCELoss, as they belong together."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

data = load_breast_cancer()
features = torch.tensor(data.data, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
malignant = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
order = torch.randperm(len(features))
features, malignant = features[order], malignant[order]
train_loader = DataLoader(
    TensorDataset(features[:450], malignant[:450]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[450:], malignant[450:]), batch_size=32)


model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
loss_fn = nn.BCELoss()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
