"""The parts that few models have, in a whole model: by the kernels, in steps, and who is blamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertConfig, CheckpointError
from numpy_bert.kernels.encoder import EncoderKernel
from numpy_bert.model.family import model_class
from numpy_bert.parameters import EmbeddingParameters, arrays_of
from numpy_bert.trace import named_steps
from tests.support.checkpoints import TINY
from tests.support.traces import IDS

SIZES = {name: value for name, value in TINY.items() if name not in ("model_type", "hidden_act")}
# By the part: the architecture that has it, and its settings.
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "embeddings.task_type_embeddings": ("ernie", {"use_task_id": True}),
    "embeddings_project": ("electra", {"embedding_size": 10}),
    "encoder.relative_attention_bias": ("mpnet", {}),
    "encode_proj": ("dpr", {"projection_dim": 5}),
}
every_part = pytest.mark.parametrize("part", PARTS)
GIVEN = {name: IDS[name] for name in ("input_ids", "attention_mask")}


def model_with(part: str, dtype: str = "float32") -> Any:
    """Return a new model that has a part, with numbers everywhere."""
    kind, settings = PARTS[part]
    known = BertConfig(model_type=kind).to_dict()
    config = BertConfig.from_dict(
        {
            "model_type": kind,
            **{name: value for name, value in SIZES.items() if name in known},
            "initializer_range": 0.3,
            **settings,
        }
    )
    made = model_class(config, "Model")
    model = made(config, seed=1)
    return made(config, _cast(model.parameters, dtype))


def _cast(tree: Any, dtype: str) -> Any:
    if isinstance(tree, tuple):
        return tuple(_cast(item, dtype) for item in tree)
    if isinstance(tree, np.ndarray):
        return tree.astype(dtype)
    if tree is None:
        return None
    return replace(tree, **{f: _cast(getattr(tree, f), dtype) for f in tree.__dataclass_fields__})


def spoiled(tree: Any, path: list[str], value: float) -> Any:
    """Return parameters in which the first number of a weight is another."""
    if not path:
        weight = np.array(tree.weight)
        weight.flat[0] = value
        return replace(tree, weight=weight)
    return replace(tree, **{path[0]: spoiled(getattr(tree, path[0]), path[1:], value)})


@every_part
def test_a_call_computes_what_the_steps_show(
    part: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = model_with(part, dtype), []
    real = EncoderKernel.__call__

    def call(self: EncoderKernel, *rows: Any, **others: Any) -> bool:
        calls.append(len(rows))
        return real(self, *rows, **others)

    monkeypatch.setattr(EncoderKernel, "__call__", call)
    assert part.split(".")[-1] in {key.split(".")[-2] for key, _ in arrays_of(model.parameters)}
    output = model(**GIVEN, output_hidden_states=True, unpad_inputs=False)
    assert calls == ([2] if dtype == "float32" else [])
    steps = model.steps(**GIVEN)
    first = (
        steps.embeddings.output if steps.embeddings_project is None else steps.embeddings_project
    )
    states = [first, *(layer.output.output for layer in steps.encoder.layer)]
    for found, expected in zip(output.hidden_states, states, strict=True):
        assert np.abs(found - expected).max() <= 2e-5
    if steps.pooler is not None:
        assert np.abs(output.pooler_output - steps.pooler.output).max() <= 2e-5
    tokens = GIVEN["attention_mask"] == 1
    places = np.flatnonzero(tokens)[[8, 0, 3]]
    some = model.hidden_at(model.inputs(**GIVEN), places)
    last = output.last_hidden_state.reshape(-1, output.last_hidden_state.shape[-1])
    assert np.abs(some - last[places]).max() <= 2e-5


@every_part
def test_the_trace_has_the_step_at_its_place(part: str, dtype: str) -> None:
    model = model_with(part, dtype)
    trace = dict(model.trace(**GIVEN))
    names = list(trace)
    before, shape = {
        "embeddings.task_type_embeddings": ("embeddings.position_embeddings", (3, 7, 24)),
        "embeddings_project": ("embeddings", (3, 7, 24)),
        "encoder.relative_attention_bias": ("embeddings", (7, 7, 4)),
        "encode_proj": ("encoder", (3, 5)),
    }[part]
    name = "pooler.dense" if part == "encode_proj" else part
    assert names[names.index(name) - 1] == before
    assert trace[name].shape == shape
    assert all(array.dtype == dtype for key, array in trace.items() if "LayerNorm." not in key)
    assert names == [name for name, _ in named_steps(model.steps(**GIVEN), "")]


def test_the_table_of_tasks_is_called_as_in_transformers() -> None:
    model = model_with("embeddings.task_type_embeddings")
    rows = model.embeddings.task_type_embeddings([[0, 2]])
    table = model.parameters.embeddings.task_type_embeddings.weight
    assert np.array_equal(rows, table[[[0, 2]]])
    assert not hasattr(model_with("embeddings_project").embeddings, "task_type_embeddings")


def test_a_task_that_is_not_read_is_not_blamed() -> None:
    model = model_with("embeddings.task_type_embeddings")
    tables = model.parameters.embeddings
    tasks, scale = np.array(tables.task_type_embeddings.weight), np.array(tables.LayerNorm.weight)
    tasks[1], scale[5] = np.nan, np.inf
    unread = replace(tables, task_type_embeddings=EmbeddingParameters(weight=tasks))
    fine = type(model)(model.config, replace(model.parameters, embeddings=unread))
    assert np.isfinite(fine(**GIVEN).last_hidden_state).all()
    huge = replace(unread, LayerNorm=replace(unread.LayerNorm, weight=scale))
    bad = type(model)(model.config, replace(model.parameters, embeddings=huge))
    with pytest.raises(CheckpointError, match=r"embeddings\.LayerNorm\.weight\[5\] = inf"):
        bad(**GIVEN)


@every_part
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(part: str, value: float, dtype: str) -> None:
    model = model_with(part, dtype)
    bad = type(model)(model.config, spoiled(model.parameters, part.split("."), value))
    with pytest.raises(CheckpointError, match=rf"{part}\.weight\[0, 0\] = {value}"):
        bad(**GIVEN)
