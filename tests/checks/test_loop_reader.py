"""The static reader of training loops: what it follows, and in whose words."""

from __future__ import annotations

import ast
import sys
import textwrap

import pytest

from recipe_check.probes.loop_calls import Names, text_of
from recipe_check.probes.loops import Loop, read_training, user_files


def read(tmp_path, text: str, **others: str):
    files = [tmp_path / "fit.py", *(tmp_path / f"{name}.py" for name in others)]
    for file, content in zip(files, (text, *others.values()), strict=True):
        file.write_text(textwrap.dedent(content))
    return read_training(files)


def kinds(loop: Loop) -> str:
    named = ("zero", "backward", "clip", "step", "schedule", "train", "eval", "reset", "assign")
    return " ".join(e.kind for e in loop.events() if e.kind in named)


BODY = "optimizer.zero_grad(); loss_fn(model(x), y).backward(); optimizer.step()"


def test_loops_of_epochs_and_batches_are_found(tmp_path) -> None:
    (found,) = read(
        tmp_path,
        f"""
        for epoch in range(1, 4 + 1):
            for x, y in loader: {BODY}
            scheduler.step()
    """,
    )
    assert (found.batch.header, found.batch.line, found.batch.count) == (
        "(x, y) in loader",
        3,
        None,
    )
    assert (found.epoch.header, found.epoch.count) == ("epoch in range(1, 4 + 1)", 4)
    assert kinds(found.batch) == "zero backward step"
    assert kinds(found.epoch) == "zero backward step schedule"


def test_functions_are_followed_in_the_words_of_the_caller(tmp_path) -> None:
    (found,) = read(
        tmp_path,
        """
        def one(net, batch, opt=None):
            net.train()
            opt.zero_grad()
            score(net(batch)).backward()
            opt.step()
        def fit(model, optimizer, epochs=7):
            for _ in range(epochs):
                for batch in loader:
                    one(model, batch, opt=optimizer)
        if __name__ == "__main__":
            fit(student, adam_opt, epochs=3)
    """,
    )
    assert found.epoch.count == 3
    owners = {e.kind: e.owner for e in found.batch.events()}
    assert owners["train"] == "student"
    assert (owners["zero"], owners["step"]) == ("adam_opt", "adam_opt")


def test_modules_beside_the_target_are_followed(tmp_path) -> None:
    (found,) = read(
        tmp_path, "import engine\nfor e in range(2):\n    engine.run(model)\n",
        engine=f"""
        def run(model):
            for x, y in loader:
                {BODY}
        """,
    )  # fmt: skip
    assert found.batch.line == 3
    assert {e.file.name for e in found.batch.events()} == {"engine.py"}
    assert found.epoch.count == 2


def test_a_function_that_nothing_calls_is_read_by_itself(tmp_path) -> None:
    (found,) = read(
        tmp_path,
        f"""
        def train(epochs=5):
            for epoch in range(epochs):
                for x, y in loader: {BODY}
    """,
    )
    assert found.epoch.count == 5


def test_recursion_and_deep_calls_end(tmp_path) -> None:
    chain = "\n".join(f"def f{i}():\n    f{i + 1}()" for i in range(40))
    text = f"def f():\n    f()\n    g()\ndef g():\n    f()\n{chain}\nf()\nf0()\n"
    assert read(tmp_path, text) == []


