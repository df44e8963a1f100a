"""numpy_bert.kernels.processors: the affinity mask, and the quotas of control groups."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from numpy_bert.kernels.processors import processors
from tests.support.platforms import posix

V2 = "0::/a.slice/b.scope\n"
V2_MOUNT = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "12:cpuset:/\n4:cpu,cpuacct:/docker/c\n1:name=systemd:/docker/c\n0::/\n"
V1_MOUNT = (
    "24 1 8:1 / / rw - ext4 /dev/root rw\n"
    "32 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 25 0:30 / /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset\n"
)


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def tree(root: Path, group: str, mounts: str, files: dict[str, str | bytes]) -> Path:
    """Write the two files of proc, and those below sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group, "utf-8")
    (root / "proc/self/mountinfo").write_text(mounts, "utf-8")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"a.slice/b.scope/cpu.max": "max 100000\n"}, 8),
        ({"a.slice/b.scope/cpu.max": "200000 100000\n"}, 2),
        ({"a.slice/b.scope/cpu.max": "150000 100000\n"}, 2),
        ({"a.slice/b.scope/cpu.max": "1000 100000\n"}, 1),
        ({"a.slice/b.scope/cpu.max": "250001 50000\n"}, 6),
        ({"a.slice/b.scope/cpu.max": "9900000 100000\n"}, 8),
        # Of every group above it, the least counts; those beside it do not.
        ({"a.slice/cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"a.slice/b.scope/cpu.max": "500000 100000\n", "a.slice/cpu.max": "300000 100000\n"}, 3),
        ({"a.slice/b.scope/cpu.max": "300000 100000\n", "a.slice/cpu.max": "500000 100000\n"}, 3),
        ({"a.slice/b.scope/cpu.max": "max 100000\n", "cpu.max": "200000 100000\n"}, 2),
        ({"a.slice/other/cpu.max": "100000 100000\n", "b.scope/cpu.max": "100000 100000"}, 8),
    ],
)
def test_version_2(files: Any, expected: int, tmp_path: Path) -> None:
    assert processors(tree(tmp_path, V2, V2_MOUNT, files)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "\n", "max", "200000", "200000 0", "0 100000", "-1 100000", "2e5 100000", "a b", "1 2 3",
     "² 100000", "200000 -1", "9" * 5000 + " 1", b"\xff\xfe 100000", b"\0\0"],
)  # fmt: skip
def test_what_is_no_quota_is_none(text: Any, tmp_path: Path) -> None:
    files = {"a.slice/b.scope/cpu.max": text}
    assert processors(tree(tmp_path, V2, V2_MOUNT, files)) == 8


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("150000", "100000", 2), ("-1", "100000", 8), ("50000", "100000", 1), ("600000", "200000", 3),
     ("200000", None, 8), (None, "100000", 8), ("200000", "0", 8), ("rubbish", "100000", 8)],
)  # fmt: skip
@pytest.mark.parametrize("group", ["docker/c", "docker", "."])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_version_1(
    quota: str | None,
    period: str | None,
    expected: int,
    group: str,
    controllers: str,
    tmp_path: Path,
) -> None:
    texts = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    files: dict[str, str | bytes] = {
        f"{controllers}/{group}/{name}": f"{text}\n" for name, text in texts.items() if text
    }
    own, mounts = (text.replace("cpu,cpuacct", controllers) for text in (V1, V1_MOUNT))
    assert processors(tree(tmp_path, own, mounts, files)) == expected


def test_the_mount_may_show_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    """A container without a namespace of its own sees its group as the mount point."""
    mounts = V1_MOUNT.replace("29 / /sys/fs/cgroup/cpu,", "29 /docker/c /sys/fs/cgroup/cpu,")
    quota: dict[str, str | bytes] = {
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    assert processors(tree(tmp_path / "own", V1, mounts, quota)) == 2
    inner = V1.replace("/docker/c", "/docker/c/inner")
    assert processors(tree(tmp_path / "inner", inner, mounts, quota)) == 2
    other = V1.replace("/docker/c", "/docker/other")  # the mount shows another container's
    assert processors(tree(tmp_path / "other", other, mounts, quota)) == 8


def test_both_versions_at_once(tmp_path: Path) -> None:
    """The controller may be in either: version 2 is mounted beside the others then."""
    mounts = V1_MOUNT + V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files: dict[str, str | bytes] = {
        "cpu,cpuacct/cpu.cfs_quota_us": "500000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    assert processors(tree(tmp_path / "1", V1, mounts, files)) == 5
    assert processors(tree(tmp_path / "2", V1, mounts, {"unified/cpu.max": "300000 100000"})) == 3


def test_a_group_outside_the_namespace_cannot_be_seen(tmp_path: Path) -> None:
    (tmp_path / "sys/fs").mkdir(parents=True)
    (tmp_path / "sys/fs/cpu.max").write_text("100000 100000", "utf-8")
    assert processors(tree(tmp_path, "0::/../b\n", V2_MOUNT, {})) == 8


@posix  # the folders' names
def test_names_with_spaces_and_colons(tmp_path: Path) -> None:
    mounts = r"25 1 0:22 / /sys/fs/cgroup/the\040mount rw - cgroup2 cgroup2 rw" + "\n"
    files: dict[str, str | bytes] = {"the mount/a b:c/cpu.max": "200000 100000"}
    assert processors(tree(tmp_path, "0::/a b:c\n", mounts, files)) == 2


@pytest.mark.parametrize("group", ["", "rubbish\n", "0::\n", ":::\n", "0::/\0\n", V2])
@pytest.mark.parametrize(
    "mounts", ["", "rubbish\n", " - \n", " - cgroup2\n", "1 2 3 - cgroup2 a rw", V2_MOUNT]
)
def test_odd_files_are_no_quota(group: str, mounts: str, tmp_path: Path) -> None:
    assert processors(tree(tmp_path, group, mounts, {})) == 8


def test_missing_files_are_no_quota(tmp_path: Path) -> None:
    assert processors(tmp_path) == 8
    assert processors(tmp_path / "nowhere") == 8


def test_without_a_mask_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processors(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors(tmp_path) == 1


def test_it_takes_no_time_to_speak_of() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        processors()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01  # a tenth of it where it was measured
