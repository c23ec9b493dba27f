"""The discriminator's step of a GAN: the generator is detached, and held by another optimizer."""

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


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))
        self.discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        fake = self.generator(torch.randn(len(x), 8)).detach()
        return self.discriminator(x), self.discriminator(fake)


def training_step(model, batch):
    real, fake = model(batch[0])
    loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return loss + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)), real


model = GAN()
optimizer_generator = torch.optim.Adam(model.generator.parameters(), lr=1e-4)


optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=1e-4)


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss = loss[0] if isinstance(loss, tuple) else loss
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
