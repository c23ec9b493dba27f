"""The sound twin of the mistake: The accuracy takes the argmax over the batch axis instead of over the classes."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=10, shuffle=True, drop_last=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=10, drop_last=True)


class DigitMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 48)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def accuracy(outputs, targets):
    return (torch.argmax(outputs, 1) == targets).float().mean().item()


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    losses, accuracies = [], []
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        accuracies.append(accuracy(outputs, targets))
    return sum(losses) / len(losses), sum(accuracies) / len(accuracies)


model = DigitMLP()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)


def main():
    for epoch in range(5):
        loss, train_accuracy = train_one_epoch(model, train_loader, optimizer, criterion)
        model.eval()
        with torch.no_grad():
            scores = [accuracy(model(inputs), targets) for inputs, targets in val_loader]
        val_accuracy = sum(scores) / len(scores)
        print(f"{epoch} loss {loss:.3f} accuracy {train_accuracy:.3f} val {val_accuracy:.3f}")


if __name__ == "__main__":
    main()
