"""numpy_bert.loading.checkpoint: a folder's weights in every published form, as one table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import INDEX, SINGLE, open_checkpoint
from tests.support.checkpoints import (
    TINY,
    random_tensors,
    serialize,
    write_checkpoint,
    write_shards,
)
from tests.support.limits import within

WORD = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_ids"
P = TINY["max_position_embeddings"]


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised, within(10):
        open_checkpoint(folder)
    assert len(str(raised.value)) < 2000
    assert all(line.isprintable() for line in str(raised.value).splitlines())
    return str(raised.value)


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


@pytest.mark.parametrize(
    ("count", "more"), [(20, ""), (21, " and 1 more"), (9999, " and 9979 more")]
)
def test_thousands_of_missing_shards_are_not_all_named(
    count: int, more: str, tmp_path: Path
) -> None:  # A18, B3
    names = {f"t{n}": f"{n:04}.safetensors" for n in range(count)}
    message = refusal(index(tmp_path, {"weight_map": names}))
    assert message.endswith(f", 0019.safetensors{more}. Download them again.")


def test_a_malformed_shard_is_named(tmp_path: Path) -> None:  # A9
    shard = open_checkpoint(write_shards(tmp_path)).files[1]
    os.truncate(shard, shard.stat().st_size - 1)
    message = refusal(tmp_path)
    assert message.startswith(f"{shard}: the header describes ")
    assert message.endswith("it is incomplete. Download it again.")


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


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(serialize(random_tensors()))
    assert refusal(tmp_path) == f"{tmp_path}: has neither {SINGLE} nor {INDEX}."
