"""Which examples are read together, and in which order."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import IntArray

__all__ = ["batches"]

# Batches that are sorted together: few enough that passes differ, enough that lengths are alike.
_TOGETHER = 50


def batches(
    examples: int, size: int, rng: np.random.Generator, lengths: IntArray | None = None
) -> list[IntArray]:
    """Return the numbers of the examples of each batch of a pass.

    Parameters
    ----------
    examples : int
        How many there are.
    size : int
        Examples of a batch; the last may have fewer.
    rng : numpy.random.Generator
        Draws the order.
    lengths : ndarray of shape (examples,), int, optional
        Of the examples: then those of a batch are of about one length.

    References
    ----------
    .. [1] transformers, trainer_pt_utils.py, get_length_grouped_indices; there batches stand in the
       order of their lengths within each group, here in one of chance.

    Examples
    --------
    >>> [b.tolist() for b in batches(5, 2, np.random.default_rng(0))]
    [[2, 4], [3, 0], [1]]
    >>> lengths = np.array([9, 1, 8, 2, 5])
    >>> [b.tolist() for b in batches(5, 2, np.random.default_rng(0), lengths)]
    [[2, 4], [0], [1, 3]]
    """
    order = rng.permutation(examples)
    if lengths is None:
        return [order[start : start + size] for start in range(0, examples, size)]
    found: list[IntArray] = []
    for start in range(0, examples, _TOGETHER * size):
        group = order[start : start + _TOGETHER * size]
        group = group[np.argsort(lengths[group], kind="stable")]
        # Anew in an order of chance: who reads a part of a batch must not read the shortest.
        found += [rng.permutation(group[s : s + size]) for s in range(0, len(group), size)]
    return [found[place] for place in rng.permutation(len(found))]
