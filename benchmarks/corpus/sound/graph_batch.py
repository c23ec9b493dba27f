"""Graphs as one large graph with a batch vector: rows are nodes, not samples."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = ((images - images.mean()) / images.std()).flatten(1)
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=64)


class Graphs(torch.utils.data.IterableDataset):
    def __init__(self, low, high):
        self.low, self.high = low, high

    def __iter__(self):
        for start in range(self.low, self.high - 32, 32):
            chosen = images[start : start + 32]
            nodes = chosen.reshape(-1, 8)
            batch = torch.arange(32).repeat_interleave(8)
            yield (nodes, batch), labels[start : start + 32]


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.node = nn.Sequential(nn.Linear(16, 64), nn.ReLU())
        self.head = nn.Linear(64 * 8, 10)

    def forward(self, nodes, batch):
        total = torch.zeros(int(batch.max()) + 1, 8, dtype=nodes.dtype).index_add(0, batch, nodes)
        h = self.node(torch.cat([nodes, total[batch] / 8], dim=1))
        return self.head(h.view(-1, 64 * 8))


train_loader = DataLoader(Graphs(0, 1400), batch_size=None)
val_loader = DataLoader(Graphs(1400, 1797), batch_size=None)
model = GraphNet()


loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for (nodes, batch), y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(nodes, batch), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
