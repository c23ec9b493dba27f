"""A student and a teacher without gradient (distillation)."""

import torch
import torch.nn.functional as F
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


class Distilled(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        self.teacher.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            guide = self.teacher(x)
        return self.student(x), guide


def loss_fn(out, y):
    student, teacher = out
    soft = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    return F.cross_entropy(student, y) + 0.1 * soft


model = Distilled()


optimizer = torch.optim.Adam(model.student.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
