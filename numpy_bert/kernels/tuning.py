"""Which of the ways to compute the same is taken on this machine, and why.

No constant is the fastest on all processors. What differs stands in one small table, by machine,
that ``python scripts/tune.py`` measures and prints. A machine that is not in it gets the plain way:
a product is one call of BLAS, so that no unknown machine is slower than the obvious code.
``numpy-bert tune`` measures the same and keeps it in a file of the user's own, which later
processes find.

A product's cut and the activation's form change results by roundings, so they depend on nothing
but shapes and this table: fresh processes on one machine give the same bits. The size of a block
changes no bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from numpy_bert import __version__
from numpy_bert.errors import InputError, OutputError
from numpy_bert.files import check_output, quoted, read_json, write_atomically
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.machine import Machine, caches, machine, processor_name
from numpy_bert.kernels.threads import get_num_threads

__all__ = [
    "ACTIVATION_FORMS",
    "TABLE",
    "VARIABLE",
    "Choices",
    "Cut",
    "Tuning",
    "check_file",
    "keep",
    "tuning",
    "user_file",
]

VARIABLE = "NUMPY_BERT_TUNING"
ACTIVATION_FORMS = ("tanh", "exp")
# Sizes that a file may state; beyond them nothing is measured.
_LARGEST = {"features": 1 << 20, "rows": 1 << 12, "columns": 1 << 16, "bytes": 1 << 26}


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to cut a product ``x @ w.T`` into pieces, each of some rows and some columns.

    Attributes
    ----------
    most_features, most_rows : int
        It is for an x of at most so many features and rows; 0 rows mean any number. Of the cuts in
        a table those count whose `most_features` is the least that is enough.
    rows, columns : int
        Of a piece; 0 if products of such features are not cut.
    """

    most_features: int
    most_rows: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen for a machine; as it stands, what is right on an unknown one.

    Attributes
    ----------
    cuts : tuple of Cut
        The first that is for a product is taken; where none is, the product is one call of BLAS.
    activation : str
        "tanh" or "exp": the function that an activation is computed by.
    block_bytes : int
        Of a block of rows that passes through a core's second-level cache; 0 where that decides.
    """

    cuts: tuple[Cut, ...] = ()
    activation: str = "tanh"
    block_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Tuning(Choices):
    """The choices in force, and where they come from. Printed, it says so in a few lines.

    Attributes
    ----------
    machine : Machine
        What the choices are for.
    source : str
        Who chose, in words.

    See Also
    --------
    Choices : the attributes that are the choices themselves.
    """

    machine: Machine = field(kw_only=True)
    source: str = field(kw_only=True)

    def __str__(self) -> str:
        library = openblas()
        sizes = ", ".join(f"{name} {size >> 10:,} KiB" for name, size in caches().items())
        blas = self.machine.blas
        if library is not None:
            blas = f"OpenBLAS {library.version}, kernel {library.kernel}"
        lines = {
            "processor": f"{processor_name()} ({self.machine.processor}, {self.machine.loops})",
            "caches": sizes or "unknown",
            "processors": f"{get_num_threads()} used of {os.cpu_count()}",
            "NumPy": np.__version__,
            "BLAS": blas,
            "numpy_bert": f"{__version__}; choices: {self.source}",
            "  products": "; ".join(map(_in_words, self.cuts)) or "one call of BLAS each",
            "  activation": f"by {self.activation}",
            "  blocks": f"{self.block_bytes >> 10:,} KiB",
        }
        return "\n".join(f"{name:<14}{text}" for name, text in lines.items())


# Measured by scripts/tune.py unless said otherwise; sizes at which nothing was measured have none.
TABLE: Mapping[Machine, Choices] = MappingProxyType(
    {
        # AMD Zen 3, and any other of its family without AVX-512. OpenBLAS has no routine for small
        # products there; NumPy's tanh takes twice as long as its exp.
        Machine("AMD family 25", "AVX2", "OpenBLAS Haswell"): Choices(
            activation="exp", block_bytes=384 << 10
        ),
        # AMD Zen 4. OpenBLAS has a routine for products of up to 100**3 terms there, which takes
        # matrices as they stand; it is as fast as large products for many rows, too. These are the
        # constants from before this table; scripts/tune.py has not been run there.
        Machine("AMD family 25", "AVX-512", "OpenBLAS SkylakeX"): Choices(
            cuts=(Cut(1953, 0, 8, 64), Cut(3906, 0, 4, 64)), block_bytes=384 << 10
        ),
        # Intel Sapphire Rapids. The same routine, but large products are faster for many rows.
        # From a table of GFLOP/s of one core; the whole model was not run with it.
        Machine("Intel family 6", "AVX-512 with FP16", "OpenBLAS SkylakeX"): Choices(
            cuts=(
                Cut(488, 15, 8, 64),
                Cut(488, 200, 32, 64),
                Cut(976, 15, 8, 64),
                Cut(976, 64, 32, 32),
                Cut(1953, 31, 8, 64),
            ),
            block_bytes=192 << 10,
        ),
    }
)


@cache
def tuning() -> Tuning:
    """Return the choices that the kernels of this process make, and why.

    The first of these decides: the environment variable NUMPY_BERT_TUNING ("plain" for the plain
    ways, "table" for the built-in table alone, or else the path of a file that ``numpy-bert tune``
    wrote), the file that ``numpy-bert tune`` writes by default, the built-in table. Read once.

    Returns
    -------
    Tuning
        Its ``str`` names processor, caches, NumPy, BLAS and each choice.

    Raises
    ------
    InputError
        If NUMPY_BERT_TUNING names a file that cannot be read, is none of these, or says nothing
        about this machine.

    Examples
    --------
    >>> import numpy_bert
    >>> numpy_bert.tuning().activation in ("tanh", "exp")
    True
    """
    here = machine()
    stated = os.environ.get(VARIABLE, "")
    if stated == "plain":
        return _in_force(Choices(), f"the environment variable {VARIABLE} = plain")
    if stated not in {"", "table"}:
        try:
            path = _expanded(stated)
            found = _entry_of(path, here)
        except InputError as failure:
            raise InputError(
                f'the environment variable {VARIABLE} must be "plain", "table" or the path of a '
                f"file that `numpy-bert tune -o` wrote; got {quoted(stated)}. {failure}"
            ) from None
        if found is None:
            raise InputError(
                f"the environment variable {VARIABLE} = {quoted(stated)}: the file must have the "
                f"choices for this machine ({here}), and has none; run `numpy-bert tune -o` with "
                'it here, or set the variable to "table" or "plain".'
            )
        return _in_force(found, f"{path}, which the environment variable {VARIABLE} names")
    if not stated and (found := _of_user(here)) is not None:
        return _in_force(found, f"measured here by `numpy-bert tune`, in {user_file()}")
    if here in TABLE:
        return _in_force(TABLE[here], "the built-in table")
    return _in_force(Choices(), "the plain ones, since this machine is not in the built-in table")


def user_file() -> Path:
    """Return the path of the file that ``numpy-bert tune`` writes and later processes look for.

    Raises
    ------
    InputError
        If it would be in the home folder, and there is none: HOME is not set, and the system knows
        of none either.
    """
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(shared) / "numpy_bert" / "tuning.json"


def check_file(output: Path | None = None) -> Path:
    """Return the file that `keep` is to write; raise an error where it could not.

    It is asked for before anything is measured, which takes a minute.

    Parameters
    ----------
    output : Path, optional
        The user's own by default, whose folder is then made.

    Raises
    ------
    InputError
        If there is a file that no `keep` has written.
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
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no file can be written there; name another with -o.")
    _others(path)
    return path


