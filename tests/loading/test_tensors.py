"""numpy_bert.loading.tensors: complete, of the right shapes, of one dtype, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import BertConfig, BertModel
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.stored import StoredTensor
from numpy_bert.loading.tensors import LoadingInfo, check_weights, read_weight
from tests.support.checkpoints import (
    TINY,
    Tensors,
    bfloat16_bits,
    random_tensors,
    serialize,
    write_checkpoint,
)
from tests.support.limits import within

WORD = "embeddings.word_embeddings.weight"
POSITION = "embeddings.position_embeddings.weight"
NORM = "embeddings.LayerNorm.weight"
BIAS = "embeddings.LayerNorm.bias"
DENSE = "encoder.layer.1.output.dense.weight"
CONFIG = BertConfig.from_dict(TINY)


def check(folder: Path, dtype: str = "float32") -> LoadingInfo:
    return check_weights(open_checkpoint(folder), CONFIG, np.dtype(dtype))


def refusal(folder: Path, tensors: Tensors, **codes: Any) -> str:
    """Return what `from_pretrained` says of a checkpoint, without the path before it."""
    write_checkpoint(folder, tensors, **codes)
    with pytest.raises(CheckpointError) as raised, within(10):
        BertModel.from_pretrained(folder)
    start = f"{folder / 'model.safetensors'}: "
    assert str(raised.value).startswith(start)
    message = str(raised.value).removeprefix(start)
    assert all(line.isprintable() and len(line) < 600 for line in message.splitlines())
    assert len(message.splitlines()) < 70
    return message


def without(*keys: str, heads: bool = False) -> Tensors:
    return {key: a for key, a in random_tensors(heads=heads).items() if key not in keys}


def test_a_complete_checkpoint_has_nothing_to_report(tmp_path: Path) -> None:
    info = check(write_checkpoint(tmp_path))
    assert info == LoadingInfo(
        files=(str(tmp_path / "model.safetensors"),),
        missing_keys=(),
        unexpected_keys=(),
        cast=(),
        notes=(),
    )


def test_a_missing_pooler_is_reported_and_allowed(tmp_path: Path) -> None:  # B10
    pooler = ("pooler.dense.weight", "pooler.dense.bias")
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, without(*pooler)))
    assert model.loading_info.missing_keys == pooler


@pytest.mark.parametrize("key", ["pooler.dense.weight", "pooler.dense.bias"])
def test_half_a_pooler_is_refused(key: str, tmp_path: Path) -> None:  # B10
    assert refusal(tmp_path, without(key)) == f"1 key missing.\n  missing  {key}"


@pytest.mark.parametrize("prefix", ["", "bert.", "module."])
def test_unused_tensors_are_listed_under_their_own_names(prefix: str, tmp_path: Path) -> None:
    """B11: heads, and whatever else; the position_ids buffer is neither used nor unused."""
    tensors = {prefix + key: array for key, array in random_tensors(heads=True).items()}
    tensors[f"{prefix}embeddings.position_ids"] = np.arange(19)
    tensors["\x1b[31m"] = np.zeros(3, np.int8)
    info = check(write_checkpoint(tmp_path, tensors))
    heads = [prefix + key for key in random_tensors(heads=True) if key.startswith("cls.")]
    assert len(heads) == 7
    assert list(info.unexpected_keys) == [*heads, "\x1b[31m"]
    assert info.missing_keys == ()


@pytest.mark.parametrize(("dtype", "other"), [("float32", "float64"), ("float64", "float32")])
def test_what_is_cast_is_listed(dtype: str, other: str, tmp_path: Path) -> None:  # A13, C11
    tensors = {key: array.astype(dtype) for key, array in random_tensors(heads=True).items()}
    tensors |= {WORD: tensors[WORD].astype("f2"), DENSE: bfloat16_bits(tensors[DENSE])}
    tensors[NORM] = tensors[NORM].astype(other)
    config = TINY | {"torch_dtype": "bfloat16"}  # the file, not the config, is believed
    folder = write_checkpoint(tmp_path, tensors, config, codes={DENSE: "BF16"})
    code = {"float32": "F32", "float64": "F64"}[other]
    model = BertModel.from_pretrained(folder, dtype=dtype)
    assert model.loading_info.cast == (
        (WORD, "F16", dtype),
        (NORM, code, dtype),
        (DENSE, "BF16", dtype),
    )
    assert model.dtype == dtype


def test_a_long_list_is_cut(tmp_path: Path) -> None:  # A18, B10
    tensors = {f"my_{key}": array for key, array in random_tensors().items()}
    lines = refusal(tmp_path, tensors).splitlines()
    assert lines[0] == "37 keys missing, 39 unknown."
    assert lines[21] == "  missing  ... and 17 more"
    assert lines[22] == f"  unknown  my_{WORD}   (did you mean {WORD}?)"
    assert lines[-1] == "  unknown  ... and 19 more"


@pytest.mark.parametrize(("count", "more"), [(20, []), (21, ["  unknown  ... and 1 more"])])
def test_a_list_is_cut_where_it_is_too_long(count: int, more: list[str], tmp_path: Path) -> None:
    tensors = without(DENSE) | {f"t{n:02}": np.zeros(1) for n in range(count)}
    assert refusal(tmp_path, tensors).splitlines()[21:] == ["  unknown  t19", *more]


def test_thousands_of_extra_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A18: read in bounded time, and refused so where a key is missing."""
    tensors = random_tensors()
    empty = np.zeros(0, np.float32)
    extra = {f"encoder.layer.{n}.attention.self.query.weight": empty for n in range(2, 20_000)}
    with within(10):
        folder = write_checkpoint(tmp_path / "whole", tensors | extra)
        assert len(BertModel.from_pretrained(folder).loading_info.unexpected_keys) == len(extra)
    del tensors[DENSE]
    compared: list[str] = []
    monkeypatch.setattr("numpy_bert.loading.tensors.near_miss", lambda key, _: compared.append(key))
    message = refusal(tmp_path / "less", tensors | extra)
    assert message.startswith(f"1 key missing, 19998 unknown.\n  missing  {DENSE}\n  unknown  ")
    assert len(compared) == 10_000


