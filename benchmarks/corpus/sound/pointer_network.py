"""Pointer network that sorts: each output points at an input position."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class SortingDataset(Dataset):
    def __init__(self, size, length=6, seed=0):
        gen = torch.Generator().manual_seed(seed)
        self.seqs = torch.rand(size, length, 1, generator=gen)

    def __len__(self):
        return self.seqs.size(0)

    def __getitem__(self, idx):
        seq = self.seqs[idx]
        return seq, seq.squeeze(-1).argsort()


class PointerNetwork(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.encoder = nn.LSTM(1, hidden, batch_first=True)
        self.decoder = nn.LSTMCell(1, hidden)
        self.start = nn.Parameter(torch.zeros(1))
        self.w1 = nn.Linear(hidden, hidden, bias=False)
        self.w2 = nn.Linear(hidden, hidden, bias=False)
        self.v = nn.Linear(hidden, 1, bias=False)

    def forward(self, seq, target=None):
        enc, (h, c) = self.encoder(seq)
        h, c = h[0], c[0]
        inp = self.start.expand(seq.size(0), 1)
        used = torch.zeros(seq.shape[:2], dtype=torch.bool)
        out = []
        for t in range(seq.size(1)):
            h, c = self.decoder(inp, (h, c))
            score = self.v(torch.tanh(self.w1(enc) + self.w2(h).unsqueeze(1))).squeeze(-1)
            logp = F.log_softmax(score.masked_fill(used, float("-inf")), dim=-1)
            out.append(logp)
            pick = target[:, t] if target is not None else logp.argmax(-1)
            used = used.scatter(1, pick[:, None], True)
            inp = seq[torch.arange(len(seq)), pick]
        return torch.stack(out, 1)


def training_step(model, batch):
    seq, order = batch
    logp = model(seq, order)
    return F.nll_loss(logp.flatten(0, 1), order.flatten())


torch.manual_seed(0)
train_loader = DataLoader(SortingDataset(3000), batch_size=50, shuffle=True)
val_loader = DataLoader(SortingDataset(200, seed=5), batch_size=50)
model = PointerNetwork()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

if __name__ == "__main__":
    for epoch in range(6):
        for batch in train_loader:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)
            optimizer.step()
        print(epoch, loss.item())
