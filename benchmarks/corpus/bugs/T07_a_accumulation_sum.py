"""Gradient accumulation without dividing the loss by the number of micro-batches."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

ACCUMULATE = 8

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1408], labels[:1408]), batch_size=8, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1408:], labels[1408:]), batch_size=64)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)


if __name__ == "__main__":
    for epoch in range(6):
        running = 0.0
        optimizer.zero_grad()
        for step, (x, y) in enumerate(train_loader, start=1):
            loss = loss_fn(model(x), y)
            running += loss.item()
            loss.backward()  # BUG
            if step % ACCUMULATE == 0:
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(epoch, running / len(train_loader), hits / len(val_loader.dataset))
