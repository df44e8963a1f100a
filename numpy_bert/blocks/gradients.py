"""The gradients of a dense layer and of LayerNorm in the classes of their parameters."""

from __future__ import annotations

from dataclasses import dataclass

from numpy_bert.arrays import Array
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm_backward
from numpy_bert.ops.linear import linear_backward
from numpy_bert.parameters import LayerNormParameters, LinearParameters
from numpy_bert.reprs import short_repr

__all__ = ["DenseGradients", "NormGradients", "dense_backward", "norm_backward"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DenseGradients:
    """The gradients of a dense layer's parameters, and of its input."""

    __repr__ = short_repr

    parameters: LinearParameters
    x: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NormGradients:
    """The gradients of a LayerNorm's parameters, and of its input."""

    __repr__ = short_repr

    parameters: LayerNormParameters
    x: Array


def dense_backward(grad: Array, x: Array, parameters: LinearParameters) -> DenseGradients:
    """Go back through a dense layer, by `numpy_bert.ops.linear.linear_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> weights = LinearParameters(weight=np.ones((1, 2)), bias=np.zeros(1))
    >>> found = dense_backward(np.array([[2.0]]), np.array([[3.0, 4.0]]), weights)
    >>> found.parameters.weight, found.x
    (array([[6., 8.]]), array([[2., 2.]]))
    """
    found = linear_backward(grad, x, parameters.weight)
    own = LinearParameters(weight=found.weight, bias=found.bias)
    return DenseGradients(parameters=own, x=found.x)


def norm_backward(
    grad: Array, steps: LayerNormSteps, parameters: LayerNormParameters
) -> NormGradients:
    """Go back through a LayerNorm, by `numpy_bert.ops.layer_norm.layer_norm_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert.ops.layer_norm import layer_norm
    >>> weights = LayerNormParameters(weight=np.ones(2), bias=np.zeros(2))
    >>> steps = layer_norm(np.array([[1.0, 3.0]]), weights.weight, weights.bias, eps=0.0)
    >>> norm_backward(np.array([[5.0, 7.0]]), steps, weights).parameters.weight
    array([-5.,  7.])
    """
    found = layer_norm_backward(grad, steps, parameters.weight)
    own = LayerNormParameters(weight=found.weight, bias=found.bias)
    return NormGradients(parameters=own, x=found.x)
