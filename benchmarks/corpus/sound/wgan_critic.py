"""A Wasserstein critic with a gradient penalty: no lower bound."""

import torch
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


model = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def training_step(model, batch):
    x, _ = batch
    fake = torch.randn_like(x)
    mixed = (0.5 * x + 0.5 * fake).requires_grad_(True)
    slope = torch.autograd.grad(model(mixed).sum(), mixed, create_graph=True)[0].norm(dim=1)
    return model(fake).mean() - model(x).mean() + 10 * ((slope - 1) ** 2).mean()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.0, 0.9))


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss = loss[0] if isinstance(loss, tuple) else loss
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
