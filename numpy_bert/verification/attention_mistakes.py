"""The mistakes that are made in attention, from the scores to the context."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, BoolArray, IntArray
from numpy_bert.ops.attention import attention_scores, merge_heads, split_heads
from numpy_bert.ops.embedding import look_up
from numpy_bert.ops.relative_position import relative_position_bucket
from numpy_bert.ops.softmax import softmax
from numpy_bert.traces.trace_inputs import TraceInputs
from numpy_bert.verification.changes import (
    Cause,
    Mistake,
    Setting,
    changed,
    normalized,
    of_length_1,
    rarely,
    sigmoid,
)
from numpy_bert.verification.steps import Step, by_head, mean_values, same, scores

__all__ = ["context_mistakes", "distance_mistakes", "probs_mistakes", "score_mistakes"]

_INTERLEAVED = Cause("heads_split", "heads are split as (D, A), not (A, D)")
_RESHAPED = Cause("heads_split", "heads are split by a reshape to (B, A, T, D), not transposed")
_NO_MASK = Cause("mask_missing", "the mask is left out")
_MASK_AFTER = Cause("mask_after_softmax", "the mask is applied after softmax, not before")
_NO_DISTANCES = Cause("relative_bias_missing", "the relative attention bias is not added")


def score_mistakes(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield scores of other heads, scaled and masked otherwise, or with a term too many."""
    scale = step.arguments["scale"]
    yield changed(step, "attention_scale_missing", "the scores are not scaled", scale=1.0)
    yield changed(step, "attention_scale_twice", "the scores are scaled twice", scale=scale * scale)
    text = "the scores are scaled by the root of H, not of D"
    hidden = 1.0 / math.sqrt(setting.config.hidden_size)
    yield changed(step, "attention_scale_hidden", text, scale=hidden)
    yield from rarely(_in_scale(step, setting))
    yield from _in_mask(step)
    yield from rarely(_in_odd_mask(step, setting))
    yield from rarely(_in_odd_scores(step, setting))
    yield changed(step, *_INTERLEAVED, _scores_of(_interleaved))
    yield changed(step, *_RESHAPED, _scores_of(_reshaped))
    text = "keys ask and queries answer: the scores are transposed"
    yield changed(
        step,
        "qkv_swapped",
        text,
        lambda query, key, *added, **given: scores(key, query, *added, **given),
    )
    if step.inputs[2:]:
        yield from _in_added(step)


def _in_added(step: Step) -> Iterator[Mistake]:
    """Yield scores to which what goes by the tokens' distance is added otherwise."""
    yield Mistake(_NO_DISTANCES, {step.name: replace(step, inputs=step.inputs[:2])})
    text = "the relative attention bias is added before the scores are scaled"
    yield changed(
        step,
        "relative_bias_scaled",
        text,
        lambda query, key, bias, *, scale, **given: scores(
            query, key, bias * scale, scale=scale, **given
        ),
    )


