"""Optional packages: imported where they are used, and named with their extra where they miss."""

from __future__ import annotations

import importlib
from typing import Any

from numpy_bert.errors import InputError

__all__ = ["optional"]


def optional(module: str, extra: str, what: str) -> Any:
    """Return a module of an optional package; raise InputError naming the extra that brings it.

    Parameters
    ----------
    module : str
        The module's dotted name.
    extra : str
        The extra of numpy_bert that the package belongs to.
    what : str
        What cannot be done without it, as the message begins.

    Examples
    --------
    >>> optional("nothing.io", "parquet", "A table")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: A table needs the package nothing, which pip install
    'numpy_bert[parquet]' brings.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as failure:
        name = module.partition(".")[0]
        if failure.name is None or failure.name.partition(".")[0] != name:
            raise  # what the package itself misses, which is its own affair
        raise InputError(
            f"{what} needs the package {name}, which pip install 'numpy_bert[{extra}]' brings."
        ) from None
