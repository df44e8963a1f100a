"""What goes wrong in a dense layer, and with any weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, widen
from numpy_bert.verification.functions import dense, look_up
from numpy_bert.verification.mistake import Cause, Mistake, Setting, changed
from numpy_bert.verification.steps import Step

__all__ = ["in_dense", "in_pooler", "rounded_rows", "rounded_weights", "to_bfloat16"]

_PROJECTIONS = ("query", "key", "value")


def in_dense(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of a dense layer."""
    yield from _in_weights(step)
    path, _, last = step.name.rpartition(".")
    for other in _PROJECTIONS:
        if last in _PROJECTIONS and other != last:
            cause = Cause("qkv_swapped", f"the {other}'s weights stand for the {last}'s")
            yield changed(step, cause, **setting.steps[f"{path}.{other}"].arguments)
    for name in _PROJECTIONS[_PROJECTIONS.index(last) + 1 :] if last in _PROJECTIONS else ():
        other_step = setting.steps[f"{path}.{name}"]
        cause = Cause("qkv_swapped", f"{last} and {name} are swapped")
        one = changed(step, cause, **other_step.arguments)
        two = changed(other_step, cause, **step.arguments)
        yield Mistake(cause, {**one.steps, **two.steps})
    norm = _norm_before(step, setting)
    if norm is not None:

        def normalized(x: Array, **given: Any) -> Array:
            rows = norm.function(x, **norm.arguments).astype(x.dtype, copy=False)
            return dense(rows, **given)

        cause = Cause("pre_layer_norm", "the input is normalized first (pre- for post-LayerNorm)")
        yield changed(step, cause, normalized)


def in_pooler(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield the mistakes of the pooler's dense layer."""
    yield from _in_weights(step)
    mask = setting.inputs.attention_mask
    rows = np.arange(len(mask))
    lasts = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    weights = mask[:, :, np.newaxis] / np.maximum(mask.sum(axis=1), 1)[:, np.newaxis, np.newaxis]
    ways: tuple[tuple[str, Callable[[Array], Array]], ...] = (
        ("the mean of the tokens", lambda x: (x * weights.astype(x.dtype)).sum(axis=1)),
        ("the last token", lambda x: x[rows, lasts]),
    )
    for what, read in ways:
        cause = Cause("pooler_token", f"the pooler reads {what}, not the first token")
        yield changed(step, cause, lambda x, read=read, **given: dense(read(x), **given))


def rounded_weights(step: Step, *names: str) -> Iterator[Mistake]:
    """Yield what becomes of a step whose weights have lost digits."""
    for name, how, narrow in _ROUNDINGS:
        arguments: dict[str, Any] = {key: narrow(step.arguments[key]) for key in names}
        yield changed(step, Cause(name, f"the weights are {how}"), **arguments)


def rounded_rows(step: Step) -> Iterator[Mistake]:
    """Yield what becomes of a look-up in a table that has lost digits."""
    for name, how, narrow in _ROUNDINGS:
        cause = Cause(name, f"the weights are {how}")
        yield changed(step, cause, lambda narrow=narrow, **given: narrow(look_up(**given)))


def to_bfloat16(array: Array, *, cut: bool = False) -> Array:
    """Return the bfloat16 nearest to each number, or the one nearer to 0 that its bits begin with.

    Examples
    --------
    >>> to_bfloat16(np.array([1.0, 1.0 + 2**-8 + 2**-20]))
    array([1.       , 1.0078125])
    """
    bits = array.astype(np.float32).view(np.uint32)
    # To nearest, ties to even: half a unit of the last place kept, less one bit where that is even.
    carry = np.uint32(0) if cut else np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    upper = ((bits + carry) >> np.uint32(16)).astype(np.uint16)
    return widen(upper, array.dtype)


def _in_weights(step: Step) -> Iterator[Mistake]:
    """Yield what goes wrong with weight and bias."""
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    cause = Cause("bias_missing", "the bias is not added")
    yield changed(step, cause, bias=np.zeros_like(bias))
    cause = Cause("weight_not_transposed", "the weight is not transposed")
    yield changed(step, cause, weight=weight.reshape(weight.shape[::-1]).T)
    yield from rounded_weights(step, "weight", "bias")


def _to_float16(array: Array) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)


def _norm_before(step: Step, setting: Setting) -> Step | None:
    """Return the LayerNorm that a pre-LayerNorm model applies to the input of this layer."""
    if step.name.endswith(tuple(f".attention.self.{name}" for name in _PROJECTIONS)):
        path = step.name.rpartition(".self.")[0]
        return setting.steps[f"{path}.output.LayerNorm"]
    if step.name.endswith(".intermediate.dense"):
        return setting.steps[f"{step.name.removesuffix('.intermediate.dense')}.output.LayerNorm"]
    return None


_ROUNDINGS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("weights_float16", "rounded to float16", _to_float16),
    ("weights_bfloat16", "rounded to bfloat16", to_bfloat16),
    ("weights_bfloat16", "cut to bfloat16", lambda array: to_bfloat16(array, cut=True)),
)
