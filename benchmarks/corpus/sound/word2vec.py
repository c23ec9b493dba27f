"""word2vec: skip-gram with negative sampling, sparse gradients, SparseAdam."""

import random
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

GROUPS = [[f"{g}{i}" for i in range(12)] for g in "abcdefgh"]
WORDS = [w for g in GROUPS for w in g]
INDEX = {w: i for i, w in enumerate(WORDS)}


def sentences(n, seed=0):
    rng = random.Random(seed)
    for _ in range(n):
        yield [INDEX[w] for w in rng.choices(rng.choice(GROUPS), k=8)]


class SkipGrams(Dataset):
    def __init__(self, n, window=2, negatives=5):
        self.pairs = [
            (s[i], s[j])
            for s in sentences(n)
            for i in range(len(s))
            for j in range(max(0, i - window), min(len(s), i + window + 1))
            if i != j
        ]
        contexts = torch.tensor([c for _, c in self.pairs])
        self.noise = torch.bincount(contexts, minlength=len(WORDS)).float() ** 0.75
        self.k = negatives

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]

    def collate(self, batch):
        centre, context = map(torch.tensor, zip(*batch))
        negative = torch.multinomial(self.noise, len(batch) * self.k, True)
        return centre, context, negative.view(len(batch), self.k)


class SGNS(nn.Module):
    def __init__(self, vocab, dim=16):
        super().__init__()
        self.inp = nn.Embedding(vocab, dim, sparse=True)
        self.out = nn.Embedding(vocab, dim, sparse=True)
        nn.init.uniform_(self.inp.weight, -0.5 / dim, 0.5 / dim)
        nn.init.zeros_(self.out.weight)

    def forward(self, centre, context, negative):
        v = self.inp(centre)
        pos = (v * self.out(context)).sum(-1)
        neg = torch.bmm(self.out(negative), v.unsqueeze(-1)).squeeze(-1)
        return -(F.logsigmoid(pos) + F.logsigmoid(-neg).sum(-1)).mean()


def training_step(model, batch):
    return model(*batch)


torch.manual_seed(0)
dataset = SkipGrams(400)
train_loader = DataLoader(dataset, batch_size=128, shuffle=True, collate_fn=dataset.collate)
model = SGNS(len(WORDS))
optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=0.01)

if __name__ == "__main__":
    for epoch in range(5):
        total = 0.0
        for batch in train_loader:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(epoch, total / len(train_loader))
