"""ReLU, max pooling, abs and clamp in float32: finite differences cross kinks (traps gradient-check)."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
bunch = load_digits()
# Whole numbers of ink: many equal neighbours, so that the maximum of a window is tied.
images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(bunch.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=397)


class Kinks(nn.Module):
    def __init__(self):
        super().__init__()
        self.edges = nn.Conv2d(1, 12, 3, padding=1)
        self.corners = nn.Conv2d(12, 24, 3, padding=1)
        self.squash = nn.Linear(24 * 4, 48)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        x = F.max_pool2d(self.edges(x).abs(), 2)
        x = F.adaptive_max_pool2d(F.relu(self.corners(x)), 2)
        x = self.squash(x.flatten(1)).clamp(-1, 1)
        return self.head(x)


model = Kinks()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

if __name__ == "__main__":
    for epoch in range(5):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            print(epoch, sum(loss_fn(model(x), y).item() for x, y in val_loader))
