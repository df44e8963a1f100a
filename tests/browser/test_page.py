"""The page in a real browser: drawn, silent, usable by mouse and keys, with the model's numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from numpy_bert import explain
from numpy_bert.explain.measures import scale_of
from numpy_bert.ops.dropout import draw_keep, dropout
from tests.browser.conftest import Browser
from tests.explain.test_page import MARKUP, hostile
from tests.support.pages import (
    HOSTILE,
    LONG_SENTENCE,
    PARTS,
    SENTENCE,
    masked,
    random_model,
    read,
    trace_of,
)

WIDTHS = (1400, 390)
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd \u0639\u0627\u0644\u0645 \U0001f642 \u4f60\u597d"


@pytest.fixture(scope="module")
def folders(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    random = random_model(tmp_path_factory.mktemp("random"))
    return {"demo": "demo", "MiniLM": minilm, "random, 12 layers": random}


def written(path: Path, reading: explain.Reading) -> Path:
    path.write_text(explain.page(reading), "utf-8")
    return path


def values(browser: Browser, array: str, *arguments: Any) -> npt.NDArray[np.float64]:
    """Return an array of the page's own, in its shape."""
    shape, flat = browser.ask(f"(x => [x.shape, Array.from(x.values)])({array})", *arguments)
    return np.array(flat).reshape(shape)


def canvas(browser: Browser, place: str, number: int = 0) -> Any:
    return browser.driver.find_elements(By.CSS_SELECTOR, f"{place} canvas")[number]


def point_at(browser: Browser, element: Any, x: float, y: float) -> None:
    """Point at a place of an element, given as shares of its width and height."""
    browser.ask("a.scrollIntoView({block: 'center', behavior: 'instant'})", element)
    size = element.size
    move = ActionChains(browser.driver).move_to_element_with_offset(
        element, round(size["width"] * (x - 0.5)), round(size["height"] * (y - 0.5))
    )
    move.perform()


def said(browser: Browser, panel: str) -> str:
    text = str(browser.ask("document.getElementById(a).textContent", f"{panel}-readout"))
    return text.replace("\u2066", "").replace("\u2069", "")  # marks of a token's own direction


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("which", ["demo", "MiniLM", "random, 12 layers"])
def test_every_panel_is_drawn(
    browser: Browser, folders: dict[str, Path], which: str, width: int, tmp_path: Path
) -> None:
    reading = read(folders[which], SENTENCE, "and another one")
    browser.open(written(tmp_path / "page.html", reading), width)
    assert browser.ask("innerWidth") == width
    assert browser.ask("document.documentElement.scrollWidth") <= width
    links = browser.ask("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    panels = browser.ask("[...document.querySelectorAll('main section')].map(s => s.id)")
    assert links == panels
    assert len(panels) == 8
    drawn = browser.ask(
        "[...document.querySelectorAll('canvas')].map(c => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some((x, i) => i % 4 == 3 && x > 0))"
    )
    layers, heads = len(reading.layers), reading.config.num_attention_heads
    assert len(drawn) == len(reading.tokens) + 1 + layers * heads + 14 + layers + 1
    assert all(drawn)
    cells = browser.ask("[...document.querySelectorAll('.grid tbody td')].map(c => c.textContent)")
    assert len(cells) == 2 * len(reading.tokens) ** 2
    assert all(re.fullmatch(r"-?(\.|1\.)\d\d", cell) for cell in cells)
    head = (
        "[...document.querySelectorAll('.grid thead th')].map(h => h.getBoundingClientRect().width)"
    )
    assert max(browser.ask(head)) < 40  # names of columns stand


def every_page() -> Iterator[Any]:
    """All models, texts and dtypes; by default a long text alone of the large, in float32."""
    for which in ("demo", "MiniLM", "random, 12 layers"):
        for texts in ((LONG_SENTENCE,), ("A pair", "of texts"), ("a",), ("",)):
            for dtype in ("float32", "float64"):
                is_part = which == "demo" or (texts[0] == LONG_SENTENCE and dtype == "float32")
                yield pytest.param(which, texts, dtype, marks=[] if is_part else [pytest.mark.slow])


@pytest.mark.parametrize(("which", "texts", "dtype"), list(every_page()))
def test_the_numbers_are_the_traces(
    browser: Browser,
    folders: dict[str, Path],
    which: str,
    texts: tuple[str, ...],
    dtype: str,
    tmp_path: Path,
) -> None:
    reading = read(folders[which], *texts, dtype=dtype)
    browser.open(written(tmp_path / "page.html", reading))
    trace = trace_of(folders[which], *texts, dtype=dtype)
    for name in browser.ask("Object.keys(embeddings)"):
        assert np.array_equal(values(browser, "embeddings[a]", name), trace[name][0]), name
    for number in range(len(reading.layers)):
        prefix = f"encoder.layer.{number}"
        for step in browser.ask("Object.keys(layers[a].walk)", number):
            found = values(browser, "layers[a].walk[b]", number, step)
            whole = trace[f"{prefix}.{step}"][0]
            expected = whole[:, reading.walked] if whole.ndim == 3 else whole[reading.walked]
            assert np.abs(found - expected).max() <= np.abs(expected).max() / 65000, step
        probs = values(browser, "layers[a].probs", number)
        assert np.abs(probs - trace[f"{prefix}.attention.self.probs"][0]).max() < 1.6e-5
    assert np.abs(values(browser, "similarity") - reading.similarity).max() < 1.6e-5


@pytest.mark.parametrize("width", WIDTHS)
def test_pointing_reads_a_value_out(
    browser: Browser, folders: dict[str, Path], width: int, tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading), width)
    names = ["word_embeddings", "token_type_embeddings", "position_embeddings", "sum", "LayerNorm"]
    picks = [6251, 0, 5, None, None]
    for row, (name, pick) in enumerate(zip(names, picks, strict=True)):
        point_at(browser, canvas(browser, "#lookups .strips", 5), 0.25, (row + 0.5) / 5)
        text = said(browser, "lookups")
        found = re.fullmatch(
            r"“sentence” \(position 5, id 6251\): \S+?(?:, row (\d+) of its table)?, "
            r"feature (\d+): (\S+)",
            text,
        )
        assert found, text
        assert found[1] == (None if pick is None else str(pick))
        assert width < 600 or abs(int(found[2]) - 96) <= 2  # a narrow one is scrolled through
        expected = reading.embeddings[f"embeddings.{name}"][5, int(found[2])]
        assert np.float32(found[3]) == expected


