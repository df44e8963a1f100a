"""An index made by a job: what it holds, and what is left of it when it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import CheckpointError, InputError, OutputError, SentenceEncoder, open_index
from numpy_bert.corpora import index_output as module
from numpy_bert.corpora.index_files import FILES
from numpy_bert.corpora.index_output import encode_index, write_index
from numpy_bert.corpora.outputs import StoredTexts
from numpy_bert.encoding import stream

TEXTS = [f"{n} times “{n * n}”" for n in range(25)]


@pytest.fixture
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo", prompts={"passage": "read: "})


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MOST_TEXTS", 10)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), "utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_it_is_what_all_at_once_makes(
    precision: str, encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    report = encode_index(encoder, corpus, tmp_path / "i", "demo", precision=precision)
    assert (report.texts, report.features) == (25, 384)
    prompt = encoder.prompts["document"]  # which sentence-transformers has in every model
    blocks = encoder.encode_stream(TEXTS, prompt=prompt, normalize_embeddings=True)
    vectors = np.concatenate(list(blocks))
    how: dict[str, Any] = {"precision": precision, "prompt": prompt}
    write_index(tmp_path / "j", TEXTS, vectors, encoder, "demo", **how)
    made, expected = contents(tmp_path / "i"), contents(tmp_path / "j")
    vector_file = made.pop("vectors.npy"), expected.pop("vectors.npy")
    assert made == expected
    assert len(vector_file[0]) == len(vector_file[1])
    found = open_index(tmp_path / "i", encoder=encoder)
    np.testing.assert_allclose(found.vectors, vectors, atol=1e-3 if precision[-2:] == "16" else 0)
    assert list(found.texts) == TEXTS
    assert {*contents(tmp_path / "i")} == {*FILES}
    assert not (tmp_path / "i.part").exists()


def test_documents_have_their_prompt(corpus: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder("demo")
    encoder.prompts = {"passage": "read: ", "query": "find: "}
    encode_index(encoder, corpus, tmp_path / "i", "demo")
    index = open_index(tmp_path / "i", encoder=encoder)
    document = encoder.encode(f"read: {TEXTS[3]}")
    assert index.search(document, 1).scores[0] == pytest.approx(1, abs=1e-6)
    asked = encoder.encode(f"find: {TEXTS[3]}")
    np.testing.assert_allclose(index.search(TEXTS[3]).scores, index.search(asked).scores, atol=1e-6)
    encode_index(encoder, corpus, tmp_path / "j", "demo", prompt_name="query", truncate_dim=9)
    other = open_index(tmp_path / "j", encoder=encoder)
    assert other.vectors.shape == (25, 9)
    found = other.search(TEXTS[3], 1)
    assert found.texts == [TEXTS[3]]
    assert found.scores[0] == pytest.approx(1, abs=1e-6)


class Stop(BaseException):
    """What a test raises in the place of a kill."""


def stopping(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left = calls

    def call(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return function(*arguments)

    return call


@pytest.mark.parametrize(
    ("step", "calls", "is_there", "left"),
    [
        ("complete", 0, False, None),
        ("complete", 0, True, 1),
        ("take_name", 0, False, None),
        ("take_name", 0, True, 1),
        ("take_name", 1, True, None),
    ],
)
def test_stopped_while_it_ends(
    step: str,
    calls: int,
    is_there: bool,
    left: int | None,
    encoder: SentenceEncoder,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode_index(encoder, corpus, tmp_path / "whole", "demo")
    whole = contents(tmp_path / "whole")
    if is_there:
        write_index(tmp_path / "i", ["old"], encoder.encode(["old"]), encoder, "demo")
    with monkeypatch.context() as patch:
        patch.setattr(module, step, stopping(calls, getattr(module, step)))
        with pytest.raises(Stop):
            encode_index(encoder, corpus, tmp_path / "i", "demo", force=True)
    # What stands there meanwhile is the old index, or none: never half of one.
    if left is None:
        with pytest.raises(CheckpointError, match="does not exist"):
            open_index(tmp_path / "i")
    else:
        assert len(open_index(tmp_path / "i")) == left
    with pytest.raises(CheckpointError, match="Give the command that makes it again"):
        open_index(tmp_path / "i.part")
    encode_index(encoder, corpus, tmp_path / "i", "demo", force=True)
    assert contents(tmp_path / "i") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", "i", "whole"]


def test_stopped_after_some_blocks(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_index(encoder, corpus, tmp_path / "whole", "demo")
    with monkeypatch.context() as patch:
        patch.setattr(StoredTexts, "add", stopping(2, StoredTexts.add))
        with pytest.raises(Stop):
            encode_index(encoder, corpus, tmp_path / "i", "demo")
    with pytest.raises(CheckpointError, match="does not exist"):
        open_index(tmp_path / "i")
    said: list[str] = []
    report = encode_index(encoder, corpus, tmp_path / "i", "demo", note=said.append)
    assert report.went_on_after == 20
    assert said[0].startswith("goes on after 20 texts")
    assert contents(tmp_path / "i") == contents(tmp_path / "whole")


def test_what_is_refused(encoder: SentenceEncoder, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="precision must be float32 or float16 for an index"):
        encode_index(encoder, corpus, tmp_path / "i", "demo", precision="binary")
    encode_index(encoder, corpus, tmp_path / "i", "demo")
    with pytest.raises(OutputError, match="is an index already, of 25 texts, to which nothing"):
        encode_index(encoder, corpus, tmp_path / "i", "demo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", "i"]


def test_an_index_is_not_replaced_while_its_texts_are_the_input(
    encoder: SentenceEncoder, corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "i"
    encode_index(encoder, corpus, folder, "demo")
    before = contents(folder)
    with pytest.raises(InputError, match="holds the file that --input reads"):
        encode_index(encoder, folder / "texts.jsonl", folder, "demo", force=True)
    with pytest.raises(InputError, match="bad: is the output; name another file"):
        encode_index(encoder, corpus, folder, "demo", force=True, bad_lines=folder / "bad")
    assert contents(folder) == before
    encode_index(encoder, folder / "texts.jsonl", tmp_path / "j", "demo")
    assert contents(tmp_path / "j") == before
