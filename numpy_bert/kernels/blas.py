"""NumPy's own OpenBLAS: which one it is, and how many threads it uses."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes

__all__ = ["OpenBlas", "openblas"]

# How builds of OpenBLAS spell a function's name: NumPy's wheels put scipy_ before it; 64-bit
# integers put 64_ or _64 behind it.
_AFFIXES = tuple(itertools.product(("scipy_", ""), ("64_", "", "_64")))
_THREADS = ("none", "pthreads", "openmp")  # what openblas_get_parallel counts


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenBlas:
    """The OpenBLAS that NumPy computes its products with.

    Attributes
    ----------
    kernel : str
        The kernel that runs on this processor, as OpenBLAS calls it: "Haswell", "SkylakeX", ...
    version : str
        The version's three numbers: "0.3.31".
    threads : str
        The kind of its threads: "pthreads" (on Windows, its own), "openmp" or "none".
    """

    kernel: str
    version: str
    threads: str
    _get: Callable[[], int] = field(repr=False)
    _set: Callable[[int], None] = field(repr=False)

    def get_num_threads(self) -> int:
        """Return how many threads a product may use."""
        return self._get()

    def set_num_threads(self, n: int) -> None:
        """Set how many threads a product may use, for the whole process."""
        self._set(n)


@cache
def openblas() -> OpenBlas | None:
    """Return the OpenBLAS that NumPy has loaded, or None where it runs on another BLAS.

    No library is loaded for it; one that cannot be told for sure counts as another BLAS.

    Examples
    --------
    >>> library = openblas()
    >>> library is None or library.get_num_threads() >= 1
    True
    """
    with suppress(ImportError, AttributeError, LookupError, OSError, TypeError, ValueError):
        for library, affixes in itertools.product(_libraries(), _AFFIXES):
            if hasattr(library, "{}openblas_set_num_threads{}".format(*affixes)):
                return _described(library, *affixes)
    return None  # or a NumPy or Python of odd make


def _libraries() -> Iterator[ctypes.CDLL]:
    """Yield what may hold NumPy's OpenBLAS, all of it loaded already."""
    import ctypes

    extension = importlib.import_module("numpy._core._multiarray_umath").__file__
    if extension is None:
        return
    if sys.platform != "win32":
        yield ctypes.CDLL(extension)  # which finds the functions of all that it is linked to
        return
    handle_of = ctypes.WinDLL("kernel32").GetModuleHandleW  # 0 for what is not loaded
    handle_of.argtypes, handle_of.restype = [ctypes.c_wchar_p], ctypes.c_void_p
    for path in Path(extension).parents[2].glob("numpy.libs/*openblas*.dll"):
        if handle := handle_of(path.name):
            yield ctypes.CDLL(path.name, handle=handle)


def _described(library: ctypes.CDLL, prefix: str, suffix: str) -> OpenBlas:
    """Return what OpenBLAS says of itself, and its two functions."""
    import ctypes

    def function(name: str, result: Any, *arguments: Any) -> Any:
        found = getattr(library, f"{prefix}openblas_{name}{suffix}")
        found.restype, found.argtypes = result, arguments
        return found

    # OpenBLAS 0.3.31.188.0  USE64BITINT DYNAMIC_ARCH ...
    _, version, *_ = function("get_config", ctypes.c_char_p)().decode().split()
    return OpenBlas(
        kernel=function("get_corename", ctypes.c_char_p)().decode(),
        version=".".join(version.split(".")[:3]),
        threads=_THREADS[function("get_parallel", ctypes.c_int)()],
        _get=function("get_num_threads", ctypes.c_int),
        _set=function("set_num_threads", None, ctypes.c_int),
    )