ORDERS = {
    "arguments-first": ("optimizer.step(loss.backward())", "backward step"),
    "closure": ("def c():\n    loss.backward()\noptimizer.step(c)", "step backward"),
    "lambda": ("optimizer.step(lambda: loss.backward())", "backward step"),
    "with": ("with scaled(loss) as s:\n    s.backward()\noptimizer.step()", "backward step"),
    "try": ("try:\n    loss.backward()\nfinally:\n    optimizer.step()", "backward step"),
    "else": ("loss.backward()\nif bad: pass\nelse: optimizer.step()", "backward step"),
    "grad-none": ("loss.backward()\np.grad = None\noptimizer.step()", "backward zero step"),
    "grad-zero": ("loss.backward()\noptimizer.step()\nw.grad.data.zero_()", "backward step zero"),
    "clips": (
        "loss.backward()\ntorch.nn.utils.clip_grad_norm_(p, 1)\nclip_grad_value_(p, 1)\nopt.step()",
        "backward clip clip step",
    ),
    "modes": ("m.train()\nm.train(False)\nm.eval()\nloss.backward()\nopt.step()",
              "train eval eval backward step"),
    "resets": ("m.apply(init_weights)\nm.apply(count)\nm.a.reset_parameters()\nl.backward()\n"
               "opt.step()", "reset reset backward step"),
    "schedules": ("loss.backward()\nopt.step()\nlr_sched.step()\nenv.step(a)",
                  "backward step schedule"),
    "scaler": ("scaler.scale(loss).backward()\nscaler.step(o)\nscaler.update()", "backward step"),
    "assigned": ("model = build()\nloss.backward()\nopt.step()", "assign backward step"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS.values(), ids=ORDERS.keys())
def test_events_come_in_the_order_in_which_they_happen(tmp_path, case) -> None:
    body, expected = case
    (found,) = read(tmp_path, "for x in loader:\n" + textwrap.indent(body, "    "))
    assert kinds(found.batch) == expected


def test_names_are_told_by_what_they_were_assigned(tmp_path) -> None:
    (found,) = read(
        tmp_path,
        """
        sgd = torch.optim.SGD(model.parameters(), 0.1)
        decay = lr_scheduler.StepLR(sgd, 3)
        for x in loader:
            sgd.zero_grad(); loss(x).backward(); sgd.step(); decay.step()
    """,
    )
    assert kinds(found.batch) == "zero backward step schedule"


def test_conditions_are_kept_as_guards(tmp_path) -> None:
    (found,) = read(
        tmp_path,
        """
        for i, x in enumerate(loader):
            loss(x).backward()
            if i % k == 0:
                optimizer.step()
            else:
                optimizer.zero_grad()
    """,
    )
    guards = {e.kind: e.guard for e in found.batch.events()}
    assert (guards["backward"], guards["step"], guards["zero"]) == ("", "i % k == 0", "i % k == 0")


COUNTS = {
    "range(5)": 5, "range(1, 11)": 10, "range(EPOCHS)": 30, "trange(EPOCHS)": 30,
    "range(1, args.epochs + 1)": 14, "range(cfg['epochs'])": None, "range(2 * EPOCHS)": None,
    "range(start, args.epochs)": 14, "items": None,
}  # fmt: skip


@pytest.mark.parametrize(("header", "count"), COUNTS.items())
def test_rounds_that_can_be_read(header, count) -> None:
    tree = ast.parse(
        "EPOCHS = 30\nstart = 0\nparser.add_argument('--epochs', type=int, default=14)\n"
    )
    names = Names.of([tree])
    assert names.rounds(ast.parse(header, mode="eval").body, {}) == count


def test_text_of_replaces_parameters() -> None:
    node = ast.parse("net.head.weight", mode="eval").body
    assert text_of(node, {"net": ast.parse("self.model", mode="eval").body}) == (
        "self.model.head.weight"
    )


def test_broken_and_missing_files_hold_no_loop(tmp_path) -> None:
    assert read(tmp_path, "for x in (") == []
    assert read_training([tmp_path / "missing.py"]) == []
    assert read_training([]) == []
    assert user_files(None) == []


def test_the_user_s_files_are_those_beside_the_target(tmp_path, monkeypatch) -> None:
    (tmp_path / "fit.py").write_text("import beside_fit\n")
    (tmp_path / "beside_fit.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("beside_fit")
    monkeypatch.delitem(sys.modules, "beside_fit", raising=False)
    __import__("beside_fit")
    found = user_files(tmp_path / "fit.py")
    assert [file.name for file in found] == ["fit.py", "beside_fit.py"]
