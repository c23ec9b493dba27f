"""One-hot characters: most inputs are zero, honestly."""

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


onehot = F.one_hot(windows[:, :8], len(characters)).float().flatten(1)
target = (windows[:, 8] == characters.index(" ")).float().unsqueeze(1)
train_loader = DataLoader(TensorDataset(onehot[:2000], target[:2000]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(onehot[2000:], target[2000:]), batch_size=64)
model = nn.Sequential(nn.Linear(onehot.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(4.0))


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
