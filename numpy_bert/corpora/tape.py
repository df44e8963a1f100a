"""The records of a corpus in order, from the file to the block of vectors that they belong to."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from numpy_bert.corpora.journal import BAD, Mark
from numpy_bert.corpora.sources import BadRecord, Record, Source
from numpy_bert.errors import InputError
from numpy_bert.messages import named, quoted
from numpy_bert.progress import PATIENCE, progress

__all__ = ["Tape"]


class Tape:
    """The records of a source: read on one side, and taken with their vectors on the other.

    Parameters
    ----------
    source : Source
        The corpus.
    aside : callable, optional
        What puts a record that is no text aside, in the file `BAD`, and returns how many bytes it
        has there; without it such a record is an error. It is called when the record is read, so
        that however many of them stand between two texts, none is held.

    Attributes
    ----------
    mark : Mark
        What has been taken so far.
    position : int
        How far of the source that is.
    """

    def __init__(self, source: Source, *, aside: Callable[[BadRecord], int] | None = None) -> None:
        self._source, self._aside = source, aside
        self._items = self._checked()
        # Texts, each with what had been read up to its end, and how far of the source that was.
        self._waiting: deque[tuple[Record, Mark, int]] = deque()
        self._read = Mark()
        self._digest = hashlib.sha256()
        self._ended = False
        self.mark = Mark()
        self.position = 0

    @property
    def ahead(self) -> tuple[int, int]:
        """How many records have been read, and how far of the source that is."""
        return self._read.records, self._source.position

    def texts(self) -> Iterator[str]:
        """Yield the texts, and keep their records until they are taken."""
        for record in self._items:
            self._count(record)
            if isinstance(record, Record):
                self._waiting.append((record, self._signed(), self._source.position))
                yield record.text
            elif self._aside is not None:
                size = self._read.sizes.get(BAD, 0) + self._aside(record)
                self._read = self._read._replace(sizes={BAD: size})
        self._ended = True

    def take(self, texts: int) -> list[Record]:
        """Return the records of the next texts, so many.

        The mark says afterwards whether these are the last ones of the corpus; then what is no text
        behind them counts, too.
        """
        records = list[Record]()
        for _ in range(texts):
            record, self.mark, self.position = self._waiting.popleft()
            records.append(record)
        if self._ended and not self._waiting:
            self.mark = self._signed()._replace(is_end=True)
            self.position = self._source.position
        return records

    def go_on(self, marks: Sequence[Mark], folder: Path) -> Mark:
        """Read again what an earlier run has encoded; return the line to go on behind.

        Parameters
        ----------
        marks : sequence of Mark
            The last line of the journal, and the one before, if there is one.
        folder : Path
            Where they stand, for a message.

        Returns
        -------
        Mark
            The last line; or the one before, where the corpus ended with a block that would have
            been longer, had it been what it is now.

        Raises
        ------
        InputError
            If the texts are other ones.
        """
        last = marks[-1]
        back = marks[-2] if len(marks) > 1 else Mark()
        read = list[Record | BadRecord]()
        digest = self._digest.copy()
        with progress(
            last.records, "reading again", least=1, unit="records", delay=PATIENCE
        ) as report:
            while self._read.records < last.records:
                record = next(self._items, None)
                if record is None:
                    raise self._changed(last, folder)
                if last.is_end and self._read.records >= back.records:
                    read.append(record)
                self._count(record)
                if self._read.records == back.records:
                    digest = self._digest.copy()
                report(1)
        if self._digest.hexdigest() != last.sha256:
            raise self._changed(last, folder)
        self.position = self._source.position
        more = next(self._items, None) if last.is_end else None
        self._ended = last.is_end and more is None
        if more is None:
            self.mark = self._read = self._own(last)
            return last
        # The corpus has grown since: the block that was its last one would not have ended there.
        self._items = chain(read, [more], self._items)
        self._digest = digest
        self.mark = self._read = self._own(back)
        return back

    def _own(self, mark: Mark) -> Mark:
        """Return a line of the journal with the size of what is put aside alone."""
        size = mark.sizes.get(BAD, 0)
        return mark._replace(sizes={} if self._aside is None else {BAD: size})

    def _checked(self) -> Iterator[Record | BadRecord]:
        """Yield the records; raise InputError at a bad one that is not to be put aside."""
        for record in self._source:
            if isinstance(record, BadRecord) and not self._aside:
                raise InputError(
                    f"{quoted(self._source.where)}: {self._source.unit} {record.number}: "
                    f"{record.why}; mend it, or put such aside with --bad-lines FILE, in Python "
                    "bad_lines=. What is done stays."
                )
            yield record

    def _signed(self) -> Mark:
        """Return what has been read so far, with its hash."""
        return self._read._replace(is_end=False, sha256=self._digest.hexdigest())

    def _count(self, record: Record | BadRecord) -> None:
        """Count a record, and add it to the hash of all."""
        is_text = isinstance(record, Record)
        data = "\0".join(map(str, record[1:])).encode("utf-8", "surrogatepass")
        self._digest.update(b"%d %d %d\n" % (is_text, record.number, len(data)))
        self._digest.update(data)
        read = self._read
        self._read = read._replace(
            texts=read.texts + is_text,
            bad=read.bad + (not is_text),
            records=read.records + 1,
            number=record.number,
            bytes=read.bytes + (len(data) if is_text else 0),
        )

    def _changed(self, last: Mark, folder: Path) -> InputError:
        """Return the error that says that the corpus is another one than before."""
        return InputError(
            f"{quoted(self._source.where)}: its first {last.texts:,} texts, up to "
            f"{self._source.unit} {last.number}, are not those that an earlier run has encoded in "
            f"{named(folder)}. Give that input again, or begin anew with --restart, in Python "
            "restart=True."
        )