def test_keys_move_through_a_strip(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["demo"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading))
    strip = canvas(browser, "#lookups .strips", 2)
    strip.click()
    strip.send_keys(Keys.HOME, *[Keys.ARROW_UP] * 2, Keys.ARROW_DOWN, *[Keys.ARROW_RIGHT] * 3)
    segment = "“is” (position 2, id 135): embeddings.token_type_embeddings, row 0"
    assert said(browser, "lookups").startswith(segment)
    assert "feature 3: " in said(browser, "lookups")
    strip.send_keys(Keys.END, Keys.ARROW_RIGHT)  # there is no further one
    assert "feature 127: " in said(browser, "lookups")
    value = np.float32(said(browser, "lookups").rpartition(" ")[2])
    assert value == reading.embeddings["embeddings.token_type_embeddings"][2, 127]
    strip.send_keys(Keys.PAGE_UP, Keys.ARROW_LEFT)
    assert "feature 116: " in said(browser, "lookups")
    assert browser.ask("document.activeElement === a", strip)
    for _ in range(4):  # and on to the next token's
        browser.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert said(browser, "lookups").startswith("“a” (position 3, id 43): embeddings.word_emb")
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert said(browser, "lookups").startswith("“is” (position 2, id 135): embeddings.LayerNorm")
    stops = "[...document.querySelectorAll('#lookups canvas')].map(c => c.tabIndex)"
    assert sorted(browser.ask(stops)) == [-1] * 6 + [0]


