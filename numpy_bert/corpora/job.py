"""A corpus into a file of vectors: streamed, and gone on with where it was stopped."""

from __future__ import annotations

import json
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array
from numpy_bert.corpora.identity import identity_of_job
from numpy_bert.corpora.journal import BAD, Mark, Parts
from numpy_bert.corpora.outputs import Output, file_output
from numpy_bert.corpora.sources import BadRecord, Record, Source, open_source
from numpy_bert.corpora.tape import Tape
from numpy_bert.encoding.prompts import prompt_of
from numpy_bert.encoding.quantization import as_float16, check_precision, quantized_shape
from numpy_bert.errors import InputError
from numpy_bert.files import as_file, check_output, check_space, is_listed, target_of, writing
from numpy_bert.messages import named, quoted
from numpy_bert.progress import PATIENCE, progress

if TYPE_CHECKING:
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder

__all__ = ["CorpusReport", "encode_corpus"]

# A precision that sentence-transformers does not have.
_HALF = "float16"
# Texts whose vectors tell one way of encoding from another, as weights alone do not.
_PROBE = ("The sun is shining.", "Ein Hündchen läuft, 3.14 km weit!", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """What a job has done.

    Attributes
    ----------
    output : str
        What it has made.
    texts, bad, cut : int
        How many texts have vectors, how many lines or rows were put aside, and how many of the
        texts were longer than the model reads.
    features : int
        How many features a vector has, before any of them share a byte.
    went_on_after : int
        How many texts an earlier run had done.
    seconds, texts_per_second : float
        How long this run took, and its rate.
    """

    output: str
    texts: int
    bad: int
    cut: int
    features: int
    went_on_after: int
    seconds: float
    texts_per_second: float


def encode_corpus(
    encoder: SentenceEncoder,
    source: str | Path,
    output: str | Path | Output,
    *,
    text_column: str | None = None,
    input_format: str | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
    normalize_embeddings: bool = False,
    truncate_dim: int | None = None,
    pooling: str | Sequence[str] | None = None,
    precision: str = "float32",
    bad_lines: str | Path | None = None,
    force: bool = False,
    restart: bool = False,
    note: Callable[[str], object] | None = None,
) -> CorpusReport:
    r"""Write a corpus's vectors to a file, whatever its size; go on where an earlier run ended.

    Texts are read, encoded and written block by block. What is done stands in a folder beside the
    output, ``PATH.part``, until the output takes its name in one step. The same call after a kill
    goes on there, and what it makes has the same bits as if it had not been disturbed.

    Parameters
    ----------
    encoder : SentenceEncoder
        The model.
    source : str or Path
        The corpus, as `numpy_bert.corpora.open_source` takes it; "-" is standard input.
    output : str, Path or Output
        A file that ends in .npy, .npz, .safetensors, .jsonl or .parquet; or another `Output`, which
        has a precision of its own.
    text_column, input_format : str, optional
        They are the `column` and the `form` of `open_source`.
    prompt_name, prompt, batch_size, normalize_embeddings, truncate_dim, pooling
        They are those of `SentenceEncoder.encode_stream`.
    precision : {"float32", "float16", "int8", "uint8", "binary", "ubinary"}
        In what a feature is stored. "float32" leaves vectors as they are; bytes have the ranges of
        all vectors.
    bad_lines : str or Path, optional
        A file for what cannot be read as a text, a line of JSON each; without it the first such
        line is an error.
    force : bool
        Whether an output that is there is replaced, when the new one is whole.
    restart : bool
        Whether what an earlier run has left is thrown away.
    note : callable, optional
        It is called with what a person may want to know meanwhile.

    Returns
    -------
    CorpusReport
        How many texts there were, and how long it took.

    Raises
    ------
    InputError
        If an argument is wrong, a line or row is no text, or the part of the corpus that an earlier
        run has encoded has changed.
    OutputError
        If the output is there, another process works on it, the folder is another job's, or the
        disk is full; what is done stays.

    Warns
    -----
    UserWarning
        Once, if texts were longer than the model reads.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert import SentenceEncoder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus, path = Path(folder) / "corpus.txt", Path(folder) / "vectors.npy"
    ...     _ = corpus.write_text("a test\nanother one\n")
    ...     report = encode_corpus(SentenceEncoder("demo"), corpus, path)
    ...     report.texts, np.load(path).shape
    (2, (2, 384))
    """
    check_switches(force=force, restart=restart, normalize_embeddings=normalize_embeddings)
    kind = precision if precision == _HALF else check_precision(precision)
    if isinstance(output, (str, Path)) or not hasattr(output, "finish"):
        output = file_output(as_file(output, "output"), kind)
    job = _Job(
        encoder=encoder,
        source=str(source) if source == "-" else str(as_file(source, "source")),
        text_column=text_column,
        input_format=input_format,
        output=output,
        ways={
            "prompt": prompt_of(encoder.prompts, encoder.default_prompt_name, prompt, prompt_name),
            "batch_size": _number("batch_size", batch_size),
            "normalize_embeddings": bool(normalize_embeddings),
            "truncate_dim": _number("truncate_dim", truncate_dim),
            "pooling": pooling,
        },
        bad_lines=None if bad_lines is None else as_file(bad_lines, "bad_lines"),
        force=force,
        tell=note or (lambda _: None),
    )
    return job.run(restart=restart)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A corpus, an output, and how the texts of the one become the vectors of the other."""

    encoder: SentenceEncoder
    source: str
    text_column: str | None
    input_format: str | None
    output: Output
    ways: Mapping[str, Any]
    bad_lines: Path | None
    force: bool
    tell: Callable[[str], object]

    def run(self, *, restart: bool) -> CorpusReport:
        """Do all of it, or what is left."""
        parts = Parts(self.output.path)
        if not parts.is_there():
            self._check()  # before anything is made or computed
        with (
            open_source(self.source, column=self.text_column, form=self.input_format) as source,
            parts.held(),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that its texts are cut
                vectors = self.encoder.encode(list(_PROBE), **self.ways)
            identity = self._identity(vectors)
            done = parts.finished()
            if done is not None and done["identity"] == identity and not restart:
                self._check_whole(source, parts, Mark(**done["mark"]))
                self._put_aside(parts)
                parts.remove()
                self.tell(f"{quoted(self.output.path)} was whole already; nothing was left.")
                return CorpusReport(**done["report"])
            self._check()  # before what has been done is thrown away
            if done is not None or restart:
                parts.remove()
            return self._encode(source, parts, identity, vectors)

    def _check(self) -> None:
        """Raise OutputError unless all can be written, InputError if it would replace the input."""
        target = target_of(self.output.path)
        for path in (self.output.path, self.bad_lines):
            if path is not None and self.source != "-" and _is_same(path, Path(self.source)):
                raise InputError(f"{named(path)}: is the file that --input reads; name another.")
        if self.source != "-" and target in target_of(Path(self.source)).parents:
            raise InputError(
                f"{named(self.output.path)}: holds the file that --input reads, and would be "
                "replaced with it; name another folder."
            )
        if self.bad_lines is not None:
            found = target_of(self.bad_lines)
            if target == found or target in found.parents:
                raise InputError(f"{named(self.bad_lines)}: is the output; name another file.")
            check_output(self.bad_lines, force=self.force)
        self.output.check(force=self.force)

    def _check_whole(self, source: Source, parts: Parts, mark: Mark) -> None:
        """Raise InputError unless the output is of all of the input, and of nothing else."""
        tape = Tape(source, aside=None if self.bad_lines is None else lambda _: 0)
        if tape.go_on([mark], parts.folder) != mark:
            raise InputError(
                f"{quoted(source.where)}: has more than the {mark.texts:,} texts of which "
                f"{quoted(self.output.path)} was made. --restart and --force, in Python "
                "restart=True and force=True, encode all of it anew."
            )

    def _identity(self, probe: Array) -> dict[str, Any]:
        """Return what must be the same where a job goes on."""
        asked = {"input_format": self.input_format, "text_column": self.text_column, **self.ways}
        return identity_of_job(self.encoder, {**self.output.identity, **asked}, probe)

    def _encode(
        self, source: Source, parts: Parts, identity: Mapping[str, Any], probe: Array
    ) -> CorpusReport:
        """Encode what is left, and make the output."""
        start = time.perf_counter()
        tape = Tape(source, aside=None if self.bad_lines is None else partial(_put, parts))
        marks = parts.begin(identity, {"input": source.where, "output": str(self.output.path)})
        if marks:
            parts.go_on(tape.go_on(marks, parts.folder))
            self.tell(f"goes on after {parts.mark.texts:,} texts of an earlier run.")
        before = parts.mark.texts
        self._begin(source, parts, probe)
        self._work(source, parts, tape)
        seconds = time.perf_counter() - start
        report = CorpusReport(
            output=str(self.output.path),
            texts=parts.mark.texts,
            bad=parts.mark.bad,
            cut=parts.mark.cut,
            features=probe.shape[1],
            went_on_after=before,
            seconds=seconds,
            texts_per_second=(parts.mark.texts - before) / seconds,
        )
        self._finish(parts, identity, report)
        return report

    def _work(self, source: Source, parts: Parts, tape: Tape) -> None:
        """Encode the texts that are left, block by block."""
        before, start = parts.mark, time.perf_counter()
        stream = self.encoder.encode_stream(tape.texts(), precision=self._streamed, **self.ways)
        with _showing(source, tape) as bar, warnings.catch_warnings():
            stream.advance = bar.advance
            # It knows nothing of the blocks of an earlier run; the job says how many in all.
            warnings.filterwarnings("ignore", "encode_stream: .* were cut", UserWarning)
            for vectors in stream:
                records = tape.take(len(vectors))
                self.output.add(records, self._stored(vectors, records, source))
                parts.commit(tape.mark._replace(cut=before.cut + stream.cut))
                rate = (parts.mark.texts - before.texts) / (time.perf_counter() - start)
                bar.end_block(f"{parts.mark.texts:,} texts, {rate:,.0f} texts/s")
        if not parts.mark.is_end:  # bad lines behind the last block, or a last block that was full
            tape.take(0)
            parts.commit(tape.mark._replace(cut=parts.mark.cut))

    def _begin(self, source: Source, parts: Parts, probe: Array) -> None:
        """Open the files that grow; raise OutputError if the disk plainly has no room for them."""
        shape, dtype = quantized_shape(probe.shape, probe.dtype, self._streamed)
        if self.output.precision == _HALF:
            dtype = np.dtype(_HALF)
        if source.unit == "row" and source.size is not None:
            left = source.size - parts.mark.texts
            size = left * shape[1] * dtype.itemsize
            check_space(parts.folder, size, "Make room, or name an output on another disk.")
        self.output.begin(parts, shape[1], dtype)
        if self.bad_lines is not None:
            parts.grow(BAD)

    @property
    def _streamed(self) -> str:
        """The precision that blocks have when they come: bytes need the ranges of all."""
        return self.output.precision if self.output.precision.endswith("binary") else "float32"

    def _stored(self, vectors: Array, records: Sequence[Record], source: Source) -> Array:
        """Return vectors as they are stored."""
        if self.output.precision != _HALF:
            return vectors
        return as_float16(
            vectors, lambda row: f"{named(source.where)}: {source.unit} {records[row].number}"
        )

    def _put_aside(self, parts: Parts) -> None:
        """Give what is no text the name that was asked for."""
        if self.bad_lines is not None and is_listed(parts.folder / BAD):
            with (parts.folder / BAD).open("rb") as bad, writing(self.bad_lines) as file:
                shutil.copyfileobj(bad, file)

    def _finish(self, parts: Parts, identity: Mapping[str, Any], report: CorpusReport) -> None:
        """Make the output, and remove what it was made of."""
        mark = parts.mark._asdict()
        said = {"identity": dict(identity), "mark": mark, "report": asdict(report)}
        self.output.finish(lambda made: parts.sign(made, said))
        self._put_aside(parts)
        parts.remove()
        if report.cut:
            warnings.warn(
                f"{quoted(self.source)}: {report.cut:,} of {report.texts:,} texts have more tokens "
                f"than max_seq_length = {self.encoder.max_seq_length} and were cut.",
                stacklevel=5,
            )


class _Bar:
    """How far the texts are that have vectors: by what has been read, or their number in a pipe."""

    def __init__(self, tape: Tape, report: Callable[..., object], *, by_position: bool) -> None:
        self._tape, self._report, self._place = tape, report, int(by_position)
        self._known, self._share, self._note = self._start(), 0.0, ""
        self._lock = threading.Lock()

    def _start(self) -> int:
        """Return where the block begins that is encoded."""
        return (self._tape.mark.records, self._tape.position)[self._place]

    def advance(self, share: float) -> None:
        """Say that some more of the block is done: its long texts, which come first, are more."""
        with self._lock:
            self._share += share
            start = self._start()
            self._go(start + int((self._tape.ahead[self._place] - start) * min(self._share, 1.0)))

    def end_block(self, note: str) -> None:
        """Say that a block is done, and what stands behind the bar."""
        with self._lock:
            self._share, self._note = 0.0, note
            self._go(self._start())

    def _go(self, place: int) -> None:
        self._report(place - self._known, self._note)
        self._known = place


@contextmanager
def _showing(source: Source, tape: Tape) -> Iterator[_Bar]:
    """Yield what shows progress to a person who waits."""
    by_position = source.size is not None
    unit = "texts" if not by_position else "B" if source.unit == "line" else "rows"
    start = tape.position if by_position else tape.mark.records
    with progress(
        source.size, "encoding", least=1, unit=unit, delay=PATIENCE, initial=start
    ) as report:
        yield _Bar(tape, report, by_position=by_position)


def _put(parts: Parts, record: BadRecord) -> int:
    """Add a record that is no text to the file of such; return how many bytes it has there."""
    line = {"line": record.number, "why": record.why, "raw": record.raw}
    data = f"{json.dumps(line)}\n".encode()
    parts.write(BAD, data)
    return len(data)


def _number(name: str, value: int | None) -> int | None:
    """Return a number as JSON has it."""
    return None if value is None else as_count(name, value)


def _is_same(path: Path, other: Path) -> bool:
    """Tell whether both are names of one file that is there."""
    with suppress(OSError):  # one is not there
        return path.samefile(other)
    return False
