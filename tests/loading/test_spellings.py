"""A model in every form in which it can be published: all of them load as the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.arrays import widen
from numpy_bert.parameters import arrays_of
from tests.support.checkpoints import (
    TINY,
    Tensors,
    bfloat16_bits,
    random_tensors,
    write_checkpoint,
    write_shards,
)

POSITIONS = "embeddings.position_ids"
P = TINY["max_position_embeddings"]


def renamed(*changes: tuple[str, str], prefix: str = "") -> Tensors:
    """Return the tiny model under other names."""
    tensors = random_tensors()
    for old, new in changes:
        tensors = {key.replace(old, new): array for key, array in tensors.items()}
    return {prefix + key: array for key, array in tensors.items()}


OLD = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))


def mixed(folder: Path) -> Path:
    """Write a file in which neighbours differ in dtype, behind an odd number of bytes."""
    tensors: Tensors = {"odd": np.zeros(3, np.uint8)}
    codes = {}
    for number, (key, array) in enumerate(random_tensors().items()):
        tensors[key] = [array, array.astype("f2"), array.astype("f8"), bfloat16_bits(array)][
            number % 4
        ]
        if number % 4 == 3:
            codes[key] = "BF16"
    return write_checkpoint(folder, tensors, codes=codes)


def cast(dtype: str) -> Tensors:
    return {key: array.astype(dtype) for key, array in random_tensors().items()}


def with_positions(dtype: str, *shape: int) -> Tensors:
    return random_tensors() | {POSITIONS: np.arange(P, dtype=dtype).reshape(*shape)}


SPELLINGS: dict[str, Callable[[Path], Path]] = {
    "as transformers writes it": write_checkpoint,
    "with bert.": lambda f: write_checkpoint(f, renamed(prefix="bert.")),
    "with module.": lambda f: write_checkpoint(f, renamed(prefix="module.")),
    "with module.bert.": lambda f: write_checkpoint(f, renamed(prefix="module.bert.")),
    "with bert.bert.": lambda f: write_checkpoint(f, renamed(prefix="bert.bert.")),
    "as torch.compile saves it": lambda f: write_checkpoint(f, renamed(prefix="_orig_mod.")),
    "as DPR names it": lambda f: write_checkpoint(
        f, renamed(*OLD, prefix="question_encoder.bert_model.")
    ),
    "as Lightning names it": lambda f: write_checkpoint(f, renamed(prefix="model.bert.")),
    "under a prefix, sharded": lambda f: write_shards(f, renamed(prefix="0.auto_model.")),
    "under a prefix among usual ones": lambda f: write_checkpoint(
        f, renamed(prefix="module.bert_model.module.")
    ),
    "with gamma and beta": lambda f: write_checkpoint(f, renamed(*OLD)),
    "with bert., gamma and beta": lambda f: write_checkpoint(f, renamed(*OLD, prefix="bert.")),
    "sharded": write_shards,
    "sharded and old": lambda f: write_shards(f, renamed(*OLD, prefix="bert.")),
    "one shard": lambda f: write_shards(f, count=1),
    "F16": lambda f: write_checkpoint(f, cast("float16")),
    "BF16": lambda f: write_checkpoint(f, bfloat16=True),
    "F64": lambda f: write_checkpoint(f, cast("float64")),
    "mixed": mixed,
    "backwards": lambda f: write_checkpoint(f, dict(reversed(random_tensors().items()))),
    "with heads": lambda f: write_checkpoint(f, random_tensors(heads=True)),
    "without pooler": lambda f: write_checkpoint(
        f, {key: array for key, array in random_tensors().items() if "pooler" not in key}
    ),
    "I64 positions": lambda f: write_checkpoint(f, with_positions("int64", 1, P)),
    "F32 positions": lambda f: write_checkpoint(f, with_positions("float32", 1, P)),
    "I32 positions in a row": lambda f: write_checkpoint(f, with_positions("int32", P)),
    "token types": lambda f: write_checkpoint(
        f, random_tensors() | {"bert.embeddings.token_type_ids": np.zeros((1, P), np.int64)}
    ),
}


@pytest.mark.parametrize("write", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("mmap", [True, False])
def test_every_spelling_is_the_same_model(
    write: Callable[[Path], Path], mmap: bool, dtype: str, tmp_path: Path
) -> None:  # A12, A13, B7, B9, B11
    model = BertModel.from_pretrained(write(tmp_path), dtype=dtype, mmap=mmap)
    found = dict(arrays_of(model.embeddings.parameters, "embeddings."))
    expected = {k: v for k, v in random_tensors().items() if k.startswith("embeddings.")}
    assert found.keys() == expected.keys()
    for key, array in found.items():
        if key.endswith("_embeddings.weight"):  # which may stay as it is stored
            assert widen(array, dtype).dtype == dtype
        else:
            assert array.dtype == dtype
        assert array.flags.aligned
        assert not array.flags.writeable
        assert widen(array, dtype).tobytes() == expected[key].astype(dtype).tobytes()
