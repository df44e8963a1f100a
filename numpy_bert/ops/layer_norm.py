"""Layer normalization over the last axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError

__all__ = ["LayerNormSteps", "layer_norm"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNormSteps:
    """Every intermediate of `layer_norm`, in execution order.

    The statistics are float64 whatever the input is; the rest has the input's dtype.
    """

    mean: Array
    variance: Array
    rstd: Array
    normalized: Array
    output: Array


def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> LayerNormSteps:
    """Normalize the last axis to zero mean and unit variance, then scale and shift.

    Parameters
    ----------
    x : ndarray of shape (..., H), float32 or float64
        Rows to normalize. Never modified.
    weight, bias : ndarray of shape (H,), dtype of `x`
        Scale and shift per feature.
    eps : float
        Added to the variance under the root. BERT checkpoints use 1e-12.

    Returns
    -------
    LayerNormSteps
        mean, variance, rstd (..., 1) in float64; normalized, output (..., H).

    Raises
    ------
    InputError
        If `weight` or `bias` is not of shape (H,) and of the dtype of `x`.

    Notes
    -----
    The usual mistakes: the variance divides by H (not H - 1), is taken about the mean (the
    one-pass E[x^2] - E[x]^2 cancels), and eps stands inside the root. All is computed in float64
    and rounded once at the end, so a float32 row of mean 1e6 loses nothing.

    References
    ----------
    .. [1] Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, eq. 3.

    Examples
    --------
    >>> layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), eps=0.0).output
    array([[-1.,  1.]])
    """
    features = x.shape[-1:]
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter.shape != features or parameter.dtype != x.dtype:
            raise InputError(
                f"layer_norm: {name} is {parameter.dtype} of shape {parameter.shape}; "
                f"{x.dtype} of shape {features} was expected, as the last axis of x."
            )
    wide = x.astype(np.float64, copy=False)
    mean = wide.mean(axis=-1, keepdims=True)  # (..., 1)
    centred = wide - mean  # (..., H)
    # The rounding of the first mean is itself a mean that can be taken away: after it a constant
    # row is exactly zero, so its output is exactly the bias.
    correction = centred.mean(axis=-1, keepdims=True)
    mean = mean + correction
    centred -= correction
    variance = np.square(centred).mean(axis=-1, keepdims=True)  # (..., 1)
    rstd = 1.0 / np.sqrt(variance + eps)
    normalized = centred * rstd  # (..., H)
    output = normalized * weight + bias
    return LayerNormSteps(
        mean=mean,
        variance=variance,
        rstd=rstd,
        normalized=normalized.astype(x.dtype, copy=False),
        output=output.astype(x.dtype, copy=False),
    )
