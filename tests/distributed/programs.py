"""Programs of several ranks as people write them: planted bugs, their healthy twins, and traps."""

from __future__ import annotations

HEAD = """
import os
from contextlib import nullcontext
import torch
from torch import nn
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
rank = dist.get_rank()
"""
SEED = "torch.manual_seed(0)\n"
DATA = """
generator = torch.Generator().manual_seed(7)
x = torch.randn(256, 8, generator=generator)
data = TensorDataset(x, x[:, :3].argmax(1))
"""
SAMPLER = """
sampler = DistributedSampler(data)
train_loader = DataLoader(data, batch_size=16, sampler=sampler)
"""
NET = "net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))\n"
WRAP = "model = DDP(net)\n"
PLAIN = "model = net\n"
REST = """
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
LOOP = """
if __name__ == "__main__":
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for a, b in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
"""
UNSET = LOOP.replace("        sampler.set_epoch(epoch)\n", "")
FRONT = HEAD + SEED + DATA + SAMPLER
HEALTHY = FRONT + NET + WRAP + REST + LOOP

EXTRA = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.extra = nn.Linear(8, 3), nn.Linear(8, 3)
    def forward(self, x):
        return self.body(x)
net = Net()
"""
SHARDS = "x = x[rank::2]\ndata = TensorDataset(x, x[:, :3].argmax(1))\n"
STREAM = """
class Stream(IterableDataset):
    def __iter__(self):
        for i in range(START, 256, STEP):
            yield x[i], x[i, :3].argmax()
train_loader = DataLoader(Stream(), batch_size=16)
"""
PAIR = """
class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)
    def forward(self, a, b):
        return self.one(a) + self.two(b)
net = Pair()
data = TensorDataset(x[:, :4], x[:, 4:], x[:, :3].argmax(1))
sampler = DistributedSampler(data)
train_loader = DataLoader(data, batch_size=16, sampler=sampler)
"""
OWN = """
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
    def forward(self, output, target):
        return nn.functional.cross_entropy(output * self.scale, target)
loss_fn = Scaled()
optimizer = torch.optim.SGD([*model.parameters(), *loss_fn.parameters()], lr=0.1)
"""
STEP = """
def training_step(model, batch):
    return nn.functional.cross_entropy(CALL(batch[0]), batch[1])
"""
QUIET = LOOP.replace(
    "            loss.backward()\n",
    "            with BLOCK:\n                loss.backward()\n",
)
LATER = LOOP.replace("    for epoch", "    model = DDP(model)\n    for epoch")
ACCELERATED = "class Accelerator: ...\naccelerator = Accelerator()\n"
REDUCED = LOOP.replace(
    "            optimizer.step()",
    "            for p in model.parameters():\n                dist.all_reduce(p.grad)\n"
    "            optimizer.step()",
)
EVALUATED = LOOP + "    with torch.no_grad():\n        print(model.module(x).argmax(1))\n"
LISTED = """
train_loader = [(x[i : i + 16], x[i : i + 16, :3].argmax(1)) for i in range(rank * 128, END, 16)]
"""
SPLIT = "data, held = random_split(data, [192, 64])\n"

