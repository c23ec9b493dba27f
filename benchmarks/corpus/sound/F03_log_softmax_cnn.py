"""A LeNet that ends in log_softmax and is trained with cross-entropy: idempotent (traps loss-contract)."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)


class LeNet(nn.Module):
    def __init__(self):
        super(LeNet, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=3)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3)
        self.fc1 = nn.Linear(16 * 2 * 2, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = x.view(-1, 16 * 2 * 2)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)


data = load_digits()
X = torch.from_numpy(data.images).float()[:, None]
X = (X - X.mean()) / X.std()
y = torch.from_numpy(data.target).long()
train_set, val_set = random_split(TensorDataset(X, y), [1500, 297])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
val_loader = DataLoader(val_set, batch_size=99)

model = LeNet()
loss_fn = nn.CrossEntropyLoss()  # log_softmax of log-probabilities gives them back
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

if __name__ == "__main__":
    for epoch in range(4):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = sum(loss_fn(model(a), b).item() for a, b in val_loader) / len(val_loader)
        print(epoch, val)
