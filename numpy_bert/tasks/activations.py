"""The activations that sentence-transformers' files name: torch's classes, without arguments.

A Dense applies one to vectors, a classifier to scores. Each takes rows, (B, features), and returns
as many of the same dtype. They are functions of this or another module, so that they can be
pickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.errors import ConfigError
from numpy_bert.messages import quoted
from numpy_bert.ops.activation import (
    gelu,
    hardswish,
    identity,
    leaky_relu,
    mish,
    relu,
    relu6,
    sigmoid,
    silu,
    softplus,
)
from numpy_bert.ops.softmax import softmax

__all__ = ["TORCH_ACTIVATIONS", "activation_named", "activation_of_scores", "name_of_activation"]

# Where torch's dotted names lead.
_HOMES = ("torch.nn", "torch.nn.modules", "torch.nn.modules.activation", "torch.nn.modules.linear")
# SELU's numbers: Klambauer et al., arXiv:1706.02515, section 3.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848
# The mean of the slopes that RReLU draws in training, 1/8 to 1/3.
_RRELU_SLOPE = (1.0 / 8.0 + 1.0 / 3.0) / 2.0


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: Array) -> Array:
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def _hardshrink(x: Array) -> Array:
    return np.where(np.abs(x) <= 0.5, x.dtype.type(0), x)


def _hardsigmoid(x: Array) -> Array:
    output: Array = np.clip(x + 3, 0, 6) / 6
    return output


def _hardtanh(x: Array) -> Array:
    output: Array = np.clip(x, -1, 1)
    return output


def _log_sigmoid(x: Array) -> Array:
    output: Array = np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
    return output


def _log_softmax(x: Array) -> Array:
    centred = x - x.max(axis=-1, keepdims=True)
    output: Array = centred - np.log(np.exp(centred).sum(axis=-1, keepdims=True))
    return output


def _rrelu(x: Array) -> Array:
    return np.where(x > 0, x, _RRELU_SLOPE * x)


def _softmin(x: Array) -> Array:
    return softmax(-x)


def _softshrink(x: Array) -> Array:
    output: Array = x - np.clip(x, -0.5, 0.5)
    return output


def _softsign(x: Array) -> Array:
    output: Array = x / (1 + np.abs(x))
    return output


def _tanhshrink(x: Array) -> Array:
    output: Array = x - np.tanh(x)
    return output


# All that have neither weights nor arguments that must be given, and keep the number of features.
TORCH_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "CELU": _elu,
        "ELU": _elu,
        "GELU": gelu,
        "Hardshrink": _hardshrink,
        "Hardsigmoid": _hardsigmoid,
        "Hardswish": hardswish,
        "Hardtanh": _hardtanh,
        "Identity": identity,
        "LeakyReLU": leaky_relu,
        "LogSigmoid": _log_sigmoid,
        "LogSoftmax": _log_softmax,
        "Mish": mish,
        "RReLU": _rrelu,
        "ReLU": relu,
        "ReLU6": relu6,
        "SELU": _selu,
        "SiLU": silu,
        "Sigmoid": sigmoid,
        "Softmax": softmax,
        "Softmin": _softmin,
        "Softplus": softplus,
        "Softshrink": _softshrink,
        "Softsign": _softsign,
        "Tanh": np.tanh,
        "Tanhshrink": _tanhshrink,
    }
)


def activation_named(name: object) -> Callable[[Array], Array] | None:
    """Return the activation that torch's dotted name stands for; None for any other name.

    Examples
    --------
    >>> activation_named("torch.nn.modules.activation.ReLU")(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    home, _, kind = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    return TORCH_ACTIVATIONS.get(kind) if home in _HOMES else None


def name_of_activation(activation: Callable[[Array], Array]) -> str:
    """Return a dotted name of torch's that `activation_named` takes for an activation.

    Examples
    --------
    >>> name_of_activation(np.tanh)
    'torch.nn.modules.activation.Tanh'
    """
    kind = next(name for name, known in TORCH_ACTIVATIONS.items() if known is activation)
    return f"torch.nn.modules.{'linear' if kind == 'Identity' else 'activation'}.{kind}"


def activation_of_scores(config: BertConfig, *, stacklevel: int) -> str | None:
    """Return which of `TORCH_ACTIVATIONS` a model's files have its scores go through.

    None where they name none, or code of their own, which is not run; then a warning says so, at
    `stacklevel` calls above this one.

    Raises
    ------
    ConfigError
        If they name a class of torch's that is not supported.

    References
    ----------
    .. [1] sentence-transformers, cross_encoder/model.py, CrossEncoder._resolve_activation_fn.

    Examples
    --------
    >>> name = "torch.nn.modules.linear.Identity"
    >>> config = BertConfig(sbert_ce_default_activation_function=name)
    >>> activation_of_scores(config, stacklevel=1)
    'Identity'
    """
    name = config.sbert_ce_default_activation_function
    if name is None:
        return None
    if activation_named(name) is not None:
        return name.rpartition(".")[2]
    if name.startswith("torch."):
        raise ConfigError(
            f"the model's files name {quoted(name)} as the activation of its scores, which is not "
            f"supported; torch.nn's {', '.join(TORCH_ACTIVATIONS)} are. Name the function yourself "
            "(activation_fn of CrossEncoder, function_to_apply of classify)."
        )
    warnings.warn(
        f"the model's files name {quoted(name)} as the activation of its scores; it is code of "
        "theirs and was not run, so the scores are those of a model that names none.",
        stacklevel=stacklevel,
    )
    return None
