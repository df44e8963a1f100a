"""Rows B1 to B16: no tensor is random, zero, or taken from another place without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, BertModel, fetch
from numpy_bert.cli import main
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import INDEX, SINGLE, open_checkpoint, shard_names
from tests.support.checkpoints import (
    TINY,
    Tensors,
    random_tensors,
    serialize,
    write_checkpoint,
    write_shards,
)
from tests.support.heads import head_tensors, write_head
from tests.support.hub import StandInHub
from tests.support.limits import within
from tests.support.repository import REPO, contents

Capture = pytest.CaptureFixture[str]
WORD = "embeddings.word_embeddings.weight"
POSITION = "embeddings.position_embeddings.weight"
NORM = "embeddings.LayerNorm.weight"
BIAS = "embeddings.LayerNorm.bias"
DENSE = "encoder.layer.1.output.dense.weight"
POSITIONS = "embeddings.position_ids"
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
HEAD_BIAS = "cls.predictions.bias"
P = TINY["max_position_embeddings"]


def refusal(folder: Path, capsys: Capture) -> str:
    """Return what Python and the command line say alike of a folder, without it before that."""
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(json.dumps(TINY))
    before = contents(folder)
    with pytest.raises(CheckpointError) as raised, within(10):
        BertModel.from_pretrained(folder)
    message = str(raised.value)
    assert all(line.isprintable() and len(line) < 600 for line in message.splitlines())
    assert message.startswith(f"{folder}")
    assert main(["inspect", str(folder)]) == 1
    assert capsys.readouterr().err == f"numpy-bert inspect: error: {message}\n"
    assert contents(folder) == before
    return message.removeprefix(f"{folder}").removeprefix("/")


def index(folder: Path, text: str | Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return folder


def notes(folder: Path) -> tuple[str, ...]:
    return BertModel.from_pretrained(folder).loading_info.notes


def without(*keys: str) -> Tensors:
    return {key: array for key, array in random_tensors().items() if key not in keys}


BAD_INDEX = {
    "no JSON": ("<html>", "is not JSON (Expecting value: line 1, column 1)"),
    "empty": ("", "must be a JSON object; got an empty file"),
    "a list": ("[]", "must be a JSON object; got []"),
    "no weight_map": ("{}", "weight_map is missing, empty or no object"),
    "null": ('{"weight_map": null}', "weight_map is missing, empty or no object"),
    "an empty map": ('{"weight_map": {}}', "weight_map is missing, empty or no object"),
    "a list of names": ('{"weight_map": ["a.safetensors"]}', "weight_map is missing, empty or no"),
    "a key twice": ('{"weight_map": {"a": "b", "a": "b"}}', "the key a stands twice; keep one"),
    "too large": (" " * (4 << 20) + "{}", "has 4,194,306 bytes; at most 4,194,304 are read"),
}


@pytest.mark.parametrize(("text", "words"), BAD_INDEX.values(), ids=BAD_INDEX)
def test_b1_an_index_that_is_none(text: str, words: str, tmp_path: Path, capsys: Capture) -> None:
    message = refusal(index(tmp_path, text), capsys)
    assert message.startswith(f"{INDEX}: ")
    assert words in message


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", r"a\..\x.safetensors"),
        *("C:x.safetensors", "x.bin", ".x.safetensors", ".safetensors", "..", ""),
        *("x.safetensors\n", "x\0.safetensors", "\x1b[31m.safetensors", "\ud800.safetensors"),
        *(f"{'x' * 300}.safetensors", None, 3, ["x.safetensors"], {"a": "b"}),
    ],
    ids=repr,
)
def test_b2_a_shard_is_a_plain_name(name: object, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.safetensors").write_bytes(serialize(random_tensors()))
    message = refusal(index(tmp_path / "folder", {"weight_map": {WORD: name}}), capsys)
    words = "must be the plain name of a .safetensors file; got "
    assert message.startswith(f"{INDEX}: weight_map['{WORD}'] {words}")


def test_b2_a_shard_may_be_a_link(tmp_path: Path) -> None:
    """As every file of the hub's cache is; whoever can make links can write to the folder."""
    write_shards(tmp_path / "blobs", count=1)
    (name,) = set(shard_names(tmp_path / "blobs").values())
    folder = index(tmp_path / "snapshot", {"weight_map": dict.fromkeys(random_tensors(), name)})
    (folder / name).symlink_to(Path("..") / "blobs" / name)
    assert open_checkpoint(folder).tensors.keys() == random_tensors().keys()


