"""What a job has done so far, in a folder beside its output: files that grow, and a journal.

After each block the files are flushed to the disk, and then the journal gets a line that says how
large they are. A job that was killed, and is given again, cuts them back to what the last whole
line says and goes on there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from numpy_bert.errors import NumpyBertError, OutputError
from numpy_bert.files import (
    flush_folder,
    free_space,
    is_listed,
    look,
    read_json,
    target_of,
    trouble,
    write_atomically,
)
from numpy_bert.folder_lock import alone
from numpy_bert.identity import first_difference
from numpy_bert.locks import remove_folder
from numpy_bert.messages import named, quoted, shown

__all__ = ["BAD", "FINISHED", "JOB", "JOURNAL", "LOCK", "Grown", "Mark", "Parts"]

Result = TypeVar("Result")

# The files in the folder of a job beside those that its output needs: what it is, what is whole,
# what was no text, what its result is once there is one, and what stands there while it runs.
JOB, JOURNAL, BAD = "job.json", "journal.jsonl", "bad.jsonl"
FINISHED, LOCK = "finished.json", "job.lock"
_LARGEST = 1 << 20
# More than the last two lines of a journal.
_TAIL = 1 << 16


class Mark(NamedTuple):
    """A line of the journal: what was whole after a block.

    Attributes
    ----------
    texts, bad, records : int
        How many texts have vectors, how many records were bad, and both together.
    number : int
        The number of the last of them: its line, or its row.
    bytes : int
        How many bytes the texts have in UTF-8.
    cut : int
        How many texts were longer than the model reads.
    is_end : bool
        Whether the input ended there, so that the last block may be a short one.
    sha256 : str
        The hash of all records so far.
    sizes : mapping of str to int
        How many bytes of each file in the folder are whole.
    """

    texts: int = 0
    bad: int = 0
    records: int = 0
    number: int = 0
    bytes: int = 0
    cut: int = 0
    is_end: bool = False
    sha256: str = hashlib.sha256().hexdigest()
    sizes: Mapping[str, int] = {}


class Grown:
    """A file of a job that grows block by block; `Parts.grow` makes it."""

    def __init__(self, path: Path, size: int | None, start: bytes) -> None:
        self.path = path
        if size is not None and (not is_listed(path) or path.stat().st_size < size):
            raise OutputError(
                f"{named(path)}: has fewer bytes than the journal beside it says ({size:,}), so it "
                "is damaged, or not there; --restart, in Python restart=True, begins anew."
            )
        self._file: BinaryIO = path.open("wb" if size is None else "r+b")
        if size is None:
            self._file.write(start)
            return
        self._file.truncate(size)
        self._file.seek(size)

    @property
    def size(self) -> int:
        """How many bytes have been written, the start included."""
        return self._file.tell()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, which count from the next line of the journal on."""
        self._file.write(data)

    def patch(self, start: bytes) -> None:
        """Write over the first bytes of the file, once it has ended."""
        self._file.seek(0)
        self._file.write(start)
        self._file.seek(0, os.SEEK_END)

    def flush(self) -> None:
        """Put all of it onto the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; what no line of the journal counts is as good as not written."""
        self._file.close()


