"""What is measured of the arrays that are drawn: lengths, shares, and the scale of the colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.explain.reading import Reading
from numpy_bert.reprs import short_repr

__all__ = ["PARTS", "Floats", "Parts", "cosines", "parts_in", "parts_of", "scale_of"]

Floats = npt.NDArray[np.float64]

# What may be added, by trace name, and what it is called for short.
PARTS = {
    "embeddings.word_embeddings": "word",
    "embeddings.token_type_embeddings": "segment",
    "embeddings.position_embeddings": "position",
    "embeddings.task_type_embeddings": "task",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parts:
    """Lengths and shares of the parts of the drawn tokens' sums, (K, parts); total is (K,)."""

    __repr__ = short_repr

    norms: Floats
    shares: Floats
    total: Floats


def parts_in(reading: Reading) -> dict[str, str]:
    """Return what is added in a model, of `PARTS`: not every model has segments.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> list(parts_in(explain.read("a test", model=model, tokenizer=tokenizer)).values())
    ['word', 'segment', 'position']
    """
    return {name: part for name, part in PARTS.items() if name in reading.embeddings}


def parts_of(reading: Reading) -> Parts:
    """Measure the part of each drawn token's sum that each of its rows is.

    A share is part · sum / |sum|², the part's extent in the direction of the sum. They sum to 1,
    and one of them is negative where a part points away. Where the sum is all zeros, the shares are
    0. The arithmetic is in float64.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> parts = parts_of(explain.read("a test", model=model, tokenizer=tokenizer))
    >>> parts.norms.shape, parts.shares.sum(axis=1).round(6)
    ((4, 3), array([1., 1., 1., 1.]))
    """
    rows = np.stack([reading.embeddings[name] for name in parts_in(reading)], axis=1).astype(
        np.float64
    )
    largest = float(np.abs(rows).max(initial=0.0)) or 1.0  # so that no square overflows
    rows /= largest
    total = rows.sum(axis=1)  # (K, E)
    squares = np.square(total).sum(axis=1)  # (K,)
    inner = (rows * total[:, np.newaxis]).sum(axis=2)  # (K, parts)
    shares = np.divide(
        inner, squares[:, np.newaxis], out=np.zeros_like(inner), where=squares[:, np.newaxis] > 0
    )
    norms = np.sqrt(np.square(rows).sum(axis=2))
    return Parts(norms=norms * largest, shares=shares, total=np.sqrt(squares) * largest)


def cosines(rows: Array) -> Floats:
    """Return the cosine between each two rows, (K, K), in float64; it is 0 if a row is all zeros.

    Examples
    --------
    >>> cosines(np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 0.0]])).round(3)
    array([[1.   , 0.707, 0.   ],
           [0.707, 1.   , 0.   ],
           [0.   , 0.   , 0.   ]])
    """
    wide = rows.astype(np.float64)
    lengths = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    units = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    found: Floats = np.clip(units @ units.T, -1.0, 1.0)
    return found


def scale_of(*arrays: Array) -> float:
    """Return the size at which a colour is at its full: few values are beyond it.

    Examples
    --------
    >>> scale_of(np.array([1.0, -2.0]), np.array([3.0])), scale_of(np.zeros(3))
    (3.0, 1.0)
    """
    sizes = np.concatenate([np.abs(array).ravel() for array in arrays])
    if not sizes.size:
        return 1.0
    scale = float(np.quantile(sizes, 0.99, method="higher"))
    return scale or float(sizes.max()) or 1.0
