"""The figure: well-formed whatever the text is, with the rows where they belong."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from numpy_bert import InputError, OutputError, explain
from numpy_bert.explain.drawing import MINUS, PLUS, Figure
from tests.support.hard_texts import HARD_TEXTS
from tests.support.pages import HOSTILE, PARTS, SENTENCE, masked, read

SVG = "{http://www.w3.org/2000/svg}"
Cells = dict[tuple[float, float], float]


def cells(svg: str) -> Cells:
    """Return the signed opacity of each cell, by its left top corner."""
    found: Cells = {}
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        fill, sign = path.get("fill"), {PLUS: 1.0, MINUS: -1.0}
        if fill in sign:
            for x, y in re.findall(r"M([\d.]+) ([\d.]+)h", path.get("d", "")):
                place = (float(x), float(y))
                assert place not in found
                found[place] = sign[fill] * float(path.get("fill-opacity", "nan"))
    return found


@pytest.mark.parametrize("text", [*HARD_TEXTS, HOSTILE], ids=range(len(HARD_TEXTS) + 1))
def test_any_text_gives_a_well_formed_drawing(text: str) -> None:
    svg = explain.figure(read("demo", text, truncation=True)).svg
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert not list(root.iter(f"{SVG}script"))
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_the_text_is_written_as_it_is() -> None:
    reading = read("demo", "1 < 2 & 3")
    texts = [node.text for node in ET.fromstring(explain.figure(reading).svg).iter(f"{SVG}text")]
    for token in reading.tokens:
        assert token.text in texts
        assert str(token.id) in texts
    assert {"word_embeddings", "token_type_embeddings", "position_embeddings"} <= set(texts)
    assert "8,000 rows" in texts


def test_each_cell_is_its_value(minilm: Path) -> None:
    reading = read(minilm, SENTENCE)
    features = [0, 5, 383]
    found = cells(explain.figure(reading, features=features).svg)
    lefts = sorted({x for x, _ in found})
    assert len(lefts) == 5 * 3
    tops = sorted({y for _, y in found})
    assert len(tops) == 7
    names = [
        "embeddings.word_embeddings",
        "embeddings.token_type_embeddings",
        "embeddings.position_embeddings",
        "embeddings.sum",
        "embeddings.LayerNorm",
    ]
    from numpy_bert.explain.measures import scale_of

    scales = [scale_of(*(reading.embeddings[name] for name in names[:4]))] * 4
    scales.append(scale_of(reading.embeddings[names[4]]))
    for block, (name, scale) in enumerate(zip(names, scales, strict=True)):
        for column, feature in enumerate(features):
            for row in range(7):
                value = np.clip(reading.embeddings[name][row, feature] / scale, -1, 1)
                drawn = found.get((lefts[3 * block + column], tops[row]), 0.0)
                assert abs(drawn - value) <= 0.5 / 20 + 1e-6, (name, row, feature)


def test_lines_lead_from_a_tables_row_to_where_it_is_laid() -> None:
    svg = explain.figure(read("demo", "the the")).svg
    fans = [
        re.findall(r"M[\d.]+ ([\d.]+)h22c20 0 20 (-?[\d.]+) ", path.get("d", ""))
        for path in ET.fromstring(svg).iter(f"{SVG}path")
        if "c20" in path.get("d", "")
    ]
    words, segments, positions = fans
    assert [len(fan) for fan in fans] == [4, 4, 4]
    assert words[1][0] == words[2][0]  # one word, one row
    assert len({start for start, _ in segments}) == 1
    assert [start for start, _ in positions] == sorted(start for start, _ in positions)
    for fan in fans:  # and all end at the tokens' rows
        ends = [float(start) + float(way) for start, way in fan]
        assert np.allclose(np.diff(ends), 17, atol=0.2)


def test_more_features_than_there_are_is_all_of_them() -> None:
    reading = read("demo", "a")
    assert "features 0 to 127 of 128" in explain.figure(reading, features=1000).svg
    assert "feature 3 of 128" in explain.figure(reading, features=[3]).svg
    assert "2 features of 128" in explain.figure(reading, features=(3, 5)).svg


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (0, "must be a number from 1, or a list of numbers from 0 to 127; got 0"),
        (-3, "must be a number from 1, .*; got -3"),
        ([], r"features must be a number from 1, .*; got \[\]"),
        ([3, 128, 5], "got 128"),
        ([-1], "got -1"),
        (2.5, r"got 2\.5"),
        ("abc", "got abc"),
        (None, "got None"),
        (True, "got True"),
        ([[1, 2]], r"got \[\[1, 2\]\]"),
    ],
)
def test_wrong_features_are_refused(features: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain.figure(read("demo", "a"), features=features)


def test_a_long_text_says_which_tokens_it_shows() -> None:
    svg = explain.figure(masked("word " * 200)).svg
    positions = [
        int(node.text or "")
        for node in ET.fromstring(svg).iter(f"{SVG}text")
        if node.get("text-anchor") == "end" and (node.get("x") == "28")
    ]
    assert positions == list(masked("word " * 200).drawn)


def test_a_figure_is_saved(tmp_path: Path) -> None:
    figure = explain.figure(read("demo", SENTENCE))
    assert repr(figure).endswith(" characters of SVG>")
    figure.save(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text("utf-8") == figure.svg == figure._repr_svg_()
    with pytest.raises(OutputError, match="exists"):
        figure.save(tmp_path / "a.svg")
    figure.save(tmp_path / "a.svg", force=True)
    with pytest.raises(InputError, match=r"must end in \.svg or \.png"):
        figure.save(tmp_path / "a.pdf")


def test_png_needs_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(InputError, match=r"pip install 'numpy_bert\[png\]'"):
        Figure(svg="<svg/>").save(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_each_segment_picks_its_own_row_and_the_legend_is_right() -> None:
    reading = read("demo", "a", "b")
    svg = explain.figure(reading).svg
    fan = re.findall(r'd="((?:M[\d.]+ [\d.]+h22c20[^"]*)+)"', svg)[1]
    starts = [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)h22", fan)]
    assert len(set(starts)) == 2
    assert [y == starts[0] for y in starts] == [token.segment == 0 for token in reading.tokens]
    from numpy_bert.explain.measures import scale_of

    sums = scale_of(*(reading.embeddings[name] for name in (*PARTS, "embeddings.sum")))
    norms = scale_of(reading.embeddings["embeddings.LayerNorm"])
    assert f"full colour at {sums:.2g} and beyond, LayerNorm at {norms:.2g}</text>" in svg
    assert re.search(rf'fill="{MINUS}"/><text[^>]*>negative', svg)
    assert re.search(rf'fill="{PLUS}"/><text[^>]*>positive', svg)
    assert "48 of 202 tokens" in explain.figure(masked("word " * 200)).svg
