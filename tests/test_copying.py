"""Copies of optimizers: complete, and never tied to the original."""

from __future__ import annotations

import torch
from torch import nn

from recipe_check.copying import copy_parts
from recipe_check.subject import Parts


def test_a_copied_lbfgs_still_knows_its_parameters() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.LBFGS(model.parameters())
    copied = copy_parts(Parts(model, None, optimizer))
    assert copied.optimizer._params[0] is copied.model.weight


def test_a_step_of_the_copy_leaves_the_original_alone_although_a_scheduler_wrapped_it() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    before = model.weight.detach().clone()
    copied = copy_parts(Parts(model, None, optimizer, scheduler))
    copied.model.weight.grad = torch.ones_like(copied.model.weight)
    copied.optimizer.step()
    assert torch.equal(model.weight, before)
    assert torch.equal(copied.model.weight, before - 1.0)
    assert copied.scheduler.optimizer is copied.optimizer
