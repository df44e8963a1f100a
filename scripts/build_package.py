"""Build the sdist and the wheel twice, check that both are the same bytes, and what they hold.

    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) python scripts/build_package.py FOLDER

The second time they are built from a copy elsewhere, with other times and modes of its files, in
another time zone. Every file of the package is in the wheel, and no other; every file that the
sdist's list in pyproject.toml names is in the sdist. Both are written to the folder, and their
sha256 printed as `sha256sum -c` reads it. It needs what the extra `dev` installs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# hatchling's own time where the variable is not set.
_EPOCH = "1580601600"
# What tools leave beside the sources.
_LEFT = shutil.ignore_patterns(
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".venv*",
    ".coverage",
    ".git",
    "*.pyc",
    "build",
    "dist",
)
# What is in every sdist of hatchling beside its list.
_ADDED = {"PKG-INFO", "pyproject.toml", ".gitignore"}


def built(source: Path, folder: Path, **environment: str) -> list[Path]:
    """Build the sdist, and the wheel from it; return both."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    wanted = {"SOURCE_DATE_EPOCH": _EPOCH, **os.environ, **environment}
    done = subprocess.run(command, env=wanted, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nThe package could not be built.")
    return sorted(folder.iterdir())


def disguised(source: Path, target: Path) -> Path:
    """Copy the sources so that all but their names and bytes is other than it was."""
    shutil.copytree(source, target, ignore=_LEFT)
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o775 if path.is_dir() or path.stat().st_mode & 0o100 else 0o664)
            os.utime(path, (1e9, 1e9))
    return target


def files_of(root: Path, places: Iterable[str]) -> set[str]:
    """Return the files below some places of the sources, without what tools leave there."""
    found = set[str]()
    for place in places:
        path = root / place
        for file in [path] if path.is_file() else path.rglob("*"):
            name = file.relative_to(root)
            ignored = any(_LEFT(str(root), [part]) for part in name.parts)
            if file.is_file() and not ignored:
                found.add(name.as_posix())
    return found


def complaints(root: Path, sdist: Path, wheel: Path) -> list[str]:
    """Return what is in one of the two and ought not to be, or is missing."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    targets = settings["tool"]["hatch"]["build"]["targets"]
    listed = [place.lstrip("/") for place in targets["sdist"]["include"]]
    name = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.removeprefix(f"{name}/") for member in archive if member.isfile()}
    with zipfile.ZipFile(wheel) as zipped:
        in_wheel = set(zipped.namelist())
    about = {
        f"{name}.dist-info/{file}"
        for file in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    found = []
    for path, has, wanted in (
        (sdist, in_sdist, files_of(root, listed) | _ADDED),
        (wheel, in_wheel, files_of(root, targets["wheel"]["packages"]) | about),
    ):
        found += [f"{path.name}: must not hold {file}" for file in sorted(has - wanted)]
        found += [f"{path.name}: lacks {file}" for file in sorted(wanted - has)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the two files go")
    folder = parser.parse_args(arguments).folder
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary)
        first = built(ROOT, again / "first", TZ="UTC")
        copy = disguised(ROOT, again / "elsewhere" / "copy")
        second = built(copy, again / "second", TZ="Pacific/Kiritimati")
        found = [
            f"{one.name}: the second build has other bytes"
            for one, other in zip(first, second, strict=True)
            if (one.name, one.read_bytes()) != (other.name, other.read_bytes())
        ]
        sdist, wheel = sorted(first, key=lambda path: path.suffix)
        found += complaints(ROOT, sdist, wheel)
        if found:
            raise SystemExit("\n".join(found))
        folder.mkdir(parents=True, exist_ok=True)
        for path in first:
            shutil.copy(path, folder)
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
