"""The encoder is frozen in __init__, and train() makes all of it trainable again."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
X = torch.tensor(digits.data, dtype=torch.float32)
X = (X - X.mean()) / X.std()
Y = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(X[:1400], Y[:1400]), batch_size=50, shuffle=True)
val_loader = DataLoader(TensorDataset(X[1400:], Y[1400:]), batch_size=50)


def pretrained_encoder():
    """The principal components of the digits, as a checkpoint would hold them."""
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    components = torch.pca_lowrank(X, q=16)[2]
    with torch.no_grad():
        encoder[0].weight.copy_(torch.cat((components.T, -components.T)))
    return encoder


class FrozenEncoderClassifier(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
        self.encoder.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        for parameter in self.parameters():
            parameter.requires_grad = mode  # BUG
        return self

    def forward(self, x):
        return self.classifier(self.encoder(x))


net = FrozenEncoderClassifier(pretrained_encoder())
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main():
    before = net.encoder[0].weight.detach().clone()
    for epoch in range(6):
        loss = train_one_epoch(net, train_loader, optimizer, criterion)
        net.eval()
        with torch.no_grad():
            hits = sum((net(x).argmax(1) == y).sum().item() for x, y in val_loader)
            moved = (net.encoder[0].weight - before).norm().item()
        print(f"{epoch} loss {loss:.3f} accuracy {hits / len(Y[1400:]):.3f} encoder moved {moved:.4f}")


if __name__ == "__main__":
    main()
