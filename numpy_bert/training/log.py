"""A run's log: a line of JSON for each thing that it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy_bert.errors import OutputError
from numpy_bert.files import write_atomically

__all__ = ["Log"]

# The members of the lines that a run writes.
_LINES = (
    frozenset({"step", "loss", "learning_rate", "tokens_per_second"}),
    frozenset({"step", "evaluation"}),
)
# With which each of them begins.
_START = b'{"step": '


class Log:
    r"""A file of JSON lines: of a step its loss, rate and speed, or what an evaluation gave.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "log.jsonl"
    ...     log = Log(path)
    ...     log.write({"step": 1, "evaluation": 2.5})
    ...     log.write({"step": 2, "evaluation": 2.0})
    ...     log.rewind(1)
    ...     path.read_text()
    '{"step": 1, "evaluation": 2.5}\n'
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add a line.

        Raises
        ------
        OutputError
            If the file cannot be written to.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, allow_nan=False) + "\n")
        except OSError as failure:
            raise OutputError(f"{self._path}: {failure.strerror}.") from None

    def rewind(self, step: int, judged: int | None = None) -> None:
        """Drop what is said of steps after this one, which are to be taken again.

        Evaluations are dropped that were made after the step `judged`, if it is given. A last line
        without an end was being written when the run was stopped, and is dropped too.

        Raises
        ------
        OutputError
            If a line is none that a run writes: then nothing has changed.
        """
        last = step if judged is None else judged
        *lines, rest = self._read().split(b"\n")
        entries = [_entry(line) for line in lines]
        if None in entries or not _is_begun(rest):
            number = entries.index(None) + 1 if None in entries else len(lines) + 1
            raise OutputError(
                f"{self._path}: no run wrote its line {number}, and this run would cut the file; "
                "train into another folder, or move it."
            )
        kept = [
            line + b"\n"
            for line, entry in zip(lines, entries, strict=True)
            if entry is not None and entry["step"] <= (last if "evaluation" in entry else step)
        ]
        if rest or len(kept) < len(lines):
            write_atomically(self._path, b"".join(kept))

    def _read(self) -> bytes:
        """Return what the file holds, nothing where there is none."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as failure:
            raise OutputError(
                f"{self._path}: cannot be read ({failure.strerror}); train into another folder, "
                "or move it."
            ) from None


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return a line of a run's log, None where it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.keys() not in _LINES or type(entry["step"]) is not int:
        return None
    return entry


def _is_begun(rest: bytes) -> bool:
    """Tell whether bytes may be the start of a line; zeros are what a loss of power leaves."""
    rest = rest.rstrip(b"\0")
    return rest[: len(_START)] == _START[: len(rest)]