OTHER = "  (another model's config?)"
PADDED = "  (rows padded to a multiple of 8?)"
TURNED = "  (transposed, as TensorFlow stores it?)"


@pytest.mark.parametrize(
    ("key", "shape", "reason"),
    [
        (WORD, (64, 24), PADDED),
        (WORD, (60, 24), OTHER),
        (WORD, (61, 25), OTHER),
        (WORD, (24, 61), TURNED),
        (WORD, (61,), ""),
        (WORD, (), ""),
        (WORD, (0, 24), ""),
        (WORD, (61, 0), ""),
        (POSITION, (20, 24), OTHER),
        ("embeddings.token_type_embeddings.weight", (2, 24), OTHER),
        (NORM, (24, 1), ""),
        (NORM, (23,), OTHER),
        ("encoder.layer.0.intermediate.dense.weight", (24, 37), TURNED),
        (DENSE, (24, 38), OTHER),
    ],
)
def test_shapes_must_fit_the_config(
    key: str, shape: tuple[int, ...], reason: str, tmp_path: Path
) -> None:  # A11, B15, C9
    tensors = random_tensors(heads=True)
    expected = tensors[key].shape
    assert refusal(tmp_path, tensors | {key: np.zeros(shape, np.float32)}) == (
        "1 of the wrong shape or dtype.\n"
        f"  misfit   {key} is {shape}, config.json says {expected}{reason}"
    )


def test_a_head_that_is_not_used_need_not_fit(tmp_path: Path) -> None:
    """As in transformers: a BertModel takes no notice of another vocabulary's decoder."""
    tensors = random_tensors(heads=True) | {"cls.predictions.bias": np.zeros(64, np.float32)}
    info = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors)).loading_info
    assert "cls.predictions.bias" in info.unexpected_keys


