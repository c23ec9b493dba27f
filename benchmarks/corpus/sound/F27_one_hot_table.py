"""A table of one-hot bins, mean 0.1 and std 0.3: not standardised and fine (traps input-scale, dead-relu)."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import KBinsDiscretizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
bins = KBinsDiscretizer(
    n_bins=10, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf"
)
X_train = torch.tensor(bins.fit_transform(X_train), dtype=torch.float32)
X_test = torch.tensor(bins.transform(X_test), dtype=torch.float32)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(X_test, y_test), batch_size=143)


class Wide(nn.Module):
    def __init__(self, columns, classes):
        super().__init__()
        self.fc1 = nn.Linear(columns, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


model = Wide(X_train.shape[1], 2)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)

if __name__ == "__main__":
    for epoch in range(10):
        for xb, yb in train_loader:
            optimizer.zero_grad()
            criterion(model(xb), yb).backward()
            optimizer.step()
    with torch.no_grad():
        print("held out:", (model(X_test).argmax(1) == y_test).float().mean().item())
