"""The figure as PNG, by the extra `png`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import InputError, explain
from tests.support.pages import SENTENCE, read

pytest.importorskip("resvg_py", reason="the extra png is not installed")


def test_a_figure_becomes_pixels(tmp_path: Path) -> None:
    figure = explain.figure(read("demo", SENTENCE))
    figure.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    once = figure.png(zoom=1.0)
    assert abs(width - 2 * struct.unpack(">I", once[16:20])[0]) <= 2
    assert width > 4 * height > 0


@pytest.mark.parametrize("zoom", [0.0, -1.0, 21.0, float("nan"), "a"])
def test_a_senseless_zoom_is_refused(zoom: Any) -> None:
    with pytest.raises(InputError, match="zoom"):
        explain.figure(read("demo", "a")).png(zoom=zoom)
