"""Rules of `train-step` on validation: what it runs on, in which mode, and what is kept as best."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Training

from ._loop_places import depends_on_mode, learns, of_kinds, place
from ._loop_tree import Function, Tree, called, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

FALLS = ("loss", "err", "perplexity", "ppl", "rmse", "mse", "mae", "nll", "wer", "bpc")
RISES = ("acc", "f1", "auc", "iou", "bleu", "dice", "recall", "precision", "psnr")
_TURNED = ("neg", "improve", "reduc", "drop", "gain", "decrease")  # less loss is more of these
_HELD = ("val", "test", "dev", "eval")


def keeps_an_alias(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`best = model.state_dict()` refers to the weights that train on."""
    for tree in trees(loop):
        restored = {ast.unparse(a) for c in tree.calls("load_state_dict") for a in c.args}
        for node in tree.walk(ast.Assign):
            if not isinstance(node, ast.Assign) or not tree.loops(node):
                continue
            pairs = _pairs(node)
            kept = [name for name, value in pairs if name in restored and _is_alias(value)]
            if kept:
                yield Slip(
                    "the best weights are kept by reference",
                    f"`{kept[0]}` holds the weights themselves, not a copy: it changes with every "
                    "step after it",
                    "copy.deepcopy(model.state_dict()), or save it to a file",
                    place(tree.event(node)),
                    certain=True,
                )


def _pairs(node: ast.Assign) -> list[tuple[str, ast.expr]]:
    """Names with what they are assigned, tuples taken apart."""
    target = node.targets[-1]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        both = zip(target.elts, node.value.elts, strict=False)
        return [(ast.unparse(t), v) for t, v in both]
    return [(ast.unparse(target), node.value)]


def _is_alias(value: ast.expr) -> bool:
    """`m.state_dict()`, its `.copy()` or `dict()`: new dict, same tensors."""
    if isinstance(value, ast.Call) and called(value) in ("copy", "dict", "OrderedDict"):
        inner = [
            *value.args,
            *([value.func.value] if isinstance(value.func, ast.Attribute) else []),
        ]
        return any(_is_alias(i) for i in inner)
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return False
    return value.func.attr == "state_dict" and isinstance(
        value.func.value, ast.Name | ast.Attribute
    )


