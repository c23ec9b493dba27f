"""squeeze() drops the batch axis of a batch of one."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

features, progression = (
    torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True)
)
features = (features - features.mean(0)) / features.std(0)
progression = ((progression - progression.mean()) / progression.std()).unsqueeze(1)
train_loader = DataLoader(
    TensorDataset(features[:350], progression[:350]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[350:], progression[350:]), batch_size=32)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(10, 32), nn.Linear(32, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x))).squeeze()  # BUG


progression = progression.squeeze(1)
train_loader = DataLoader(
    TensorDataset(features[:350], progression[:350]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(features[350:], progression[350:]), batch_size=32)
model = Net()
loss_fn = nn.MSELoss()


optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
