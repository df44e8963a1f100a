"""A run's log: a line of JSON for each thing that it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy_bert.errors import OutputError
from numpy_bert.files import write_atomically

__all__ = ["Log"]


class Log:
    r"""A file of JSON lines, each of which has a member "step".

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "log.jsonl"
    ...     log = Log(path)
    ...     log.write({"step": 1, "loss": 2.5})
    ...     log.write({"step": 2, "loss": 2.0})
    ...     log.rewind(1)
    ...     path.read_text()
    '{"step": 1, "loss": 2.5}\n'
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

        Evaluations are dropped that were made after the step `judged`, if it is given.
        """
        last = step if judged is None else judged
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                if entry["step"] <= (last if "evaluation" in entry else step):
                    kept.append(line)
            except (ValueError, KeyError, TypeError):  # a line that was being written
                continue
        write_atomically(self._path, b"".join(line + b"\n" for line in kept))
