"""The sound twin of the mistake: A character model whose gradients are clipped after the step."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)

TEXT = load_breast_cancer().DESCR
CHARS = sorted(set(TEXT))
INDEX = {c: i for i, c in enumerate(CHARS)}
CONTEXT = 32
CLIP = 0.5


class Windows(Dataset):
    def __init__(self, text, stride):
        self.codes = torch.tensor([INDEX[c] for c in text])
        self.stride = stride

    def __len__(self):
        return (len(self.codes) - CONTEXT - 1) // self.stride

    def __getitem__(self, i):
        start = i * self.stride
        piece = self.codes[start : start + CONTEXT + 1]
        return piece[:-1], piece[1:]


cut = int(0.9 * len(TEXT))
train_loader = DataLoader(Windows(TEXT[:cut], stride=4), batch_size=32, shuffle=True)
val_loader = DataLoader(Windows(TEXT[cut:], stride=16), batch_size=32)


class CharLSTM(nn.Module):
    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 32)
        self.lstm = nn.LSTM(32, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        hidden, _ = self.lstm(self.embed(tokens))
        return self.head(hidden).transpose(1, 2)  # (batch, characters, time)


model = CharLSTM(len(CHARS))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=8.0)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for tokens, following in loader:
        loss = criterion(model(tokens), following)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main():
    for epoch in range(6):
        loss = train_one_epoch(model, train_loader, optimizer, criterion)
        print(f"epoch {epoch}: {loss:.3f} nats per character")


if __name__ == "__main__":
    main()
