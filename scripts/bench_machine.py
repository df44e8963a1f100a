"""What the bench scripts print first: the machine, and what numpy_bert chose on it."""

from __future__ import annotations

from importlib.metadata import version

import numpy_bert

__all__ = ["print_machine"]


def print_machine(*rivals: str) -> None:
    """Print `numpy_bert.tuning()`, the versions of the rivals' packages, and an empty line."""
    print(numpy_bert.tuning())
    if rivals:
        print("beside " + ", ".join(f"{name} {version(name)}" for name in rivals))
    print(flush=True)
