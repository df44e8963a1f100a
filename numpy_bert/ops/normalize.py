"""Vectors scaled to length 1, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.reprs import short_repr

__all__ = ["NormalizeSteps", "normalize", "normalize_backward"]

_Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NormalizeSteps:
    """How long the vectors were, (B, 1), and `output`, (B, E), both in float64."""

    __repr__ = short_repr

    norms: _Wide
    output: _Wide


def normalize(vectors: Array, *, eps: float = 1e-12) -> NormalizeSteps:
    """Scale vectors to length 1, in float64; one of zeros stays as it is.

    Parameters
    ----------
    vectors : ndarray of shape (B, E), float32 or float64
        The vectors; never modified.
    eps : float
        A shorter vector counts as this long.

    Returns
    -------
    NormalizeSteps
        The lengths and the scaled vectors.

    References
    ----------
    .. [1] torch.nn.functional.normalize, whose `eps` this is; that of
       torch.nn.functional.cosine_similarity is 1e-8.

    Examples
    --------
    >>> steps = normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    >>> steps.norms[0], steps.output
    (array([5.]), array([[0.6, 0.8],
           [0. , 0. ]]))
    """
    wide = vectors.astype(np.float64, copy=False)
    norms = np.sqrt(np.einsum("be,be->b", wide, wide))[:, np.newaxis]
    norms = np.maximum(norms, eps)
    return NormalizeSteps(norms=norms, output=wide / norms)


def normalize_backward(grad: _Wide, steps: NormalizeSteps) -> _Wide:
    """Return the gradient of what `normalize` was called with, in float64.

    Parameters
    ----------
    grad : ndarray of shape (B, E)
        The gradient of the output.
    steps : NormalizeSteps
        What `normalize` returned.

    Notes
    -----
    With u = v / |v|, du / dv = (I - u u^T) / |v|: what is along a vector falls away, since along it
    nothing turns.

    Examples
    --------
    >>> normalize_backward(np.array([[1.0, 1.0]]), normalize(np.array([[2.0, 0.0]])))
    array([[0. , 0.5]])
    """
    along = np.einsum("be,be->b", grad, steps.output)[:, np.newaxis]
    found: _Wide = (grad - along * steps.output) / steps.norms
    return found
