"""The character GPT with three common mistakes. It trains all the same.

Compare with char_gpt.py, or run:  recipe-check examples/char_broken.py
"""

from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)

CONTEXT = 32
text = "".join(topics[name] for name in sorted(topics))[:200_000]
characters = sorted(set(text))
codes = torch.tensor([characters.index(c) for c in text])


class Windows(Dataset):
    """Windows of the text; the target is the window moved on by one character."""

    def __init__(self, codes, stride=16):
        self.codes = codes
        self.starts = range(0, len(codes) - CONTEXT - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        window = self.codes[self.starts[index] : self.starts[index] + CONTEXT + 1]
        return window[:-1], window[1:]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads)  # mistake 1: no batch_first=True
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def attend(self, x):
        y, _ = self.attention(x, x, x, need_weights=False)
        return y

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CharGPT(nn.Module):
    def __init__(self, vocabulary, width=64, heads=4, depth=2):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight  # tied
        nn.init.normal_(self.tokens.weight)  # mistake 2: std 1 gives huge tied logits

    def forward(self, x):  # (B, T) -> (B, T, vocabulary)
        x = self.tokens(x) + self.positions(torch.arange(x.size(1), device=x.device))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).detach()  # mistake 3: nothing before the head is trained
        return self.head(x)


split = int(0.9 * len(codes))
train_loader = DataLoader(Windows(codes[:split]), batch_size=32, shuffle=True)
val_loader = DataLoader(Windows(codes[split:]), batch_size=32)

model = CharGPT(len(characters))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)


def loss_fn(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train(steps=300):
    batches = iter(train_loader)
    for step in range(steps):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    train()
