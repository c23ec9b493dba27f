"""The sound twin of the mistake: The weights are initialised again at the start of every epoch."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
rows = torch.tensor(digits.images, dtype=torch.float32)
rows = (rows - rows.mean()) / rows.std()
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(rows[:1400], labels[:1400]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(rows[1400:], labels[1400:]), batch_size=128)


class GRUClassifier(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(input_size=8, hidden_size=hidden, batch_first=True)
        self.classifier = nn.Linear(hidden, 10)

    def forward(self, x):
        _, last = self.gru(x)
        return self.classifier(last[-1])


def init_weights(model):
    for name, parameter in model.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.data.chunk(3):
                nn.init.orthogonal_(gate)
        elif "weight" in name:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)


model = GRUClassifier()
init_weights(model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    running_loss = 0.0
    for sequences, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(sequences), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(loader)


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        correct = sum((model(s).argmax(-1) == t).sum().item() for s, t in loader)
    return correct / len(loader.dataset)


def main():
    for epoch in range(6):
        loss = train_one_epoch(model, train_loader, optimizer, criterion)
        print(f"Epoch {epoch}: loss={loss:.4f}, accuracy={validate(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
