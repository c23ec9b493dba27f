"""GraphSAGE link prediction: one full graph a batch, negatives drawn in the step."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

g = torch.Generator().manual_seed(0)
N, BLOCKS = 150, 3
block = torch.arange(N) % BLOCKS
prob = torch.where(block[:, None] == block[None], 0.15, 0.01)
upper = torch.triu(torch.rand(N, N, generator=g) < prob, 1)
edges = upper.nonzero().T
edges = edges[:, torch.randperm(edges.shape[1], generator=g)]
held = edges.shape[1] // 10
train_edges, val_edges = edges[:, held:], edges[:, :held]
apart = torch.triu(~upper, 1).nonzero().T
features = torch.eye(N)


class SAGE(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.me, self.neigh = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, x, e):
        both = torch.cat([e, e.flip(0)], 1)
        total = torch.zeros_like(x).index_add_(0, both[1], x[both[0]])
        degree = torch.zeros(len(x)).index_add_(0, both[1], torch.ones(both.shape[1])).clamp(min=1)
        return self.me(x) + self.neigh(total / degree[:, None])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = SAGE(N, 32), SAGE(32, 16)

    def forward(self, x, e):
        return self.b(F.dropout(F.relu(self.a(x, e)), 0.3, self.training), e)


def training_step(model, batch):
    x, e = batch
    z = model(x, e)
    neg = apart[:, torch.randint(0, apart.shape[1], (e.shape[1],))]
    pos_score, neg_score = (z[e[0]] * z[e[1]]).sum(-1), (z[neg[0]] * z[neg[1]]).sum(-1)
    logits = torch.cat([pos_score, neg_score])
    target = torch.cat([torch.ones_like(pos_score), torch.zeros_like(neg_score)])
    return F.binary_cross_entropy_with_logits(logits, target)


torch.manual_seed(0)
train_loader = DataLoader([(features, train_edges)], batch_size=None)
val_loader = DataLoader([(features, val_edges)], batch_size=None)
model = Encoder()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

if __name__ == "__main__":
    for epoch in range(100):
        model.train()
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
    print(loss.item())