def test_b3_missing_shards_are_all_named(tmp_path: Path, capsys: Capture) -> None:
    names = [path.name for path in open_checkpoint(write_shards(tmp_path)).files]
    (tmp_path / names[0]).unlink()
    (tmp_path / names[2]).unlink()
    (tmp_path / names[2]).symlink_to("gone")
    assert refusal(tmp_path, capsys) == (
        f"{INDEX}: lists shards that are not there: {names[0]}, {names[2]}. Download them again."
    )


def test_b3_tensors_that_are_not_in_their_shard(tmp_path: Path, capsys: Capture) -> None:
    one = "one.safetensors"
    (tmp_path / one).write_bytes(serialize({"a": np.ones(1), "b": np.ones(1)}))
    index(tmp_path, {"weight_map": {"a": one, "c": one, "\x1b[31m": one}})
    assert refusal(tmp_path, capsys) == (
        f"{INDEX}: tensors are not in the shard that it names: c (in {one}), "
        rf"'\x1b[31m' (in {one})."
    )


@pytest.mark.parametrize(
    "second",
    [np.zeros(3), np.ones((3, 1)), np.ones(3, np.int64), np.full(3, -0.0)],
    ids=["zeros", "another shape", "another dtype", "minus zero"],
)
def test_b3_a_tensor_in_two_shards(second: Any, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "1.safetensors").write_bytes(serialize({"a": np.ones(3)}))
    (tmp_path / "2.safetensors").write_bytes(serialize({"a": np.ones(3), "b": np.ones(3)}))
    index(tmp_path, {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})
    assert list(open_checkpoint(tmp_path).tensors) == ["a", "b"]  # where they are equal
    (tmp_path / "2.safetensors").write_bytes(serialize({"a": second, "b": np.ones(3)}))
    assert refusal(tmp_path, capsys) == (
        f"1.safetensors: a and {tmp_path / '2.safetensors'}: a are one parameter, "
        "a, with different values; keep one of them."
    )


def test_b4_an_index_that_says_too_little(tmp_path: Path, capsys: Capture) -> None:
    """All tensors are there, so it is noted and not refused: `inspect` and loading_info say it."""
    write_shards(tmp_path)
    values = json.loads((tmp_path / INDEX).read_text("utf-8"))
    total = values["metadata"]["total_size"]
    del values["weight_map"][WORD]
    values["metadata"]["total_size"] = 5
    expected = (
        f"{INDEX} does not list 1 tensors that its shards hold, {WORD} first; they were read all "
        "the same.",
        f"{INDEX}: total_size is 5, the shards hold {total}.",
    )
    assert notes(index(tmp_path, values)) == open_checkpoint(tmp_path).notes == expected
    assert main(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(note in out for note in expected)


@pytest.mark.parametrize("metadata", [None, [], {}, {"total_size": None}], ids=repr)
def test_b4_an_index_need_not_say_its_size(metadata: object, tmp_path: Path) -> None:
    write_shards(tmp_path)
    values = json.loads((tmp_path / INDEX).read_text("utf-8")) | {"metadata": metadata}
    assert open_checkpoint(index(tmp_path, values)).notes == ()


def test_b5_shards_are_of_one_commit(hub: StandInHub, tmp_path: Path) -> None:
    """Not here: shards of two revisions in a folder of one's own, since nothing in them says so."""
    old = contents(write_shards(tmp_path / "old"))
    new = contents(write_shards(tmp_path / "new", random_tensors(seed=1)))
    shards = sorted(set(old) - {"config.json", INDEX})
    first = hub.add_commit(REPO, old)
    second = hub.add_commit(REPO, new, branch="other")
    moved = hub.fault("move", on="HEAD", path=shards[1], times=1, sha=second)
    folder = fetch(REPO)
    assert (moved.fired, folder.name) == (1, first)
    assert {name: (folder / name).read_bytes() for name in shards} == {n: old[n] for n in shards}


def test_b6_the_index_is_second_to_a_single_file(tmp_path: Path, capsys: Capture) -> None:
    write_shards(tmp_path, random_tensors(seed=1))
    write_checkpoint(tmp_path, random_tensors())
    note = f"{SINGLE} was used; {INDEX} stands beside it and was not."
    assert notes(tmp_path) == (note,)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.files == (tmp_path / SINGLE,)
    assert checkpoint.label == str(tmp_path / SINGLE)
    assert np.array_equal(checkpoint.tensors[WORD].read(mapped=True), random_tensors()[WORD])
    assert main(["inspect", str(tmp_path)]) == 0
    assert note in capsys.readouterr().out


def test_b7_gamma_and_beta_are_layer_norms_alone(tmp_path: Path) -> None:
    """All spellings of a model are in tests/loading/test_spellings.py."""
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for key, array in random_tensors().items()
    }
    others = ("encoder.layer.0.output.dense.gamma", "pooler.dense.beta", "LayerNorm.gamma.x")
    assert sum(key.endswith((".gamma", ".beta")) for key in old) == 10
    model = BertModel.from_pretrained(
        write_checkpoint(tmp_path, old | {name: np.zeros(24, np.float32) for name in others})
    )
    assert set(model.loading_info.unexpected_keys) == set(others)
    for name, array in model.named_parameters():
        assert np.array_equal(array, random_tensors()[name])


