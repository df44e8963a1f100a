"""Parquet as the output of a job: texts and vectors in rows, and the same bytes after a stop."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from numpy_bert import OutputError, SentenceEncoder, quantize_embeddings
from numpy_bert.corpora import outputs
from numpy_bert.corpora.job import encode_corpus
from numpy_bert.corpora.journal import Parts
from numpy_bert.encoding import stream

LINES = [f'number "{number}" é' for number in range(107)]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small blocks and groups, and wait for no disk."""
    monkeypatch.setattr(stream, "_MOST_TEXTS", 40)
    monkeypatch.setattr(outputs, "_GROUP", 16)
    monkeypatch.setattr(outputs, "_BLOCK", 23 * 5 * 4)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    return path


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8", "binary"])
def test_texts_and_vectors_stand_in_rows(
    precision: str, encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.parquet"
    encode_corpus(encoder, corpus, path, precision=precision, truncate_dim=5)
    vectors = np.concatenate(list(encoder.encode_stream(LINES, truncate_dim=5)))
    if precision == "float16":
        vectors = vectors.astype(np.float16)
    elif precision != "float32":
        vectors = quantize_embeddings(vectors, precision)
    file = pq.ParquetFile(path)
    kind = {"float32": "float", "float16": "halffloat", "uint8": "uint8", "binary": "int8"}
    width = vectors.shape[1]
    assert str(file.schema_arrow.field("vector").type).startswith("fixed_size_list<")
    assert str(file.schema_arrow.field("vector").type).endswith(f"{kind[precision]}>[{width}]")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [
        *[16] * 6,
        11,
    ]
    table = file.read()
    assert table["text"].to_pylist() == LINES
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    assert flat.dtype == vectors.dtype
    assert np.array_equal(flat.reshape(-1, width), vectors)


def test_after_a_stop_the_bytes_are_the_same(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_corpus(encoder, corpus, tmp_path / "whole.parquet")
    path = tmp_path / "x.parquet"

    def stop(*_: object) -> None:
        raise OutputError("stopped")

    for place in ("seal", "sign"):
        with monkeypatch.context() as patch:
            patch.setattr(Parts, place, stop)
            with pytest.raises(OutputError, match="stopped"):
                encode_corpus(encoder, corpus, path)
    assert encode_corpus(encoder, corpus, path).went_on_after == 107
    assert path.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_no_texts_are_a_table_of_no_rows(encoder: SentenceEncoder, tmp_path: Path) -> None:
    corpus = tmp_path / "c.txt"
    corpus.touch()
    encode_corpus(encoder, corpus, tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


def test_a_job_of_another_pyarrow_is_refused(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"

    def stop(*_: object) -> None:
        raise OutputError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "seal", stop)
        with pytest.raises(OutputError, match="stopped"):
            encode_corpus(encoder, corpus, path)
    monkeypatch.setattr("pyarrow.__version__", "1.2.3")
    with pytest.raises(OutputError, match=r"\(pyarrow was '\d.*, now '1.2.3'\)"):
        encode_corpus(encoder, corpus, path)


def test_long_texts_are_written_a_few_at_a_time(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_corpus(encoder, corpus, tmp_path / "x.parquet", truncate_dim=5)
    monkeypatch.setattr(outputs, "_CHARACTERS", 3 * len(LINES[20]))
    encode_corpus(encoder, corpus, tmp_path / "y.parquet", truncate_dim=5)
    file = pq.ParquetFile(tmp_path / "y.parquet")
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert max(sizes) == 3
    assert sum(sizes) == 107
    assert file.read().equals(pq.read_table(tmp_path / "x.parquet"))
    monkeypatch.setattr(outputs, "_CHARACTERS", 1)  # fewer than any text has
    encode_corpus(encoder, corpus, tmp_path / "z.parquet", truncate_dim=5)
    assert pq.ParquetFile(tmp_path / "z.parquet").num_row_groups == 107
