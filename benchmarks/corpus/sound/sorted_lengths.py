"""Batches sorted by length, as pack_padded_sequence insists: rows are no free choice."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Counting(Dataset):
    """How often the most frequent of three letters occurs, letter as the class."""

    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(size):
            length = int(torch.randint(4, 13, (1,), generator=generator))
            letters = torch.randint(1, 4, (length,), generator=generator)
            self.items.append((letters, letters.bincount(minlength=4)[1:].argmax()))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(items):
    items = sorted(items, key=lambda item: len(item[0]), reverse=True)
    lengths = torch.tensor([len(letters) for letters, _ in items])
    padded = pad_sequence([letters for letters, _ in items], batch_first=True)
    return (padded, lengths), torch.stack([label for _, label in items])


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 16, padding_idx=0)
        self.rnn = nn.GRU(16, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 3)

    def forward(self, letters, lengths):
        packed = pack_padded_sequence(self.embed(letters), lengths, batch_first=True)
        _, last = self.rnn(packed)
        return self.head(torch.cat([last[0], last[1]], dim=1))


train_loader = DataLoader(Counting(1500, 0), batch_size=32, shuffle=True, collate_fn=collate)
val_loader = DataLoader(Counting(200, 1), batch_size=32, collate_fn=collate)
model = Counter()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


if __name__ == "__main__":
    for epoch in range(8):
        for (letters, lengths), y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(letters, lengths), y)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
