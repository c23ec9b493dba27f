"""The sound twin of the mistake: The gradients are cleared once per epoch instead of at every step."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)

data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32)
x = (x - x.mean(dim=0)) / x.std(dim=0)
y = torch.tensor(data.target, dtype=torch.float32)
train_set, val_set = random_split(TensorDataset(x, y), [455, 114])
train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
val_loader = DataLoader(val_set, batch_size=64)


class TumourNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.hidden = nn.Linear(30, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x))).squeeze(1)


model = TumourNet()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(targets)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = sum(((model(inputs) > 0).float() == targets).sum().item() for inputs, targets in loader)
    return correct / len(loader.dataset)


def main():
    for epoch in range(10):
        loss = train_one_epoch(model, train_loader, optimizer, criterion)
        print(f"{epoch:2d}  loss {loss:.4f}  val {evaluate(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
