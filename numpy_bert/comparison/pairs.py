"""Which arrays of two traces belong together, and in what order they are compared."""

from __future__ import annotations

import numpy as np

from numpy_bert.comparison.inputs import OPTIONAL, completed
from numpy_bert.errors import TraceError
from numpy_bert.messages import listed, quoted
from numpy_bert.traces.names import INPUTS, is_weight, layers_in, place_of, same_step
from numpy_bert.traces.reading import Trace, TraceArray

__all__ = ["Pairs"]

_MANIFEST = {
    "weights_sha256": "weights",
    "tokenizer_sha256": "tokenizers",
    "config": "configs",
    "text": "texts",
}


class Pairs:
    """Which arrays of two traces belong together.

    Attributes
    ----------
    reference, candidate : Trace
        The two, each with the inputs that the other one holds (see `completed`).
    names : list of str
        The reference's, in the order of comparison: inputs, weights, steps. Weights and inputs that
        need not be there are among them only if the candidate has them.
    assumed : dict of str to str
        Inputs that one of the two leaves out: what is to be said of it.
    """

    def __init__(self, reference: Trace, candidate: Trace) -> None:
        self.reference = completed(reference, candidate)
        self.candidate = completed(candidate, reference)
        self.assumed = {
            name: f"the {who} holds none, which stands for {OPTIONAL[name]}"
            for who, before, after in (
                ("reference", reference, self.reference),
                ("candidate", candidate, self.candidate),
            )
            for name in after.arrays
            if name not in before.arrays
        }
        self._layers = layers_in([*reference.arrays, *candidate.arrays])
        self._check_twins()
        self._theirs: dict[str, list[TraceArray]] = {}
        for array in (*self.candidate.arrays.values(), *candidate.twins):
            self._theirs.setdefault(same_step(array.step, self._layers), []).append(array)
        found = [name for name in self.reference.arrays if not self._is_left_out(name)]
        inputs = [name for name in INPUTS if name in found]
        weights = [name for name in found if is_weight(name)]
        steps = [name for name in found if name not in inputs and not is_weight(name)]
        self.names = [*inputs, *weights, *sorted(steps, key=place_of)]
        if not any(self.of(name) for name in self.names if name not in INPUTS):
            raise TraceError(
                f"{reference.label} and {candidate.label} have no tensor in common; name the "
                "candidate's as the reference's are, or give a name map (--map)."
            )

    def of(self, name: str) -> list[TraceArray]:
        """Return the candidate's arrays of a reference's name, the one that bears it first.

        Another name of the same step will do where the reference has no array of that name. One
        array may so stand for several names, but each is in at least one list.
        """
        group = self._theirs.get(same_step(name, self._layers), [])
        own = [array for array in group if array.step == name]
        others = [array for array in group if array.step not in self.reference.arrays]
        return own + others if own or others else group[:1]

    def notes(self) -> list[str]:
        """Say what the traces claim to be made of, where it differs, and what is left over."""
        notes = []
        for member, what in _MANIFEST.items():
            ours, theirs = self.reference.metadata.get(member), self.candidate.metadata.get(member)
            if ours is not None and theirs is not None and ours != theirs:
                notes.append(f"the two are said to be of different {what}.")
        known = {same_step(name, self._layers) for name in self.reference.arrays}
        absent = [name for name in self.reference.arrays if self._is_left_out(name)]
        if absent:
            names = listed(absent)
            notes.append(f"in the reference only, need not be there, and not compared: {names}.")
        left = [a for step, group in self._theirs.items() if step not in known for a in group]
        if left:
            names = listed([array.stored.name for array in left])
            notes.append(f"in the candidate only, and not compared: {names}.")
        return notes

    def _is_left_out(self, name: str) -> bool:
        """Tell whether the candidate has not what it need not have."""
        return (name in OPTIONAL or is_weight(name)) and not self.of(name)

    def _check_twins(self) -> None:
        """Raise TraceError if the reference has two arrays for one step that differ."""
        for twin in self.reference.twins:
            first = self.reference.arrays[twin.step]
            if not np.array_equal(twin.stored.load(), first.stored.load(), equal_nan=True):
                raise TraceError(
                    f"{self.reference.label}: {quoted(twin.stored.name)} and "
                    f"{quoted(first.stored.name)} are both {quoted(twin.step)}, but differ."
                )
