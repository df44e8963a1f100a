"""The files of an index: what each must hold, how it is written, and how it is read.

An index is a folder of four files. ``vectors.npy`` has a row for each text, ``texts.jsonl`` the
texts, a JSON string a line, ``offsets.npy`` where each line begins and the last one ends, and
``index.json`` says what the others must hold, and how queries are to be encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from numpy_bert.corpora.npy import mapped, npy_array, npy_start
from numpy_bert.encoding import MODES
from numpy_bert.encoding.similarity import SIMILARITIES
from numpy_bert.errors import CheckpointError
from numpy_bert.files import encode_json, file_size, look, read_json, trouble, writing
from numpy_bert.messages import must_be, named

__all__ = [
    "FILES",
    "INDEX",
    "OFFSETS",
    "TEXTS",
    "VECTORS",
    "Description",
    "Texts",
    "complete",
    "read_description",
    "read_texts",
    "read_vectors",
]

INDEX, VECTORS, TEXTS, OFFSETS = "index.json", "vectors.npy", "texts.jsonl", "offsets.npy"
FILES = (INDEX, VECTORS, TEXTS, OFFSETS)
_FORMAT = "numpy_bert.index/1"
_ANEW = "Make the folder anew: numpy-bert encode --input FILE --index DIR --force."
_AS_SAID = f"as {INDEX} says. {_ANEW}"
_LARGEST = 1 << 20
_MOST_TEXTS, _MOST_FEATURES, _MOST_TOKENS = 1 << 48, 1 << 20, 1 << 30
_LINES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What index.json says.

    Attributes
    ----------
    model, revision : str, str or None
        The model, a folder or a repository's name, and its commit if it came from the hub.
    similarity_fn_name : str
        How vectors are compared. For "cosine" they have been scaled to length 1.
    pooling, truncate_dim, max_seq_length, normalize_embeddings
        How texts became vectors, as `SentenceEncoder` calls it; queries must, too.
    prompt : str
        What was put before each text, and is not put before a query.
    count, width, dtype : int, int, str
        How many vectors there are, of how many features, and what these are stored in.
    """

    model: str
    revision: str | None
    similarity_fn_name: str
    pooling: tuple[str, ...]
    truncate_dim: int | None
    max_seq_length: int
    normalize_embeddings: bool
    prompt: str
    count: int = 0
    width: int = 0
    dtype: str = "float32"


class Texts(Sequence[str]):
    r"""The texts of an index, each read when it is asked for.

    Examples
    --------
    >>> lines = np.frombuffer(b'"a"\n"b"\n', np.uint8)
    >>> texts = Texts(Path("texts.jsonl"), lines, np.array([0, 4, 8]))
    >>> texts[1], len(texts), texts[-2:]
    ('b', 2, ['a', 'b'])
    """

    def __init__(
        self, path: Path, lines: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
    ) -> None:
        self._path, self._lines, self._offsets = path, lines, offsets

    def __repr__(self) -> str:
        return f"Texts({len(self):,} in {named(self._path)})"

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """Return the text of a row, or those of some; CheckpointError where none stands there."""
        if isinstance(row, slice):
            return [self._text(number) for number in range(*row.indices(len(self)))]
        return self._text(range(len(self))[row])

    def sizes(self, most: int) -> npt.NDArray[np.int64]:
        """Return how many bytes each of the first `most` texts takes."""
        return np.diff(self._offsets[: most + 1])

    def _text(self, row: int) -> str:
        start, stop = map(int, self._offsets[row : row + 2])
        line = self._lines[start:stop].tobytes() if 0 <= start < stop else b""
        # What begins so is a string or no JSON at all.
        if line[:1] == b'"' and line[-1:] == b"\n":
            try:
                return str(json.loads(line))
            except ValueError:
                pass
        raise CheckpointError(
            f"{named(self._path)}: line {row + 1} must be a JSON string where {OFFSETS} says that "
            f"it stands, at byte {start:,}; the files do not fit each other. {_ANEW}"
        )


def complete(folder: Path, description: Description) -> None:
    """Add to a folder that has vectors and texts what else makes it an index; index.json last."""
    rows = description.count
    with writing(folder / OFFSETS, size=8 * (rows + 1)) as file:
        file.write(npy_start((rows + 1,), "<i8"))
        file.writelines(block.tobytes() for block in _offsets(folder / TEXTS))
    said = {"format": _FORMAT, **asdict(description)}
    with writing(folder / INDEX) as file:
        file.write(encode_json(said))


