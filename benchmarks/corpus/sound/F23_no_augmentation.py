"""A map-style data set without augmentation: the same index gives the same item (traps loader-determinism)."""

from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class DigitFolder(Dataset):
    """Keeps images as they are and normalises each when it is fetched."""

    mean, std = 4.884, 6.017

    def __init__(self, split="train", path: Path | None = None):
        bunch = datasets.load_digits()
        keep = np.arange(len(bunch.target)) % 5 != 0
        if split != "train":
            keep = ~keep
        self.images, self.targets = bunch.images[keep], bunch.target[keep]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, idx):
        image = (self.images[idx] - self.mean) / self.std
        return torch.from_numpy(image).float().unsqueeze(0), int(self.targets[idx])


train_dataloader = DataLoader(DigitFolder("train"), batch_size=64, shuffle=True, num_workers=0)
test_dataloader = DataLoader(DigitFolder("test"), batch_size=64)


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(8 * 8, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, x):
        x = self.flatten(x)
        logits = self.linear_relu_stack(x)
        return logits


model = NeuralNetwork()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train_loop(dataloader, model, loss_fn, optimizer):
    model.train()
    for X, y in dataloader:
        loss = loss_fn(model(X), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_loop(dataloader, model, loss_fn):
    model.eval()
    with torch.no_grad():
        correct = sum((model(X).argmax(1) == y).sum().item() for X, y in dataloader)
    print(f"Accuracy: {100 * correct / len(dataloader.dataset):.1f}%")


if __name__ == "__main__":
    for t in range(8):
        train_loop(train_dataloader, model, loss_fn, optimizer)
        test_loop(test_dataloader, model, loss_fn)