class Parts:
    """The folder ``PATH.part`` of a job whose output is to be PATH.

    Parameters
    ----------
    path : Path
        The output.

    Attributes
    ----------
    folder : Path
        The folder, which is made while it is held.
    mark : Mark
        What is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        target = target_of(path)  # of a link, on the disk where the output is to be
        self.folder = target.with_name(f"{target.name}.part")
        self.mark = Mark()
        self._grown: dict[str, Grown] = {}
        # Where the journal's lines end, by the records that they count, and whether as the last.
        self._ends: dict[tuple[int, bool], int] = {}
        self._journal: Grown | None = None
        self._is_new = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from the folder while the block runs; close all files after it.

        A folder in which nothing stands goes again, and so does one that has been begun by a block
        which has failed before anything was whole.
        """
        found = look(self.folder)
        if found not in ("absent", "folder"):
            what = trouble(self.folder) or "is no folder"
            raise OutputError(f"{named(self.folder)}: {what}; a job keeps there what it has done.")
        try:
            with alone(
                self.folder,
                LOCK,
                error=OutputError,
                who="another job",
                advice="name another output",
            ):
                try:
                    yield
                finally:
                    for file in self._files():
                        with contextlib.suppress(OSError):  # of a disk that is full
                            file.close()
                    if self._is_new and not self.mark.records:
                        self.remove()
        finally:
            with contextlib.suppress(OSError):  # it is not empty
                self.folder.rmdir()

    def begin(self, identity: Mapping[str, Any], also: Mapping[str, Any]) -> list[Mark]:
        """Find the job that the folder is of, or make it this one.

        Parameters
        ----------
        identity : mapping of str to object
            JSON values that must be the same where a job goes on.
        also : mapping of str to object
            JSON values that are written beside them, for people.

        Returns
        -------
        list of Mark
            The last lines of the journal, two at most; none where the job begins.

        Raises
        ------
        OutputError
            If the folder is of another job, the first difference named, or of none.
        """
        marks = self._marks()
        if marks:
            self._check(identity)
            return marks
        self._check_ours()
        whole = json.dumps({"identity": identity, **also}, indent=2)
        self._is_new = True
        self._at(lambda: write_atomically(self.folder / JOB, f"{whole}\n".encode()))
        return []

    def grow(self, name: str, start: bytes = b"") -> Grown:
        """Open a file of the folder, cut back to what is whole, or a new one that begins so."""
        path = self.folder / name

        def opened() -> Grown:
            path.parent.mkdir(exist_ok=True)
            return Grown(path, self.mark.sizes.get(name), start)

        self._grown[name] = self._at(opened)
        return self._grown[name]

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Add bytes to a file that has been opened by `grow`.

        Raises
        ------
        OutputError
            If the disk is full, or cannot be written; what is whole stays.
        """
        self._at(lambda: self._grown[name].write(data))

    def go_on(self, mark: Mark) -> None:
        """Take a line of the journal for the last one, and drop what stands behind it.

        That goes first: what it says is not so any more once the files are cut back.
        """
        self.mark = mark
        self._at(lambda: self._open_journal(self._ends.get((mark.records, mark.is_end))))

    def commit(self, mark: Mark) -> None:
        """Flush all files, and then the line of the journal that says that they are whole.

        Of a file that is ahead of what is whole, `mark` says itself what its size is to be.
        """

        def flushed() -> None:
            for file in self._grown.values():
                file.flush()
            sizes = {name: file.size for name, file in self._grown.items()}
            whole = mark._replace(sizes={**sizes, **mark.sizes})
            journal = self._journal or self._open_journal(None)
            journal.write(f"{json.dumps(whole._asdict())}\n".encode())
            journal.flush()
            self.mark = whole

        self._at(flushed)

    def seal(self, name: str, start: bytes) -> None:
        """Write over the first bytes of a file, and put it onto the disk; then close all."""

        def patched() -> None:
            self._grown[name].patch(start)
            self._grown[name].flush()

        self._at(patched)
        self.close()

    def close(self) -> None:
        """Close all files: the output is to be made of them."""
        for file in self._files():
            self._at(file.close)

    def sign(self, made: Path, said: Mapping[str, Any]) -> None:
        """Write down what is about to take the output's name, and what is to be said of it."""
        whole = json.dumps({"made": _mark_of(made), **said})
        self._at(lambda: write_atomically(self.folder / FINISHED, f"{whole}\n".encode()))

    def finished(self) -> dict[str, Any] | None:
        """Return what `sign` wrote if its output has taken its name since, else None."""
        path = self.folder / FINISHED
        if not is_listed(path) or not is_listed(self.path):
            return None
        said = read_json(path, error=OutputError, limit=_LARGEST)
        return said if said.get("made") == _mark_of(self.path) else None

    def is_there(self) -> bool:
        """Tell whether a job has left its folder."""
        return is_listed(self.folder)

    def remove(self) -> None:
        """Remove what the job has left, in an order in which a kill leaves nothing that misleads.

        Without its journal a job begins anew, and what says that it has ended goes last.
        """
        self._check_ours()
        places = {JOURNAL: 0, JOB: 2, FINISHED: 3}
        for name in sorted(self._names(), key=lambda name: places.get(name, 1)):
            path = self.folder / name
            if look(path) == "folder":
                remove_folder(path)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        self.mark = Mark()

    def _open_journal(self, size: int | None) -> Grown:
        """Open the journal behind so many bytes, or a new one."""
        self._journal = Grown(self.folder / JOURNAL, size, b"")
        flush_folder(self.folder)
        return self._journal

    def _check(self, identity: Mapping[str, Any]) -> None:
        """Raise OutputError, naming the first difference, if the folder is of another job."""
        theirs = read_json(self.folder / JOB, error=OutputError, limit=_LARGEST).get("identity")
        found = first_difference(theirs if isinstance(theirs, dict) else {}, identity)
        if found:
            name, was, now = found
            raise OutputError(
                f"{named(self.folder)}: holds what another job has done ({quoted(name)} was "
                f"{shown(was)}, now {shown(now)}). Give the same command again on the same "
                "machine, or begin anew with --restart, in Python restart=True."
            )

    def _check_ours(self) -> None:
        """Raise OutputError if somebody else's files stand in the folder."""
        others = [name for name in self._names() if not name.startswith(".")]
        if others and not {JOB, FINISHED} & {*others}:
            raise OutputError(
                f"{named(self.folder)}: holds {quoted(others[0])}, which no job wrote; move it, or "
                "name another output."
            )

    def _marks(self) -> list[Mark]:
        """Return the last two whole lines of the journal, or as many as there are."""
        path = self.folder / JOURNAL
        if not is_listed(path):
            return []
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
            file.seek(start)
            lines = file.read().split(b"\n")[:-1]  # behind the last end is what was cut short
        marks, end = list[Mark](), start
        for number, line in enumerate(lines):
            end += len(line) + 1
            try:
                mark = Mark(**json.loads(line))
            except (TypeError, ValueError):
                if number or not start:
                    break  # what a loss of power has left
                continue  # the end of a line that began before
            self._ends[mark.records, mark.is_end] = end
            marks.append(mark)
        return marks[-2:]

    def _names(self) -> list[str]:
        """Return the names in the folder, but for the lock's."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != LOCK)

    def _files(self) -> list[Grown]:
        """Return all open files."""
        return [*self._grown.values(), *([] if self._journal is None else [self._journal])]

    def _at(self, act: Callable[[], Result]) -> Result:
        """Do something on the disk; an error says what is whole, and how to go on."""
        try:
            return act()
        except NumpyBertError:  # some are an OSError too
            raise
        except OSError as failure:
            free = free_space(self.folder / JOB) if failure.errno == errno.ENOSPC else None
            room = "" if free is None else f"; the disk has {free:,} bytes free"
            raise OutputError(
                f"{named(self.folder)}: could not be written ({failure.strerror or failure}{room})."
                f" {self.mark.texts:,} texts are done: the same command goes on behind them."
            ) from None


def _mark_of(path: Path) -> list[int]:
    """Return what a file keeps under another name: its number, size and time; of a folder less."""
    status = path.stat()
    if look(path) == "folder":
        return [status.st_ino]
    return [status.st_ino, status.st_size, status.st_mtime_ns]
