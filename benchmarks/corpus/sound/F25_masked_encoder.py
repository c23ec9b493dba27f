"""A BERT-like encoder on masked characters: looking ahead is right here (traps time-dependency)."""

import textwrap
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    length: int = 32
    width: int = 64
    heads: int = 4
    layers: int = 2
    mask_share: float = 0.2


cfg = Config()
torch.manual_seed(0)
with open(textwrap.__file__) as source, open(torch.__file__) as more:
    text = (source.read() + more.read())[:70_000]
chars = sorted(set(text))
MASK = len(chars)
tokens = torch.tensor([chars.index(c) for c in text])
rows = tokens[: len(tokens) // cfg.length * cfg.length].view(-1, cfg.length)
rows = rows[torch.randperm(len(rows))]


class Encoder(nn.Module):
    def __init__(self, vocabulary, cfg):
        super().__init__()
        self.token = nn.Embedding(vocabulary, cfg.width)
        self.place = nn.Embedding(cfg.length, cfg.width)
        layer = nn.TransformerEncoderLayer(
            cfg.width, cfg.heads, 2 * cfg.width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, cfg.layers, nn.LayerNorm(cfg.width), False)
        self.to_logits = nn.Linear(cfg.width, vocabulary)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, ids):
        x = self.token(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        return self.to_logits(self.layers(x))


def training_step(model, batch):
    """Masks other characters at every step; only masked places count."""
    (ids,) = batch
    hidden = torch.rand(ids.shape, device=ids.device) < cfg.mask_share
    logits = model(ids.masked_fill(hidden, MASK))
    labels = ids.masked_fill(~hidden, -100)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    return {"loss": loss, "logits": logits}


cut = int(0.9 * len(rows))
train_loader = DataLoader(TensorDataset(rows[:cut]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(rows[cut:]), batch_size=32)
model = Encoder(len(chars) + 1, cfg)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)

if __name__ == "__main__":
    for epoch in range(6):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)["loss"]
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            print(epoch, sum(training_step(model, b)["loss"] for b in val_loader) / len(val_loader))
        model.train()
