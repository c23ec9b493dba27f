"""Batches of like length from a bucket sampler: the order is not uniform on purpose (traps shuffling)."""

import random
import unicodedata

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

random.seed(0)
torch.manual_seed(0)
SCRIPTS = ["LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "CJK"]


def first_words():
    """Words of character names after the script's own: which script has "SHCHA"?"""
    found = []
    for code in range(0x41, 0x3400):
        script, _, rest = unicodedata.name(chr(code), "").partition(" ")
        if script in SCRIPTS and rest:
            found.append((rest, SCRIPTS.index(script)))
    random.shuffle(found)
    return found


class Names(Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        word, script = self.pairs[i]
        return torch.tensor([ord(c) % 64 for c in word]), script


class BucketSampler(Sampler):
    """Sorts by length, cuts into batches, shuffles the batches."""

    def __init__(self, dataset, batch_size):
        lengths = [len(word) for word, _ in dataset.pairs]
        order = sorted(range(len(lengths)), key=lambda i: (lengths[i], random.random()))
        self.batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def __iter__(self):
        return iter(random.sample(self.batches, len(self.batches)))

    def __len__(self):
        return len(self.batches)


def collate(items):
    words, scripts = zip(*items)
    lengths = torch.tensor([len(w) for w in words])
    return pad_sequence(words, batch_first=True), lengths, torch.tensor(scripts)


class ScriptGuesser(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(64, 24)
        self.gru = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, len(SCRIPTS))

    def forward(self, words, lengths):
        packed = pack_padded_sequence(
            self.embed(words), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.gru(packed)
        return self.head(last[-1])


pairs = first_words()
cut = len(pairs) * 4 // 5
trainset, valset = Names(pairs[:cut]), Names(pairs[cut:])
train_loader = DataLoader(trainset, batch_sampler=BucketSampler(trainset, 32), collate_fn=collate)
val_loader = DataLoader(valset, batch_size=64, collate_fn=collate)
model = ScriptGuesser()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

if __name__ == "__main__":
    for epoch in range(3):
        for words, lengths, scripts in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(words, lengths), scripts)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
