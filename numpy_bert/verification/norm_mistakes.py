"""What goes wrong in a LayerNorm, and in the residual sum before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.verification.dense_mistakes import rounded_weights
from numpy_bert.verification.functions import add, same
from numpy_bert.verification.mistake import Cause, Mistake, Setting, changed
from numpy_bert.verification.steps import Step

__all__ = ["in_norm", "in_residual"]

# What other models and libraries use.
_EPSILONS = (1e-5, 1e-12, 1e-6, 1e-3, 1e-7, 1e-8, 2e-5, 2e-6, 0.0)
_PRE = "pre_layer_norm"
_BESSEL = "the variance is Bessel-corrected, divided by H - 1"


def in_norm(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of a step of LayerNorm."""
    part = step.arguments["part"]
    if part == "mean":
        return
    if part != "variance":
        yield from _in_epsilon(step)
    cause = Cause("layer_norm_bessel", _BESSEL)
    yield changed(step, cause, _otherwise, bessel=True)
    cause = Cause("layer_norm_uncentred", "the mean is not taken away (RMSNorm)")
    yield changed(step, cause, _otherwise, centred=False)
    if part != "output":
        return
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    cause = Cause("layer_norm_weight_missing", "LayerNorm's weight (gamma) is left out")
    yield changed(step, cause, weight=np.ones_like(weight))
    cause = Cause("layer_norm_bias_missing", "LayerNorm's bias (beta) is left out")
    yield changed(step, cause, bias=np.zeros_like(bias))
    text = "LayerNorm is left out: what stands here is the sum before it (pre- for post-LayerNorm)"
    yield changed(step, Cause(_PRE, text), same)
    yield from rounded_weights(step, "weight", "bias")


def in_residual(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of a residual sum."""
    cause = Cause("residual_missing", "the residual is not added")
    yield Mistake(cause, {step.name: replace(step, inputs=step.inputs[:1])})
    norm = setting.steps[f"{step.name.removesuffix('.sum')}.LayerNorm"]

    def before(x: Array, residual: Array, **arguments: Array) -> Array:
        return add(norm.function(x, **{**norm.arguments, **arguments}), residual)

    cause = Cause(_PRE, "LayerNorm comes before the residual sum, not after it")
    inside = replace(step, function=before)
    yield Mistake(cause, {step.name: inside, norm.name: replace(norm, function=same)})


def _in_epsilon(step: Step) -> Iterator[Mistake]:
    """Yield what is made of epsilon."""
    right = step.arguments["eps"]
    for eps in _EPSILONS:
        if eps != right:
            text = f"LayerNorm's epsilon is {eps:g}, not {right:g}"
            yield changed(step, Cause("layer_norm_epsilon", text), eps=eps)
    for eps in dict.fromkeys((right, *_EPSILONS[:-1])):
        cause = Cause("layer_norm_epsilon_outside", f"epsilon {eps:g} stands outside the root")
        yield changed(step, cause, _otherwise, eps=eps, outside=True)
    cause = Cause("layer_norm_bessel", f"{_BESSEL}, and epsilon 1e-06 stands outside the root")
    yield changed(step, cause, _otherwise, bessel=True, outside=True, eps=1e-6)


def _otherwise(
    x: Array,
    *,
    weight: Array,
    bias: Array,
    eps: float,
    part: str,
    outside: bool = False,
    bessel: bool = False,
    centred: bool = True,
) -> Array:
    """Return a step of a LayerNorm that is not BERT's."""
    mean = x.mean(axis=-1, keepdims=True) if centred else np.zeros_like(x[..., :1])
    features = x.shape[-1] - bessel
    variance = np.square(x - mean).sum(axis=-1, keepdims=True) / features
    rstd = 1.0 / (np.sqrt(variance) + eps) if outside else 1.0 / np.sqrt(variance + eps)
    normalized = (x - mean) * rstd
    parts = {"mean": mean, "variance": variance, "rstd": rstd, "normalized": normalized}
    found: Array = parts[part] if part in parts else normalized * weight + bias
    return found
