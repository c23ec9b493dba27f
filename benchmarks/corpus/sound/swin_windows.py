"""Swin-like windowed attention with relative position bias, nn.MultiheadAttention-free; cutmix in step."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)


class WinAttn(nn.Module):
    def __init__(self, dim, ws, heads, shift):
        super().__init__()
        self.ws, self.heads, self.shift = ws, heads, shift
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros((2 * ws - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        c = torch.stack(torch.meshgrid(torch.arange(ws), torch.arange(ws), indexing="ij")).flatten(1)
        r = (c[:, :, None] - c[:, None]).permute(1, 2, 0) + ws - 1
        self.register_buffer("idx", r[..., 0] * (2 * ws - 1) + r[..., 1])

    def forward(self, x):
        B, H, W, C = x.shape
        w = self.ws
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(B, H // w, w, W // w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, C)
        q, k, v = self.qkv(x).view(len(x), w * w, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        a = q @ k.transpose(-1, -2) / (C // self.heads) ** 0.5 + self.bias[self.idx].permute(2, 0, 1)
        x = (a.softmax(-1) @ v).transpose(1, 2).reshape(len(x), w * w, C)
        x = self.proj(x).view(B, H // w, W // w, w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x


class SwinBlock(nn.Module):
    def __init__(self, dim, shift):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.a = WinAttn(dim, 4, 4, shift)
        self.m = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.a(self.n1(x))
        return x + self.m(self.n2(x))


class Swin(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.emb = nn.Linear(1, dim)
        self.pos = nn.Parameter(torch.randn(8, 8, dim) * 0.02)
        self.b = nn.Sequential(SwinBlock(dim, 0), SwinBlock(dim, 2))
        self.merge = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.b2 = nn.Sequential(SwinBlock(2 * dim, 0))
        self.norm, self.head = nn.LayerNorm(2 * dim), nn.Linear(2 * dim, 10)

    def forward(self, x):
        x = self.b(self.emb(x.unsqueeze(-1)) + self.pos)
        x = torch.cat([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.norm(self.b2(self.merge(x))).mean((1, 2)))


def training_step(model, batch):
    x, y = batch
    if model.training and torch.rand(()) < 0.5:
        idx = torch.randperm(x.size(0))
        cx, cy = torch.randint(0, 5, (2,)).tolist()
        x = x.clone()
        x[:, cy:cy + 4, cx:cx + 4] = batch[0][idx, cy:cy + 4, cx:cx + 4]
        lam = 1 - 16 / 64
        out = model(x)
        loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[idx])
    else:
        out = model(x)
        loss = F.cross_entropy(out, y)
    return loss, out


D = load_digits()
x = torch.tensor(D.images, dtype=torch.float32) / 16
x = (x - x.mean()) / x.std()
y = torch.tensor(D.target)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), 50, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), 50)
model = Swin()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

if __name__ == "__main__":
    for ep in range(6):
        model.train()
        for b in train_loader:
            optimizer.zero_grad()
            l, _ = training_step(model, b)
            l.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            print(ep, l.item(), sum((model(a).argmax(1) == b).sum().item() for a, b in val_loader) / 397)
