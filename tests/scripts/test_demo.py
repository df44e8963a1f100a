"""The demo: what its card says of it, how it is made, and what is kept out of its training."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, SentenceEncoder
from numpy_bert.loading.stored import SafetensorsFile

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "numpy_bert" / "demo"
CARD = (DEMO / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def scripts(data: Path) -> Iterator[Any]:
    """What imports a script by its name."""
    del data  # they read it
    sys.path.insert(0, str(ROOT / "scripts"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "scripts"))


def test_it_is_small_and_stored_in_half() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        tensors = SafetensorsFile(DEMO / name).tensors
        assert {tensor.dtype for tensor in tensors.values()} == {"F16"}
        assert "cls.predictions.decoder.weight" not in tensors


# A few of its texts are longer than what it reads, and each kind of them says so.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:data. .* have more than .* tokens")
def test_the_figures_of_its_card_are_measured(scripts: Any, minilm: Path, tmp_path: Path) -> None:
    files, report = scripts("demo_files"), scripts("report_demo")
    files.write_files(tmp_path, files.make_files(files.make_weights(0), files.CONFIG))
    found = report.measure(DEMO, minilm, untrained=tmp_path)
    assert found.accuracy >= 3 * found.most_frequent
    assert found.spearman >= 0.77
    assert found.spearman > found.untrained + 0.1
    stated = [
        float(x)
        for x in re.findall(
            r"(\d+\.\d+) ?%?", CARD.split("## How good it is")[1].split("## The model")[0]
        )
    ]
    names = ("accuracy", "most_frequent", "next_sentence", "always_random")
    measured = [100 * getattr(found, name) for name in names]
    # Of other processors' roundings a guess or two may come out otherwise.
    assert stated[:4] == pytest.approx(measured, abs=0.2)
    assert stated[4:] == pytest.approx([found.spearman, found.untrained, found.teacher], abs=1e-3)


def test_it_says_what_makes_sense() -> None:
    words = [
        f.token_str for f in BertForMaskedLM.from_pretrained("demo").fill_mask("I [MASK] you.")
    ]
    assert set(words) & {"love", "need", "want", "like", "know", "hate", "miss"}
    encoder = SentenceEncoder.from_pretrained("demo")
    vectors = encoder.encode(
        ["He is eating an apple.", "She eats some fruit.", "The train leaves at noon."]
    )
    likeness = encoder.similarity(vectors, vectors)
    assert likeness[0, 1] > likeness[0, 2] + 0.2


def test_what_judges_it_was_not_trained_on(scripts: Any) -> None:
    texts = scripts("demo_texts").read_texts()
    held = set(texts.held)
    assert len(held) > 1000
    assert len(texts.held_documents) == 2
    assert not held & set(texts.sentences)
    trained = texts.texts
    assert len(trained) == len(set(trained)) > 80_000
    assert not [text for text in trained if any(h in text for h in texts.held_documents[0])]
    chapters = [len(document) for document in texts.documents]
    assert len(chapters) > 60
    assert min(chapters) >= 15
    every = [sentence for document in texts.documents for sentence in document]
    assert not [sentence for sentence in every if "Illustration" in sentence]


def test_sentences_end_where_they_end(scripts: Any) -> None:
    read = scripts("demo_texts").read_sentences
    text = "\u201cOh dear!\u201d said Mr. Darcy. He left. \u201cWhy?\u201d   She\nsaw it: St. John!"
    assert read(text) == [
        "\u201cOh dear!\u201d said Mr. Darcy.",
        "He left.",
        "\u201cWhy?\u201d",
        "She saw it: St. John!",
    ]
    assert read("* * *") == []


def test_it_starts_as_bert_does(scripts: Any) -> None:
    files = scripts("demo_files")
    weights = files.make_weights(0)
    table = weights["bert.embeddings.word_embeddings.weight"]
    # A normal of 0.02 cut at two standard deviations has 0.88 of its spread.
    assert abs(float(table.std()) - 0.88 * 0.02) < 1e-4
    assert float(np.abs(table).max()) <= 0.0401
    again, other = files.make_weights(0), files.make_weights(1)
    for name, array in weights.items():
        assert np.array_equal(array, again[name])
        assert np.array_equal(array, other[name]) == (array.std() == 0)


# A few of its texts are longer than what it reads, and each kind of them says so.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:data. .* have more than .* tokens")
def test_its_training_is_the_same_to_the_byte(
    scripts: Any, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scripts("make_demo")
    monkeypatch.setattr(
        made,
        "measure",
        lambda *_, **__: scripts("report_demo").Figures(
            accuracy=0.5,
            most_frequent=0.1,
            next_sentence=0.5,
            always_random=0.5,
            spearman=0.8,
            untrained=0.5,
            teacher=0.9,
        ),
    )

    def make(place: Path, *more: str) -> dict[str, bytes]:
        options = ["--steps", "2", "--work", str(place / "work"), "--output", str(place / "out")]
        monkeypatch.setattr(sys, "argv", ["make_demo.py", str(minilm), *options, *more])
        made.main()
        return {
            path.relative_to(place / "out").as_posix(): path.read_bytes()
            for path in (place / "out").rglob("*")
            if path.is_file()
        }

    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert set(first) == {p.relative_to(DEMO).as_posix() for p in DEMO.rglob("*") if p.is_file()}
    assert first == second
    other = make(tmp_path / "c", "--seed", "1")
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        assert other[name] != first[name]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"):
        assert first[name] == (DEMO / name).read_bytes()


@pytest.mark.parametrize("wrong", [["--seed", "-1"], ["--steps", "0"], []])
def test_wrong_arguments_are_refused(
    scripts: Any, wrong: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_demo.py", str(tmp_path), *wrong])
    with pytest.raises(SystemExit):
        scripts("make_demo").main()
