"""BERT as a table of steps: each with a name, the steps that it reads, and the function it is.

`numpy_bert.blocks` computes a whole block from its input. Here the same functions of
`numpy_bert.ops` stand one by one, so that a step, or a segment of several, can be run again on
numbers that somebody else computed, or with one thing in it changed. What the table computes from
the ids in float64 is what `BertModel.trace` yields, to the bit (tests/verification/test_steps.py).

Run in float32 the steps are the yardstick of what rounding does, so they must not be better than a
plain implementation: `ops` adds up in float64, the functions at the end of this file do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention_scores, merge_heads, split_heads, weighted_values
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.ops.relative_position import relative_attention_bias
from numpy_bert.ops.softmax import softmax
from numpy_bert.parameters import (
    BertLayerParameters,
    BertParameters,
    EmbeddingParameters,
    LayerNormParameters,
)
from numpy_bert.reprs import short_repr
from numpy_bert.traces.layout import BIAS, PROJECT, axes_of
from numpy_bert.traces.trace_inputs import TraceInputs

__all__ = [
    "UNCHANGED",
    "Segment",
    "Step",
    "add",
    "by_head",
    "dense",
    "look_up",
    "mean_values",
    "plain_norm_part",
    "same",
    "scores",
    "segment_of",
    "steps_of",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """One step of the model.

    Attributes
    ----------
    name : str
        The step's trace name.
    kind : str
        What the step does, which says what mistakes can be made in it.
    inputs : tuple of str
        The names of the steps whose arrays `function` takes.
    function : callable
        Takes the arrays of `inputs`, then `arguments` by keyword.
    arguments : mapping
        Weights and settings; arrays of floats are cast to the dtype of the run.
    """

    __repr__ = short_repr

    name: str
    kind: str
    inputs: tuple[str, ...]
    function: Callable[..., Array]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> str:
        """The letters of the result's shape (see `numpy_bert.arrays`); 1 is an axis of one."""
        rows = len(self.arguments["ids"]) if self.kind == "position_embeddings" else 1
        return axes_of(self.name, rows) or ""

    @np.errstate(all="ignore")
    def run(self, inputs: Mapping[str, npt.NDArray[Any]], dtype: npt.DTypeLike) -> Array:
        """Compute the step from the arrays of its inputs, all cast to `dtype`."""
        arrays = [inputs[name].astype(dtype, copy=False) for name in self.inputs]
        arguments = {
            key: value.astype(dtype, copy=False) if _is_float(value) and key != "table" else value
            for key, value in self.arguments.items()
        }
        if "table" in arguments:
            arguments["dtype"] = dtype
        return self.function(*arrays, **arguments)


# The steps that stand in the place of others where no mistake is tried.
UNCHANGED: Mapping[str, Step] = {}


