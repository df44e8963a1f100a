"""What a test needs that not every system has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLATFORM = "this system has not what the test is about"

posix = pytest.mark.skipif(os.name != "posix", reason=f"{PLATFORM}: it is POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason=f"{PLATFORM}: it is Linux's")


@contextmanager
def nobody_may_enter(folder: Path) -> Iterator[None]:
    """Close a folder, to root too, who then is nobody for a while: import nothing meanwhile."""
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
