"""A regression on tabular data: progression of diabetes from ten measurements.

Data: scikit-learn's diabetes set (442 patients). Inputs and target are standardised, so that the
loss starts near 1, the variance of the target. Trains in two seconds:
python examples/diabetes_mlp.py
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

features, progression = load_diabetes(return_X_y=True)
x_train, x_val, y_train, y_val = (
    torch.tensor(part, dtype=torch.float32)
    for part in train_test_split(features, progression, test_size=0.25, random_state=0)
)
x_mean, x_std = x_train.mean(0), x_train.std(0)
y_mean, y_std = y_train.mean(), y_train.std()


def dataset(x, y):
    return TensorDataset((x - x_mean) / x_std, ((y - y_mean) / y_std).unsqueeze(1))


train_loader = DataLoader(dataset(x_train, y_train), batch_size=32, shuffle=True)
val_loader = DataLoader(dataset(x_val, y_val), batch_size=32)

model = nn.Sequential(
    nn.Linear(10, 64),
    nn.ReLU(),
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Linear(64, 1),
)
loss_fn = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)


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
