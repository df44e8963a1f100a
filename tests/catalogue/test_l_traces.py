"""Letter L: a comparison may fail, but never pass by accident."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import InputError, IntegrityError, TraceError
from numpy_bert.cli import main
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.report import Report, as_text
from numpy_bert.comparison.tolerances import Tolerances
from numpy_bert.traces.reading import as_trace, open_trace
from numpy_bert.verification.verify import verify
from tests.support.checkpoints import pack
from tests.support.limits import allocating_at_most, within
from tests.support.traces import IDS, Arrays, changed, exact, run, trace_of, trained_like

STEP = "encoder.layer.1.intermediate"
A = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


@pytest.fixture
def right(tmp_path: Path) -> Arrays:
    names = (*IDS, "embeddings", "encoder.layer.0", STEP, "encoder")
    found = trace_of(trained_like(tmp_path), "float64")
    return {name: found[name] for name in names}


def text_of(report: Report) -> str | None:
    return None if report.guilty is None else report.guilty.text


def npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(*members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(members):
            archive.writestr(f"embeddings{number}.npy", data)
    return buffer.getvalue()


def is_refused(path: Path, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Hold that Python and the command line refuse a trace in one line that names it."""
    good = path.with_name("good")
    good.mkdir()
    np.save(good / "embeddings.npy", A)
    with allocating_at_most(1 << 24), within(5), pytest.raises(TraceError, match=message) as caught:
        open_trace(path)
    assert str(path) in str(caught.value)
    for given in ((path, good), (good, path)):
        assert main(["compare", *map(str, given)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"numpy-bert compare: error: {caught.value}\n"
    assert main(["compare", str(good), str(good)]) == 0


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{"a": 1}]), "holds Python objects, which are pickles; they are refused"),
        (np.zeros(2, [("a", object)]), r"must hold plain numbers; got dtype .*'\|O'"),
    ],
    ids=["objects", "objects in fields"],
)
def test_l1_objects_and_pickles(
    tmp_path: Path, array: Any, message: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t"
    if kind == "npz":
        path.write_bytes(zipped(npy(array)))
    else:
        path.mkdir()
        (path / "a.npy").write_bytes(npy(array))
    is_refused(path, message, capsys)


def bomb() -> bytes:
    """Return an npz of a few bytes of which the list of members says that 80 MB come out."""
    data = bytearray(zipped(npy(np.zeros(1000, np.uint8))))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 80 << 20)
    return bytes(data)


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("embeddings.npy", npy(A))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("embeddings.npy", npy(A))
    return buffer.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "has 0 bytes"),
    "garbage": (lambda: b"\xde\xad" * 99, "claims"),
    "an npz of garbage": (lambda: b"PK" + b"\xde\xad" * 99, "is no npz file"),
    "a pickle": (lambda: b"\x80\x04\x95" + b"0" * 60, "pickle"),
    "an npz that is cut": (lambda: zipped(npy(A))[:-30], "is no npz file"),
    "an npy that is cut": (lambda: zipped(npy(A)[:-1]), "must have 24 bytes of data.*got 23"),
    "an npz that claims 400 GB": (
        lambda: zipped(header("(100000000000,)", b"1234")),
        "must have 400,000,000,000 bytes of data.*got 4",
    ),
    "a safetensors that claims 400 GB": (
        lambda: struct.pack("<Q", 400 << 30) + b"{}",
        "claims 429,496,729,600",
    ),
    "a tensor that claims 400 GB": (
        lambda: pack(b'{"a":{"dtype":"F32","shape":[100000000000],"data_offsets":[0,4]}}', b"1234"),
        "has 4 bytes",
    ),
    "a bomb": (bomb, "which no computed numbers do"),
    "a member twice": (twice, r"must hold each name once; embeddings\.npy stands there twice"),
    "a shape of minus signs": (lambda: zipped(header(f"({'-' * 9000}1,)")), "is no npy file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_l2_hostile_files(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = HOSTILE[name]
    path = tmp_path / "t"
    path.write_bytes(make())
    is_refused(path, message, capsys)


def test_l2_a_flipped_bit_of_an_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, good = tmp_path / "t.npz", tmp_path / "good.npz"
    np.savez(good, embeddings=np.ones((1, 50, 40), np.float32))
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert main(["compare", str(good), str(path)]) == 2
    err = capsys.readouterr().err
    assert err == (
        f"numpy-bert compare: error: {path}: embeddings.npy cannot be read (Bad CRC-32 for file "
        "embeddings.npy).\n"
    )


def test_l3_missing_extra_and_other_order(right: Arrays) -> None:
    some = {name: a for name, a in right.items() if name != STEP}
    report = run(right, some)
    assert (report.first, text_of(report)) == (STEP, "it is missing in the candidate")
    allowed = run(right, some, allow=["encoder.*.intermediate"])
    assert allowed.verdict == "pass"
    assert [row.verdict for row in allowed.steps if row.name == STEP] == ["allowed"]
    extra = run(some, right)
    assert extra.verdict == "pass"
    assert any(STEP in note and "not compared" in note for note in extra.notes)
    assert STEP in extra.sentence
    other = run(right, dict(reversed(right.items())))
    assert other.verdict == "pass"
    assert [row.name for row in other.steps] == [row.name for row in run(right, right).steps]


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (np.ones((3, 1)), np.ones((1, 3)), "its shape must be (3, 1); got (1, 3)"),
        (np.ones(()), np.ones(1), "its shape must be (); got (1,)"),
        (np.ones(1), np.ones(()), "its shape must be (1,); got ()"),
        (np.ones(4), np.ones((2, 2)), "its shape must be (4,); got (2, 2)"),
        (np.ones((0, 4)), np.ones((0, 4)), "it must not be empty; got shape (0, 4)"),
        (np.ones((0, 4)), np.ones((0, 3)), "its shape must be (0, 4); got (0, 3)"),
    ],
)
def test_l4_shapes_are_equal_or_differ(ours: Any, theirs: Any, text: str) -> None:
    more = {"embeddings": A}
    report = run({"loss": ours, **more}, {"loss": theirs, **more})
    assert (report.first, text_of(report)) == ("loss", text)
    assert run({"loss": ours, **more}, {"loss": theirs, **more}, allow=["loss"]).verdict == "pass"


