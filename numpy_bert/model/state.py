"""What a copy of a model is: its weights and its settings, and nothing that was made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from numpy_bert.parameters import arrays_of

__all__ = ["Stateful"]

# Whether no weight of a pickled object may be written to, which NumPy forgets when it pickles.
_READ_ONLY = "_read_only"


class Stateful(ABC):
    """Base of what users hold: weights and settings, and what is prepared of them.

    A copy and a pickle carry the weights, each once and by value, and the settings. Kernels, caches
    and scratch memory are views of one another's memory, which copying would part: a copy prepares
    its own. So a model that has been used is pickled as small as one that has not.

    A subclass lists in `_prepared` what `_prepare` makes, and what else is only a cache; in
    `_fixed` the attributes that other parts were made from, which therefore cannot be set.
    """

    _prepared: ClassVar[frozenset[str]] = frozenset()
    _fixed: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def _trees(self) -> Mapping[str, object]:
        """Return the parameter trees by the prefixes of their keys."""

    def _prepare(self) -> None:  # noqa: B027
        """Make what `_prepared` lists from the weights and settings; some classes make nothing."""

    def __setattr__(self, name: str, value: object) -> None:
        self._check_free(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._check_free(name)
        super().__delattr__(name)

    def _check_free(self, name: str) -> None:
        """Raise AttributeError if other parts were made from an attribute."""
        if name in self._fixed and name in vars(self):
            kind = type(self).__name__
            raise AttributeError(
                f"{kind}.{name} cannot be set, because other parts of the model were made from it; "
                f"make another {kind} instead."
            )

    def __getstate__(self) -> dict[str, Any]:
        arrays = (array for tree in self._trees().values() for _, array in arrays_of(tree))
        state = {name: value for name, value in vars(self).items() if name not in self._prepared}
        return {**state, _READ_ONLY: not any(array.flags.writeable for array in arrays)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: value for name, value in state.items() if name != _READ_ONLY})
        if state[_READ_ONLY]:
            for tree in self._trees().values():
                for _, array in arrays_of(tree):
                    array.flags.writeable = False
        self._prepare()