def distance_mistakes(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield other numbers that are added to the scores of all layers by the tokens' distance."""
    places = step.arguments["ids"]
    for name, text, rows in _other_buckets(_distances(places)[0], len(step.arguments["table"])):
        yield changed(step, name, text, _rows_at(rows))
    yield changed(step, *_NO_DISTANCES, lambda **given: 0.0 * step.function(**given))
    positions = _distances(setting.inputs.position_ids)
    if not (positions == _distances(places)).all():
        text = "distances are those of the positions, not of the places in the row"
        by_position = relative_position_bucket(positions)
        yield changed(step, "relative_bias_positions", text, _rows_at(by_position))


def _distances(places: IntArray) -> IntArray:
    """Return how far each key stands behind each query, (B, T, T)."""
    return places[:, np.newaxis] - places[:, :, np.newaxis]


def _rows_at(rows: IntArray) -> Callable[..., Array]:
    """Return a function that looks other rows of the table up."""
    return lambda *, table, dtype, **_: look_up(table, rows, np.dtype(dtype))


def _other_buckets(distances: IntArray, count: int) -> Iterator[tuple[str, str, IntArray]]:
    """Yield the other rows of a table that stand for the distances, (T, T)."""
    half = count // 2
    name = "relative_bias_buckets"
    turned = relative_position_bucket(-distances)
    yield name, "the buckets of keys before a query and behind it are exchanged", turned
    behind = np.maximum(-distances, 0)
    text = "the buckets are one-sided, as a decoder's: keys behind a query have that of distance 0"
    yield name, text, _logarithmic(behind, count, 128)
    text = "the buckets are those of the distance alone, before or behind"
    yield name, text, _logarithmic(np.abs(distances), half, 128)
    sided = half * (distances > 0)
    text = "each distance has a bucket of its own, up to the last"
    yield name, text, np.minimum(np.abs(distances), half - 1) + sided
    for most in (64, 256):
        text = f"the last bucket begins as if the largest distance were {most}, not 128"
        yield name, text, _logarithmic(np.abs(distances), half, most) + sided


def _logarithmic(distances: IntArray, count: int, most: int) -> IntArray:
    """Return buckets of which the first half are of one distance each, the others ever wider."""
    exact = count // 2
    far = np.log(np.maximum(distances, 1) / exact) / math.log(most / exact) * (count - exact)
    wide = np.minimum(exact + far.astype(np.int64), count - 1)
    return np.where(distances < exact, distances, wide)


def _in_mask(step: Step) -> Iterator[Mistake]:
    """Yield what is done to the scores of padding in place of masking them."""
    mask = step.arguments["mask"]
    yield changed(step, *_NO_MASK, mask=np.ones_like(mask))
    if not mask.all():  # inverted it would hide every key, which is not told from no scores
        queries = mask[:, np.newaxis, :, np.newaxis]
        text = "the mask is over the queries, not the keys"
        yield changed(step, _NO_MASK.name, text, _hiding(queries))
        yield changed(step, "mask_inverted", "the mask is inverted", mask=~mask)
    keys = mask[:, np.newaxis, np.newaxis, :]
    later = np.tril(np.ones((mask.shape[1],) * 2, np.bool_)) & keys
    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("mask_added", "the mask is added as 0 and 1", lambda x: x + keys),
        ("mask_multiplied", "the scores are multiplied by the mask", lambda x: x * keys),
        ("mask_causal", "a causal mask hides later tokens", lambda x: np.where(later, x, -1e30)),
        ("mask_10000", "masked scores have 10000 subtracted", lambda x: x - 1e4 * ~keys),
    )
    for name, text, apply in ways:
        yield changed(step, name, text, _unmasked(apply))


def _hiding(seen: BoolArray) -> Callable[..., Array]:
    """Return a function that computes scores in which other keys are hidden."""
    return _unmasked(lambda x: np.where(seen, x, -1e30))


