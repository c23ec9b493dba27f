"""The sound twin of the mistake: A box loss in pixels beside the class loss: one term dwarfs the other."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
mass = images.clamp_min(0).flatten(1) + 1e-6
rows = torch.arange(8.0).repeat_interleave(8)
centers = torch.stack(((mass * rows).sum(1), (mass * rows.view(8, 8).T.flatten()).sum(1)), 1)
centers = 100 * centers / mass.sum(1, keepdim=True)
train_loader = DataLoader(
    TensorDataset(images[:1400], labels[:1400], centers[:1400]), batch_size=64, shuffle=True
)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(64, 64)
        self.classes, self.box = nn.Linear(64, 10), nn.Linear(64, 2)

    def forward(self, x):
        x = torch.relu(self.body(x.flatten(1)))
        return self.classes(x), self.box(x)


model = Detector()


def training_step(model, batch):
    x, y, center = batch
    scores, found = model(x)
    return F.cross_entropy(scores, y) + F.mse_loss(found, (center - 350) / 100)


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
