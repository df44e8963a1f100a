"""scripts/kill.py: what it sees of a writer that is not sound, and every command killed once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kill
import pytest

from tests.support.platforms import posix

ROOT = Path(__file__).parent.parent.parent


def in_place() -> int:
    with Path("out").open("wb") as file:
        for part in (b"ne", b"w"):
            file.write(part)
            file.flush()
            os.fsync(file.fileno())
    return 0


def beside() -> int:
    temporary = Path(f"out.{os.getpid()}")
    temporary.write_bytes(b"new")
    temporary.replace("out")
    return 0


def once() -> int:
    with Path("lock").open("xb"):
        Path("out").write_bytes(b"new")
    Path("lock").unlink()
    return 0


def differently() -> int:
    Path("out").write_bytes(b"again" if Path("begun").exists() else b"new")
    Path("begun").touch()
    Path("end").touch()
    return 0


@posix
@pytest.mark.parametrize(
    ("act", "old", "what"),
    [
        (in_place, "out", "half"),
        (beside, "out", "left_after"),
        (once, "", "succeeded"),
        (differently, "", "same"),
    ],
)
def test_what_is_not_sound_is_seen(
    act: Callable[[], int], old: str, what: str, tmp_path: Path
) -> None:
    tally = kill.kill(kill.Job("bad", act, old), tmp_path / "runs", 50, by_time=False)
    assert not tally.is_sound
    assert tally.kills == tally.steps
    bad = {"succeeded", "same"} & {what}
    assert (getattr(tally, what) < tally.kills) if bad else (getattr(tally, what) > 0)


@posix
@pytest.mark.slow
def test_every_command_is_killed_twice() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "kill.py"), "--kills", "2"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    rows = [line.split(" | ") for line in result.stdout.splitlines()]
    assert len(rows) == 2 + 25 + 1
    assert int(rows[-1][2]) > 25
