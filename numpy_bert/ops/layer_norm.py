"""Layer normalization over the last axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.reprs import short_repr

__all__ = ["LayerNormGradients", "LayerNormSteps", "layer_norm", "layer_norm_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNormSteps:
    """Every intermediate of `layer_norm`, in execution order.

    The statistics are float64 whatever the input is; the rest has the input's dtype.
    """

    __repr__ = short_repr

    mean: Array
    variance: Array
    rstd: Array
    normalized: Array
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNormGradients:
    """The gradients of what `layer_norm` takes, each of the shape and dtype of its argument."""

    __repr__ = short_repr

    x: Array
    weight: Array
    bias: Array


def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> LayerNormSteps:
    """Normalize the last axis to zero mean and unit variance, then scale and shift.

    Parameters
    ----------
    x : ndarray of shape (..., H), float32 or float64
        The rows to normalize; never modified.
    weight, bias : ndarray of shape (H,), dtype of `x`
        The scale and the shift of each feature.
    eps : float
        What is added to the variance under the root. BERT checkpoints use 1e-12.

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
                f"layer_norm: {name} must be {x.dtype} of shape {features}, as the last axis of x; "
                f"got {parameter.dtype} of shape {parameter.shape}."
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


def layer_norm_backward(grad: Array, steps: LayerNormSteps, weight: Array) -> LayerNormGradients:
    """Return the gradients of what `layer_norm` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., H), dtype of the output
        The gradient of the output.
    steps : LayerNormSteps
        What `layer_norm` returned.
    weight : ndarray of shape (H,)
        The weight that `layer_norm` was called with.

    Returns
    -------
    LayerNormGradients
        The gradients of x (..., H), weight and bias (H,), computed in float64 and rounded once.

    Notes
    -----
    Let c = x - mean, r = rstd = (variance + eps)^(-1/2), n = c r, y = n w + b and g the gradient
    of y. Then db is the sum of g over the rows, and dw that of g n. u = g w is the gradient of n,
    which depends on c and on r, where dr / dc_i = -r^3 c_i / H. So dc = u r - c r^3 mean(u c) =
    r (u - n mean(u n)). The mean is a part of every c: dx = dc - mean(dc) =
    r (u - mean(u) - n mean(u n)), for mean(n) = 0.

    References
    ----------
    .. [1] Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, section 3, with the axes
       exchanged; karpathy/llm.c, doc/layernorm.

    Examples
    --------
    >>> weight, bias = np.ones(2), np.zeros(2)
    >>> steps = layer_norm(np.array([[1.0, 3.0]]), weight, bias, eps=1.0)
    >>> layer_norm_backward(np.array([[1.0, 0.0]]), steps, weight).x.round(6)
    array([[ 0.176777, -0.176777]])
    """
    wide = grad.astype(np.float64, copy=False)
    normalized = steps.normalized.astype(np.float64, copy=False)
    scaled = wide * weight  # (..., H)
    along = (scaled * normalized).mean(axis=-1, keepdims=True)  # (..., 1)
    x = steps.rstd * (scaled - scaled.mean(axis=-1, keepdims=True) - normalized * along)
    rows = (-1, weight.shape[0])
    return LayerNormGradients(
        x=x.astype(grad.dtype, copy=False),
        weight=(wide * normalized).reshape(rows).sum(axis=0).astype(grad.dtype, copy=False),
        bias=wide.reshape(rows).sum(axis=0).astype(grad.dtype, copy=False),
    )
