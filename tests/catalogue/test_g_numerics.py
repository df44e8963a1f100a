"""Rows G1 to G8 of the catalogue: large, small, constant and infinite numbers, and dtypes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertModel,
    CheckpointError,
    CrossEncoder,
    InputError,
    SentenceEncoder,
    set_num_threads,
)
from numpy_bert.arrays import Array
from numpy_bert.loading.cache import demo_folder
from numpy_bert.ops.attention import attention
from numpy_bert.ops.dropout import dropout
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.training import new_classifier
from tests.support.arrays import far
from tests.support.checkpoints import TINY, random_tensors, serialize, write_checkpoint
from tests.support.sentence_models import dense_files, write
from tests.support.traces import tiny
from tests.tolerances import ACROSS_BATCHES, float32_budget

H = 768
RNG = np.random.default_rng(1)
SPIKE = np.ones(H)
SPIKE[5] = 1e30
ROWS = {
    **{f"mean 1e{n}": 10.0**n + RNG.standard_normal(H) for n in range(2, 7)},
    "spike": SPIKE,
    "denormal": RNG.standard_normal(H) * 1e-42,
    "largest": np.linspace(-3e38, 3e38, H),
    "constant": np.full(H, 1e30),
}


def both(row: Array, weight: Array, bias: Array) -> Iterator[Array]:
    """Yield a row normalized by the readable code, and by the kernel that the embedding uses."""
    from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace

    yield layer_norm(row, weight, bias, eps=1e-12).output
    rows = row[np.newaxis].copy()
    with np.errstate(all="ignore"):
        assert LayerNormKernel(weight, bias, eps=1e-12)(rows, LayerNormWorkspace(8, H))
    yield rows[0]


@pytest.mark.parametrize("name", ROWS)
def test_g1_layer_norm_of_extreme_rows_is_near_float64(name: str) -> None:
    row = ROWS[name].astype(np.float32)
    weight = np.linspace(0.5, 2, H).astype(np.float32)
    bias = np.linspace(-1, 1, H).astype(np.float32)
    wide = (array.astype(np.float64) for array in (row, weight, bias))
    expected = layer_norm(*wide, eps=1e-12).output
    for found in both(row, weight, bias):
        assert found.dtype == np.float32
        assert far(found, expected) <= float32_budget(expected)
        if name == "constant":
            assert np.array_equal(found, bias)


@pytest.mark.parametrize("dtype", ["float16", np.float16, "bfloat16", "int8", "float128"])
def test_g2_half_precision_is_not_computed_in(dtype: Any) -> None:
    """Computing in 16 bits is refused; tables stored so are widened, and sums are float64's."""
    with pytest.raises(InputError, match=r"^dtype must be 'float32' or 'float64'; got"):
        BertModel.from_pretrained("demo", dtype=dtype)


def test_g2_tables_of_half_precision_are_computed_with_in_float32(tmp_path: Path) -> None:
    halves = {key: array.astype(np.float16) for key, array in random_tensors().items()}
    models = [
        BertModel.from_pretrained(write_checkpoint(tmp_path / name, tensors))
        for name, tensors in (("half", halves), ("single", random_tensors()))
    ]
    found = [model([[1, 2, 3]]).last_hidden_state for model in models]
    assert found[0].dtype == np.float32
    assert np.array_equal(found[0], found[1])


def test_g3_the_least_number_and_a_very_negative_score_make_no_nan(dtype: str) -> None:
    size = math.sqrt(float(np.finfo(dtype).max)) / 4
    query = np.full((1, 1, 2, 1), size, dtype)
    key = np.array([1.0, -1.0], dtype).reshape(1, 1, 2, 1) * query
    value = np.array([3.0, 5.0], dtype).reshape(1, 1, 2, 1)
    with np.errstate(over="raise", invalid="raise"):
        steps = attention(query, key, value, np.array([[False, True]]))
    assert steps.probs.tolist() == [[[[0.0, 1.0], [0.0, 1.0]]]]
    assert steps.output.tolist() == [[[[5.0], [5.0]]]]


@pytest.mark.parametrize("way", ["call", "steps", "packed"])
def test_g4_a_score_that_is_not_finite_names_the_step_that_made_it(
    tmp_path: Path, way: str
) -> None:
    tensors = random_tensors()
    key = "encoder.layer.0.attention.self.key.weight"
    tensors[key] = np.where(tensors[key] < 0, -3e36, 3e36).astype(np.float32)
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    ways: dict[str, Callable[[], object]] = {
        "call": lambda: model([[1, 2, 3]]),
        "steps": lambda: model.steps([[1, 2, 3]]),
        "packed": lambda: model.packed([1, 2, 3], [3]),
    }
    with pytest.raises(CheckpointError, match=r"so large that encoder.*0.*scores overflows float"):
        ways[way]()