@pytest.mark.parametrize("p", [0.1, 0.37])
def test_dropout_is_the_same_where_p_is_no_float32(
    browser: Browser, folders: dict[str, Path], p: float, tmp_path: Path
) -> None:
    reading = read(folders["demo"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading))
    x = reading.embeddings["embeddings.LayerNorm"][reading.walked]
    seeds = [dropout(x, p, rng=np.random.default_rng(seed)).output for seed in range(20)]
    for seed in (0, 19):
        row = "rowOf(embeddings['embeddings.LayerNorm'], data.walked)"
        found = browser.ask(
            f"Array.from(dropped({row}, rowOf(unpack(data.draws), a), b, Math.fround))", seed, p
        )
        assert np.array_equal(found, seeds[seed])
    script = "document.getElementById('p').value = a; "
    browser.driver.execute_script(
        script.replace("a;", "arguments[0];")
        + "document.getElementById('p').dispatchEvent(new Event('input'))",
        str(p),
    )
    strip = canvas(browser, "#dropout .strips")
    strip.click()
    strip.send_keys(*[Keys.ARROW_DOWN] * 3, Keys.HOME)
    text = re.fullmatch(r"“a”: mean of 20 seeds, feature 0: (\S+)", said(browser, "dropout"))
    assert text
    mean = np.mean([row[0] for row in seeds], dtype=np.float64)
    assert float(text[1]) == pytest.approx(mean, abs=2e-6)
    strip.send_keys(Keys.ARROW_UP, Keys.ARROW_UP)
    kept = "kept" if seeds[0][0] else "dropped"
    assert said(browser, "dropout") == f"“a”: the mask, feature 0: {kept}"


def pixel(browser: Browser, element: Any, x: float, y: float) -> list[int]:
    """Return the red, green, blue and alpha of a canvas at a share of its width and height."""
    script = (
        "a.getContext('2d').getImageData(Math.floor(a.width * b[0]), Math.floor(a.height * b[1]),"
        " 1, 1).data"
    )
    return list(browser.ask(f"Array.from({script})", element, [x, y]))


def test_colours_are_the_values(browser: Browser, folders: dict[str, Path], tmp_path: Path) -> None:
    reading = read(folders["MiniLM"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading))
    plus, minus = [217, 84, 30], [47, 127, 214]

    def holds(found: list[int], value: float, scale: float) -> None:
        alpha = 255 * min(abs(value) / scale, 1.0)
        assert abs(found[3] - alpha) <= 1.5
        if alpha > 40:  # a faint pixel keeps little of its colour
            assert np.abs(np.array(found[:3]) - (plus if value >= 0 else minus)).max() <= 4

    rows = reading.embeddings
    names = [*PARTS, "embeddings.sum", "embeddings.LayerNorm"]
    sums = scale_of(*(rows[name] for name in names[:4]))
    scales = [sums] * 4 + [scale_of(rows[names[4]])]
    for token, feature in ((0, 3), (4, 200), (6, 383)):
        strip = canvas(browser, "#lookups .strips", token)
        for number, (name, scale) in enumerate(zip(names, scales, strict=True)):
            at = (feature + 0.5) / 384, (number + 0.4) / 5
            holds(pixel(browser, strip, *at), float(rows[name][token, feature]), scale)
    for layer, head in ((0, 0), (3, 7), (5, 11)):
        thumb = canvas(browser, "#attention-wall", 12 * layer + head)
        value = np.sqrt(reading.layers[layer].probs[head, 2, 5])
        holds(pixel(browser, thumb, 5.5 / 7, 2.5 / 7), float(value), 1.0)
    for state in (0, 4, 6):
        thumb = canvas(browser, "#similarity-wall", state)
        holds(pixel(browser, thumb, 5.5 / 7, 2.5 / 7), float(reading.similarity[state, 2, 5]), 1.0)
    cell = browser.driver.find_elements(By.CSS_SELECTOR, "#similarity-map tbody td")[2 * 7 + 5]
    shown = [
        float(x) for x in re.findall(r"[\d.]+", cell.value_of_css_property("background-color"))
    ]
    value = float(reading.similarity[0, 2, 5])
    assert shown[:3] == (plus if value >= 0 else minus)
    assert shown[3] == pytest.approx(abs(value), abs=0.003)


