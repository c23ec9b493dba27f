"""The diabetes regression with two common mistakes. The loss falls; nothing is learned.

Compare with diabetes_mlp.py, or run:  recipe-check examples/diabetes_broken.py
"""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return 2 * x  # mistake 1: not multiplied by grad_output


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 64)
        self.fc2 = nn.Linear(64, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        x = torch.tanh(self.fc1(x))
        x = x + 0.1 * Square.apply(self.fc2(x))
        return self.head(x)  # (B, 1)


features, progression = (torch.tensor(a).float() for a in load_diabetes(return_X_y=True))
features = (features - features.mean(0)) / features.std(0)
progression = (progression - progression.mean()) / progression.std()

train_loader = DataLoader(
    TensorDataset(features[:330], progression[:330]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[330:], progression[330:]), batch_size=32)

model = Net()
mse = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def loss_fn(prediction, target):
    return mse(prediction, target)  # mistake 2: (B, 1) against (B,) is broadcast to (B, B)


def validation_loss():
    with torch.no_grad():
        losses = [loss_fn(model(x), y).item() for x, y in val_loader]
    return sum(losses) / len(losses)


def train(epochs=15):
    for epoch in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: validation loss {validation_loss():.3f} (the mean alone: 1)")


if __name__ == "__main__":
    train()
