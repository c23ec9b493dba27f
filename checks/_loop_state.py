"""Rules of `train-step` on what changes from epoch to epoch: modes, weights, the optimizer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch.utils.data import SequentialSampler

from recipe_check.probes.loops import Event, Training

from ._loop_places import depends_on_mode, learns, of_kinds, place
from ._loop_tree import Tree, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_CARRIES = ("load", "copy", "clone", "restore", "resume")  # what was learned is taken along


def stays_in_eval(loop: Training, lab: Lab) -> Iterator[Slip]:
    if loop.epoch is None:
        return
    events = list(loop.epoch.events())
    trained = {e.owner for e in loop.batch.events() if e.kind == "forward"}
    restored = {e.owner for e in events if e.kind in ("train", "assign")}
    if any(e.kind == "train" and e.owner not in trained for e in events):
        return  # under another name: `for net in (encoder, decoder): net.train()`
    learning = [o for o in trained - restored if learns(loop, o)]
    left = [e for e in events if e.kind == "eval" and e.owner in learning]
    if not left or restored & trained:
        return
    matters = any(depends_on_mode(m) for m in lab.subject.original.model.modules())
    yield Slip(
        "the model stays in eval mode",
        f"`{left[0].owner}` is switched to eval in every epoch and never back to train: from the "
        "second epoch on dropout and batch statistics are off",
        f"call {left[0].owner}.train() at the start of every epoch",
        place(left[0]),
        certain=matters,
    )


def starts_anew(loop: Training, lab: Lab) -> Iterator[Slip]:
    around = loop.epoch
    if around is None or not counts_epochs(around.header):
        return
    called = {e.owner for e in loop.batch.events() if e.kind == "forward"}
    learns = {e.owner.rsplit(".", 1)[0] for e in around.events()
              if e.owner.endswith((".parameters", ".named_parameters"))
              or e.kind in ("train", "eval")}  # fmt: skip
    anew = [e for e in around.events() if _is_anew(e, called, learns)]
    if not anew:
        return
    last = anew[-1]  # a function that builds the model assigns it inside, too
    how = "built" if last.kind == "assign" else "initialised"
    yield Slip(
        "the model starts anew in every epoch",
        f"`{last.owner}` is {how} again inside the loop over epochs: what was learned is lost",
        "build the model and its optimizer once, before the loop",
        place(last),
        certain=True,
    )


def counts_epochs(header: str) -> bool:
    """`epoch in range(10)`, `epoch < 10`; not `n_epochs in (5, 10, 20)`, where runs start anew."""
    counter = header.lower().split(" in ")[0]
    return "epoch" in counter and not (" in " in header and "epochs" in counter)


def _is_anew(event: Event, called: set[str], learns: set[str]) -> bool:
    """A model that is trained is initialised, or assigned something that was not learned: not
    `model.to(device)`, not `load_checkpoint(path)`."""
    name = event.owner
    if event.kind == "assign":
        value = ast.unparse(getattr(event.node, "value", event.node))
        carried = name in value or any(word in value.lower() for word in _CARRIES)
        return name in called and name in learns and not carried
    return event.kind == "reset" and name.split(".")[0] in {c.split(".")[0] for c in called}


def optimizer_every_epoch(loop: Training, lab: Lab) -> Iterator[Slip]:
    """An optimizer that is made in the loop over epochs forgets its moments and its schedule."""
    around = loop.epoch
    if around is None or not counts_epochs(around.header):
        return
    steps = {e.owner for e in of_kinds(loop, "step")}
    called = {e.owner for e in of_kinds(loop, "forward")}
    if any((e.kind == "assign" and e.owner in called) or e.owner.endswith("load_state_dict")
           for e in around.events()):  # fmt: skip
        return  # other weights in every epoch: a round of federated learning, the best so far
    for event in around.events(nested=False):
        value = getattr(event.node, "value", None)
        built = event.kind == "assign" and not event.guard and event.owner in steps
        if built and isinstance(value, ast.Call) and "parameters" in ast.unparse(value):
            yield Slip(
                "the optimizer is made anew in every epoch",
                f"`{event.owner}` is built again inside the loop over epochs: momentum, second "
                "moments and what a schedule did to the rate are lost",
                "build the optimizer once, before the loop",
                place(event),
                certain=False,
            )
            return


def seeds_every_epoch(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A constant seed in the loop over epochs repeats order, dropout and augmentation."""
    around = loop.epoch
    if around is None or not counts_epochs(around.header):
        return
    for tree in trees(loop):
        for call in (*tree.calls("manual_seed"), *tree.calls("seed_everything")):
            lines = [n.lineno for n in tree.loops(call)]
            constant = call.args and isinstance(call.args[0], ast.Constant)
            whole = ast.unparse(call.func).split(".")[0] in ("torch", "seed_everything")
            if around.line in lines and constant and whole:
                yield Slip(
                    "every epoch starts from the same seed",
                    f"`{ast.unparse(call)}` in the loop over epochs: every epoch has the same "
                    "order of samples, dropout and augmentation",
                    "seed once, before the loop, or with the epoch's number",
                    place(tree.event(call)),
                    certain=False,
                )