def test_b8_gamma_beside_weight(tmp_path: Path, capsys: Capture) -> None:
    two_spellings(NORM, "embeddings.LayerNorm.gamma", tmp_path, capsys)


@pytest.mark.parametrize(
    ("first", "second"), [(WORD, f"bert.{WORD}"), (f"module.{WORD}", f"bert.bert.{WORD}")]
)
def test_b9_two_prefixes(first: str, second: str, tmp_path: Path, capsys: Capture) -> None:
    two_spellings(first, second, tmp_path, capsys)


@pytest.mark.parametrize("prefix", ["bert.", "bert.bert.", "module.", "module.bert."])
def test_b9_prefixes_are_taken_away(prefix: str, tmp_path: Path) -> None:
    tensors = {prefix + key: array for key, array in random_tensors().items()}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    found = dict(model.named_parameters())
    assert found.keys() == random_tensors().keys()
    assert all(np.array_equal(found[key], array) for key, array in random_tensors().items())


def two_spellings(first: str, second: str, folder: Path, capsys: Capture) -> None:
    """Hold that two tensors of one key are one where they are equal, and are refused elsewhere."""
    key = WORD if WORD in first else NORM
    tensors = random_tensors()
    array = tensors.pop(key)
    same = tensors | {first: array, second: array}
    assert open_checkpoint(write_checkpoint(folder, same)).tensors.keys() == {*tensors, key}
    write_checkpoint(folder, tensors | {first: array, second: np.nextafter(array, np.float32(9))})
    assert refusal(folder, capsys) == (
        f"{SINGLE}: {first} and {folder / SINGLE}: {second} are one parameter, {key}, with "
        "different values; keep one of them."
    )


def test_b10_all_missing_keys_are_named_with_near_misses(tmp_path: Path, capsys: Capture) -> None:
    tensors = without(WORD, BIAS, POSITION, DENSE)
    tensors["unrelated"] = tensors["\x1b[31m"] = np.zeros(1, np.float32)
    tensors["bert.encoder.layer.1.output.dense.wieght"] = random_tensors()[DENSE]
    assert refusal(write_checkpoint(tmp_path, tensors), capsys) == (
        f"{SINGLE}: 4 keys missing, 3 unknown.\n"
        f"  missing  {WORD}\n"
        f"  missing  {POSITION}\n"
        f"  missing  {BIAS}\n"
        f"  missing  {DENSE}\n"
        f"  unknown  bert.encoder.layer.1.output.dense.wieght   (did you mean {DENSE}?)\n"
        "  unknown  unrelated\n"
        r"  unknown  '\x1b[31m'"
    )


@pytest.mark.parametrize(
    "key", [WORD, POSITION, "embeddings.token_type_embeddings.weight", NORM, BIAS, DENSE]
)
def test_b10_every_missing_key_is_named(key: str, tmp_path: Path, capsys: Capture) -> None:
    message = refusal(write_checkpoint(tmp_path, without(key)), capsys)
    assert message == f"{SINGLE}: 1 key missing.\n  missing  {key}"


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_b11_unexpected_keys(dtype: str, tmp_path: Path) -> None:
    """The buffer is neither used nor unused; a head that a BertModel has not is listed."""
    tensors = random_tensors(heads=True) | {POSITIONS: np.arange(P, dtype=dtype)[np.newaxis]}
    folder = write_checkpoint(tmp_path, tensors | {"more": np.zeros(3, np.float32)})
    info = BertModel.from_pretrained(folder).loading_info
    heads = {key for key in tensors if key.startswith("cls.")}
    assert len(heads) == 7
    assert set(info.unexpected_keys) == {*heads, "more"}
    assert info.missing_keys == ()


@pytest.mark.parametrize(
    "array",
    [np.arange(1, P + 1)[np.newaxis], np.arange(P)[::-1].astype(np.float32), np.full(P, np.nan)],
    ids=["from one", "reversed", "NaN"],
)
def test_b12_stored_positions_are_counted_from_0(
    array: Any, tmp_path: Path, capsys: Capture
) -> None:
    """What else such a buffer can be is in tests/loading/test_checkpoint.py."""
    folder = write_checkpoint(tmp_path, random_tensors() | {f"bert.{POSITIONS}": array})
    assert refusal(folder, capsys).startswith(
        f"{SINGLE}: bert.{POSITIONS}: stored positions differ from 0, 1, 2, ..."
    )