@pytest.mark.parametrize(
    ("dtype", "code"),
    [("int8", "I8"), ("bool", "BOOL"), ("uint8", "U8"), ("uint8", "F8_E4M3"), ("int64", "I64")],
)
@pytest.mark.parametrize("key", [WORD, DENSE, "pooler.dense.bias"])
def test_a_weight_is_a_float(dtype: str, code: str, key: str, tmp_path: Path) -> None:  # A14
    tensors = random_tensors(heads=True)
    tensors[key] = tensors[key].astype(dtype)
    assert refusal(tmp_path, tensors, codes={key: code}) == (
        f"1 of the wrong shape or dtype.\n  misfit   {key} has dtype {code}, which is not "
        "supported for weights (F32, F16, BF16, F64)"
    )


def test_a_bert_beside_another_model_is_a_bert(tmp_path: Path) -> None:  # B16
    tensors = random_tensors() | {"roberta.pooler.weight": np.zeros(3)}
    assert check(write_checkpoint(tmp_path, tensors)).unexpected_keys == ("roberta.pooler.weight",)


def test_no_tensor_at_all(tmp_path: Path) -> None:  # B10
    assert refusal(tmp_path, {}).startswith("37 keys missing.\n")


def test_only_the_embeddings_are_checked(tmp_path: Path) -> None:
    def check_only(tensors: Tensors) -> LoadingInfo:
        checkpoint = open_checkpoint(write_checkpoint(tmp_path, tensors))
        return check_weights(checkpoint, CONFIG, np.dtype("float64"), only="embeddings")

    whole = random_tensors() | {"cls.x": np.ones(3, "f4")}
    part = {key: array for key, array in whole.items() if key.startswith("embeddings.")}
    info = check_only(part)
    assert (info.missing_keys, info.unexpected_keys) == ((), ())
    assert {key for key, _, _ in info.cast} == part.keys()
    # Of a whole one the rest may be anything; unexpected is what no whole model uses.
    other = check_only(whole | {DENSE: np.ones((2, 3), np.int64)})
    assert (other.missing_keys, other.unexpected_keys) == ((), ("cls.x",))
    assert other.cast == info.cast
    with pytest.raises(CheckpointError, match=r"1 key missing, 1 unknown\.\n  missing  emb"):
        check_only({key: array for key, array in whole.items() if key != BIAS})
    with pytest.raises(CheckpointError, match=r"1 of the wrong shape or dtype"):
        check_only(part | {BIAS: np.ones(25, "f4")})


AUTO_MAP = {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}


def test_code_of_a_models_own_is_never_run_and_noted(tmp_path: Path) -> None:
    config = TINY | {"auto_map": AUTO_MAP}
    (tmp_path / "modeling_x.py").write_text("raise SystemExit")
    info = BertModel.from_pretrained(write_checkpoint(tmp_path, config=config)).loading_info
    assert info.notes == (
        "config.json names code of its own (auto_map: configuration_x.XConfig, modeling_x.XModel), "
        "which is never run.",
    )


@pytest.mark.parametrize("kind", ["missing", "more"])
def test_a_model_that_its_own_code_makes_another_is_refused(kind: str, tmp_path: Path) -> None:
    tensors = random_tensors()
    if kind == "missing":
        del tensors["embeddings.position_embeddings.weight"]
    else:
        tensors["encoder.layer.0.mlp.gate.weight"] = np.zeros((3, 3), np.float32)
    write_checkpoint(tmp_path, tensors, TINY | {"auto_map": {"AutoModel": "modeling_x.XModel"}})
    with pytest.raises(CheckpointError) as raised:
        BertModel.from_pretrained(tmp_path)
    assert "names code of its own (auto_map: modeling_x.XModel), which is never run" in str(
        raised.value
    )
    odd = {"missing": "position_embeddings", "more": "encoder.layer.0.mlp.gate.weight"}
    assert odd[kind] in str(raised.value)


@pytest.mark.parametrize("value", [None, [], 5, "modeling_x.X", {"AutoModel": [None, "a.B"]}])
def test_an_auto_map_of_any_form_stops_nothing(value: object, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, config=TINY | {"auto_map": value})
    notes = BertModel.from_pretrained(tmp_path).loading_info.notes
    assert all("which is never run" in note for note in notes)


def stored(folder: Path, array: npt.NDArray[Any], code: str | None = None) -> StoredTensor:
    path = folder / "model.safetensors"
    path.write_bytes(serialize({"w": array}, codes={"w": code} if code else {}))
    return open_checkpoint(folder).tensors["w"]


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