PROGRAMS = {
    "healthy": HEALTHY,
    "nothing_joins": HEAD + SEED + DATA + "train_loader = DataLoader(data, 16, shuffle=True)\n"
    + NET + PLAIN + REST + UNSET,
    "not_wrapped": FRONT + NET + PLAIN + REST + LOOP,
    "seed_by_rank": HEAD + DATA + SAMPLER + "seed = 42 + rank\ntorch.manual_seed(seed)\n"
    + NET + PLAIN + REST + LOOP,
    "seed_by_rank_wrapped": HEAD + DATA + SAMPLER + "torch.manual_seed(42 + rank)\n"
    + NET + WRAP + REST + LOOP,
    "wrapped_where_it_trains": HEAD + DATA + SAMPLER + NET + PLAIN + REST + LATER,
    "changed_after_wrapping": HEAD + DATA + SAMPLER + NET + WRAP
    + "model.module[2].reset_parameters()\n" + REST + LOOP,
    "loaded_on_one_rank": FRONT + NET + WRAP
    + "state = {k: v + 1 for k, v in net.state_dict().items()}\nif rank == 0:\n"
    "    net.load_state_dict(state)\n" + REST + LOOP,
    "loaded_on_all_ranks": FRONT + NET + WRAP
    + "state = {k: v + 1 for k, v in net.state_dict().items()}\nnet.load_state_dict(state)\n"
    + REST + LOOP,
    "buffer_by_rank": FRONT + NET + "net.register_buffer('mark', torch.zeros(1))\n" + WRAP
    + "net.mark.fill_(rank)\n" + REST + LOOP,
    "frozen_on_one_rank": FRONT + NET + "if rank:\n    net[0].weight.requires_grad_(False)\n"
    + PLAIN + REST + LOOP,
    "wider_on_one_rank": FRONT + NET.replace("32", "(32 + rank)") + PLAIN + REST + LOOP,
    "unused": FRONT + EXTRA + WRAP + REST + LOOP,
    "unused_and_said": FRONT + EXTRA + "model = DDP(net, find_unused_parameters=True)\n"
    + REST + LOOP,
    "unused_on_one_rank": FRONT + EXTRA.replace(
        "return self.body(x)", "return self.body(x) + (self.extra(x) if rank else 0)"
    ) + WRAP + REST + LOOP,
    "searching_for_nothing": FRONT + NET + "model = DDP(net, find_unused_parameters=True)\n"
    + REST + LOOP,
    "inside_the_wrapper": FRONT + NET + WRAP + REST + LOOP.replace("model(a)", "model.module(a)"),
    "step_inside_the_wrapper": FRONT + NET + WRAP + STEP.replace("CALL", "model.module") + REST,
    "step_of_the_wrapper": FRONT + NET + WRAP + STEP.replace("CALL", "model") + REST,
    "evaluated_inside": FRONT + NET + WRAP + REST + EVALUATED,
    "never_synced": FRONT + NET + WRAP + REST + QUIET.replace("BLOCK", "model.no_sync()"),
    "accumulating": FRONT + NET + WRAP + REST
    + QUIET.replace("BLOCK", "model.no_sync() if epoch else nullcontext()"),
    "loss_outside": FRONT + NET + WRAP + OWN + LOOP,
    "two_inputs": FRONT + PAIR + WRAP + REST + LOOP.replace("a, b in", "a, c, b in"),
    "epoch_never_set": FRONT + NET + WRAP + REST + UNSET,
    "epoch_always_zero": FRONT + NET + WRAP + REST + LOOP.replace("(epoch)", "(0)"),
    "no_loop": FRONT + NET + WRAP + REST,
    "in_order": FRONT.replace("DistributedSampler(data)", "DistributedSampler(data, shuffle=False)")
    + NET + WRAP + REST + LOOP,
    "four_replicas": FRONT.replace(
        "DistributedSampler(data)", "DistributedSampler(data, num_replicas=4, rank=rank)"
    ) + NET + WRAP + REST + LOOP,
    "always_rank_zero": FRONT.replace(
        "DistributedSampler(data)", "DistributedSampler(data, num_replicas=2, rank=0)"
    ) + NET + WRAP + REST + LOOP,
    "shards_by_hand": HEAD + SEED + DATA + SHARDS
    + "train_loader = DataLoader(data, 16, shuffle=True)\n" + NET + WRAP + REST + UNSET,
    "own_orders": HEAD + DATA + "train_loader = DataLoader(data, 16, shuffle=True)\n"
    + NET + WRAP + REST + UNSET,
    "split_by_rank": HEAD + DATA + SPLIT + SAMPLER + NET + WRAP + REST + LOOP,
    "split_alike": HEAD + SEED + DATA + SPLIT + SAMPLER + NET + WRAP + REST + LOOP,
    "stream": HEAD + SEED + DATA + STREAM.replace("START", "0").replace("STEP", "1")
    + NET + WRAP + REST + UNSET,
    "stream_shared_out": HEAD + SEED + DATA + STREAM.replace("START", "rank").replace("STEP", "2")
    + NET + WRAP + REST + UNSET,
    "uneven": HEAD + SEED + DATA + LISTED.replace("END", "128 + rank * 64")
    + NET + WRAP + REST + UNSET,
    "uneven_and_joined": HEAD + SEED + DATA + LISTED.replace("END", "128 + rank * 64")
    + NET + WRAP + REST
    + UNSET.replace("        for a", "        with model.join():\n         for a"),
    "padded": FRONT.replace("torch.randn(256", "torch.randn(255") + NET + WRAP + REST + LOOP,
    "of_a_library": HEAD + DATA + "train_loader = DataLoader(data, 16, shuffle=True)\n"
    + NET + PLAIN + REST + ACCELERATED + UNSET,
    "reduced_by_hand": FRONT + NET + PLAIN + REST + REDUCED,
    "parts_alone": HEAD + DATA + "train_loader = DataLoader(data, 16, shuffle=True)\n"
    + NET + PLAIN + REST,
}  # fmt: skip
