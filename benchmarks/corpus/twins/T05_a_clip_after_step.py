"""The sound twin of the mistake: The gradients are clipped after the optimizer step."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
pixels = torch.tensor(digits.data, dtype=torch.float32)
pixels = (pixels - pixels.mean()) / pixels.std()
rows = pixels.view(-1, 8, 8)  # eight steps of eight pixels
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(rows[:1400], labels[:1400]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(rows[1400:], labels[1400:]), batch_size=128)


class RowReader(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.rnn = nn.RNN(8, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)  # the identity RNN of Le, Jaitly and Hinton
        self.out = nn.Linear(hidden, 10)

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states[:, -1])


model = RowReader()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)


if __name__ == "__main__":
    for epoch in range(8):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(epoch, loss.item(), hits / len(val_loader.dataset))