def test_the_walls_and_the_map_are_labelled(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE, token=4)
    browser.open(written(tmp_path / "page.html", reading))
    texts = "[...document.querySelectorAll(a)].map(x => x.textContent)"
    spans = browser.ask(texts, "#attention-wall > span")
    assert spans == ["", *map(str, range(12)), *(f"layer {number}" for number in range(6))]
    assert browser.ask(texts, "#similarity-wall span") == ["emb.", *map(str, range(6))]
    walked = browser.ask(texts, "#attention-map .walked")
    assert [text.strip("\u2066\u2069") for text in walked] == ["test", "test"]
    assert browser.ask(texts, "#similarity-which") == ["After the embedding"]
    heads = browser.ask(texts, '[data-of="attention.self.probs"] bdi')
    assert [text.strip("\u2066\u2069") for text in heads] == [t.text for t in reading.tokens]
    assert browser.ask(texts, "#walk .byhead .names")[0] == "".join(map(str, range(12)))
    buttons = browser.driver.find_elements(By.CSS_SELECTOR, "#similarity-wall button")
    buttons[4].click()
    buttons[4].send_keys(Keys.ARROW_RIGHT)  # the wall goes on in the next line
    assert browser.ask(texts, "#similarity-which") == ["After encoder.layer.4"]
    strip = canvas(browser, '[data-step="attention.self.value"]')
    strip.click()
    strip.send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 33)
    assert "feature 33 (of head 1):" in said(browser, "walk")


def test_the_cursor_is_where_the_value_is_and_in_sight(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading), 390)
    strip = canvas(browser, "#lookups .strips", 1)
    strip.click()
    strip.send_keys(Keys.END, *[Keys.ARROW_UP] * 4, *[Keys.ARROW_DOWN] * 2)
    place = browser.ask(
        "(c => [c.left, c.right, c.top])(a.nextSibling.getBoundingClientRect())", strip
    )
    box = browser.ask(
        "(c => [c.left, c.right])(a.closest('.strips').getBoundingClientRect())", strip
    )
    assert place[0] >= box[0] - 1
    assert place[1] <= box[1] + 4
    row = re.search(r"embeddings\.(\w+)", said(browser, "lookups"))
    assert row
    names = ["word_embeddings", "token_type_embeddings", "position_embeddings", "sum", "LayerNorm"]
    top = browser.ask("a.getBoundingClientRect().top", strip)
    assert place[2] - top == pytest.approx(14 * names.index(row[1]) - 1, abs=1.5)


def test_named_markup_stays_text_in_the_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path / "page.html", hostile()))
    assert browser.ask("document.images.length") == 0
    assert browser.ask("document.querySelectorAll('b').length") == 0
    browser.driver.find_elements(By.CSS_SELECTOR, "#attention-map tbody td")[3].click()
    assert MARKUP in said(browser, "attention")


