"""Word embeddings with padding_idx and rows no batch uses: zero gradient rows (traps gradient-norms)."""

import re
import unicodedata

import torch
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)

# From the name of a character to its general category: "GREEK SMALL LETTER PI" is Ll.
CATEGORIES = ["Lu", "Ll", "Lo", "So", "Mn"]
samples = []
for code in range(0x20, 0x3000):
    char = chr(code)
    name, category = unicodedata.name(char, ""), unicodedata.category(char)
    if name and category in CATEGORIES:
        samples.append((re.findall(r"[A-Z]+", name), CATEGORIES.index(category)))
words = sorted({w for tokens, _ in samples for w in tokens})
index = {w: i + 1 for i, w in enumerate(words)}  # 0 pads
order = torch.randperm(len(samples)).tolist()
samples = [samples[i] for i in order]


def collate(batch):
    longest = max(len(tokens) for tokens, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, (tokens, _) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor([index[t] for t in tokens])
    return ids, torch.tensor([label for _, label in batch])


class MeanOfWords(nn.Module):
    def __init__(self, n_words, n_classes, dim=32):
        super().__init__()
        self.embedding = nn.Embedding(n_words + 1, dim, padding_idx=0)
        self.classify = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, n_classes))

    def forward(self, ids):
        present = (ids != 0).unsqueeze(-1)
        mean = self.embedding(ids).sum(1) / present.sum(1).clamp(min=1)
        return self.classify(mean)


cut = len(samples) * 4 // 5
train_loader = DataLoader(samples[:cut], batch_size=64, shuffle=True, collate_fn=collate)
val_loader = DataLoader(samples[cut:], batch_size=256, collate_fn=collate)
model = MeanOfWords(len(words), len(CATEGORIES))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

if __name__ == "__main__":
    for epoch in range(3):
        for ids, labels in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(ids), labels)
            loss.backward()
            optimizer.step()
        hits = [(model(ids).argmax(1) == labels).float().mean() for ids, labels in val_loader]
        print(epoch, torch.stack(hits).mean().item())
