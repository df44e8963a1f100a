"""A corpus into a file: the vectors of encode_stream, gone on with at any block, to the byte."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import numpy_bert
from numpy_bert import InputError, OutputError, SentenceEncoder, quantize_embeddings
from numpy_bert.corpora import identity, job
from numpy_bert.corpora.job import CorpusReport, encode_corpus
from numpy_bert.corpora.journal import BAD, JOB, JOURNAL, Parts
from numpy_bert.corpora.sources import BadRecord, open_source
from numpy_bert.corpora.tape import Tape
from numpy_bert.encoding import stream
from numpy_bert.encoding.quantization import as_float16
from tests.support.platforms import posix
from tests.support.streams import Stdin

LINES = [f"number {number}" for number in range(103)]


class Stopped(Exception):
    """What stops a job in these tests."""


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture(autouse=True)
def _of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have blocks of ten texts, and wait for no disk: scripts/kill.py looks at that."""
    monkeypatch.setattr(stream, "_MOST_TEXTS", 10)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "corpus.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def stopped(monkeypatch: pytest.MonkeyPatch, blocks: int, act: Callable[[], object]) -> None:
    """Stop a job by an exception in the place of its next block."""
    commit, count = Parts.commit, 0

    def late(parts: Parts, mark: Any) -> None:
        nonlocal count
        if count == blocks:
            raise Stopped
        count += 1
        commit(parts, mark)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "commit", late)
        with pytest.raises(Stopped):
            act()


def stopped_at(monkeypatch: pytest.MonkeyPatch, place: str, act: Callable[[], object]) -> None:
    """Stop a job by an exception in the place of a function."""

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(f"numpy_bert.corpora.{place}", stop)
        with pytest.raises(Stopped):
            act()


def vectors_of(encoder: SentenceEncoder, **ways: Any) -> npt.NDArray[Any]:
    return np.concatenate(list(encoder.encode_stream(LINES, **ways)))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "uint8", "binary", "ubinary"])
def test_the_vectors_are_those_of_encode_stream(
    precision: str, encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    ways: dict[str, Any] = {"truncate_dim": 5, "normalize_embeddings": True, "prompt": "say: "}
    path = tmp_path / "x.npy"
    report = encode_corpus(encoder, corpus, path, precision=precision, **ways)
    bits = precision.endswith("binary")
    expected = vectors_of(encoder, precision=precision if bits else "float32", **ways)
    if precision == "float16":
        expected = expected.astype(np.float16)
    elif not bits:
        expected = quantize_embeddings(expected, precision)
    found = np.load(path)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert (report.texts, report.features, report.went_on_after) == (103, 5, 0)
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "x.npy"}


