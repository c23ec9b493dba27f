"""Encoder-decoder nn.Transformer with shifted targets (sorting), Noam schedule, T5-like RMSNorm extra."""
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
V, L, D = 16, 7, 48
BOS = 0


class T5Like(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(V, D)
        self.pe = nn.Parameter(torch.randn(L, D) * 0.02)
        self.tf = nn.Transformer(D, 4, 2, 2, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.norm = nn.RMSNorm(D)
        self.lm_head = nn.Linear(D, V, bias=False)
        self.lm_head.weight = self.shared.weight
        nn.init.normal_(self.shared.weight, std=0.05)

    def forward(self, src, tgt_in):
        m = nn.Transformer.generate_square_subsequent_mask(tgt_in.size(1))
        s = self.shared(src) * math.sqrt(D) + self.pe
        t = self.shared(tgt_in) * math.sqrt(D) + self.pe
        return self.lm_head(self.norm(self.tf(s, t, tgt_mask=m)))


src = torch.randint(1, V, (1600, L))
tgt = src.sort(1).values
tgt_in = torch.cat([torch.full((1600, 1), BOS), tgt[:, :-1]], 1)
train_loader = DataLoader(TensorDataset(src[:1400], tgt_in[:1400], tgt[:1400]), 64, shuffle=True)
val_loader = DataLoader(TensorDataset(src[1400:], tgt_in[1400:], tgt[1400:]), 64)
model = T5Like()


def loss_fn(logits, target):
    return nn.functional.cross_entropy(logits.reshape(-1, V), target.reshape(-1))


optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
WARM = 25
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: D ** -0.5 * min((s + 1) ** -0.5, (s + 1) * WARM ** -1.5) * 0.1)

if __name__ == "__main__":
    for ep in range(8):
        model.train()
        for s, ti, t in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(s, ti), t)
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            print(ep, loss.item(), sum(loss_fn(model(s, ti), t).item() for s, ti, t in val_loader) / len(val_loader))
