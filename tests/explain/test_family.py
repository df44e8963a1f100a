"""Pictures of the other architectures: the tables that there are, and no others."""

from __future__ import annotations

import re
import shutil
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from numpy_bert import AutoModel, BertTokenizer, explain
from numpy_bert.explain.measures import parts_of
from tests.support.pages import DEMO, SENTENCE, data_of, unpacked
from tests.support.traces import FAMILY, relative

# What is added up, as the heading says it.
SUMS = {
    "roberta": "word + segment + position",
    "distilbert": "word + position",
    "electra": "word + segment + position",
    "ernie": "word + segment + position + task",
    "dpr": "word + segment + position",
    "mpnet": "word + position",
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, explain.Reading]:
    found = {}
    for kind in FAMILY:
        folder = relative(tmp_path_factory.mktemp(kind), kind, vocab_size=8000)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(DEMO / name, folder / name)
        model = AutoModel.from_pretrained(folder)
        tokenizer = BertTokenizer.from_pretrained(folder)
        found[kind] = explain.read(SENTENCE, model=model, tokenizer=tokenizer)
    return found


def headings(svg: str) -> dict[str, str]:
    """Return what stands below each heading of a figure."""
    texts = [node for node in ET.fromstring(svg).iter() if node.get("y") in ("26", "42")]
    names, sizes = texts[::2], texts[1::2]
    return {str(n.text): str(s.text) for n, s in zip(names, sizes, strict=True)}


@pytest.mark.parametrize("kind", SUMS)
def test_the_figure_has_the_tables_of_the_model(
    kind: str, readings: dict[str, explain.Reading]
) -> None:
    reading = readings[kind]
    svg = explain.figure(reading, features=[0, 14]).svg
    found = headings(svg)
    parts = SUMS[kind].split(" + ")
    rows = {
        "word": ("word_embeddings", "8,000 rows"),
        "segment": ("token_type_embeddings", "1 row" if kind == "roberta" else "2 rows"),
        "position": ("position_embeddings", "19 rows"),
        "task": ("task_type_embeddings", "3 rows"),
    }
    size = f"{len(reading.tokens)} x {reading.config.embedding_features}"
    expected = [*(rows[part] for part in parts), ("sum", size), ("LayerNorm", size)]
    assert list(found.items()) == expected
    assert svg.count(">+</text>") == len(parts) - 1
    assert f"2 features of {reading.config.embedding_features};" in svg


@pytest.mark.parametrize("kind", SUMS)
@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_a_column_for_each(
    kind: str, width: int, readings: dict[str, explain.Reading]
) -> None:
    reading = readings[kind]
    lines = explain.terminal(reading, width=width).splitlines()
    assert f"Input embedding: LayerNorm({SUMS[kind]})" in lines
    head = next(line for line in lines if line.startswith("pos "))
    letters = [part[0] for part in SUMS[kind].split(" + ")]
    assert re.findall(r"\|(\w)\|", head) == letters
    assert (" seg" in head) == ("s" in letters)
    first = lines[lines.index(head) + 1]
    assert len(head) <= width
    assert len(first) <= width
    bars = re.search(r" ([wsptWSPT]{6,}) ", first)
    assert bars is not None
    assert set(bars[1].lower()) <= set(letters)
    assert first.split()[:3] == ["0", "[CLS]", "2"]
    projected = [line for line in lines if line.startswith("The embedding has 15 features")]
    assert len(projected) == (kind == "electra")


@pytest.mark.parametrize("kind", SUMS)
def test_the_page_has_them_too(kind: str, readings: dict[str, explain.Reading]) -> None:
    reading = readings[kind]
    page = explain.page(reading)
    data: Any = data_of(page)
    parts = SUMS[kind].split(" + ")
    assert [part["name"] for part in data["parts"]] == parts
    for part in data["parts"]:
        assert part["step"] in data["embeddings"]
    count = {2: "Two", 3: "Three", 4: "Four"}[len(parts)]
    assert f"{count} tables, one sum" in page
    assert f"LayerNorm({SUMS[kind]})" in page
    assert ("segment 0, position" in page) == ("segment" in parts)
    assert ("√D + bias(distance)" in page) == (kind == "mpnet")
    assert unpacked(data["draws"]).shape == (20, reading.config.embedding_features)
    assert (f"(T, {len(parts)}) = ({len(reading.tokens)}, {len(parts)})") in page
    assert ("(T, E) = " in page) == (kind == "electra")
    shares = parts_of(reading).shares
    assert shares.shape == (len(reading.tokens), len(parts))
    assert np.allclose(shares.sum(axis=1), 1.0)


def test_positions_pick_the_rows_that_they_pick_in_the_model(
    readings: dict[str, explain.Reading],
) -> None:
    for kind, first in (("roberta", 2), ("mpnet", 2), ("distilbert", 0)):
        tokens = readings[kind].tokens
        assert [token.position for token in tokens] == list(range(len(tokens)))
        assert [token.position_id - first for token in tokens] == list(range(len(tokens)))
        rows = data_of(explain.page(readings[kind]))["parts"][-1]["rows"]
        assert rows == [token.position_id for token in tokens]
