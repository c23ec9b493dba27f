"""An LSTM language model whose decoder is its embedding: one tensor, two names (traps weight-init)."""

import argparse
import inspect

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1111)
text = inspect.getsource(argparse)
vocab = {c: i for i, c in enumerate(sorted(set(text)))}
ids = torch.tensor([vocab[c] for c in text])
BPTT = 32
chunks = ids[: (len(ids) - 1) // (BPTT + 1) * (BPTT + 1)].view(-1, BPTT + 1)
chunks = chunks[torch.randperm(len(chunks))]
split = int(0.9 * len(chunks))


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp=64):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, ninp, batch_first=True)
        self.decoder = nn.Linear(ninp, ntoken)
        self.decoder.weight = self.encoder.weight
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens):
        output, _ = self.rnn(self.encoder(tokens))
        return self.decoder(output)  # (B, T, V)


def criterion(logits, targets):
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets)


def loader(rows, shuffle):
    return DataLoader(TensorDataset(rows[:, :-1], rows[:, 1:]), batch_size=20, shuffle=shuffle)


train_loader = loader(chunks[:split], True)
val_loader = loader(chunks[split:], False)
model = RNNModel(len(vocab))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

if __name__ == "__main__":
    for epoch in range(2):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
        with torch.no_grad():
            val = torch.stack([criterion(model(x), y) for x, y in val_loader]).mean()
        print(epoch, val.item())
