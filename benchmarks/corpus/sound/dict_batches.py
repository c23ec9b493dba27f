"""Batches as dicts with an attention mask, as text pipelines make them."""

from pydoc_data.topics import topics

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

text = "".join(topics[name] for name in sorted(topics))[:60_000]
characters = sorted(set(text))
codes = torch.tensor([characters.index(c) for c in text])
windows = codes[: len(codes) // 25 * 25].view(-1, 25)
windows = windows[torch.randperm(len(windows))]
train_loader = DataLoader(
    TensorDataset(windows[:2000, :-1], windows[:2000, 1:]), batch_size=32, shuffle=True
)
val_loader = DataLoader(TensorDataset(windows[2000:, :-1], windows[2000:, 1:]), batch_size=32)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ids = self.rows[i]
        length = 15 + i % 10
        mask = (torch.arange(25) < length).long()
        return {"input_ids": ids * mask, "attention_mask": mask, "labels": (ids[:5].sum() % 2)}


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(characters), 32)
        self.positions = nn.Parameter(0.02 * torch.randn(25, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids) + self.positions
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        return self.head(x[:, :5].mean(1))


class Vowel(Pairs):
    def __getitem__(self, i):
        item = super().__getitem__(i)
        item["labels"] = (self.rows[i][:5] == characters.index(" ")).any().long()
        return item


train_loader = DataLoader(Vowel(windows[:2000]), batch_size=32, shuffle=True)
val_loader = DataLoader(Vowel(windows[2000:]), batch_size=32)
model = Classifier()


loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    for epoch in range(3):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
