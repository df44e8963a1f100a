"""How many processors this process may keep busy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["processors", "text_of"]


def processors(root: Path = Path("/")) -> int:
    """Return how many processors this process may keep busy, from 1.

    They are those of its affinity mask, or of the machine, but no more than the quotas of its
    control groups allow, rounded up (Linux; a container's limit of CPUs is one). A file that
    is missing or unreadable, or says what it should not, counts as no quota.

    Parameters
    ----------
    root : Path
        The folder in which proc and the mount points stand.

    Examples
    --------
    >>> processors() >= 1
    True
    """
    mask = getattr(os, "sched_getaffinity", None)
    number = len(mask(0)) if mask else os.cpu_count() or 1
    return min([number, *(quota for folder in _groups(root) for quota in _quotas(folder))])


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, and of all above them."""
    own = {}  # the group by its controllers, of which version 2 names none
    for line in text_of(root / "proc/self/cgroup").split("\n"):  # 4:cpu,cpuacct:/the/group
        controllers, _, path = line.partition(":")[2].partition(":")
        if path:
            own["cpu" if "cpu" in controllers.split(",") else controllers] = path
    # 32 31 0:29 /of/the/hierarchy /mount/point rw,relatime - cgroup cgroup rw,cpu
    for line in text_of(root / "proc/self/mountinfo").split("\n"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(" "), [*after.split(" "), "", ""]
        name = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if len(fields) < 5 or name not in own or name not in ["", *options.split(",")]:
            continue
        top, point = (PurePosixPath(_plain(text)) for text in fields[3:5])
        group = PurePosixPath(own[name])
        if group.is_relative_to(top) and ".." not in group.parts:  # it can be seen from here
            inner = group.relative_to(top).parts
            for depth in range(len(inner) + 1):
                yield root.joinpath(*point.parts[1:], *inner[:depth])


def _quotas(folder: Path) -> Iterator[int]:
    """Yield how many processors a control group may use, if it has a quota."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        words = " ".join(text_of(folder / name) for name in names).split()
        if len(words) == 2 and all(w.isascii() and w.isdigit() and len(w) < 20 for w in words):
            quota, period = map(int, words)
            if quota and period:
                yield -(-quota // period)


def text_of(path: Path) -> str:
    """Return what a file holds; nothing if it cannot be read."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def _plain(field: str) -> str:
    r"""Return a name of mountinfo as it is: spaces and the like stand there as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
