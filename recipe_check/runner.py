"""One check on one lab: whatever happens becomes a Result."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recipe_check.api import Check
from recipe_check.errors import NotApplicable, UserCodeError
from recipe_check.guard import as_user_error, is_callers
from recipe_check.manual import Manual, manual_of
from recipe_check.ranks import NEED, RankLost
from recipe_check.results import Cost, Result, Verdict
from recipe_check.rewrites import with_change
from recipe_check.seeds import judge_over_seeds
from recipe_check.userframes import is_from_user, relative
from recipe_check.values import Location, Status

if TYPE_CHECKING:
    from recipe_check.lab import Lab

_BROKE = "The check did not finish"
_NEEDS = {
    "loss": "a loss function (name it `loss_fn` or `criterion`)",
    "targets": "targets in the batch",
    "optimizer": "an optimizer (name it `optimizer`)",
    "scheduler": "a learning-rate scheduler (name it `scheduler`)",
    "val_loader": "a validation loader (name it `val_loader`)",
    "training_step": "a training_step(model, batch)",
    "factory": "a model factory or class, to draw new weights",
}


def run_check(check: Check, lab: Lab, repeat: int = 1) -> Result:
    """Measures and judges, with `repeat` seeds where chance decides; never raises for what the
    check or the user's code does."""
    start, before = time.perf_counter(), lab.spent()
    trace = ""
    try:
        verdict = _verdict(check, lab, repeat)
    except RankLost:
        raise
    except UserCodeError as error:
        verdict, trace = _user_error(error), error.trace
    except BaseException as error:
        if is_callers(error):
            raise
        verdict, trace = _unexpected(error, check)
    after = lab.spent()
    cost = Cost(
        forward=after.forward - before.forward,
        backward=after.backward - before.backward,
        steps=after.steps - before.steps,
        seconds=round(time.perf_counter() - start, 4),
    )
    file = str(lab.subject.file or "")
    return as_result(check, verdict, cost=cost, file=relative(file) if file else "", trace=trace)


def _verdict(check: Check, lab: Lab, repeat: int) -> Verdict:
    script, observe = lab.subject.rerun, getattr(check, "observe", None)
    if script is not None and script.why and observe is not None:
        return _observed(check, lambda: observe(lab))
    if not lab.subject.in_parts:
        return Verdict(status=Status.SKIP, message="the script's step can only be observed")
    missing = sorted(check.meta.needs - lab.subject.capabilities - {"targets", NEED})
    if missing:
        reason = ", ".join(_NEEDS.get(name, name) for name in missing)
        return Verdict(status=Status.SKIP, message=f"the target has no {reason.removeprefix('a ')}")
    try:
        return judge_over_seeds(check, lab, repeat)
    except NotApplicable as reason:
        return Verdict(status=Status.SKIP, message=str(reason))


def _observed(check: Check, observe: Callable[[], Any]) -> Verdict:
    """From runs of the script itself, where its step cannot be taken out of it."""
    try:
        return check.judge(observe())
    except NotApplicable as reason:
        return Verdict(status=Status.SKIP, message=str(reason))


def _user_error(error: UserCodeError) -> Verdict:
    location = None
    if error.file:
        location = Location(file=error.file, line=error.line, source=error.source)
    where = f" at {location}" if location else ""
    return Verdict(
        status=Status.ERROR,
        message=f"your code raised{where} while this check ran: {error}",
        location=location,
    )


def _unexpected(error: BaseException, check: Check) -> tuple[Verdict, str]:
    """The user's code may have raised where no rig was in between: in `__deepcopy__`, a sampler,
    a hook. Else it is the check."""
    code = getattr(type(check).measure, "__code__", None)  # a plugin may be anywhere
    if is_from_user(error, own=code.co_filename if code else ""):
        raised = as_user_error(error)
        return _user_error(raised), raised.trace
    return _own_error(error), _own_traceback(error)


def _own_error(error: BaseException) -> Verdict:
    return Verdict(
        status=Status.ERROR,
        message=f"the check itself broke ({type(error).__name__}: {error}); "
        "this says nothing about the model",
    )


def _own_traceback(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f'  File "{relative(f.filename)}", line {f.lineno}, in {f.name}' for f in frames]
    return "\n".join([*lines, *traceback.format_exception_only(error)])


def as_result(
    check: Check, verdict: Verdict, *, cost: Cost | None = None, file: str = "", trace: str = ""
) -> Result:
    """The verdict with its check's title, manual and fingerprint."""
    meta, manual = check.meta, _manual(check)
    titles = {Status.FAIL: meta.fail_title, Status.WARN: meta.fail_title, Status.ERROR: _BROKE}
    return Result(
        id=meta.id,
        stage=meta.stage,
        title=titles.get(verdict.status, meta.title),
        verdict=with_change(verdict),
        about=manual.first_paragraph("What it measures"),
        why=manual.first_paragraph("Why it matters"),
        cost=cost or Cost(),
        fingerprint=fingerprint(meta.id, file, verdict.location),
        traceback=trace,
    )


def skipped(check: Check, reason: str) -> Result:
    """The result of a check that is not run."""
    return as_result(check, Verdict(status=Status.SKIP, message=reason))


def _manual(check: Any) -> Manual:
    """A third party's check without sections still has its summary line."""
    try:
        return manual_of(check)
    except ValueError:
        return Manual((type(check).__doc__ or "").strip().split("\n")[0], {})


def fingerprint(id: str, file: str, location: Location | None) -> str:
    """Stable while the finding stays: check, file and the text of the line, never a value."""
    where = f"{location.file}|{location.source.strip()}" if location else ""
    return hashlib.sha256(f"{id}|{file}|{where}".encode()).hexdigest()[:32]
