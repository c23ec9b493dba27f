"""Reports to test the writers with: one with every status and kind of detail, one that passes."""

from __future__ import annotations

import math
from typing import Any

from recipe_check.details import Bars, Detail, Histogram, Images, Line, Mark, Matrix, Series, Table
from recipe_check.results import Cost, Result, Root, Suppression, Verdict
from recipe_check.run_report import SCHEMA, Found, Layer, Report, Run, Target, Tool
from recipe_check.values import Cause, CauseState, Fix, Location, Status

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onload=\"alert(1)' x='",
    "ansi": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "bidi": "abc\u202edef\u2066",
    "surrogate": "a\ud800b",
    "math": "$x_1^2$ and $",
    "long": "y" * 10_000,
    "command": "::error file=x::boom\n::set-output name=a::b\n##[error]c",
    "cdata": "]]> <![CDATA[ &amp; </style></title>",
    "null": "a\x00b\x07\r\nc",
    "markdown": "[a](http://b) | `c` **d** @e\n# f\n</details>\n```",
    "percent": "100%0A::warning::x,file=y:1",
    "template": "{{ 7 * 7 }}{% raw %}",
}

_STAGES = {"label-range": "data", "update-ratio": "model"}
STEPS = tuple(float(step) for step in range(0, 400, 8))


def sample_report(text: str = "DigitNet") -> Report:
    """A failing run. `text` stands wherever a user's program can put a name."""
    results = (
        *_failures(text),
        _result("dead-relu", Verdict(
            status=Status.WARN, message=f"56 of 64 units of {text} never fire",
            measured="fc1: 56 of 64 units dead", expected="at most 50 %",
            location=Location(file="model.py", line=17, source=f"    bias = -0.25  # {text}"),
            details=(_firing(text),)), title="Rectified units never fire"),
        _result("gradient-norms", Verdict(
            status=Status.PASS, message="all finite", measured="1.8e-04 to 1.2e-02",
            details=(_norms(text),)), title="Every weight gets a gradient"),
        _result("initial-loss", Verdict(
            status=Status.PASS, message=f"{text} starts at chance", measured="2.303",
            expected="2.303 (ln 10)"), title="Starts at the loss of a guess"),
        _result("label-range", Verdict(status=Status.SKIP, message=f"no labels in {text}"),
                title="Labels fit the outputs"),
        _result("gradient-check", Verdict(status=Status.ERROR, message=f"broke: {text}"),
                title="The gradient could not be checked", traceback=f"Traceback\n  {text}"),
        _result("known-before", Verdict(status=Status.FAIL, message=f"{text} was there before"),
                title="It was there before",
                suppressed=Suppression(reason=f"it is in {text}.json", baseline=f"{text}.json")),
        _result("update-ratio", Verdict(status=Status.WARN, message=f"{text} moves far",
                                        measured="4.3e-02", expected="1e-4 to 1e-2"),
                title="The first step is large",
                suppressed=Suppression(reason=f"Adam's first step is lr-sized {text}",
                                       expires="2027-02-21")),
    )  # fmt: skip
    place = results[0].verdict.location
    return _report(
        results,
        text,
        outcome="failed",
        exit_code=1,
        roots=(
            Root(title="Samples of one batch influence each other", check="batch-dependency",
                 explains=("batch-dependency", "overfit-one-batch"),
                 text=f"flatten without moving axis 0 {text}", location=place),
            Root(title="Rectified units never fire", check="dead-relu", explains=("dead-relu",)),
        ),
        notes=(f"the suppression of initial-loss ({text}) is unused: the check passed",),
    )  # fmt: skip


def passing_report() -> Report:
    results = tuple(
        _result(id, Verdict(status=Status.PASS, message="as it should be", measured=measured),
                title=title)
        for id, title, measured in (
            ("initial-loss", "Starts at the loss of a guess", "2.303"),
            ("batch-dependency", "Samples do not influence each other", "0 of 156 pairs leak"),
            ("overfit-one-batch", "Learns one batch by heart", "loss 2.3 → 0.001"),
        )
    )  # fmt: skip
    skipped = _result("label-range", Verdict(status=Status.SKIP, message="no labels"))
    return _report((*results, skipped), "DigitNet", outcome="passed", exit_code=0)


def report_of(
    *verdicts: Verdict, outcome: str = "passed", exit_code: int = 0, inputs: tuple[Detail, ...] = ()
) -> Report:
    """A report of these verdicts alone, the checks numbered."""
    results = tuple(_result(f"check-{i}", verdict) for i, verdict in enumerate(verdicts))
    return _report(results, "Net", outcome=outcome, exit_code=exit_code, inputs=inputs)


def every_detail(text: str = "fc1") -> tuple[Detail, ...]:
    """One of each kind, with `text` for each name and caption."""
    return (
        _pairs(text),
        _curves(text),
        _firing(text),
        _norms(text),
        Table(title=f"Labels of {text}", columns=("sample", text), rows=((0, text), (1, None))),
        Histogram(title=f"Values {text}", x_label=text, edges=(0.0, 1.0, 2.0), counts=(3.0, 4.0),
                  caption=text),
        Images(title=f"Inputs of {text}", labels=(text, "3"), caption=text,
               pixels=(((0.0, 1.0), (0.5, 0.2)), (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),))),
    )  # fmt: skip


