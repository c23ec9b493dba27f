"""Vector quantisation with the straight-through trick: a detach on purpose."""

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


class VQ(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.codes = nn.Embedding(32, 16)
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        z = self.encoder(x)
        q = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commit = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return self.decoder(z + (q - z).detach()), commit


def training_step(model, batch):
    x, _ = batch
    decoded, commit = model(x)
    return F.mse_loss(decoded, x) + commit, decoded


model = VQ()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss = loss[0] if isinstance(loss, tuple) else loss
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
