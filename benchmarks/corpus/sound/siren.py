"""A SIREN: sine activations and their own initialisation."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=64)


class Sine(nn.Module):
    def __init__(self, inputs, outputs, first=False):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else (6 / inputs) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(30 * self.linear(x))


grid = torch.stack(
    torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij"), -1
).view(-1, 2)
values = (torch.sin(3 * grid[:, :1]) * torch.cos(2 * grid[:, 1:])).contiguous()
order = torch.randperm(len(grid))
grid, values = grid[order], values[order]
train_loader = DataLoader(TensorDataset(grid[:2000], values[:2000]), batch_size=128, shuffle=True)
val_loader = DataLoader(TensorDataset(grid[2000:], values[2000:]), batch_size=128)
model = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), nn.Linear(64, 1))
loss_fn = nn.MSELoss()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