def _failures(text: str) -> tuple[Result, ...]:
    more = "" if text == "DigitNet" else text
    place = Location(
        file=f"model{more}.py",
        line=22,
        column=13,
        end_column=26,
        op=f"reshape{more}",
        source=f"        x = x.reshape(-1)  # {text}",
    )
    leak = Verdict(
        status=Status.FAIL,
        message=f"rows of {text} influence each other",
        measured="24 of 156 pairs leak",
        expected="0",
        causes=(
            Cause(title="attention", state=CauseState.RULED_OUT, check="gradient-norms"),
            Cause(title=f"a reshape in {text}", state=CauseState.MATCHES, evidence=f"line {text}"),
            Cause(title="a recurrent layer", state=CauseState.NOT_TESTED),
        ),
        fix=Fix(text=f"flatten {text}", remove=("        x = x.reshape(-1)",),
                add=(f"        x = x.flatten(1)  # {text}",)),
        location=place,
        details=(_pairs(text), *every_detail(text)[4:]),
    )  # fmt: skip
    stuck = Verdict(
        status=Status.FAIL,
        message=f"{text} cannot learn 16 samples",
        measured="loss 2.3 → 2.15",
        expected="below 0.115",
        causes=(Cause(title="samples mix", state=CauseState.MATCHES, check="batch-dependency"),),
        details=(_curves(text), _seeds(text)),
    )
    return (
        _result("batch-dependency", leak, title="Samples of one batch influence each other"),
        _result("overfit-one-batch", stuck, title="Cannot learn one batch by heart"),
    )


def _seeds(text: str) -> Table:
    rows = ((0, "fail", "loss 2.3 → 2.15"), (1, "fail", text), (2, "warn", "loss 2.3 → 0.9"))
    columns = ("seed", "verdict", "measured")
    return Table(title="The same check with other seeds", columns=columns, rows=rows)


def _pairs(text: str) -> Matrix:
    rows = tuple(
        tuple((3 * i + 5 * j) % 7 / 2048 if i in (5, 9) and i != j else 0.0 for j in range(13))
        for i in range(13)
    )
    return Matrix(
        title="Change of each output when one sample is replaced",
        x_label=f"sample {text}",
        y_label="output",
        values=rows,
        caption=f"Off the diagonal: {text}",
    )


def _curves(text: str) -> Series:
    falling = tuple(round(2.15 + 9 / (step + 60), 6) for step in STEPS)
    lost = tuple(2.3 if step < 200 else math.nan for step in STEPS)
    return Series(title=f"Loss of {text}", x_label="step", y_label="loss",
                  lines=(Line(name="Adam 0.001", x=STEPS, y=falling),
                         Line(name=f"Adam 0.01 {text}", x=STEPS, y=lost)),
                  marks=(Mark(name="chance", value=2.303), Mark(name=text, value=1.461)),
                  caption="The same samples at every step")  # fmt: skip


def _firing(text: str) -> Bars:
    return Bars(title="Dead units", value_label="share of units", names=("conv1", text),
                values=(0.0, 0.875), marks=(Mark(name="limit", value=0.5),))  # fmt: skip


def _norms(text: str) -> Bars:
    names, values = (text, "fc1.weight", "fc2.weight"), (1.8e-4, math.inf, 1.2e-2)
    return Bars(title="Gradient norm", value_label=f"norm {text}", names=names, values=values,
                log_y=True)  # fmt: skip


def _result(id: str, verdict: Verdict, title: str = "", **more: Any) -> Result:
    return Result(
        id=id,
        stage=_STAGES.get(id, "skeleton"),
        title=title or id,
        verdict=verdict,
        about="Takes the gradient of one row.",
        why="The model sees other samples.",
        cost=Cost(forward=3, seconds=0.61),
        fingerprint="0" * 32,
        reproduce=("recipe-check", "run", "model.py", "--only", id),
        **more,
    )


def _report(results: tuple[Result, ...], text: str, **more: Any) -> Report:
    return Report(
        **{
            "schema": SCHEMA,
            "tool": Tool(name="recipe-check", version="0.1.0"),
            "target": Target(name=text, file="model.py", model=text, parameters=206_922,
                             sha256="ab" * 32, notes=(f"note on {text}",),
                             found=(Found(role="model", summary=f"{text}, 206,922 parameters",
                                          how="by its name `net`"),)),
            "run": Run(seed=0, device="cpu", started="2026-11-21T01:36:00Z", seconds=31.9,
                       budget_seconds=120.0, command=("recipe-check", text),
                       environment=(("torch", "2.13.0"), ("branch", text)),
                       objects_unchanged=True, step_seconds=0.0039,
                       step_equivalents=310.3, peak_memory_bytes=412_345_678),
            "results": results,
            "inputs": every_detail(text)[4:],
            "layers": (Layer(name=text, kind="Linear", output_shape=(32, 10), parameters=12_345,
                             trainable=10, activation_mean=0.1),),
            **more,
        }
    )  # fmt: skip