def masked_lm(folder: Path, changes: Mapping[str, Any]) -> BertForMaskedLM:
    """Load a head with some tensors changed; None takes one away."""
    tensors: dict[str, Any] = {**head_tensors("BertForMaskedLM"), **changes}
    kept = {key: array for key, array in tensors.items() if array is not None}
    return BertForMaskedLM.from_pretrained(write_head(folder, "BertForMaskedLM", kept))


def test_b13_a_tied_decoder(tmp_path: Path) -> None:
    """Absent or equal it is the table; one that differs is used, as what was trained, and said.

    That was decided since the catalogue was written: tests/loading/test_tensors_tied.py.
    """
    table = head_tensors("BertForMaskedLM")[WORD]
    for changes in ({}, {DECODER: table.copy()}, {DECODER: table, WORD: None}):
        model = masked_lm(tmp_path, changes)
        assert np.array_equal(model.decoder, table)
        assert model.loading_info.notes == ()
    words = rf"{DECODER} and {WORD} differ, though config\.json ties them"
    with pytest.warns(UserWarning, match=words):
        model = masked_lm(tmp_path, {DECODER: table[::-1].copy()})
    assert np.array_equal(model.decoder, table[::-1])
    assert np.array_equal(model.bert.embeddings.word_embeddings.weight, table)


def test_b14_two_biases_of_the_decoder(tmp_path: Path) -> None:
    """As B13: the decoder's own is used, and both are named."""
    bias = head_tensors("BertForMaskedLM")[HEAD_BIAS]
    assert masked_lm(tmp_path, {DECODER_BIAS: bias.copy()}).loading_info.notes == ()
    words = rf"{DECODER_BIAS} and {HEAD_BIAS} differ, though config\.json ties them"
    with pytest.warns(UserWarning, match=words):
        model = masked_lm(tmp_path, {DECODER_BIAS: bias[::-1].copy()})
    used = model.steps([[2, 5, 3]]).cls.predictions
    wanted = used.transform.output @ model.decoder.T + bias[::-1]
    np.testing.assert_allclose(used.output, wanted, rtol=0, atol=1e-5)


MISFITS: dict[str, tuple[str, tuple[int, ...], str]] = {
    "transposed": (DENSE, (37, 24), "  (transposed, as TensorFlow stores it?)"),
    "padded": (WORD, (64, 24), "  (rows padded to a multiple of 8?)"),
    "another size": (WORD, (61, 25), "  (another model's config?)"),
    "another size of a layer": (NORM, (23,), "  (another model's config?)"),
    "no axis": (WORD, (), ""),
}


@pytest.mark.parametrize(("key", "shape", "reason"), MISFITS.values(), ids=MISFITS)
def test_b15_both_shapes_and_the_likely_reason(
    key: str, shape: tuple[int, ...], reason: str, tmp_path: Path, capsys: Capture
) -> None:
    """More of them are in tests/loading/test_tensors.py."""
    expected = random_tensors()[key].shape
    folder = write_checkpoint(tmp_path, random_tensors() | {key: np.zeros(shape, np.float32)})
    assert refusal(folder, capsys) == (
        f"{SINGLE}: 1 of the wrong shape or dtype.\n"
        f"  misfit   {key} is {shape}, config.json says {expected}{reason}"
    )


FOREIGN = {
    "roberta.embeddings.word_embeddings.weight": "RoBERTa",
    "distilbert.transformer.layer.0.attention.q_lin.weight": "DistilBERT",
    "electra.embeddings_project.weight": "ELECTRA",
    "transformer.h.0.attn.c_attn.weight": "GPT-2",
}


@pytest.mark.parametrize(("key", "model"), FOREIGN.items(), ids=FOREIGN.values())
def test_b16_another_model_is_called_by_its_name(
    key: str, model: str, tmp_path: Path, capsys: Capture
) -> None:
    tensors = {"lm_head.bias": np.zeros(3, np.float32), key: np.zeros(3, np.float32)}
    message = refusal(write_checkpoint(tmp_path, tensors), capsys)
    if model == "GPT-2":
        assert message == f"{SINGLE}: looks like {model}, which is not supported; BERT is."
    else:
        assert message == (
            f"{SINGLE}: looks like {model}, but config.json says BERT (model_type = 'bert'). Give "
            f"it the config.json that it came with, whose model_type is {model.lower()!r}."
        )
