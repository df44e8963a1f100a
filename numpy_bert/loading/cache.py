"""Where the hub's cache keeps a model, found without importing the hub client.

The layout and the environment variables are huggingface_hub's own, so what transformers has
downloaded is found, and the other way round.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from numpy_bert.errors import CheckpointError, InputError
from numpy_bert.files import is_listed, look, read_bytes, trouble
from numpy_bert.loading.checkpoint import INDEX, SINGLE, shard_files
from numpy_bert.loading.modules import MODULES, SETTINGS, TRANSFORMER_CONFIGS, bert_folder
from numpy_bert.messages import must_be, named, quoted, shown

__all__ = [
    "ALL_TOKENIZER_FILES",
    "MODEL_FILES",
    "PARTS",
    "PART_FILES",
    "PART_RECORD",
    "SMALL_FILES",
    "TOKENIZER_FILES",
    "CachedRepository",
    "absent",
    "check_only",
    "demo_folder",
    "is_inside",
    "is_offline",
    "is_part",
    "local_folder",
    "missing_files",
    "small_files",
    "used_files",
]

# What a reader needs: one file of each row.
MODEL_FILES = (("config.json",), (SINGLE, INDEX))
TOKENIZER_FILES = (("tokenizer.json", "vocab.txt", "vocab.json"),)
# What a tokenizer is read from, where it exists.
ALL_TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
# A part of a model (its input embedding) lies in a folder of this name, apart from the snapshots,
# so that nobody takes it for the whole; beside it a record of its hash, which nobody published.
PARTS = ".numpy_bert_embeddings"
PART_RECORD = "numpy_bert_part.json"
PART_FILES = (*MODEL_FILES[:1], (SINGLE,), (PART_RECORD,))
# What is taken from a repository where it exists, besides the weights and what lies in the
# folders that modules.json names. config.json comes last: where it is, the rest is complete.
SMALL_FILES = (
    *ALL_TOKENIZER_FILES,
    MODULES,
    *TRANSFORMER_CONFIGS,
    SETTINGS,
    "config.json",
)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_TRUE = {"1", "ON", "YES", "TRUE"}
# The most bytes that the record of what a branch is can have: a commit's, and a line's end.
_LONGEST = 1 << 10


class CachedRepository:
    """One model's corner of the hub's cache.

    Parameters
    ----------
    name : str
        ``owner/model`` or ``model``.
    cache_dir : path, optional
        The cache; by default HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub.

    Raises
    ------
    InputError
        If `name` cannot be a repository's.
    """

    def __init__(self, name: str, cache_dir: str | Path | None) -> None:
        if cache_dir is not None and (not isinstance(cache_dir, (str, Path)) or not str(cache_dir)):
            raise InputError(must_be("cache_dir", "a folder", cache_dir))
        if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name or len(name) > 96:
            raise InputError(
                f"model: {shown(name)} is neither a folder that exists nor the name of a "
                "repository, as 'owner/model'."
            )
        self.name = name
        self.cache = _default_cache() if cache_dir is None else _expanded(cache_dir)
        self.folder = self.cache / f"models--{name.replace('/', '--')}"

    def snapshot(self, revision: str | None) -> Path | None:
        """Return the folder of a revision (branch, tag or commit), None if it is not cached."""
        commit = self.commit(revision)
        return _folder(self.folder / "snapshots" / commit) if commit else None

    def part(self, revision: str | None) -> Path | None:
        """Return where the input embedding of a revision is kept alone, None if not cached."""
        commit = self.commit(revision)
        return _folder(self.folder / PARTS / commit) if commit else None

    def commit(self, revision: str | None) -> str | None:
        """Return the commit that a revision named when it was last asked for."""
        if isinstance(revision, str) and _COMMIT.fullmatch(revision):
            return revision
        # Whoever may enter no folder of the cache is told so; a reference that is damaged is none.
        _folder(self.folder / "refs")
        try:
            data = read_bytes(self.reference(revision), error=CheckpointError, limit=_LONGEST)
        except CheckpointError:
            return None
        # A reference is a file that anyone may have written: nothing but a commit becomes a path.
        text = data.decode("ascii", "replace").strip()
        return text if _COMMIT.fullmatch(text) else None

    def only_snapshot(self, revision: str | None) -> Path | None:
        """Return the one snapshot that there is where nothing records what ``main`` is.

        As where a cache was copied without its refs. None where there are several, or where a
        branch or tag is recorded: the snapshot may then be of that.
        """
        recorded = (p for p in (self.folder / "refs").rglob("*") if look(p) != "folder")
        if revision not in (None, "main") or any(recorded):
            return None
        found = [p for p in (self.folder / "snapshots").glob("*") if _COMMIT.fullmatch(p.name)]
        return _folder(found[0]) if len(found) == 1 else None

    def reference(self, revision: str | None) -> Path:
        """Return the file that records what a branch or tag pointed to."""
        name = "main" if revision is None else revision
        good = isinstance(name, str) and re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name)
        if not good or ".." in name:
            raise InputError(must_be("revision", "the name of a branch, tag or commit", name))
        return self.folder / "refs" / name


def check_only(only: object) -> None:
    """Raise InputError unless `only` is a part that can be loaded alone, or None for the whole."""
    if not (only is None or (isinstance(only, str) and only == "embeddings")):
        raise InputError(must_be("only", "'embeddings' or None", only))


def is_inside(name: str) -> bool:
    """Tell whether a name of somebody else's is a path below a folder, on every system.

    Examples
    --------
    >>> is_inside("1_Dense/config.json"), is_inside("../config.json"), is_inside("C:config.json")
    (True, False, False)
    """
    is_path = name.isprintable() and not set(name) & set("\\:")
    return is_path and not {"", ".", ".."} & set(name.split("/"))


def is_part(folder: Path) -> bool:
    """Tell whether a folder holds no more than the part of a model that ``only`` names."""
    return is_listed(folder / PART_RECORD)


def is_offline() -> bool:
    """Tell whether HF_HUB_OFFLINE forbids requests, or TRANSFORMERS_OFFLINE where that is unset."""
    switch = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return switch.upper() in _TRUE


def demo_folder() -> Path:
    """Return the folder of the built-in model."""
    return Path(__file__).parent.parent / "demo"


def local_folder(name_or_path: str | Path) -> Path | None:
    """Return the folder that a name means without any cache, None if it is a repository's name.

    The string ``"demo"`` is the built-in model, whatever folder there is; a folder of that name is
    ``"./demo"``. A Path cannot tell the two apart: it is the folder, or the built-in model where
    there is none.

    Raises
    ------
    InputError
        If it can only be a path and there is no such folder, or it is a file.
    """
    if not isinstance(name_or_path, (str, Path)) or not str(name_or_path).strip():
        raise InputError(must_be("model", "a folder or a repository's name", name_or_path))
    if name_or_path == "demo":
        return demo_folder()
    path = _expanded(name_or_path)
    found = look(path)
    if found == "folder":
        if not os.access(path, os.R_OK | os.X_OK):
            raise InputError(f"model: the folder {quoted(path)} may not be read.")
        return path
    if found in ("file", "other"):
        raise InputError(
            f"model: {quoted(path)} is a file; name the folder that holds config.json."
        )
    text = str(name_or_path)
    # Where owner is a file, owner/model can only be a repository's name.
    if found == "unreadable" and look(path.parent) != "file":
        raise InputError(f"model: the folder {quoted(text)} {trouble(path)}.")
    if name_or_path == Path("demo"):
        return demo_folder()
    if isinstance(name_or_path, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise InputError(f"model: there is no folder {quoted(text)}.")
    return None


def missing_files(folder: Path, needs: Sequence[Sequence[str]]) -> list[str]:
    """Return what a reader needs and the folder does not have, shards included.

    A sentence model may have its BERT in a folder of its own, and then needs it there. Small files
    that the folder lists and cannot give, as where a link's file is gone, are missing too: whether
    they are needed or not, a model without them may be another.
    """
    missing, inner = [], bert_folder(folder)
    place = folder if is_listed(folder / "config.json") else folder / inner
    for row in needs:
        found = next((name for name in row if is_listed(place / name)), None)
        if found is None:
            missing.append(" or ".join(row))
        elif look(place / found) == "unreadable":
            missing.append(found)
        elif found == INDEX:
            shards = shard_files(place)
            missing += [n for n in shards if trouble(place / n)]
    small = _small(folder, inner)
    lost = [path.relative_to(folder).as_posix() for path in small if look(path) == "unreadable"]
    return list(dict.fromkeys([*missing, *lost]))


def used_files(folder: Path) -> list[Path]:
    """Return those files of a snapshot that numpy_bert reads and that are there."""
    # Those in folders are the BERT's and the dense layers' that modules.json names.
    paths = [*_weights(folder), *_in_folders(folder, SINGLE)]
    if inner := bert_folder(folder):
        paths += _weights(folder / inner)
    return _present([*_small(folder, inner), *paths])


def _weights(folder: Path) -> list[Path]:
    """Return the files of a folder's weights, as the folder lists them."""
    if look(folder / SINGLE) == "file":
        return [folder / SINGLE]
    if look(folder / INDEX) == "file":
        return [folder / name for name in (INDEX, *shard_files(folder))]
    return []


