"""A ReZero network with a zero head: at step 0 only the head has a gradient (traps gradient-norms)."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
pixels, labels = load_digits(return_X_y=True)
pixels = torch.tensor(pixels, dtype=torch.float32) / 8 - 1
labels = torch.tensor(labels)
trainset = TensorDataset(pixels[:1300], labels[:1300])
valset = TensorDataset(pixels[1300:], labels[1300:])
trainloader = DataLoader(trainset, batch_size=50, shuffle=True)
valloader = DataLoader(valset, batch_size=100)


class ReZeroBlock(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.up = nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)
        self.alpha = nn.Parameter(torch.zeros(1))  # the branch is off at the start

    def forward(self, x):
        return x + self.alpha * self.down(F.gelu(self.up(x)))


class ReZeroNet(nn.Module):
    def __init__(self, dim: int = 64, depth: int = 6):
        super().__init__()
        self.stem = nn.Linear(64, dim)
        self.blocks = nn.Sequential(*[ReZeroBlock(dim) for _ in range(depth)])
        self.head = nn.Linear(dim, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


net = ReZeroNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)


def evaluate():
    net.eval()
    with torch.no_grad():
        right = sum((net(x).argmax(1) == y).sum().item() for x, y in valloader)
    net.train()
    return right / len(valset)


if __name__ == "__main__":
    for epoch in range(5):
        for x, y in trainloader:
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {evaluate():.3f}")
