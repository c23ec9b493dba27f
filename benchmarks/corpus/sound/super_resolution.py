"""ESPCN super-resolution: pixel shuffle, tanh, L1 on the residual over bicubic."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def texture(seed, side=160):
    """Smooth clouds with fine grain, in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    clouds = torch.rand(1, 1, 20, 20, generator=generator)
    clouds = F.interpolate(clouds, size=(side, side), mode="bicubic", align_corners=False)
    grain = F.avg_pool2d(torch.rand(1, 1, side, side, generator=generator), 3, 1, 1)
    return (0.7 * clouds + 0.6 * (grain - 0.35)).clamp(0, 1)[0]


photos = [texture(0), texture(1)]


class Patches(Dataset):
    def __init__(self, photo, n, size=24, seed=0):
        self.photo, self.n, self.size, self.seed = photo, n, size, seed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(self.seed * 99991 + i)
        y = int(torch.randint(self.photo.shape[1] - self.size, (1,), generator=g))
        x = int(torch.randint(self.photo.shape[2] - self.size, (1,), generator=g))
        hr = self.photo[:, y : y + self.size, x : x + self.size]
        lr = F.avg_pool2d(hr[None], 2)[0]
        return lr, hr


class ESPCN(nn.Module):
    def __init__(self, r=2):
        super().__init__()
        self.r = r
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(16, r * r, 3, padding=1),
            nn.PixelShuffle(r),
        )

    def forward(self, lr):
        up = F.interpolate(lr, scale_factor=self.r, mode="bicubic", align_corners=False)
        return up + self.net(lr - 0.5)


torch.manual_seed(0)
train_loader = DataLoader(Patches(photos[0], 512), batch_size=16, shuffle=True)
val_loader = DataLoader(Patches(photos[1], 64, size=48), batch_size=8)
model = ESPCN()
loss_fn = nn.L1Loss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

if __name__ == "__main__":
    for epoch in range(8):
        model.train()
        for lr, hr in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(lr), hr)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            mse = sum(F.mse_loss(model(a).clamp(0, 1), b).item() for a, b in val_loader) / len(
                val_loader
            )
        print(epoch, loss.item(), -10 * torch.log10(torch.tensor(mse)).item())