INFINITE = {
    "a pooler": ("pooler.dense.bias", np.inf),
    "a GELU": ("encoder.layer.0.intermediate.dense.bias", -np.inf),
    "a head": ("cls.predictions.transform.dense.bias", -np.inf),
    "a NaN": ("encoder.layer.1.attention.self.query.weight", np.nan),
}


@pytest.mark.parametrize("name", INFINITE)
def test_g4_an_infinite_weight_is_named_though_the_result_is_finite(
    tmp_path: Path, dtype: str, name: str
) -> None:
    key, value = INFINITE[name]
    tensors = random_tensors(heads=True)
    tensors[key].flat[3] = value
    folder = write_checkpoint(tmp_path, tensors)
    kind = BertForMaskedLM if name == "a head" else BertModel
    model = kind.from_pretrained(folder, dtype=dtype)  # a mapped file is not read whole
    place = f"{key}[3] = {value}" if tensors[key].ndim == 1 else f"{key}[0, 3] = {value}"
    with pytest.raises(CheckpointError) as caught:
        model([[1, 2, 3]])
    assert str(caught.value) == (
        f"{folder / 'model.safetensors'}: {place}: this weight is not finite, so no result means "
        "anything. `numpy-bert inspect --check` lists all such tensors."
    )


def test_g4_so_is_one_of_a_sentence_module_or_a_cross_encoder(tmp_path: Path) -> None:
    files = dense_files()
    tensors = {"linear.weight": np.ones((5, 128), np.float32), "linear.bias": np.zeros(5, "f4")}
    tensors["linear.bias"][2] = -np.inf  # of which tanh makes -1
    files["2_Dense/model.safetensors"] = serialize(tensors)
    with pytest.raises(CheckpointError, match=r"linear\.bias\[2\] = -inf: this weight is not fini"):
        SentenceEncoder(write(tmp_path / "sentence", files, model=True))
    bert = BertModel.from_pretrained(demo_folder())
    model = new_classifier(bert, ["score"], demo_folder())
    arrays = {name: array.copy() for name, array in model.named_parameters()}
    arrays["bert.pooler.dense.bias"][7] = np.inf
    model.with_parameters(arrays).save_pretrained(tmp_path / "cross")
    with pytest.raises(CheckpointError, match=r"pooler\.dense\.bias\[7\] = inf"):
        CrossEncoder(tmp_path / "cross").predict([("a", "b")])


@pytest.mark.parametrize("p", [-1.0, 1.5, math.nan, math.inf])
def test_g5_dropout_is_off_in_inference_and_its_rate_is_a_probability(p: float) -> None:
    x, rng = np.ones(8), np.random.default_rng(0)
    assert dropout(x, 0.5).output is x
    assert np.array_equal(dropout(x, 0.0, rng=rng).output, x)
    assert not dropout(x, 1.0, rng=rng).output.any()
    with pytest.raises(InputError, match=r"^dropout: p must be"):
        dropout(x, p)


def test_g6_numpy_may_be_set_to_raise_and_stays_so(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["embeddings.word_embeddings.weight"][4] = 1e-42
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    encoder = SentenceEncoder("demo")
    expected = model([[4, 5]]).last_hidden_state, encoder.encode(["a"])
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model([[4, 5]]).last_hidden_state, encoder.encode(["a"])
        assert set(np.geterr().values()) == {"raise"}
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.usefixtures("threads")
def test_g7_threads_and_batches_differ_by_roundings_alone(tmp_path: Path) -> None:
    """A row of the embedding is equal to the bit; what the budget is stands in tolerances.py."""
    model = tiny(tmp_path)
    ids = np.random.default_rng(0).integers(0, TINY["vocab_size"], (67, 13))
    set_num_threads(1)
    alone = model(ids).last_hidden_state, model.embeddings(ids)
    for number in (2, 3):
        set_num_threads(number)
        found = model(ids).last_hidden_state, model.embeddings(ids)
        assert far(found[0], alone[0]) <= ACROSS_BATCHES
        assert np.array_equal(found[1], alone[1])
    assert far(model(ids[5:6]).last_hidden_state[0], alone[0][5]) <= ACROSS_BATCHES


def test_g8_every_result_has_the_models_dtype(tmp_path: Path, dtype: str) -> None:
    """NumPy 1 and 2 promote scalars differently; nothing here depends on it.

    Not here: the tests on the lowest version are a job of the CI (`scripts/check lowest`).
    """
    model = tiny(tmp_path, dtype)
    for name, array in model.trace([[1, 2, 3]], [[1, 1, 0]]):
        assert array.dtype in (dtype, np.float64 if "LayerNorm" in name else dtype), name
    output = model([[1, 2]], output_hidden_states=True, output_attentions=True)
    assert output.hidden_states is not None
    assert output.attentions is not None
    assert output.pooler_output is not None
    for found in (*output.hidden_states, *output.attentions, output.pooler_output):
        assert found.dtype == dtype
