"""The files beside modules.json against sentence-transformers: which are read, in what order."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st

from numpy_bert import ConfigError, SentenceEncoder
from numpy_bert.loading.cache import demo_folder
from numpy_bert.loading.modules import TRANSFORMER_CONFIGS
from numpy_bert.loading.sentence import _PLAIN

TEXTS = ["A Test", "a test", "The Moon and the Sea, and all that is Between them.", "x " * 40]
SHORT: dict[str, Any] = {"max_seq_length": 7}
LOWER: dict[str, Any] = {"do_lower_case": True}
BERT = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def cased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo's BERT with a tokenizer that keeps upper case, for texts to be lowered."""
    folder = tmp_path_factory.mktemp("cased")
    for name in BERT:
        shutil.copy(demo_folder() / name, folder / name)
    stated = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    stated["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(stated), "utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    config.update(do_lower_case=False, model_max_length=16)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def model(cased: Path, folder: Path, files: dict[str, Any], *, source: str | None = "") -> Path:
    """Write a model: with modules.json, whose Transformer is in `source`, unless that is None."""
    (folder / (source or "")).mkdir(parents=True, exist_ok=True)
    for name in BERT:
        (folder / (source or "") / name).symlink_to(cased / name)
    if source is not None:
        types = {source: "Transformer", "1_Pooling": "Pooling"}
        listed = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(types.items())
        ]
        pooling = {"embedding_dimension": 128, "pooling_mode": "mean"}
        files = {"modules.json": listed, "1_Pooling/config.json": pooling, **files}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def check(folder: Path) -> SentenceEncoder:
    """Hold vectors and settings against sentence-transformers'."""
    theirs = st.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": "float32"}, local_files_only=True
    )
    ours = SentenceEncoder.from_pretrained(folder)
    reference = theirs.encode(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of texts that are cut
        found = ours.encode(TEXTS)
    assert np.abs(found - reference).max() < 1e-5
    assert ours.max_seq_length == theirs.max_seq_length
    assert ours.similarity_fn_name == theirs.similarity_fn_name
    assert ours.default_prompt_name == theirs.default_prompt_name
    assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()
    return ours


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, SHORT | LOWER) for name in TRANSFORMER_CONFIGS),
        (TRANSFORMER_CONFIGS[0], SHORT),
        (TRANSFORMER_CONFIGS[-1], LOWER),
    ],
    ids=str,
)
@pytest.mark.parametrize("source", [None, "", "0_Transformer"])
def test_each_name(
    cased: Path, tmp_path: Path, name: str, content: dict[str, Any], source: str | None
) -> None:
    place = f"{source}/{name}" if source else name
    ours = check(model(cased, tmp_path, {place: content}, source=source))
    reads = source is not None
    assert ours.max_seq_length == (7 if reads and content != LOWER else 16)
    vectors = ours.encode(TEXTS[:2])
    lowers = reads and content != SHORT
    assert np.array_equal(vectors[0], vectors[1]) is lowers
    notes = (
        [] if reads else [f"not read without modules.json, as in sentence-transformers: {name}."]
    )
    assert list(ours.notes[not reads :]) == notes


@pytest.mark.parametrize("source", [None, ""])
def test_none_of_them(cased: Path, tmp_path: Path, source: str | None) -> None:
    assert check(model(cased, tmp_path, {}, source=source)).max_seq_length == 16


@pytest.mark.parametrize("first", range(len(TRANSFORMER_CONFIGS) - 1))
def test_the_first_that_states_anything_counts(cased: Path, tmp_path: Path, first: int) -> None:
    names = TRANSFORMER_CONFIGS[first : first + 3]
    files = {name: {"max_seq_length": 5 + i} for i, name in enumerate(names)}
    ours = check(model(cased, tmp_path / "a", files))
    assert ours.max_seq_length == 5
    assert ours.notes == (f"not read, since {names[0]} is there: {', '.join(names[1:])}.",)
    ours = check(model(cased, tmp_path / "b", {**files, names[0]: {}}))
    assert ours.max_seq_length == 6


def test_without_modules_json_nothing_is_said_of_the_model(cased: Path, tmp_path: Path) -> None:
    settings = {
        "prompts": {"query": "find: "},
        "default_prompt_name": "query",
        "similarity_fn_name": "dot",
        "truncate_dim": 9,
    }
    files = {"config_sentence_transformers.json": settings}
    listed = check(model(cased, tmp_path / "a", files))
    assert (listed.similarity_fn_name, listed.get_embedding_dimension()) == ("dot", 9)
    plain = check(model(cased, tmp_path / "b", files, source=None))
    assert (plain.similarity_fn_name, plain.get_embedding_dimension()) == ("cosine", 128)
    assert "config_sentence_transformers.json" in plain.notes[1]


@pytest.mark.parametrize(
    "content",
    [
        {"tokenizer_args": {"model_max_length": 5}, "max_seq_length": 7},
        {"processor_kwargs": {"model_max_length": 5}},
        {"model_args": {"add_pooling_layer": False}, "max_seq_length": None},
        {"query_length": 3, "document_length": 4, "max_seq_length": 9},
    ],
    ids=str,
)
def test_members_for_transformers(cased: Path, tmp_path: Path, content: dict[str, Any]) -> None:
    check(model(cased, tmp_path, {"sentence_bert_config.json": content}))


def test_an_unknown_member_is_refused_by_both(cased: Path, tmp_path: Path) -> None:
    folder = model(cased, tmp_path, {"sentence_roberta_config.json": {"do_lowercase": True}})
    with pytest.raises(TypeError, match="do_lowercase"):
        st.SentenceTransformer(str(folder), device="cpu")
    with pytest.raises(ConfigError, match=r"sentence_roberta_config\.json: do_lowercase is not"):
        SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("source", "bert", "pooling"),
    [
        ("", "./", "./1_Pooling"),
        ("", ".", "1_Pooling/"),
        ("0_Transformer", "0_Transformer/", "./1_Pooling/"),
        ("0_Transformer", "./0_Transformer", "1_Pooling"),
    ],
)
def test_a_folder_may_be_spelt_in_other_ways(
    source: str, bert: str, pooling: str, cased: Path, tmp_path: Path
) -> None:
    folder = model(cased, tmp_path, {}, source=source)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"], listed[1]["path"] = bert, pooling
    (folder / "modules.json").write_text(json.dumps(listed))
    check(folder)


def test_names_without_an_owner_are_those_of_sentence_transformers() -> None:
    assert set(st.util.misc.ORIGINAL_TRANSFORMER_MODELS) == _PLAIN
    assert st.SentenceTransformer.default_huggingface_organization == "sentence-transformers"
