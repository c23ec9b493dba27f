"""The sound twin of the mistake: The validation data are not normalised like the training data."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

digits = load_digits()
train_images, val_images, train_labels, val_labels = train_test_split(
    torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1),
    torch.tensor(digits.target),
    test_size=0.2,
    random_state=0,
)
mean, std = train_images.mean(), train_images.std()


def normalise(images):
    return (images - mean) / std


train_loader = DataLoader(TensorDataset(normalise(train_images), train_labels), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(normalise(val_images), val_labels), batch_size=64)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()
        )
        self.classifier = nn.Linear(16 * 2 * 2, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


model = LeNet()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def evaluate():
    model.eval()
    loss = correct = 0.0
    with torch.no_grad():
        for x, y in val_loader:
            logits = model(x)
            loss += loss_fn(logits, y).item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()
    return loss / len(val_labels), correct / len(val_labels)


if __name__ == "__main__":
    for epoch in range(6):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        val_loss, val_acc = evaluate()
        print(f"epoch {epoch} train {loss.item():.3f} val {val_loss:.3f} acc {val_acc:.3f}")
