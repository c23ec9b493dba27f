"""The backbone is frozen in __init__ only; train() lets its batch statistics drift."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
source = labels < 5  # the backbone learns the digits 0-4, the head 5-9
target_images, target_labels = images[~source], labels[~source] - 5
train_loader = DataLoader(TensorDataset(target_images[:700], target_labels[:700]), batch_size=20, shuffle=True)
val_loader = DataLoader(TensorDataset(target_images[700:], target_labels[700:]), batch_size=64)


def pretrained_backbone():
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
    )
    with torch.no_grad():  # stands for a checkpoint: statistics of the source digits
        for _ in range(30):
            backbone(images[source])
    return backbone


class Transfer(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(32 * 16, 5)
        for parameter in self.backbone.parameters():
            parameter.requires_grad = False
        self.backbone.eval()  # BUG

    def forward(self, x):
        return self.head(self.backbone(x))


model = Transfer(pretrained_backbone())
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(5):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        drift = model.backbone[1].running_mean.norm().item()
        print(epoch, loss.item(), hits / len(val_loader.dataset), "norm of the running mean", drift)
