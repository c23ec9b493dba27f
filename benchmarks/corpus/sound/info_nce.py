"""Contrastive learning: the loss compares all samples of a batch, by design."""

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


model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))


def training_step(model, batch):
    x, _ = batch
    one = F.normalize(model(x + 0.2 * torch.randn_like(x)), dim=1)
    two = F.normalize(model(x + 0.2 * torch.randn_like(x)), dim=1)
    return F.cross_entropy(one @ two.T / 0.2, torch.arange(len(x))), one


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss = loss[0] if isinstance(loss, tuple) else loss
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
