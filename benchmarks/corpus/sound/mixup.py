"""Mixup in the training step: soft labels."""

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


model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def training_step(model, batch):
    x, y = batch
    share = torch.distributions.Beta(0.4, 0.4).sample((len(x), 1))
    order = torch.randperm(len(x))
    soft = F.one_hot(y, 10).float()
    out = model(share * x + (1 - share) * x[order])
    return F.cross_entropy(out, share * soft + (1 - share) * soft[order]), out


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
