"""The table of steps is the model: what it computes is what the readable code computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.traces.layout import shape_of, sizes_of
from numpy_bert.traces.trace_inputs import TraceInputs, inputs_of
from numpy_bert.verification.steps import Step, segment_of, steps_of
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.traces import IDS, Arrays, exact, trained_like


def table(model: Any, ids: Any = IDS) -> tuple[dict[str, Step], TraceInputs]:
    inputs = inputs_of(ids, model)
    return steps_of(model.config, model.parameters, inputs), inputs


def run(steps: dict[str, Step], dtype: str = "float64") -> Arrays:
    values: Arrays = {}
    for name, step in steps.items():
        values[name] = step.run(values, dtype)
    return values


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_what_the_model_computes_to_the_bit(tmp_path: Path, activation: str) -> None:
    model = exact(trained_like(tmp_path, hidden_act=activation))
    steps, inputs = table(model)
    expected = dict(model.trace(*inputs))
    found = run(steps)
    assert list(found) == list(expected)
    sizes = sizes_of(model.config, 3, 7)
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name
        assert shape_of(name, steps[name].axes, sizes) == array.shape, name


@pytest.mark.parametrize("bfloat16", [False, True])
def test_tables_that_are_stored_in_half(tmp_path: Path, bfloat16: bool) -> None:
    tensors = {key: array * np.float32(0.25) for key, array in random_tensors().items()}
    if not bfloat16:
        tensors = {key: array.astype("f2") for key, array in tensors.items()}
    model = exact(write_checkpoint(tmp_path, tensors, bfloat16=bfloat16))
    steps, inputs = table(model, {"input_ids": IDS["input_ids"]})
    for (name, array), found in zip(model.trace(*inputs), run(steps).values(), strict=True):
        assert np.array_equal(found, array), name


def test_float32_is_the_yardstick_of_rounding(tmp_path: Path) -> None:
    """It must not be better than a plain implementation, nor be anything else."""
    model = exact(trained_like(tmp_path))
    steps, _ = table(model)
    wide, narrow = run(steps), run(steps, "float32")
    for name, array in narrow.items():
        assert array.dtype == np.float32, name
        real = np.abs(wide[name]) < 1e30
        size = np.abs(wide[name][real]).max()
        assert np.abs(array - wide[name])[real].max() <= 100 * np.finfo("f4").eps * size, name
    assert any(np.abs(narrow[n] - wide[n]).max() > 0 for n in wide if n.endswith(".query"))


def test_without_a_pooler_and_with_the_embedding_alone(tmp_path: Path) -> None:
    tensors = {k: v for k, v in random_tensors().items() if not k.startswith("pooler.")}
    model = exact(write_checkpoint(tmp_path, tensors))
    steps, inputs = table(model)
    assert list(steps)[-1] == "encoder"
    from numpy_bert import BertModel

    part = BertModel.from_pretrained(tmp_path, dtype="float64", only="embeddings")
    names = list(steps_of(part.config, part.parameters, inputs))
    assert names[-1] == "embeddings"


def test_a_segment_goes_back_to_what_is_held(tmp_path: Path) -> None:
    model = exact(trained_like(tmp_path))
    steps, _ = table(model)
    values = run(steps)
    path = "encoder.layer.1.attention"
    held = {"encoder.layer.0", f"{path}.self.value", f"{path}.self.probs"}
    segment = segment_of(f"{path}.output.LayerNorm", steps, held)
    assert [step.name.removeprefix(f"{path}.") for step in segment.steps] == [
        "self.dropout",
        "self",
        "output.dense",
        "output.dropout",
        "output.sum",
        "output.LayerNorm",
    ]
    assert set(segment.inputs) == held
    arrays = {name: values[name] for name in held}
    assert np.array_equal(segment.run(arrays), values[segment.target.name])
    assert set(arrays) == held
    whole = segment_of("pooler", steps, ())
    assert whole.inputs == ()
    assert np.array_equal(whole.run({}), values["pooler"])
    assert TINY["num_hidden_layers"] == 2
