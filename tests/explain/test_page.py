"""The page as a file: its numbers, its size, and that foreign text stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from numpy_bert import explain
from numpy_bert.config import BertConfig
from numpy_bert.explain.web.document import SEEDS
from numpy_bert.ops.dropout import draw_keep
from numpy_bert.parameters import BertParameters, shapes
from tests.support.hard_texts import HARD_TEXTS
from tests.support.pages import (
    HOSTILE,
    LONG_SENTENCE,
    SENTENCE,
    data_of,
    masked,
    random_model,
    read,
    unpacked,
)

VOID = {"meta", "input", "br", "link", "img"}


class Checker(HTMLParser):
    """Collects tags, ids, texts and attributes, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        given = dict(attrs)
        if "id" in given:
            self.ids.append(str(given["id"]))
        self.urls += [str(v) for k, v in attrs if k in ("src", "href", "action", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def checked(page: str) -> Checker:
    found = Checker()
    found.feed(page)
    found.close()
    assert not found.open
    assert len(found.ids) == len(set(found.ids))
    assert all(url.startswith("#") and url[1:] in found.ids for url in found.urls)
    return found


@pytest.mark.parametrize("text", [*HARD_TEXTS, HOSTILE], ids=range(len(HARD_TEXTS) + 1))
def test_any_text_stays_text(text: str) -> None:
    found = checked(explain.page(masked(text, truncation=True)))
    assert found.seen.count("script") == 2
    assert "b" not in found.seen
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", explain.page(masked("a")))


def test_the_hostile_text_is_shown() -> None:
    shown = "".join(checked(explain.page(read("demo", HOSTILE))).text)
    assert HOSTILE in shown


@pytest.mark.parametrize("which", ["demo", "MiniLM", "random"])
def test_the_numbers_are_the_readings(which: str, minilm: Path, tmp_path: Path, dtype: str) -> None:
    folder = random_model(tmp_path) if which == "random" else minilm if which == "MiniLM" else which
    reading = read(folder, SENTENCE, "a pair", dtype=dtype)
    data = data_of(explain.page(reading))
    assert list(data["embeddings"]) == list(reading.embeddings)
    for name, packed in data["embeddings"].items():
        found = unpacked(packed)
        assert found.dtype == reading.embeddings[name].dtype
        assert np.array_equal(found, reading.embeddings[name])
    for packed, layer in zip(data["layers"], reading.layers, strict=True):
        quantized = {**packed["walk"], "probs": packed["probs"], "rest": packed["rest"]}
        arrays = {**layer.walk, "probs": layer.probs, "rest": layer.rest}
        assert list(quantized) == list(arrays)
        for name, found in quantized.items():
            off = np.abs(unpacked(found) - arrays[name]).max()
            assert off <= found["scale"] * 0.501, name
            assert found["scale"] == pytest.approx(np.abs(arrays[name]).max() / 32767) or (
                not arrays[name].any()
            )
    assert np.abs(unpacked(data["similarity"]) - reading.similarity).max() < 2e-5
    assert [t["id"] for t in data["tokens"]] == [t.id for t in reading.tokens]
    assert not data["isPartial"]


def test_the_masks_are_draw_keeps() -> None:
    draws = unpacked(data_of(explain.page(read("demo", "a")))["draws"])
    assert draws.shape == (SEEDS, 128)
    for seed in range(SEEDS):
        keep = draw_keep((128,), 0.1, np.random.default_rng(seed))
        assert np.array_equal(draws[seed] >= 0.1, keep)


def test_the_tables_hold_the_statistics(minilm: Path) -> None:
    reading = read(minilm, SENTENCE)
    text = " ".join(checked(explain.page(reading)).text)
    for name in ("mean", "variance", "rstd"):
        for value in reading.embeddings[f"embeddings.LayerNorm.{name}"][:, 0]:
            assert f"{value:.6g}" in text
    assert "1e-12" in text


def test_predictions_are_listed() -> None:
    reading = masked("The [MASK] is up.")
    assert reading.predictions is not None
    text = " ".join(checked(explain.page(reading)).text)
    for word in reading.predictions[0].words:
        assert f"{100 * word.score:.4g} %" in text
    assert "The masked word" in text
    assert "The masked word" not in explain.page(masked("No mask."))


def test_thirty_tokens_of_a_base_model_are_three_megabytes_at_most(tmp_path: Path) -> None:
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    folder = random_model(tmp_path, **sizes, only_config=True)
    config = BertConfig.from_dict(json.loads((folder / "config.json").read_text("utf-8")))
    rng = np.random.default_rng(0)
    save_file(
        {
            key: 0.05 * rng.standard_normal(shape, np.float32)
            for key, shape in shapes(BertParameters, config).items()
        },
        folder / "model.safetensors",
    )
    reading = read(folder, LONG_SENTENCE)
    assert (len(reading.tokens), len(reading.layers)) == (30, 12)
    assert len(explain.page(reading).encode()) < 3_000_000


def test_a_long_text_says_what_is_not_drawn(minilm: Path) -> None:
    page = explain.page(read(minilm, "word " * 600, truncation=True))
    text = " ".join(checked(page).text)
    assert "48 of 512 tokens are drawn" in text
    assert "not drawn" in text
    data = data_of(page)
    assert data["isPartial"]
    assert len(data["tokens"]) == 48
    assert len(page.encode()) < 3_000_000
