"""The activations that BERT checkpoints name in their config, each above its backward.

At infinity each has its limit, where torch has a NaN in some; at a kink each slope is torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.reprs import short_repr

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "gelu",
    "gelu_10",
    "gelu_10_backward",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "hardswish",
    "hardswish_backward",
    "identity",
    "identity_backward",
    "laplace",
    "laplace_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "mish",
    "mish_backward",
    "quick_gelu",
    "quick_gelu_backward",
    "relu",
    "relu2",
    "relu2_backward",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "sqrtsoftplus",
    "sqrtsoftplus_backward",
    "tanh_backward",
]

# gelu_10 lies between minus this and this.
_BOUND = 10.0
_LEAK = 0.01
# The normal distribution of which laplace is a share, in the numbers of transformers.
_MEAN, _SPREAD = 0.707107, 0.282095
# From here on torch takes softplus(x) for x.
_STRAIGHT = 20.0


def gelu(x: Array) -> Array:
    """Apply the Gaussian error linear unit in its exact form, x * Phi(x).

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input; never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        ``x / 2 * (1 + erf(x / sqrt(2)))``, computed in float64 and rounded once.

    Notes
    -----
    The usual mistake: the tanh form (`gelu_tanh`) differs by up to 4.7e-4. NumPy has no erf, so
    this one asks Python's for each element, some 50 ns; the kernels have a faster form.

    References
    ----------
    .. [1] Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158655,  0.      ,  0.841345])
    """
    wide = x.astype(np.float64, copy=False)
    # -infinity times Phi(-infinity) is 0, which arithmetic does not know.
    output: Array = np.where(np.isneginf(wide), 0.0, wide * _phi(wide))
    return output.astype(x.dtype, copy=False)


def gelu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `gelu` was called with.

    Notes
    -----
    d/dx x Phi(x) = Phi(x) + x phi(x), where phi(x) = exp(-x^2 / 2) / sqrt(2 pi) is Phi's own
    derivative. All is computed in float64 and rounded once.

    Examples
    --------
    >>> gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.083315,  0.5     ,  1.083315])
    """
    wide = x.astype(np.float64, copy=False)
    density = np.exp(-0.5 * wide * wide) / math.sqrt(2.0 * math.pi)
    slope = _phi(wide) + np.where(density > 0.0, wide, 0.0) * density
    return (grad * slope).astype(x.dtype, copy=False)


def gelu_tanh(x: Array) -> Array:
    """Apply the Gaussian error linear unit in the tanh form, "gelu_new" of Google's later code.

    Parameters
    ----------
    x : ndarray, float32 or float64
        The input; never modified.

    Returns
    -------
    ndarray of the shape and dtype of `x`
        ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    References
    ----------
    .. [1] Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.

    Examples
    --------
    >>> gelu_tanh(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158808,  0.      ,  0.841192])
    """
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))
    output: Array = np.where(np.isneginf(x), x.dtype.type(0.0), 0.5 * x * (1.0 + np.tanh(inner)))
    return output


def gelu_tanh_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `gelu_tanh` was called with.

    Notes
    -----
    With t = tanh(a), a = sqrt(2 / pi) (x + 0.044715 x^3) and dt/da = 1 - t^2, the derivative of
    x (1 + t) / 2 is (1 + t) / 2 + x (1 - t^2) a' / 2, a' = sqrt(2 / pi) (1 + 0.134145 x^2).
    All is computed in float64 and rounded once.

    Examples
    --------
    >>> gelu_tanh_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.082964,  0.5     ,  1.082964])
    """
    wide = x.astype(np.float64, copy=False)
    root = math.sqrt(2.0 / math.pi)
    t = np.tanh(root * (wide + 0.044715 * (wide * wide * wide)))
    steep = (1.0 - t) * (1.0 + t)
    near = np.where(steep > 0.0, wide, 0.0)  # further out the term is 0
    inner = root * (1.0 + 3.0 * 0.044715 * near * near)
    slope = 0.5 * (1.0 + t) + 0.5 * near * steep * inner
    return (grad * slope).astype(x.dtype, copy=False)


def relu(x: Array) -> Array:
    """Return the positive part of `x`, 0 elsewhere; a NaN stays one.

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 1.0]))
    array([0., 0., 1.])
    """
    output: Array = np.maximum(x, x.dtype.type(0.0))
    return output


def relu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `relu` was called with: `grad` where `x` is positive, else 0.

    At 0, where there is no derivative, it is 0, as in torch.

    Examples
    --------
    >>> relu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([0., 0., 1.])
    """
    return np.where(x > 0, grad, x.dtype.type(0.0))


