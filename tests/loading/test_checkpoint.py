"""numpy_bert.loading.checkpoint: a folder's weights in every published form, as one table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import INDEX, SINGLE, open_checkpoint, shard_names
from tests.support.checkpoints import (
    TINY,
    random_tensors,
    serialize,
    write_checkpoint,
    write_shards,
)
from tests.support.limits import within
from tests.support.platforms import posix

WORD = "embeddings.word_embeddings.weight"
NORM = "embeddings.LayerNorm.weight"
POSITIONS = "embeddings.position_ids"
P = TINY["max_position_embeddings"]


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised, within(10):
        open_checkpoint(folder)
    assert len(str(raised.value)) < 2000
    assert all(line.isprintable() for line in str(raised.value).splitlines())
    return str(raised.value)


def test_the_index_is_second_to_a_single_file(tmp_path: Path) -> None:  # B6
    write_shards(tmp_path, random_tensors(seed=1))
    write_checkpoint(tmp_path, random_tensors())
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.files == (tmp_path / SINGLE,)
    assert checkpoint.label == str(tmp_path / SINGLE)
    assert checkpoint.notes == (f"{SINGLE} was used; {INDEX} stands beside it and was not.",)
    found = checkpoint.tensors[WORD].read(mapped=True)
    assert np.array_equal(found, random_tensors()[WORD])


def test_shards_are_named_together(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_shards(tmp_path))
    assert [path.name for path in checkpoint.files] == [
        f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]
    assert checkpoint.label == str(tmp_path)
    assert checkpoint.notes == ()
    assert checkpoint.tensors.keys() == random_tensors().keys()


def index(folder: Path, text: str | dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    text = text if isinstance(text, str) else json.dumps(text)
    (folder / INDEX).write_text(text, "utf-8")
    return folder


BAD_INDEX = {  # B1
    "no JSON": ("<html>", "is not JSON (Expecting value: line 1, column 1)"),
    "empty": ("", "must be a JSON object; got an empty file"),
    "a list": ("[]", "must be a JSON object; got []"),
    "no weight_map": ("{}", "weight_map is missing, empty or no object"),
    "null": ('{"weight_map": null}', "weight_map is missing, empty or no object"),
    "an empty map": ('{"weight_map": {}}', "weight_map is missing, empty or no object"),
    "a list of names": ('{"weight_map": ["a.safetensors"]}', "weight_map is missing, empty or no"),
    "a key twice": ('{"weight_map": {"a": "b", "a": "b"}}', "the key a stands twice; keep one"),
}


@pytest.mark.parametrize(("text", "words"), BAD_INDEX.values(), ids=BAD_INDEX)
def test_an_index_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    message = refusal(index(tmp_path, text))
    assert message.startswith(f"{tmp_path / INDEX}: ")
    assert words in message


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", r"a\..\x.safetensors"),
        *(
            "C:x.safetensors",
            "x.bin",
            ".x.safetensors",
            ".safetensors",
            "..",
            "",
            "x.safetensors\n",
        ),
        *("x\0.safetensors", "\x1b[31m.safetensors", "\ud800.safetensors"),
        *(f"{'x' * 300}.safetensors", None, 3, ["x.safetensors"], {"a": "b"}),
    ],
    ids=repr,
)
def test_a_shard_is_a_plain_name(name: object, tmp_path: Path) -> None:  # B2
    (tmp_path / "x.safetensors").write_bytes(serialize(random_tensors()))
    message = refusal(index(tmp_path / "folder", {"weight_map": {WORD: name}}))
    words = "must be the plain name of a .safetensors file; got "
    assert message.startswith(f"{tmp_path / 'folder' / INDEX}: weight_map['{WORD}'] {words}")


def test_a_shard_may_be_a_link(tmp_path: Path) -> None:  # B2: as every file of the hub's cache is
    write_shards(tmp_path / "blobs", count=1)
    (name,) = set(shard_names(tmp_path / "blobs").values())
    folder = index(tmp_path / "snapshot", {"weight_map": dict.fromkeys(random_tensors(), name)})
    (folder / name).symlink_to(Path("..") / "blobs" / name)
    assert open_checkpoint(folder).tensors.keys() == random_tensors().keys()


def test_missing_shards_are_all_named(tmp_path: Path) -> None:  # B3
    names = [path.name for path in open_checkpoint(write_shards(tmp_path)).files]
    (tmp_path / names[0]).unlink()
    (tmp_path / names[2]).unlink()
    (tmp_path / names[2]).symlink_to("gone")
    assert refusal(tmp_path) == (
        f"{tmp_path / INDEX}: lists shards that are not there: {names[0]}, {names[2]}. "
        "Download them again."
    )


@pytest.mark.parametrize(
    ("count", "more"), [(20, ""), (21, " and 1 more"), (9999, " and 9979 more")]
)
def test_thousands_of_missing_shards_are_not_all_named(
    count: int, more: str, tmp_path: Path
) -> None:  # A18, B3
    names = {f"t{n}": f"{n:04}.safetensors" for n in range(count)}
    message = refusal(index(tmp_path, {"weight_map": names}))
    assert message.endswith(f", 0019.safetensors{more}. Download them again.")


def test_tensors_that_are_not_in_their_shard(tmp_path: Path) -> None:  # B3
    one = "one.safetensors"
    (tmp_path / one).write_bytes(serialize({"a": np.ones(1), "b": np.ones(1)}))
    index(tmp_path, {"weight_map": {"a": one, "c": one, "\x1b[31m": one}})
    assert refusal(tmp_path) == (
        f"{tmp_path / INDEX}: tensors are not in the shard that it names: c (in {one}), "
        rf"'\x1b[31m' (in {one})."
    )


@pytest.mark.parametrize(
    "second", [np.ones(3), np.zeros(3), np.ones((3, 1)), np.ones(3, np.int64), np.full(3, -0.0)]
)
def test_a_tensor_in_two_shards(second: Any, tmp_path: Path) -> None:  # B3
    (tmp_path / "1.safetensors").write_bytes(serialize({"a": np.ones(3)}))
    (tmp_path / "2.safetensors").write_bytes(serialize({"a": second, "b": np.ones(3)}))
    index(tmp_path, {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})
    if second.dtype == float and second.tolist() == [1, 1, 1]:
        assert list(open_checkpoint(tmp_path).tensors) == ["a", "b"]
        return
    assert refusal(tmp_path) == (
        f"{tmp_path / '1.safetensors'}: a and {tmp_path / '2.safetensors'}: a are one parameter, "
        "a, with different values; keep one of them."
    )


def test_a_malformed_shard_is_named(tmp_path: Path) -> None:  # A9
    shard = open_checkpoint(write_shards(tmp_path)).files[1]
    os.truncate(shard, shard.stat().st_size - 1)
    message = refusal(tmp_path)
    assert message.startswith(f"{shard}: the header describes ")
    assert message.endswith("it is incomplete. Download it again.")


def test_an_index_that_says_too_little(tmp_path: Path) -> None:  # B4
    write_shards(tmp_path)
    values = json.loads((tmp_path / INDEX).read_text("utf-8"))
    total = values["metadata"]["total_size"]
    del values["weight_map"][WORD]
    values["metadata"]["total_size"] = 5
    checkpoint = open_checkpoint(index(tmp_path, values))
    assert checkpoint.notes == (
        f"{INDEX} does not list 1 tensors that its shards hold, {WORD} first; they were read all "
        "the same.",
        f"{INDEX}: total_size is 5, the shards hold {total}.",
    )
    assert BertModel.from_pretrained(tmp_path).loading_info.notes == checkpoint.notes


@pytest.mark.parametrize("metadata", [None, [], {}, {"total_size": None}])
def test_an_index_need_not_say_its_size(metadata: object, tmp_path: Path) -> None:  # B4
    write_shards(tmp_path)
    values = json.loads((tmp_path / INDEX).read_text("utf-8")) | {"metadata": metadata}
    assert open_checkpoint(index(tmp_path, values)).notes == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NORM, "embeddings.LayerNorm.gamma"),  # B8
        (WORD, f"bert.{WORD}"),  # B9
        (f"module.{WORD}", f"bert.bert.{WORD}"),  # B9
    ],
)
def test_two_spellings_of_one_key(first: str, second: str, tmp_path: Path) -> None:
    tensors = random_tensors()
    array = tensors.pop(WORD if WORD in first else NORM)
    checkpoint = open_checkpoint(
        write_checkpoint(tmp_path, tensors | {first: array, second: array})
    )
    assert checkpoint.tensors.keys() == random_tensors().keys()
    write_checkpoint(tmp_path, tensors | {first: array, second: np.nextafter(array, np.float32(9))})
    file = tmp_path / SINGLE
    key = WORD if WORD in first else NORM
    assert refusal(tmp_path) == (
        f"{file}: {first} and {file}: {second} are one parameter, {key}, with different values; "
        "keep one of them."
    )


BAD_BUFFERS = {
    "B12 from one": (np.arange(1, P + 1)[np.newaxis], "stored positions differ from 0, 1, 2"),
    "B12 reversed": (np.arange(P)[::-1].astype(np.float32), "stored positions differ from 0, 1"),
    "B12 NaN": (np.full((1, P), np.nan, np.float32), "stored positions differ from 0, 1, 2"),
    "B12 two rows": (np.stack([np.arange(P), np.zeros(P, int)]), "stored positions differ"),
    "A11 scalar": (np.array(0), "must have the shape (1, positions); got ()"),
    "A11 empty": (np.zeros((1, 0), np.int64), "must have the shape (1, positions); got (1, 0)"),
    "A11 no row": (
        np.zeros((0, 1 << 50), np.int64),
        "must have the shape (1, positions); got (0, 11",
    ),
    "A11 rank 3": (np.arange(P).reshape(1, 1, P), "must have the shape (1, positions); got (1, 1"),
    "A11 large": (np.arange((1 << 17) + 1), "must have the shape (1, positions); got (131073,)"),
    "A14 U8": (np.arange(P, dtype=np.uint8), "has dtype U8, which is not supported"),
}


@pytest.mark.parametrize(("array", "words"), BAD_BUFFERS.values(), ids=BAD_BUFFERS)
def test_stored_positions_are_checked(array: Any, words: str, tmp_path: Path) -> None:
    name = f"bert.{POSITIONS}"
    message = refusal(write_checkpoint(tmp_path, random_tensors() | {name: array}))
    assert message.startswith(f"{tmp_path / SINGLE}: {name}")
    assert words in message


def test_the_longest_stored_positions(tmp_path: Path) -> None:  # A11
    tensors = random_tensors() | {POSITIONS: np.arange(1 << 17)}
    assert POSITIONS in open_checkpoint(write_checkpoint(tmp_path, tensors)).tensors


def test_stored_token_types_are_zeros(tmp_path: Path) -> None:  # B12
    tensors = random_tensors() | {"embeddings.token_type_ids": np.ones((1, P), np.int64)}
    message = refusal(write_checkpoint(tmp_path, tensors))
    assert "embeddings.token_type_ids: stored positions differ" in message
    assert "(token types: from 0)" in message


@pytest.mark.parametrize("kind", ["folder", "pipe", "broken link", "device"])
@pytest.mark.parametrize("name", [SINGLE, INDEX])
@posix
def test_weights_are_a_regular_file(kind: str, name: str, tmp_path: Path) -> None:  # A20
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "gone")
    words = {
        "folder": "is a folder; name a file",
        "pipe": "is not a regular file",
        "device": "is not a regular file",
        "broken link": "is a link to a file that is gone",
    }
    assert refusal(tmp_path).startswith(f"{path}: {words[kind]}")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "\x1b[31m.bin"])
@posix
def test_a_pickle_is_named_and_never_opened(name: str, tmp_path: Path) -> None:  # A19
    os.mkfifo(tmp_path / name)  # whoever opens it hangs
    message = refusal(tmp_path)
    shown = name if name.isprintable() else repr(name)
    assert message.startswith(
        f"{tmp_path}: has neither {SINGLE} nor {INDEX}. It has only pickled weights ({shown}), "
        "which are refused, since opening a pickle runs whatever code is in it. Convert it "
    )


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(serialize(random_tensors()))
    assert refusal(tmp_path) == f"{tmp_path}: has neither {SINGLE} nor {INDEX}."
