"""The records of a corpus in order, from the file to the block of vectors that they belong to."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from numpy_bert.corpora.journal import Mark
from numpy_bert.corpora.sources import BadRecord, Record, Source
from numpy_bert.errors import InputError
from numpy_bert.messages import named, quoted
from numpy_bert.progress import progress

__all__ = ["Tape"]


class Tape:
    """The records of a source: read on one side, and taken with their vectors on the other.

    Parameters
    ----------
    source : Source
        The corpus.
    aside : bool
        Whether what is no text is put aside; otherwise it is an error.

    Attributes
    ----------
    mark : Mark
        What has been taken so far.
    position : int
        How far of the source that is.
    """

    def __init__(self, source: Source, *, aside: bool) -> None:
        self._source, self._aside = source, aside
        self._items = self._checked()
        self._waiting: deque[tuple[Record | BadRecord, int]] = deque()
        self._digest = hashlib.sha256()
        self._ended = False
        self.mark = Mark()
        self.position = 0

    @property
    def ahead(self) -> tuple[int, int]:
        """How many records have been read, and how far of the source that is."""
        if not self._waiting:
            return self.mark.records, self.position
        return self.mark.records + len(self._waiting), self._waiting[-1][1]

    def texts(self) -> Iterator[str]:
        """Yield the texts, and keep their records until they are taken."""
        for record in self._items:
            self._waiting.append((record, self._source.position))
            if isinstance(record, Record):
                yield record.text
        self._ended = True

    def take(self, texts: int) -> tuple[list[Record], list[BadRecord]]:
        """Return the next records with so many texts, and the bad ones that stand among them.

        The mark says afterwards whether these are the last ones of the corpus.
        """
        records, bad = list[Record](), list[BadRecord]()
        while len(records) < texts or (self._ended and self._is_rest_bad()):
            record, self.position = self._waiting.popleft()
            if isinstance(record, Record):
                records.append(record)
            else:
                bad.append(record)
            self._count(record)
        self.mark = self.mark._replace(
            is_end=self._ended and not self._waiting, sha256=self._digest.hexdigest()
        )
        return records, bad

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
        state = self.mark, self._digest.copy()
        with progress(last.records, "reading again", least=1, unit="records", delay=2.0) as report:
            while self.mark.records < last.records:
                record = next(self._items, None)
                if record is None:
                    raise self._changed(last, folder)
                if last.is_end and self.mark.records >= back.records:
                    read.append(record)
                self._count(record)
                if self.mark.records == back.records:
                    state = self.mark, self._digest.copy()
                report(1)
        if self._digest.hexdigest() != last.sha256:
            raise self._changed(last, folder)
        self.position = self._source.position
        if not last.is_end:
            return last
        more = next(self._items, None)
        if more is None:
            self._ended = True
            return last
        # The corpus has grown since: the block that was its last one would not have ended there.
        self._items = chain(read, [more], self._items)
        self.mark, self._digest = state
        return back

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

    def _is_rest_bad(self) -> bool:
        """Tell whether bad records stand behind the last text."""
        return bool(self._waiting) and isinstance(self._waiting[0][0], BadRecord)

    def _count(self, record: Record | BadRecord) -> None:
        """Count a record, and add it to the hash of all."""
        is_text = isinstance(record, Record)
        data = "\0".join(map(str, record[1:])).encode("utf-8", "surrogatepass")
        self._digest.update(b"%d %d %d\n" % (is_text, record.number, len(data)))
        self._digest.update(data)
        self.mark = self.mark._replace(
            texts=self.mark.texts + is_text,
            bad=self.mark.bad + (not is_text),
            records=self.mark.records + 1,
            number=record.number,
            bytes=self.mark.bytes + (len(data) if is_text else 0),
        )

    def _changed(self, last: Mark, folder: Path) -> InputError:
        """Return the error that says that the corpus is another one than before."""
        return InputError(
            f"{quoted(self._source.where)}: its first {last.texts:,} texts, up to "
            f"{self._source.unit} {last.number}, are not those that an earlier run has encoded in "
            f"{named(folder)}. Give that input again, or begin anew with --restart, in Python "
            "restart=True."
        )