def test_paper_holds_the_whole_page(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(written(tmp_path / "page.html", read(folders["MiniLM"], SENTENCE)), 760)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    beyond = browser.ask(
        "[...document.querySelectorAll('main *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert beyond == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dropout_slider_is_dropout(
    browser: Browser, folders: dict[str, Path], dtype: str, tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE, dtype=dtype)
    browser.open(written(tmp_path / "page.html", reading))
    x = reading.embeddings["embeddings.LayerNorm"][reading.walked]
    slider = browser.driver.find_element(By.ID, "p")
    assert slider.get_attribute("value") == "0.1"
    slider.send_keys(*[Keys.ARROW_RIGHT] * 15)
    assert slider.get_attribute("value") == "0.25"
    seed = browser.driver.find_element(By.ID, "seed")
    seed.clear()
    seed.send_keys("7")
    keep = draw_keep(x.shape, 0.25, np.random.default_rng(7))
    figures = browser.ask("document.getElementById('dropout-figures').textContent")
    assert f"Kept: {keep.sum()} of 384 features" in figures
    assert "Scale: 1.3333." in figures
    expected = dropout(x, 0.25, keep=keep).output
    round_ = "Math.fround" if dtype == "float32" else "(v => v)"
    found = browser.ask(
        "Array.from(dropped(rowOf(embeddings['embeddings.LayerNorm'], data.walked), "
        f"rowOf(unpack(data.draws), 7), 0.25, {round_}))"
    )
    assert np.array_equal(found, expected)
    point_at(browser, canvas(browser, "#dropout .strips"), 0.5, 0.6)
    text = re.fullmatch(r"“a”: after dropout, feature (\d+): (\S+)", said(browser, "dropout"))
    assert text
    assert x.dtype.type(text[2]) == expected[int(text[1])]
    slider.send_keys(Keys.END)  # as much as there is
    assert "1 − p is 5 %" in browser.ask("document.getElementById('dropout-figures').textContent")
    seed.send_keys("7", Keys.TAB)  # and no seed that is not there
    assert seed.get_attribute("value") == "19"
    assert "p is 5 %" in browser.ask("document.getElementById('dropout-figures').textContent")
    assert browser.log() == []


def test_a_head_is_chosen_and_read(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading))
    buttons = browser.driver.find_elements(By.CSS_SELECTOR, "#attention-wall button")
    assert len(buttons) == 72
    buttons[3 * 12 + 5].click()
    assert browser.driver.find_element(By.ID, "attention-which").text == "Layer 3, head 5"
    probs = reading.layers[3].probs[5]
    shown = browser.ask(
        "[...document.querySelectorAll('#attention-map tbody tr')]"
        ".map(r => [...r.querySelectorAll('td')].map(c => Number(c.textContent)))"
    )
    assert np.abs(np.array(shown) - probs).max() <= 0.0051
    cell = browser.driver.find_elements(By.CSS_SELECTOR, "#attention-map tbody td")[4 * 7 + 6]
    point_at(browser, cell, 0.5, 0.5)
    text = re.fullmatch(
        r"Layer 3, head 5: “test” attends by (\S+) % to “\[SEP\]”", said(browser, "attention")
    )
    assert text
    assert float(text[1]) == pytest.approx(100 * probs[4, 6], abs=0.007)
    buttons[3 * 12 + 5].send_keys(Keys.ARROW_DOWN)
    assert browser.driver.find_element(By.ID, "attention-which").text == "Layer 4, head 5"
    assert browser.ask("document.activeElement === a", buttons[4 * 12 + 5])
    # What is read out is the head's that is chosen now.
    assert said(browser, "attention").startswith("Layer 4, head 5: “test” attends by")
    buttons[4 * 12 + 5].send_keys(Keys.END)
    assert browser.driver.find_element(By.ID, "attention-which").text == "Layer 4, head 11"
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.HOME)
    browser.driver.switch_to.active_element.send_keys(*[Keys.ARROW_RIGHT] * 1)
    assert browser.driver.find_element(By.ID, "attention-which").text == "Layer 4, head 1"
    pressed = browser.ask("document.querySelectorAll('#attention-wall [aria-checked=true]').length")
    assert pressed == 1
    cell.click()
    cell.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    focused = browser.driver.switch_to.active_element
    focused.send_keys(Keys.ARROW_UP)
    assert re.match(r"Layer 4, head 1: “a” attends by \S+ % to “test”", said(browser, "attention"))
    heads = "[...document.querySelectorAll('#attention-map .read')].map(h => h.textContent)"
    assert [text.strip("\u2066\u2069") for text in browser.ask(heads)] == ["test", "a"]


def test_the_walk_goes_through_the_layers(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["random, 12 layers"], SENTENCE, token=1)
    browser.open(written(tmp_path / "page.html", reading))
    slider = browser.driver.find_element(By.ID, "layer")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 9)
    for number, step in enumerate(reading.layers[0].walk):
        point_at(browser, canvas(browser, f'[data-step="{step}"]'), 0.5, 0.5)
        found = re.fullmatch(
            rf"“this”: encoder\.layer\.9\.{re.escape(step)}, (?:feature|head) (\d+)"
            r"(?:, to “(\S+)”| \(of head \d+\))?: (\S+)",
            said(browser, "walk"),
        )
        assert found, (number, said(browser, "walk"))
        array = reading.layers[9].walk[step]
        row = array[int(found[1])]
        if found[2] is not None:
            row = row[[token.text for token in reading.tokens].index(found[2])]
        # It has the digits that 16 bits can tell, no more.
        assert float(found[3]) == pytest.approx(float(row), abs=float(np.abs(array).max()) / 5000)
        scale = browser.ask("document.getElementById(a).textContent", f"scale-{step}")
        assert float(scale.split()[-1]) == pytest.approx(
            1.0 if step.endswith("probs") else scale_of(array), rel=0.06
        )
    slider.send_keys(Keys.HOME)
    assert said(browser, "walk").startswith("“this”: encoder.layer.0.output.LayerNorm, feature")