def silu(x: Array) -> Array:
    """Apply the sigmoid linear unit, ``x / (1 + exp(-x))``, also called swish.

    References
    ----------
    .. [1] Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", arXiv:1702.03118, eq. 3.

    Examples
    --------
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.268941,  0.      ,  0.731059])
    """
    output: Array = np.where(np.isneginf(x), x.dtype.type(0.0), x / (1.0 + np.exp(-x)))
    return output


def silu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `silu` was called with.

    Notes
    -----
    With s = 1 / (1 + exp(-x)) and ds/dx = s (1 - s), d/dx x s = s (1 + x (1 - s)). All is computed
    in float64 and rounded once.

    Examples
    --------
    >>> silu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.072329, 0.5     , 0.927671])
    """
    wide = x.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        sigmoid = 1.0 / (1.0 + np.exp(-wide))
    near = np.where((sigmoid > 0.0) & (sigmoid < 1.0), wide, 0.0)  # further out the term is 0
    slope = sigmoid * (1.0 + near * (1.0 - sigmoid))
    return (grad * slope).astype(x.dtype, copy=False)


def tanh_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `numpy.tanh` was called with: d/dx tanh(x) = 1 - tanh(x)^2.

    Examples
    --------
    >>> tanh_backward(np.ones(1), np.zeros(1))
    array([1.])
    """
    t = np.tanh(x.astype(np.float64, copy=False))
    return (grad * ((1.0 - t) * (1.0 + t))).astype(x.dtype, copy=False)


def gelu_10(x: Array) -> Array:
    """Apply `gelu`, held between -10 and 10, for the sake of 8-bit integers.

    References
    ----------
    .. [1] Wu et al., "Integer Quantization for Deep Learning Inference", arXiv:2004.09602,
       section 5.3.

    Examples
    --------
    >>> gelu_10(np.array([-1.0, 0.0, 99.0])).round(6)
    array([-0.158655,  0.      , 10.      ])
    """
    output: Array = np.clip(gelu(x), -_BOUND, _BOUND)
    return output


def gelu_10_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `gelu_10` was called with: 0 where it was held.

    Examples
    --------
    >>> gelu_10_backward(np.ones(3), np.array([-1.0, 0.0, 99.0])).round(6)
    array([-0.083315,  0.5     ,  0.      ])
    """
    free = x <= _BOUND  # where x itself is beyond, so is gelu, and nowhere else
    return np.where(free, gelu_backward(grad, x), x.dtype.type(0.0))


def quick_gelu(x: Array) -> Array:
    """Apply an approximation of the Gaussian error linear unit, ``x / (1 + exp(-1.702 * x))``.

    References
    ----------
    .. [1] Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.

    Examples
    --------
    >>> quick_gelu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.154204,  0.      ,  0.845796])
    """
    wide = x.astype(np.float64, copy=False)
    output = np.where(np.isneginf(wide), 0.0, wide * _sigmoid(1.702 * wide))
    return output.astype(x.dtype, copy=False)


def quick_gelu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `quick_gelu` was called with.

    Notes
    -----
    With s = 1 / (1 + exp(-1.702 x)), the derivative is s (1 + 1.702 x (1 - s)), as for `silu`.

    Examples
    --------
    >>> quick_gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.06778,  0.5    ,  1.06778])
    """
    wide = x.astype(np.float64, copy=False)
    return silu_backward(grad, 1.702 * wide).astype(x.dtype, copy=False)


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> sigmoid(np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.268941, 0.5     , 0.731059])
    """
    return _sigmoid(x.astype(np.float64, copy=False)).astype(x.dtype, copy=False)


def sigmoid_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `sigmoid` was called with: d/dx s = s (1 - s).

    Examples
    --------
    >>> sigmoid_backward(np.ones(1), np.zeros(1))
    array([0.25])
    """
    wide = x.astype(np.float64, copy=False)
    slope = _sigmoid(wide) * _sigmoid(-wide)
    return (grad * slope).astype(x.dtype, copy=False)


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``, or x itself above 20, as torch does.

    Examples
    --------
    >>> softplus(np.array([-1.0, 0.0, 30.0])).round(6)
    array([ 0.313262,  0.693147, 30.      ])
    """
    return _softplus(x.astype(np.float64, copy=False)).astype(x.dtype, copy=False)


def sqrtsoftplus(x: Array) -> Array:
    """Return the root of `softplus`.

    Examples
    --------
    >>> sqrtsoftplus(np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.559698, 0.832555, 1.145976])
    """
    wide = x.astype(np.float64, copy=False)
    output: Array = np.sqrt(_softplus(wide)).astype(x.dtype, copy=False)
    return output


def sqrtsoftplus_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `sqrtsoftplus` was called with.

    Notes
    -----
    With p the softplus of x and p' = 1 / (1 + exp(-x)), d/dx sqrt(p) = p' / (2 sqrt(p)). All is
    computed in float64 and rounded once.

    Examples
    --------
    >>> sqrtsoftplus_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.240256, 0.300281, 0.318968])
    """
    wide = x.astype(np.float64, copy=False)
    root = np.sqrt(_softplus(wide))
    steep = np.where(wide > _STRAIGHT, 1.0, _sigmoid(wide))
    slope = 0.5 * steep / np.where(root == 0.0, 1.0, root)  # far below 0 all is 0
    return (grad * slope).astype(x.dtype, copy=False)


