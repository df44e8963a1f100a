"""What the bench scripts print first, and the memory of a process, as Linux counts it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy_bert

__all__ = ["print_machine", "resident"]


def print_machine(*rivals: str) -> None:
    """Print `numpy_bert.tuning()`, the versions of the rivals' packages, and an empty line."""
    print(numpy_bert.tuning())
    if rivals:
        print("beside " + ", ".join(f"{name} {version(name)}" for name in rivals))
    print(flush=True)


def resident(kind: str, process: int | str = "self") -> float:
    """Return what a process has resident in MB: VmRSS, RssAnon, RssFile, or the peak as VmHWM.

    The peak is not that of getrusage, which is never less than what the process had before it
    became its program.
    """
    status = Path(f"/proc/{process}/status").read_text("ascii", errors="replace")
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024 / 1e6
