"""What a run keeps in its folder: the checkpoint that it goes on from, its best weights, its log.

There is no generator's state in a checkpoint: the order of an epoch and the draws of a batch come
from generators that are seeded by the run's seed and by the number of the epoch or batch, so that
the number of the step says all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert import folder_lock
from numpy_bert.arrays import Array
from numpy_bert.errors import CheckpointError, NumpyBertError, OutputError, TrainingError
from numpy_bert.files import is_listed, look, read_json, trouble, write_atomically
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.integrity import sha256
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.messages import quoted
from numpy_bert.model.saving import write_tensors
from numpy_bert.training.identity import Identity
from numpy_bert.training.optimizer import AdamW

__all__ = [
    "BEST",
    "CHECKPOINT",
    "FINISHED",
    "LOCK",
    "LOG",
    "Best",
    "Log",
    "Progress",
    "alone",
    "check_alone",
    "check_free",
    "check_writable",
    "read_best",
    "read_finished",
    "read_state",
    "score_of",
    "write_best",
    "write_finished",
    "write_state",
]

# The files in the folder of a run: what it goes on from, and what it said.
CHECKPOINT, BEST, LOG = "checkpoint.safetensors", "best.safetensors", "log.jsonl"
# What stands there in the place of the first two once the model is saved.
FINISHED = "finished.json"
# What stands there while a run writes.
LOCK = "training.lock"
# Larger than what is said of a run with very many labels.
_LARGEST = 1 << 26
_CONTRACT = "numpy_bert.training/4"
# The members of the lines of a log, and with what each of them begins.
_LINES = (
    frozenset({"step", "loss", "learning_rate", "tokens_per_second"}),
    frozenset({"step", "evaluation"}),
)
_START = b'{"step": '


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: steps taken, the best evaluation and how many were no better since.

    `best` is None until an evaluation is a finite number; `judged` is the step that was evaluated
    last, 0 before the first.
    """

    step: int = 0
    best: float | None = None
    worse: int = 0
    judged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The step of the best parameters so far, its score, and the identity of what gave it."""

    step: int
    score: float
    evaluate: str | None


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which files of something else than a run would be replaced.

    Parameters
    ----------
    folder : Path
        The folder, which need not be there.
    names : iterable of str
        What the model's saving writes beside config.json and model.safetensors.

    Raises
    ------
    OutputError
        If there is such a file and nothing of a run, or the folder is none or cannot be looked at.
    """
    found = look(folder)
    if found not in ("absent", "folder"):
        what = trouble(folder) or "is no folder"
        raise OutputError(f"{quoted(folder)}: {what}; name a folder, or a new one.")
    if is_listed(folder / CHECKPOINT) or is_listed(folder / FINISHED):
        return  # of a run, or the run says that it is of none
    for name in (SINGLE, "config.json", *names):
        if is_listed(folder / name):
            raise OutputError(
                f"{folder}: holds {name}, which no training wrote and this one would replace; name "
                "another folder."
            )


def alone(folder: Path) -> AbstractContextManager[None]:
    """Make a folder, if it is not there, and keep other trainings from it while the block runs.

    Raises
    ------
    TrainingError
        If another training holds the folder, in this process or another one.
    OutputError
        If the folder cannot be made.
    """
    return folder_lock.alone(
        folder,
        LOCK,
        error=TrainingError,
        who="another training",
        advice="train into another folder",
    )


def check_alone(folder: Path) -> None:
    """Raise TrainingError if another training is writing to a folder, which need not be there."""
    if look(folder) == "folder":  # of anything else `check_free` says what is wrong with it
        with alone(folder):
            pass


def check_writable(folder: Path) -> None:
    """Raise OutputError if a folder may not be written to, before a step has been taken."""
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no file can be made there; train into another folder.")


def write_state(path: Path, optimizer: AdamW, progress: Progress, identity: Identity) -> None:
    """Write a checkpoint; the one before it stays until this one is whole.

    Parameters
    ----------
    path : Path
        The safetensors file that gets each parameter and both of its running means.
    optimizer : AdamW
        The optimizer, which has the parameters.
    progress : Progress
        How far the run is.
    identity : Identity
        What a run that goes on from the checkpoint must have in common with this one.

    Raises
    ------
    OutputError
        If it cannot be written; nothing has changed then.
    """
    tensors: dict[str, Array] = {}
    for name, array in optimizer.parameters.items():
        tensors[name] = array
        tensors[f"exp_avg.{name}"] = optimizer.exp_avg[name]
        tensors[f"exp_avg_sq.{name}"] = optimizer.exp_avg_sq[name]
    # One entry: safetensors writes several in a random order, and two runs that are the same are to
    # have the same bytes.
    run = {
        "contract": _CONTRACT,
        "progress": asdict(progress),
        "identity": dict(identity.exact),
        "sketch": dict(identity.sketch),
    }
    write_tensors(path, tensors, {"run": json.dumps(run, sort_keys=True, allow_nan=False)})


