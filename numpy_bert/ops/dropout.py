"""Inverted dropout, with a mask that can be drawn apart, kept and handed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, as_array
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.reprs import short_repr

__all__ = ["DropoutSteps", "draw_keep", "dropout", "dropout_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DropoutSteps:
    """The mask (None where dropout is off) and the output of `dropout`."""

    __repr__ = short_repr

    keep: BoolArray | None
    output: Array


def draw_keep(shape: tuple[int, ...], p: float, rng: np.random.Generator) -> BoolArray:
    """Draw which elements dropout keeps, each with probability 1 - p.

    Parameters
    ----------
    shape : tuple of int
        The shape of the array that the mask is for.
    p : float
        The probability to drop an element, from 0 to 1.
    rng : numpy.random.Generator
        The generator, whose state moves on by one float32 for each element.

    Returns
    -------
    ndarray of shape `shape`, bool
        True where an element is kept.

    Raises
    ------
    InputError
        If `p` is not from 0 to 1 or `rng` is no Generator.

    Examples
    --------
    >>> int(draw_keep((1000,), 0.1, np.random.default_rng(0)).sum())
    904
    """
    _check_probability(p)
    _check_generator(rng)
    return rng.random(shape, dtype=np.float32) >= p


def dropout(
    x: Array,
    p: float,
    *,
    rng: np.random.Generator | None = None,
    keep: npt.ArrayLike | None = None,
) -> DropoutSteps:
    """Drop elements and scale the kept ones by 1 / (1 - p), so that the expectation stays.

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input; never modified.
    p : float
        The probability to drop an element, from 0 to 1.
    rng : numpy.random.Generator, optional
        The generator that draws the mask. Without `rng` and `keep`, `x` passes through; so it does
        where `p` is 0, and nothing is drawn.
    keep : array_like of bool, shape of `x`, optional
        A mask made elsewhere (by `draw_keep`, or by another framework), to be used instead.

    Returns
    -------
    DropoutSteps
        keep (the mask; None where dropout is off) and output, both of the shape of `x`.

    Raises
    ------
    InputError
        If `p` is not from 0 to 1, `keep` has another shape or dtype, or both sources are given.

    Notes
    -----
    The scale is 1 / (1 - p) in the dtype of `x`, and a dropped element is ``x * 0``: both are
    torch's, to the last bit (aten/src/ATen/native/Dropout.cpp), signed zeros included. At p = 1 all
    is dropped, whatever `keep` says.

    References
    ----------
    .. [1] Srivastava et al., "Dropout", JMLR 15, 2014, section 10 (the inverted form).

    Examples
    --------
    >>> dropout(np.array([1.0, 2.0, 3.0]), 0.5, keep=[True, False, True]).output
    array([2., 0., 6.])
    """
    _check_probability(p)
    if rng is not None and keep is not None:
        raise InputError(
            "dropout: both rng and keep were given. Give one: the mask, or its source."
        )
    if rng is not None:
        _check_generator(rng)
        if p == 0.0:  # torch draws none either
            return DropoutSteps(keep=None, output=x)
        mask = draw_keep(x.shape, p, rng)
    elif keep is not None:
        mask = as_array(keep, "dropout: keep")
        if mask.dtype != np.bool_ or mask.shape != x.shape:
            raise InputError(
                f"dropout: keep must be bool of shape {x.shape}; got {mask.dtype} of shape "
                f"{mask.shape}."
            )
    else:
        return DropoutSteps(keep=None, output=x)
    return DropoutSteps(keep=mask, output=x * _noise(mask, p, x.dtype))


def dropout_backward(grad: Array, keep: BoolArray | None, p: float) -> Array:
    """Return the gradient of what `dropout` was called with.

    Parameters
    ----------
    grad : ndarray
        The gradient of the output.
    keep : ndarray of bool, or None
        The mask that `dropout` returned; None where it was off.
    p : float
        What `dropout` was called with.

    Notes
    -----
    The mask is a constant: y = x m / (1 - p), so dx = g m / (1 - p), dropout of the gradient.

    Examples
    --------
    >>> dropout_backward(np.array([1.0, 2.0]), np.array([True, False]), 0.5)
    array([2., 0.])
    """
    return grad if keep is None else grad * _noise(keep, p, grad.dtype)


def _noise(keep: BoolArray, p: float, dtype: np.dtype[Any]) -> Array:
    """Return what elements are multiplied by: the scale where they are kept, else 0."""
    if p == 1.0:  # where nothing can be kept, torch drops all
        return np.zeros(keep.shape, dtype)
    scale: Array = np.ones((), dtype=dtype) / dtype.type(1.0 - p)
    return np.where(keep, scale, dtype.type(0.0))


def _check_probability(p: float) -> None:
    """Raise InputError unless p is from 0 to 1; NaN is not."""
    if not 0.0 <= p <= 1.0:
        raise InputError(must_be("dropout: p", "a probability from 0 to 1", p))


def _check_generator(rng: object) -> None:
    """Raise InputError unless it is one of NumPy's generators."""
    if not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng must be a numpy.random.Generator; got {type(rng).__name__}. Make one with "
            "numpy.random.default_rng(seed)."
        )