def _offsets(path: Path) -> Iterator[npt.NDArray[np.int64]]:
    """Yield where the lines of a file begin, some at a time, and where the last one ends."""
    at = 0
    with path.open("rb") as file:
        yield np.zeros(1, "<i8")
        while sizes := [len(line) for line in islice(file, _LINES)]:
            ends = np.cumsum(sizes, dtype="<i8") + at
            at = int(ends[-1])
            yield ends


def read_description(folder: Path) -> Description:
    """Return what index.json says.

    Raises
    ------
    CheckpointError
        If the folder is no whole index, or of another version; one line says what to do.
    """
    found = look(folder)
    if found != "folder":
        what = trouble(folder) or "is no folder"
        raise CheckpointError(
            f"{named(folder)}: {what}; name the folder that numpy-bert encode --index has made."
        )
    if look(folder / INDEX) == "absent":
        part = folder.with_name(f"{folder.name}.part")
        is_begun = folder.suffix == ".part" or look(part) == "folder"
        advice = "Give the command that makes it again, which goes on." if is_begun else _ANEW
        raise CheckpointError(f"{named(folder)}: is no whole index (no {INDEX}). {advice}")
    path = folder / INDEX
    said = read_json(path, error=CheckpointError, limit=_LARGEST)
    if said.get("format") != _FORMAT:
        raise CheckpointError(
            f"{named(path)}: {must_be('format', repr(_FORMAT), said.get('format'))} Another "
            f"version of numpy_bert made it. {_ANEW}"
        )
    values: dict[str, Any] = {}
    for field in fields(Description):
        wanted, is_right = _RIGHT[field.name]
        values[field.name] = value = said.get(field.name)
        if not is_right(value):
            raise CheckpointError(f"{named(path)}: {must_be(field.name, wanted, value)} {_ANEW}")
    return Description(**{**values, "pooling": tuple(values["pooling"])})


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value == value.encode(errors="replace").decode()


def _are_modes(value: object) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= len(MODES)
    return is_list and all(isinstance(mode, str) and mode in MODES for mode in value)  # type: ignore[attr-defined]


# What each member of index.json must be.
_RIGHT: dict[str, tuple[str, Any]] = {
    "model": ("the name of a model", lambda v: _is_text(v) and 0 < len(v) < 4096 and "\0" not in v),
    "revision": (
        "a commit or null",
        lambda v: v is None or (isinstance(v, str) and re.fullmatch("[0-9a-f]{40}", v)),
    ),
    "similarity_fn_name": (
        f"one of {', '.join(SIMILARITIES)}",
        lambda v: isinstance(v, str) and v in SIMILARITIES,
    ),
    "pooling": (f"a list of some of {', '.join(MODES)}", _are_modes),
    "truncate_dim": (
        "a whole number from 1, or null",
        lambda v: v is None or _is_count(v, 1, _MOST_FEATURES),
    ),
    "max_seq_length": ("a whole number from 1", lambda v: _is_count(v, 1, _MOST_TOKENS)),
    "normalize_embeddings": ("true or false", lambda v: isinstance(v, bool)),
    "prompt": ("a text", _is_text),
    "count": ("a whole number", lambda v: _is_count(v, 0, _MOST_TEXTS)),
    "width": ("a whole number from 1", lambda v: _is_count(v, 1, _MOST_FEATURES)),
    "dtype": (
        "float16, float32 or float64",
        lambda v: isinstance(v, str) and v in ("float16", "float32", "float64"),
    ),
}


def read_vectors(folder: Path, description: Description) -> npt.NDArray[Any]:
    """Return the vectors of an index, mapped; CheckpointError unless they are as it says."""
    shape = (description.count, description.width)
    return npy_array(folder / VECTORS, shape, np.dtype(description.dtype), _AS_SAID)


def read_texts(folder: Path, description: Description) -> Texts:
    """Return the texts of an index, mapped; CheckpointError unless their offsets fit the file."""
    shape = (description.count + 1,)
    offsets = npy_array(folder / OFFSETS, shape, np.dtype(np.int64), _AS_SAID)
    path = folder / TEXTS
    size = file_size(path, error=CheckpointError)
    if offsets[0] != 0 or offsets[-1] != size:
        raise CheckpointError(
            f"{named(path)}: must have {int(offsets[-1]):,} bytes, as {OFFSETS} says; got "
            f"{size:,}. {_ANEW}"
        )
    return Texts(path, np.frombuffer(mapped(path), np.uint8), offsets)
