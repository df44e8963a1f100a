"""The heads, forward and backward: what a task makes of tokens or of the pooler's vector.

A head is made of layers, which are values: `numpy_bert.model.heads` says which heads there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.gradients import dense_backward, norm_backward
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.activation import Activation as Function
from numpy_bert.ops.dropout import DropoutSteps, dropout, dropout_backward
from numpy_bert.ops.layer_norm import LayerNormSteps, layer_norm
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    BertPredictionHeadTransformParameters,
    LinearParameters,
)
from numpy_bert.reprs import short_repr

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "HeadCall",
    "LMPredictionGradients",
    "LMPredictionSteps",
    "Layer",
    "LayerGradients",
    "LayerNorm",
    "OnlyMLMSteps",
    "OnlyNSPSteps",
    "PreTrainingHeadsSteps",
    "PredictionTransformSteps",
    "Product",
    "ProductBackward",
    "Words",
    "lm_prediction",
    "lm_prediction_backward",
    "output_of",
    "run_layers",
    "run_layers_backward",
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
    """What comes before the decoder: dense, activation and LayerNorm, all (..., E)."""

    __repr__ = short_repr

    dense: Array
    transform_act_fn: Array
    LayerNorm: LayerNormSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LMPredictionSteps:
    """The masked language model: its transform, and the score of each word, (..., V)."""

    __repr__ = short_repr

    transform: PredictionTransformSteps
    output: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreTrainingHeadsSteps:
    """Both heads of pre-training; seq_relationship (B, 2)."""

    __repr__ = short_repr

    predictions: LMPredictionSteps
    seq_relationship: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OnlyMLMSteps:
    """The masked language model's head alone."""

    __repr__ = short_repr

    predictions: LMPredictionSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OnlyNSPSteps:
    """Next-sentence prediction's head alone; seq_relationship (B, 2)."""

    __repr__ = short_repr

    seq_relationship: Array


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
    decoder : ndarray of shape (V, E), dtype of `hidden`
        The decoder's weight: the word table, or the head's own where it has one. E is H, except
        where the embedding is narrower than the encoder.
    hidden : ndarray of shape (..., H)
        The encoder's output: all its tokens, or only those whose words are asked for.
    config : BertConfig
        The config, for the epsilon and the activation.
    product : callable
        What computes the scores; a kernel may take the place of `linear`, which is called alike.

    Returns
    -------
    LMPredictionSteps
        The transform's steps, (..., E), and the scores, (..., V), not normalized.

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
    dense = linear(hidden, transform.dense.weight, transform.dense.bias)  # (..., E)
    activated = ACTIVATIONS[config.words_activation].forward(dense)
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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LMPredictionGradients:
    """The gradients of a head's parameters, the hidden states (..., H) and the word table (V, E).

    Where the head has a decoder of its own, its gradient is among the parameters' and `decoder`
    is None.
    """

    __repr__ = short_repr

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
    activated = ACTIVATIONS[config.words_activation].backward(norm.x, steps.transform.dense)
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


class HeadCall(NamedTuple):
    """A call of a head: its parameters, and what it reads.

    Attributes
    ----------
    parameters : dataclass
        The head's weights, as in `numpy_bert.parameters`.
    config : BertConfig
        Activation, epsilon, dropout, and what the labels are.
    hidden : ndarray of shape (B, T, H), or (N, H) of some tokens; or None
        The last hidden state; None for a head that reads the pooler's output alone.
    pooled : ndarray of shape (B, H), or None
        The pooler's output.
    rng : numpy.random.Generator, optional
        Turns the head's dropout on.
    mask : ndarray of shape (B, T), bool, or None
        True where there is a token; None where there is no padding.
    decoder : ndarray of shape (V, E), or None
        The weight of the decoder, for a head that predicts words.
    product, product_backward : callable
        What multiplies by the decoder, and its backward: the readable code, or a kernel.
    choices : int
        How many sequences belong to one example.
    """

    parameters: Any
    config: BertConfig
    hidden: Array | None = None
    pooled: Array | None = None
    rng: np.random.Generator | None = None
    mask: BoolArray | None = None
    decoder: Array | None = None
    product: Product = linear
    product_backward: ProductBackward = linear_backward
    choices: int = 1

    def __repr__(self) -> str:
        return short_repr(self)

    def own(self, path: str) -> Any:
        """Return the parameters at a path, as ``"cls.predictions"``."""
        return attrgetter(path)(self.parameters)


