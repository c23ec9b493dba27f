"""The sound twin of the mistake: Hand-written cross-entropy: the logarithm of zero."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

features, target = load_breast_cancer(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(features, target, test_size=0.2, random_state=0)
scaler = StandardScaler().fit(x_train)


def loader(x, y, shuffle):
    x = torch.tensor(scaler.transform(x), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=shuffle)


train_loader = loader(x_train, y_train, True)
val_loader = loader(x_val, y_val, False)


class Classifier(nn.Module):
    def __init__(self, n_features=30, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.body(x))


def loss_fn(logits, y):
    return -(y * F.logsigmoid(logits) + (1 - y) * F.logsigmoid(-logits)).mean()


model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


if __name__ == "__main__":
    for epoch in range(15):
        total = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            hits = sum(((model(x) > 0).float() == y).sum().item() for x, y in val_loader)
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f} accuracy {hits / len(y_val):.3f}")
