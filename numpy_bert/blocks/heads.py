"""The heads: what a task makes of the encoder's tokens or of the pooler's vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.dropout import DropoutSteps, dropout
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    LinearParameters,
)

__all__ = [
    "ClassifierSteps",
    "LMPredictionSteps",
    "OnlyMLMSteps",
    "OnlyNSPSteps",
    "PreTrainingHeadsSteps",
    "PredictionTransformSteps",
    "classifier",
    "lm_prediction",
]


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
    product: Callable[[Array, Array, Array], Array] = linear,
) -> LMPredictionSteps:
    """Score every word of the vocabulary for each token.

    Parameters
    ----------
    parameters : BertLMPredictionHeadParameters
        The transform, and the decoder's bias.
    decoder : ndarray of shape (V, H), dtype of `hidden`
        The decoder's weight: the word table, or the head's own where it has one.
    hidden : ndarray of shape (..., H)
        Of the encoder: all its tokens, or only those whose words are asked for.
    config : BertConfig
        Activation and epsilon; the activation is the encoder's.
    product : callable
        What computes the scores; a kernel may take the place of `linear`, which is called alike.

    Returns
    -------
    LMPredictionSteps
        The transform's steps (..., H); output (..., V), not normalized.

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
    """Score labels: of sequences from the pooler's output, of tokens from the encoder's.

    Parameters
    ----------
    parameters : LinearParameters
        weight (K, H), bias (K,).
    x : ndarray of shape (..., H), dtype of the parameters
        The pooler's output (B, H), or the encoder's (B, T, H).
    p : float
        Dropout's probability.
    rng : numpy.random.Generator, optional
        Draws dropout's mask; without it dropout is off.

    Returns
    -------
    ClassifierSteps
        dropout (..., H), classifier (..., K).

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
