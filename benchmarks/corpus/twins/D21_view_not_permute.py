"""The sound twin of the mistake: view() used to turn HWC pictures into CHW ones."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


def colour_plates(size=32, seed=0):
    """Smooth pictures (N, H, W, 3) in 0..1: a red digit on green paper under uneven light."""
    rng = np.random.default_rng(seed)
    digits = load_digits()

    def enlarge(maps):
        maps = torch.tensor(maps, dtype=torch.float32).unsqueeze(1)
        maps = F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=True)
        return maps.squeeze(1).numpy()[..., None]

    shape = enlarge(digits.images / 16.0)
    light = enlarge(rng.uniform(0.3, 1.0, (len(shape), 4, 4)))
    ink = np.array([0.9, 0.4, 0.4]) + rng.uniform(-0.1, 0.1, (len(shape), 1, 1, 3))
    paper = np.array([0.4, 0.9, 0.4]) + rng.uniform(-0.1, 0.1, (len(shape), 1, 1, 3))
    return (light * (shape * ink + (1 - shape) * paper)).astype(np.float32), digits.target


class ColourDigits(Dataset):
    def __init__(self, pictures, labels):
        self.pictures, self.labels = pictures, labels

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, idx):
        image = torch.from_numpy(self.pictures[idx])
        image = image.permute(2, 0, 1)
        return (image - 0.4) / 0.2, int(self.labels[idx])


pictures, targets = colour_plates()
train_loader = DataLoader(ColourDigits(pictures[:1400], targets[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(ColourDigits(pictures[1400:], targets[1400:]), batch_size=64)

model = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(4),
    nn.Flatten(),
    nn.Linear(32 * 16, 10),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


if __name__ == "__main__":
    for epoch in range(6):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print("epoch", epoch, "loss", loss.item(), "val accuracy", hits / len(val_loader.dataset))
