"""A margin head scaled by 30: the initial loss lies far above ln C."""

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


class ArcFace(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, 64), nn.BatchNorm1d(64), nn.PReLU(), nn.Linear(64, 32)
        )
        self.centres = nn.Parameter(torch.randn(10, 32))

    def forward(self, x):
        return F.normalize(self.body(x), dim=1) @ F.normalize(self.centres, dim=1).T


def loss_fn(cosine, y):
    margin = 0.2 * F.one_hot(y, 10)
    return F.cross_entropy(30.0 * (cosine - margin), y)


model = ArcFace()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
