"""The mistakes that are made in the activation and in the pooler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.ops.activation import ACTIVATIONS, gelu, gelu_tanh, quick_gelu, relu
from numpy_bert.verification.changes import Cause, Mistake, Setting, changed, of_length_1, sigmoid
from numpy_bert.verification.steps import Step, dense, same

__all__ = ["activation_mistakes", "first_token_mistakes", "pooler_mistakes", "tanh_mistakes"]

_ACTIVATIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("gelu_tanh", "GELU is the tanh form, not the erf form", gelu_tanh),
    ("gelu_erf", "GELU is the erf form, not the tanh form", gelu),
    ("gelu_sigmoid", "the activation is x * sigmoid(1.702 x)", quick_gelu),
    ("activation_relu", "the activation is ReLU", relu),
    ("activation_silu", "the activation is SiLU", ACTIVATIONS["silu"].forward),
    ("activation_missing", "the activation is left out", same),
)
# What Abramowitz and Stegun have for erf, in their numbers: p, then the powers of t from the first.
_ERF_3 = (0.47047, 0.3480242, -0.0958798, 0.7478556)
_ERF_4 = (0.278393, 0.230389, 0.000972, 0.078108)


def _erf(x: Array) -> Array:
    """Return 2 Phi(x sqrt(2)) - 1, which is erf, from what `gelu` makes of numbers away from 0."""
    wide = math.sqrt(2.0) * np.where(x == 0.0, 1e-300, x)
    found: Array = 2.0 * gelu(wide) / wide - 1.0
    return found


def _gelu_by(erf: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a GELU that is computed with what somebody takes for erf."""
    return lambda x: 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))


def _erf_by_powers(numbers: tuple[float, ...]) -> Callable[[Array], Array]:
    """Return formula 7.1.25 or 7.1.26 of Abramowitz and Stegun."""
    p, *powers = numbers

    def erf(x: Array) -> Array:
        t = 1.0 / (1.0 + p * np.abs(x))
        total = np.polynomial.polynomial.polyval(t, [0.0, *powers])
        found: Array = np.sign(x) * (1.0 - total * np.exp(-x * x))
        return found

    return erf


def _erf_by_fourth_power(x: Array) -> Array:
    """Return formula 7.1.27 of Abramowitz and Stegun."""
    total = np.polynomial.polynomial.polyval(np.abs(x), [1.0, *_ERF_4])
    found: Array = np.sign(x) * (1.0 - 1.0 / total**4)
    return found


def _erf_of_ibert(x: Array) -> Array:
    """Return the square that I-BERT (arXiv:2101.01321) has for erf."""
    cut = np.minimum(np.abs(x), 1.769)
    found: Array = np.sign(x) * (1.0 - 0.2888 * (cut - 1.769) ** 2)
    return found


def _tanh_gelu(root: float, cube: float) -> Callable[[Array], Array]:
    """Return GELU's tanh form with other constants."""
    return lambda x: 0.5 * x * (1.0 + np.tanh(root * (x + cube * x**3)))


def _selu(x: Array) -> Array:
    found: Array = 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))
    return found


_ROOT = math.sqrt(2.0 / math.pi)
_ODD_ACTIVATIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("gelu_without_root", "GELU's erf is of x, not of x over the root of 2", lambda x: _with(x, 1)),
    ("gelu_without_half", "GELU is without its half", lambda x: 2.0 * gelu(x)),
    ("gelu_without_x", "what GELU multiplies x by stands alone", lambda x: 0.5 * _with(x, 0)),
    (
        "gelu_tanh",
        "GELU's tanh form has 2 / pi without its root",
        _tanh_gelu(2 / math.pi, 0.044715),
    ),
    ("gelu_tanh", "GELU's tanh form is without its cube", _tanh_gelu(_ROOT, 0.0)),
    ("gelu_tanh", "GELU's tanh form has 0.44715 for 0.044715", _tanh_gelu(_ROOT, 0.44715)),
    ("gelu_sigmoid", "the activation is x * sigmoid(1.7 x)", lambda x: x * sigmoid(1.7 * x)),
    ("gelu_erf_of_3", "GELU's erf is that of 3 terms", _gelu_by(_erf_by_powers(_ERF_3))),
    ("gelu_erf_of_4", "GELU's erf is a fourth power", _gelu_by(_erf_by_fourth_power)),
    ("gelu_ibert", "GELU's erf is I-BERT's square", _gelu_by(_erf_of_ibert)),
    ("activation_twice", "the activation is applied twice", lambda x: gelu(gelu(x))),
    ("activation_elu", "the activation is ELU", lambda x: np.where(x > 0, x, np.expm1(x))),
    ("activation_selu", "the activation is SELU", _selu),
    ("activation_softplus", "the activation is softplus", lambda x: np.logaddexp(x, 0.0)),
    (
        "activation_hardsigmoid",
        "the activation is a hard sigmoid",
        lambda x: np.clip(x / 6 + 0.5, 0, 1),
    ),
    (
        "activation_leaky_relu",
        "the activation is LeakyReLU (0.2)",
        lambda x: np.maximum(x, 0.2 * x),
    ),
    *(
        (f"activation_{name}", f"the activation is {name}", ACTIVATIONS[name].forward)
        for name in (
            "mish",
            "hardswish",
            "leaky_relu",
            "relu2",
            "relu6",
            "tanh",
            "sigmoid",
            "laplace",
            "gelu_10",
            "sqrtsoftplus",
        )
    ),
)


