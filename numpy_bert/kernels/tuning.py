"""Which of the ways to compute the same is taken in this process, and why.

The table of `numpy_bert.kernels.choices` decides, or what ``numpy-bert tune`` measured on the
user's own machine, or an environment variable.

A product's cut and the activation's form change results by roundings, so they depend on nothing
but shapes and these choices: fresh processes on one machine give the same bits. The size of a block
changes no bit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from numpy_bert import __version__
from numpy_bert.errors import InputError
from numpy_bert.files import is_listed, look
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.choices import TABLE, Choices, Cut
from numpy_bert.kernels.machine import Machine, caches, machine, processor_name
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.kernels.tuning_file import entry_of, expanded, user_file
from numpy_bert.messages import quoted

__all__ = ["VARIABLE", "Tuning", "in_force", "tuning"]

VARIABLE = "NUMPY_BERT_TUNING"
# OpenBLAS's own variable for the kernel to run in place of the one that fits the processor.
_KERNEL = "OPENBLAS_CORETYPE"


@dataclass(frozen=True, slots=True)
class Tuning(Choices):
    """The choices in force, and where they come from. Printed, it says so in a few lines.

    Attributes
    ----------
    machine : Machine
        What the choices are for.
    source : str
        Who made the choices, in words.

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
            blas = f"OpenBLAS {library.version}, kernel {library.kernel}{_asked_for()}"
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


@cache
def tuning() -> Tuning:
    """Return the choices that the kernels of this process make, and why.

    The first of these decides: the environment variable NUMPY_BERT_TUNING ("plain" for the plain
    ways, "table" for the built-in table alone, or else the path of a file that ``numpy-bert tune``
    wrote), the file that ``numpy-bert tune`` writes by default, the table. It is read once.

    Returns
    -------
    Tuning
        The choices; their ``str`` names processor, caches, NumPy, BLAS and each choice.

    Raises
    ------
    InputError
        If NUMPY_BERT_TUNING is neither of the words nor such a file, or the file has nothing for
        this machine.

    Examples
    --------
    >>> import numpy_bert
    >>> numpy_bert.tuning().activation in ("tanh", "exp")
    True
    """
    here = machine()
    stated = os.environ.get(VARIABLE, "")
    if stated == "plain":
        return in_force(Choices(), f"the environment variable {VARIABLE} = plain")
    if stated not in {"", "table"}:
        try:
            path = expanded(stated)
            found = entry_of(path, here)
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
        return in_force(found, f"{path}, which the environment variable {VARIABLE} names")
    if not stated and (found := _of_user(here)) is not None:
        return in_force(found, f"measured here by `numpy-bert tune`, in {user_file()}")
    if here in TABLE:
        return in_force(TABLE[here], "the built-in table")
    return in_force(Choices(), "the plain ones, since this machine is not in the built-in table")


def in_force(choices: Choices, source: str) -> Tuning:
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


def _of_user(here: Machine) -> Choices | None:
    """Return what the user's own file says about this machine; warn if it cannot be read."""
    try:
        path = user_file()
    except (InputError, OSError):  # without a home
        return None
    if look(path.parent) == "unreadable" or not is_listed(path):  # in a home of somebody else's
        return None
    try:
        return entry_of(path, here)
    except InputError as failure:
        import warnings

        warnings.warn(f"{failure} The built-in choices are taken instead.", stacklevel=2)
        return None


def _asked_for() -> str:
    """Return a remark where the environment chose the kernel: OpenBLAS's choice may be faster."""
    asked = os.environ.get(_KERNEL, "")
    return f" (the environment variable {_KERNEL} = {quoted(asked)})" if asked else ""


def _in_words(cut: Cut) -> str:
    """Say what a cut is for."""
    what = f"pieces of {cut.rows} x {cut.columns}" if cut.columns else "one call each"
    rows = f"{cut.most_rows} rows of " if cut.most_rows else ""
    return f"{what} up to {rows}{cut.most_features} features"
