"""What a system says about its processor, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numpy_bert.kernels import machine as module
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.machine import caches, machine, processor_name
from tests.support.platforms import linux


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (
            "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t: 1\n",
            "AMD family 25",
        ),
        (
            "vendor_id: GenuineIntel\ncpu family: 6\nmodel: 143\n\nmodel: 7\n",
            "Intel family 6 model 143",
        ),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd4f\n", "ARM 0x41 part 0xd4f"),
        ("vendor_id: CentaurHauls\n", "CentaurHauls family unknown"),
    ],
)
def test_a_processors_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, family: str
) -> None:
    (tmp_path / "cpuinfo").write_text(text, "utf-8")
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    assert module._family(module._cpuinfo.__wrapped__()) == family


def test_a_processors_family_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD"
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", stated)
    assert module._family({}) == "AMD family 25"


def test_where_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROCESSOR_IDENTIFIER", raising=False)
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(module, "_CACHES", tmp_path / "none")
    assert module._cpuinfo.__wrapped__() == {}
    assert module._family({})
    assert module._sysctl_number("no.such.name") == 0


@linux
def test_caches_by_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K")]
    for number, values in enumerate([*stated, ("3", "Unified", "?")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in zip(("level", "type", "size"), values, strict=True):
            (folder / name).write_text(value + "\n")
    (tmp_path / "index9").mkdir()  # without any file
    monkeypatch.setattr(module, "_CACHES", tmp_path)
    assert caches() == {"L1d": 48 << 10, "L2": 2 << 20}


@pytest.mark.parametrize(
    ("found", "loops"),
    [
        (["AVX2", "AVX512_SKX", "AVX512_SPR"], "AVX-512 with FP16"),
        (["X86_V3", "X86_V4", "AVX512_ICL"], "AVX-512"),
        (["AVX2", "FMA3"], "AVX2"),
        (["X86_V3"], "AVX2"),
        (["NEON", "ASIMD"], "NEON"),
        ([], "unknown"),
    ],
)
def test_numpys_own_loops(monkeypatch: pytest.MonkeyPatch, found: list[str], loops: str) -> None:
    """In the names of NumPy 2.0 and of 2.4."""
    config = {"SIMD Extensions": {"baseline": ["SSE", "SSE2"], "found": found}}
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    assert module._loops() == loops


def test_a_numpy_that_was_built_with_no_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves out what is empty."""
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert module._loops() == module._named_blas() == "unknown"


def test_this_machine() -> None:
    library = openblas()
    found = machine()
    assert all(found)
    assert library is None or found.blas == f"OpenBLAS {library.kernel}"
    assert str(found) == f"{found.processor}, {found.loops}, {found.blas}"
    assert processor_name()