def _with(x: Array, factor: int) -> Array:
    """Return x (1 + erf(x)) / 2, or 1 + erf(x / sqrt(2)) where the factor is 0."""
    if factor:
        return 0.5 * x * (1.0 + _erf(x))
    return 1.0 + _erf(x * math.sqrt(0.5))


def activation_mistakes(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield other functions in the place of the activation."""
    right = step.arguments["activation"]
    for name, text, function in _ACTIVATIONS:
        if function is not right:
            yield changed(step, name, text, activation=function)
    for name, text, function in _ODD_ACTIVATIONS:
        if function is not right:
            yield replace(changed(step, name, text, activation=function), is_rare=True)


def pooler_mistakes(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what else a pooler reads: not the first token of each row."""
    for text, read in _other_tokens(setting):
        yield changed(
            step, "pooler_token", text, lambda x, read=read, **given: dense(read(x), **given)
        )
    alone = replace(step, function=lambda x, **_: x[:, 0])
    if step.arguments["weight"].shape[0] == setting.config.hidden_size:
        after = replace(setting.steps["pooler"], function=same)
        cause = Cause("pooler_left_out", "the pooler is left out: the first token stands here")
        yield Mistake(cause, {step.name: alone, after.name: after}, is_rare=True)


def first_token_mistakes(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what else stands for a sequence than the state of its first token."""
    for text, read in _other_tokens(setting):
        yield changed(step, "pooler_token", text, read)
    text = "the first token's state is divided by its length"
    yield changed(step, "pooler_normalized", text, lambda x: of_length_1(x[:, 0]))


def _other_tokens(setting: Setting) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield what poolers read in the place of the first token, and a sentence about each."""
    mask = setting.inputs.attention_mask
    rows = np.arange(len(mask))
    lasts = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    weights = mask[:, :, np.newaxis] / np.maximum(mask.sum(axis=1), 1)[:, np.newaxis, np.newaxis]
    ways: tuple[tuple[str, Callable[[Array], Array]], ...] = (
        ("the mean of the tokens", lambda x: (x * weights.astype(x.dtype)).sum(axis=1)),
        ("the last token", lambda x: x[rows, lasts]),
        ("the mean of all places, padding too,", lambda x: x.mean(axis=1)),
        ("the last place, padding or not,", lambda x: x[:, -1]),
        ("the second token", lambda x: x[:, min(1, x.shape[1] - 1)]),
        ("the largest of the tokens", lambda x: _largest(x, mask)),
    )
    for what, read in ways:
        yield f"the pooler reads {what}, not the first token", read


def _largest(x: Array, mask: BoolArray) -> Array:
    found: Array = np.where(mask[:, :, np.newaxis], x, -np.inf).max(axis=1)
    return found


def tanh_mistakes(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield other functions at the end of the pooler."""
    yield changed(step, "pooler_without_tanh", "the pooler is without its tanh", same)
    ways: tuple[tuple[str, Callable[[Array], Array]], ...] = (
        ("ReLU", relu),
        ("GELU", gelu),
        ("a sigmoid", sigmoid),
        ("a tanh twice", lambda x: np.tanh(np.tanh(x))),
    )
    for what, function in ways:
        text = f"the pooler has {what}, not a tanh"
        yield replace(changed(step, "pooler_activation", text, function), is_rare=True)
