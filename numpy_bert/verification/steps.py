"""BERT as a table of steps: each with a name, the steps that it reads, and the function it is.

`numpy_bert.blocks` computes a whole block from its input. Here the same functions of
`numpy_bert.ops` stand one by one, so that a step can be run again on numbers that somebody else
computed, or with one thing in it changed. What the table computes from the ids is what
`BertModel.trace` yields, to the bit (tests/verification/test_steps.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.softmax import softmax
from numpy_bert.parameters import BertLayerParameters, BertParameters, LayerNormParameters
from numpy_bert.traces.inputs import Inputs
from numpy_bert.verification.functions import (
    activate,
    add,
    context,
    dense,
    first_token,
    look_up,
    norm_part,
    same,
    scores,
)

__all__ = [
    "Inputs",
    "Step",
    "steps_of",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """One step of the model.

    Attributes
    ----------
    name : str
        Its trace name.
    kind : str
        What it does, which says what mistakes can be made in it.
    axes : str
        The letters of its shape (see `numpy_bert.arrays`); 1 is an axis of one element.
    inputs : tuple of str
        The names of the steps whose arrays `function` takes.
    function : callable
        Takes the arrays of `inputs`, then `arguments` by keyword.
    arguments : mapping
        Weights and settings; arrays of floats are cast to the dtype of the run.
    """

    name: str
    kind: str
    axes: str
    inputs: tuple[str, ...]
    function: Callable[..., Array]
    arguments: Mapping[str, Any] = field(default_factory=dict)

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


def steps_of(config: BertConfig, parameters: BertParameters, inputs: Inputs) -> dict[str, Step]:
    """Return the steps of a whole model by name, in execution order.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.inputs import Inputs
    >>> model = BertModel.from_pretrained("demo")
    >>> ids = np.array([[2, 5, 3]])
    >>> inputs = Inputs(ids, ids > 0, ids * 0, np.arange(3)[np.newaxis])
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> steps["encoder.layer.0.attention.self.query"].inputs
    ('embeddings',)
    """
    found = _embedding_steps(config, parameters, inputs)
    if parameters.encoder is None:
        return {step.name: step for step in found}
    hidden = "embeddings"
    for number, layer in enumerate(parameters.encoder.layer):
        found += _layer_steps(config, layer, f"encoder.layer.{number}", hidden, inputs)
        hidden = f"encoder.layer.{number}"
    found.append(_same("encoder", hidden))
    if parameters.pooler is not None:
        dense = parameters.pooler.dense
        found += [
            Step(
                name="pooler.dense",
                kind="pooler.dense",
                axes="BH",
                inputs=("encoder",),
                function=first_token,
                arguments={"weight": dense.weight, "bias": dense.bias},
            ),
            Step(name="pooler", kind="tanh", axes="BH", inputs=("pooler.dense",), function=np.tanh),
        ]
    return {step.name: step for step in found}


def _embedding_steps(config: BertConfig, parameters: BertParameters, inputs: Inputs) -> list[Step]:
    """Return the three look-ups, their sum, LayerNorm and dropout."""
    tables = {
        "word_embeddings": inputs.input_ids,
        "token_type_embeddings": inputs.token_type_ids,
        "position_embeddings": inputs.position_ids,
    }
    found = [
        Step(
            name=f"embeddings.{name}",
            kind=name,
            axes="1TH" if len(ids) == 1 and name == "position_embeddings" else "BTH",
            inputs=(),
            function=look_up,
            arguments={"ids": ids, "table": getattr(parameters.embeddings, name).weight},
        )
        for name, ids in tables.items()
    ]
    names = tuple(step.name for step in found)
    total = Step(
        name="embeddings.sum", kind="embeddings.sum", axes="BTH", inputs=names, function=add
    )
    path, norm = "embeddings.LayerNorm", parameters.embeddings.LayerNorm
    normalized = _norm_steps(path, "embeddings.sum", norm, config)
    dropped = _dropout_step("embeddings.dropout", path, config.hidden_dropout_prob)
    return [*found, total, *normalized, dropped, _same("embeddings", "embeddings.dropout")]


def _layer_steps(
    config: BertConfig, layer: BertLayerParameters, path: str, hidden: str, inputs: Inputs
) -> list[Step]:
    """Return the steps of one layer, whose input is the step `hidden`."""
    attention = f"{path}.attention"
    wide = _linear_step(f"{path}.intermediate.dense", attention, layer.intermediate.dense, "BTI")
    return [
        *_attention_steps(config, layer, f"{attention}.self", hidden, inputs),
        *_output_steps(
            config, layer.attention.output, f"{attention}.output", f"{attention}.self", hidden
        ),
        _same(attention, f"{attention}.output"),
        wide,
        Step(
            name=f"{path}.intermediate",
            kind="activation",
            axes="BTI",
            inputs=(wide.name,),
            function=activate,
            arguments={"activation": ACTIVATIONS[config.activation].forward},
        ),
        *_output_steps(config, layer.output, f"{path}.output", f"{path}.intermediate", attention),
        _same(path, f"{path}.output"),
    ]


def _attention_steps(
    config: BertConfig, layer: BertLayerParameters, path: str, hidden: str, inputs: Inputs
) -> list[Step]:
    """Return self-attention, from the projections to the context."""
    heads = config.num_attention_heads
    setting = {"heads": heads, "mask": inputs.attention_mask}
    scale = 1.0 / math.sqrt(config.hidden_size // heads)
    own = layer.attention.self
    return [
        *(
            _linear_step(f"{path}.{name}", hidden, getattr(own, name), "BTH")
            for name in ("query", "key", "value")
        ),
        Step(
            name=f"{path}.scores",
            kind="scores",
            axes="BATT",
            inputs=(f"{path}.query", f"{path}.key"),
            function=scores,
            arguments={**setting, "scale": scale},
        ),
        Step(
            name=f"{path}.probs",
            kind="probs",
            axes="BATT",
            inputs=(f"{path}.scores",),
            function=softmax,
        ),
        _dropout_step(
            f"{path}.dropout", f"{path}.probs", config.attention_probs_dropout_prob, "BATT"
        ),
        Step(
            name=path,
            kind="context",
            axes="BTH",
            inputs=(f"{path}.dropout", f"{path}.value"),
            function=context,
            arguments=setting,
        ),
    ]


def _output_steps(config: BertConfig, own: Any, path: str, x: str, residual: str) -> list[Step]:
    """Return a dense layer over `x`, dropout, the residual sum and its LayerNorm."""
    norm = f"{path}.LayerNorm"
    return [
        _linear_step(f"{path}.dense", x, own.dense, "BTH"),
        _dropout_step(f"{path}.dropout", f"{path}.dense", config.hidden_dropout_prob),
        Step(
            name=f"{path}.sum",
            kind="residual",
            axes="BTH",
            inputs=(f"{path}.dropout", residual),
            function=add,
        ),
        *_norm_steps(norm, f"{path}.sum", own.LayerNorm, config),
        _same(path, norm),
    ]


def _norm_steps(path: str, x: str, norm: LayerNormParameters, config: BertConfig) -> list[Step]:
    """Return LayerNorm and its parts, each from the rows that are normalized."""
    arguments = {"weight": norm.weight, "bias": norm.bias, "eps": config.layer_norm_eps}
    return [
        Step(
            name=path if part == "output" else f"{path}.{part}",
            kind="layer_norm",
            axes="BT1" if part in ("mean", "variance", "rstd") else "BTH",
            inputs=(x,),
            function=norm_part,
            arguments={**arguments, "part": part},
        )
        for part in ("mean", "variance", "rstd", "normalized", "output")
    ]


def _linear_step(name: str, x: str, own: Any, axes: str) -> Step:
    """Return a dense layer."""
    arguments = {"weight": own.weight, "bias": own.bias}
    return Step(
        name=name, kind="linear", axes=axes, inputs=(x,), function=dense, arguments=arguments
    )


def _dropout_step(name: str, x: str, p: float, axes: str = "BTH") -> Step:
    """Return dropout, which is off."""
    arguments = {"p": p}
    return Step(
        name=name, kind="dropout", axes=axes, inputs=(x,), function=same, arguments=arguments
    )


def _same(name: str, x: str) -> Step:
    """Return a second name for what another step returns."""
    return Step(name=name, kind="same", axes="BTH", inputs=(x,), function=same)


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"