def read_state(path: Path, optimizer: AdamW, identity: Identity) -> Progress:
    """Read a checkpoint into the parameters and the optimizer; return how far the run was.

    Raises
    ------
    TrainingError
        If it is of another run: other settings, data or sizes. Nothing has changed then.
    CheckpointError
        If it is no checkpoint.
    """
    file = SafetensorsFile(path)
    try:
        run = json.loads(file.metadata["run"])
        contract = str(run["contract"])
        if contract == _CONTRACT:
            theirs = Identity(dict(run["identity"]), dict(run["sketch"]))
            progress = Progress(**run["progress"])
    except (KeyError, TypeError, ValueError):
        contract = ""
    if not contract.startswith(_CONTRACT.split("/")[0] + "/"):
        raise CheckpointError(f"{path}: is no checkpoint of a training run.")
    if contract != _CONTRACT:
        raise _other_version(path, contract)
    identity.check(theirs, path, is_judged=progress.judged > 0)
    pairs = [
        (array, prefix + name)
        for prefix, arrays in (
            ("", optimizer.parameters),
            ("exp_avg.", optimizer.exp_avg),
            ("exp_avg_sq.", optimizer.exp_avg_sq),
        )
        for name, array in arrays.items()
    ]
    found = [(array, _tensor(file, key, array)) for array, key in pairs]
    for array, stored in found:
        np.copyto(array, stored)
    optimizer.steps = progress.step
    return progress


def write_finished(path: Path, identity: Identity) -> None:
    """Write that a run has ended, and what the model beside the file is that it ended with.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    run = {
        "contract": _CONTRACT,
        "model": sha256(path.with_name(SINGLE)),
        "identity": dict(identity.exact),
        "sketch": dict(identity.sketch),
    }
    write_atomically(path, (json.dumps(run, indent=2, allow_nan=False) + "\n").encode())


def read_finished(path: Path, identity: Identity) -> bool:
    """Tell whether a run has ended, whose model stands beside the file; False without the model.

    Raises
    ------
    TrainingError
        If it is another run that has ended there.
    OutputError
        If the file is no run's, or the model is another one than that of the run.
    """
    model = path.with_name(SINGLE)
    if not is_listed(path) or not is_listed(model):
        return False
    run = read_json(path, error=OutputError, limit=_LARGEST)
    try:
        theirs, known = Identity(dict(run["identity"]), dict(run["sketch"])), run["contract"]
        written = str(run["model"])
    except (KeyError, TypeError, ValueError):
        raise OutputError(f"{path}: no run wrote it. Train into another folder.") from None
    if known != _CONTRACT:
        raise _other_version(path, str(known))
    identity.check(theirs, path, is_judged=True)
    if sha256(model) != written:
        raise OutputError(
            f"{model}: is not the model that the run ended with, and would be replaced. Train into "
            "another folder, or move it."
        )
    return True


def _other_version(path: Path, contract: str) -> TrainingError:
    """Return the error that says that another version wrote a file."""
    return TrainingError(
        f"{path}: was written by another version of numpy_bert ({contract}, now {_CONTRACT}), "
        "which trained otherwise; train into another folder."
    )


def write_best(path: Path, arrays: Mapping[str, Array], best: Best) -> None:
    """Write the best parameters so far, by their names; those before stay until these are whole.

    Their step and score stand in the same file, so that neither is ever without the other.

    Raises
    ------
    OutputError
        If they cannot be written; nothing has changed then.
    """
    said = {"contract": _CONTRACT, **asdict(best)}
    write_tensors(path, arrays, {"best": json.dumps(said, sort_keys=True, allow_nan=False)})


def score_of(path: Path) -> Best | None:
    """Return the step and score of a file of parameters, or None if no such run wrote it."""
    if not is_listed(path):
        return None
    try:
        said = json.loads(SafetensorsFile(path).metadata["best"])
        return Best(**said) if said.pop("contract") == _CONTRACT else None
    except (NumpyBertError, AttributeError, KeyError, TypeError, ValueError):
        return None


def read_best(path: Path, like: Mapping[str, Array]) -> dict[str, Array]:
    """Read parameters of the names, shapes and dtypes of others.

    Raises
    ------
    CheckpointError
        If one is not there, or is another; the message names the first.
    """
    file = SafetensorsFile(path)
    return {name: _tensor(file, name, array) for name, array in like.items()}


def _tensor(file: SafetensorsFile, key: str, array: Array) -> Array:
    """Return a tensor of the file; raise CheckpointError if it is not there, or another."""
    stored = file.tensors.get(key)
    if stored is None:
        raise CheckpointError(f"{file.path}: has no {key}.")
    try:
        read: Array = stored.read(mapped=False)
    except NumpyBertError as failure:
        raise CheckpointError(str(failure)) from None
    if read.shape != array.shape or read.dtype != array.dtype:
        raise CheckpointError(
            f"{file.path}: {key} must be {array.dtype} of shape {array.shape}; got {read.dtype} of "
            f"shape {read.shape}."
        )
    return read


class Log:
    r"""A file of JSON lines: the loss, rate and speed of a step, or what an evaluation gave.

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
        """Drop the lines of the steps after this one, which are to be taken again.

        Evaluations are dropped that were made after the step `judged`, if it is given. A last line
        without an end was being written when the run was stopped, and is dropped too.

        Raises
        ------
        OutputError
            If no run writes such a line; nothing has changed then.
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
