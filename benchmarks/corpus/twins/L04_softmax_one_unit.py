"""The sound twin of the mistake: Softmax over a single output with binary cross-entropy."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

data = load_breast_cancer()
features = torch.tensor(data.data, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
malignant = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
order = torch.randperm(len(features))
features, malignant = features[order], malignant[order]
train_loader = DataLoader(
    TensorDataset(features[:450], malignant[:450]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[450:], malignant[450:]), batch_size=32)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(30, 32), nn.Linear(32, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return torch.sigmoid(self.fc2(x))


model = Net()
loss_fn = nn.BCELoss()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
