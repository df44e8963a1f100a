"""A port that is run by a command, once for each set of arrays that is asked of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from numpy_bert.errors import InputError, TraceError
from numpy_bert.files import is_listed
from numpy_bert.messages import quoted
from numpy_bert.traces.names import NameMap
from numpy_bert.traces.reading import Trace, open_trace

__all__ = ["FORMATS", "CommandPort"]

# How arrays are handed over, and what the names of the files end in: a folder's in nothing.
FORMATS: Mapping[str, str] = MappingProxyType(
    {"npz": ".npz", "npy": "", "safetensors": ".safetensors"}
)
_PLACEHOLDERS = ("inputs", "names", "output")
_LAST_LINES = 5
_LAST_BYTES = 2000


class CommandPort:
    """A port that a command runs, for `numpy_bert.verification.bisect.bisect`.

    The command is told three things, in its arguments, where ``{inputs}``, ``{names}`` and
    ``{output}`` stand for them, and in the environment, as NUMPY_BERT_INPUTS, NUMPY_BERT_NAMES and
    NUMPY_BERT_OUTPUT: where ``input_ids``, ``attention_mask`` and ``token_type_ids`` are, which
    arrays are wanted, joined by commas, and where they are to be written.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    inputs : mapping of str to ndarray
        What the port is run on.
    folder : Path
        A folder for the files that are handed over.
    form : str
        How arrays are handed over: one of `FORMATS`. What comes back may have any of them.
    names : NameMap, optional
        What the port calls the steps.
    timeout : float, optional
        After how many seconds a run is ended; without it none is.

    Raises
    ------
    InputError
        If there is no such program.
    TraceError
        If the port fails, takes too long, or writes nothing that can be read.

    Examples
    --------
    >>> import sys, tempfile
    >>> ids = {"input_ids": np.array([[2, 5, 3]])}
    >>> copy = "import shutil, sys; shutil.copy(*sys.argv[1:])"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     words = [sys.executable, "-c", copy, "{inputs}", "{output}"]
    ...     CommandPort(words, ids, Path(folder))(["encoder"]).get("input_ids")
    array([[2, 5, 3]])
    """

    def __init__(
        self,
        command: Sequence[str],
        inputs: Mapping[str, Any],
        folder: Path,
        *,
        form: str = "npz",
        names: NameMap | None = None,
        timeout: float | None = None,
    ) -> None:
        self._command = list(command)
        self._folder = folder.absolute()
        self._end = FORMATS[form]
        self._names = names
        self._timeout = timeout
        self._count = 0
        self._inputs = self._folder / f"inputs{self._end}"
        _write(self._inputs, inputs)

    def __call__(self, names: Sequence[str]) -> Trace:
        """Run the port once, and return what it has written."""
        self._count += 1
        output = self._folder / f"run{self._count}{self._end}"
        if not self._end:
            output.mkdir()
        log = self._folder / f"run{self._count}.log"
        told = dict(
            zip(_PLACEHOLDERS, (str(self._inputs), ",".join(names), str(output)), strict=True)
        )
        self._run(told, log)
        if not is_listed(output):
            raise TraceError(
                f"{self._where} must write its arrays where it is told to ({{output}} or "
                f"NUMPY_BERT_OUTPUT); it wrote nothing there.{_last_words(log)}"
            )
        return open_trace(output, self._names)

    @property
    def _where(self) -> str:
        """What messages call the run."""
        return f"run {self._count} of the port ({quoted(shlex.join(self._command))})"

    def _run(self, told: Mapping[str, str], log: Path) -> None:
        """Run the command to its end; whatever happens, nothing of it goes on."""
        words = [_filled(word, told) for word in self._command]
        known = {f"NUMPY_BERT_{name.upper()}": value for name, value in told.items()}
        with log.open("wb") as file:
            try:
                process = subprocess.Popen(  # noqa: S603 - to run it is what is asked for
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **known},
                    start_new_session=True,
                )
            except (OSError, ValueError) as failure:
                reason = getattr(failure, "strerror", None) or str(failure)
                raise InputError(
                    f"{quoted(words[0])} must be a program; it cannot be run ({reason})."
                ) from None
            try:
                code = process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                raise TraceError(
                    f"{self._where} must end within {self._timeout:g} seconds; it did not. Give it "
                    f"more (--timeout), or fewer and shorter texts.{_last_words(log)}"
                ) from None
            finally:
                _end(process)
        if code:
            how = f"exit status {code}" if code > 0 else f"signal {-code}"
            raise TraceError(
                f"{self._where} must end with exit status 0; got {how}.{_last_words(log)}"
            )


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays in the format that the path's name ends in."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix:
        from safetensors.numpy import save_file

        save_file(dict(arrays), path)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)


def _filled(word: str, told: Mapping[str, str]) -> str:
    """Put what is told in the place of the placeholders; other braces stay."""
    for name, value in told.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, with all that it has started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _last_words(log: Path) -> str:
    """Return the last lines that a port has printed, below the message that they explain."""
    size = log.stat().st_size
    with log.open("rb") as file:
        file.seek(max(size - _LAST_BYTES, 0))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    said = [line.rstrip() for line in lines if line.strip()][-_LAST_LINES:]
    return "".join(f"\n  {line}" for line in said)
