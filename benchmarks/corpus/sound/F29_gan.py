"""A GAN: two optimizers with half of the parameters each, and a game, not a descent (traps optimizer-coverage, overfit-one-batch)."""

import torch
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader

torch.manual_seed(0)
points, _ = make_moons(4000, noise=0.05, random_state=0)
points = torch.tensor(points, dtype=torch.float32)
points = (points - points.mean(0)) / points.std(0)
train_loader = DataLoader(points[:3600], batch_size=128, shuffle=True, drop_last=True)
val_loader = DataLoader(points[3600:], batch_size=200)
NOISE = 4


class GAN(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(NOISE, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 2),
        )
        self.discriminator = nn.Sequential(
            nn.Linear(2, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, x):
        return self.discriminator(x)


def training_step(model, batch):
    """Both players at once: each loss reaches only its own player's parameters."""
    fake = model.generator(torch.randn(len(batch), NOISE))
    real_score, fake_score = model(batch), model(fake.detach())
    d_loss = F.softplus(-real_score).mean() + F.softplus(fake_score).mean()
    fixed = {k: p.detach() for k, p in model.discriminator.named_parameters()}
    g_loss = F.softplus(-functional_call(model.discriminator, fixed, (fake,))).mean()
    return d_loss + g_loss, real_score


model = GAN()
optimizer_d = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
optimizer_g = torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.9))


def distance(samples=400):
    """Energy distance between generated and held-out points; 0 for the same distribution."""
    with torch.no_grad():
        a, b = model.generator(torch.randn(samples, NOISE)), points[3600:]
        between = torch.cdist(a, b).mean()
        return (2 * between - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


if __name__ == "__main__":
    print("start", distance())
    for epoch in range(40):
        for batch in train_loader:
            optimizer_d.zero_grad()
            optimizer_g.zero_grad()
            loss, _ = training_step(model, batch)
            loss.backward()
            optimizer_d.step()
            optimizer_g.step()
        if epoch % 5 == 4:
            print(epoch, loss.item(), distance())
