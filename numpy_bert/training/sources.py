"""Which kind of file is trained on: texts a line, or a table; what is neither is refused."""

from __future__ import annotations

from pathlib import Path

from numpy_bert.errors import InputError
from numpy_bert.files import read_bytes

__all__ = ["is_table", "read_source", "read_table_source"]

# Nobody trains on more with this package, and what is larger is somebody's mistake.
_LARGEST = 2_000_000_000
_TABLES = (".csv", ".tsv", ".tab")
# What is no text a line, though some of it could be read as if it were.
_OTHERS = {
    "JSON": (".json", ".jsonl", ".ndjson"),
    "a page of markup": (".html", ".htm", ".xml"),
    "a table in binary": (".parquet", ".pq", ".feather", ".arrow", ".orc", ".avro", ".h5", ".hdf5"),
    "a spreadsheet": (".xlsx", ".xls", ".ods"),
    "a document": (".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub"),
    "compressed": (".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".7z", ".tar", ".rar"),
    "a file of arrays or objects": (".npy", ".npz", ".pkl", ".pickle", ".pt", ".safetensors"),
    "a database": (".db", ".sqlite", ".sqlite3"),
}
# By their first bytes, whatever they are called.
_MAGIC = {
    b"PAR1": "a table in binary (Parquet)",
    b"ARROW1": "a table in binary (Arrow)",
    b"PK\x03\x04": "compressed (zip, as spreadsheets are)",
    b"\x1f\x8b": "compressed (gzip)",
    b"BZh": "compressed (bzip2)",
    b"\xfd7zXZ\x00": "compressed (xz)",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)",
    b"%PDF-": "a document (PDF)",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


def is_table(path: Path) -> bool:
    """Tell whether a file is a table, by the end of its name: .csv, .tsv or .tab.

    Examples
    --------
    >>> is_table(Path("reviews.CSV")), is_table(Path("texts.txt"))
    (True, False)
    """
    return path.suffix.lower() in _TABLES


def read_source(path: Path) -> bytes:
    """Return the bytes of a file that can be text; refuse another kind by its name.

    Raises
    ------
    InputError
        Naming the file, and what it is; also if it cannot be read, or has a NUL byte in it.
    """
    suffix = path.suffix.lower()
    data = read_bytes(path, error=InputError, limit=_LARGEST)
    for what, suffixes in _OTHERS.items():
        if suffix in suffixes:
            raise _refused(path, what)
    for start, what in _MAGIC.items():
        if data.startswith(start):
            raise _refused(path, what)
    if b"\x00" in data:
        line = data[: data.index(b"\x00")].count(b"\n") + 1
        raise _refused(path, f"binary, or text in UTF-16 (line {line} has a NUL byte)")
    return data


def read_table_source(path: Path) -> str:
    """Return a table as text.

    Raises
    ------
    InputError
        As of `read_source`, and naming the line that is not UTF-8.
    """
    data = read_source(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data[: failure.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (byte {failure.start}, "
            f"0x{data[failure.start]:02x}); convert the file, or mend the line."
        ) from None


def _refused(path: Path, what: str) -> InputError:
    """Say what a file is instead of text."""
    return InputError(
        f"{path}: is {what}; a text a line in UTF-8, or a table (.csv, .tsv) was expected. Save "
        "the texts as one of these."
    )