def reads_the_first_batch_only(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`next(iter(loader))` at every step starts the loader anew."""
    ordered = isinstance(getattr(lab.subject.loader, "sampler", None), SequentialSampler)
    for tree in trees(loop):
        for call in tree.calls("next"):
            inner = call.args[0] if call.args else None
            anew = isinstance(inner, ast.Call) and ast.unparse(inner.func) == "iter"
            inside = loop.batch.line in [n.lineno for n in tree.loops(call)]
            if ordered and anew and inside and not tree.quiet(call) and _feeds(call, tree):
                yield Slip(
                    "every step reads the first batch",
                    f"`{ast.unparse(call)}` starts the loader anew at every step, and it does not "
                    "shuffle: only its first batch is ever learned",
                    "loop over the loader, or make the iterator once",
                    place(tree.event(call)),
                    certain=False,
                )


def _feeds(call: ast.Call, tree: Tree) -> bool:
    """Whether what is read comes from the training loader, and is kept under a name."""
    assigned = isinstance(tree.parents.get(call), ast.Assign)
    return assigned and not any(w in ast.unparse(call).lower() for w in ("val", "test", "held"))


def trains_a_copy(loop: Training, lab: Lab) -> Iterator[Slip]:
    """The loop runs a copy of the model whose parameters the optimizer holds."""
    called = {e.owner for e in of_kinds(loop, "forward")}
    for tree in trees(loop):
        asked = {ast.unparse(c.func.value) for c in tree.calls("parameters")
                 if isinstance(c.func, ast.Attribute)}  # fmt: skip
        for call in tree.calls("deepcopy"):
            made = tree.parents.get(call)
            if not isinstance(made, ast.Assign) or not call.args:
                continue
            copy, original = ast.unparse(made.targets[0]), ast.unparse(call.args[0])
            trains = copy in called and not any(
                e.quiet for e in of_kinds(loop, "forward") if e.owner == copy
            )
            others = asked - {original} | called - {copy}
            alone = not {copy, original} & others
            average = _holds_the_other(tree, original, copy, called)
            if trains and original in asked and (alone or average):
                runs = next(e for e in of_kinds(loop, "forward") if e.owner == copy)
                yield Slip(
                    "the loop runs a copy of the model",
                    f"`{copy}` is a copy of `{original}`, and the optimizer holds the parameters "
                    f"of `{original}`: nothing that is computed is trained",
                    "build the optimizer from the model that the loop runs",
                    place(tree.event(made) if alone else runs),
                    certain=True,
                )


def _holds_the_other(tree: Tree, original: str, copy: str, called: set[str]) -> bool:
    """Whether an optimizer is made of the parameters of a model that the loop never runs."""
    made = [ast.unparse(n.value) for n in tree.walk(ast.Assign) if isinstance(n, ast.Assign)]
    held = {name for name in (original, copy) for text in made
            if f"{name}.parameters()" in text and "optim" in text.lower()}  # fmt: skip
    return held == {original} and original not in called