def _in_odd_mask(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield scores of which others are hidden, or hidden in another way."""
    for cause, seen in _wrong_masks(setting.inputs):
        yield changed(step, *cause, _hiding(seen))
    mask = setting.inputs.attention_mask
    keys = mask[:, np.newaxis, np.newaxis, :]
    if mask.all():
        return
    text = "the scores are multiplied by the mask's -10000, not added to it"
    yield changed(step, "mask_multiplied", text, _unmasked(lambda x: x * (-1e4 * ~keys)))
    text = "the mask's least number is added to the tokens, not to the padding"
    yield changed(step, "mask_inverted", text, _unmasked(lambda x: x - 1e4 * keys))
    for much in (10.0, 100.0):  # 1 is what a mask of 0 and 1 makes of them
        text = f"masked scores have only {much:g} subtracted"
        yield changed(step, "mask_weak", text, _unmasked(partial(_less, much * ~keys)))
    rows = np.arange(len(mask) * step.arguments["heads"]).reshape(len(mask), -1) % len(mask)
    text = "heads have the masks of other rows: the mask is tiled over them, not repeated"
    yield changed(step, *_WRONG_ROW._replace(text=text), _hiding(mask[rows][:, :, np.newaxis]))


_WRONG_ROW = Cause("mask_of_another_row", "every row has the mask of the first")
_WINDOWS = (0, 1, 2, 3, 4, 5, 8, 10, 16, 32, 64, 128, 256)


def _wrong_masks(inputs: TraceInputs) -> Iterator[tuple[Cause, BoolArray]]:
    """Yield what else is let through, as (B, 1, T or 1, T)."""
    mask, width = inputs.attention_mask, inputs.attention_mask.shape[1]
    keys, queries = mask[:, np.newaxis, np.newaxis, :], mask[:, np.newaxis, :, np.newaxis]
    apart = np.arange(width)[:, np.newaxis] - np.arange(width)  # of query and key
    for one in _wrong_keys(inputs):
        yield one[0], one[1][:, np.newaxis, np.newaxis, :]
    yield Cause("mask_both_axes", "the mask is over keys and queries"), keys & queries
    yield Cause("mask_causal", "a causal mask hides earlier tokens"), keys & (apart <= 0)
    text = "a causal mask hides later tokens, and no mask hides padding"
    yield Cause("mask_causal", text), np.broadcast_to(apart >= 0, (1, 1, width, width))
    yield Cause("mask_diagonal", "tokens do not attend to themselves"), keys & (apart != 0)
    for window in _WINDOWS:
        if window < width - 1:
            text = f"a local window hides what is more than {window} tokens away"
            yield Cause("mask_window", text), keys & (np.abs(apart) <= window)
    types = inputs.token_type_ids
    own = types[:, np.newaxis, :, np.newaxis] == types[:, np.newaxis, np.newaxis, :]
    yield Cause("mask_by_segment", "tokens attend to their own segment only"), keys & own


def _wrong_keys(inputs: TraceInputs) -> Iterator[tuple[Cause, BoolArray]]:
    """Yield masks over the keys that are moved, or hide a token too many, as (B, T)."""
    mask, ids = inputs.attention_mask, inputs.input_ids
    wrong, width = "mask_wrong_tokens", inputs.attention_mask.shape[1]
    rows, firsts = np.arange(len(mask)), np.argmax(mask, axis=1)
    lasts = width - 1 - np.argmax(mask[:, ::-1], axis=1)
    ends, starts = (np.zeros_like(mask) for _ in range(2))
    ends[rows, lasts] = starts[rows, firsts] = True
    separators = ids == ids[rows, lasts][:, np.newaxis]
    yield Cause(wrong, "the mask hides the last token ([SEP])"), mask & ~ends
    yield Cause(wrong, "the mask hides every [SEP]"), mask & ~separators
    yield Cause(wrong, "the mask hides the first token ([CLS])"), mask & ~starts
    yield Cause(wrong, "the mask hides [CLS] and [SEP]"), mask & ~starts & ~separators
    for shift in (1, -1):
        moved = mask[:, np.clip(np.arange(width) - shift, 0, width - 1)]
        yield Cause(wrong, f"the mask is shifted by {shift}"), moved
        rolled = Cause(wrong, f"the mask is shifted by {shift}, and around its end")
        yield rolled, np.roll(mask, shift, axis=1)
    if len(mask) > 1:
        yield _WRONG_ROW, np.broadcast_to(mask[:1], mask.shape)
        last = _WRONG_ROW._replace(text="every row has the mask of the last")
        yield last, np.broadcast_to(mask[-1:], mask.shape)
        for shift, which in ((1, "before"), (-1, "behind")):
            other = _WRONG_ROW._replace(text=f"every row has the mask of the one {which} it")
            yield other, np.roll(mask, shift, axis=0)
        yield _WRONG_ROW._replace(text="rows have their masks in reverse"), mask[::-1]


def _in_scale(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield scores that are scaled by something else."""
    right, heads = step.arguments["scale"], step.arguments["heads"]
    hidden = setting.config.hidden_size
    size = hidden // heads
    ways = {
        "multiplied by the root of D": math.sqrt(size),
        "divided by H": 1.0 / hidden,
        "divided by the root of A": 1.0 / math.sqrt(heads),
        "divided by A": 1.0 / heads,
        "divided by the fourth root of D": size**-0.25,
        "divided by 8, the root of 64": 0.125,
        "divided by the root of T": 1.0 / math.sqrt(setting.inputs.input_ids.shape[1]),
        "divided by the root of 2 D": 1.0 / math.sqrt(2.0 * size),
        "doubled": 2.0 * right,
        "halved": 0.5 * right,
        "taken to the base of 2": right * math.log(2.0),
        "multiplied by log2(e)": right / math.log(2.0),
    }
    done = {right, 1.0, right * right, 1.0 / math.sqrt(hidden)}
    for what, scale in ways.items():
        if not any(math.isclose(scale, other) for other in done):
            done.add(scale)
            text = f"the scores are {what}"
            yield changed(step, "attention_scale_other", text, scale=scale)


def _in_odd_scores(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield scores with a term that BERT has not."""
    mask, heads = step.arguments["mask"], step.arguments["heads"]
    keys = mask[:, np.newaxis, np.newaxis, :]
    for name, text, apply in _terms(mask.shape[1], heads):
        after = _unmasked(partial(_where, keys, apply))
        yield changed(step, name, f"{text}, a term that BERT has not", after)
    for style in ("halves", "pairs"):
        text = f"queries and keys are rotated by their positions (rotary, in {style})"
        rotated = _scores_of(_rotated(style))
        yield changed(step, "rotary", f"{text}, a term that BERT has not", rotated)
    for what, normalize in (
        ("their lengths", of_length_1),
        ("LayerNorm", lambda x: normalized(x, 1e-5, 0.5)),
    ):
        text = f"queries and keys are normalized by {what}, a term that BERT has not"
        split = _scores_of(partial(_split_and, normalize))
        yield changed(step, "query_key_norm", text, split)
    context = setting.steps[step.name.removesuffix(".scores")]
    yield from _grouped(step, context)
    yield from _other_heads(step, context, setting.config.hidden_size)


def _less(much: Array, x: Array) -> Array:
    return x - much


def _where(keys: BoolArray, apply: Callable[[Array], Array], x: Array) -> Array:
    return np.where(keys, apply(x), -1e30)


def _split_and(normalize: Callable[[Array], Array], x: Array, heads: int) -> Array:
    return normalize(split_heads(x, heads))


def _terms(width: int, heads: int) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield what other models do to their scores."""
    apart = np.arange(width)[:, np.newaxis] - np.arange(width)
    sloped = _slopes(heads)[:, np.newaxis, np.newaxis] * apart
    yield "alibi", "scores fall with the distance (ALiBi)", partial(_less, np.abs(sloped))
    yield "alibi", "scores fall with the place (ALiBi)", partial(_less, sloped)
    for cap in (10.0, 20.0, 30.0, 50.0):
        text = f"the scores are capped by {cap:g} tanh(x / {cap:g})"
        yield "scores_capped", text, partial(_capped, cap)
    for cap in (1.0, 5.0, 10.0, 50.0):
        yield "scores_capped", f"the scores are cut at {cap:g}", partial(_cut, cap)


def _slopes(heads: int) -> Array:
    """Return ALiBi's slope of each head."""
    even = 1 << (heads.bit_length() - 1)  # the nearest power of 2 below
    slopes = 2.0 ** (-8.0 * np.arange(1, even + 1) / even)
    more = 2.0 ** (-4.0 * np.arange(1, 2 * even, 2) / even)
    found: Array = np.concatenate([slopes, more])[:heads]
    return found


def _capped(cap: float, x: Array) -> Array:
    found: Array = cap * np.tanh(x / cap)
    return found


def _cut(cap: float, x: Array) -> Array:
    found: Array = np.clip(x, -cap, cap)
    return found


def _rotated(style: str) -> Callable[[Array, int], Array]:
    """Return a function that splits heads and turns each pair of features by its position."""

    def split(x: Array, heads: int) -> Array:
        rows = split_heads(x, heads)
        size = rows.shape[-1] - rows.shape[-1] % 2
        turns = 10000.0 ** (-np.arange(0, size, 2) / size)
        angles = np.arange(rows.shape[-2])[:, np.newaxis] * turns
        ones = slice(0, size // 2) if style == "halves" else slice(0, size, 2)
        others = slice(size // 2, size) if style == "halves" else slice(1, size, 2)
        cosine, sine, turned = np.cos(angles), np.sin(angles), rows.copy()
        turned[..., ones] = rows[..., ones] * cosine - rows[..., others] * sine
        turned[..., others] = rows[..., others] * cosine + rows[..., ones] * sine
        return turned

    return split


def _grouped(step: Step, context: Step) -> Iterator[Mistake]:
    """Yield attention whose keys and values several heads share."""
    heads = int(step.arguments["heads"])
    for groups in range(1, heads):
        if heads % groups or (groups > 4 and groups != heads // 2):
            continue
        for how, chosen in _SHARED.items():
            split = partial(_split_and, partial(chosen, groups))
            what = "one key and value" if groups == 1 else f"{groups} keys and values"
            text = f"all {heads} heads share {what} ({how}), grouped keys that BERT has not"
            cause = Cause("grouped_keys", text)
            one = changed(step, *cause, _scores_of(split_heads, split))
            two = changed(context, *cause, _context_of(split, merge_heads))
            yield Mistake(cause, {**one.steps, **two.steps})


def _in_blocks(groups: int, x: Array) -> Array:
    return np.repeat(x[:, :groups], x.shape[1] // groups, axis=1)


def _in_turn(groups: int, x: Array) -> Array:
    return np.tile(x[:, :groups], (1, x.shape[1] // groups, 1, 1))


def _in_means(groups: int, x: Array) -> Array:
    means = x.reshape(x.shape[0], groups, -1, *x.shape[2:]).mean(axis=2)
    return np.repeat(means, x.shape[1] // groups, axis=1)


_SHARED: Mapping[str, Callable[[int, Array], Array]] = {
    "the first, in blocks": _in_blocks,
    "the first, in turn": _in_turn,
    "their means": _in_means,
}


def _other_heads(step: Step, context: Step, hidden: int) -> Iterator[Mistake]:
    """Yield attention of another number of heads."""
    right = int(step.arguments["heads"])
    for heads in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        if heads == right or hidden % heads:
            continue
        text = f"there are {heads} heads, not {right}"
        scales = {"": 1.0 / math.sqrt(hidden // heads)}
        scales[f", scaled as if there were {right}"] = step.arguments["scale"]
        for more, scale in scales.items():
            cause = Cause("heads_count", text + more)
            one = changed(step, *cause, heads=heads, scale=scale)
            two = changed(context, *cause, heads=heads)
            yield Mistake(cause, {**one.steps, **two.steps})


def probs_mistakes(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what is no softmax over the keys, or one too many."""
    for axis, what in ((-2, "the queries"), (1, "the heads")):
        text = f"softmax runs over {what}, not the keys"
        yield changed(step, "softmax_axis", text, lambda x, axis=axis: _softmax_over(x, axis))
    yield changed(step, "softmax_missing", "softmax is left out", same)
    yield from rarely(_in_softmax(step))
    before = setting.steps[step.inputs[0]]
    mask = setting.inputs.attention_mask
    unmasked = changed(before, *_MASK_AFTER, mask=np.ones_like(mask))
    keys = mask[:, np.newaxis, np.newaxis, :]
    after = changed(step, *_MASK_AFTER, lambda x: softmax(x) * keys)
    yield Mistake(_MASK_AFTER, {**unmasked.steps, **after.steps})


def _in_softmax(step: Step) -> Iterator[Mistake]:
    """Yield what is no softmax, or is one and more."""
    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("softmax_twice", "softmax is applied twice", lambda x: softmax(softmax(x))),
        ("softmax_sigmoid", "a sigmoid stands in softmax's place", sigmoid),
        ("softmax_one", "softmax has 1 more in its denominator", _softmax_one),
        ("softmax_unnormalized", "softmax is not divided by its sum", _exponential),
    )
    for name, text, function in ways:
        yield changed(step, name, text, function)


def _softmax_one(x: Array) -> Array:
    powers = np.exp(x)
    found: Array = powers / (1.0 + powers.sum(axis=-1, keepdims=True))
    return found


def _exponential(x: Array) -> Array:
    found: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    return found


def context_mistakes(step: Step, _: Setting) -> Iterator[Mistake]:
    """Yield means of the values of heads that are split, weighed or merged otherwise."""
    yield changed(step, *_INTERLEAVED, _context_of(_interleaved, _merged_interleaved))
    yield changed(step, *_RESHAPED, _context_of(_reshaped, _merged_by_reshape))
    text = "heads are merged by a reshape, not transposed back"
    yield changed(step, "heads_merge", text, _context_of(split_heads, _merged_by_reshape))
    text = "heads are merged as (D, A), not (A, D)"
    yield changed(step, "heads_merge", text, _context_of(split_heads, _merged_interleaved))
    text = "the weights of the values are transposed: queries for keys"

    def transposed(probs: Array, value: Array, *, heads: int, mask: BoolArray) -> Array:
        turned = probs.swapaxes(-1, -2)
        return merge_heads(mean_values(turned, split_heads(value, heads), mask))

    yield replace(changed(step, "probs_transposed", text, transposed), is_rare=True)


def _unmasked(apply: Callable[[Array], Array]) -> Callable[..., Array]:
    """Return a function that computes scores without a mask and does something else to them."""

    def function(
        query: Array, key: Array, *added: Array, heads: int, mask: BoolArray, scale: float
    ) -> Array:
        plain = scores(query, key, *added, heads=heads, mask=np.ones_like(mask), scale=scale)
        return apply(plain).astype(plain.dtype, copy=False)

    return function


def _scores_of(
    split: Callable[[Array, int], Array], of_keys: Callable[[Array, int], Array] | None = None
) -> Callable[..., Array]:
    """Return a function that computes the scores of heads that are split in another way."""

    def function(
        query: Array, key: Array, bias: Array | None = None, *, heads: int, **given: Any
    ) -> Array:
        keys = (of_keys or split)(key, heads)
        return attention_scores(split(query, heads), keys, bias=by_head(bias), **given)

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
