"""A text's weight for each word of the vocabulary, from its tokens' scores: SPLADE's pooling."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["LOGARITHMS", "STRATEGIES", "saturated", "word_pooling"]

# How a text's tokens are pooled, and how often log(1 + x) is taken for each activation, by the
# names of sentence-transformers.
STRATEGIES = ("max", "sum")
LOGARITHMS: Mapping[str, int] = MappingProxyType({"relu": 1, "log1p_relu": 2})


def saturated(scores: Array, activation: str = "relu", *, out: Array | None = None) -> Array:
    """Return log(1 + max(x, 0)) of scores, or with "log1p_relu" the same logarithm of that again.

    Parameters
    ----------
    scores : ndarray, float32 or float64
        Any shape; never modified unless it is `out`.
    activation : {"relu", "log1p_relu"}
        The name that sentence-transformers has for it.
    out : ndarray of the shape and dtype of `scores`, optional
        Where the result is written.

    Examples
    --------
    >>> saturated(np.array([-1.0, 0.0, np.e - 1])), saturated(np.array([np.e - 1]), "log1p_relu")
    (array([0., 0., 1.]), array([0.69314718]))
    """
    found: Array = np.maximum(scores, scores.dtype.type(0.0), out=out)
    for _ in range(LOGARITHMS[activation]):
        np.log1p(found, out=found)
    return found


def word_pooling(scores: Array, *, strategy: str = "max", activation: str = "relu") -> Array:
    """Return a text's weight for each word.

    Parameters
    ----------
    scores : ndarray of shape (T, V), float32 or float64
        The score of each word for each token of the text; never modified.
    strategy : {"max", "sum"}
        Whether a word's weight is the largest of those of the tokens, or their sum.
    activation : {"relu", "log1p_relu"}
        How a score becomes a weight, as `saturated` does it.

    Returns
    -------
    ndarray of shape (V,), dtype of `scores`
        The weights, 0 for most words in a model that was trained for it; sums are added up in
        float64.

    References
    ----------
    .. [1] Formal, Piwowarski and Clinchant, "SPLADE", arXiv:2107.05720, section 3 (the sum);
       Formal et al., "SPLADE v2", arXiv:2109.10086, section 3.1 (the largest).

    Examples
    --------
    >>> word_pooling(np.array([[-1.0, np.e - 1], [-2.0, 0.0]]))
    array([0., 1.])
    """
    weights = saturated(scores, activation)
    if strategy == "max":
        most: Array = weights.max(axis=0)
        return most
    total: Array = weights.sum(axis=0, dtype=np.float64)
    return total.astype(scores.dtype, copy=False)