class Segment(NamedTuple):
    """A part of the model that can be run again: a step, and those before it that a trace lacks.

    Attributes
    ----------
    steps : tuple of Step
        In execution order; the last one is the step that the segment is named after.
    inputs : tuple of str
        The names of the steps that these read and the trace holds.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def target(self) -> Step:
        """The step that the segment is named after."""
        return self.steps[-1]

    def run(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        dtype: npt.DTypeLike = np.float64,
        others: Mapping[str, Step] = UNCHANGED,
    ) -> Array:
        """Compute the last step of the segment.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The arrays of the steps in `inputs`.
        dtype : dtype
            What is computed in.
        others : mapping of str to Step
            Steps that stand in the place of the segment's own, by name.
        """
        for _, _, output in self.walk(arrays, dtype, others):
            found = output
        return found

    def walk(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        dtype: npt.DTypeLike = np.float64,
        others: Mapping[str, Step] = UNCHANGED,
    ) -> Iterator[tuple[Step, list[Array], Array]]:
        """Yield each step with the arrays that it read and the one that it gave, in order."""
        values = dict(arrays)
        last = self.last_readers(others)
        for own in self.steps:
            step = others.get(own.name, own)
            values[step.name] = step.run(values, dtype)
            yield step, [values[name] for name in step.inputs], values[step.name]
            for name in last.get(step.name, ()):
                del values[name]  # a long segment need not be held whole

    def last_readers(self, others: Mapping[str, Step]) -> dict[str, list[str]]:
        """Return, for each step, the names of those that it is the last one to read."""
        reader = {name: own.name for own in self.steps for name in others.get(own.name, own).inputs}
        found: dict[str, list[str]] = {}
        for name, last in reader.items():
            found.setdefault(last, []).append(name)
        return found


def segment_of(name: str, steps: Mapping[str, Step], held: Collection[str]) -> Segment:
    """Return the segment that ends in a step.

    Parameters
    ----------
    name : str
        The step's name.
    steps : mapping of str to Step
        The steps of the whole model, in execution order.
    held : collection of str
        The names of the steps that a trace holds.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> model = BertModel.from_pretrained("demo")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3]])}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> segment_of("pooler", steps, {"encoder"}).inputs
    ('encoder',)
    """
    needed, inputs, left = {name}, [], [name]
    while left:
        for other in steps[left.pop()].inputs:
            if other in held:
                inputs.append(other)
            elif other not in needed:
                needed.add(other)
                left.append(other)
    inside = tuple(step for step in steps.values() if step.name in needed)
    return Segment(inside, tuple(dict.fromkeys(inputs)))


def steps_of(
    config: BertConfig, parameters: BertParameters, inputs: TraceInputs
) -> dict[str, Step]:
    """Return the steps of a whole model by name, in execution order.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> model = BertModel.from_pretrained("demo")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3]])}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> steps["encoder.layer.0.attention.self.query"].inputs
    ('embeddings',)
    """
    found = _embedding_steps(config, parameters, inputs)
    if parameters.encoder is not None:
        hidden, added = "embeddings", tuple[str, ...]()
        if parameters.embeddings_project is not None:
            found.append(_dense_step(PROJECT, hidden, parameters.embeddings_project))
            hidden = PROJECT
        if parameters.encoder.relative_attention_bias is not None:
            found.append(_bias_step(parameters.encoder.relative_attention_bias, inputs))
            added = (BIAS,)
        for number, layer in enumerate(parameters.encoder.layer):
            path = f"encoder.layer.{number}"
            found += _layer_steps(config, layer, path, hidden, inputs, added)
            hidden = path
        found.append(_step("encoder", "same", same, hidden))
        found += _pooler_steps(config, parameters)
    return {step.name: step for step in found}


def _pooler_steps(config: BertConfig, parameters: BertParameters) -> list[Step]:
    """Return what makes one vector of a sequence, if the model does."""
    if parameters.pooler is None and config.architecture.pooling != "first":
        return []
    own = parameters.encode_proj if parameters.pooler is None else parameters.pooler.dense
    if own is None:
        return [_step("pooler", "first_token", _first_token, "encoder")]
    given = {"weight": own.weight, "bias": own.bias}
    dense_step = _step("pooler.dense", "pooler.dense", _first_dense, "encoder", **given)
    if parameters.pooler is None:
        return [dense_step, _step("pooler", "same", same, "pooler.dense")]
    return [dense_step, _step("pooler", "tanh", np.tanh, "pooler.dense")]


def _bias_step(table: EmbeddingParameters, inputs: TraceInputs) -> Step:
    """Return what all layers add to their scores, by the places of the tokens in their row."""
    places = np.arange(inputs.input_ids.shape[1])[np.newaxis]
    return _step(BIAS, "relative_bias", _bias, ids=places, table=table.weight)


def _step(
    name: str, kind: str, function: Callable[..., Array], *inputs: str, **arguments: Any
) -> Step:
    return Step(name=name, kind=kind, inputs=inputs, function=function, arguments=arguments)


def _embedding_steps(
    config: BertConfig, parameters: BertParameters, inputs: TraceInputs
) -> list[Step]:
    """Return the look-ups, their sum, LayerNorm and dropout."""
    own, path = parameters.embeddings, "embeddings"
    rows = {
        "word_embeddings": inputs.input_ids,
        "token_type_embeddings": inputs.token_type_ids,
        "position_embeddings": inputs.position_ids,
        "task_type_embeddings": np.zeros_like(inputs.input_ids),  # in the order of the sum
    }
    looked = [
        _step(f"{path}.{name}", name, look_up, ids=ids, table=table.weight)
        for name, ids in rows.items()
        if (table := getattr(own, name)) is not None
    ]
    p = config.hidden_dropout_prob
    return [
        *looked,
        _step(f"{path}.sum", f"{path}.sum", add, *(step.name for step in looked)),
        *_norm_steps(f"{path}.LayerNorm", f"{path}.sum", own.LayerNorm, config),
        _step(f"{path}.dropout", "dropout", same, f"{path}.LayerNorm", p=p),
        _step(path, "same", same, f"{path}.dropout"),
    ]


def _layer_steps(
    config: BertConfig,
    layer: BertLayerParameters,
    path: str,
    hidden: str,
    inputs: TraceInputs,
    added: tuple[str, ...],
) -> list[Step]:
    """Return the steps of one layer, which reads the step `hidden`; `added` goes to its scores."""
    looked, attended, widened = (
        f"{path}.{part}" for part in ("attention.self", "attention", "intermediate")
    )
    function = ACTIVATIONS[config.activation].forward
    return [
        *_attention_steps(config, layer, looked, hidden, inputs, added),
        *_output_steps(config, layer.attention.output, f"{attended}.output", looked, hidden),
        _step(attended, "same", same, f"{attended}.output"),
        _dense_step(f"{widened}.dense", attended, layer.intermediate.dense),
        _step(widened, "activation", _activate, f"{widened}.dense", activation=function),
        *_output_steps(config, layer.output, f"{path}.output", widened, attended),
        _step(path, "same", same, f"{path}.output"),
    ]


def _attention_steps(
    config: BertConfig,
    layer: BertLayerParameters,
    path: str,
    hidden: str,
    inputs: TraceInputs,
    added: tuple[str, ...],
) -> list[Step]:
    """Return self-attention, from the projections to the context."""
    query, key, value, found, probs, dropped = (
        f"{path}.{part}" for part in ("query", "key", "value", "scores", "probs", "dropout")
    )
    heads = config.num_attention_heads
    scale = 1.0 / math.sqrt(config.hidden_size // heads)
    given = {"heads": heads, "mask": inputs.attention_mask}
    own = layer.attention.self
    return [
        _dense_step(query, hidden, own.query),
        _dense_step(key, hidden, own.key),
        _dense_step(value, hidden, own.value),
        _step(found, "scores", scores, query, key, *added, **given, scale=scale),
        _step(probs, "probs", softmax, found),
        _step(dropped, "dropout", same, probs, p=config.attention_probs_dropout_prob),
        _step(path, "context", _context, dropped, value, **given),
    ]


def _output_steps(config: BertConfig, own: Any, path: str, x: str, residual: str) -> list[Step]:
    """Return a dense layer over `x`, dropout, the residual sum and its LayerNorm."""
    is_attention = path.endswith(".attention.output")
    p = config.attention_output_dropout_prob if is_attention else config.hidden_dropout_prob
    return [
        _dense_step(f"{path}.dense", x, own.dense),
        _step(f"{path}.dropout", "dropout", same, f"{path}.dense", p=p),
        _step(f"{path}.sum", "residual", add, f"{path}.dropout", residual),
        *_norm_steps(f"{path}.LayerNorm", f"{path}.sum", own.LayerNorm, config),
        _step(path, "same", same, f"{path}.LayerNorm"),
    ]


def _norm_steps(path: str, x: str, norm: LayerNormParameters, config: BertConfig) -> list[Step]:
    """Return LayerNorm and its parts, each from the rows that are normalized."""
    given = {"weight": norm.weight, "bias": norm.bias, "eps": config.layer_norm_eps}
    parts = ("mean", "variance", "rstd", "normalized")
    return [
        *(
            _step(f"{path}.{part}", "layer_norm", _norm_part, x, **given, part=part)
            for part in parts
        ),
        _step(path, "layer_norm", _norm_part, x, **given, part="output"),
    ]


def _dense_step(name: str, x: str, own: Any) -> Step:
    return _step(name, "linear", dense, x, weight=own.weight, bias=own.bias)


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def look_up(*, ids: IntArray, table: Any, dtype: npt.DTypeLike) -> Array:
    """Return the rows of a table."""
    return embedding(ids, table, dtype=dtype)


def add(first: Array, *others: Array) -> Array:
    """Return a sum, taken from the left."""
    for other in others:
        first = first + other
    return first


def same(x: Array, **_: object) -> Array:
    """Return the array itself."""
    return x


def dense(x: Array, *, weight: Array, bias: Array) -> Array:
    """Return what `numpy_bert.ops.linear.linear` does; float32 is added up in float32."""
    return x @ weight.T + bias


def _bias(*, ids: IntArray, table: Any, dtype: npt.DTypeLike) -> Array:
    """Return what is added to the scores of each query and key, (T, T, A)."""
    found: Array = relative_attention_bias(table, ids.shape[1], np.dtype(dtype))  # type: ignore[arg-type]
    return found


def _first_token(hidden: Array) -> Array:
    """Return each row's first token."""
    return hidden[:, 0]


