"""The target of fuzz.py that opens the folder of an index, one of whose files has been edited."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_json import edited
from fuzz_target import Difference, Target, refused
from json_edits import ODD, changed

from numpy_bert import SentenceEncoder, open_index, search
from numpy_bert.corpora.index import Index, IndexHits
from numpy_bert.corpora.index_files import FILES, INDEX, OFFSETS, TEXTS, VECTORS
from numpy_bert.corpora.index_output import write_index
from numpy_bert.encoding import MODES
from numpy_bert.encoding.similarity import SIMILARITIES

__all__ = ["TARGETS"]

_TEXTS = ["The sun is shining.", "", 'a "quote"\n', "é 日本 \u2028", "He drives a car."]
_VALUES = (*ODD, 4, 5, 6, 383, 384, 385, *MODES, *SIMILARITIES, "float16", "float64", "int8", "O")
_PIECES = (b"<f4", b"<f2", b"|O", b"(5, 384)", b"(384, 5)", b"(5,)", b"True", b"\x93NUMPY", b"\xff")
_RIGHT: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("similarity_fn_name", tuple(SIMILARITIES)),
    ("max_seq_length", (64, 256)),
    ("revision", (None, "0" * 40)),
    ("model", ("demo", "é", "no/where")),
)
_BACK = (-1, 0, 1, 1 << 20, 1 << 40, 1 << 62, -(1 << 62))


class _Base(NamedTuple):
    """A whole index, the bytes of its files, and the encoder that made it."""

    folder: Path
    files: dict[str, bytes]
    encoder: SentenceEncoder


def prepare(folder: Path) -> _Base:
    """Make an index in a folder."""
    encoder = SentenceEncoder("demo")
    path = folder / "texts.index"
    write_index(path, _TEXTS, encoder.encode(_TEXTS), encoder, "demo")
    return _Base(path, {name: (path / name).read_bytes() for name in FILES}, encoder)


def attempt(base: _Base, rng: random.Random) -> bool:
    """Open the index with one or two files edited, and search it."""
    files = dict(base.files)
    for name in rng.sample(FILES, rng.choice((1, 1, 1, 2))):
        files[name] = _EDITS[name](files[name], rng)
    for name, data in files.items():
        (base.folder / name).write_bytes(data)
    query = rng.choice(("a car", np.ones(384, np.float32), np.ones((2, 384), np.float32)))
    found = list[tuple[Index, list[str], IndexHits]]()

    def tried() -> None:
        index = open_index(base.folder, encoder=base.encoder)
        found.append((index, list(index.texts), index.search(query, 3)))

    if refused(tried, naming=str(base.folder)):
        return False
    check(base.folder, *found[0], query)
    return True


def check(folder: Path, index: Index, texts: list[str], hits: IndexHits, query: Any) -> None:
    """Raise Difference unless what was read is what NumPy and json read."""
    vectors = np.load(folder / VECTORS, allow_pickle=False)
    if vectors.dtype != index.vectors.dtype or vectors.tobytes() != index.vectors.tobytes():
        raise Difference("NumPy reads other vectors")
    ends = np.load(folder / OFFSETS, allow_pickle=False).tolist()
    data = (folder / TEXTS).read_bytes()
    if texts != [json.loads(data[a:b]) for a, b in pairwise(ends)]:
        raise Difference("json reads other texts")
    if len(texts) != len(index) or len(texts) != len(vectors):
        raise Difference(f"{len(index)} texts, {len(vectors)} vectors")
    if not isinstance(query, str):
        name = index.similarity_fn_name
        expected = search(query, vectors, 3, name)
        if name != "cosine" and not np.allclose(expected.scores, hits.scores, rtol=1e-4):
            raise Difference(f"search finds {expected.scores}, not {hits.scores}")
    rows = np.atleast_2d(hits.indices).tolist()
    some = [hits.texts] if hits.indices.ndim == 1 else hits.texts
    if some != [[texts[row] for row in each] for each in rows]:
        raise Difference("the texts of the hits are others than those of their rows")


def _edited_json(data: bytes, rng: random.Random) -> bytes:
    """Return index.json with members or bytes changed, some of them to what may stand there."""
    way = rng.random()
    if way < 0.2:
        name, values = rng.choice(_RIGHT)
        return json.dumps({**json.loads(data), name: rng.choice(values)}).encode()
    if way < 0.8:
        return changed(data.decode(), rng, _VALUES, ("count", "width", "x"), most=2)
    return edited(data, rng)


def _edited_vectors(data: bytes, rng: random.Random) -> bytes:
    """Return vectors.npy with its header, its length or a number changed."""
    way = rng.random()
    if way < 0.3:
        return edited(data[:128], rng, _PIECES, most=2) + data[128:]
    if way < 0.5:
        return data[: rng.randint(0, len(data))] + rng.randbytes(rng.choice((0, 1, 4, 1536)))
    place = 128 + 4 * rng.randrange((len(data) - 128) // 4)
    number = rng.choice((np.nan, np.inf, -np.inf, 3e38, 1e-40, 0.0, 2.0))
    return data[:place] + struct.pack("<f", number) + data[place + 4 :]


def _edited_texts(data: bytes, rng: random.Random) -> bytes:
    """Return texts.jsonl with any bytes changed, or one, perhaps within a string."""
    if rng.random() < 0.5:
        return edited(data, rng)
    place = rng.randrange(len(data))
    return data[:place] + rng.choice(b"abcde").to_bytes() + data[place + 1 :]


def _edited_offsets(data: bytes, rng: random.Random) -> bytes:
    """Return offsets.npy with its header or an offset changed."""
    if rng.random() < 0.3:
        return edited(data, rng, _PIECES, most=2)
    place = 128 + 8 * rng.randrange((len(data) - 128) // 8)
    old = struct.unpack_from("<q", data, place)[0]
    new = rng.choice((*_BACK, old + 1, old - 1, old // 2, rng.randint(0, 99)))
    return data[:place] + struct.pack("<q", new) + data[place + 8 :]


_EDITS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    INDEX: _edited_json,
    VECTORS: _edited_vectors,
    TEXTS: _edited_texts,
    OFFSETS: _edited_offsets,
}
TARGETS = [Target("corpus-index", "NumPy's reader and json", prepare, attempt, cost=4)]
