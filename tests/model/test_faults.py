"""numpy_bert.model.faults through a loaded model: what is to blame for a NaN or an infinity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, BertModel, CheckpointError
from numpy_bert.config import BertConfig
from numpy_bert.model.faults import check_finite, check_weights
from numpy_bert.model.gradients import BertRun
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertPoolerParameters,
    LinearParameters,
    shapes,
)
from tests.support.checkpoints import TINY, Tensors, random_tensors, write_checkpoint

CONFIG = BertConfig.from_dict(TINY)
KEYS = list(
    shapes(BertEncoderParameters, CONFIG, "encoder.")
    | shapes(BertPoolerParameters, CONFIG, "pooler.")
)
IDS = np.array([[1, 2, 3]])
DENSE = "encoder.layer.1.output.dense.weight"


def load(folder: Path, tensors: Tensors, dtype: str = "float32") -> BertModel:
    return BertModel.from_pretrained(write_checkpoint(folder, tensors), dtype=dtype)


def blamed(model: BertModel, **arguments: Any) -> str:
    """Return what is said of a call, without the file before it."""
    with pytest.raises(CheckpointError) as raised:
        model(**(arguments or {"input_ids": IDS}))
    source, message = str(raised.value).split(": ", 1)
    assert source == model.loading_info.files[0]
    return message


@pytest.mark.parametrize("key", KEYS)
def test_a_nan_in_any_parameter_is_found_and_named(tmp_path: Path, key: str) -> None:
    tensors = random_tensors()
    index = (5, 3) if tensors[key].ndim == 2 else (3,)
    tensors[key][index] = np.nan
    assert blamed(load(tmp_path, tensors)) == (
        f"{key}{list(index)} = nan: this weight is not finite, so no result means anything. "
        "`numpy-bert inspect --check` lists all such tensors."
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_so_is_an_infinity(tmp_path: Path, value: float, dtype: str) -> None:
    tensors = random_tensors()
    tensors[DENSE][3, 5] = value
    assert blamed(load(tmp_path, tensors, dtype)).startswith(f"{DENSE}[3, 5] = {value}: this")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("key", KEYS)
def test_an_infinity_in_any_parameter_is_found_though_a_function_hides_it(
    tmp_path: Path, key: str, value: float
) -> None:
    tensors = random_tensors()
    index = (5, 3) if tensors[key].ndim == 2 else (3,)
    tensors[key][index] = value
    model = load(tmp_path, tensors)
    for _ in range(2):  # not only at the first use
        assert blamed(model).startswith(f"{key}{list(index)} = {value}: this weight is not finite")


@pytest.mark.parametrize("way", ["steps", "trace", "packed", "gradients"])
def test_it_is_found_whatever_the_model_is_asked_for(tmp_path: Path, dtype: str, way: str) -> None:
    tensors = random_tensors()
    tensors["encoder.layer.1.intermediate.dense.bias"][4] = -np.inf  # of which GELU makes 0
    model = load(tmp_path, tensors, dtype)
    calls: dict[str, Callable[[], object]] = {
        "steps": lambda: model.steps(IDS),
        "trace": lambda: list(model.trace(IDS)),
        "packed": lambda: model.packed([1, 2, 3], [3]),
        "gradients": lambda: BertRun(model, model.inputs(IDS)),
    }
    with pytest.raises(CheckpointError, match=r"1\.intermediate\.dense\.bias\[4\] = -inf"):
        calls[way]()


def test_weights_whose_sum_overflows_are_finite() -> None:
    large = np.full((2, 3), np.finfo(np.float32).max)
    check_weights({"dense.": LinearParameters(weight=large, bias=large[0])}, source="x")
    large[1, 2] = np.inf
    with pytest.raises(CheckpointError, match=r"x: dense\.weight\[1, 2\] = inf"):
        check_weights({"dense.": LinearParameters(weight=large, bias=large[0])}, source="x")


def test_a_pooler_that_nobody_reads_is_not_looked_at(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["pooler.dense.weight"][5, 3] = np.inf
    assert np.isfinite(load(tmp_path, tensors).packed([1, 2, 3], [3])).all()


def test_what_a_heads_activation_hides_is_found(tmp_path: Path) -> None:
    tensors = random_tensors(heads=True)
    key = "cls.predictions.transform.dense.bias"
    tensors[key][7] = -np.inf
    model = BertForMaskedLM.from_pretrained(write_checkpoint(tmp_path, tensors))
    with pytest.raises(CheckpointError, match=rf"{key}\[7\] = -inf: this weight is not finite"):
        model(IDS)
    with pytest.raises(CheckpointError, match=rf"{key}\[7\] = -inf: this weight is not finite"):
        model.loss_and_gradients({"input_ids": IDS, "labels": IDS})


def test_the_first_of_several_is_named(tmp_path: Path) -> None:
    tensors = random_tensors()
    for key in ("pooler.dense.bias", "encoder.layer.1.attention.self.value.bias", DENSE):
        tensors[key][3:] = np.nan
    message = blamed(load(tmp_path, tensors))
    assert message.startswith("encoder.layer.1.attention.self.value.bias[3] = nan")
    del tensors["encoder.layer.1.attention.self.value.bias"]
    tensors = random_tensors() | tensors
    tensors["embeddings.LayerNorm.weight"][2] = np.nan
    message = blamed(load(tmp_path / "embeddings", tensors))
    assert message.startswith("embeddings.LayerNorm.weight[2] = nan")


def test_a_pooler_alone_is_blamed(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["pooler.dense.weight"][5, 3] = np.nan
    model = load(tmp_path, tensors)
    assert blamed(model).startswith("pooler.dense.weight[5, 3] = nan")


@pytest.mark.parametrize(
    ("part", "size", "step"),
    [
        ("0.attention.self.key.weight", 3e38, "0.attention.self.key"),
        ("0.attention.self.key.weight", 3e36, "0.attention.self.scores"),
        ("1.intermediate.dense.weight", 3e38, "1.intermediate.dense"),
        ("1.output.dense.weight", 3e38, "1.output.dense"),
        ("1.output.LayerNorm.weight", 3e38, "1.output.LayerNorm"),
    ],
)
def test_finite_weights_that_overflow_name_the_first_step(
    tmp_path: Path, part: str, size: float, step: str
) -> None:
    tensors = random_tensors()
    key, step = f"encoder.layer.{part}", f"encoder.layer.{step}"
    tensors[key] = np.where(tensors[key] < 0, -size, size).astype(np.float32)
    assert blamed(load(tmp_path, tensors)) == (
        f"its weights are finite, but so large that {step} overflows float32; "
        "load with dtype='float64'."
    )
    assert np.isfinite(load(tmp_path, tensors, "float64")(IDS).last_hidden_state).all()


def test_float64_is_not_sent_to_float64(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors[DENSE] = np.full(tensors[DENSE].shape, 1e308)
    assert blamed(load(tmp_path, tensors, "float64")) == (
        "its weights are finite, but so large that encoder.layer.1.output.dense overflows float64."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_callers_own_numbers_pass_through(tmp_path: Path, value: float) -> None:
    tensors = random_tensors()
    rows = np.ones((2, 3, TINY["hidden_size"]), np.float32)
    rows[1, 2, 7] = value
    output = load(tmp_path, tensors)(inputs_embeds=rows)
    assert np.isnan(output.last_hidden_state[1]).all()
    assert np.isfinite(output.last_hidden_state[0]).all()
    assert output.pooler_output is not None
    assert np.isfinite(output.pooler_output[0]).all()
    # A weight is blamed all the same, and so is an overflow that those numbers did not cause.
    tensors[DENSE][0, 0] = np.nan
    bad = load(tmp_path / "nan", tensors)
    assert blamed(bad, inputs_embeds=rows).startswith(f"{DENSE}[0, 0] = nan")
    tensors[DENSE][:] = 3e38
    large = load(tmp_path / "large", tensors)
    assert f"{DENSE.removesuffix('.weight')} overflows" in blamed(large, inputs_embeds=rows[:1])


def test_only_a_result_that_is_not_finite_has_the_weights_read() -> None:
    class Unread(dict[str, object]):
        def items(self) -> None:  # type: ignore[override]
            raise AssertionError("the weights were read")

    results = (np.ones((2, 3)), None, np.zeros((0, 3)))
    check_finite(results, Unread(), steps=(), source="x")
    with pytest.raises(AssertionError, match="were read"):
        check_finite((*results, np.array(np.nan)), Unread(), steps=(), source="x")


@pytest.mark.parametrize("stored", ["F16", "BF16"])
def test_a_table_as_it_is_stored_is_read_by_its_used_rows(tmp_path: Path, stored: str) -> None:
    tensors = random_tensors()
    key = "embeddings.word_embeddings.weight"
    tensors[key][[5, 7], [4, 11]] = np.inf, -np.inf
    if stored == "F16":
        tensors = {name: array.astype(np.float16) for name, array in tensors.items()}
    folder = write_checkpoint(tmp_path, tensors, bfloat16=stored == "BF16")
    model = BertModel.from_pretrained(folder)
    assert blamed(model, input_ids=np.array([[6, 7, 5]])).startswith(f"{key}[7, 11] = -inf:")
    assert np.isfinite(model([[6, 8]]).last_hidden_state).all()


def test_the_segments_in_use_are_blamed_and_no_other(tmp_path: Path) -> None:
    tensors = random_tensors()
    key = "embeddings.token_type_embeddings.weight"
    tensors[key][[1, 2], [4, 11]] = np.nan, np.inf
    model = load(tmp_path, tensors)
    segments = np.array([[0, 2, 1]])
    message = blamed(model, input_ids=IDS, token_type_ids=segments)
    assert message.startswith(f"{key}[2, 11] = inf:")
    assert np.isfinite(model(IDS).last_hidden_state).all()
    rows = np.ones((1, 3, TINY["hidden_size"]), np.float32)
    message = blamed(model, inputs_embeds=rows, token_type_ids=segments % 2)
    assert message.startswith(f"{key}[1, 4] = nan:")