def test_l5_the_coarser_dtype_is_shown_and_gives_the_budget(right: Arrays) -> None:
    budgets = []
    for dtype in ("float64", "float32", "float16"):
        report = run(right, {**right, STEP: right[STEP].astype(dtype)})
        (row,) = (row for row in report.steps if row.name == STEP)
        assert (row.verdict, row.dtype) == ("pass", dtype)
        assert f"  f{dtype[-2:]}  " in as_text(report)
        assert row.budget is not None
        budgets.append(row.budget)
        turned = run({**right, STEP: right[STEP].astype(dtype)}, right)
        (row,) = (row for row in turned.steps if row.name == STEP)
        assert row.budget == pytest.approx(budgets[-1], rel=1e-3)
    assert budgets[0] * 1e6 < budgets[1] < budgets[2] / 1e3
    far = right[STEP] + np.float64(budgets[1] * 1.5)
    assert run(right, {**right, STEP: far.astype(np.float32)}).first == STEP


def test_l6_a_nan_on_both_sides(right: Arrays) -> None:
    broken = changed(right, STEP, (0, 0, 0), np.nan)
    report = run(broken, broken)
    assert report.first == STEP
    text = "1 values of the candidate and 1 of the reference are not finite"
    assert text_of(report) == text
    assert run(broken, broken, equal_nan=True).verdict == "pass"
    assert run(right, broken, equal_nan=True).first == STEP
    hidden = changed(right, STEP, (1, 0, 0), np.nan)
    assert run(right, hidden).verdict == "pass"


