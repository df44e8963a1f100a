"""The mistakes that ports of BERT are known to make: one catalogue, by the kind of step.

A mistake is another step in the place of the right one, and a name for it. Whether a port has made
it is then a question of arithmetic: run from the port's own numbers, does the other step give the
port's result?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.arrays import Array, BoolArray, IntArray, widen
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import gelu, gelu_tanh, quick_gelu, relu, silu
from numpy_bert.ops.attention import attention_scores, split_heads
from numpy_bert.ops.softmax import softmax
from numpy_bert.traces.trace_inputs import TraceInputs
from numpy_bert.verification.steps import (
    Step,
    add,
    dense,
    look_up,
    mean_values,
    plain_norm_part,
    same,
    scores,
)

__all__ = [
    "PRE_LAYER_NORM",
    "PROJECTIONS",
    "ROUNDINGS",
    "Cause",
    "Mistake",
    "Setting",
    "mistakes_in",
    "to_bfloat16",
    "to_float16",
    "wrong_positions",
]


class Cause(NamedTuple):
    """What is wrong: a name that programs can rely on, and a sentence."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A cause, and the steps that stand in the place of the right ones, by name."""

    cause: Cause
    steps: Mapping[str, Step]


class Setting(NamedTuple):
    """What a mistake may need to know besides the step: the model's other steps, and its input."""

    config: BertConfig
    steps: Mapping[str, Step]
    inputs: TraceInputs


