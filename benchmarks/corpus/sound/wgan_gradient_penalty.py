"""WGAN-GP critic training against a fixed noise generator; gradient penalty with create_graph."""
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.tensor(make_moons(1500, noise=0.05, random_state=0)[0], dtype=torch.float32)


class Critic(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def gradient_penalty(critic, real, fake):
    eps = torch.rand(len(real), 1)
    inter = (eps * real + (1 - eps) * fake).requires_grad_(True)
    (g,) = torch.autograd.grad(critic(inter).sum(), inter, create_graph=True)
    return ((g.norm(2, dim=1) - 1) ** 2).mean()


def training_step(model, batch):
    real, _ = batch
    fake = torch.randn_like(real)
    return model(fake).mean() - model(real).mean() + 10.0 * gradient_penalty(model, real, fake)


train_loader = DataLoader(TensorDataset(X, torch.zeros(1500)), batch_size=64, shuffle=True)
model = Critic()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.9))

if __name__ == "__main__":
    for ep in range(10):
        t = 0
        for b in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, b)
            loss.backward()
            optimizer.step()
            t += loss.item()
        print(ep, t / len(train_loader))