def test_l6_infinities_of_either_sign(right: Arrays) -> None:
    up, down = (changed(right, STEP, (0, 0, 0), sign * np.inf) for sign in (1, -1))
    assert run(up, up).verdict == "pass"
    assert run(up, down).first == run(right, up).first == STEP


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "nan", "inf", "1e999", "1e-5x", "", "embeddings:", "a:b", "1_0", ":", "0x1"),
        *(":1e-5", " 1e-5", "1e-5 ", "\uff11e-5", "-0x1", "1e", "."),
    ],
)
def test_l7_numbers_that_are_no_tolerance(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"must be a number from 0, as 1e-5, or a glob"):
        Tolerances([text])
    np.save(tmp_path / "embeddings.npy", A)
    assert main(["compare", str(tmp_path), str(tmp_path), f"--rtol={text}"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(
        "numpy-bert compare: error: rtol must be a number from 0, as 1e-5, or a glob"
    )


@pytest.mark.parametrize(
    ("member", "what"),
    {
        "weights_sha256": "weights",
        "tokenizer_sha256": "tokenizers",
        "config": "configs",
        "text": "texts",
        "versions": "versions of the libraries",
    }.items(),
)
def test_l8_what_the_two_say_that_they_are_made_of(right: Arrays, member: str, what: str) -> None:
    """A revision is told by the hash of its weights: the one of a trace has no other name."""
    claims = [{"config": "c", "text": "t", member: value} for value in ("a", "b")]
    reference, candidate = (replace(as_trace(right), metadata=claim) for claim in claims)
    note = f"the two are said to be of different {what}."
    report = compare(reference, candidate)
    assert report.notes[0] == note
    assert note in " ".join(as_text(report).split())
    assert note not in compare(reference, reference).notes
    assert note not in compare(reference, as_trace(right)).notes


@pytest.mark.parametrize("name", IDS)
def test_l8_ids_and_mask_come_first(right: Arrays, name: str) -> None:
    wrong = changed(changed(right, "embeddings", 0, 9.0), name, (0, 3), 1 - IDS[name][0, 3])
    assert run(right, wrong).first == name


def test_l9_padding_counts_only_if_asked(right: Arrays) -> None:
    wrong = changed(right, STEP, (1, 0, 4), 7.0)
    report = run(right, wrong)
    assert report.verdict == "pass"
    assert report.notes == [
        "the 16 tokens of attention_mask were compared, the 5 positions of padding were not "
        "(--all-positions)."
    ]
    everywhere = run(right, wrong, all_positions=True)
    assert (everywhere.first, everywhere.notes) == (STEP, [])
    whole = {**right, "attention_mask": np.ones((3, 7), int)}
    assert run(whole, whole).notes == []


def test_l10_dropout_is_named(tmp_path: Path) -> None:
    """`verify` says why a trace differs; `compare`, which has no model, says where alone."""
    folder = trained_like(tmp_path, hidden_size=96, hidden_dropout_prob=0.1)
    trace = trace_of(folder)
    keep = np.random.default_rng(0).random((3, 7, 96)) >= 0.1
    name = "embeddings.dropout"
    dropped = np.where(keep, trace[name] * np.float32(1 / 0.9), np.float32(0))
    report = verify(as_trace({**trace, name: dropped}), exact(folder), fail_fast=True)
    assert (report.first, report.cause) == (name, "dropout_on")
    assert "dropout" in report.sentence
    assert run(trace, {**trace, name: dropped}).first == name


def test_l10_another_gelu_is_named(tmp_path: Path) -> None:
    folder = trained_like(tmp_path)
    model = exact(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu_new"}))
    report = verify(as_trace(trace_of(folder)), model, fail_fast=True)
    assert (report.first, report.cause) == ("encoder.layer.0.intermediate", "gelu_tanh")
    assert "tanh" in report.sentence


@pytest.mark.parametrize("value", [0.0, -0.0, 0.5, 3, np.nan])
def test_l11_a_reference_without_information_is_told(right: Arrays, value: float) -> None:
    held = {**right, STEP: np.full_like(right[STEP], value)}
    held[STEP][1, 0] = 7.0  # padding, which does not count
    note = f"{STEP}: the reference is all {abs(value):g} and carries no information."
    report = run(held, held, equal_nan=True)
    assert report.verdict == "pass"
    assert note in report.notes
    assert note in " ".join(as_text(report).split())
    assert run(held, right).first == STEP
    held[STEP][0, 0, 0] = 1.0
    assert not any("information" in text for text in run(held, held, equal_nan=True).notes)


def test_l11_other_arrays_and_what_may_be_constant() -> None:
    arrays: dict[str, Any] = {
        "ids": np.full(3, 4),
        "loss": np.float32(2),  # a single number is all that there is
        "pooler": np.array([[1.0, 2.0]]),
        "embeddings.LayerNorm.weight": np.ones(4),
        "attention_mask": np.ones((1, 2), int),
    }
    assert run(arrays, arrays).notes == ["ids: the reference is all 4 and carries no information."]


@pytest.mark.parametrize("command", ["compare", "verify"])
def test_l12_a_trace_that_was_edited(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, good = tmp_path / "t.safetensors", tmp_path / "good.safetensors"
    assert main(["trace", "it ran", "--names", "embeddings", "-o", str(good)]) == 0
    data = bytearray(good.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        open_trace(path)
    capsys.readouterr()
    more = [str(good)] if command == "compare" else ["--model", "demo"]
    assert main([command, str(path), *more]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"numpy-bert {command}: error: {path} was changed after it was written")
    assert main([command, str(good), *more]) == 0