def mistakes_in(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what is known to go wrong in a step, the likelier first.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> from numpy_bert.verification.steps import steps_of
    >>> model = BertModel.from_pretrained("demo")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3]])}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> setting = Setting(model.config, steps, inputs)
    >>> [mistake.cause.text for mistake in mistakes_in(steps["pooler"], setting)]
    ['the pooler is without its tanh']
    """
    known = _KNOWN.get(step.kind)
    if known is not None:
        yield from known(step, setting)


def _changed(
    step: Step,
    name: str,
    text: str,
    function: Callable[..., Array] | None = None,
    /,
    **arguments: Any,
) -> Mistake:
    """Return the mistake of one step that has another function, or other arguments."""
    other = replace(
        step,
        function=step.function if function is None else function,
        arguments={**step.arguments, **arguments},
    )
    return Mistake(Cause(name, text), {step.name: other})


# The input embedding.

_NO_SEGMENTS = Cause("segments_dropped", "the segment table is left out")
_NO_POSITIONS = Cause("positions_dropped", "the position table is left out")


def _in_words(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from _in_table(step)
    scale = math.sqrt(setting.config.hidden_size)
    text = "the embedding is multiplied by the root of the hidden size"
    yield _changed(step, "embedding_scaled", text, lambda **given: look_up(**given) * scale)


def _in_segments(step: Step, setting: Setting) -> Iterator[Mistake]:
    ids, count = setting.inputs.token_type_ids, len(step.arguments["table"])
    if count > 1:
        swapped = np.where(ids < 2, 1 - ids, ids)
        yield _changed(step, "segments_swapped", "segments 0 and 1 are swapped", ids=swapped)
    yield _changed(step, *_NO_SEGMENTS, lambda **given: look_up(**given) * 0.0)
    text = "every token is taken for segment 0"
    yield _changed(step, "segments_ignored", text, ids=np.zeros_like(ids))
    yield from _in_table(step)


def wrong_positions(inputs: TraceInputs) -> Iterator[tuple[Cause, IntArray]]:
    """Yield the positions that ports are known to use in place of 0, 1, 2, ..., as (*, T)."""
    for shift in (1, 2, -1):
        cause = Cause("positions_shifted", f"positions are shifted by {shift}")
        yield cause, inputs.position_ids + shift
    running = np.cumsum(inputs.attention_mask, axis=1) - 1
    for start in (0, 1, 2):
        more = f", from {start}" if start else ""
        cause = Cause("positions_restart", f"positions count tokens only, not padding{more}")
        yield cause, running + start


def _in_positions(step: Step, setting: Setting) -> Iterator[Mistake]:
    last = len(step.arguments["table"]) - 1
    for cause, ids in wrong_positions(setting.inputs):
        # Those outside the table belong to padding, or to nothing.
        yield _changed(step, *cause, ids=np.clip(ids, 0, last))
    yield _changed(step, *_NO_POSITIONS, lambda **given: look_up(**given) * 0.0)
    yield from _in_table(step)


def _in_table(step: Step) -> Iterator[Mistake]:
    """Yield what becomes of a look-up in a table that has lost digits."""
    for name, how, narrow in ROUNDINGS:
        text = f"the weights are {how}"
        yield _changed(step, name, text, lambda narrow=narrow, **given: narrow(look_up(**given)))


def _in_sum(step: Step, _: Setting) -> Iterator[Mistake]:
    words, segments, positions = step.inputs
    for cause, left in ((_NO_SEGMENTS, (words, positions)), (_NO_POSITIONS, (words, segments))):
        yield Mistake(cause, {step.name: replace(step, inputs=left)})


# LayerNorm, and the residual sum before it.

# The epsilons that other models and libraries use.
_EPSILONS = (1e-5, 1e-12, 1e-6, 1e-3, 1e-7, 1e-8, 2e-5, 2e-6, 0.0)
_BESSEL = "the variance is Bessel-corrected, divided by H - 1"
PRE_LAYER_NORM = Cause("pre_layer_norm", "LayerNorm comes before the residual sum, not after it")


def _in_norm(step: Step, _: Setting) -> Iterator[Mistake]:
    part = step.arguments["part"]
    if part == "mean":
        return
    if part != "variance":
        yield from _in_epsilon(step)
    yield _changed(step, "layer_norm_bessel", _BESSEL, plain_norm_part, bessel=True)
    text = "the mean is not taken away (RMSNorm)"
    yield _changed(step, "layer_norm_uncentred", text, plain_norm_part, centred=False)
    if part != "output":
        return
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    text = "LayerNorm's weight (gamma) is left out"
    yield _changed(step, "layer_norm_weight_missing", text, weight=np.ones_like(weight))
    text = "LayerNorm's bias (beta) is left out"
    yield _changed(step, "layer_norm_bias_missing", text, bias=np.zeros_like(bias))
    text = "LayerNorm is left out: what stands here is the sum before it (pre- for post-LayerNorm)"
    yield _changed(step, PRE_LAYER_NORM.name, text, same)
    yield from _in_digits(step)


def _in_epsilon(step: Step) -> Iterator[Mistake]:
    right = step.arguments["eps"]
    for eps in _EPSILONS:
        if eps != right:
            text = f"LayerNorm's epsilon is {eps:g}, not {right:g}"
            yield _changed(step, "layer_norm_epsilon", text, eps=eps)
    for eps in dict.fromkeys((right, *_EPSILONS[:-1])):
        text, given = f"epsilon {eps:g} stands outside the root", {"eps": eps, "outside": True}
        yield _changed(step, "layer_norm_epsilon_outside", text, plain_norm_part, **given)
    text = f"{_BESSEL}, and epsilon 1e-06 stands outside the root"
    given = {"eps": 1e-6, "outside": True, "bessel": True}
    yield _changed(step, "layer_norm_bessel", text, plain_norm_part, **given)


def _in_residual(step: Step, setting: Setting) -> Iterator[Mistake]:
    missing = Cause("residual_missing", "the residual is not added")
    yield Mistake(missing, {step.name: replace(step, inputs=step.inputs[:1])})
    norm = setting.steps[f"{step.name.removesuffix('.sum')}.LayerNorm"]

    def before(x: Array, residual: Array, **arguments: Array) -> Array:
        return add(norm.function(x, **{**norm.arguments, **arguments}), residual)

    inside = replace(step, function=before)
    after = replace(norm, function=same)
    yield Mistake(PRE_LAYER_NORM, {step.name: inside, norm.name: after})


# Dense layers.

PROJECTIONS = ("query", "key", "value")


def _in_dense(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from _in_weights(step)
    path, _, last = step.name.rpartition(".")
    if last in PROJECTIONS:
        others = {name: setting.steps[f"{path}.{name}"] for name in PROJECTIONS if name != last}
        for name, other in others.items():
            text = f"the {name}'s weights stand for the {last}'s"
            yield _changed(step, "qkv_swapped", text, **other.arguments)
        for name in PROJECTIONS[PROJECTIONS.index(last) + 1 :]:
            text = f"{last} and {name} are swapped"
            one = _changed(step, "qkv_swapped", text, **others[name].arguments)
            two = _changed(others[name], "qkv_swapped", text, **step.arguments)
            yield Mistake(one.cause, {**one.steps, **two.steps})
    norm = _norm_before(step, setting)
    if norm is not None:

        def normalized(x: Array, **given: Any) -> Array:
            rows = norm.function(x, **norm.arguments).astype(x.dtype, copy=False)
            return dense(rows, **given)

        text = "the input is normalized first (pre- for post-LayerNorm)"
        yield _changed(step, PRE_LAYER_NORM.name, text, normalized)


def _norm_before(step: Step, setting: Setting) -> Step | None:
    """Return the LayerNorm that a pre-LayerNorm model applies to the input of this layer."""
    for end in (*(f".self.{name}" for name in PROJECTIONS), ".intermediate.dense"):
        if step.name.endswith(end):
            return setting.steps[f"{step.name.removesuffix(end)}.output.LayerNorm"]
    return None


def _in_weights(step: Step) -> Iterator[Mistake]:
    """Yield what goes wrong with the weight and the bias of any dense layer."""
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    yield _changed(step, "bias_missing", "the bias is not added", bias=np.zeros_like(bias))
    turned, text = weight.reshape(weight.shape[::-1]).T, "the weight is not transposed"
    yield _changed(step, "weight_not_transposed", text, weight=turned)
    yield from _in_digits(step)


def _in_digits(step: Step) -> Iterator[Mistake]:
    """Yield what becomes of a step whose weight and bias have lost digits."""
    for name, how, narrow in ROUNDINGS:
        given = {key: narrow(step.arguments[key]) for key in ("weight", "bias")}
        yield _changed(step, name, f"the weights are {how}", **given)


def to_float16(array: Array) -> Array:
    """Return the float16 nearest to each number, in the dtype of the array."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)


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