class LayerGradients(NamedTuple):
    """The gradients of what a layer was called with.

    x is that of its input, parameters those of its own in their class, decoder (V, E) that of the
    word table where a layer takes it for its decoder; None is what there is not.
    """

    x: Array
    parameters: Any = None
    decoder: Array | None = None

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, slots=True)
class Layer(ABC):
    """A step of a head, as a value: what it does, and where its parameters are.

    Attributes
    ----------
    name : str
        The path of its parameters in the head's, which is their key in a checkpoint, and of its
        step in the model's `steps`: its name in a trace. A layer without parameters has a path,
        too.
    """

    name: str

    @abstractmethod
    def forward(self, call: HeadCall, x: Array) -> Any:
        """Return the layer's step: an array, or a dataclass with one called output."""

    @abstractmethod
    def backward(self, call: HeadCall, x: Array, step: Any, grad: Array) -> LayerGradients:
        """Go back, from the gradient of the output of `forward`."""


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """A dense layer."""

    def forward(self, call: HeadCall, x: Array) -> Array:
        """Return (..., out)."""
        own = call.own(self.name)
        return linear(x, own.weight, own.bias)

    def backward(self, call: HeadCall, x: Array, step: Array, grad: Array) -> LayerGradients:
        """Go back through the product."""
        back = dense_backward(grad, x, call.own(self.name))
        return LayerGradients(back.x, back.parameters)


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Dropout, which is on where the call has an `rng`.

    Attributes
    ----------
    p : float or str
        How likely an element is dropped: a number, or the name of the config's field that has it.
        Where that field is null, hidden_dropout_prob counts.
    """

    p: float | str = "classifier_dropout"

    def forward(self, call: HeadCall, x: Array) -> DropoutSteps:
        """Return the mask and the output."""
        return dropout(x, self._rate(call.config), rng=call.rng)

    def backward(self, call: HeadCall, x: Array, step: DropoutSteps, grad: Array) -> LayerGradients:
        """Go back through the mask."""
        return LayerGradients(dropout_backward(grad, step.keep, self._rate(call.config)))

    def _rate(self, config: BertConfig) -> float:
        rate = getattr(config, self.p) if isinstance(self.p, str) else self.p
        return config.hidden_dropout_prob if rate is None else rate


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An activation.

    Attributes
    ----------
    function : str, optional
        One of `numpy_bert.ops.activation.ACTIVATIONS`; by default the one that the config names.
    setting : str
        The config's property that names it: by default the encoder's.
    """

    function: str | None = None
    setting: str = "activation"

    def forward(self, call: HeadCall, x: Array) -> Array:
        """Return the function of each number."""
        return self._function(call.config).forward(x)

    def backward(self, call: HeadCall, x: Array, step: Array, grad: Array) -> LayerGradients:
        """Multiply by the slopes."""
        return LayerGradients(self._function(call.config).backward(grad, x))

    def _function(self, config: BertConfig) -> Function:
        return ACTIVATIONS[self.function or getattr(config, self.setting)]


@dataclass(frozen=True, slots=True)
class LayerNorm(Layer):
    """A LayerNorm.

    Attributes
    ----------
    eps : float, optional
        Added to the variance under the root; by default config.json's layer_norm_eps.
    """

    eps: float | None = None

    def forward(self, call: HeadCall, x: Array) -> LayerNormSteps:
        """Return the statistics, and the normalized rows."""
        own = call.own(self.name)
        eps = call.config.layer_norm_eps if self.eps is None else self.eps
        return layer_norm(x, own.weight, own.bias, eps=eps)

    def backward(
        self, call: HeadCall, x: Array, step: LayerNormSteps, grad: Array
    ) -> LayerGradients:
        """Go back through the normalization."""
        back = norm_backward(grad, step, call.own(self.name))
        return LayerGradients(back.x, back.parameters)


@dataclass(frozen=True, slots=True)
class Words(Layer):
    """The masked language model: `lm_prediction`."""

    def forward(self, call: HeadCall, x: Array) -> LMPredictionSteps:
        """Score the words."""
        assert call.decoder is not None
        own, product = call.own(self.name), call.product
        return lm_prediction(own, call.decoder, x, config=call.config, product=product)

    def backward(
        self, call: HeadCall, x: Array, step: LMPredictionSteps, grad: Array
    ) -> LayerGradients:
        """Go back through decoder and transform."""
        assert call.decoder is not None
        back = lm_prediction_backward(
            grad,
            call.own(self.name),
            call.decoder,
            x,
            step,
            config=call.config,
            product_backward=call.product_backward,
        )
        return LayerGradients(back.hidden, back.parameters, back.decoder)


def run_layers(layers: Sequence[Layer], call: HeadCall, x: Array) -> dict[str, Any]:
    """Run layers one after another over rows; return their steps by their names, in order.

    Examples
    --------
    >>> from numpy_bert.parameters import ClassifierParameters
    >>> own = LinearParameters(weight=np.ones((2, 3)), bias=np.array([0.0, 1.0]))
    >>> call = HeadCall(ClassifierParameters(classifier=own), BertConfig())
    >>> x = np.array([[1.0, 2.0, 3.0]])
    >>> layers = Dropout("dropout"), Dense("classifier")
    >>> steps = run_layers(layers, call, x)
    >>> steps["classifier"]
    array([[6., 7.]])
    >>> back = run_layers_backward(layers, call, x, steps, np.array([[1.0, -1.0]]))
    >>> back.parameters["classifier"].weight
    array([[ 1.,  2.,  3.],
           [-1., -2., -3.]])
    """
    steps = dict[str, Any]()
    for layer in layers:
        steps[layer.name] = layer.forward(call, x)
        x = output_of(steps[layer.name])
    return steps


def run_layers_backward(
    layers: Sequence[Layer], call: HeadCall, x: Array, steps: Mapping[str, Any], grad: Array
) -> LayerGradients:
    """Go back through what `run_layers` did, from the gradient of the last layer's output.

    The parameters' gradients are a dict by the layers' names.
    """
    read = [x, *(output_of(steps[layer.name]) for layer in layers[:-1])]
    own, decoder = dict[str, Any](), None
    for layer, given in zip(reversed(layers), reversed(read), strict=True):
        back = layer.backward(call, given, steps[layer.name], grad)
        grad = back.x
        if back.parameters is not None:
            own[layer.name] = back.parameters
        decoder = decoder if back.decoder is None else back.decoder
    return LayerGradients(grad, own, decoder)


def output_of(step: Any) -> Array:
    """Return what a layer's step hands on."""
    found: Array = step if isinstance(step, np.ndarray) else step.output
    return found