def mish(x: Array) -> Array:
    """Apply ``x * tanh(softplus(x))``.

    References
    ----------
    .. [1] Misra, "Mish", arXiv:1908.08681, eq. 1.

    Examples
    --------
    >>> mish(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.303401,  0.      ,  0.865098])
    """
    wide = x.astype(np.float64, copy=False)
    output = np.where(np.isneginf(wide), 0.0, wide * np.tanh(_softplus(wide)))
    return output.astype(x.dtype, copy=False)


def mish_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `mish` was called with.

    Notes
    -----
    With t = tanh(softplus(x)) and softplus' = s = 1 / (1 + exp(-x)), d/dx x t is
    t + x s (1 - t^2). All is computed in float64 and rounded once.

    Examples
    --------
    >>> mish_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(6)
    array([0.059217, 0.6     , 1.049036])
    """
    wide = x.astype(np.float64, copy=False)
    t = np.tanh(_softplus(wide))
    steep = _sigmoid(wide) * ((1.0 - t) * (1.0 + t))
    slope = t + np.where(steep > 0.0, wide, 0.0) * steep  # further out the term is 0
    return (grad * slope).astype(x.dtype, copy=False)


def laplace(x: Array) -> Array:
    """Return the share of a normal distribution below `x`, of mean 0.707107, spread 0.282095.

    References
    ----------
    .. [1] Ma et al., "Mega", arXiv:2209.10655, section 3.2.

    Examples
    --------
    >>> laplace(np.array([0.0, 0.707107, 1.0])).round(6)
    array([0.006094, 0.5     , 0.85043 ])
    """
    wide = x.astype(np.float64, copy=False)
    return _phi((wide - _MEAN) / _SPREAD).astype(x.dtype, copy=False)


def laplace_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `laplace` was called with: the distribution's density.

    Examples
    --------
    >>> laplace_backward(np.ones(3), np.array([0.0, 0.707107, 1.0])).round(6)
    array([0.061114, 1.414213, 0.824946])
    """
    z = (x.astype(np.float64, copy=False) - _MEAN) / _SPREAD
    slope = np.exp(-0.5 * z * z) / (_SPREAD * math.sqrt(2.0 * math.pi))
    return (grad * slope).astype(x.dtype, copy=False)


def hardswish(x: Array) -> Array:
    """Apply ``x * min(max(x + 3, 0), 6) / 6``.

    References
    ----------
    .. [1] Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, section 5.2.

    Examples
    --------
    >>> hardswish(np.array([-4.0, 0.0, 1.0, 4.0])).round(6)
    array([-0.      ,  0.      ,  0.666667,  4.      ])
    """
    wide = x.astype(np.float64, copy=False)
    near = np.maximum(wide, -3.0)  # below which all is 0
    return (near * (np.minimum(near + 3.0, 6.0) / 6.0)).astype(x.dtype, copy=False)


