"""Matrix factorisation with two embeddings."""

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


users, items = torch.randint(0, 60, (4000,)), torch.randint(0, 40, (4000,))
taste, kind = torch.randn(60, 4), torch.randn(40, 4)
rating = (taste[users] * kind[items]).sum(1) / 2
train_loader = DataLoader(
    TensorDataset(users[:3500], items[:3500], rating[:3500]), batch_size=64, shuffle=True
)
val_loader = DataLoader(TensorDataset(users[3500:], items[3500:], rating[3500:]), batch_size=64)


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(60, 8), nn.Embedding(40, 8)
        nn.init.normal_(self.users.weight, std=0.3)
        nn.init.normal_(self.items.weight, std=0.3)

    def forward(self, users, items):
        return (self.users(users) * self.items(items)).sum(1)


model = Factors()
loss_fn = nn.MSELoss()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


if __name__ == "__main__":
    for epoch in range(3):
        for u, i, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(u, i), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
