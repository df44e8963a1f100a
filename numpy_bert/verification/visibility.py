"""Which of the known mistakes a trace could show, and which ones it hides, whatever a port does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.comparison.differences import counted
from numpy_bert.traces.layout import block_of
from numpy_bert.verification.cases import LONG, Case, variants
from numpy_bert.verification.mistakes import Cause, Setting
from numpy_bert.verification.rounding import analysed, budgets
from numpy_bert.verification.steps import segment_of
from numpy_bert.verification.trials import Trials

__all__ = ["Visibility"]

# What to do about mistakes that need another input to show.
_ADVICE = (
    (("mask_", "pooler_token"), "no row is padded: give a batch of texts of several lengths"),
    (
        ("positions_restart", "positions_count"),
        "no token stands behind padding: pad a batch on the left",
    ),
    (("segments_",), "all token_type_ids are 0: give a pair of texts"),
    (("relative_bias_",), "no two tokens are far apart: give a longer text"),
)
# Beyond so many tokens the distances stand for more than themselves.
_FAR = 16
_BY_INPUT = tuple(name for names, _ in _ADVICE for name in names)


class Visibility:
    """A count, for each mistake, of the steps in which it would have stood out."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._seen: dict[Cause, list[bool]] = {}

    def look(self, case: Case) -> None:
        """Make each mistake in a segment, and note whether the result leaves its budget.

        In a long segment, which is a block of the model and more, only mistakes that depend on the
        input are made, and looked at where its first blocks end.
        """
        if len(case.segment.steps) <= LONG:
            self._look(case, lambda _cause: True)
            return
        for part in self._first_blocks(case):
            self._look(part, lambda cause: cause.name.startswith(_BY_INPUT))

    @np.errstate(all="ignore")
    def _look(self, case: Case, is_wanted: Callable[[Cause], bool]) -> None:
        """Make the mistakes that are wanted."""
        trials = Trials(case, self._setting)
        done: set[Cause] = set()
        for variant in variants(case.segment, self._setting):
            if variant.is_rare or variant.cause in done or not is_wanted(variant.cause):
                continue  # the first is made wherever it can be
            done.add(variant.cause)
            try:
                share = case.share(trials.run(variant.steps) - case.expected)
            except ValueError:  # of another shape
                share = np.inf
            self._seen.setdefault(variant.cause, []).append(share > 1.0)

    def _first_blocks(self, case: Case) -> Iterator[Case]:
        """Yield the first blocks of each kind in a segment, as a right port has them."""
        inside = {step.name: step for step in case.segment.steps}
        ends = [name for name in inside if name == block_of(name)]
        later = [name for name in ends if name.startswith("encoder.")][1:]
        held: dict[str, npt.NDArray[Any]] = dict(case.arrays)
        for name in (name for name in ends if name not in later):
            before = segment_of(name, self._setting.steps, held)
            found = analysed(before, held, case.dtype)
            tokens = self._setting.inputs.attention_mask
            places = counted(inside[name].axes, tokens)
            allowed = budgets(found, case.dtype)
            arrays = {own: held[own] for own in before.inputs}
            result = found.result
            yield Case(before, arrays, result, result, places, case.dtype, _as_it_is, allowed)
            held[name] = result
            held["encoder"] = result  # for the pooler, to which it is a hidden state like another

    def hidden(self) -> list[str]:
        """Return the mistakes that could nowhere, or not everywhere, have been seen."""
        found = []
        for cause, seen in self._seen.items():
            if all(seen):
                continue
            if any(seen):
                count = len(seen) - sum(seen)
                found.append(f"{cause.text} (at {count} of {len(seen)} steps)")
            else:
                found.append(f"{cause.text}{self._advice(cause)}")
        return found

    def _advice(self, cause: Cause) -> str:
        """Say what would show a mistake that the input hides."""
        mask, types = self._setting.inputs.attention_mask, self._setting.inputs.token_type_ids
        behind = bool((np.cumsum(~mask, axis=1)[mask] > 0).any())
        is_far = mask.shape[1] > _FAR
        met = (bool(~mask.all()), behind, bool(types.any()), is_far)
        for (names, advice), is_met in zip(_ADVICE, met, strict=True):
            if cause.name.startswith(names) and not is_met:
                return f" ({advice})"
        return ""


def _as_it_is(array: Array) -> Array:
    return array
