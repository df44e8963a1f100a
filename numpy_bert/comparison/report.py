"""What a comparison found: rows of steps, a verdict, the first step that differs, and its cause."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from numpy_bert.comparison.differences import Difference
from numpy_bert.messages import quoted

__all__ = ["Report", "StepReport", "Verdict", "measured"]

Verdict = Literal["pass", "differs", "allowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One input, weight or step, compared.

    Attributes
    ----------
    name : str
        The step's name.
    verdict : {"pass", "differs", "allowed"}
        Whether it is within its budget; allowed: it is not, and was named as allowed.
    shape, dtype
        The candidate's; empty where it has none.
    max_abs, max_rel, ulp : float or None
        The largest distance from the reference, in three units; None where nothing was compared.
    own, inherited : float or None
        The part of `max_abs` that the step itself makes from the candidate's own input, and what
        comes from the steps before it; None where that was not asked.
    budget : float or None
        What `own` (in a plain comparison the difference) may be.
    worst, value, expected
        Where the largest difference is, what stands there and what should.
    cause : str or None
        The name of the mistake that gives the candidate's numbers.
    text : str
        What is wrong, as a sentence.
    reference : float or None
        How far a further reference is from the float64 result.
    """

    name: str
    verdict: Verdict
    shape: tuple[int, ...] = ()
    dtype: str = ""
    max_abs: float | None = None
    max_rel: float | None = None
    ulp: float | None = None
    own: float | None = None
    inherited: float | None = None
    budget: float | None = None
    worst: tuple[int, ...] | None = None
    value: float | None = None
    expected: float | None = None
    cause: str | None = None
    text: str = ""
    reference: float | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the candidate has no such array."""
        return not self.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a comparison.

    Attributes
    ----------
    candidate, against : str
        What was compared with what.
    steps : sequence of StepReport
        Inputs, weights, then steps in execution order.
    notes : sequence of str
        What else a reader must know.
    hidden : sequence of str
        Mistakes that could not have been seen in this trace, whatever the port does.
    """

    candidate: str
    against: str
    steps: Sequence[StepReport]
    notes: Sequence[str] = ()
    hidden: Sequence[str] = ()

    @property
    def verdict(self) -> Literal["pass", "differs"]:
        """Whether every step passed or was allowed to differ."""
        return "pass" if self.guilty is None else "differs"

    @property
    def guilty(self) -> StepReport | None:
        """The first step that differs; one that the candidate does not have, if no other does."""
        wrong = [step for step in self.steps if step.verdict == "differs"]
        return next((step for step in wrong if not step.is_missing), next(iter(wrong), None))

    @property
    def first(self) -> str | None:
        """The name of the first step that differs."""
        return None if self.guilty is None else self.guilty.name

    @property
    def cause(self) -> str | None:
        """The name of the mistake that explains it, None where none or more than one does."""
        return None if self.guilty is None else self.guilty.cause

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; a number that is not finite is null."""
        return {
            "verdict": self.verdict,
            "first": self.first,
            "cause": self.cause,
            "sentence": self.sentence,
            "candidate": self.candidate,
            "against": self.against,
            "steps": [{k: _plain(v) for k, v in asdict(step).items()} for step in self.steps],
            "notes": list(self.notes),
            "hidden": list(self.hidden),
        }

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        guilty = self.guilty
        if guilty is None:
            count = sum(step.verdict == "pass" for step in self.steps)
            allowed = len(self.steps) - count
            more = f"; {allowed} were allowed to differ" if allowed else ""
            return f"The same: all {count} are within their budgets{more}."
        rest = [s for s in self.steps if s.verdict == "differs" and s is not guilty]
        missing = sum(step.is_missing for step in rest)
        left = len(rest) - missing
        more = f"; {left} after it differ too" if left else ""
        if missing:
            others = f"{missing} more" if guilty.is_missing else f"{missing}"
            more += f"; {others} {'is' if missing == 1 else 'are'} missing in the candidate"
        size = ""
        if guilty.budget is not None and guilty.max_abs is not None:
            error = guilty.max_abs if guilty.own is None else guilty.own
            whose = "" if guilty.own is None else " of its own"
            size = f", by {error:.2g}{whose} (its budget is {guilty.budget:.2g})"
        reason = f": {guilty.text}" if guilty.text else ""
        return f"The first to differ is {quoted(guilty.name)}{size}{reason}{more}."


def measured(found: Difference) -> dict[str, Any]:
    """Return what a row says of a difference."""
    return {
        "max_abs": found.max_abs,
        "max_rel": found.max_rel,
        "ulp": found.ulp,
        "worst": found.worst,
        "value": found.value,
        "expected": found.expected,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