def test_float64_stays(corpus: Path, tmp_path: Path) -> None:
    encode_corpus(SentenceEncoder("demo", dtype="float64"), corpus, tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").dtype == np.float64


@pytest.mark.parametrize(
    ("name", "blocks"), [("x.npy", 0), ("x.npy", 1), ("x.npy", 11), ("x.jsonl", 7)]
)
def test_a_job_goes_on_and_its_output_has_the_same_bits(
    name: str,
    blocks: int,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, path, notes = tmp_path / f"whole{name}", tmp_path / name, list[str]()
    encode_corpus(encoder, corpus, whole)

    def run() -> CorpusReport:
        return encode_corpus(encoder, corpus, path, note=notes.append)

    if blocks < 11:
        stopped(monkeypatch, blocks, run)
    else:  # all blocks are whole, and the output is not
        stopped_at(monkeypatch, "outputs.take_name", run)
    assert not path.is_file()
    report = run()
    assert path.read_bytes() == whole.read_bytes()
    done = min(10 * blocks, 103)
    assert report.went_on_after == done
    assert notes == ([f"goes on after {done} texts of an earlier run."] if done else [])


def test_an_input_that_grew_gives_what_all_of_it_would_have_given(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, more = tmp_path / "x.npy", [f"more {number}" for number in range(12)]

    stopped_at(monkeypatch, "outputs.take_name", lambda: encode_corpus(encoder, corpus, path))
    with corpus.open("a") as file:
        file.writelines(f"{line}\n" for line in more)
    # The block of the last three texts was short, and is longer now.
    assert encode_corpus(encoder, corpus, path).went_on_after == 100
    encode_corpus(encoder, corpus, tmp_path / "whole.npy")
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert len(np.load(path)) == 115


@pytest.mark.parametrize("change", ["another text", "two in another order", "shorter"])
def test_an_input_that_changed_is_refused_by_name(
    change: str,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.npy"
    stopped(monkeypatch, 4, lambda: encode_corpus(encoder, corpus, path))
    lines = [*LINES]
    if change == "shorter":
        del lines[39:]
    else:
        lines[5], lines[7] = (
            ("other", lines[7]) if change == "another text" else (lines[7], lines[5])
        )
    corpus.write_text("".join(f"{line}\n" for line in lines))
    said = "corpus.txt: its first 40 texts, up to line 40, are not those that an earlier run"
    with pytest.raises(InputError, match=said):
        encode_corpus(encoder, corpus, path)
    lines = [*LINES]
    lines[40] = "behind what is done"
    corpus.write_text("".join(f"{line}\n" for line in lines))
    assert encode_corpus(encoder, corpus, path).went_on_after == 40


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({"truncate_dim": 7}, "truncate_dim was None, now 7"),
        ({"prompt": "a"}, "prompt was , now a"),
        ({"precision": "float16"}, "precision was float32, now float16"),
        ({"input_format": "text"}, "input_format was None, now text"),
    ],
)
def test_other_settings_are_refused(
    ways: dict[str, Any],
    said: str,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.npy"
    stopped(monkeypatch, 4, lambda: encode_corpus(encoder, corpus, path))
    with pytest.raises(OutputError) as failure:
        encode_corpus(encoder, corpus, path, **ways)
    assert said in str(failure.value).replace("'", "")
    assert encode_corpus(encoder, corpus, path, restart=True, **ways).went_on_after == 0


@pytest.mark.parametrize("name", ["model", "threads", "numpy", "machine"])
def test_what_can_change_a_bit_is_refused_by_name(
    name: str,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.npy"
    stopped(monkeypatch, 2, lambda: encode_corpus(encoder, corpus, path))
    file = tmp_path / "x.npy.part" / JOB
    said = json.loads(file.read_text())
    said["identity"][name] = "another"
    file.write_text(json.dumps(said))
    with pytest.raises(OutputError, match=rf"x.npy.part: holds .* \({name} was 'another', now "):
        encode_corpus(encoder, corpus, path)


def test_the_identity_tells_models_threads_and_ways_apart(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(other: SentenceEncoder, probe: Any = None) -> dict[str, Any]:
        vectors = np.zeros(2) if probe is None else probe
        return identity.identity_of_job(other, {"precision": "int8"}, vectors)

    first = found(encoder)
    assert found(SentenceEncoder("demo")) == first
    arrays = {name: array.copy() for name, array in encoder.named_parameters()}
    arrays["bert.embeddings.LayerNorm.bias"][3] += 1
    assert found(encoder.with_parameters(arrays))["model"] != first["model"]
    shorter = SentenceEncoder("demo")
    shorter.max_seq_length = 12
    assert found(shorter)["max_seq_length"] == 12
    assert found(encoder, np.ones(2))["probe"] != first["probe"]
    monkeypatch.setattr(identity, "get_num_threads", lambda: 77)
    assert found(encoder)["threads"] == 77
    assert json.loads(json.dumps(first)) == first


def test_bad_lines_are_put_aside_and_the_rest_goes_on(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, path, bad = (tmp_path / name for name in ("c.txt", "x.npy", "bad.jsonl"))
    wrong = {3, 25, 26, 103}
    lines = [f"{n}".encode() if n not in wrong else b"caf\xe9" for n in range(104)]
    corpus.write_bytes(b"\n".join(lines))
    said = r"c.txt: line 4: is not UTF-8 \(byte 3, 0xe9\); mend it, or put such aside with --bad-l"
    with pytest.raises(InputError, match=said):
        encode_corpus(encoder, corpus, path)
    assert list(tmp_path.iterdir()) == [corpus]

    def run() -> CorpusReport:
        return encode_corpus(encoder, corpus, path, bad_lines=bad)

    stopped(monkeypatch, 6, run)
    assert not bad.is_file()
    report = run()
    assert (report.texts, report.bad, report.went_on_after) == (100, 4, 60)
    found = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [line["line"] for line in found] == [4, 26, 27, 104]
    assert found[0] == {"line": 4, "why": "is not UTF-8 (byte 3, 0xe9)", "raw": r"caf\xe9"}
    good = [line.decode() for line in lines if line.isdigit()]
    assert np.array_equal(np.load(path), np.concatenate([*encoder.encode_stream(good)]))
    with pytest.raises(OutputError, match=r"bad.jsonl: already exists"):
        encode_corpus(encoder, corpus, tmp_path / "y.npy", bad_lines=bad)


def test_a_job_that_stopped_at_a_bad_line_goes_on_with_it_put_aside(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    with corpus.open("ab") as file:
        file.write(b"\xff\nlast\n")
    path = tmp_path / "x.npy"
    with pytest.raises(InputError, match="line 104: is not UTF-8"):
        encode_corpus(encoder, corpus, path)
    report = encode_corpus(encoder, corpus, path, bad_lines=tmp_path / "bad")
    assert (report.went_on_after, report.texts, report.bad) == (100, 104, 1)
    assert len((tmp_path / "bad").read_text().splitlines()) == 1


def test_a_number_beyond_float16_names_the_line(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def larger(vectors: npt.NDArray[Any], name: Callable[[int], str]) -> Any:
        vectors[3, 2] = -70000  # of the first block
        return as_float16(vectors, name)

    monkeypatch.setattr(job, "as_float16", larger)
    said = r"corpus.txt: line 4: its vector has -70000, and float16 ends at 65504; take --prec"
    with pytest.raises(InputError, match=said):
        encode_corpus(encoder, corpus, tmp_path / "x.npy", precision="float16")


def test_texts_that_are_cut_are_told_once_with_those_of_an_earlier_run(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, corpus = SentenceEncoder("demo"), tmp_path / "c.txt"
    short.max_seq_length = 8
    corpus.write_text("".join(f"{'word ' * (20 if n % 9 else 2)}\n" for n in range(45)))

    def run() -> CorpusReport:
        return encode_corpus(short, corpus, tmp_path / "x.npy")

    stopped(monkeypatch, 2, run)
    with pytest.warns(UserWarning) as told:  # noqa: PT030
        report = run()
    said = "c.txt: 40 of 45 texts have more tokens than max_seq_length = 8 and were cut."
    assert [str(one.message).rpartition("/")[2] for one in told] == [said]
    assert report.cut == 40


def test_between_the_name_and_the_end_a_stop_is_harmless(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad, notes = tmp_path / "x.npy", tmp_path / "bad", list[str]()

    def run(**options: Any) -> CorpusReport:
        return encode_corpus(encoder, corpus, path, bad_lines=bad, note=notes.append, **options)

    def stop() -> None:
        stopped_at(monkeypatch, "journal.Parts.remove", lambda: run(force=True))

    stop()
    whole = path.read_bytes()
    assert run().texts == 103
    assert notes == [f"{path} was whole already; nothing was left."]
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "x.npy", "bad"}
    with pytest.raises(OutputError, match="already exists"):
        run()
    stop()
    with pytest.raises(OutputError, match="already exists"):  # other settings are another job
        run(truncate_dim=3)
    stop()
    assert run(force=True).went_on_after == 0
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors", "x.jsonl"])
def test_no_lines_are_no_rows(name: str, encoder: SentenceEncoder, tmp_path: Path) -> None:
    corpus, path = tmp_path / "c.txt", tmp_path / name
    corpus.touch()
    assert encode_corpus(encoder, corpus, path).texts == 0
    if name == "x.npy":
        assert np.load(path).shape == (0, 384)
    assert {entry.name for entry in tmp_path.iterdir()} == {"c.txt", name}


def test_what_is_there_is_left_as_it_is(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"x.npy: already exists .* force=True"):
        encode_corpus(encoder, corpus, path)
    with pytest.raises(InputError, match="is the file that --input reads; name another"):
        encode_corpus(encoder, path, path, force=True)
    with pytest.raises(InputError, match="is the file that --input reads; name another"):
        encode_corpus(encoder, corpus, path, force=True, bad_lines=corpus)
    with pytest.raises(InputError, match="is the output; name another file"):
        encode_corpus(encoder, corpus, path, force=True, bad_lines=path)
    assert path.read_bytes() == b"precious"
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "x.npy"}
    encode_corpus(encoder, corpus, path, force=True)
    assert len(np.load(path)) == 103


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": 5}, "output must be the name of a file; got 5."),
        ({"source": None}, "source must be the name of a file; got None."),
        ({"output": "x.txt"}, "the name must end in one of .npy"),
        ({"precision": "int4"}, "precision must be one of"),
        ({"source": "a\0b"}, "source must be the name of a file"),
        ({"bad_lines": ""}, "bad_lines must be the name of a file; got ''."),
        ({"force": "no"}, "force must be True or False; got 'no'."),
        ({"source": "nowhere.txt"}, "nowhere.txt: does not exist"),
    ],
)
def test_wrong_arguments(
    options: dict[str, Any], said: str, encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    given = {"source": corpus, "output": tmp_path / "x.npy", **options}
    with pytest.raises(InputError, match=re.escape(said)):
        encode_corpus(encoder, **given)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_rows_that_plainly_have_no_room_are_told_first(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(name: str, **options: Any) -> Any:
        return _Rows(open_source(name, **options))

    class _Rows:
        def __init__(self, opened: Any) -> None:
            self._opened = opened

        def __enter__(self) -> Any:
            source = self._opened.__enter__()
            source.unit, source.size = "row", 1 << 50
            return source

        def __exit__(self, *problem: object) -> None:
            self._opened.__exit__(*problem)

    monkeypatch.setattr(job, "open_source", rows)
    with pytest.raises(OutputError, match="but the disk has"):
        encode_corpus(encoder, corpus, tmp_path / "x.npy")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_the_folder_says_what_it_is_of(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, 3, lambda: encode_corpus(encoder, corpus, tmp_path / "x.npy"))
    folder = tmp_path / "x.npy.part"
    said = json.loads((folder / JOB).read_text())
    assert said["input"] == str(corpus)
    assert said["identity"]["numpy_bert"] == numpy_bert.__version__
    last = json.loads((folder / JOURNAL).read_text().splitlines()[-1])
    assert (last["texts"], last["number"], last["records"]) == (30, 30, 30)
    assert last["bytes"] == sum(len(line) for line in LINES[:30])
    assert os.stat(folder / "vectors.npy").st_size >= last["sizes"]["vectors.npy"]  # noqa: PTH116
    assert last["sizes"]["vectors.npy"] == 128 + 30 * 384 * 4


@pytest.mark.parametrize("name", ["corpus.txt", "-"])
def test_progress_goes_by_what_is_read_within_a_block_too(
    name: str,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = list[tuple[int, str]]()
    asked = dict[str, Any]()

    @contextmanager
    def shown(total: int | None, label: str, **options: Any) -> Iterator[Callable[..., None]]:
        asked.update(options, total=total, label=label)
        yield lambda more, note="": said.append((more, note))

    monkeypatch.setattr(job, "progress", shown)
    monkeypatch.setattr(stream, "_MOST_TEXTS", 60)
    monkeypatch.setattr("sys.stdin", Stdin(corpus.read_bytes()))
    encode_corpus(encoder, corpus if name != "-" else name, tmp_path / "x.npy", batch_size=20)
    size = corpus.stat().st_size
    assert (asked["total"], asked["unit"]) == ((None, "texts") if name == "-" else (size, "B"))
    assert sum(more for more, _ in said) == (103 if name == "-" else size)
    assert len(said) == 3 + 1 + 3 + 1  # a micro-batch of twenty each, and the ends of two blocks
    assert all(more > 0 for more, _ in said[:3])
    # A file of a few lines is read at once.
    assert sum(more for more, _ in said[:4]) == (60 if name == "-" else size)
    assert "60 texts, " in said[3][1]
    assert said[7][1].startswith("103 texts, ")


@pytest.mark.parametrize("change", ["another", "longer"])
def test_an_output_of_another_input_is_not_said_to_be_whole(
    change: str,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, before = tmp_path / "x.npy", corpus.read_bytes()

    def run(**options: Any) -> CorpusReport:
        return encode_corpus(encoder, corpus, path, **options)

    stopped_at(monkeypatch, "journal.Parts.remove", run)
    corpus.write_bytes(before + b"more\n" if change == "longer" else before.replace(b"7", b"8"))
    said = "more than the 103 texts of which" if change == "longer" else "its first 103 texts, up"
    for force in (False, True):
        with pytest.raises(InputError, match=said):
            run(force=force)
    with pytest.raises(OutputError, match="already exists"):
        run(restart=True)
    assert run(restart=True, force=True).went_on_after == 0
    encode_corpus(encoder, corpus, tmp_path / "whole.npy")
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not (tmp_path / "x.npy.part").is_dir()


def test_what_is_done_is_not_thrown_away_for_a_command_that_is_refused(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"older")
    stopped(monkeypatch, 4, lambda: encode_corpus(encoder, corpus, path, force=True))
    with pytest.raises(OutputError, match="already exists"):
        encode_corpus(encoder, corpus, path, restart=True)
    assert encode_corpus(encoder, corpus, path, force=True).went_on_after == 40


def test_bad_lines_that_were_read_ahead_are_put_aside_once(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_MOST_CHARACTERS", 12)  # so one more text is read, and what
    corpus, bad = tmp_path / "c.txt", tmp_path / "bad"  # stands before it
    corpus.write_bytes(b"".join(b"text%d\n\xff\n\xfe\n" % n for n in range(9)))

    def run() -> CorpusReport:
        return encode_corpus(encoder, corpus, tmp_path / "x.npy", bad_lines=bad)

    for blocks in (1, 2):
        stopped(monkeypatch, blocks, run)
    report = run()
    assert (report.texts, report.bad, report.went_on_after) == (9, 18, 6)
    found = [json.loads(line)["line"] for line in bad.read_text().splitlines()]
    assert found == [line for line in range(1, 28) if line % 3 != 1]


def test_bad_lines_are_not_held_however_many_they_are(tmp_path: Path) -> None:
    corpus = tmp_path / "c.txt"
    corpus.write_bytes(b"first\n" + (b"\xff" * 500 + b"\n") * 2_000 + b"last\n")
    with open_source(corpus) as source:
        put = list[int]()

        def put_aside(record: BadRecord) -> int:
            put.append(record.number)
            return 1

        tape = Tape(source, aside=put_aside)
        texts = tape.texts()
        tracemalloc.start()
        assert [next(texts), next(texts)] == ["first", "last"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert put == list(range(2, 2_002))
        assert peak < 500_000
        assert [record.text for record in tape.take(1)] == ["first"]
        assert (tape.mark.bad, tape.mark.sizes) == (0, {})
        assert [record.text for record in tape.take(1)] == ["last"]
        assert (tape.mark.bad, tape.mark.sizes) == (2_000, {BAD: 2_000})


def test_numbers_may_be_numpys(encoder: SentenceEncoder, corpus: Path, tmp_path: Path) -> None:
    ways: Any = {"truncate_dim": np.int64(5), "batch_size": np.int32(7)}
    assert encode_corpus(encoder, corpus, tmp_path / "x.npy", **ways).features == 5


@posix
def test_a_link_that_leads_nowhere_is_one_error(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.npy"
    path.symlink_to(path)
    for given in ({"output": path}, {"source": path}, {"bad_lines": path}):
        options: dict[str, Any] = {"source": corpus, "output": tmp_path / "y.npy", **given}
        with pytest.raises((InputError, OutputError), match="leads back to itself"):
            encode_corpus(encoder, **options)