def prefers_the_worse(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`if val_loss > best: best = val_loss` keeps the worst epoch."""
    for tree in trees(loop):
        for node in tree.walk(ast.If):
            if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
                continue
            found = _kept_as_best(node, node.test)
            if found is None:
                continue
            value, wants_less = found
            falls = any(word in value.lower() for word in FALLS)
            rises = any(word in value.lower() for word in RISES)
            turned = "-" in value or any(word in value.lower() for word in _TURNED)
            if falls != rises and falls != wants_less and not turned:
                yield Slip(
                    "the worse epoch is kept as the best",
                    f"`{ast.unparse(node.test)}` keeps the {'highest' if falls else 'lowest'} "
                    f"`{value}` as the best",
                    "turn the comparison around",
                    place(tree.event(node)),
                    certain=False,
                )


def _kept_as_best(node: ast.If, test: ast.Compare) -> tuple[str, bool] | None:
    """The value that becomes the best, and whether it has to be less than the best so far."""
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        return None
    one, other = ast.unparse(test.left), ast.unparse(test.comparators[0])
    less = isinstance(test.ops[0], ast.Lt | ast.LtE)
    kept = {pair for n in node.body if isinstance(n, ast.Assign)
            for name, value in _pairs(n) for pair in [(name, ast.unparse(value))]}  # fmt: skip
    if (other, one) in kept and "best" in other.lower():
        return one, less
    if (one, other) in kept and "best" in one.lower():
        return other, not less
    return None


def validates_on_training_data(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`val_loss = evaluate(model, train_loader)`."""
    for tree in trees(loop):
        for node in tree.walk(ast.Assign):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            targets = [n for t in node.targets for n in ast.unparse(t).lower().split(", ")]
            given = [ast.unparse(a).lower() for a in node.value.args]
            loads = [
                g for g in given if "load" in g or g.endswith(("_dl", "_data", "_set", "dataset"))
            ]
            held = all(t.strip("()").startswith(_HELD[:2]) for t in targets)
            if held and loads and all(map(_is_trained_on, loads)) and tree.loops(node):
                yield Slip(
                    "the validation reads the training data",
                    f"`{targets[0]}` is computed on `{loads[0]}`: it says nothing about new data",
                    "give the validation loader",
                    place(tree.event(node)),
                    certain=False,
                )


def _is_trained_on(source: str) -> bool:
    """`train_loader`; not `trainval_loader`, and not `pretrained_loader`."""
    words = re.split(r"[^a-z]+", source)
    named = any(w.startswith("train") and not w.endswith(_HELD[:2]) for w in words)
    return named and not any(w.startswith(_HELD) for w in words)


def trains_on_held_out(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A loop over validation data takes steps, beside one that trains."""
    others = [t for t in lab.training_loops if t.batch.line != loop.batch.line]
    source = loop.batch.header.rsplit(" in ", 1)[-1].lower()
    steps = {e.owner for e in of_kinds(loop, "step")}
    same = any(steps & {e.owner for e in of_kinds(o, "step")} for o in others)
    if not any(learns(loop, e.owner) for e in of_kinds(loop, "forward")):
        return  # a temperature, a threshold: what is fitted to validation data is not the model
    if not source.startswith(("val", "test", "dev")) or not same:
        return
    wrong = of_kinds(loop, "backward")[0]
    yield Slip(
        "the validation trains the model",
        f"the loop over `{source}` calls backward() and step(): validation data are learned",
        "only look: no backward() and no step() in the validation",
        place(wrong),
        certain=False,
    )


def never_evaluates(loop: Training, lab: Lab) -> Iterator[Slip]:
    """Validation with dropout on and batch statistics: nothing anywhere says eval."""
    if not any(depends_on_mode(m) for m in lab.subject.original.model.modules()):
        return
    files = trees(loop)
    if any(_switches(c) for t in files for c in (*t.calls("eval"), *t.calls("train"))):
        return
    forwards = {e.owner for e in of_kinds(loop, "forward")}
    known = forwards | {"model", "net", "self.model", "self.net"}
    for tree in files:
        for node in tree.walk(ast.For, ast.GeneratorExp, ast.ListComp):
            called_there = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
            learns = any(called(c) in ("backward", "step") for c in called_there)
            if learns or not _holds_out(node, tree) or not tree.quiet(_inside(node)):
                continue
            if known & {ast.unparse(c.func) for c in called_there}:
                yield Slip(
                    "the validation runs in training mode",
                    "nothing switches the model to eval mode: dropout is active and batch "
                    "statistics are updated while it is validated",
                    "call model.eval() before the validation and model.train() after it",
                    place(tree.event(node)),
                    certain=False,
                )
                return


def _inside(node: ast.AST) -> ast.AST:
    return node.body[0] if isinstance(node, ast.For) else node


def _switches(call: ast.Call) -> bool:
    """`model.eval()`, `model.train(False)`, `model.train(training)`; not `train(model, loader)`."""
    if not isinstance(call.func, ast.Attribute):
        return False
    mode = [*call.args, *(k.value for k in call.keywords)]
    return called(call) == "eval" or (len(mode) == 1 and ast.unparse(mode[0]) != "True")


def _holds_out(node: ast.AST, tree: Tree) -> bool:
    """Whether a loop runs over validation data, or stands in a function that evaluates."""
    if isinstance(node, ast.For):
        read = node.iter
    elif isinstance(node, ast.GeneratorExp | ast.ListComp):
        read = node.generators[0].iter
    else:
        return False
    source = ast.unparse(read).lower().removeprefix("enumerate(").removeprefix("tqdm(")
    around = tree.function(node)
    name = around.name.lower() if isinstance(around, Function) else ""
    return source.startswith(_HELD) or name.startswith(_HELD)
