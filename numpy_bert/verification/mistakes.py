"""The mistakes that ports of BERT are known to make: one catalogue, by the kind of step.

A mistake is another step in the place of the right one, and a name for it. Whether a port has made
it is then a question of arithmetic: run from the port's own numbers, does the other step give the
port's result?
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, BoolArray, IntArray, widen
from numpy_bert.config import BertConfig
from numpy_bert.traces.layout import PROJECT
from numpy_bert.traces.trace_inputs import TraceInputs
from numpy_bert.verification.activation_mistakes import (
    activation_mistakes,
    first_token_mistakes,
    pooler_mistakes,
    tanh_mistakes,
)
from numpy_bert.verification.attention_mistakes import (
    context_mistakes,
    distance_mistakes,
    probs_mistakes,
    score_mistakes,
)
from numpy_bert.verification.changes import (
    Cause,
    Mistake,
    Setting,
    changed,
    normalized,
    of_length_1,
    rarely,
)
from numpy_bert.verification.steps import Step, add, dense, look_up, plain_norm_part, same

__all__ = [
    "BROADER",
    "PRE_LAYER_NORM",
    "PROJECTIONS",
    "ROUNDINGS",
    "Cause",
    "Mistake",
    "Setting",
    "mistakes_in",
    "to_bfloat16",
    "to_float16",
    "to_int8",
    "wrong_positions",
    "wrong_segments",
]


# Causes that are a case of another one, whose name is right where the two cannot be told apart.
BROADER: Mapping[str, str] = {
    "activation_gelu_10": "gelu_erf",
    "activation_relu6": "activation_relu",
    "bias_of_another": "bias_missing",
    "mask_after_softmax": "mask_missing",
    "mask_of_another_row": "mask_missing",
    "positions_restart": "positions_shifted",
}


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
    >>> next(mistakes_in(steps["pooler"], setting)).cause.text
    'the pooler is without its tanh'
    """
    known = _KNOWN.get(step.kind)
    if known is not None:
        yield from known(step, setting)


# The input embedding.

_NO_SEGMENTS = Cause("segments_dropped", "the segment table is left out")
_NO_POSITIONS = Cause("positions_dropped", "the position table is left out")
_NO_TASKS = Cause("tasks_dropped", "row 0 of the table of tasks is not added")
# The terms of the sum that are left out, by the ends of their names.
_NOT_ADDED = {
    "token_type_embeddings": _NO_SEGMENTS,
    "position_embeddings": _NO_POSITIONS,
    "task_type_embeddings": _NO_TASKS,
}
# What the terms are called where they are added twice.
_TERMS = {
    "token_type_embeddings": "segments",
    "position_embeddings": "positions",
    "task_type_embeddings": "tasks",
}