def keep(path: Path, choices: Choices) -> Tuning:
    """Write the choices for this machine into a file, beside those that it has for others.

    Parameters
    ----------
    path : Path
        Made anew, whole or not at all, in a folder that exists.
    choices : Choices
        For `machine()`.

    Returns
    -------
    Tuning
        The choices as processes find them that read the file; not in force in this one.
    """
    others = _others(path)
    data = json.dumps(others | {str(machine()): asdict(choices)}, indent=1) + "\n"
    write_atomically(path, data.encode())
    return _in_force(choices, f"measured here by `numpy-bert tune`, in {path}")


def _in_force(choices: Choices, source: str) -> Tuning:
    """Return choices with the block's size worked out."""
    return Tuning(
        choices.cuts,
        choices.activation,
        choices.block_bytes or _usual_block(caches().get("L2", 1 << 19)),
        machine=machine(),
        source=source,
    )


def _usual_block(second_level: int) -> int:
    """Return the bytes of a block that passes through a cache with two of its size."""
    return min(max(second_level * 3 // 8, 96 << 10), 192 << 10)


def _expanded(path: str) -> Path:
    """Return a path with its leading ~ expanded."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{quoted(path)}: there is no such user's home folder.") from None


def _of_user(here: Machine) -> Choices | None:
    """Return what the user's own file says of this machine, nothing with a warning if broken."""
    try:
        path = user_file()
        found = path.exists()
    except (InputError, OSError):  # without a home, or with one of somebody else's
        return None
    try:
        return _entry_of(path, here) if found else None
    except InputError as failure:
        import warnings

        warnings.warn(f"{failure} The built-in choices are taken instead.", stacklevel=2)
        return None


def _entry_of(path: Path, here: Machine) -> Choices | None:
    """Return what a file says of this machine; what it says of others is theirs to check."""
    name = str(here)
    entries = read_json(path, error=InputError)
    return _checked(path, name, entries[name]) if name in entries else None


def _others(path: Path) -> dict[str, Any]:
    """Return the entries of a file that is to have one more; raise InputError if it is no such."""
    if not path.exists():
        return {}
    try:
        found = read_json(path, error=InputError)
        for name, entry in found.items():
            _check_members(path, name, entry)
    except InputError as failure:
        raise InputError(f"{failure} Delete the file, or name another one with -o.") from None
    return found


def _check_members(path: Path, name: str, entry: Any) -> None:
    """Raise InputError unless an entry of a file is one of `keep`'s, whatever its values are."""
    names = [each.name for each in fields(Choices)]
    if not isinstance(entry, dict) or not entry.keys() >= set(names):
        raise InputError(
            f"{path}: {quoted(name)}: an entry must have {', '.join(names)}; got "
            f"{quoted(repr(entry))}."
        )


def _checked(path: Path, name: str, entry: Any) -> Choices:
    """Return an entry of a file as choices; raise InputError if it is none."""

    def number(value: Any, what: str, least: int = 1) -> int:
        if type(value) is not int or not least <= value <= _LARGEST[what]:
            raise InputError(
                f"{path}: {quoted(name)}: {what} must be whole numbers from {least} to "
                f"{_LARGEST[what]:,}; got {quoted(repr(value))}. Run `numpy-bert tune` again."
            )
        return value

    def cut(value: Any) -> Cut:
        names = ("most_features", "most_rows", "rows", "columns")
        if not isinstance(value, dict) or set(value) != set(names):
            raise InputError(
                f"{path}: {quoted(name)}: a cut must have {', '.join(names)}; got "
                f"{quoted(repr(value))}. Run `numpy-bert tune` again."
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
            f"{path}: {quoted(name)}: cuts must be a list; got {quoted(repr(entry['cuts']))}. Run "
            "`numpy-bert tune` again."
        )
    if entry["activation"] not in ACTIVATION_FORMS:
        raise InputError(
            f"{path}: {quoted(name)}: activation must be one of {', '.join(ACTIVATION_FORMS)}; got "
            f"{quoted(repr(entry['activation']))}. Run `numpy-bert tune` again."
        )
    return Choices(
        tuple(map(cut, entry["cuts"])),
        entry["activation"],
        number(entry["block_bytes"], "bytes", least=0),
    )


def _in_words(cut: Cut) -> str:
    """Say what a cut is for."""
    what = f"pieces of {cut.rows} x {cut.columns}" if cut.columns else "one call each"
    rows = f"{cut.most_rows} rows of " if cut.most_rows else ""
    return f"{what} up to {rows}{cut.most_features} features"