def _first_dense(hidden: Array, *, weight: Array, bias: Array) -> Array:
    """Return a dense layer over each row's first token."""
    return dense(hidden[:, 0], weight=weight, bias=bias)


def _activate(x: Array, *, activation: Callable[[Array], Array]) -> Array:
    return activation(x)


def scores(
    query: Array,
    key: Array,
    bias: Array | None = None,
    *,
    heads: int,
    mask: BoolArray,
    scale: float,
) -> Array:
    """Return the scores of every head."""
    rows = split_heads(query, heads), split_heads(key, heads)
    return attention_scores(*rows, mask, scale=scale, bias=by_head(bias))


def by_head(bias: Array | None) -> Array | None:
    """Return what is added to the scores with the heads before the tokens, (A, T, T)."""
    return None if bias is None else np.moveaxis(bias, -1, -3)


def _context(probs: Array, value: Array, *, heads: int, mask: BoolArray) -> Array:
    """Return the heads' means of the values, side by side."""
    return merge_heads(mean_values(probs, split_heads(value, heads), mask))


def mean_values(probs: Array, value: Array, mask: BoolArray) -> Array:
    """Return `weighted_values`, where the weights need not be 0 at masked tokens.

    What is no number there is selected away all the same; in a port it has no weight.
    """
    masked = ~mask[:, np.newaxis, :, np.newaxis] & ~np.isfinite(value)
    return weighted_values(probs, np.where(masked, value.dtype.type(0.0), value))


def _norm_part(x: Array, *, part: str, **given: Any) -> Array:
    """Return one of the steps of LayerNorm; in float32 with the rounding of a plain one."""
    if x.dtype == np.float32:
        return plain_norm_part(x, part=part, **given)
    found: Array = getattr(layer_norm(x, given["weight"], given["bias"], eps=given["eps"]), part)
    return found


def plain_norm_part(
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
    """Return one of the steps of a LayerNorm that computes in the dtype of `x`.

    It is not BERT's LayerNorm with epsilon `outside` the root, with Bessel's correction, or where
    it is not `centred`.
    """
    mean = x.mean(axis=-1, keepdims=True) if centred else np.zeros_like(x[..., :1])
    features = x.shape[-1] - bessel
    variance = np.square(x - mean).sum(axis=-1, keepdims=True) / features
    rstd = 1.0 / (np.sqrt(variance) + eps) if outside else 1.0 / np.sqrt(variance + eps)
    normalized = (x - mean) * rstd
    parts = {"mean": mean, "variance": variance, "rstd": rstd, "normalized": normalized}
    found: Array = parts[part] if part in parts else normalized * weight + bias
    return found
