"""What a loaded model reads of its file: the pages of the rows that are used, nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import BertModel
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.platforms import linux


def resident(path: Path) -> int:
    """Return how many bytes of a mapped file are in this process's memory."""
    maps = Path("/proc/self/smaps").read_text()
    found = re.findall(rf"{re.escape(str(path))}\n.*\n.*\n.*\nRss: +(\d+) kB", maps)
    assert found
    return sum(int(kilobytes) for kilobytes in found) * 1024


@linux
def test_loading_and_one_sentence_touch_little_of_the_real_file(
    minilm: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(minilm / name, tmp_path)
    file = tmp_path / "model.safetensors"
    model = BertModel.from_pretrained(tmp_path)
    assert resident(file) <= 7_000_000
    ids = [[101, 2023, 2003, 1037, 3231, 6251, 102]]
    model.embeddings(ids)
    assert resident(file) <= 20_000_000  # seven rows, wherever they are
    assert file.stat().st_size > 90_000_000


CONFIG = TINY | {"vocab_size": 200_000, "hidden_size": 64, "num_attention_heads": 1}


@pytest.fixture(scope="module")
def large() -> dict[str, npt.NDArray[Any]]:
    return random_tensors(CONFIG)


@linux
@pytest.mark.parametrize("stored", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_no_table_is_copied_or_converted(
    tmp_path: Path, large: dict[str, npt.NDArray[Any]], stored: str, dtype: str
) -> None:
    kind = np.float16 if stored == "F16" else np.float32
    tensors = {key: array.astype(kind, copy=False) for key, array in large.items()}
    write_checkpoint(tmp_path, tensors, CONFIG, bfloat16=stored == "BF16")
    file = tmp_path / "model.safetensors"
    assert file.stat().st_size > 25_000_000
    model = BertModel.from_pretrained(tmp_path, dtype=dtype)
    found = model.embeddings([[3, 199_999]])
    assert found.dtype == dtype
    assert resident(file) <= 7_000_000  # some systems map 2 MB around each page that is touched
    expected = BertModel.from_pretrained(tmp_path, dtype=dtype, mmap=False).embeddings(
        [[3, 199_999]]
    )
    assert found.tobytes() == expected.tobytes()
