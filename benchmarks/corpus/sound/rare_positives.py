"""Fraud: two per cent positives, focal loss, prior bias, average precision."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

X, y = make_classification(
    6000, 20, n_informative=8, weights=[0.98], class_sep=1.5, flip_y=0, random_state=3
)
Xtr, Xva, ytr, yva = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
mean, std = Xtr.mean(0), Xtr.std(0)


def dataset(a, b):
    return TensorDataset(
        torch.tensor((a - mean) / std, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    )


train_loader = DataLoader(dataset(Xtr, ytr), batch_size=256, shuffle=True)
val_loader = DataLoader(dataset(Xva, yva), batch_size=1024)


class FocalLoss(nn.Module):
    def __init__(self, alpha=0.75, gamma=2.0):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, logits, target):
        ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        p = torch.sigmoid(logits)
        pt = p * target + (1 - p) * (1 - target)
        a = self.alpha * target + (1 - self.alpha) * (1 - target)
        return (a * (1 - pt) ** self.gamma * ce).sum() / target.sum().clamp(min=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2, self.out = nn.Linear(20, 64), nn.Linear(64, 32), nn.Linear(32, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(64), nn.BatchNorm1d(32)
        self.out.bias.data.fill_(-3.9)

    def forward(self, x):
        x = F.relu(self.bn1(self.l1(x)))
        x = F.relu(self.bn2(self.l2(x)))
        return self.out(x)[:, 0]


torch.manual_seed(0)
model = Net()
loss_fn = FocalLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=2)


def main():
    for epoch in range(10):
        model.train()
        for x, t in train_loader:
            loss = loss_fn(model(x), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            s, t = zip(*((model(a).sigmoid(), b) for a, b in val_loader))
        ap = average_precision_score(torch.cat(t), torch.cat(s))
        scheduler.step(ap)
        print(epoch, loss.item(), ap)


if __name__ == "__main__":
    main()
