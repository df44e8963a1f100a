"""Outputs of a job: the bytes that NumPy, safetensors and json would write of all at once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from numpy_bert import InputError, OutputError, quantize_embeddings
from numpy_bert.arrays import Array
from numpy_bert.corpora import outputs
from numpy_bert.corpora.journal import Parts
from numpy_bert.corpora.outputs import file_output
from numpy_bert.corpora.sources import Record

ROWS, WIDTH = 301, 7
VECTORS = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
TEXTS = [f'text "{number}" of é\u2028' for number in range(ROWS)]


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: scripts/kill.py looks at that."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def made(path: Path, precision: str, vectors: Array, blocks: int = 3) -> None:
    """Write vectors as a job does: block by block."""
    output, parts = file_output(path, precision), Parts(path)
    output.check(force=False)
    with parts.held():
        parts.begin({}, {})
        output.begin(parts, vectors.shape[1], vectors.dtype)
        for some in np.array_split(np.arange(len(vectors)), max(blocks, 1)):
            records = [Record(int(row) + 1, TEXTS[row]) for row in some]
            output.add(records, vectors[some])
        signed = list[int]()
        output.finish(lambda made: signed.append(made.stat().st_ino))
        assert signed == [path.stat().st_ino]
        parts.remove()
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(path.stem)] == [path.name]


def npy(vectors: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, vectors)
    return file.getvalue()


def npz(vectors: Array) -> bytes:
    file = io.BytesIO()
    np.savez(file, vectors=vectors)
    return file.getvalue()


def jsonl(vectors: Array) -> bytes:
    lines = (
        f'{{"text": {json.dumps(text, ensure_ascii=False)}, "vector": '
        f"[{', '.join(map(str, vector))}]}}\n"
        for text, vector in zip(TEXTS, vectors, strict=False)
    )
    return "".join(lines).encode()


WRITERS: dict[str, Callable[[Array], bytes]] = {
    "x.npy": npy,
    "x.npz": npz,
    "x.safetensors": lambda vectors: save({"vectors": vectors}),
    "x.jsonl": jsonl,
}


@pytest.mark.parametrize("precision", ["float32", "float16", "float64", "int8", "uint8", "ubinary"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_bytes_are_those_of_all_vectors_at_once(
    name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_BLOCK", 5 * 4 * WIDTH + 3)  # some rows at a time, then few
    stored = VECTORS
    if precision.startswith("float"):
        stored = VECTORS.astype(precision)
    elif precision == "ubinary":
        stored = quantize_embeddings(VECTORS, precision)
    whole = stored
    if precision in ("int8", "uint8"):
        whole = quantize_embeddings(VECTORS, precision)
    made(tmp_path / name, precision, stored)
    assert (tmp_path / name).read_bytes() == WRITERS[name](whole)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", WRITERS)
def test_no_text_makes_an_output_of_no_rows(name: str, precision: str, tmp_path: Path) -> None:
    made(tmp_path / name, precision, VECTORS[:0], 0)
    dtype = np.int8 if precision == "int8" else np.float32
    assert (tmp_path / name).read_bytes() == WRITERS[name](np.empty((0, WIDTH), dtype))


def test_json_has_the_number_that_float32_has(tmp_path: Path) -> None:
    made(tmp_path / "x.jsonl", "float32", VECTORS)
    lines = [
        json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    assert [line["text"] for line in lines] == TEXTS
    found = np.array([line["vector"] for line in lines], np.float32)
    assert np.array_equal(found, VECTORS)


def test_one_vector_has_no_ranges_and_few_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="int8 needs the ranges of the features"):
        made(tmp_path / "x.npy", "int8", VECTORS[:1], 1)
    with pytest.warns(UserWarning, match="come from 99 vectors alone"):
        made(tmp_path / "y.npy", "int8", VECTORS[:99], 1)


def test_an_end_that_no_output_has(tmp_path: Path) -> None:
    ends = r"x.txt: the name must end in one of .npy, .npz, .safetensors, .jsonl, .parquet\."
    with pytest.raises(InputError, match=ends):
        file_output(tmp_path / "x.txt", "float32")


def test_a_disk_without_room_is_told_before_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numpy_bert.files.free_space", lambda _: 2000)
    with pytest.raises(OutputError, match=r"takes 2,107 bytes, but the disk has 2,000 bytes free"):
        made(tmp_path / "x.npy", "int8", VECTORS)
    assert not (tmp_path / "x.npy").is_file()


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link: Any = tmp_path / "x.npy"
    link.symlink_to(tmp_path / "disk" / "y.npy")
    assert Parts(link).folder == tmp_path / "disk" / "y.npy.part"