def hardswish_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `hardswish` was called with: 0, x / 3 + 1 / 2, or `grad`.

    Examples
    --------
    >>> hardswish_backward(np.ones(4), np.array([-4.0, 0.0, 1.0, 4.0])).round(6)
    array([0.      , 0.5     , 0.833333, 1.      ])
    """
    wide = x.astype(np.float64, copy=False)
    slope = np.where(np.abs(wide) < 3.0, wide / 3.0 + 0.5, np.where(wide < 0.0, 0.0, 1.0))
    return (grad * slope).astype(x.dtype, copy=False)


def leaky_relu(x: Array) -> Array:
    """Return `x` where it is positive, a hundredth of it elsewhere.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 0.0, 1.0]))
    array([-0.01,  0.  ,  1.  ])
    """
    return np.where(x > 0, x, _LEAK * x)


def leaky_relu_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `leaky_relu` was called with; at 0 it is a hundredth of `grad`.

    Examples
    --------
    >>> leaky_relu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([0.01, 0.01, 1.  ])
    """
    return np.where(x > 0, grad, _LEAK * grad)


def relu2(x: Array) -> Array:
    """Return the square of the positive part of `x`.

    References
    ----------
    .. [1] So et al., "Primer", arXiv:2109.08668, section 4.

    Examples
    --------
    >>> relu2(np.array([-1.0, 0.0, 3.0]))
    array([0., 0., 9.])
    """
    return np.square(relu(x))


def relu2_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `relu2` was called with: twice the positive part.

    Examples
    --------
    >>> relu2_backward(np.ones(3), np.array([-1.0, 0.0, 3.0]))
    array([0., 0., 6.])
    """
    return grad * (2.0 * relu(x))


def relu6(x: Array) -> Array:
    """Return `x`, held between 0 and 6.

    Examples
    --------
    >>> relu6(np.array([-1.0, 3.0, 7.0]))
    array([0., 3., 6.])
    """
    output: Array = np.clip(x, x.dtype.type(0.0), x.dtype.type(6.0))
    return output


def relu6_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `relu6` was called with: 0 where it was held, and at 0 and 6.

    Examples
    --------
    >>> relu6_backward(np.ones(4), np.array([0.0, 3.0, 6.0, 7.0]))
    array([0., 1., 0., 0.])
    """
    return np.where((x > 0) & (x < 6), grad, x.dtype.type(0.0))


def identity(x: Array) -> Array:
    """Return `x`: the activation "linear" is none.

    Examples
    --------
    >>> identity(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return x


def identity_backward(grad: Array, x: Array) -> Array:
    """Return the gradient of what `identity` was called with.

    Examples
    --------
    >>> identity_backward(np.ones(1), np.zeros(1))
    array([1.])
    """
    del x
    return grad


def _sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) of a float64 array."""
    with np.errstate(over="ignore"):
        output: Array = 1.0 / (1.0 + np.exp(-x))
    return output


def _softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) of a float64 array, x itself where torch takes it."""
    output: Array = np.where(x > _STRAIGHT, x, np.log1p(np.exp(np.minimum(x, _STRAIGHT))))
    return output


def _phi(x: Array) -> Array:
    """Return the share of a normal distribution below each number of a float64 array."""
    scaled = (x * math.sqrt(0.5)).ravel().tolist()
    erf = np.fromiter(map(math.erf, scaled), np.float64, len(scaled)).reshape(x.shape)
    return 0.5 * (1.0 + erf)


class Activation(NamedTuple):
    """A function, and what takes its output's gradient and its input to the input's gradient."""

    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]

    def __repr__(self) -> str:
        return short_repr(self)


# The activations, by what BertConfig.activation returns.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": Activation(gelu, gelu_backward),
        "gelu_10": Activation(gelu_10, gelu_10_backward),
        "gelu_new": Activation(gelu_tanh, gelu_tanh_backward),
        "hardswish": Activation(hardswish, hardswish_backward),
        "laplace": Activation(laplace, laplace_backward),
        "leaky_relu": Activation(leaky_relu, leaky_relu_backward),
        "linear": Activation(identity, identity_backward),
        "mish": Activation(mish, mish_backward),
        "quick_gelu": Activation(quick_gelu, quick_gelu_backward),
        "relu": Activation(relu, relu_backward),
        "relu2": Activation(relu2, relu2_backward),
        "relu6": Activation(relu6, relu6_backward),
        "sigmoid": Activation(sigmoid, sigmoid_backward),
        "silu": Activation(silu, silu_backward),
        "sqrtsoftplus": Activation(sqrtsoftplus, sqrtsoftplus_backward),
        "tanh": Activation(np.tanh, tanh_backward),
    }
)