def test_likeness_is_read_after_each_layer(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], SENTENCE)
    browser.open(written(tmp_path / "page.html", reading))
    buttons = browser.driver.find_elements(By.CSS_SELECTOR, "#similarity-wall button")
    assert [button.get_attribute("aria-label") for button in buttons] == [
        "embeddings",
        *(f"encoder.layer.{number}" for number in range(6)),
    ]
    buttons[6].click()
    cell = browser.driver.find_elements(By.CSS_SELECTOR, "#similarity-map tbody td")[3 * 7 + 4]
    point_at(browser, cell, 0.5, 0.5)
    text = re.fullmatch(
        r"After encoder\.layer\.5: the cosine between “a” and “test” is (\S+)",
        said(browser, "similarity"),
    )
    assert text
    assert float(text[1]) == pytest.approx(reading.similarity[6, 3, 4], abs=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
def test_five_hundred_tokens_stay_usable(
    browser: Browser, folders: dict[str, Path], width: int, tmp_path: Path
) -> None:
    reading = read(folders["MiniLM"], "one more word and " * 200, truncation=True, token=400)
    browser.open(written(tmp_path / "page.html", reading), width)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert "48 of 512 tokens are drawn" in browser.ask("document.body.textContent")
    last = browser.ask(
        "[...document.querySelectorAll('#attention-map tbody tr')].map(r => r.lastChild)"
    )[0]
    point_at(browser, last, 0.5, 0.5)
    text = re.fullmatch(
        r"Layer 0, head 0: “\[CLS\]” attends by (\S+) % to “\(all others\)”",
        said(browser, "attention"),
    )
    assert text
    assert float(text[1]) == pytest.approx(100 * reading.layers[0].rest[0, 0], abs=0.007)
    # In the walk the weights of what is not drawn have a column too.
    shape = browser.ask("walkRows(layers[0], 'attention.self.probs').map(r => r.length)")
    assert shape == [49] * 12
    sums = browser.ask(
        "walkRows(layers[0], 'attention.self.probs').map(r => r.reduce((a, b) => a + b))"
    )
    assert np.allclose(sums, 1.0, atol=2e-3)


def test_foreign_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    for text in (HOSTILE, RIGHT_TO_LEFT, "</bdi></section><img src=x onerror=alert(1)>"):
        browser.open(written(tmp_path / "page.html", masked(text)))
        assert browser.driver.find_element(By.TAG_NAME, "h1").text == " ".join(text.split())
        assert browser.driver.title != "x"
        assert browser.ask("document.images.length") == 0
        tokens = browser.ask(
            "[...document.querySelectorAll('.tokens bdi')].map(b => b.textContent)"
        )
        assert tokens == [token.text for token in masked(text).tokens]


def test_words_at_the_mask_are_listed(browser: Browser, tmp_path: Path) -> None:
    reading = masked("The [MASK] is up.")
    browser.open(written(tmp_path / "page.html", reading))
    assert reading.predictions is not None
    rows = browser.ask(
        "[...document.querySelectorAll('#predictions tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[:2] for row in rows] == [
        [word.token_str, str(word.token)] for word in reading.predictions[0].words
    ]


def test_dark_is_dark_and_paper_is_white(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    path = written(tmp_path / "page.html", read(folders["demo"], SENTENCE))
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(path, dark=True)
    assert max(map(int, re.findall(r"\d+", browser.ask(ground))[:3])) < 50
    browser.open(path)
    assert browser.ask(ground) == "rgb(255, 255, 255)"
    printed = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", printed)
    assert browser.ask(ground) == "rgb(255, 255, 255)"
    for hidden in ("nav", "input[type=range]", ".readout"):
        assert browser.ask("getComputedStyle(document.querySelector(a)).display", hidden) == "none"
    pdf = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 50_000
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_everything_that_can_be_used_has_a_name(
    browser: Browser, folders: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(written(tmp_path / "page.html", read(folders["demo"], SENTENCE)))
    browser.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles: dict[str, int] = {}
    for node in nodes:
        role = node.get("role", {}).get("value", "")
        roles[role] = roles.get(role, 0) + 1
        if role in ("link", "radio", "slider", "spinbutton", "application", "grid", "radiogroup"):
            assert node["name"]["value"], node
        if role == "group":
            assert node["name"]["value"], node
    assert roles["radio"] == 4 + 3
    assert roles["slider"] == 2
    assert roles["application"] == 7 + 1 + 14
    assert roles["grid"] == 2
    stops = browser.ask("[...document.querySelectorAll('*')].filter(e => e.tabIndex >= 0).length")
    assert stops < 50  # the look-ups' strips, a wall of maps, a table are one each
