"""An index: what is found in it, and folders that are none."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import tracemalloc
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    CheckpointError,
    InputError,
    OutputError,
    SentenceEncoder,
    open_index,
    search,
    similarity,
)
from numpy_bert.corpora.index_files import FILES, INDEX, OFFSETS, TEXTS, VECTORS
from numpy_bert.corpora.index_output import check_index, describe, write_index

SENTENCES = ["The sun is shining.", "He drives a car.", "It is a sunny day.", "A “quote”\n日本", ""]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture(scope="module")
def folder(encoder: SentenceEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "texts.index"
    write_index(path, SENTENCES, encoder.encode_document(SENTENCES), encoder, "demo")
    return path


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_what_is_found_is_what_search_finds(folder: Path, encoder: SentenceEncoder) -> None:
    index, query = open_index(folder), "a sunny day"
    vectors = encoder.encode(SENTENCES)
    expected = search(encoder.encode_query(query), vectors, k=3)
    found = index.search(query, k=3)
    assert found.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert found.texts == [SENTENCES[row] for row in expected.indices]


def test_several_queries_give_lists(folder: Path) -> None:
    index = open_index(folder)
    one, two = index.search("a car", 2), index.search(["a sunny day", "a car"], 2)
    assert two.indices.shape == two.scores.shape == (2, 2)
    assert two.indices[1].tolist() == one.indices.tolist()
    assert two.texts == [[SENTENCES[row] for row in rows] for rows in two.indices.tolist()]
    none = index.search([], 2)
    assert none.indices.shape == (0, 2)
    assert none.texts == []


def test_a_vector_is_a_query_of_any_length(folder: Path, encoder: SentenceEncoder) -> None:
    index, vector = open_index(folder), encoder.encode_query("a car")
    found, longer = index.search(vector, 2), index.search((9 * vector).tolist(), 2)
    assert found.texts == longer.texts == index.search("a car", 2).texts
    np.testing.assert_allclose(longer.scores, found.scores, atol=1e-6)
    assert index.search([vector, vector], 1).indices.tolist() == [[1], [1]]


def test_what_an_index_is(folder: Path) -> None:
    index = open_index(folder)
    assert repr(index) == "Index(5 texts, 384 features, float32, cosine, demo)"
    assert len(index) == len(index.texts) == 5
    assert (index.model, index.revision, index.similarity_fn_name) == ("demo", None, "cosine")
    assert list(index.texts) == SENTENCES
    assert index.texts[-1] == ""
    assert index.texts[1:3] == SENTENCES[1:3]
    assert repr(index.texts).startswith("Texts(5 in ")
    with pytest.raises(IndexError):
        index.texts[5]
    np.testing.assert_allclose(np.linalg.norm(index.vectors, axis=1), 1, atol=1e-6)
    assert not index.vectors.flags.writeable
    assert not index.vectors.flags.owndata


def test_a_hit_is_shown_in_a_line(folder: Path) -> None:
    shown = repr(open_index(folder).search(["a", "b"], 4))
    assert shown.startswith("IndexHits(indices=int64 (2, 4), scores=float32 (2, 4), texts=(")
    assert "\n" not in shown


@pytest.mark.parametrize("kind", ["dot", "euclidean", "manhattan"])
def test_other_similarities(kind: str, tmp_path: Path, encoder: SentenceEncoder) -> None:
    other = SentenceEncoder("demo", similarity_fn_name=kind)
    vectors = 3 * encoder.encode(SENTENCES)
    write_index(tmp_path / "i", SENTENCES, vectors, other, "demo")
    index = open_index(tmp_path / "i")
    assert index.similarity_fn_name == kind
    assert (index.vectors == vectors).all()
    found, query = index.search(vectors[2], k=4), vectors[2]
    expected = similarity(query, vectors, kind)[0]
    assert found.indices.tolist() == np.argsort(-expected, kind="stable")[:4].tolist()
    np.testing.assert_allclose(found.scores, expected[found.indices], rtol=1e-5)


def test_float16_and_float64(tmp_path: Path, encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(SENTENCES)
    write_index(tmp_path / "half", SENTENCES, vectors, encoder, "demo", precision="float16")
    write_index(tmp_path / "wide", SENTENCES, vectors.astype(np.float64), encoder, "demo")
    half, wide = open_index(tmp_path / "half"), open_index(tmp_path / "wide")
    assert [each.vectors.dtype.name for each in (half, wide)] == ["float16", "float64"]
    found, expected = half.search("a car"), wide.search("a car")
    assert found.texts == expected.texts
    assert [each.scores.dtype.name for each in (found, expected)] == ["float32", "float64"]
    np.testing.assert_allclose(found.scores, expected.scores, atol=5e-4)
    with pytest.raises(InputError, match=r"precision must be float32 or float16 for an index; got"):
        write_index(tmp_path / "no", SENTENCES, vectors, encoder, "demo", precision="int8")
    assert not (tmp_path / "no").exists()


def test_queries_are_encoded_as_the_texts_were(tmp_path: Path) -> None:
    encoder = SentenceEncoder("demo", prompts={"query": "find: ", "document": "read: "})
    encoder.max_seq_length = 9
    how: dict[str, Any] = {"pooling": "cls", "truncate_dim": 50}
    texts = [*SENTENCES, "one two three four five six seven eight nine ten"]
    with pytest.warns(UserWarning, match="were cut"):
        vectors = encoder.encode_document(texts, **how)
    write_index(tmp_path / "i", texts, vectors, encoder, "demo", prompt="read: ", **how)
    encoder.max_seq_length = 100
    index = open_index(tmp_path / "i", encoder=encoder)
    assert index.vectors.shape == (6, 50)
    query = encoder.encode_query("a car", **how)
    np.testing.assert_allclose(index.search("a car").scores, index.search(query).scores, atol=1e-6)
    plain = encoder.encode("a car", prompt="", **how)
    got = index.search("a car", prompt="").scores
    np.testing.assert_allclose(got, index.search(plain).scores, atol=1e-6)
    assert not np.allclose(got, index.search("a car").scores, atol=1e-4)
    assert index.encoder.max_seq_length == 9
    assert (encoder.pooling, encoder.truncate_dim) == (("mean",), None)
    assert encoder.max_seq_length == 100


def test_an_encoder_is_loaded_once_or_shared(folder: Path, encoder: SentenceEncoder) -> None:
    index = open_index(folder)
    found: list[SentenceEncoder] = []
    threads = [threading.Thread(target=lambda: found.append(index.encoder)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1
    assert open_index(folder, encoder=encoder).encoder.model is encoder.model


def test_another_model_is_refused(folder: Path, encoder: SentenceEncoder, tmp_path: Path) -> None:
    arrays = dict(encoder.named_parameters())
    name = "bert.encoder.layer.0.output.dense.weight"
    other = encoder.with_parameters({**arrays, name: arrays[name] * np.float32(1.5)})
    with pytest.raises(InputError, match=r"was made with demo, and .* \(it makes another vector"):
        open_index(folder, encoder=other).search("a car")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="is another one"):
        open_index(folder, model_name_or_path=tmp_path / "other").search("a car")
    encoder.save_pretrained(tmp_path / "same")
    index = open_index(folder, model_name_or_path=tmp_path / "same")
    assert index.search("a car", 1).texts == ["He drives a car."]
    narrow = SentenceEncoder("demo", truncate_dim=7)
    assert open_index(folder, encoder=narrow).search("a car", 1).texts == ["He drives a car."]


def test_a_model_of_another_width_is_refused(copied: Path, encoder: SentenceEncoder) -> None:
    said = json.loads((copied / INDEX).read_text())
    (copied / INDEX).write_text(json.dumps({**said, "truncate_dim": 200}))
    with pytest.raises(InputError, match=r"its vectors have 200 features, those of the index 384"):
        open_index(copied, encoder=encoder).search("a")
    (copied / INDEX).write_text(json.dumps({**said, "truncate_dim": 500}))
    with pytest.raises(InputError, match=r"another one \(truncate_dim must be"):
        open_index(copied, encoder=encoder).search("a")


def test_a_folder_is_remembered_by_its_full_path(
    tmp_path: Path, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder.save_pretrained("saved")
    write_index("i", SENTENCES, encoder.encode(SENTENCES), encoder, "saved")
    monkeypatch.chdir("/")
    index = open_index(tmp_path / "i")
    assert index.model == str(tmp_path / "saved")
    assert index.search("a car", 1).texts == ["He drives a car."]
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"which is not there any more\. Say where it is"):
        open_index(tmp_path / "i").search("a car")
    again = open_index(tmp_path / "i", model_name_or_path=tmp_path / "moved")
    assert again.search("a car", 1).texts == ["He drives a car."]


def test_a_commit_is_remembered(
    tmp_path: Path, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789" * 4
    repository = tmp_path / "models--me--tiny"
    encoder.save_pretrained(tmp_path / "saved")
    (repository / "snapshots").mkdir(parents=True)
    shutil.copytree(tmp_path / "saved", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = describe(encoder, "me/tiny", cache_folder=tmp_path)
    assert (said.model, said.revision) == ("me/tiny", commit)
    vectors = encoder.encode(SENTENCES)
    write_index(tmp_path / "i", SENTENCES, vectors, encoder, "me/tiny", cache_folder=tmp_path)
    (repository / "refs" / "main").write_text("f" * 40)
    index = open_index(tmp_path / "i", cache_folder=tmp_path)
    assert repr(index).endswith("me/tiny at 012345678901)")
    assert index.search("a car", 1).texts == ["He drives a car."]


def test_a_copy_opens_the_folder_again(folder: Path) -> None:
    index = open_index(folder)
    index.search("a car")
    data = pickle.dumps(index)
    assert len(data) < 1000
    assert pickle.loads(data).search("a car", 1).texts == ["He drives a car."]


def test_an_index_of_nothing(tmp_path: Path, encoder: SentenceEncoder) -> None:
    write_index(tmp_path / "i", [], np.empty((0, 384), np.float32), encoder, "demo")
    index = open_index(tmp_path / "i")
    assert len(index) == 0
    assert index.search("a car").texts == []
    assert index.search(["a", "b"]).indices.shape == (2, 0)


def test_wrong_arguments(folder: Path, encoder: SentenceEncoder) -> None:
    index = open_index(folder, encoder=encoder)
    with pytest.raises(InputError, match="k must be a whole number from 1; got 0"):
        index.search("a", 0)
    with pytest.raises(InputError, match=r"query and .*vectors.npy must have as many features"):
        index.search(np.ones(3, np.float32))
    with pytest.raises(InputError, match=r"query\[0\] must be finite"):
        index.search(np.full(384, np.nan, np.float32))
    with pytest.raises(InputError, match="prompt and prompt_name are for texts"):
        index.search(np.ones(384, np.float32), prompt="a")
    with pytest.raises(InputError, match="encoder must be a SentenceEncoder; got 'demo'"):
        open_index(folder, encoder="demo")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give one of the two"):
        open_index(folder, encoder=encoder, model_name_or_path="demo")
    with pytest.raises(InputError, match="path must be the name of a folder"):
        open_index(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 384)), "vectors must have a row for each of 5 texts; got shape (2, 384)."),
        (np.ones((5, 384), int), "vectors must be floats of 16, 32 or 64 bits; got int64."),
        (np.full((5, 384), np.inf), "vectors[0] must be finite, in float64 too; it holds"),
    ],
)
def test_what_is_not_written(
    vectors: Any, message: str, tmp_path: Path, encoder: SentenceEncoder
) -> None:
    with np.errstate(all="ignore"), pytest.raises(InputError) as failure:
        write_index(tmp_path / "i", SENTENCES, vectors, encoder, "demo")
    assert str(failure.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def put(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new, 1))

    return change


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index.json": (lambda f: (f / INDEX).unlink(), "is no whole index (no index.json)"),
    "no vectors": (lambda f: (f / VECTORS).unlink(), "vectors.npy: does not exist"),
    "cut vectors": (cut(VECTORS, 5000), "vectors.npy: has 5,000 bytes, and must have 7,808 for"),
    "longer vectors": (
        lambda f: (f / VECTORS).write_bytes((f / VECTORS).read_bytes() + b"1234"),
        "vectors.npy: has 7,812 bytes, and must have 7,808 for",
    ),
    "cut header": (
        cut(VECTORS, 20),
        "vectors.npy: has another header than a .npy file with float32",
    ),
    "other header": (
        put(VECTORS, b"NUMPY\x01", b"NUMPY\x03"),
        "vectors.npy: has another header than a .npy file with float32",
    ),
    "other width": (
        put(VECTORS, b"384)", b"192)"),
        "holds float32 numbers of shape (5, 192), and must",
    ),
    "other dtype": (
        put(VECTORS, b"<f4", b"<f8"),
        "holds float64 numbers of shape (5, 384), and must",
    ),
    "pickles": (
        put(VECTORS, b"'<f4'", b"'|O' "),
        "vectors.npy: has another header than a .npy file with float32",
    ),
    "Fortran": (
        put(VECTORS, b"False", b"True "),
        "vectors.npy: has another header than a .npy file with float32",
    ),
    "cut texts": (cut(TEXTS, 30), "texts.jsonl: must have 8"),
    "cut offsets": (cut(OFFSETS, 150), "offsets.npy: has 150 bytes, and must have 176 for"),
    "more rows": (
        put(INDEX, b'"count": 5', b'"count": 6'),
        "and must hold float32 numbers of shape (6, 384), as index.json says",
    ),
    "version": (put(INDEX, b"index/1", b"index/2"), "Another version of numpy_bert made it."),
    "not JSON": (put(INDEX, b"{", b"["), "is not JSON"),
    "float count": (put(INDEX, b'"count": 5', b'"count": 5.0'), "count must be a whole number"),
    "pooling": (put(INDEX, b'"mean"', b'"most"'), "pooling must be a list of some of"),
    "a number for a commit": (
        put(INDEX, b'"revision": null', b'"revision": ' + b"1" * 40),
        "revision must be a commit or null; got 1111",
    ),
    "no width": (put(INDEX, b'"width"', b'"WIDTH"'), "width must be a whole number from 1; got N"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_whose_files_do_not_fit_is_refused(copied: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    change(copied)
    with pytest.raises(CheckpointError) as failure:
        open_index(copied)
    assert message in str(failure.value)
    assert str(copied) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("row", "offset"), [(2, 0), (2, 1), (3, -1), (3, 1 << 62), (3, -(1 << 62)), (5, 22)]
)
def test_offsets_that_lie(copied: Path, row: int, offset: int) -> None:
    data = bytearray((copied / OFFSETS).read_bytes())
    start = len(data) - 8 * 6
    if row < 5:
        data[start + 8 * row : start + 8 * row + 8] = offset.to_bytes(8, "little", signed=True)
        (copied / OFFSETS).write_bytes(data)
        texts = open_index(copied).texts
        with pytest.raises(CheckpointError, match=rf"line {row + 1} must be a JSON string where"):
            texts[row]
    else:
        data[start:] = np.full(6, offset, "<i8").tobytes()
        (copied / OFFSETS).write_bytes(data)
        with pytest.raises(CheckpointError, match=r"texts\.jsonl: must have 22 bytes"):
            open_index(copied)


def test_a_vector_that_is_not_finite_is_named(copied: Path) -> None:
    data = bytearray((copied / VECTORS).read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    (copied / VECTORS).write_bytes(data)
    with pytest.raises(InputError, match=r"vectors\.npy\[4\] must be finite"):
        open_index(copied).search(np.ones(384, np.float32))


def test_a_half_made_folder_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "i.part").mkdir()
    for name in ("i.part", "i"):
        with pytest.raises(CheckpointError) as failure:
            open_index(tmp_path / name)
        told = "goes on" in str(failure.value)
        assert told == (name == "i.part")
    (tmp_path / "i").mkdir()
    with pytest.raises(CheckpointError, match="Give the command that makes it again"):
        open_index(tmp_path / "i")
    (tmp_path / "f").write_text("a")
    with pytest.raises(CheckpointError, match="f: is no folder; name the folder that"):
        open_index(tmp_path / "f")


def test_nothing_is_replaced_unless_it_is_an_index(copied: Path, tmp_path: Path) -> None:
    check_index(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_index(tmp_path / "empty", force=False)
    with pytest.raises(OutputError, match=r"is an index already, of 5 texts, to which nothing"):
        check_index(copied, force=False)
    check_index(copied, force=True)
    (copied / INDEX).write_text("{}")
    with pytest.raises(OutputError, match="of another version or a damaged one, to which"):
        check_index(copied, force=False)
    (copied / "mine.txt").write_text("a")
    with pytest.raises(OutputError, match=r"holds mine\.txt, and is no index; name a new folder"):
        check_index(copied, force=True)
    with pytest.raises(OutputError, match="is no folder"):
        check_index(copied / "mine.txt", force=True)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        check_index(tmp_path / "no" / "index", force=False)
    assert {path.name for path in copied.iterdir()} == {*FILES, "mine.txt"}


def test_a_search_reads_a_block_at_a_time(tmp_path: Path, encoder: SentenceEncoder) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20_000, 384), dtype=np.float32)
    texts = [str(row) for row in range(len(vectors))]
    write_index(tmp_path / "i", texts, vectors, encoder, "demo", precision="float16")
    index = open_index(tmp_path / "i")
    queries = vectors[[7, 19_999]]
    index.search(queries)
    tracemalloc.start()
    index.search(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < vectors.nbytes / 3
    assert index.search(queries, 1).texts == [["7"], ["19999"]]


def test_that_a_text_of_the_index_was_cut_is_not_told_again(
    tmp_path: Path, encoder: SentenceEncoder
) -> None:
    short = copy(encoder)
    short.max_seq_length = 8
    texts = ["word " * 30, "other " * 30]
    with pytest.warns(UserWarning, match="2 of 2 texts have more tokens"):
        vectors = short.encode_document(texts)
    write_index(tmp_path / "i", texts, vectors, short, "demo")
    index = open_index(tmp_path / "i", encoder=encoder)
    assert index.search("other", k=1).indices.tolist() == [1]
