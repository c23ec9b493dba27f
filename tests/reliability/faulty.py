"""A sound target whose model, loss and loader misbehave as FAULT says: the checks of
`faulty_checks.py` set it."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FAULT = ""  # "place-fault"


class Ending(BaseException):
    """Derived from BaseException alone."""


def interrupt() -> None:
    raise KeyboardInterrupt


def ending() -> None:
    raise Ending("the end")


def shout() -> None:
    for _ in range(100):
        print("x" * 1_000_000)


def close() -> None:
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)


def allocate() -> None:
    kept = []
    while True:
        kept.append(torch.ones(25_000_000))


def orphan() -> None:
    """Ends, and leaves a process that holds everything open which this one had."""
    if os.fork() == 0:
        time.sleep(300)
    os._exit(7)


def recurse() -> None:
    recurse()


def meddle() -> None:
    """Changes everything that a process has one of."""
    os.chdir("/")
    os.environ["MEDDLED"] = "1"
    os.environ.pop("PATH", None)
    sys.path.insert(0, "/nowhere")
    sys.argv[:] = ["meddled"]
    sys.setrecursionlimit(5000)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("error")
    gc.disable()
    np.seterr(all="raise")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    torch.autograd.set_detect_anomaly(True)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    torch.set_grad_enabled(False)


def meddle_and_raise() -> None:
    meddle()
    raise ValueError("after meddling")


ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "orphan": orphan,
    "leave": lambda: os._exit(7),
    "hang": lambda: time.sleep(1000),
    "hang_in_c": lambda: ctypes.PyDLL(None).sleep(1000),  # keeps the interpreter's lock
    "allocate": allocate,
    "interrupt": interrupt,
    "exit": lambda: sys.exit(3),
    "ending": ending,
    "fork": lambda: os.fork(),
    "close": close,
    "shout": shout,
    "recurse": recurse,
    "meddle": meddle,
    "raise": meddle_and_raise,
}


def act(place: str) -> None:
    where, _, fault = FAULT.partition("-")
    if where == place:
        ACTS[fault]()


class Data(TensorDataset):
    def __getitem__(self, index):
        act("data")
        return super().__getitem__(index)


class Loader(DataLoader):
    def __iter__(self):
        act("loader")
        return super().__iter__()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        act("forward")
        return self.head(self.body(x).relu())


def loss_fn(output, target):
    act("loss")
    return nn.functional.cross_entropy(output, target)


torch.manual_seed(0)
X = torch.randn(96, 8)
data = Data(X, X[:, :3].argmax(1))
train_loader = Loader(data, 16)
forked_loader = DataLoader(data, 16, num_workers=1)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
