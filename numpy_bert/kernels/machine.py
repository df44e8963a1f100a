"""The machine that the kernels run on: its processor, its caches, NumPy's loops and BLAS's kernel.

Nothing here is measured, and nothing fails: what a system does not tell is said to be unknown.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.processors import text_of

__all__ = ["Machine", "caches", "machine", "processor_name"]

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
# NumPy's names for the widest vectors that its loops use, widest first; NumPy has X86_V3 and X86_V4
# since 2.4. AVX512_SPR came with Sapphire Rapids.
_LOOPS = {
    "AVX512_SPR": "AVX-512 with FP16",
    "AVX512_SKX": "AVX-512",
    "X86_V4": "AVX-512",
    "AVX2": "AVX2",
    "X86_V3": "AVX2",
    "SVE": "SVE",
    "NEON": "NEON",
}
_UNKNOWN = "unknown"


class Machine(NamedTuple):
    """What decides which of two ways to compute the same is the faster one.

    Attributes
    ----------
    processor : str
        The maker and the family, such as "AMD family 25"; for Intel's, which are all of one family,
        the model, too.
    loops : str
        The widest vectors of NumPy's own loops, such as "AVX2".
    blas : str
        The library of products and the kernel that it runs, such as "OpenBLAS Haswell".
    """

    processor: str
    loops: str
    blas: str

    def __str__(self) -> str:
        return f"{self.processor}, {self.loops}, {self.blas}"


@cache
def machine() -> Machine:
    """Return the machine that this process runs on.

    Examples
    --------
    >>> machine() == machine()
    True
    """
    library = openblas()
    return Machine(
        processor=_family(_cpuinfo()),
        loops=_loops(),
        blas=f"OpenBLAS {library.kernel}" if library else _named_blas(),
    )


def processor_name() -> str:
    """Return the processor's name as its maker writes it."""
    found = _cpuinfo().get("model name") or _sysctl("machdep.cpu.brand_string")
    return found or platform.processor() or platform.machine() or _UNKNOWN


def caches() -> dict[str, int]:
    """Return the bytes of the caches that one core uses, by name ("L1d", "L2", "L3")."""
    if sys.platform == "darwin":
        names = {"L1d": "hw.perflevel0.l1dcachesize", "L2": "hw.perflevel0.l2cachesize"}
        older = {"L1d": "hw.l1dcachesize", "L2": "hw.l2cachesize", "L3": "hw.l3cachesize"}
        sizes = {key: _sysctl_number(name) for key, name in older.items()}
        sizes |= {key: size for key, name in names.items() if (size := _sysctl_number(name))}
        return {key: size for key, size in sizes.items() if size}
    found: dict[str, int] = {}
    with suppress(OSError):  # of a folder that may not be entered
        for folder in sorted(_CACHES.glob("index*")):
            level, kind, size = (
                text_of(folder / name).strip() for name in ("level", "type", "size")
            )
            if kind in {"Data", "Unified"} and size.endswith("K") and size[:-1].isdigit():
                found[f"L{level}d" if kind == "Data" else f"L{level}"] = int(size[:-1]) << 10
    return found


@cache
def _cpuinfo() -> Mapping[str, str]:
    """Return what Linux says about the first processor."""
    found: dict[str, str] = {}
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip() and found:
                    break
                name, _, value = line.partition(":")
                found.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    return found


def _family(cpuinfo: Mapping[str, str]) -> str:
    """Return maker and family; ARM's are numbers of implementer and part."""
    if "vendor_id" in cpuinfo:
        family, model = (cpuinfo.get(name, _UNKNOWN) for name in ("cpu family", "model"))
        return _named(cpuinfo["vendor_id"], family, model)
    if "CPU part" in cpuinfo:
        return f"ARM {cpuinfo.get('CPU implementer', _UNKNOWN)} part {cpuinfo['CPU part']}"
    # Windows: "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD"
    words = os.environ.get("PROCESSOR_IDENTIFIER", "").replace(",", "").split()
    if "Family" in words[:-1] and "Model" in words[:-1]:
        family, model = (words[words.index(name) + 1] for name in ("Family", "Model"))
        return _named(words[-1], family, model)
    return _sysctl("machdep.cpu.brand_string") or platform.machine() or _UNKNOWN


def _named(vendor: str, family: str, model: str) -> str:
    """Return maker and family of an x86 processor; for Intel's, all of one family, the model."""
    text = f"{_VENDORS.get(vendor, vendor)} family {family}"
    return f"{text} model {model}" if vendor == "GenuineIntel" else text


def _loops() -> str:
    """Return the widest vectors that NumPy uses, which NPY_DISABLE_CPU_FEATURES can narrow."""
    config: Any = np.show_config(mode="dicts")
    extensions = config.get("SIMD Extensions", {})  # a build without any leaves it out
    known = {*extensions.get("baseline", ()), *extensions.get("found", ())}
    return next((text for name, text in _LOOPS.items() if name in known), _UNKNOWN)


def _named_blas() -> str:
    """Return the name of the BLAS that NumPy was built with."""
    config: Any = np.show_config(mode="dicts")
    return str(config.get("Build Dependencies", {}).get("blas", {}).get("name") or _UNKNOWN)


def _sysctl(name: str) -> str:
    """Return a text that macOS knows under a name."""
    return _sysctl_bytes(name).split(b"\0")[0].decode("utf-8", "replace")


def _sysctl_number(name: str) -> int:
    """Return a number that macOS knows under a name; 0 if it knows none."""
    return int.from_bytes(_sysctl_bytes(name), "little")


def _sysctl_bytes(name: str) -> bytes:
    if sys.platform != "darwin":
        return b""
    import ctypes

    memory = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(memory))
    failed = ctypes.CDLL(None).sysctlbyname(
        name.encode(), memory, ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return b"" if failed else memory.raw[: size.value]