def small_files(folder: Path) -> list[Path]:
    """Return the files of a snapshot that numpy_bert reads besides the weights."""
    return _present(_small(folder, bert_folder(folder)))


def _small(folder: Path, inner: str) -> list[Path]:
    """Return where the small files can be; `inner` is the folder of the BERT, "" for none."""
    paths = [*(folder / name for name in SMALL_FILES), *_in_folders(folder, "config.json")]
    return paths + [folder / inner / name for name in SMALL_FILES if inner]


def _in_folders(folder: Path, name: str) -> list[Path]:
    """Return where the folders in a folder have a file of this name, or a link that stands for it.

    (What ``glob`` says of a link whose file is gone goes by the version of Python.)
    """
    try:
        inner = [path for path in sorted(folder.iterdir()) if look(path) == "folder"]
    except OSError:  # not there, or not to be listed; its readers ask for files by their names
        return []
    return [path / name for path in inner if is_listed(path / name)]


def _present(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are there, each once."""
    return list(dict.fromkeys(path for path in paths if look(path) == "file"))


def absent(snapshot: Path, name: str) -> Path:
    """Return the empty file by which the hub's client remembers that a commit has no such file."""
    return snapshot.parent.parent / ".no_exist" / snapshot.name / name


def _folder(path: Path) -> Path | None:
    """Return a folder of the cache, None where there is none; InputError if it cannot be read."""
    found = look(path)
    if found == "folder" and os.access(path, os.R_OK | os.X_OK):
        return path
    if found == "absent":
        return None
    denied = "may not be read (permission denied)"
    what = trouble(path) or (denied if found == "folder" else "is no folder")
    raise InputError(
        f"{named(path)}: {what}. It is of the cache; mend that, or name another: cache_dir, on the "
        "command line --cache-dir, or the environment variables HF_HUB_CACHE and HF_HOME."
    )


def _default_cache() -> Path:
    """Return the hub's cache as its own client finds it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return _expanded(os.path.expandvars(os.environ[variable]))
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{shared}/huggingface"
    return _expanded(os.path.expandvars(home)) / "hub"


def _expanded(path: str | Path) -> Path:
    """Return a path with its leading ~ expanded."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{quoted(path)}: there is no such user's home folder.") from None
