"""What a test needs that not every system has."""

from __future__ import annotations

import os
import sys

import pytest

PLATFORM = "this system has not what the test is about"

posix = pytest.mark.skipif(os.name != "posix", reason=f"{PLATFORM}: it is POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason=f"{PLATFORM}: it is Linux's")
