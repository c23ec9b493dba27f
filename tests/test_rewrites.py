"""A change is suggested where the line alone makes it certain, and nowhere else."""

from __future__ import annotations

import pytest

from recipe_check.results import Verdict
from recipe_check.rewrites import with_change
from recipe_check.values import Fix, Location, Status

RAW = "return the raw scores: cross_entropy applies its own normalisation"
DETACH = "remove the detach (or no_grad, item, argmax) between them and the loss"
FLAT = "reshape without moving axis 0: x.flatten(1), or permute before view"
SHUFFLE = "set shuffle=True on the training loader"


def changed(text: str, line: str, marked: str, op: str) -> tuple[str, ...]:
    """The lines to add for a fix with this text, where `marked` is marked in the line."""
    column = line.index(marked) + 1
    place = Location(file="m.py", line=1, column=column, end_column=column + len(marked),
                     source=line, op=op)  # fmt: skip
    verdict = Verdict(status=Status.FAIL, message="m", fix=Fix(text=text), location=place)
    fix = with_change(verdict).fix
    assert fix is not None
    assert fix.remove == ((line,) if fix.add else ())
    return fix.add


@pytest.mark.parametrize(
    ("text", "before", "marked", "op", "after"),
    [
        (RAW, "    return F.softmax(self.fc(x), dim=1)  # c", "F.softmax(self.fc(x), dim=1)",
         "softmax", "    return self.fc(x)  # c"),
        (RAW, "return self.fc(x).softmax(-1)", "self.fc(x).softmax(-1)", "softmax",
         "return self.fc(x)"),
        (RAW, "y = self.sigmoid(a + b) * 2", "self.sigmoid(a + b)", "sigmoid", "y = (a + b) * 2"),
        (RAW, "return x.sigmoid()", "x.sigmoid()", "sigmoid", "return x"),
        (DETACH, "x = self.norm(x).detach()", "self.norm(x).detach()", "detach",
         "x = self.norm(x)"),
        (FLAT, "x = x.transpose(0, 1).reshape(x.size(0), -1)",
         "x.transpose(0, 1).reshape(x.size(0), -1)", "reshape", "x = x.flatten(1)"),
        (FLAT, "h = h.transpose(1, 0).contiguous().view(h.shape[0], -1)",
         "h.transpose(1, 0).contiguous().view(h.shape[0], -1)", "view", "h = h.flatten(1)"),
        (SHUFFLE, "train = DataLoader(data, batch_size=8)", "DataLoader(data, batch_size=8)", "",
         "train = DataLoader(data, batch_size=8, shuffle=True)"),
        (SHUFFLE, "d = data.DataLoader(s, shuffle=False, num_workers=2)",
         "data.DataLoader(s, shuffle=False, num_workers=2)", "",
         "d = data.DataLoader(s, shuffle=True, num_workers=2)"),
    ],
)  # fmt: skip
def test_a_certain_change(text: str, before: str, marked: str, op: str, after: str) -> None:
    assert changed(text, before, marked, op) == (after,)


@pytest.mark.parametrize(
    ("text", "line", "marked", "op"),
    [
        (RAW, "return self.net(x)", "self.net(x)", "softmax"),  # the softmax is within
        (RAW, "return F.softmax(x", "F.softmax(x", "softmax"),  # goes on below
        (DETACH, "return self.net(x)", "self.net(x)", "no_grad"),
        (FLAT, "x = x.transpose(0, 1).reshape(b, -1)", "x.transpose(0, 1).reshape(b, -1)", "view"),
        (FLAT, "x = x.transpose(1, 2).reshape(x.size(0), -1)",
         "x.transpose(1, 2).reshape(x.size(0), -1)", "reshape"),
        (FLAT, "x = x.reshape(-1)", "x.reshape(-1)", "reshape"),
        (SHUFFLE, "d = DataLoader(data, sampler=s)", "DataLoader(data, sampler=s)", ""),
        (SHUFFLE, "d = DataLoader(data, **more)", "DataLoader(data, **more)", ""),
        (SHUFFLE, "d = DataLoader(data, 8, False)", "DataLoader(data, 8, False)", ""),
        (SHUFFLE, "d = DataLoader(data, shuffle=s)", "DataLoader(data, shuffle=s)", ""),
        (SHUFFLE, "d = make_loader(data)", "make_loader(data)", ""),
        ("use a p of 0.1 to 0.5", "x = F.softmax(x)", "F.softmax(x)", "softmax"),
    ],
)  # fmt: skip
def test_no_change_where_it_would_be_a_guess(text: str, line: str, marked: str, op: str) -> None:
    assert changed(text, line, marked, op) == ()


def test_no_place_no_change() -> None:
    verdict = Verdict(status=Status.FAIL, message="m", fix=Fix(text=RAW))
    assert with_change(verdict) is verdict
    assert with_change(Verdict(status=Status.PASS, message="m")).fix is None


def test_columns_that_do_not_fit_the_line_change_nothing() -> None:
    place = Location(file="m.py", line=1, column=90, end_column=99, source="y = 1", op="softmax")
    verdict = Verdict(status=Status.FAIL, message="m", fix=Fix(text=RAW), location=place)
    assert with_change(verdict) is verdict
