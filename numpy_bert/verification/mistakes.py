"""The mistakes that ports of BERT are known to make, by the kind of step that they are made in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.ops.activation import gelu, gelu_tanh, quick_gelu, relu, silu
from numpy_bert.traces.inputs import Inputs
from numpy_bert.verification.attention_mistakes import in_context, in_probs, in_scores
from numpy_bert.verification.dense_mistakes import in_dense, in_pooler, rounded_rows
from numpy_bert.verification.functions import look_up, same
from numpy_bert.verification.mistake import Cause, Mistake, Mistakes, Setting, changed
from numpy_bert.verification.norm_mistakes import in_norm, in_residual
from numpy_bert.verification.steps import Step

__all__ = ["mistakes_in", "wrong_positions"]

_ACTIVATIONS: tuple[tuple[Cause, Callable[[Array], Array]], ...] = (
    (Cause("gelu_tanh", "GELU is the tanh form, not the erf form"), gelu_tanh),
    (Cause("gelu_erf", "GELU is the erf form, not the tanh form"), gelu),
    (Cause("gelu_sigmoid", "the activation is x * sigmoid(1.702 x)"), quick_gelu),
    (Cause("activation_relu", "the activation is ReLU"), relu),
    (Cause("activation_silu", "the activation is SiLU"), silu),
    (Cause("activation_missing", "the activation is left out"), same),
)


_NO_SEGMENTS = Cause("segments_dropped", "the segment table is left out")
_NO_POSITIONS = Cause("positions_dropped", "the position table is left out")


def mistakes_in(step: Step, setting: Setting) -> Iterator[Mistake]:
    """Yield what is known to go wrong in a step, the likelier first.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.inputs import Inputs
    >>> from numpy_bert.verification.steps import steps_of
    >>> model = BertModel.from_pretrained("demo")
    >>> ids = np.array([[2, 5, 3]])
    >>> inputs = Inputs(ids, ids > 0, ids * 0, np.arange(3)[np.newaxis])
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> setting = Setting(model.config, steps, inputs)
    >>> [mistake.cause.text for mistake in mistakes_in(steps["pooler"], setting)]
    ['the pooler is without its tanh']
    """
    known = _KNOWN.get(step.kind)
    if known is not None:
        yield from known(step, setting)


def _in_words(step: Step, setting: Setting) -> Iterator[Mistake]:
    yield from rounded_rows(step)
    scale = math.sqrt(setting.config.hidden_size)
    cause = Cause("embedding_scaled", "the embedding is multiplied by the root of the hidden size")
    yield changed(step, cause, lambda **given: look_up(**given) * scale)


def _in_segments(step: Step, setting: Setting) -> Iterator[Mistake]:
    ids, count = setting.inputs.token_type_ids, len(step.arguments["table"])
    if count > 1:
        cause = Cause("segments_swapped", "segments 0 and 1 are swapped")
        yield changed(step, cause, ids=np.where(ids < 2, 1 - ids, ids))
    yield changed(step, _NO_SEGMENTS, lambda **given: look_up(**given) * 0.0)
    cause = Cause("segments_ignored", "every token is taken for segment 0")
    yield changed(step, cause, ids=np.zeros_like(ids))
    yield from rounded_rows(step)


def wrong_positions(inputs: Inputs) -> Iterator[tuple[Cause, IntArray]]:
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
        # Those outside the table are of padding, or of nothing.
        yield changed(step, cause, ids=np.clip(ids, 0, last))
    yield changed(step, _NO_POSITIONS, lambda **given: look_up(**given) * 0.0)
    yield from rounded_rows(step)


def _in_sum(step: Step, _: Setting) -> Iterator[Mistake]:
    words, segments, positions = step.inputs
    for cause, left in (
        (_NO_SEGMENTS, (words, positions)),
        (_NO_POSITIONS, (words, segments)),
    ):
        yield Mistake(cause, {step.name: replace(step, inputs=left)})


def _in_activation(step: Step, _: Setting) -> Iterator[Mistake]:
    right = step.arguments["activation"]
    for cause, function in _ACTIVATIONS:
        if function is not right:
            yield changed(step, cause, activation=function)


def _in_tanh(step: Step, _: Setting) -> Iterator[Mistake]:
    yield changed(step, Cause("pooler_without_tanh", "the pooler is without its tanh"), same)


_KNOWN: Mapping[str, Mistakes] = {
    "word_embeddings": _in_words,
    "token_type_embeddings": _in_segments,
    "position_embeddings": _in_positions,
    "embeddings.sum": _in_sum,
    "layer_norm": in_norm,
    "residual": in_residual,
    "linear": in_dense,
    "scores": in_scores,
    "probs": in_probs,
    "context": in_context,
    "activation": _in_activation,
    "pooler.dense": in_pooler,
    "tanh": _in_tanh,
}
