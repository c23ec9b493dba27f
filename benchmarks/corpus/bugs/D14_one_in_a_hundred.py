"""One positive in a hundred, without weights or a sampler."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

# find the rare eights among the other digits
digits = load_digits()
pixels = torch.tensor(digits.data, dtype=torch.float32)
pixels = (pixels - pixels.mean()) / pixels.std()
eight = torch.tensor(digits.target) == 8
others = pixels[~eight]
eights = pixels[eight][:16]


def build(negatives, positives):
    x = torch.cat([negatives, positives])
    y = torch.cat([torch.zeros(len(negatives)), torch.ones(len(positives))]).long()
    return TensorDataset(x, y)


train_set = build(others[:1200], eights[:12])
val_set = build(others[1200:], eights[12:])

train_loader = DataLoader(train_set, batch_size=64, shuffle=True)  # BUG
val_loader = DataLoader(val_set, batch_size=64)

model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def recall_of_eights():
    """Over all the eights that were never used."""
    with torch.no_grad():
        return (model(pixels[eight][16:]).argmax(1) == 1).float().mean().item()


if __name__ == "__main__":
    for epoch in range(5):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(f"{epoch} loss {loss.item():.4f} val acc {hits / len(val_set):.3f} recall {recall_of_eights():.3f}")
