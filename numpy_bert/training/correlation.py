"""How well numbers follow others: Pearson's and Spearman's correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numpy_bert.errors import InputError

__all__ = ["pearson", "spearman"]

_LEAST_PAIRS = 2


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation; equal values share their mean rank.

    Raises
    ------
    InputError
        If `a` and `b` are not as many, at least two, and finite; or if all of either are equal.

    References
    ----------
    .. [1] scipy.stats.spearmanr.

    Examples
    --------
    >>> spearman([1.0, 2.0, 9.0], [10, 20, 30]), spearman([1, 2, 2], [3, 2, 2])
    (1.0, -1.0)
    """
    return _correlation(*(_ranks(row) for row in _rows("spearman", a, b)))


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return Pearson's correlation.

    Raises
    ------
    InputError
        If `spearman` would raise it.

    References
    ----------
    .. [1] scipy.stats.pearsonr.

    Examples
    --------
    >>> pearson([1.0, 2.0, 3.0], [2, 4, 6])
    1.0
    """
    return _correlation(*_rows("pearson", a, b))


def _rows(name: str, a: npt.ArrayLike, b: npt.ArrayLike) -> list[npt.NDArray[np.float64]]:
    """Return two rows that have equally many finite numbers, at least two."""
    rows = [np.asarray(values, np.float64) for values in (a, b)]
    if rows[0].ndim != 1 or rows[0].shape != rows[1].shape or len(rows[0]) < _LEAST_PAIRS:
        raise InputError(
            f"{name}: there must be two rows of as many numbers, at least two; got shapes "
            f"{rows[0].shape} and {rows[1].shape}."
        )
    if not all(np.isfinite(row).all() for row in rows):
        raise InputError(f"{name}: all numbers must be finite; one is not finite.")
    if not all(np.ptp(row) for row in rows):
        raise InputError(f"{name}: all numbers of one row are equal; they must have an order.")
    return rows


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return how two rows go together, from -1 to 1."""
    apart = [row - row.mean() for row in (a, b)]
    # Each is divided by its largest first, so that no square leaves float64.
    apart = [row / np.abs(row).max() for row in apart]
    lengths = [float(np.sqrt(np.square(row).sum())) for row in apart]
    return round(float((apart[0] * apart[1]).sum() / (lengths[0] * lengths[1])), 12)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each value's rank, from 1; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: npt.NDArray[np.float64] = last - (counts - 1) / 2
    return means[inverse]
