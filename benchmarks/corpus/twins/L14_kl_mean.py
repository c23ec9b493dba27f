"""The sound twin of the mistake: KLDivLoss with reduction='mean' in knowledge distillation."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

TEMPERATURE = 4.0
ALPHA = 0.5

digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=128)


def make_teacher():
    """Logistic regression, fitted before."""
    fitted = LogisticRegression(max_iter=500, C=0.05).fit(x[:1400].numpy(), y[:1400].numpy())
    teacher = nn.Linear(64, 10)
    with torch.no_grad():
        teacher.weight.copy_(torch.tensor(fitted.coef_))
        teacher.bias.copy_(torch.tensor(fitted.intercept_))
    return teacher.eval().requires_grad_(False)


teacher = make_teacher()
model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))

hard_loss = nn.CrossEntropyLoss()
soft_loss = nn.KLDivLoss(reduction="batchmean")
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def distillation_terms(student_logits, teacher_logits, labels):
    hard = hard_loss(student_logits, labels)
    soft = soft_loss(
        F.log_softmax(student_logits / TEMPERATURE, dim=1),
        F.softmax(teacher_logits / TEMPERATURE, dim=1),
    )
    return {"hard": (1 - ALPHA) * hard, "soft": ALPHA * TEMPERATURE**2 * soft}


def training_step(model, batch):
    inputs, labels = batch
    with torch.no_grad():
        teacher_logits = teacher(inputs)
    return sum(distillation_terms(model(inputs), teacher_logits, labels).values())


def loss_fn(logits, labels):
    return hard_loss(logits, labels)


if __name__ == "__main__":
    for epoch in range(8):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val_loader)
        print(epoch, loss.item(), hits / len(val_loader.dataset))
