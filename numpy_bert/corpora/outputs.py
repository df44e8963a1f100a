"""What a job writes: arrays, JSON lines or a Parquet file, made of files that grow."""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.corpora.journal import Parts
from numpy_bert.corpora.npy import npy_start
from numpy_bert.corpora.sources import Record
from numpy_bert.encoding.quantization import quantize_embeddings, quantized_shape, ranges_of_blocks
from numpy_bert.errors import InputError
from numpy_bert.extras import optional
from numpy_bert.files import check_output, check_space, take_name, writing
from numpy_bert.messages import quoted
from numpy_bert.progress import PATIENCE, progress

__all__ = ["Output", "StoredTexts", "StoredVectors", "file_output", "text_lines"]

# Bytes of vectors that are read at a time; rows of a group in a Parquet file, and characters of
# its texts unless one has more.
_BLOCK = 8 << 20
_GROUP, _CHARACTERS = 1 << 14, 1 << 24
_LATE = ("int8", "uint8")


class Output(Protocol):
    """What a job makes at `path`: a file, or a folder with an index.

    The job calls `check` before anything else, `begin` once, `add` for each block and `finish` when
    the input has ended. What `add` writes by ``parts.write`` into files that ``parts.grow`` has
    opened is kept when the job is killed, and cut back to whole blocks when it goes on; nothing
    else is.

    Attributes
    ----------
    path : Path
        What takes its name at the end.
    precision : str
        How vectors are stored.
    identity : mapping of str to object
        JSON values, by names for a message, that must be the same where a job goes on.
    """

    path: Path
    precision: str

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what must be the same where a job goes on."""

    def check(self, *, force: bool) -> None:
        """Raise OutputError unless the output can be made without loss."""

    def begin(self, parts: Parts, width: int, dtype: np.dtype[Any]) -> None:
        """Open the files that grow, for vectors of so many features of this dtype."""

    def add(self, records: Sequence[Record], vectors: Array) -> None:
        """Add the vectors of a block, (n, width), and the records that they are of."""

    def finish(self, sign: Callable[[Path], None]) -> None:
        """Make the output of all files, in one step, and again if this was killed in between.

        `sign` is called with what is about to take the output's name, once that is on the disk.
        """


class StoredVectors:
    """Vectors in a .npy file of a job that grows, read back in blocks as they are to be stored.

    Parameters
    ----------
    parts : Parts
        The folder of the job.
    width : int
        How many features a vector has.
    dtype : dtype
        What `add` gets.
    name : str
        The file's name in the folder.
    """

    def __init__(
        self, parts: Parts, width: int, dtype: np.dtype[Any], name: str = "vectors.npy"
    ) -> None:
        self._parts, self._name, self._width, self._dtype = parts, name, width, np.dtype(dtype)
        start = npy_start((0, width), self._dtype)
        self._file = parts.grow(name, start)
        self._start = len(start)
        self._row = width * self._dtype.itemsize
        self.path = parts.folder / name

    def add(self, vectors: Array) -> None:
        """Add the vectors of a block."""
        self._parts.write(self._name, _bytes_of(vectors.astype(self._dtype, copy=False)))

    def seal(self) -> None:
        """Write the number of vectors into the file, which is whole then, and close all files."""
        self.rows = (self._file.size - self._start) // self._row
        self._parts.seal(self._name, npy_start((self.rows, self._width), self._dtype))

    def shape(self, precision: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and dtype that all vectors have at a precision, once sealed."""
        shape = (self.rows, self._width)
        late = precision if precision in _LATE else "float32"  # others are that already
        return quantized_shape(shape, self._dtype, late)

    def blocks(self, precision: str) -> Iterator[Array]:
        """Yield all vectors at a precision, some megabytes at a time, once sealed."""
        ranges = None
        if precision in _LATE and self.rows:
            ranges = ranges_of_blocks(self._read(), precision, stacklevel=3)
        size = self.rows * self._row
        with progress(size, "writing", least=1, delay=PATIENCE) as report:
            for block in self._read():
                yield block if ranges is None else quantize_embeddings(block, precision, ranges)
                report(block.nbytes)

    def _read(self) -> Iterator[Array]:
        """Yield the vectors as they stand in the file; if it were mapped, its pages would count."""
        rows = max(1, _BLOCK // self._row)
        with self.path.open("rb") as file:
            file.seek(self._start)
            while data := file.read(rows * self._row):
                yield np.frombuffer(data, self._dtype).reshape(-1, self._width)


class StoredTexts:
    """Texts in a file of a job that grows, a JSON string a line."""

    def __init__(self, parts: Parts, name: str = "texts.jsonl") -> None:
        self._parts, self._name = parts, name
        self.path = parts.folder / name
        parts.grow(name)

    def add(self, records: Sequence[Record]) -> None:
        """Add the texts of a block."""
        lines = text_lines(record.text for record in records)
        self._parts.write(self._name, b"".join(lines))

    def __iter__(self) -> Iterator[str]:
        """Yield the texts, once the files of the job are closed."""
        with self.path.open("rb") as file:
            for line in file:
                yield json.loads(line)


def text_lines(texts: Iterable[str]) -> Iterator[bytes]:
    r"""Return texts as the lines of a texts.jsonl, a JSON string each.

    Examples
    --------
    >>> list(text_lines(["a", "b"]))
    [b'"a"\n', b'"b"\n']
    """
    return (f"{json.dumps(text, ensure_ascii=False)}\n".encode() for text in texts)


def _bytes_of(vectors: Array) -> memoryview:
    """Return the bytes of an array, row by row."""
    return np.ascontiguousarray(vectors).reshape(-1).view(np.uint8).data


class _FileOutput(ABC):
    """A file that is made of the stored vectors, and the texts where it has them."""

    has_texts = False

    def __init__(self, path: Path, precision: str) -> None:
        self.path, self.precision = path, precision
        self._vectors: StoredVectors
        self._texts: StoredTexts

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what the output is."""
        return {"output": self.path.suffix, "precision": self.precision}

    def check(self, *, force: bool) -> None:
        """Raise OutputError unless the file can be written without loss."""
        check_output(self.path, force=force)

    def begin(self, parts: Parts, width: int, dtype: np.dtype[Any]) -> None:
        """Open the files that grow."""
        self._parts = parts
        self._vectors = StoredVectors(parts, width, dtype)
        if self.has_texts:
            self._texts = StoredTexts(parts)

    def add(self, records: Sequence[Record], vectors: Array) -> None:
        """Add a block."""
        self._vectors.add(vectors)
        if self.has_texts:
            self._texts.add(records)

    def finish(self, sign: Callable[[Path], None]) -> None:
        """Write the file beside its name, which it takes once it is whole."""
        self._vectors.seal()
        shape, dtype = self._vectors.shape(self.precision)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        check_space(self.path, size, "Make room; the same command goes on from there.")
        with writing(self.path, sign, size=size) as file:
            self.write(file, shape, dtype)

    def blocks(self) -> Iterator[memoryview]:
        """Yield the bytes of all vectors."""
        for block in self._vectors.blocks(self.precision):
            yield _bytes_of(block)

    @abstractmethod
    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write all of the file."""


class _Npy(_FileOutput):
    """The array alone, as `numpy.save` writes it."""

    def finish(self, sign: Callable[[Path], None]) -> None:
        """Give the file that has grown its name; what is quantized first is written anew."""
        if self.precision in _LATE:
            super().finish(sign)
            return
        self._vectors.seal()
        sign(self._vectors.path)
        take_name(self._vectors.path, self.path)

    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write all of the file."""
        file.write(npy_start(shape, dtype))
        file.writelines(self.blocks())


class _Npz(_FileOutput):
    """The array as "vectors", as `numpy.savez` writes it."""

    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write all of the file."""
        with (
            zipfile.ZipFile(file, "w", allowZip64=True) as archive,
            archive.open("vectors.npy", "w", force_zip64=True) as entry,
        ):
            entry.write(npy_start(shape, dtype))
            for block in self.blocks():
                entry.write(block)


class _Safetensors(_FileOutput):
    """The array as the tensor "vectors"."""

    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write all of the file."""
        letter = {"f": "F", "i": "I", "u": "U"}[dtype.kind]
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        tensor = {
            "dtype": f"{letter}{8 * dtype.itemsize}",
            "shape": list(shape),
            "data_offsets": [0, size],
        }
        head = json.dumps({"vectors": tensor}, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        file.write(len(head).to_bytes(8, "little") + head)
        file.writelines(self.blocks())


class _JsonLines(_FileOutput):
    """A line of JSON for each text: the text, and its vector as numbers."""

    has_texts = True

    def begin(self, parts: Parts, width: int, dtype: np.dtype[Any]) -> None:
        """Open the files that grow: the lines themselves, where no vector waits for others."""
        if self.precision in _LATE:
            super().begin(parts, width, dtype)
        else:
            self._parts = parts
            parts.grow("lines.jsonl")

    def add(self, records: Sequence[Record], vectors: Array) -> None:
        """Add a block."""
        if self.precision in _LATE:
            super().add(records, vectors)
        else:
            lines = _json_lines((record.text for record in records), vectors)
            self._parts.write("lines.jsonl", b"".join(lines))

    def finish(self, sign: Callable[[Path], None]) -> None:
        """Give the lines their name; what is quantized first is written anew."""
        if self.precision in _LATE:
            super().finish(sign)
            return
        self._parts.close()
        made = self._parts.folder / "lines.jsonl"
        sign(made)
        take_name(made, self.path)

    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:  # noqa: ARG002
        """Write all of the file."""
        texts = iter(self._texts)
        for block in self._vectors.blocks(self.precision):
            file.writelines(_json_lines(texts, block))


def _json_lines(texts: Iterable[str], vectors: Array) -> Iterator[bytes]:
    """Yield the lines of a block; a number has the digits that tell it from others of its dtype."""
    # The vectors first: zip would take one text too many.
    for vector, text in zip(vectors, texts, strict=False):
        quoted_text, numbers = json.dumps(text, ensure_ascii=False), ", ".join(map(str, vector))
        yield f'{{"text": {quoted_text}, "vector": [{numbers}]}}\n'.encode()


class _Parquet(_FileOutput):
    """A table with the columns text, and vector as a list of a fixed size."""

    has_texts = True

    def __init__(self, path: Path, precision: str) -> None:
        super().__init__(path, precision)
        self._parquet = optional("pyarrow.parquet", "parquet", "A Parquet file")
        self._arrow = optional("pyarrow", "parquet", "A Parquet file")

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what the output is, and what writes it."""
        return {**super().identity, "pyarrow": self._arrow.__version__}

    def write(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write all of the file, a group of rows at a time."""
        arrow = self._arrow
        kind = arrow.list_(arrow.from_numpy_dtype(dtype), shape[1])
        schema = arrow.schema([("text", arrow.string()), ("vector", kind)])
        texts = iter(self._texts)
        with self._parquet.ParquetWriter(file, schema, use_dictionary=False) as writer:
            for given, vectors in _in_groups(texts, self._vectors.blocks(self.precision)):
                some = arrow.array(given, arrow.string())
                flat = arrow.array(vectors.reshape(-1))
                lists = arrow.FixedSizeListArray.from_arrays(flat, type=kind)
                writer.write_table(arrow.table([some, lists], schema=schema), row_group_size=_GROUP)


def _in_groups(texts: Iterator[str], blocks: Iterable[Array]) -> Iterator[tuple[list[str], Array]]:
    """Yield texts with their vectors, so many together that long ones fit into memory, too."""
    for vectors in _in_rows(blocks, _GROUP):
        some, characters, start = list[str](), 0, 0
        for row, text in enumerate(islice(texts, len(vectors))):
            if some and characters + len(text) > _CHARACTERS:
                yield some, vectors[start:row]
                some, characters, start = [], 0, row
            some.append(text)
            characters += len(text)
        yield some, vectors[start:]


def _in_rows(blocks: Iterable[Array], rows: int) -> Iterator[Array]:
    """Yield the same vectors in blocks of so many, the last one shorter."""
    rest: Array | None = None
    for block in blocks:
        whole = block if rest is None else np.concatenate([rest, block])
        last = len(whole) - len(whole) % rows
        for start in range(0, last, rows):
            yield whole[start : start + rows]
        rest = whole[last:]
    if rest is not None and len(rest):
        yield rest


_KINDS: Mapping[str, type[_FileOutput]] = MappingProxyType(
    {
        ".npy": _Npy,
        ".npz": _Npz,
        ".safetensors": _Safetensors,
        ".jsonl": _JsonLines,
        ".parquet": _Parquet,
    }
)


def file_output(path: Path, precision: str) -> Output:
    """Return the output that a file's name asks for by its end.

    Raises
    ------
    InputError
        If no output is written to a file with that end, or its package is missing.

    Examples
    --------
    >>> file_output(Path("vectors.npy"), "float16").identity
    {'output': '.npy', 'precision': 'float16'}
    """
    if path.suffix not in _KINDS:
        raise InputError(f"{quoted(path)}: the name must end in one of {', '.join(_KINDS)}.")
    return _KINDS[path.suffix](path, precision)
