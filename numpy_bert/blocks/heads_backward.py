"""The heads' gradients: `numpy_bert.blocks.heads`, step by step backwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.blocks.gradients import DenseGradients, dense_backward, norm_backward
from numpy_bert.blocks.heads import ClassifierSteps, LMPredictionSteps
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.dropout import dropout_backward
from numpy_bert.ops.linear import linear_backward
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    BertPredictionHeadTransformParameters,
    LinearParameters,
)

__all__ = [
    "LMPredictionGradients",
    "classifier_backward",
    "lm_prediction_backward",
]


class ProductGradients(Protocol):
    """Of what a dense layer was called with, as `linear_backward` returns them."""

    @property
    def x(self) -> Array:
        """Of the input."""

    @property
    def weight(self) -> Array:
        """Of the weight."""

    @property
    def bias(self) -> Array:
        """Of the bias."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LMPredictionGradients:
    """Of the head's parameters, of the hidden states (..., H), and of the word table (V, H).

    Where the head has a decoder of its own, whose gradient is among its parameters', `decoder` is
    None.
    """

    parameters: BertLMPredictionHeadParameters
    decoder: Array | None
    hidden: Array


def lm_prediction_backward(
    grad: Array,
    parameters: BertLMPredictionHeadParameters,
    decoder: Array,
    hidden: Array,
    steps: LMPredictionSteps,
    *,
    config: BertConfig,
    product_backward: Callable[[Array, Array, Array], ProductGradients] = linear_backward,
) -> LMPredictionGradients:
    """Return the gradients of what `lm_prediction` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., V), dtype of `hidden`
        Of its output.
    parameters, decoder, hidden, config
        As it was called with.
    steps : LMPredictionSteps
        What it returned.
    product_backward : callable
        The backward of its `product`.

    Returns
    -------
    LMPredictionGradients
        A decoder that is the word table has its gradient apart: a part of that table's, to which
        the look-up adds the other.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> from numpy_bert.blocks.heads import lm_prediction
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> weights, hidden = model.head.cls.predictions, np.zeros((1, 3, 128), np.float32)
    >>> steps = lm_prediction(weights, model.decoder, hidden, config=model.config)
    >>> found = lm_prediction_backward(np.ones_like(steps.output), weights, model.decoder, hidden,
    ...                                steps, config=model.config)
    >>> found.decoder.shape, found.parameters.bias.shape
    ((8000, 128), (8000,))
    """
    transform = parameters.transform
    decoded = product_backward(grad, steps.transform.output, decoder)
    norm = norm_backward(decoded.x, steps.transform.LayerNorm, transform.LayerNorm)
    activated = ACTIVATIONS[config.activation].backward(norm.x, steps.transform.dense)
    dense = dense_backward(activated, hidden, transform.dense)
    is_tied, own = parameters.decoder is None, None
    if not is_tied:
        own = LinearParameters(weight=decoded.weight, bias=decoded.bias)
    return LMPredictionGradients(
        parameters=BertLMPredictionHeadParameters(
            transform=BertPredictionHeadTransformParameters(
                dense=dense.parameters, LayerNorm=norm.parameters
            ),
            bias=decoded.bias if is_tied else np.zeros_like(parameters.bias),
            decoder=own,
        ),
        decoder=decoded.weight if is_tied else None,
        hidden=dense.x,
    )


def classifier_backward(
    grad: Array, parameters: LinearParameters, steps: ClassifierSteps, *, p: float
) -> DenseGradients:
    """Return the gradients of what `classifier` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., K), dtype of the parameters
        Of its scores.
    parameters, p
        As it was called with.
    steps : ClassifierSteps
        What it returned.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert.blocks.heads import classifier
    >>> weights = LinearParameters(weight=np.ones((2, 3)), bias=np.array([0.0, 1.0]))
    >>> steps = classifier(weights, np.array([[1.0, 2.0, 3.0]]), p=0.1)
    >>> classifier_backward(np.array([[1.0, -1.0]]), weights, steps, p=0.1).parameters.weight
    array([[ 1.,  2.,  3.],
           [-1., -2., -3.]])
    """
    dense = dense_backward(grad, steps.dropout.output, parameters)
    return DenseGradients(
        parameters=dense.parameters,
        x=dropout_backward(dense.x, steps.dropout.keep, p),
    )
