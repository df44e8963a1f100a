"""The heads, forward and backward: what a task makes of tokens or of the pooler's vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.blocks.gradients import DenseGradients, dense_backward, norm_backward
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    BertPredictionHeadTransformParameters,
    LinearParameters,
)

__all__ = [
    "ClassifierSteps",
    "LMPredictionGradients",
    "LMPredictionSteps",
    "OnlyMLMSteps",
    "OnlyNSPSteps",
    "PreTrainingHeadsSteps",
    "PredictionTransformSteps",
    "Product",
    "ProductBackward",
    "QuestionAnsweringHeadSteps",
    "classifier",
    "classifier_backward",
    "lm_prediction",
    "lm_prediction_backward",
]


class ProductGradients(Protocol):
    """The gradients of what a dense layer takes, as `linear_backward` returns them."""

    @property
    def x(self) -> Array:
        """The gradient of the input."""

    @property
    def weight(self) -> Array:
        """The gradient of the weight."""

    @property
    def bias(self) -> Array:
        """The gradient of the bias."""


# What multiplies by the decoder, called as `linear` is, and its backward: the readable one or a
# kernel.
Product: TypeAlias = Callable[[Array, Array, Array], Array]
ProductBackward: TypeAlias = Callable[[Array, Array, Array], ProductGradients]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PredictionTransformSteps:
    """What comes before the decoder: dense, activation and LayerNorm, all (..., H)."""

    dense: Array
    transform_act_fn: Array
    LayerNorm: LayerNormSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LMPredictionSteps:
    """The masked language model: its transform, and the score of each word, (..., V)."""

    transform: PredictionTransformSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingHeadsSteps:
    """Both heads of pre-training; seq_relationship (B, 2)."""

    predictions: LMPredictionSteps
    seq_relationship: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OnlyMLMSteps:
    """The masked language model's head alone."""

    predictions: LMPredictionSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OnlyNSPSteps:
    """Next-sentence prediction's head alone; seq_relationship (B, 2)."""

    seq_relationship: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringHeadSteps:
    """The dense layer that scores where an answer starts and where it ends, (B, T, 2)."""

    qa_outputs: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassifierSteps:
    """Dropout, and the dense layer over it, (..., K)."""

    dropout: DropoutSteps
    classifier: Array


def lm_prediction(
    parameters: BertLMPredictionHeadParameters,
    decoder: Array,
    hidden: Array,
    *,
    config: BertConfig,
    product: Product = linear,
) -> LMPredictionSteps:
    """Score every word of the vocabulary for each token.

    Parameters
    ----------
    parameters : BertLMPredictionHeadParameters
        The transform, and the decoder's bias.
    decoder : ndarray of shape (V, H), dtype of `hidden`
        The decoder's weight: the word table, or the head's own where it has one.
    hidden : ndarray of shape (..., H)
        The encoder's output: all its tokens, or only those whose words are asked for.
    config : BertConfig
        The config, for the epsilon and the activation, which is the encoder's.
    product : callable
        What computes the scores; a kernel may take the place of `linear`, which is called alike.

    Returns
    -------
    LMPredictionSteps
        The transform's steps, (..., H), and the scores, (..., V), not normalized.

    Raises
    ------
    InputError
        If the shapes or dtypes do not fit each other.

    References
    ----------
    .. [1] google-research/bert, run_pretraining.py, get_masked_lm_output.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> hidden = np.zeros((1, 3, 128), np.float32)
    >>> predictions = model.head.cls.predictions
    >>> lm_prediction(predictions, model.decoder, hidden, config=model.config).output.shape
    (1, 3, 8000)
    """
    transform = parameters.transform
    dense = linear(hidden, transform.dense.weight, transform.dense.bias)  # (..., H)
    activated = ACTIVATIONS[config.activation].forward(dense)
    norm = transform.LayerNorm
    bias = parameters.bias if parameters.decoder is None else parameters.decoder.bias
    normalized = layer_norm(activated, norm.weight, norm.bias, eps=config.layer_norm_eps)
    return LMPredictionSteps(
        transform=PredictionTransformSteps(
            dense=dense,
            transform_act_fn=activated,
            LayerNorm=normalized,
            output=normalized.output,
        ),
        output=product(normalized.output, decoder, bias),  # (..., V)
    )


def classifier(
    parameters: LinearParameters,
    x: Array,
    *,
    p: float,
    rng: np.random.Generator | None = None,
) -> ClassifierSteps:
    """Score the labels of sequences, by the pooler's output, or of tokens, by the encoder's.

    Parameters
    ----------
    parameters : LinearParameters
        The weight (K, H) and the bias (K,).
    x : ndarray of shape (..., H), dtype of the parameters
        The pooler's output (B, H), or the encoder's (B, T, H).
    p : float
        The probability with which dropout drops an element.
    rng : numpy.random.Generator, optional
        The generator that draws dropout's mask; without it dropout is off.

    Returns
    -------
    ClassifierSteps
        The steps dropout (..., H) and classifier (..., K).

    References
    ----------
    .. [1] Devlin et al., "BERT", arXiv:1810.04805, section 3.2 and figure 4.

    Examples
    --------
    >>> weights = LinearParameters(weight=np.ones((2, 3)), bias=np.array([0.0, 1.0]))
    >>> classifier(weights, np.array([[1.0, 2.0, 3.0]]), p=0.1).classifier
    array([[6., 7.]])
    """
    dropped = dropout(x, p, rng=rng)
    scores = linear(dropped.output, parameters.weight, parameters.bias)  # (..., K)
    return ClassifierSteps(dropout=dropped, classifier=scores)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LMPredictionGradients:
    """The gradients of a head's parameters, the hidden states (..., H) and the word table (V, H).

    Where the head has a decoder of its own, its gradient is among the parameters' and `decoder`
    is None.
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
    product_backward: ProductBackward = linear_backward,
) -> LMPredictionGradients:
    """Return the gradients of what `lm_prediction` was called with.

    Parameters
    ----------
    grad : ndarray of shape (..., V), dtype of `hidden`
        The gradient of the output.
    parameters, decoder, hidden, config
        What `lm_prediction` was called with.
    steps : LMPredictionSteps
        What `lm_prediction` returned.
    product_backward : callable
        The backward of the `product` that `lm_prediction` was called with.

    Returns
    -------
    LMPredictionGradients
        The gradients. A decoder that is the word table has its own apart: the look-up's gradient
        of that table is added to it later.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
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
        The gradient of the scores.
    parameters, p
        What `classifier` was called with.
    steps : ClassifierSteps
        What `classifier` returned.

    Examples
    --------
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