# How weights lose digits: the name of the cause, how a sentence ends, and what is done to them.
ROUNDINGS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("weights_float16", "rounded to float16", to_float16),
    ("weights_bfloat16", "rounded to bfloat16", to_bfloat16),
    ("weights_bfloat16", "cut to bfloat16", lambda array: to_bfloat16(array, cut=True)),
)


# Attention, from the projections to the context.

_INTERLEAVED = Cause("heads_split", "heads are split as (D, A), not (A, D)")
_RESHAPED = Cause("heads_split", "heads are split by a reshape to (B, A, T, D), not transposed")
_MASK_AFTER = Cause("mask_after_softmax", "the mask is applied after softmax, not before")


def _in_scores(step: Step, setting: Setting) -> Iterator[Mistake]:
    scale = step.arguments["scale"]
    yield _changed(step, "attention_scale_missing", "the scores are not scaled", scale=1.0)
    yield _changed(
        step, "attention_scale_twice", "the scores are scaled twice", scale=scale * scale
    )
    text = "the scores are scaled by the root of H, not of D"
    hidden = 1.0 / math.sqrt(setting.config.hidden_size)
    yield _changed(step, "attention_scale_hidden", text, scale=hidden)
    yield from _in_mask(step)
    yield _changed(step, *_INTERLEAVED, _scores_of(_interleaved))
    yield _changed(step, *_RESHAPED, _scores_of(_reshaped))
    text = "keys ask and queries answer: the scores are transposed"
    yield _changed(
        step,
        "scores_transposed",
        text,
        lambda query, key, **given: scores(key, query, **given),
    )


def _in_mask(step: Step) -> Iterator[Mistake]:
    """Yield what is done to the scores of padding in place of masking them."""
    mask = step.arguments["mask"]
    yield _changed(step, "mask_missing", "the mask is left out", mask=np.ones_like(mask))
    if not mask.all():  # inverted it would hide every key, which is not told from no scores
        yield _changed(step, "mask_inverted", "the mask is inverted", mask=~mask)
    keys = mask[:, np.newaxis, np.newaxis, :]
    later = np.tril(np.ones((mask.shape[1],) * 2, np.bool_)) & keys
    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("mask_added", "the mask is added as 0 and 1", lambda x: x + keys),
        ("mask_multiplied", "the scores are multiplied by the mask", lambda x: x * keys),
        ("mask_causal", "a causal mask hides later tokens", lambda x: np.where(later, x, -1e30)),
        ("mask_10000", "masked scores have 10000 subtracted", lambda x: x - 1e4 * ~keys),
    )
    for name, text, apply in ways:
        yield _changed(step, name, text, _unmasked(apply))


def _in_probs(step: Step, setting: Setting) -> Iterator[Mistake]:
    for axis, what in ((-2, "the queries"), (1, "the heads")):
        text = f"softmax runs over {what}, not the keys"
        yield _changed(step, "softmax_axis", text, lambda x, axis=axis: _softmax_over(x, axis))
    yield _changed(step, "softmax_missing", "softmax is left out", same)
    before = setting.steps[step.inputs[0]]
    mask = setting.inputs.attention_mask
    unmasked = _changed(before, *_MASK_AFTER, mask=np.ones_like(mask))
    keys = mask[:, np.newaxis, np.newaxis, :]
    after = _changed(step, *_MASK_AFTER, lambda x: softmax(x) * keys)
    yield Mistake(_MASK_AFTER, {**unmasked.steps, **after.steps})


