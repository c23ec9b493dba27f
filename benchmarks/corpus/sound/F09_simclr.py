"""SimCLR with NT-Xent: every sample's loss depends on its whole batch, by design (traps batch-dependency)."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

digits = load_digits().images.astype("float32") / 8.0 - 1.0


class TwoViews(Dataset):
    """Two shifted and noisy copies of each digit."""

    def __init__(self, images):
        self.images = torch.from_numpy(images).unsqueeze(1)

    def __len__(self):
        return len(self.images)

    def view(self, image):
        shift = torch.randint(-1, 2, (2,)).tolist()
        return image.roll(shift, dims=(1, 2)) + 0.1 * torch.randn_like(image)

    def __getitem__(self, index):
        image = self.images[index]
        return self.view(image), self.view(image)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, 64),
        )
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return F.normalize(self.projector(self.features(x)), dim=1)


def nt_xent(a, b, temperature=0.5):
    z = torch.cat([a, b])
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    n = len(a)
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, partner)


def training_step(model, batch):
    first, second = batch
    return nt_xent(model(first), model(second))


torch.manual_seed(0)
train_loader = DataLoader(TwoViews(digits[:1400]), batch_size=64, shuffle=True, drop_last=True)
val_loader = DataLoader(TwoViews(digits[1400:]), batch_size=64, drop_last=True)
model = Encoder()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

if __name__ == "__main__":
    for epoch in range(5):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
