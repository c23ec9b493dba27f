"""A bidirectional masked language model: only a sixth of the positions has a label."""

from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

text = "".join(topics[name] for name in sorted(topics))[:60_000]
characters = sorted(set(text))
codes = torch.tensor([characters.index(c) for c in text])
windows = codes[: len(codes) // 25 * 25].view(-1, 25)
windows = windows[torch.randperm(len(windows))]
train_loader = DataLoader(
    TensorDataset(windows[:2000, :-1], windows[:2000, 1:]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(windows[2000:, :-1], windows[2000:, 1:]), batch_size=32)


class Bert(nn.Module):
    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary + 1, width)
        self.positions = nn.Embedding(25, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        return self.head(self.encoder(self.tokens(x) + self.positions(torch.arange(x.size(1)))))


mask = torch.rand(windows.shape) < 0.15
inputs = windows.masked_fill(mask, len(characters))
targets = windows.masked_fill(~mask, -100)
train_loader = DataLoader(TensorDataset(inputs[:2000], targets[:2000]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(inputs[2000:], targets[2000:]), batch_size=32)
model = Bert(len(characters))


def loss_fn(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
