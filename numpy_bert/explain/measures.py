"""What is measured of the arrays that are drawn: lengths, shares, and the scale of the colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.explain.reading import Reading

__all__ = ["PARTS", "Parts", "parts_of", "scale_of"]

Floats = npt.NDArray[np.float64]

# What is added, by trace name, and what it is called for short.
PARTS = {
    "embeddings.word_embeddings": "word",
    "embeddings.token_type_embeddings": "segment",
    "embeddings.position_embeddings": "position",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parts:
    """How long each part of the drawn tokens' sums is, and its share: (K, 3); total is (K,)."""

    norms: Floats
    shares: Floats
    total: Floats


def parts_of(reading: Reading) -> Parts:
    """Measure the word's, the segment's and the position's part of each drawn token's sum.

    A share is part · sum / |sum|², the part's extent in the direction of the sum: the three make
    1, and one of them is negative where a part points away. In float64.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> parts = parts_of(explain.read("a test", model=model, tokenizer=tokenizer))
    >>> parts.norms.shape, parts.shares.sum(axis=1).round(6)
    ((4, 3), array([1., 1., 1., 1.]))
    """
    rows = np.stack([reading.embeddings[name] for name in PARTS], axis=1).astype(np.float64)
    total = rows.sum(axis=1)  # (K, H)
    squares = np.square(total).sum(axis=1)  # (K,)
    inner = (rows * total[:, np.newaxis]).sum(axis=2)  # (K, 3)
    even = np.full_like(inner, 1 / len(PARTS))
    shares = np.divide(inner, squares[:, np.newaxis], out=even, where=squares[:, np.newaxis] > 0)
    return Parts(norms=np.sqrt(np.square(rows).sum(axis=2)), shares=shares, total=np.sqrt(squares))


def scale_of(*arrays: Array) -> float:
    """Return the size at which a colour is at its full: few values are beyond it.

    Examples
    --------
    >>> scale_of(np.array([1.0, -2.0]), np.array([3.0])), scale_of(np.zeros(3))
    (3.0, 1.0)
    """
    sizes = np.concatenate([np.abs(array).ravel() for array in arrays])
    scale = float(np.quantile(sizes, 0.99, method="higher")) if sizes.size else 0.0
    return scale if scale > 0 else 1.0