def _in_words(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from _in_table(step)
    scale = math.sqrt(setting.config.embedding_features)
    text = "the embedding is multiplied by the root of the hidden size"
    yield changed(step, "embedding_scaled", text, lambda **given: look_up(**given) * scale)
    yield from rarely(_in_ids(step))


def _in_ids(step: Step) -> Iterator[Mistake]:
    """Yield ids that are counted from elsewhere, as those of another vocabulary."""
    ids, last = step.arguments["ids"], len(step.arguments["table"]) - 1
    for shift in (1, -1):
        text = f"the ids of words are shifted by {shift}"
        yield changed(step, "ids_shifted", text, ids=np.clip(ids + shift, 0, last))


def _in_segments(step: Step, setting: Setting) -> Iterator[Mistake]:
    ids, count = setting.inputs.token_type_ids, len(step.arguments["table"])
    if count > 1:
        swapped = np.where(ids < 2, 1 - ids, ids)
        yield changed(step, "segments_swapped", "segments 0 and 1 are swapped", ids=swapped)
    yield changed(step, *_NO_SEGMENTS, lambda **given: look_up(**given) * 0.0)
    for cause, other in wrong_segments(ids, setting.inputs.attention_mask):
        if 1 < count > other.max():
            yield changed(step, *cause, ids=other)
    yield from _in_table(step)


def wrong_segments(ids: IntArray, mask: BoolArray) -> Iterator[tuple[Cause, IntArray]]:
    """Yield the token types that ports are known to use in place of a batch's own."""
    ignored = "segments_ignored"
    yield Cause(ignored, "every token is taken for segment 0"), np.zeros_like(ids)
    yield Cause(ignored, "every token is taken for segment 1"), np.ones_like(ids)
    yield Cause("segments_shifted", "segments are counted from 1, not 0"), ids + mask
    starts = np.diff(ids, axis=1, append=ids[:, -1:]) == 1
    text = "the [SEP] between two texts is taken for the second"
    yield Cause("segments_separator", text), np.where(starts & mask, ids + 1, ids)


def wrong_positions(inputs: TraceInputs, config: BertConfig) -> Iterator[tuple[Cause, IntArray]]:
    """Yield the positions that ports are known to use in place of a model's own, as (*, T)."""
    if config.position_padding_idx is not None:
        yield from _uncounted_positions(inputs, config.position_padding_idx)
        return
    for shift in (1, 2, -1):
        cause = Cause("positions_shifted", f"positions are shifted by {shift}")
        yield cause, inputs.position_ids + shift
    running = np.cumsum(inputs.attention_mask, axis=1) - 1
    for start in (0, 1, 2):
        more = f", from {start}" if start else ""
        cause = Cause("positions_restart", f"positions count tokens only, not padding{more}")
        yield cause, running + start
    yield from _odd_positions(inputs)


def _uncounted_positions(inputs: TraceInputs, padding: int) -> Iterator[tuple[Cause, IntArray]]:
    """Yield what is used where positions count the ids that are not padding's, from the row after.

    None is yielded that gives the tokens the positions that an earlier one gives them, and but
    one that may give them the right ones.
    """
    mask, first = inputs.attention_mask, padding + 1
    width = mask.shape[1]
    places = np.broadcast_to(np.arange(width), mask.shape)
    read = inputs.input_ids != padding
    counts = np.cumsum(read, axis=1)
    by_mask = np.cumsum(mask, axis=1)
    start, counted = "positions_start", "positions_count_padding"
    rule = f"from {first}, after the row of padding"
    wrong = [
        (start, f"positions begin at 0, not {rule}", counts - 1),
        (start, f"positions are the places in the row from 0, not {rule}", places),
        (counted, f"positions count padding too, from {first}", places + first),
        (
            "positions_by_mask",
            "positions count what attention_mask has, not the ids that are no padding",
            by_mask + padding,
        ),
        (start, "positions begin at 0 and count what attention_mask has", by_mask - 1),
        *(
            ("positions_shifted", f"positions are shifted by {shift}", inputs.position_ids + shift)
            for shift in (1, -1, 2, -2)
        ),
    ]
    wrong += [(cause.name, cause.text, ids) for cause, ids in _odd_positions(inputs)]
    seen = [np.broadcast_to(inputs.position_ids, mask.shape)[mask]]
    for name, text, ids in wrong:
        at_tokens = np.broadcast_to(ids, mask.shape)[mask]
        # Padding that no token stands behind is counted to no effect, which is to be said.
        if name == counted or not any(np.array_equal(at_tokens, other) for other in seen):
            seen.append(at_tokens)
            yield Cause(name, text), ids


def _odd_positions(inputs: TraceInputs) -> Iterator[tuple[Cause, IntArray]]:
    """Yield positions by segment, of one place, from the end, and of rows that were joined."""
    mask, types = inputs.attention_mask, inputs.token_type_ids
    width = mask.shape[1]
    places = np.broadcast_to(np.arange(width), mask.shape)
    starts = np.diff(types, axis=1, prepend=types[:, :1]) != 0
    since = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    yield Cause("positions_by_segment", "positions begin anew in each segment"), places - since
    yield Cause("positions_constant", "every token has position 0"), np.zeros_like(places)
    lasts = width - 1 - np.argmax(mask[:, ::-1], axis=1)[:, np.newaxis]
    text = "positions are counted from the end"
    yield Cause("positions_reversed", text), np.maximum(lasts - places, 0)
    yield Cause("positions_reversed", f"{text}, padding too"), width - 1 - places
    joined = Cause("positions_joined", "positions run on from row to row")
    yield joined, np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    yield (
        joined._replace(text=f"{joined.text}, over padding"),
        np.arange(mask.size).reshape(mask.shape),
    )


# How the causes end that many ports have.
_USUAL_POSITIONS = ("shifted", "restart", "start", "padding", "mask")


def _in_positions(step: Step, setting: Setting) -> Iterator[Mistake]:
    last = len(step.arguments["table"]) - 1
    for cause, ids in wrong_positions(setting.inputs, setting.config):
        # Those outside the table belong to padding, or to nothing.
        mistake = changed(step, *cause, ids=np.clip(ids, 0, last))
        yield replace(mistake, is_rare=not cause.name.endswith(_USUAL_POSITIONS))
    yield changed(step, *_NO_POSITIONS, lambda **given: look_up(**given) * 0.0)
    yield from rarely(_in_waves(step))
    yield from _in_table(step)


def _in_waves(step: Step) -> Iterator[Mistake]:
    """Yield the positions of the first transformer, sines and cosines in place of the table."""
    ids = step.arguments["ids"]
    size = step.arguments["table"].shape[1]
    angles = ids[..., np.newaxis] / 10000.0 ** (np.arange(0, size, 2) / size)
    halves = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)[..., :size]
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*ids.shape, -1)[..., :size]
    for how, rows in (("in halves", halves), ("in turn", pairs)):
        text = f"positions are sines and cosines, {how}, not the table's rows"
        yield changed(step, "positions_sinusoidal", text, _constant(rows))


