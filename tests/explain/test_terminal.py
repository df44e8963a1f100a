"""The terminal's view: two screens, whatever the text, with colours or without."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_bert import explain
from numpy_bert.explain.measures import parts_of
from tests.support.hard_texts import HARD_TEXTS
from tests.support.pages import HOSTILE, SENTENCE, masked, random_model, read

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def layers_in(lines: list[str]) -> list[int]:
    """Return the numbers of the layers that have a line."""
    return [int(line.split()[0]) for line in lines if re.match(r" +\d+  \S+ [\d.]+%", line)]


def columns(line: str) -> int:
    marks = sum(
        unicodedata.category(c) in ("Mn", "Me", "Cf") or 0x1160 <= ord(c) <= 0x11FF for c in line
    )
    return len(line) - marks + sum(unicodedata.east_asian_width(c) in "WF" for c in line)


@pytest.mark.parametrize("text", [*HARD_TEXTS, HOSTILE], ids=range(len(HARD_TEXTS) + 1))
def test_two_screens_hold_any_text(text: str) -> None:
    readings = (read("demo", text, truncation=True), read("demo", text, text, truncation=True))
    for reading, width in itertools.product(readings, (20, 80, 120, 400)):
        page = explain.terminal(reading, width=width)
        assert len(page.splitlines()) <= 48
        assert max(map(columns, page.split("\n"))) <= min(max(width, 80), 120)
        assert all(c.isprintable() or c == "\n" for c in page)
        coloured = explain.terminal(reading, width=width, colour=True)
        assert COLOUR.sub("", coloured) == page


def test_two_screens_hold_a_large_model(tmp_path: Path) -> None:
    reading = read(random_model(tmp_path, num_hidden_layers=24), "word " * 60, truncation=True)
    lines = explain.terminal(reading).splitlines()
    assert len(lines) <= 48
    assert layers_in(lines) == list(range(1, 24, 2))  # every second, up to the last
    assert sum("more tokens" in line for line in lines) == 1


@pytest.mark.parametrize("count", [1, 12, 13, 25])
def test_the_last_layer_is_always_there(count: int) -> None:
    reading = read("demo", SENTENCE)
    many = replace(
        reading,
        layers=reading.layers[:1] * count,
        similarity=np.repeat(reading.similarity[:1], count + 1, axis=0),
    )
    layers = layers_in(explain.terminal(many).splitlines())
    assert layers[-1] == count - 1
    assert len(layers) == min(count, -(-count // -(-count // 12)))
    assert len(set(np.diff(layers).tolist())) <= 1


def test_long_names_and_enormous_numbers_stay_within_the_page() -> None:
    reading = read("demo", "a " + "\ud55c\uad6d\uc5b4 " * 3, SENTENCE)
    tokens = tuple(replace(token, text="W\u4e16" * 60) for token in reading.tokens)
    enormous = {name: rows * 1e18 for name, rows in reading.embeddings.items()}
    words = enormous["embeddings.word_embeddings"]
    words[:, :5] *= 1e3  # that the position takes away again
    enormous["embeddings.position_embeddings"][:, :5] = -words[:, :5]
    wild = replace(reading, name="n" * 300, tokens=tokens, embeddings=enormous)
    for width in (80, 120):
        page = explain.terminal(wild, width=width)
        assert max(map(columns, page.split("\n"))) <= width
        assert re.search(r"[WSP]{3}", page)
        assert "Capitals: a row that points away from the sum" in page


def test_korean_letters_are_counted_as_they_are_shown() -> None:
    from numpy_bert.explain.terminal import _columns

    assert _columns("\u1112\u1161\u11ab") == 2  # one syllable in three letters
    assert _columns("e\u0301\u200d") == 1
    assert _columns("\u0e17\u0e34") == 1  # Thai, with a vowel above


def test_a_sum_of_zeros_has_no_bar() -> None:
    reading = read("demo", "")
    zero = {name: np.zeros_like(rows) for name, rows in reading.embeddings.items()}
    lines = explain.terminal(replace(reading, embeddings=zero)).splitlines()
    assert re.search(r"0\.000 0\.000 0\.000 {12} +0\.0000", lines[5])


def test_a_model_without_dropout_says_so() -> None:
    reading = read("demo", "")
    config = replace(reading.config, hidden_dropout_prob=0.0)
    assert "no dropout here" in explain.terminal(replace(reading, config=config))


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_what_was_measured(minilm: Path, width: int) -> None:
    reading = read(minilm, SENTENCE, "and another")
    page = explain.terminal(reading, width=width)
    parts = parts_of(reading)
    for number, token in enumerate(reading.tokens):
        line = next(
            line for line in page.splitlines() if line.startswith(f"{token.position:>3} ")
        ).split()
        assert line[:4] == [str(token.position), token.text, str(token.id), str(token.segment)]
        assert [float(x) for x in line[4:7]] == pytest.approx(list(parts.norms[number]), abs=1e-3)
        bar = next(cell for cell in line[7:] if set(cell) <= set("wsp"))
        for letter, share in zip("wsp", parts.shares[number], strict=True):
            assert abs(bar.count(letter) - share * len(bar)) <= 1.0
        mean, rstd = (
            reading.embeddings[f"embeddings.LayerNorm.{name}"][number, 0]
            for name in ("mean", "rstd")
        )
        tail = line[line.index(bar) + 1 :]
        if width == 120:
            assert [float(x.rstrip("%")) for x in tail[:3]] == pytest.approx(
                list(100 * parts.shares[number]), abs=0.51
            )
            tail = tail[3:]
        assert float(tail[0]) == pytest.approx(mean, abs=1e-4)
        assert float(tail[1]) == pytest.approx(rstd, rel=0.01)
        if width == 120:
            assert float(line[7]) == pytest.approx(parts.total[number], abs=1e-3)
            variance = reading.embeddings["embeddings.LayerNorm.variance"][number, 0]
            assert float(tail[2]) == pytest.approx(variance, rel=0.06)


def test_the_layers_say_where_the_token_looks(minilm: Path) -> None:
    reading = read(minilm, SENTENCE, token=5)
    page = explain.terminal(reading, width=120)
    assert "Layer by layer: position 5, sentence" in page
    for number, layer in enumerate(reading.layers):
        line = next(li for li in page.splitlines() if re.match(rf" {{4}}{number}  \S", li))
        taken = layer.walked_probs.mean(axis=0)
        best = reading.tokens[int(taken.argmax())]
        assert line.split()[1:3] == [best.text, f"{100 * taken.max():.0f}%,"]
        alike = reading.similarity[number + 1][5].copy()
        alike[5] = -1
        other = reading.tokens[int(alike.argmax())].text
        assert line.split()[-2:] == [f"{alike.max():.2f}", other]


def test_tokens_that_are_there_twice_have_their_positions(minilm: Path) -> None:
    page = explain.terminal(read(minilm, "the cat and the dog", "dogs"))
    assert re.search(r"\[SEP\]@\d", page)
    assert "[CLS]@" not in page


def test_masks_are_filled() -> None:
    page = explain.terminal(masked("The [MASK] is up. The [MASK] too. A [MASK]."))
    reading = masked("The [MASK] is up. The [MASK] too. A [MASK].")
    assert reading.predictions is not None
    for found in reading.predictions[:2]:
        assert f"position {found.position}: {found.words[0].token_str} " in page
    assert f"position {reading.predictions[2].position}:" not in page
    assert "... 1 more mask" in page


def test_a_lonely_token_is_like_no_other() -> None:
    reading = read("demo", "")
    layers = tuple(
        replace(layer, walked_probs=layer.walked_probs[:, 1:]) for layer in reading.layers
    )
    alone = replace(
        reading,
        tokens=reading.tokens[1:],
        drawn=(0,),
        walked=0,
        embeddings={name: rows[1:] for name, rows in reading.embeddings.items()},
        similarity=np.ones((3, 1, 1)),
        layers=layers,
    )
    assert "(no other token)" in explain.terminal(alone)
    assert explain.terminal(alone).startswith("BERT: 1 token,")


def test_what_dropout_does_and_which_token_is_walked(minilm: Path) -> None:
    reading = read(minilm, SENTENCE, token=4)
    page = explain.terminal(reading, colour=True)
    assert "makes a feature 0 (p = 0.1) or divides it by 0.9." in page
    bold = [line for line in page.splitlines() if re.match(r" +\d+ \x1b\[1m", line)]
    assert [COLOUR.sub("", line).split()[1] for line in bold] == ["test"]


def test_small_shares_are_written_as_they_are() -> None:
    from numpy_bert.explain.terminal import _percent

    written = [_percent(x) for x in (0.456, 0.1, 0.0456, 0.001, 0.00012)]
    assert written == ["46%", "10%", "4.6%", "0.1%", "0.01%"]
