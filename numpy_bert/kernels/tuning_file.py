"""Files of choices that were measured, by machine: what ``numpy-bert tune`` writes.

A file has the choices of several machines, since a home folder may be shared by many.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from numpy_bert.errors import InputError, OutputError
from numpy_bert.files import check_output, is_listed, read_json, write_atomically
from numpy_bert.kernels.choices import ACTIVATION_FORMS, Choices, Cut
from numpy_bert.kernels.machine import Machine, machine
from numpy_bert.messages import quoted, shown

__all__ = ["check_file", "entry_of", "expanded", "keep", "user_file"]

# The sizes that a file may state; beyond them nothing is measured.
_LARGEST = {"features": 1 << 20, "rows": 1 << 12, "columns": 1 << 16, "bytes": 1 << 26}


def user_file() -> Path:
    """Return the path of the file that ``numpy-bert tune`` writes and later processes look for.

    Raises
    ------
    InputError
        If it would be in the home folder, and there is none: HOME is not set, and the system knows
        of none either.
    """
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(shared) / "numpy_bert" / "tuning.json"


def check_file(output: Path | None = None) -> Path:
    """Return the file that `keep` is to write; raise an error where it could not.

    It is asked for before anything is measured, which takes two minutes.

    Parameters
    ----------
    output : Path, optional
        The file; by default the user's own, whose folder is then made.

    Raises
    ------
    InputError
        If there is a file that `keep` did not write.
    OutputError
        If the file could not be written.
    """
    path = output or user_file()
    if output is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise OutputError(
                f"{path.parent}: cannot be made a folder ({failure.strerror}); name a file with -o."
            ) from None
    check_output(path, force=True)
    _others(path)
    return path


def keep(path: Path, choices: Choices) -> None:
    """Write the choices for this machine into a file, beside those that it has for others.

    Parameters
    ----------
    path : Path
        The file, which is made anew, whole or not at all, in a folder that exists.
    choices : Choices
        The choices for `machine()`.

    """
    others = _others(path)
    data = json.dumps(others | {str(machine()): asdict(choices)}, indent=1) + "\n"
    write_atomically(path, data.encode())


def expanded(path: str) -> Path:
    """Return a path with its leading ~ expanded.

    Raises
    ------
    InputError
        If there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{quoted(path)}: there is no such user's home folder.") from None


def entry_of(path: Path, here: Machine) -> Choices | None:
    """Return what a file says about this machine; what it says about others is not checked."""
    name = str(here)
    entries = read_json(path, error=InputError)
    return _checked(path, name, entries[name]) if name in entries else None


def _others(path: Path) -> dict[str, Any]:
    """Return the entries of a file that is to get one more; raise InputError if it cannot."""
    if not is_listed(path):
        return {}
    try:
        found = read_json(path, error=InputError)
        for name, entry in found.items():
            _check_members(path, name, entry)
    except InputError as failure:
        raise InputError(f"{failure} Delete the file, or name another one with -o.") from None
    return found


def _check_members(path: Path, name: str, entry: Any) -> None:
    """Raise InputError unless an entry of a file has the members that `keep` writes."""
    names = [each.name for each in fields(Choices)]
    if not isinstance(entry, dict) or not entry.keys() >= set(names):
        raise InputError(
            f"{path}: {quoted(name)}: an entry must have {', '.join(names)}; got {shown(entry)}."
        )


def _checked(path: Path, name: str, entry: Any) -> Choices:
    """Return an entry of a file as choices; raise InputError if it is none."""

    def number(value: Any, what: str, least: int = 1) -> int:
        if type(value) is not int or not least <= value <= _LARGEST[what]:
            raise InputError(
                f"{path}: {quoted(name)}: {what} must be whole numbers from {least} to "
                f"{_LARGEST[what]:,}; got {shown(value)}. Run `numpy-bert tune` again."
            )
        return value

    def cut(value: Any) -> Cut:
        names = ("most_features", "most_rows", "rows", "columns")
        if not isinstance(value, dict) or set(value) != set(names):
            raise InputError(
                f"{path}: {quoted(name)}: a cut must have {', '.join(names)}; got "
                f"{shown(value)}. Run `numpy-bert tune` again."
            )
        return Cut(
            number(value["most_features"], "features"),
            number(value["most_rows"], "rows", least=0),
            number(value["rows"], "rows", least=int(value["columns"] != 0)),
            number(value["columns"], "columns", least=0),
        )

    _check_members(path, name, entry)
    if type(entry["cuts"]) is not list:
        raise InputError(
            f"{path}: {quoted(name)}: cuts must be a list; got {shown(entry['cuts'])}. Run "
            "`numpy-bert tune` again."
        )
    if entry["activation"] not in ACTIVATION_FORMS:
        raise InputError(
            f"{path}: {quoted(name)}: activation must be one of {', '.join(ACTIVATION_FORMS)}; got "
            f"{shown(entry['activation'])}. Run `numpy-bert tune` again."
        )
    return Choices(
        tuple(map(cut, entry["cuts"])),
        entry["activation"],
        number(entry["block_bytes"], "bytes", least=0),
    )
