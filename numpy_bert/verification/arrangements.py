"""Which rows of which tensors make up a weight: the map of them, and the orders with a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray, IntArray
from numpy_bert.reprs import short_repr
from numpy_bert.verification.mistakes import PROJECTIONS

__all__ = ["Arrangement", "Tensor", "arrangements", "layer_of", "relation"]

_LAYER = re.compile(r"layer\.(\d+)\.?")
# An order is tried where so many of the rows stand as it says: noise may hide the others.
_AGREEING = 0.3
# No more of an order that has no name is written out.
_SHOWN = 4


class Tensor(NamedTuple):
    """The weight of a dense layer, as it is or turned so that its rows have another length.

    Attributes
    ----------
    step : str
        The name of the layer.
    turned : str
        What was done to it: "", "transposed" or "reshaped".
    rows : ndarray of shape (R, K)
        The rows.
    bias : ndarray
        The bias of the layer.
    """

    step: str
    turned: str
    rows: Array
    bias: Array

    def __repr__(self) -> str:
        return short_repr(self)


class Arrangement(NamedTuple):
    """A weight that is made of rows of tensors.

    Attributes
    ----------
    tensors : sequence of Tensor
        The tensors.
    source, row : ndarray of shape (O,)
        For each output feature the number of its tensor, and the number of the row in that.
    order : str
        What the order of the rows is called, "" where they stand as in the tensor.
    is_joined : bool
        Whether it comes of joining and parting query, key and value.
    """

    tensors: Sequence[Tensor]
    source: IntArray
    row: IntArray
    order: str = ""
    is_joined: bool = False

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def only(self) -> Tensor | None:
        """The tensor that all rows come from, None if there are several."""
        first = int(self.source[0])
        return self.tensors[first] if (self.source == first).all() else None

    def weight(self) -> Array:
        """Return the weight, (O, K)."""
        if self.only is not None and not self.order:
            return self.only.rows[: len(self.row)]
        found = np.empty((len(self.row), self.tensors[0].rows.shape[1]), self.tensors[0].rows.dtype)
        for number in np.unique(self.source):
            here = self.source == number
            found[here] = self.tensors[number].rows[self.row[here]]
        return found

    def bias(self) -> Array | None:
        """Return the bias that goes with the rows, None if there is none of this length."""
        found = np.empty(len(self.row))
        for number in np.unique(self.source):
            here, tensor = self.source == number, self.tensors[number]
            row = np.arange(len(self.row)) if tensor.turned else self.row
            if row[here].max() >= len(tensor.bias):
                return None
            found[here] = tensor.bias[row[here]]
        return found


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a step stands in, None if it is in no layer."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def relation(name: str, other: str) -> str:
    """Return the name of the cause that a step was computed with another step's weights.

    Examples
    --------
    >>> relation("encoder.layer.3.output.dense", "encoder.layer.4.output.dense")
    'weights_of_another_layer'
    """
    if layer_of(name) == layer_of(other):
        ends = {step.rpartition(".")[2] for step in (name, other)}
        return "qkv_swapped" if ends <= set(PROJECTIONS) else "weights_of_another_module"
    is_alike = _LAYER.sub("", name) == _LAYER.sub("", other)
    return "weights_of_another_layer" if is_alike else "weights_of_another_module"


def arrangements(
    tensors: Sequence[Tensor], source: IntArray, row: IntArray, clear: BoolArray, heads: int
) -> Iterator[Arrangement]:
    """Yield the arrangements that a map of rows may be, those that agree best with it first.

    Parameters
    ----------
    tensors : sequence of Tensor
        The tensors; the first is the one that should be there.
    source, row : ndarray of shape (O,)
        The nearest row for each output feature, as in `Arrangement`.
    clear : ndarray of shape (O,), bool
        Where no other row is nearly as near.
    heads : int
        How many heads the model has.

    Examples
    --------
    >>> own = Tensor("encoder.layer.0.output.dense", "", np.eye(4), np.zeros(4))
    >>> row = np.array([1, 2, 3, 0])
    >>> found = next(arrangements([own], np.zeros(4, int), row, np.ones(4, bool), 2))
    >>> found.order
    'shifted by 1'
    """
    found = []
    for number in np.unique(source):
        here, count = source == number, len(tensors[number].rows)
        for order, expected in _orders(row, here, count, heads):
            if expected.max() < count:
                same = np.full_like(source, number)
                found.append(Arrangement(tensors, same, expected, order))
    found += _joined(tensors, len(row), heads)
    agreeing = [
        (float(((other.source == source) & (other.row == row)).mean()), other) for other in found
    ]
    agreeing.sort(key=lambda pair: -pair[0])
    if clear.all() and not (agreeing and agreeing[0][0] == 1.0):
        yield Arrangement(tensors, source, row, _written_out(tensors, source, row))
    yield from (other for share, other in agreeing if share >= _AGREEING)


def _orders(
    row: IntArray, here: BoolArray, count: int, heads: int
) -> Iterator[tuple[str, IntArray]]:
    """Yield the orders that `count` rows of a tensor are known to get into, with their names."""
    features = len(row)
    plain = np.arange(features)
    yield "", plain
    if heads > 1 and features % heads == 0:
        yield from _orders_of_heads(row, here, heads)
    shift = int(np.bincount((row - plain)[here] % count).argmax())
    if shift:
        yield f"shifted by {shift}", (plain + shift) % count
    yield "in reverse order", plain[::-1]
    if features % 2 == 0:
        yield "with their halves interleaved", plain.reshape(2, -1).T.ravel()
        yield "with the even before the odd ones", plain.reshape(-1, 2).T.ravel()


def _orders_of_heads(row: IntArray, here: BoolArray, heads: int) -> Iterator[tuple[str, IntArray]]:
    """Yield the orders in which heads, or the rows of each, may be."""
    plain = np.arange(len(row))
    split = plain.reshape(heads, -1)
    size = split.shape[1]
    chosen = row // size
    order = [
        int(np.bincount(chosen[head][here[head]]).argmax()) if here[head].any() else number
        for number, head in enumerate(split)
    ]
    if order != list(range(heads)):
        text = ", ".join(str(head) for head in order)
        yield f"with the heads {text}", (np.array(order)[:, np.newaxis] * size + split[0]).ravel()
    yield "ordered as (D, A), not (A, D)", split.T.ravel()
    yield "taken for (D, A), not (A, D)", plain.reshape(size, heads).T.ravel()
    if size % 2 == 0:
        ways = {
            "with the halves of each head interleaved": (2, size // 2),
            "with the even before the odd ones in each head": (size // 2, 2),
        }
        for text, shape in ways.items():
            yield text, plain.reshape(heads, *shape).swapaxes(1, 2).ravel()


def _joined(tensors: Sequence[Tensor], features: int, heads: int) -> list[Arrangement]:
    """Return what comes of query, key and value that were joined in one way, parted in another."""
    path, _, last = tensors[0].step.rpartition(".")
    names = {tensor.step: number for number, tensor in enumerate(tensors) if not tensor.turned}
    parts = [names.get(f"{path}.{part}") for part in PROJECTIONS]
    if last not in PROJECTIONS or None in parts or features % heads:
        return []
    found = []
    sizes = (3, heads, features // heads)
    index = np.arange(3 * features).reshape(sizes)
    for joined in permutations(range(3)):
        stored = index.transpose(joined).ravel()
        for parted in permutations(range(3)):
            if parted == joined:
                continue
            read = stored.reshape([sizes[axis] for axis in parted]).transpose(np.argsort(parted))
            flat = read.reshape(3, features)[PROJECTIONS.index(last)]
            text = f"joined as {_shape(joined)}, and taken apart as {_shape(parted)}"
            source = np.array(parts)[flat // features]
            found.append(Arrangement(tensors, source, flat % features, text, is_joined=True))
    return found


def _shape(axes: Sequence[int]) -> str:
    """Return the shape of joined projections in letters."""
    ways: dict[Sequence[int], str] = {
        (0, 1, 2): ", by thirds",
        (1, 0, 2): ", head by head",
        (1, 2, 0): ", row by row",
    }
    return f"({', '.join('3AD'[axis] for axis in axes)}){ways.get(axes, '')}"


def _written_out(tensors: Sequence[Tensor], source: IntArray, row: IntArray) -> str:
    """Return an order that has no name as stretches of rows that follow each other."""
    follows = np.diff(row, prepend=row[0] - 1) == 1
    follows &= np.diff(source, prepend=source[0]) == 0
    starts = np.flatnonzero(~follows | (np.arange(len(row)) == 0))
    ends = [*starts[1:], len(row)]
    other = [
        (first, last)
        for first, last in zip(starts, ends, strict=True)
        if source[first] or row[first] != first
    ]
    several = len(np.unique(source)) > 1
    parts = []
    for first, last in other[:_SHOWN]:
        tensor = tensors[source[first]]
        end = row[first] + last - 1 - first
        rows = f"row {end}" if last - first == 1 else f"rows {row[first]} to {end}"
        whose = f" of {tensor.step}{tensor.turned and ', ' + tensor.turned}" if several else ""
        parts.append(f"{rows}{whose} at {first}")
    more = f", and {len(other) - _SHOWN} more stretches" if len(other) > _SHOWN else ""
    return f"in another order ({'; '.join(parts)}{more})"
