"""What memory an object holds: all arrays that can be reached from it."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
_FOREIGN = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def arrays_in(root: object) -> list[AnyArray]:
    """Return every array that can be reached from an object, however deep it is hidden."""
    return [found for found in _reached(root) if isinstance(found, np.ndarray)]


def own_bytes(root: object) -> int:
    """Return the bytes of all memory that an object's arrays lie in, shared memory once."""
    spans = sorted(_span(array) for array in arrays_in(root) if array.nbytes)
    total, end = 0, 0
    for start, stop in spans:
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def shares_memory(one: object, other: object) -> bool:
    """Tell whether an array of one object lies in the memory of one of the other's."""
    spans = [[_span(array) for array in arrays_in(root) if array.nbytes] for root in (one, other)]
    return any(a < d and c < b for a, b in spans[0] for c, d in spans[1])


def _span(array: AnyArray) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


def _reached(root: object) -> Iterator[object]:
    """Yield what can be reached, each object once; not through classes, modules and functions."""
    waiting, seen = [root], set[int]()
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, _FOREIGN):
            continue
        seen.add(id(item))
        yield item
        waiting.extend(gc.get_referents(item))
