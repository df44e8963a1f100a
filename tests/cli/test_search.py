"""``numpy-bert search``, and ``encode --index``, which makes what it searches."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from numpy_bert import SentenceEncoder, open_index
from numpy_bert.cli import main
from numpy_bert.corpora.index_output import write_index

TEXTS = ["The sun is shining.", "He drives a car.", "It is\na sunny day."]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    encoder = SentenceEncoder("demo")
    path = tmp_path / "i"
    write_index(path, TEXTS, encoder.encode_document(TEXTS), encoder, "demo")
    return str(path)


def test_a_table_of_what_is_found(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", folder, "a car", "-k", "2"]) == 0
    out, err = capsys.readouterr()
    found = open_index(folder).search("a car", 2)
    lines = out.splitlines()
    assert lines[0].split() == ["rank", "score", "row", "text"]
    assert lines[1].split(maxsplit=3) == ["1", f"{found.scores[0]:.4f}", "1", "He drives a car."]
    assert len(lines) == 3
    assert err == ""


def test_several_queries(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["search", folder, "a car", "a sunny day"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "a car",
        "",
        "a sunny day",
    ]
    assert "  It is a sunny day." in out
    monkeypatch.setattr("sys.stdin", io.StringIO("a car\na sunny day\n"))
    assert main(["search", folder]) == 0
    assert capsys.readouterr().out == out


def test_a_machine_gets_json(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", folder, "a sunny day", "a car", "-k", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    hit = {"rank": 1, "score": pytest.approx(0.9, abs=0.1), "row": 2, "text": TEXTS[2]}
    assert said["results"][0] == {"query": "a sunny day", "hits": [hit]}
    assert said["results"][1]["hits"][0]["text"] == TEXTS[1]
    del said["results"]
    assert said == {"model": "demo", "revision": None, "similarity_fn_name": "cosine", "texts": 3}


def test_a_prompt_is_put_before_queries(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", folder, "a car", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["results"][0]["hits"]
    assert main(["search", folder, "a car", "--prompt", "the sun and", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["hits"] != plain
    assert main(["search", folder, "a car", "--prompt-name", "nosuch"]) == 2
    assert "prompt_name must be the name of a prompt" in capsys.readouterr().err


def test_an_index_of_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("He drives a car.\nIt rains.\n")
    made = ["encode", "--input", str(corpus), "--index", str(tmp_path / "i")]
    assert main([*made, "--precision", "float16"]) == 0
    assert "i: 2 texts;" in capsys.readouterr().err
    assert open_index(tmp_path / "i").vectors.dtype.name == "float16"
    assert main(["search", str(tmp_path / "i"), "a car", "-k", "1"]) == 0
    assert "He drives a car." in capsys.readouterr().out
    assert main(made) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*made, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == 2
    assert open_index(tmp_path / "i").vectors.dtype.name == "float32"


@pytest.mark.parametrize("words", [["a text"], ["--input", "f", "-o", "v.npy"]])
def test_index_is_for_a_corpus_alone(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["encode", *words, "--index", str(tmp_path / "i")]) == 2
    assert "--index: is for --input FILE in place of -o" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(tmp_path), "a"]) == 1
    assert "is no whole index (no index.json)" in capsys.readouterr().err


def test_another_model_is_refused(
    folder: str, minilm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", folder, "a car", "--model", str(minilm)]) == 2
    assert "is another one (it makes another vector" in capsys.readouterr().err
