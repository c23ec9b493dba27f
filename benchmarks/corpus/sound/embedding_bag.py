"""Sparse gradients of an embedding bag."""

from pydoc_data.topics import topics

import torch
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


vowels = torch.tensor([c in "aeiou" for c in characters])
target = (vowels[windows].float().mean(1) > 0.28).long()
train_loader = DataLoader(TensorDataset(windows[:2000], target[:2000]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(windows[2000:], target[2000:]), batch_size=32)
model = nn.Sequential(nn.EmbeddingBag(len(characters), 16, sparse=True), nn.Linear(16, 2))


loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
