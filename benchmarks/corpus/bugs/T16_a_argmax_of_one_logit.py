"""The accuracy takes the argmax over a single logit."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)

cancer = load_breast_cancer()
features = torch.tensor(cancer.data, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
labels = torch.tensor(cancer.target, dtype=torch.float32).unsqueeze(1)
train_set, val_set = random_split(TensorDataset(features, labels), [440, 129])
train_loader = DataLoader(train_set, batch_size=40, shuffle=True)
val_loader = DataLoader(val_set, batch_size=43)

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def accuracy(logits, targets):
    predicted = logits.argmax(dim=1, keepdim=True).float()  # BUG
    return (predicted == targets).float().mean().item()


if __name__ == "__main__":
    for epoch in range(8):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores = [accuracy(model(x), y) for x, y in val_loader]
        print(epoch, loss.item(), sum(scores) / len(scores))
