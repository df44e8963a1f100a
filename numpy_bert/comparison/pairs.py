"""Which arrays of two traces belong together, and in what order they are compared."""

from __future__ import annotations

from numpy_bert.errors import TraceError
from numpy_bert.files import quoted
from numpy_bert.traces.names import INPUTS, is_weight, layers_in, place_of, same_step
from numpy_bert.traces.reading import Trace, TraceArray

__all__ = ["Pairs"]

_MANIFEST = {
    "weights_sha256": "weights",
    "tokenizer_sha256": "tokenizers",
    "config": "configs",
    "text": "texts",
}
_MOST_LISTED = 5


class Pairs:
    """Which arrays of two traces belong together."""

    def __init__(self, reference: Trace, candidate: Trace) -> None:
        self.reference = reference
        self.candidate = candidate
        self._layers = layers_in([*reference.arrays, *candidate.arrays])
        self._theirs = {
            same_step(name, self._layers): array for name, array in candidate.arrays.items()
        }
        found = list(reference.arrays)
        inputs = [name for name in INPUTS if name in found]
        weights = [name for name in found if is_weight(name)]
        steps = [name for name in found if name not in inputs and not is_weight(name)]
        self.names = [*inputs, *weights, *sorted(steps, key=place_of)]
        if not any(self.of(name) is not None for name in self.names if name not in INPUTS):
            raise TraceError(
                f"{reference.label} and {candidate.label} have no tensor in common; name the "
                "candidate's as the reference's are, or give a name map (--map)."
            )

    def of(self, name: str) -> TraceArray | None:
        """Return the candidate's array of a reference's name; another name of it will do."""
        return self.candidate.arrays.get(name) or self._theirs.get(same_step(name, self._layers))

    def notes(self) -> list[str]:
        """Say what the traces claim to be made of, where it differs, and what is left over."""
        notes = []
        for member, what in _MANIFEST.items():
            ours, theirs = self.reference.metadata.get(member), self.candidate.metadata.get(member)
            if ours is not None and theirs is not None and ours != theirs:
                notes.append(f"the two are said to be of different {what}.")
        known = {same_step(name, self._layers) for name in self.reference.arrays}
        names = [
            array.stored.name
            for name, array in self.candidate.arrays.items()
            if same_step(name, self._layers) not in known
        ]
        if names:
            listed = ", ".join(quoted(name) for name in names[:_MOST_LISTED])
            more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            notes.append(f"in the candidate only, and not compared: {listed}{more}.")
        return notes