def _constant(rows: Array) -> Callable[..., Array]:
    """Return a function that looks nothing up."""
    return lambda *, dtype, **_: rows.astype(dtype, copy=False)


def _in_table(step: Step) -> Iterator[Mistake]:
    """Yield what becomes of a look-up in a table that has lost digits."""
    for name, how, narrow in ROUNDINGS:
        text = f"the weights are {how}"
        yield changed(
            step, name, text, lambda narrow=narrow, **given: narrow(step.function(**given))
        )


def _in_tasks(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield what is added in the place of row 0 of the table of tasks."""
    ids = step.arguments["ids"]
    yield changed(step, *_NO_TASKS, lambda **given: look_up(**given) * 0.0)
    for row in range(1, len(step.arguments["table"])):
        text = f"row {row} of the table of tasks is added, not row 0"
        yield changed(step, "tasks_other", text, ids=np.full_like(ids, row))
    yield from _in_table(step)


def _in_distances(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from distance_mistakes(step, setting)
    yield from _in_table(step)


def _in_sum(step: Step, _: Setting) -> Iterator[Mistake]:
    terms = [name.rpartition(".")[2] for name in step.inputs]
    for place, term in enumerate(terms):
        if term in _NOT_ADDED:
            left = (*step.inputs[:place], *step.inputs[place + 1 :])
            yield Mistake(_NOT_ADDED[term], {step.name: replace(step, inputs=left)})
    if len(terms) > 2:
        both = "the segment and the position table are both left out"
        text = both if len(terms) == 3 else "all tables but that of words are left out"
        alone = replace(step, inputs=step.inputs[:1])
        yield Mistake(Cause("words_alone", text), {step.name: alone}, is_rare=True)
    for place, term in enumerate(terms):
        if term in _TERMS:
            text = f"the {_TERMS[term]} are added twice"

            def twice(*rows: Array, place: int = place) -> Array:
                return add(*rows, rows[place])

            yield replace(changed(step, "embedding_twice", text, twice), is_rare=True)


# LayerNorm, and the residual sum before it.

# The epsilons that other models and libraries use.
_EPSILONS = (1e-5, 1e-12, 1e-6, 1e-3, 1e-7, 1e-8, 2e-5, 2e-6, 0.0)
# Outside the root an epsilon that is smaller does as little as none.
_SMALL = 1e-6
_BESSEL = "the variance is Bessel-corrected, divided by H - 1"
EXTRA_LAYER_NORM = Cause("layer_norm_extra", "a LayerNorm is applied twice")
PRE_LAYER_NORM = Cause("pre_layer_norm", "LayerNorm comes before the residual sum, not after it")


def _in_norm(step: Step, _: Setting) -> Iterator[Mistake]:
    part = step.arguments["part"]
    if part == "mean":
        return
    if part != "variance":
        yield from _in_epsilon(step)
    yield changed(step, "layer_norm_bessel", _BESSEL, plain_norm_part, bessel=True)
    text = "the mean is not taken away (RMSNorm)"
    yield changed(step, "layer_norm_uncentred", text, plain_norm_part, centred=False)
    if part != "output":
        return
    yield from rarely(_in_odd_norm(step))
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    text = "LayerNorm's weight (gamma) is left out"
    yield changed(step, "layer_norm_weight_missing", text, weight=np.ones_like(weight))
    text = "LayerNorm's bias (beta) is left out"
    yield changed(step, "layer_norm_bias_missing", text, bias=np.zeros_like(bias))
    text = "LayerNorm is left out: what stands here is the sum before it (pre- for post-LayerNorm)"
    yield changed(step, PRE_LAYER_NORM.name, text, same)
    yield from _in_digits(step)


def _in_odd_norm(step: Step) -> Iterator[Mistake]:
    """Yield what is no LayerNorm over the last axis, and what is one twice."""
    weight, bias, eps = (step.arguments[name] for name in ("weight", "bias", "eps"))
    bare = {"weight": np.ones_like(weight), "bias": np.zeros_like(bias)}
    text = "LayerNorm's weight (gamma) and bias (beta) are left out"
    yield changed(step, "layer_norm_plain", text, **bare)
    text = "LayerNorm multiplies by 1 + its weight (gamma)"
    yield changed(step, "layer_norm_weight_plus_one", text, weight=weight + 1.0)
    text = "LayerNorm's bias is added twice"
    yield changed(step, "layer_norm_bias_twice", text, bias=2.0 * bias)
    text = "the mean is not taken away, and the bias is left out (RMSNorm)"
    given = {"centred": False, "bias": bare["bias"]}
    yield changed(step, "layer_norm_uncentred", text, plain_norm_part, **given)

    def twice(x: Array, **given: Any) -> Array:
        return step.function(step.function(x, **given).astype(x.dtype, copy=False), **given)

    yield changed(step, *EXTRA_LAYER_NORM, twice)
    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        (
            "variance",
            "LayerNorm divides by the variance",
            lambda x: normalized(x, eps, 1),
        ),
        ("variance", "LayerNorm's variance is about 0, not the mean", lambda x: _about_0(x, eps)),
        ("axis", "LayerNorm runs over the tokens, not the features", lambda x: _over(x, 1, eps)),
        ("axis", "LayerNorm runs over tokens and features", lambda x: _over(x, (1, 2), eps)),
        ("axis", "LayerNorm runs over the batch, not the features", lambda x: _over(x, 0, eps)),
        ("length", "rows are divided by their length (no LayerNorm)", of_length_1),
        ("tanh", "a tanh stands in LayerNorm's place (DyT)", np.tanh),
    )
    for name, text, normalize in ways:
        yield changed(step, f"layer_norm_{name}", text, _affine(normalize))


def _affine(normalize: Callable[[Array], Array]) -> Callable[..., Array]:
    """Return a LayerNorm that normalizes in another way."""

    def function(x: Array, *, weight: Array, bias: Array, **_: object) -> Array:
        return normalize(x) * weight + bias

    return function


def _about_0(x: Array, eps: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    normalized: Array = centred / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + eps)
    return normalized


def _over(x: Array, axis: int | tuple[int, ...], eps: float) -> Array:
    normalized: Array = (x - x.mean(axis=axis, keepdims=True)) / np.sqrt(
        x.var(axis=axis, keepdims=True) + eps
    )
    return normalized


def _in_epsilon(step: Step) -> Iterator[Mistake]:
    right = step.arguments["eps"]
    for eps in _EPSILONS:
        if eps != right:
            text = f"LayerNorm's epsilon is {eps:g}, not {right:g}"
            yield changed(step, "layer_norm_epsilon", text, eps=eps)
    for eps in dict.fromkeys((right, *_EPSILONS[:-1])):
        if eps < _SMALL <= right:  # as good as none, which is above
            continue
        text, given = f"epsilon {eps:g} stands outside the root", {"eps": eps, "outside": True}
        yield changed(step, "layer_norm_epsilon_outside", text, plain_norm_part, **given)
    text = f"{_BESSEL}, and epsilon 1e-06 stands outside the root"
    given = {"eps": 1e-6, "outside": True, "bessel": True}
    yield changed(step, "layer_norm_bessel", text, plain_norm_part, **given)


def _in_residual(step: Step, setting: Setting) -> Iterator[Mistake]:
    missing = Cause("residual_missing", "the residual is not added")
    yield Mistake(missing, {step.name: replace(step, inputs=step.inputs[:1])})
    norm = setting.steps[f"{step.name.removesuffix('.sum')}.LayerNorm"]

    def before(x: Array, residual: Array, **arguments: Array) -> Array:
        return add(norm.function(x, **{**norm.arguments, **arguments}), residual)

    inside = replace(step, function=before)
    after = replace(norm, function=same)
    yield Mistake(PRE_LAYER_NORM, {step.name: inside, norm.name: after})
    yield from _in_sum_of_two(step)
    yield from _other_residuals(step, setting)


def _in_sum_of_two(step: Step) -> Iterator[Mistake]:
    """Yield what is done to the two parts of a residual sum in place of adding them."""
    ways: tuple[tuple[str, str, Callable[[Array, Array], Array]], ...] = (
        ("residual_doubled", "the residual is added twice", lambda x, r: x + 2.0 * r),
        ("residual_doubled", "the layer's own part is added twice", lambda x, r: 2.0 * x + r),
        ("residual_subtracted", "the residual is subtracted", lambda x, r: x - r),
        ("residual_halved", "half of the residual is added", lambda x, r: x + 0.5 * r),
        ("residual_scaled", "the sum is divided by the root of 2", lambda x, r: (x + r) / 2**0.5),
        ("residual_scaled", "the sum is halved", lambda x, r: (x + r) / 2.0),
        ("residual_multiplied", "the residual is multiplied, not added", lambda x, r: x * r),
    )
    for name, text, function in ways:
        yield replace(changed(step, name, text, function), is_rare=True)
    text = "what the layer makes is left out: the residual alone is left"
    alone = replace(step, inputs=step.inputs[1:])
    yield Mistake(Cause("block_left_out", text), {step.name: alone}, is_rare=True)


def _other_residuals(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield residuals that are taken from another place."""
    own, right = step.inputs
    block = step.name.removesuffix(".output.sum")
    first = f"{block}.attention.output.sum"
    before, others = f"{right}.output.sum", {}
    if before not in setting.steps:  # of the first layer
        before = "embeddings.sum"
    if first in setting.steps:  # of the feed-forward part
        hidden = setting.steps[first].inputs[1]
        others[hidden] = ("residual_of_layer_input", "the layer's input, not attention's output")
        before = first
    others[before] = ("residual_before_layer_norm", "the sum before LayerNorm, not LayerNorm's")
    others.setdefault("embeddings", ("residual_of_embeddings", "the embeddings"))
    for name, (cause, what) in others.items():
        if name != right:
            other = replace(step, inputs=(own, name))
            text = f"the residual is {what}"
            yield Mistake(Cause(cause, text), {step.name: other}, is_rare=True)


# The ends of blocks.

_BLOCK = re.compile(r"(encoder\.layer\.(\d+))(\.attention)?$")


def _in_block(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what stands in the place of a part of a layer, or is applied to the last one's end."""
    found = _BLOCK.match(step.name)
    last = setting.config.num_hidden_layers - 1
    if found is not None and found[3] is not None:
        hidden = setting.steps[f"{step.name}.output.sum"].inputs[1]
        other = replace(step, inputs=(hidden,))
        cause = Cause("block_left_out", "the attention of the layer is left out")
        yield Mistake(cause, {step.name: other}, is_rare=True)
    elif found is not None:
        other = replace(step, inputs=(f"{step.name}.attention",))
        cause = Cause("block_left_out", "the feed-forward part of the layer is left out")
        yield Mistake(cause, {step.name: other}, is_rare=True)
    if step.name in ("encoder", f"encoder.layer.{last}"):
        yield from rarely(
            _last_norms(step, setting.steps[f"encoder.layer.{last}.output.LayerNorm"])
        )


def _last_norms(step: Step, norm: Step) -> Iterator[Mistake]:
    """Yield the LayerNorms that other models end in."""
    weight = norm.arguments["weight"]
    bare = {**norm.arguments, "weight": np.ones_like(weight), "bias": np.zeros_like(weight)}
    for given, whose in (
        (norm.arguments, "with the weights of the last"),
        (bare, "without weights"),
    ):
        text = f"an extra LayerNorm follows the last layer, {whose}"

        def normalized(x: Array, given: Mapping[str, Any] = given) -> Array:
            return norm.function(x, **given)

        yield changed(step, EXTRA_LAYER_NORM.name, text, normalized)


# Dense layers.

PROJECTIONS = ("query", "key", "value")


def _in_dense(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from _in_weights(step)
    path, _, last = step.name.rpartition(".")
    if last in PROJECTIONS:
        others = {name: setting.steps[f"{path}.{name}"] for name in PROJECTIONS if name != last}
        for name, other in others.items():
            text = f"the {name}'s weights stand for the {last}'s"
            yield changed(step, "qkv_swapped", text, **other.arguments)
            text = f"the {name}'s bias stands for the {last}'s"
            bias = changed(step, "bias_of_another", text, bias=other.arguments["bias"])
            yield replace(bias, is_rare=True)
        for name in PROJECTIONS[PROJECTIONS.index(last) + 1 :]:
            text = f"{last} and {name} are swapped"
            one = changed(step, "qkv_swapped", text, **others[name].arguments)
            two = changed(others[name], "qkv_swapped", text, **step.arguments)
            yield Mistake(one.cause, {**one.steps, **two.steps})
    if step.name == PROJECT:
        yield from _in_projection(step)
    norm = _norm_before(step, setting)
    if norm is not None:

        def normalized(x: Array, **given: Any) -> Array:
            rows = norm.function(x, **norm.arguments).astype(x.dtype, copy=False)
            return dense(rows, **given)

        text = "the input is normalized first (pre- for post-LayerNorm)"
        yield changed(step, PRE_LAYER_NORM.name, text, normalized)
    if step.name.endswith(".intermediate.dense"):
        first = f"{step.name.removesuffix('.intermediate.dense')}.attention.output.sum"
        for name, what in (
            (setting.steps[first].inputs[1], "the layer's input (attention beside it)"),
            (first, "the sum before LayerNorm"),
        ):
            text = f"the feed-forward part reads {what}, not attention's output"
            cause = Cause("feed_forward_input", text)
            yield Mistake(cause, {step.name: replace(step, inputs=(name,))}, is_rare=True)


def _in_projection(step: Step) -> Iterator[Mistake]:
    """Yield what stands in the place of a projection of the embedding to the layers' features."""
    features = step.arguments["weight"].shape[0]

    def filled(x: Array, **_: object) -> Array:
        missing = max(features - x.shape[-1], 0)
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])[..., :features]

    def repeated(x: Array, **_: object) -> Array:
        times = -(-features // x.shape[-1])
        return np.concatenate([x] * times, axis=-1)[..., :features]

    for text, function in (
        ("the projection is left out, and the embedding filled up with zeros", filled),
        ("the projection is left out, and the embedding repeated", repeated),
    ):
        yield changed(step, "projection_missing", text, function)


def _norm_before(step: Step, setting: Setting) -> Step | None:
    """Return the LayerNorm that a pre-LayerNorm model applies to the input of this layer."""
    for end in (*(f".self.{name}" for name in PROJECTIONS), ".intermediate.dense"):
        if step.name.endswith(end):
            return setting.steps[f"{step.name.removesuffix(end)}.output.LayerNorm"]
    return None


def _in_weights(step: Step) -> Iterator[Mistake]:
    """Yield what goes wrong with the weight and the bias of any dense layer."""
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    yield changed(step, "bias_missing", "the bias is not added", bias=np.zeros_like(bias))
    turned, text = weight.reshape(weight.shape[::-1]).T, "the weight is not transposed"
    yield changed(step, "weight_not_transposed", text, weight=turned)
    yield from _in_digits(step)
    yield from rarely(_in_bias_and_bits(step))


def _in_bias_and_bits(step: Step) -> Iterator[Mistake]:
    """Yield a bias that is added otherwise, and weights of 8 bits."""
    weight, bias = step.arguments["weight"], step.arguments["bias"]
    for text, factor in (("added twice", 2.0), ("subtracted", -1.0)):
        yield changed(step, "bias_twice", f"the bias is {text}", bias=factor * bias)
    if weight.shape[0] == weight.shape[1]:
        text = "the bias is added to the input, not the output"

        def before(x: Array, *, bias: Array, **given: Array) -> Array:
            return step.function(x + bias, bias=np.zeros_like(bias), **given)

        yield changed(step, "bias_before", text, before)
    for axis, whole in ((None, "one scale"), (1, "a scale for each row")):
        text = f"the weights are rounded to int8, with {whole}"
        yield changed(step, "weights_int8", text, weight=to_int8(weight, axis))


def to_int8(weight: Array, axis: int | None) -> Array:
    """Return numbers rounded to 127 steps on either side of 0, of one size or of one on each row.

    Examples
    --------
    >>> to_int8(np.array([[1.0, 0.3], [0.0, 127.0]]), None)
    array([[  1.,   0.],
           [  0., 127.]])
    """
    """Return what 8 bits, symmetric about 0, leave of a weight."""
    largest = np.abs(weight).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0.0, largest, 1.0) / 127.0
    rounded: Array = np.round(weight / scale) * scale
    return rounded


def _in_digits(step: Step) -> Iterator[Mistake]:
    """Yield what becomes of a step whose weight and bias have lost digits."""
    for name, how, narrow in ROUNDINGS:
        given = {key: narrow(step.arguments[key]) for key in ("weight", "bias")}
        yield changed(step, name, f"the weights are {how}", **given)


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


def _in_pooler(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from _in_weights(step)
    yield from pooler_mistakes(step, setting)


# Dropout.


def _in_dropout(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield dropout that scales in a run in which nothing is dropped."""
    p = step.arguments["p"]
    if not 0.0 < p < 1.0:
        return
    ways = (
        (1.0 - p, f"dropout's numbers are multiplied by 1 - p = {1.0 - p:g}, as before 2014"),
        (1.0 / (1.0 - p), f"dropout's scale 1 / (1 - p) is left on (p = {p:g})"),
        (1.0 / (1.0 - p) ** 2, f"dropout's scale 1 / (1 - p) is left on, twice (p = {p:g})"),
    )
    for factor, text in ways:

        def scaled(x: Array, *, factor: float = factor, **_: object) -> Array:
            return x * factor

        yield replace(changed(step, "dropout_scale", text, scaled), is_rare=True)


_KNOWN: Mapping[str, Callable[[Step, Setting], Iterator[Mistake]]] = {
    "same": _in_block,
    "dropout": _in_dropout,
    "word_embeddings": _in_words,
    "token_type_embeddings": _in_segments,
    "position_embeddings": _in_positions,
    "task_type_embeddings": _in_tasks,
    "embeddings.sum": _in_sum,
    "relative_bias": _in_distances,
    "layer_norm": _in_norm,
    "residual": _in_residual,
    "linear": _in_dense,
    "scores": score_mistakes,
    "probs": probs_mistakes,
    "context": context_mistakes,
    "activation": activation_mistakes,
    "pooler.dense": _in_pooler,
    "first_token": first_token_mistakes,
    "tanh": tanh_mistakes,
}
