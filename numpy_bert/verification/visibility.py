"""Which of the known mistakes a trace could show, and which it hides, whatever the port does."""

from __future__ import annotations

import numpy as np

from numpy_bert.verification.case import Case
from numpy_bert.verification.causes import variants
from numpy_bert.verification.mistake import Cause, Setting

__all__ = ["Visibility"]

# What to do about mistakes that need another input to show.
_ADVICE = (
    (("mask_", "pooler_token"), "no row is padded: give a batch of texts of several lengths"),
    (("positions_restart",), "no token stands behind padding: pad a batch on the left"),
    (("segments_",), "all token_type_ids are 0: give a pair of texts"),
)
_BY_INPUT = tuple(name for names, _ in _ADVICE for name in names)
# Beyond so many steps, a block of the model and more, only what depends on the input is looked at.
_LONG = 12


class Visibility:
    """A count, for each mistake, of the steps in which it would have stood out."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._seen: dict[Cause, list[bool]] = {}

    @np.errstate(all="ignore")
    def look(self, case: Case) -> None:
        """Make each mistake in a segment, and note whether the result leaves its budget."""
        counts = np.broadcast_to(case.places, case.expected.shape)
        is_long = len(case.segment.steps) > _LONG
        done: set[Cause] = set()
        for variant in variants(case.segment, self._setting):
            if variant.cause in done:
                continue  # the first is made wherever it can be
            done.add(variant.cause)
            if is_long and not variant.cause.name.startswith(_BY_INPUT):
                continue
            try:
                effect = np.abs(case.run(variant.steps) - case.expected)[counts].max()
            except ValueError:  # of another shape
                effect = np.inf
            seen = bool(effect > case.allowed or not np.isfinite(effect))
            self._seen.setdefault(variant.cause, []).append(seen)

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
        met = (bool(~mask.all()), behind, bool(types.any()))
        for (names, advice), is_met in zip(_ADVICE, met, strict=True):
            if cause.name.startswith(names) and not is_met:
                return f" ({advice})"
        return ""
