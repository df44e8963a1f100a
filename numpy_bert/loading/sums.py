"""Published hashes: a file of them, in the format of sha256sum, to which a folder is held.

Such a file can be kept with a project, which then has the same bytes in a year, from whatever
folder or mirror they come. ``sha256sum -c FILE``, in the folder, reads it as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from numpy_bert.errors import InputError, IntegrityError
from numpy_bert.files import decode_text, look, read_bytes
from numpy_bert.loading.cache import is_inside, used_files
from numpy_bert.loading.integrity import sha256
from numpy_bert.messages import listed, shown

__all__ = ["Sums", "hold", "read_sums", "sums_text"]

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_COMMIT = re.compile(r"# numpy-bert fetch (\S+) --revision ([0-9a-f]{40})")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Sums:
    """What a file of hashes says.

    Attributes
    ----------
    path : Path
        The file.
    hashes : dict
        The sha256 of each file of a model, by its path in the model's folder.
    repository, commit : str or None
        Where the files were taken from, if it says so.
    """

    path: Path
    hashes: dict[str, str]
    repository: str | None
    commit: str | None


def read_sums(path: Path) -> Sums:
    """Read a file of hashes; raise InputError naming the line that is no hash and path.

    Lines that are empty or begin with ``#`` are comments. One of `sums_text` names the commit.
    """
    text = decode_text(
        read_bytes(path, error=InputError, limit=_LARGEST), where=str(path), error=InputError
    )
    hashes = dict[str, str]()
    found: tuple[str | None, str | None] = (None, None)
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if named := _COMMIT.fullmatch(line):
            found = named[1], named[2]
        if not line or line.startswith("#"):
            continue
        entry = _LINE.fullmatch(line)
        if entry is None or not is_inside(entry[2]) or entry[2] in hashes:
            raise InputError(
                f"{path}: line {number} must be a sha256, two spaces and the path of a file in the "
                f"model's folder, which no other line has; got {shown(line)}."
            )
        hashes[entry[2]] = entry[1]
    if not hashes:
        raise InputError(f"{path}: holds no hash; `numpy-bert fetch NAME --lock FILE` writes some.")
    return Sums(path, hashes, *found)


def sums_text(folder: Path, repository: str | None = None, commit: str | None = None) -> str:
    """Return the hashes of the files of a folder that numpy_bert reads, to be written to a file."""
    lines = [f"{sha256(path)}  {name}" for name, path in sorted(_files(folder).items())]
    if repository is not None and commit is not None:
        lines.insert(0, f"# numpy-bert fetch {repository} --revision {commit}")
    return "\n".join([*lines, ""])


def hold(folder: Path, sums: Sums) -> None:
    """Hold a folder to hashes.

    Raises
    ------
    IntegrityError
        If a file has another hash or is missing, or one that numpy_bert reads is not listed.
    """
    if unlisted := sorted(_files(folder).keys() - sums.hashes.keys()):
        raise IntegrityError(
            f"{folder}: {sums.path} has no hash of {listed(unlisted)}. Remove what does not belong "
            "to the model, or add its hash if you trust it."
        )
    if missing := [name for name in sums.hashes if look(folder / name) != "file"]:
        raise IntegrityError(
            f"{folder}: has no {listed(missing)}, of which {sums.path} has the hash."
        )
    for name, right in sums.hashes.items():
        if (found := sha256(folder / name)) != right:
            raise IntegrityError(
                f"{folder / name}: its bytes hash to {found}, {sums.path} has {right}. It is "
                "another version, or corrupt."
            )


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that numpy_bert reads, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path for path in used_files(folder)}
