"""SimSiam: a predictor and a stop-gradient, negative cosine, fixed rate for the predictor."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class TwoCrops(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def crop(self, x):
        x = F.pad(x, (1, 1, 1, 1))
        i, j = torch.randint(0, 3, (2,)).tolist()
        return x[:, i : i + 8, j : j + 8] * (0.7 + 0.6 * torch.rand(())) + 0.1 * torch.randn(
            1, 8, 8
        )

    def __getitem__(self, i):
        return [self.crop(self.images[i]), self.crop(self.images[i])], 0


class SimSiam(nn.Module):
    def __init__(self, dim=64, pred=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred, bias=False), nn.BatchNorm1d(pred), nn.ReLU(), nn.Linear(pred, dim)
        )

    def forward(self, x1, x2):
        z1, z2 = self.encoder(x1), self.encoder(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return p1, p2, z1.detach(), z2.detach()


criterion = nn.CosineSimilarity(dim=1)


def training_step(model, batch):
    (x1, x2), _ = batch
    p1, p2, z1, z2 = model(x1, x2)
    return -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5


torch.manual_seed(0)
x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None]
x = (x - x.mean()) / x.std()
train_loader = DataLoader(TwoCrops(x[:1500]), batch_size=128, shuffle=True, drop_last=True)
model = SimSiam()
optimizer = torch.optim.SGD(
    [{"params": model.encoder.parameters()}, {"params": model.predictor.parameters()}],
    lr=0.05,
    momentum=0.9,
    weight_decay=1e-4,
)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)

if __name__ == "__main__":
    for epoch in range(10):
        model.train()
        for batch in train_loader:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(epoch, loss.item())
