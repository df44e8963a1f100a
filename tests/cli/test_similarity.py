"""``numpy-bert similarity``: one score."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from numpy_bert import SentenceEncoder
from numpy_bert.cli import main


def test_the_score(capsys: pytest.CaptureFixture[str], minilm: Path) -> None:
    assert main(["similarity", "A cat sleeps.", "A kitten naps.", "--model", str(minilm)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    encoder = SentenceEncoder.from_pretrained(minilm)
    a, b = encoder.encode(["A cat sleeps.", "A kitten naps."])
    assert out == f"{float(a @ b):.4f}\n"
    assert 0.5 < float(out) < 0.95


def test_a_machine_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "same", "same", "--json", "--dtype", "float64"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "model": "demo",
        "similarity_fn_name": "cosine",
        "score": pytest.approx(1.0, abs=1e-12),
    }


def test_the_demo_is_not_trained_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "a", "b"]) == 0
    assert "model 'demo' (built in, small)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["-"]])
def test_two_lines_of_standard_input(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["similarity", "a test", "the sea"]) == 0
    expected = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("a test\nthe sea\n"))
    assert main(["similarity", *words]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("words", "lines", "count"), [(["a"], "", 1), ([], "a\nb\nc\n", 3)])
def test_two_texts_are_needed(
    words: list[str],
    lines: str,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["similarity", *words]) == 2
    assert f"A and B must be two texts, or two lines; got {count}." in capsys.readouterr().err


def test_half_a_surrogate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "a", "caf\udce9"]) == 2
    assert "sentences[1]: character 3 is U+DCE9" in capsys.readouterr().err
