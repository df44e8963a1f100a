"""numpy_bert.loading.weights: the values of weights: cast, mapped, finite, tied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import BertModel
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.stored import StoredTensor
from numpy_bert.loading.weights import read_weight
from tests.support.checkpoints import (
    Tensors,
    bfloat16_bits,
    random_tensors,
    serialize,
    write_checkpoint,
)

WORD = "embeddings.word_embeddings.weight"


def stored(folder: Path, array: npt.NDArray[Any], code: str | None = None) -> StoredTensor:
    path = folder / "model.safetensors"
    path.write_bytes(serialize({"w": array}, codes={"w": code} if code else {}))
    return open_checkpoint(folder).tensors["w"]


@pytest.mark.parametrize("value", [1e39, -3.5e38, np.finfo(np.float64).max])
def test_a_double_that_does_not_fit_is_refused(value: float, tmp_path: Path) -> None:  # A16
    tensors: Tensors = random_tensors()
    tensors[WORD] = tensors[WORD].astype(np.float64)
    tensors[WORD][3, 5] = tensors[WORD][4, 1] = value
    folder = write_checkpoint(tmp_path, tensors)
    with pytest.raises(CheckpointError) as raised:
        BertModel.from_pretrained(folder)
    assert str(raised.value) == (
        f"{folder / 'model.safetensors'}: {WORD}[3, 5] = {value} does not fit into float32; load "
        "with dtype='float64'."
    )
    model = BertModel.from_pretrained(folder, dtype="float64")
    assert model.embeddings.word_embeddings.weight[3, 5] == value


@pytest.mark.parametrize("mapped", [True, False])
def test_casts_disturb_nobody(mapped: bool, tmp_path: Path) -> None:
    """A16, G6: subnormals, NaN of every kind and stored infinities, whatever the caller traps."""
    bits = np.array([1, 0x7FF0000000000001, 0x7FF8000000000000], np.uint64)
    values = np.concatenate([bits.view(np.float64), [np.inf, -np.inf, 1e-300, 0.1]])
    with np.errstate(all="raise"):
        single = read_weight(stored(tmp_path, values), np.dtype("float32"), mapped=mapped)
    expected = np.array([0, np.nan, np.nan, np.inf, -np.inf, 0, 0.1], np.float32)
    assert np.array_equal(single, expected, equal_nan=True)
    snan = np.array([0x7F800001, 0x3F800000], np.uint32).view(np.float32)
    with np.errstate(all="raise"):
        double = read_weight(stored(tmp_path, snan), np.dtype("float64"), mapped=mapped)
    assert np.array_equal(double, [np.nan, 1.0], equal_nan=True)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("source", ["F64", "F32", "F16", "BF16"])
def test_weights_are_read_only(mapped: bool, source: str, dtype: str, tmp_path: Path) -> None:
    values = np.array([1.5, -2.25, 0.0], np.float32)
    types = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
    array = bfloat16_bits(values) if source == "BF16" else values.astype(types[source])
    found = read_weight(stored(tmp_path, array, source), np.dtype(dtype), mapped=mapped)
    assert found.dtype == dtype
    assert found.tolist() == values.tolist()
    assert not found.flags.writeable


@pytest.mark.parametrize(
    ("mmap", "stored", "wanted", "mapped"),
    [
        (True, "float32", "float32", True),
        (True, "float16", "float32", True),
        (True, "bfloat16", "float32", True),
        (True, "float32", "float64", True),
        (False, "float32", "float32", False),
        (False, "bfloat16", "float32", False),
        (True, "float64", "float32", False),
    ],
)
def test_tables_are_mapped_as_stored_unless_they_must_be_copied(
    mmap: bool, stored: str, wanted: str, mapped: bool, tmp_path: Path
) -> None:  # A21
    narrow = "float32" if stored == "bfloat16" else stored
    tensors = {key: array.astype(narrow) for key, array in random_tensors().items()}
    path = write_checkpoint(tmp_path, tensors, bfloat16=stored == "bfloat16") / "model.safetensors"
    model = BertModel.from_pretrained(tmp_path, mmap=mmap, dtype=wanted)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))  # in place
    expected = np.zeros((61, 24)) if mapped else random_tensors()[WORD]
    assert np.array_equal(model.embeddings.word_embeddings.weight, expected)
    assert model.embeddings.word_embeddings.weight.dtype == wanted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(value: float, tmp_path: Path) -> None:  # A15
    tensors = random_tensors()
    tensors[WORD][7, 3] = tensors[WORD][9, 2] = value
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    assert np.isfinite(model.embeddings([[6]])).all()
    with pytest.raises(CheckpointError) as raised:
        model.embeddings([[6, 7, 9]])
    file = tmp_path / "model.safetensors"
    start = f"{file}: {WORD}[7, 3] = {value}: this weight is not finite, so"
    assert str(raised.value).startswith(start)
    assert "`numpy-bert inspect --check` lists all such tensors" in str(raised.value)
