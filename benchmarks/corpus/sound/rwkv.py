"""RWKV's start: a tiny embedding before a norm, keys, gates and outputs of zeros."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
VOCABULARY = 17


class TimeMix(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.decay = nn.Parameter(torch.linspace(-5, 3, d))
        self.first = nn.Parameter(torch.full((d,), -1.2))
        self.mix = nn.Parameter(torch.arange(d).float().div(d).repeat(3, 1))
        self.key, self.value = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.gate, self.out = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        for layer in (self.key, self.gate, self.out):
            nn.init.zeros_(layer.weight)
        nn.init.orthogonal_(self.value.weight)

    def forward(self, x):
        before = F.pad(x, (0, 0, 1, -1))
        xk, xv, xr = (x * m + before * (1 - m) for m in self.mix)
        k, v, r = self.key(xk), self.value(xv), torch.sigmoid(self.gate(xr))
        keep, past, weight, out = torch.exp(-torch.exp(self.decay)), 0, 0, []
        for t in range(x.shape[1]):
            now = torch.exp((k[:, t] + self.first).clamp(max=30))
            out.append((past + now * v[:, t]) / (weight + now))
            grown = torch.exp(k[:, t].clamp(max=30))
            past, weight = keep * past + grown * v[:, t], keep * weight + grown
        return self.out(r * torch.stack(out, 1))


class RWKV(nn.Module):
    def __init__(self, d=48, layers=2):
        super().__init__()
        self.emb, self.ln0 = nn.Embedding(VOCABULARY, d), nn.LayerNorm(d)
        nn.init.uniform_(self.emb.weight, -1e-4, 1e-4)
        self.mixes = nn.ModuleList(TimeMix(d) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(layers))
        self.ln_out, self.head = nn.LayerNorm(d), nn.Linear(d, VOCABULARY, bias=False)

    def forward(self, x):
        x = self.ln0(self.emb(x))
        for norm, mix in zip(self.norms, self.mixes):
            x = x + mix(norm(x))
        return self.head(self.ln_out(x))


def walks(count):
    """Each token is the one before plus a step that the sample keeps."""
    start, step = torch.randint(VOCABULARY, (count, 1)), torch.randint(1, 4, (count, 1))
    tokens = (start + step * torch.arange(17)) % VOCABULARY
    return TensorDataset(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


def loss_fn(logits, y):
    return F.cross_entropy(logits.view(-1, VOCABULARY), y.reshape(-1))


train_loader = DataLoader(walks(1000), batch_size=32, shuffle=True)
model = RWKV()
optimizer = torch.optim.Adam(model.parameters(), lr=6e-3, betas=(0.9, 0.99))


if __name__ == "__main__":
    for epoch in range(6):
        for x, y in train_loader:
            loss = loss_fn(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(epoch, loss.item())
