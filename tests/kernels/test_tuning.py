"""Which choices are in force: the environment's, the user's own, the table's, or the plain ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from numpy_bert.errors import InputError, OutputError
from numpy_bert.kernels import tuning as module
from numpy_bert.kernels import tuning_file
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.choices import TABLE, Choices, Cut
from numpy_bert.kernels.machine import Machine, machine
from numpy_bert.kernels.tuning import tuning
from numpy_bert.kernels.tuning_file import check_file, keep, user_file

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
    check_file()
    keep(user_file(), MINE)
    assert choices(fresh()) == MINE
    assert str(user_file()) in fresh().source


def test_a_file_has_the_choices_of_several_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be shared by the machines of a cluster."""
    here = machine()
    check_file()
    keep(user_file(), MINE)
    for place in (module, tuning_file):
        monkeypatch.setattr(place, "machine", lambda: Machine("other", "?", "?"))
    assert fresh().cuts == ()
    keep(user_file(), Choices())
    keep(user_file(), Choices(activation="exp"))
    assert fresh().activation == "exp"
    monkeypatch.setattr(module, "machine", lambda: here)
    assert choices(fresh()) == MINE


def test_the_environment_decides_over_both(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    check_file()
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
    with pytest.raises(InputError, match=r"NUMPY_BERT_TUNING must be .*none\.json: does not exist"):
        fresh()
    (home / "none.json").write_text("{}")
    with pytest.raises(InputError, match="must have the choices for this machine"):
        fresh()
    monkeypatch.setenv("NUMPY_BERT_TUNING", "PLAIN")
    with pytest.raises(InputError, match=r'must be "plain", "table" or the path .*; got PLAIN\.'):
        fresh()


BROKEN = {
    "[]": "must be a JSON object",
    '{"m": 3}': "must have cuts, activation, block_bytes; got 3",
    '{"m": {"cuts": []}}': "must have cuts, activation, block_bytes; got ",
    '{"m": {"cuts": [], "activation": "erf", "block_bytes": 0}}': "must be one of tanh, exp",
    '{"m": {"cuts": 3, "activation": "exp", "block_bytes": 0}}': "must be a list; got 3",
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
    text = text.replace('"m"', json.dumps(str(machine())))
    check_file()
    user_file().write_text(text)
    with pytest.warns(UserWarning, match=r"built-in choices are taken instead\."):
        assert fresh().cuts == TABLE.get(machine(), Choices()).cuts
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(user_file()))
    with pytest.raises(InputError, match=message):
        fresh()


@pytest.mark.parametrize("text", ["{", "[]", '{"m": 3}', '{"m": {"cuts": []}}', '{"name": "x"}'])
def test_a_file_that_is_another_thing_is_not_written_over(home: Path, text: str) -> None:
    (home / "package.json").write_text(text)
    with pytest.raises(InputError, match=r"Delete the file, or name another one with -o\.$"):
        check_file(home / "package.json")
    with pytest.raises(InputError, match="Delete the file"):
        keep(home / "package.json", MINE)
    assert (home / "package.json").read_text() == text


def test_wrong_values_are_mended_by_measuring_again() -> None:
    """As the message about them says."""
    keep(check_file(), MINE)
    user_file().write_text(user_file().read_text().replace('"exp"', '"erf"'))
    with pytest.warns(UserWarning, match="Run `numpy-bert tune` again"):
        assert choices(fresh()) != MINE
    keep(check_file(), MINE)
    assert choices(fresh()) == MINE


def test_what_another_version_wrote_for_another_machine_is_left_to_it() -> None:
    keep(check_file(), MINE)
    entries = json.loads(user_file().read_text())
    entries["other"] = {"cuts": "few", "activation": "erf", "block_bytes": 0.5, "new": 1}
    user_file().write_text(json.dumps(entries))
    assert choices(fresh()) == MINE
    keep(check_file(), Choices(activation="exp"))
    assert json.loads(user_file().read_text())["other"] == entries["other"]


def test_without_a_home_there_is_no_file_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as for a user of a container whom no file of the system's names."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert choices(fresh()).cuts == TABLE.get(machine(), Choices()).cuts
    with pytest.raises(InputError, match="no such user's home folder"):
        check_file()


def test_a_home_that_may_not_be_entered_is_no_reason_to_warn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as root's, which some ways to become another user leave in HOME."""

    def stat(path: Path, **options: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)
    assert choices(fresh()).cuts == TABLE.get(machine(), Choices()).cuts


def test_the_path_in_the_environment_may_begin_with_the_home(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    keep(home / "mine.json", MINE)
    monkeypatch.setattr("os.path.expanduser", lambda path: path.replace("~", str(home)))
    monkeypatch.setenv("NUMPY_BERT_TUNING", "~/mine.json")
    assert choices(fresh()) == MINE


@pytest.mark.parametrize("values", WRONG_CUTS)
def test_a_cut_that_cannot_be(monkeypatch: pytest.MonkeyPatch, values: tuple[object, ...]) -> None:
    cut = dict(zip(("most_features", "most_rows", "rows", "columns"), values, strict=True))
    entry = {"cuts": [cut], "activation": "tanh", "block_bytes": 0}
    check_file()
    user_file().write_text(json.dumps({str(machine()): entry}))
    monkeypatch.setenv("NUMPY_BERT_TUNING", str(user_file()))
    with pytest.raises(InputError, match="must be whole numbers from"):
        fresh()


def test_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    (home / "numpy_bert").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made a folder"):
        check_file()
    with pytest.raises(OutputError, match="does not exist"):
        check_file(home / "none" / "x.json")
    with pytest.raises(OutputError, match="cannot be looked at"):
        check_file(home / ("x" * 300))
    monkeypatch.setattr("os.access", lambda path, mode: path != home)
    with pytest.raises(OutputError, match=r"no file can be made in .*; name another folder"):
        check_file(home / "x.json")


def test_printed_it_says_what_is_in_force() -> None:
    text = str(tuning())
    for name in ("processor", "caches", "NumPy", "BLAS", "products", "activation", "blocks"):
        assert name in text
    keep(check_file(), MINE)
    assert "pieces of 8 x 64 up to 16 rows of 384 features; one call each" in str(fresh())


def test_it_says_where_the_environment_chose_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    if openblas() is None:
        pytest.skip("NumPy runs on another BLAS here")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert "OPENBLAS_CORETYPE" not in str(tuning())
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert "(the environment variable OPENBLAS_CORETYPE = Haswell)" in str(tuning())
