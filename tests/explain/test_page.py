"""The page as a file: its numbers, its size, and that foreign text stays text."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from numpy_bert import explain
from numpy_bert.config import BertConfig
from numpy_bert.explain.measures import parts_of, scale_of
from numpy_bert.explain.web.panels import SEEDS
from numpy_bert.ops.dropout import draw_keep
from numpy_bert.parameters import BertParameters, shapes
from tests.support.hard_texts import HARD_TEXTS
from tests.support.pages import (
    HOSTILE,
    LONG_SENTENCE,
    PARTS,
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
            assert f"{value:#.6g}" in text
    assert "1e-12" in text


def test_predictions_are_listed() -> None:
    reading = masked("The [MASK] is up.")
    assert reading.predictions is not None
    text = " ".join(checked(explain.page(reading)).text)
    for word in reading.predictions[0].words:
        assert f"{100 * word.score:#.4g} %" in text
    assert "The masked words" in text
    assert "The masked words" not in explain.page(masked("No mask."))


@pytest.mark.slow
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


MARKUP = "</script><img src=x onerror=alert(1)><b>"


def hostile() -> explain.Reading:
    """A reading in which everything that a user or a checkpoint names is markup."""
    reading = masked("The [MASK] is up.", "a pair")
    assert reading.predictions is not None
    words = tuple(replace(word, token_str=MARKUP) for word in reading.predictions[0].words)
    return replace(
        reading,
        name=MARKUP,
        notes=(MARKUP,),
        texts=(MARKUP, MARKUP),
        tokens=tuple(replace(token, text=MARKUP) for token in reading.tokens),
        predictions=(replace(reading.predictions[0], words=words),),
    )


def test_nothing_that_somebody_named_is_markup() -> None:
    page = explain.page(hostile())
    found = checked(page)
    assert not {"img", "b"} & set(found.seen)
    assert found.seen.count("script") == 2
    assert "".join(found.text).count(MARKUP) > 40
    assert {t["text"] for t in data_of(page)["tokens"]} == {MARKUP}


def rows_of(page: str, panel: str) -> list[list[str]]:
    """Return the cells of a panel's table, without tags."""
    section = page.split(f'<section id="{panel}"')[1].split("</section>")[0]
    body = section.split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.split(r"</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row[:-1]] for row in cells]


def test_the_shares_stand_in_their_columns(minilm: Path) -> None:
    reading = read(minilm, SENTENCE, "and another")
    page, parts = explain.page(reading), parts_of(reading)
    names = re.findall(r"<th scope='col'[^>]*>([^<]*)</th>", page.split('id="shares"')[1])[:9]
    parts_names = ["word", "segment", "position"]
    assert names == ["token", "|word|", "|segment|", "|position|", "|sum|", "shares", *parts_names]
    for number, row in enumerate(rows_of(page, "shares")):
        assert row[0] == f"{number}\u2002{reading.tokens[number].text}"
        lengths = [float(cell) for cell in row[1:5]]
        assert lengths == pytest.approx([*parts.norms[number], parts.total[number]], abs=6e-5)
        shares = [float(cell.rstrip(" %")) for cell in row[6:]]
        assert shares == pytest.approx(list(100 * parts.shares[number]), abs=0.06)
    bars = re.findall(r"class='bar' aria-hidden='true'>(.*?)</span>", page.split('id="shares"')[1])
    for bar, shares in zip(bars, parts.shares, strict=False):
        widths = re.findall(r'class="(\w+)" style="width:([\d.]+)%"', bar)
        assert [name for name, _ in widths] == parts_names
        expected = 100 * np.abs(shares) / np.abs(shares).sum()
        assert [float(width) for _, width in widths] == pytest.approx(list(expected), abs=0.01)


def test_a_share_below_zero_is_hatched() -> None:
    reading = read("demo", "")
    shape = reading.embeddings["embeddings.sum"].shape
    rows = dict(zip(PARTS, (np.full(shape, x) for x in (3.0, -1.0, 1.0)), strict=True))
    page = explain.page(replace(reading, embeddings={**reading.embeddings, **rows}))
    assert re.findall(r'<i class="(\w+ away)"', page) == ["segment away"] * 2


def test_the_histograms_are_those_of_their_columns(minilm: Path) -> None:
    reading = read(minilm, SENTENCE)
    section = explain.page(reading).split('id="layernorm"')[1].split("</section>")[0]
    labels = re.findall(r'aria-label="from (\S+) to (\S+)"', section)
    bars = re.findall(r'<path d="([^"]*)"/>', section)
    names = ("embeddings.sum", "embeddings.LayerNorm.normalized", "embeddings.LayerNorm")
    assert len(labels) == len(bars) == 3 * len(reading.tokens)
    for number, (label, drawn) in enumerate(zip(labels, bars, strict=True)):
        rows = reading.embeddings[names[number % 3]]
        row, edge = rows[number // 3], 1.5 * scale_of(rows)
        assert label == (f"{row.min():.3g}", f"{row.max():.3g}")
        counts, _ = np.histogram(np.clip(row, -edge, edge), 32, (-edge, edge))
        heights = [float(x) for x in re.findall(r"v-([\d.]+)h", drawn)]
        assert heights == pytest.approx(list(26 * counts / counts.max()), abs=0.051)
    for name in names:
        assert f"±{1.5 * scale_of(reading.embeddings[name]):.3g}" in section


def test_the_header_marks_the_walked_token_and_the_second_text(minilm: Path) -> None:
    reading = read(minilm, "a cat", "a dog", token=5)
    page = explain.page(reading)
    chips = re.findall(r'<li class="(\w+)( walked)?"', page)
    assert [kind for kind, _ in chips] == ["first"] * 4 + ["second"] * 3
    assert [bool(walked) for _, walked in chips] == [number == 5 for number in range(7)]
    assert page.count('aria-current="true"') == 1
    assert f"{reading.config.num_attention_heads} heads each" in page


def test_shapes_are_the_models(minilm: Path) -> None:
    reading = read(minilm, "word " * 100)
    page = explain.page(reading)
    shapes = set(re.findall(r"(\([A-Z3, ]+,?\)) = (\([\d, ]+\))", html.unescape(page)))
    assert shapes == {
        ("(T, H)", "(102, 384)"),
        ("(T, I)", "(102, 1536)"),
        ("(T, T)", "(102, 102)"),
        ("(A, T, T)", "(12, 102, 102)"),
        ("(T, 3)", "(102, 3)"),
        ("(H,)", "(384,)"),
    }


def test_dropouts_panel_says_the_models_own_p(tmp_path: Path) -> None:
    folder = random_model(tmp_path, hidden_dropout_prob=0.125, attention_probs_dropout_prob=0.3)
    page = explain.page(read(folder, SENTENCE))
    assert "The model's own p is 0.125." in page
    assert 'value="0.12"' in page


def test_colours_have_the_figures_scales(minilm: Path) -> None:
    reading = read(minilm, SENTENCE)
    rows = reading.embeddings
    assert data_of(explain.page(reading))["scales"] == {
        "sum": scale_of(*(rows[name] for name in (*PARTS, "embeddings.sum"))),
        "LayerNorm": scale_of(rows["embeddings.LayerNorm"]),
    }


def test_predictions_are_at_their_masks() -> None:
    reading = masked("The [MASK] is [MASK] up.")
    assert reading.predictions is not None
    page = explain.page(reading)
    assert re.findall(r"<h3>At position (\d+)</h3>", page) == ["2", "4"]
    section = page.split('id="predictions"')[1]
    widths = [float(x) for x in re.findall(r"class='word' style='width:([\d.]+)%'", section)]
    expected = [
        100 * word.score / found.words[0].score
        for found in reading.predictions
        for word in found.words
    ]
    assert widths == pytest.approx(expected, abs=0.01)