def _in_context(step: Step, _: Setting) -> Iterator[Mistake]:
    yield _changed(step, *_INTERLEAVED, _context_of(_interleaved, _merged_interleaved))
    yield _changed(step, *_RESHAPED, _context_of(_reshaped, _merged_by_reshape))
    text = "heads are merged by a reshape, not transposed back"
    yield _changed(step, "heads_merge", text, _context_of(split_heads, _merged_by_reshape))
    text = "heads are merged as (D, A), not (A, D)"
    yield _changed(step, "heads_merge", text, _context_of(split_heads, _merged_interleaved))


def _unmasked(apply: Callable[[Array], Array]) -> Callable[..., Array]:
    """Return a function that computes scores without a mask and does something else to them."""

    def function(query: Array, key: Array, *, heads: int, mask: BoolArray, scale: float) -> Array:
        plain = scores(query, key, heads=heads, mask=np.ones_like(mask), scale=scale)
        return apply(plain).astype(plain.dtype, copy=False)

    return function


def _scores_of(split: Callable[[Array, int], Array]) -> Callable[..., Array]:
    """Return a function that computes the scores of heads that are split in another way."""

    def function(query: Array, key: Array, *, heads: int, **given: Any) -> Array:
        return attention_scores(split(query, heads), split(key, heads), **given)

    return function


def _context_of(
    split: Callable[[Array, int], Array], merge: Callable[[Array], Array]
) -> Callable[..., Array]:
    """Return a function that computes the context of heads split and merged in another way."""

    def function(probs: Array, value: Array, *, heads: int, mask: BoolArray) -> Array:
        return merge(mean_values(probs, split(value, heads), mask))

    return function


def _interleaved(x: Array, heads: int) -> Array:
    """Take (B, T, H) for (B, T, D, A), and return (B, A, T, D)."""
    batch, length, features = x.shape
    return x.reshape(batch, length, features // heads, heads).transpose(0, 3, 1, 2)


def _merged_interleaved(x: Array) -> Array:
    """Turn (B, A, T, D) into (B, T, D, A), and return that as (B, T, H)."""
    batch, heads, length, size = x.shape
    return x.transpose(0, 2, 3, 1).reshape(batch, length, heads * size)


def _reshaped(x: Array, heads: int) -> Array:
    """Take (B, T, H) for (B, A, T, D)."""
    batch, length, features = x.shape
    return x.reshape(batch, heads, length, features // heads)


def _merged_by_reshape(x: Array) -> Array:
    """Take (B, A, T, D) for (B, T, H)."""
    batch, heads, length, size = x.shape
    return x.reshape(batch, length, heads * size)


def _softmax_over(x: Array, axis: int) -> Array:
    return softmax(x.swapaxes(axis, -1)).swapaxes(axis, -1)


# The activation, and the pooler.

_ACTIVATIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("gelu_tanh", "GELU is the tanh form, not the erf form", gelu_tanh),
    ("gelu_erf", "GELU is the erf form, not the tanh form", gelu),
    ("gelu_sigmoid", "the activation is x * sigmoid(1.702 x)", quick_gelu),
    ("activation_relu", "the activation is ReLU", relu),
    ("activation_silu", "the activation is SiLU", silu),
    ("activation_missing", "the activation is left out", same),
)


def _in_activation(step: Step, _: Setting) -> Iterator[Mistake]:
    right = step.arguments["activation"]
    for name, text, function in _ACTIVATIONS:
        if function is not right:
            yield _changed(step, name, text, activation=function)


def _in_pooler(step: Step, setting: Setting) -> Iterator[Mistake]:
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
        text = f"the pooler reads {what}, not the first token"
        yield _changed(
            step, "pooler_token", text, lambda x, read=read, **given: dense(read(x), **given)
        )


def _in_tanh(step: Step, _: Setting) -> Iterator[Mistake]:
    yield _changed(step, "pooler_without_tanh", "the pooler is without its tanh", same)


_KNOWN: Mapping[str, Callable[[Step, Setting], Iterator[Mistake]]] = {
    "word_embeddings": _in_words,
    "token_type_embeddings": _in_segments,
    "position_embeddings": _in_positions,
    "embeddings.sum": _in_sum,
    "layer_norm": _in_norm,
    "residual": _in_residual,
    "linear": _in_dense,
    "scores": _in_scores,
    "probs": _in_probs,
    "context": _in_context,
    "activation": _in_activation,
    "pooler.dense": _in_pooler,
    "tanh": _in_tanh,
}
