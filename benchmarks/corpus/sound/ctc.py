"""Connectionist temporal classification on the columns of digit pairs."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=64)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 48, bidirectional=True, batch_first=True)
        self.head = nn.Linear(96, 11)

    def forward(self, x):
        return self.head(self.rnn(x.squeeze(1).transpose(1, 2))[0]).log_softmax(-1)


def training_step(model, batch):
    x, y = batch
    out = model(x).transpose(0, 1)
    lengths = torch.full((x.size(0),), out.size(0))
    return F.ctc_loss(out, y.unsqueeze(1) + 1, lengths, torch.ones_like(lengths)), out


model = Reader()


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
