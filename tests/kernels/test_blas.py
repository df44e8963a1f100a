"""numpy_bert.kernels.blas: NumPy's own OpenBLAS, found without threadpoolctl."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from numpy_bert.kernels import blas
from numpy_bert.kernels.blas import openblas

EXTENSION = importlib.import_module("numpy._core._multiarray_umath")
CONFIG = b"OpenBLAS 0.3.31.188.0  USE64BITINT DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64"


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    openblas.cache_clear()
    yield
    openblas.cache_clear()


def library(prefix: str = "", suffix: str = "", **answers: Any) -> Any:
    """Return functions as OpenBLAS has them, under names that a build may give them."""
    threads = [3]
    found = {
        "get_corename": lambda: b"Zen",
        "get_config": lambda: CONFIG,
        "get_parallel": lambda: 1,
        "get_num_threads": lambda: threads[0],
        "set_num_threads": lambda n: threads.__setitem__(0, n),
        **answers,
    }
    return SimpleNamespace(
        **{f"{prefix}openblas_{name}{suffix}": call for name, call in found.items() if call}
    )


def test_it_is_what_threadpoolctl_finds() -> None:
    found = openblas()
    theirs = [each for each in threadpool_info() if "numpy" in Path(each["filepath"]).parent.name]
    if not theirs:  # a NumPy of the system's or on another BLAS
        assert found is None or found.get_num_threads() >= 1
        return
    assert found is not None
    assert found.kernel == theirs[0]["architecture"]
    assert found.threads == theirs[0]["threading_layer"]
    assert found.version.count(".") == 2
    assert theirs[0]["version"].startswith(found.version)
    before = theirs[0]["num_threads"]
    assert found.get_num_threads() == before
    try:
        found.set_num_threads(1)
        assert found.get_num_threads() == 1
        seen = {each["filepath"]: each["num_threads"] for each in threadpool_info()}
        assert seen[theirs[0]["filepath"]] == 1
    finally:
        found.set_num_threads(before)
    assert found is openblas()


@pytest.mark.parametrize("prefix", ["", "scipy_"])
@pytest.mark.parametrize("suffix", ["", "64_", "_64"])
@pytest.mark.parametrize(("parallel", "threads"), [(0, "none"), (1, "pthreads"), (2, "openmp")])
def test_every_spelling_is_known(
    prefix: str, suffix: str, parallel: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = library(prefix, suffix, get_parallel=lambda: parallel)
    monkeypatch.setattr(blas, "_libraries", lambda: iter([SimpleNamespace(), made]))
    found = openblas()
    assert found is not None
    assert (found.kernel, found.version, found.threads) == ("Zen", "0.3.31", threads)
    found.set_num_threads(2)
    assert found.get_num_threads() == 2


@pytest.mark.parametrize(
    "answers",
    [
        {"get_corename": None},
        {"get_num_threads": None},
        {"set_num_threads": None},
        {"get_parallel": None},
        {"get_parallel": lambda: 7},
        {"get_config": lambda: b""},
        {"get_config": lambda: None},
        {"get_corename": lambda: b"\xff"},
    ],
)
def test_what_is_odd_counts_as_another_blas(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "_libraries", lambda: iter([library(**answers)]))
    assert openblas() is None


@pytest.mark.parametrize("file", [None, __file__, "/nowhere/_multiarray_umath.so"])
def test_an_extension_that_cannot_be_opened_is_another_blas(
    file: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXTENSION, "__file__", file)
    assert openblas() is None


@pytest.mark.parametrize("name", ["ctypes", "numpy._core._multiarray_umath"])
def test_a_python_without_them_has_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert openblas() is None


@pytest.mark.parametrize("loaded", [True, False])
def test_on_windows_it_is_the_loaded_library_that_the_wheel_ships(
    loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is NumPy's here, too; what Windows calls it by is made up."""
    (tmp_path / "numpy.libs").mkdir()
    for name in ("libscipy_openblas64_-1a2b.dll", "msvcp140-3c4d.dll"):
        (tmp_path / "numpy.libs" / name).touch()
    here = ctypes.CDLL(EXTENSION.__file__)._handle
    asked = []

    def handle_of(name: str) -> int | None:
        asked.append(name)
        return here if loaded else None

    expected = openblas()
    openblas.cache_clear()
    windows = SimpleNamespace(GetModuleHandleW=handle_of)
    monkeypatch.setattr(ctypes, "WinDLL", lambda _: windows, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(EXTENSION, "__file__", str(tmp_path / "numpy/_core/_multiarray_umath.pyd"))
    found = openblas()
    assert asked == ["libscipy_openblas64_-1a2b.dll"]
    assert (found and found.kernel) == (expected.kernel if loaded and expected else None)
