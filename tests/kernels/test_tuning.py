"""Which choices are in force: the environment's, the user's own, the table's, or the plain ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from numpy_bert.errors import InputError, OutputError
from numpy_bert.kernels import tuning as module
from numpy_bert.kernels.machine import Machine, machine
from numpy_bert.kernels.tuning import TABLE, Choices, Cut, check_file, keep, tuning, user_file

MINE = Choices((Cut(384, 16, 8, 64), Cut(384, 0, 0, 0)), "exp", 96 << 10)
fresh: Callable[[], module.Tuning] = tuning.__wrapped__


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMPY_BERT_TUNING")
    return tmp_path


def choices(found: module.Tuning) -> Choices:
    return Choices(found.cuts, found.activation, found.block_bytes)


def test_an_unknown_machine_takes_the_plain_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine", lambda: Machine("?", "?", "?"))
    found = fresh()
    assert (found.cuts, found.activation) == ((), "tanh")
    assert 96 << 10 <= found.block_bytes <= 192 << 10
    assert "not in the built-in table" in str(found)


@pytest.mark.parametrize("known", TABLE)
def test_a_machine_of_the_table(monkeypatch: pytest.MonkeyPatch, known: Machine) -> None:
    monkeypatch.setattr(module, "machine", lambda: known)
    assert choices(fresh()) == TABLE[known]
    assert fresh().source == "the built-in table"
    other_kernel = known._replace(blas="OpenBLAS Prescott")
    monkeypatch.setattr(module, "machine", lambda: other_kernel)
    assert fresh().cuts == ()


def test_the_same_processor_under_another_kernel_is_another_machine() -> None:
    """A flag of the processor once decided, whatever kernel BLAS ran."""
    assert all(known.blas.startswith("OpenBLAS ") for known in TABLE)
    cut = {known.blas for known, entry in TABLE.items() if entry.cuts}
    assert cut == {"OpenBLAS SkylakeX"}


def test_what_was_measured_here_comes_before_the_table() -> None:
    check_file(user_file())
    kept = keep(user_file(), MINE)
    assert choices(kept) == choices(fresh()) == MINE
    assert fresh() == kept
    assert str(user_file()) in fresh().source


def test_a_file_has_the_choices_of_several_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be shared by the machines of a cluster."""
    here = machine()
    check_file(user_file())
    keep(user_file(), MINE)
    monkeypatch.setattr(module, "machine", lambda: Machine("other", "?", "?"))
    assert fresh().cuts == ()
    keep(user_file(), Choices())
    keep(user_file(), Choices(activation="exp"))
    assert fresh().activation == "exp"
    monkeypatch.setattr(module, "machine", lambda: here)
    assert choices(fresh()) == MINE


def test_the_environment_decides_over_both(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    check_file(user_file())
    keep(user_file(), MINE)
    monkeypatch.setenv("NUMPY_BERT_TUNING", "plain")
    assert (fresh().cuts, fresh().activation) == ((), "tanh")
    assert "NUMPY_BERT_TUNING = plain" in str(fresh())
    monkeypatch.setenv("NUMPY_BERT_TUNING", "table")
    assert fresh().activation == TABLE.get(machine(), Choices()).activation
    keep(home / "other.json", Choices(block_bytes=4096))
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(home / "other.json"))
    assert fresh().block_bytes == 4096
    assert "other.json, which the environment variable" in fresh().source


def test_a_file_of_the_environments_must_be_one(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(home / "none.json"))
    with pytest.raises(InputError, match="does not exist"):
        fresh()
    (home / "none.json").write_text("{}")
    with pytest.raises(InputError, match="must have the choices for this machine"):
        fresh()


BROKEN = {
    "[]": "a JSON object was expected",
    '{"m": 3}': "must have activation, block_bytes, cuts",
    '{"m": {"cuts": [], "activation": "erf", "block_bytes": 0}}': "must be one of tanh, exp",
    '{"m": {"cuts": 3, "activation": "exp", "block_bytes": 0}}': "must have",
    '{"m": {"cuts": [], "activation": "exp", "block_bytes": -1}}': "from 0 to 67,108,864; got -1",
    '{"m": {"cuts": [], "activation": "exp", "block_bytes": true}}': "got True",
    '{"m": {"cuts": [[1, 2, 3, 4]], "activation": "exp", "block_bytes": 0}}': "a cut must have",
    "{": "JSON",
}
WRONG_CUTS = [(0, 8, 4, 64), (384, -1, 4, 64), (384, 8, 0, 64), (384, 8, 4, -1), (384, 8, "4", 64)]


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_a_broken_file_is_refused_where_it_is_named_and_passed_over_where_it_is_found(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    check_file(user_file())
    user_file().write_text(text)
    with pytest.warns(UserWarning, match=r"built-in choices are taken instead\."):
        assert fresh().cuts == TABLE.get(machine(), Choices()).cuts
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(user_file()))
    with pytest.raises(InputError, match=message):
        fresh()
    with pytest.raises(InputError, match=message):
        check_file(user_file())
    assert user_file().read_text() == text


@pytest.mark.parametrize("values", WRONG_CUTS)
def test_a_cut_that_cannot_be(monkeypatch: pytest.MonkeyPatch, values: tuple[object, ...]) -> None:
    cut = dict(zip(("most_features", "most_rows", "rows", "columns"), values, strict=True))
    entry = {"cuts": [cut], "activation": "tanh", "block_bytes": 0}
    check_file(user_file())
    user_file().write_text(json.dumps({str(machine()): entry}))
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(user_file()))
    with pytest.raises(InputError, match="must be whole numbers from"):
        fresh()


def test_where_no_file_can_be_written(home: Path) -> None:
    (home / "numpy_bert").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made a folder"):
        check_file(user_file())
    with pytest.raises(OutputError, match="does not exist"):
        check_file(home / "none" / "x.json")


def test_printed_it_says_what_is_in_force() -> None:
    text = str(tuning())
    for name in ("processor", "caches", "NumPy", "BLAS", "products", "activation", "blocks"):
        assert name in text
    keep(user_file(), MINE) if user_file().parent.exists() else check_file(user_file())
    keep(user_file(), MINE)
    assert "pieces of 8 x 64 up to 16 rows of 384 features; one call each" in str(fresh())
