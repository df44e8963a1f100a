"""SparseEncoder: files, arguments, words; the numbers are held in tests/parity."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    CheckpointError,
    ConfigError,
    InputError,
    SentenceEncoder,
    SparseEncoder,
)
from numpy_bert.encoding import word_weights
from numpy_bert.encoding.sparse_vectors import SparseVectors
from numpy_bert.encoding.word_weights import largest_of
from tests.support.sentence_models import write

TEXTS = ["the sea", "", "the moon and the sun", "the sea"]
OLD = "sentence_transformers.sparse_encoder.models."
NEW = {
    "MLMTransformer": "sentence_transformers.sparse_encoder.modules.mlm_transformer.MLMTransformer",
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
}


def modules(*kinds: str, new: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": NEW[kind] if new else kind if "." in kind else OLD + kind,
        }
        for place, kind in enumerate(kinds)
    ]


def files(first: str = "MLMTransformer", *, new: bool = False, **pooling: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "modules.json": modules(first, "SpladePooling", new=new),
        "1_SpladePooling/config.json": pooling,
        "config_sentence_transformers.json": {"model_type": "SparseEncoder"},
    }
    if first == "Transformer":
        found["sentence_bert_config.json"] = {"transformer_task": "fill-mask"}
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    BertForMaskedLM.from_pretrained("demo").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(plain: Path) -> SparseEncoder:
    return SparseEncoder(plain)


def test_a_plain_masked_language_model(encoder: SparseEncoder) -> None:
    assert repr(encoder) == (
        "SparseEncoder(8000 words, pooling max of relu, max_seq_length 512, float32)"
    )
    assert encoder.notes[0].startswith("there is no modules.json: a word's weight is the largest")
    assert encoder.similarity_fn_name == "dot"
    assert encoder.get_embedding_dimension() == encoder.get_sentence_embedding_dimension() == 8000
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, 8000)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors[0].toarray(), vectors[3].toarray())
    assert (vectors.data > 0).all()
    single = encoder.encode(TEXTS[2])
    assert single.shape == (8000,)
    np.testing.assert_allclose(single.toarray(), vectors[2].toarray(), atol=5e-6)


@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_float32_is_the_readable_code(plain: Path, strategy: str, activation: str) -> None:
    folder = plain.parent / f"{strategy}-{activation}"
    stated: dict[str, Any] = {"pooling_strategy": strategy, "activation_function": activation}
    BertForMaskedLM.from_pretrained(plain).save_pretrained(folder)
    write(folder, files(**stated))
    found = SparseEncoder(folder).encode(TEXTS)
    exact = SparseEncoder(folder, dtype="float64").encode(TEXTS)
    assert exact.dtype == np.float64
    limit = 1e-5 * max(1.0, float(exact.data.max()))
    np.testing.assert_allclose(found.toarray(), exact.toarray(), rtol=0, atol=limit)


def test_few_texts_are_weighed_at_a_time(
    encoder: SparseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder.encode(TEXTS)
    monkeypatch.setattr(word_weights, "_MOST_WEIGHTS", 1)  # one text each
    parts = encoder.encode(TEXTS)
    np.testing.assert_allclose(parts.toarray(), whole.toarray(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("first", ["MLMTransformer", "Transformer"])
@pytest.mark.parametrize("new", [False, True])
def test_both_spellings_of_the_modules(plain: Path, tmp_path: Path, first: str, new: bool) -> None:
    own = files(first, new=new, pooling_strategy="sum", embedding_dimension=8000)
    if not new:
        own["1_SpladePooling/config.json"] = {
            "pooling_strategy": "sum",
            "activation_function": "relu",
            "word_embedding_dimension": None,
        }
    own["sentence_bert_config.json"] = {
        **own.get("sentence_bert_config.json", {}),
        "max_seq_length": 7,
        "do_lower_case": True,
    }
    own["config_sentence_transformers.json"] |= {
        "prompts": {"query": "find: "},
        "default_prompt_name": "query",
        "similarity_fn_name": "cosine",
        "max_active_dims": 9,
    }
    BertForMaskedLM.from_pretrained(plain).save_pretrained(tmp_path)
    found = SparseEncoder(write(tmp_path, own))
    assert "pooling sum of relu, max_seq_length 7" in repr(found)
    assert (found.similarity_fn_name, found.max_active_dims) == ("cosine", 9)
    vector = found.encode("The Sea")
    assert vector.nnz == 9
    assert np.array_equal(vector.data, found.encode("find: the sea", prompt="").data)


def test_saved_and_loaded(encoder: SparseEncoder, tmp_path: Path) -> None:
    own = copy.copy(encoder)
    own.max_active_dims, own.max_seq_length, own.prompts = 5, 20, {"query": "find: "}
    own.similarity_fn_name = "cosine"
    own.save_pretrained(tmp_path)
    assert encoder.max_seq_length == 512
    again = SparseEncoder.from_pretrained(tmp_path)
    assert (again.max_active_dims, again.max_seq_length) == (5, 20)
    assert (again.prompts["query"], again.similarity_fn_name, again.notes) == (
        "find: ",
        "cosine",
        (),
    )
    for other in (again, pickle.loads(pickle.dumps(own)), copy.deepcopy(own)):
        np.testing.assert_array_equal(
            other.encode_query(TEXTS).toarray(), own.encode_query(TEXTS).toarray()
        )


def test_prompts(encoder: SparseEncoder, plain: Path) -> None:
    prompted = SparseEncoder(plain, prompts={"query": "find: ", "passage": "read: "})
    for found, text in (
        (prompted.encode_query("a test"), "find: a test"),
        (prompted.encode_query(inputs="a test"), "find: a test"),
        (prompted.encode("a test", prompt="say: "), "say: a test"),
        (prompted.encode("a test", "passage"), "read: a test"),
    ):
        np.testing.assert_array_equal(found.toarray(), encoder.encode(text).toarray())


def test_the_heaviest_are_kept(encoder: SparseEncoder) -> None:
    whole, few = encoder.encode(TEXTS), encoder.encode(TEXTS, max_active_dims=3)
    for all_words, kept in zip(whole, few, strict=True):
        assert kept.nnz == 3
        order = np.argsort(-all_words.data, kind="stable")[:3]
        np.testing.assert_array_equal(kept.indices, np.sort(all_words.indices[order]))
    assert encoder.encode(TEXTS, max_active_dims=10**6).nnz == whole.nnz
    np.testing.assert_array_equal(largest_of(np.ones(5), 2), [0, 1])


def test_words(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    words = encoder.decode(vectors)
    assert [len(row) for row in words] == np.diff(vectors.indptr).tolist()
    weights = [weight for _, weight in words[0]]
    assert weights == sorted(weights, reverse=True)
    assert encoder.decode(vectors[0], top_k=4) == words[0][:4]
    assert encoder.decode(vectors[0].toarray(), top_k=4) == words[0][:4]
    assert encoder.decode(list(vectors), top_k=1) == [row[:1] for row in words]
    assert "sea" in dict(words[0])
    assert encoder.decode(np.zeros(8000)) == []
    with pytest.raises(InputError, match=re.escape("embeddings must have 8000 features")):
        encoder.decode(np.zeros(7))
    with pytest.raises(InputError, match="top_k must be a whole number from 1"):
        encoder.decode(vectors, top_k=0)


def test_other_results(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    array = encoder.encode(TEXTS, convert_to_sparse_tensor=False)
    np.testing.assert_array_equal(array, vectors.toarray())
    rows = encoder.encode(TEXTS, convert_to_tensor=False)
    assert all(isinstance(row, SparseVectors) and row.ndim == 1 for row in rows)
    assert encoder.encode("a", convert_to_sparse_tensor=False).shape == (8000,)
    assert encoder.encode([]).shape == (0, 8000)
    assert encoder.encode([], convert_to_sparse_tensor=False).shape == (0, 8000)


def test_similarity_goes_by_the_name(encoder: SparseEncoder) -> None:
    other, vectors = copy.copy(encoder), encoder.encode(TEXTS)
    scores = encoder.similarity(vectors, vectors)
    np.testing.assert_allclose(scores, vectors.toarray() @ vectors.toarray().T, rtol=1e-5)
    np.testing.assert_allclose(
        encoder.similarity_pairwise(vectors, vectors), np.diag(scores), rtol=1e-5
    )
    other.similarity_fn_name = "cosine"
    np.testing.assert_allclose(np.diag(other.similarity(vectors, vectors)), 1.0, rtol=1e-5)
    other.similarity_fn_name = None
    assert other.similarity_fn_name == "dot"
    assert encoder.sparsity(vectors)["active_dims"] == vectors.nnz / 4
    shared = encoder.intersection(vectors[0], vectors[2])
    assert shared.data.sum() == pytest.approx(scores[0, 2], rel=1e-5)


def test_texts_that_are_cut_are_told(encoder: SparseEncoder) -> None:
    short = copy.copy(encoder)
    short.max_seq_length = 4
    with pytest.warns(UserWarning, match=r"1 of 2 texts .* the first is sentences\[1\], of 5"):
        short.encode(["a", "one two three"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sentences": None}, "sentences must be"),
        ({"sentences": ["a", None]}, "sentences[1]"),
        ({"sentences": [("a", "b")]}, "a SparseEncoder makes vectors of single texts"),
        ({"inputs": "a"}, "sentences and inputs are both given"),
        ({"max_active_dims": 0}, "max_active_dims must be a whole number from 1"),
        ({"max_active_dims": True}, "max_active_dims must be a whole number from 1"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"convert_to_tensor": "no"}, "convert_to_tensor must be True or False"),
        ({"prompt_name": "other"}, "prompt_name must be the name of a prompt"),
        ({"device": "cuda"}, "encode: device must be None or 'cpu'"),
    ],
)
def test_arguments_that_cannot_be_meant(
    encoder: SparseEncoder, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        encoder.encode(**{"sentences": "a", **options})


def test_attributes(encoder: SparseEncoder) -> None:
    with pytest.raises(InputError, match="max_active_dims must be a whole number from 1"):
        encoder.max_active_dims = 0
    with pytest.raises(AttributeError, match=r"SparseEncoder\.model cannot be set or deleted"):
        encoder.model = None  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="has no attribute 'max_active_dim'"):
        encoder.max_active_dim = 3
    with pytest.raises(AttributeError, match=r"It is encoder\.tokenizer"):
        encoder.processor  # noqa: B018
    assert encoder.to("cpu").eval() is encoder
    assert encoder.device == "cpu"


ROUTER = "sentence_transformers.base.modules.router.Router"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"modules.json": modules(ROUTER)}, "by a table of words' weights"),
        ({"modules.json": modules("SparseStaticEmbedding")}, "by a table of words' weights"),
        (
            {"modules.json": modules("MLMTransformer", "Pooling", "SparseAutoEncoder")},
            "use SentenceEncoder",
        ),
        ({"modules.json": modules("Transformer", "SparseAutoEncoder")}, "those of an autoencoder"),
        ({"modules.json": modules("SpladePooling")}, "must be an MLMTransformer, or a Transformer"),
        ({"modules.json": modules("somewhere.Else")}, "the module somewhere.Else is not supported"),
        ({"modules.json": modules("Transformer", "SpladePooling")}, "transformer_task must be"),
        ({"sentence_bert_config.json": {"transformer_task": "any-to-any"}}, "transformer_task"),
        ({"1_SpladePooling/config.json": {"pooling_strategy": "mean"}}, "one of max, sum"),
        ({"1_SpladePooling/config.json": {"activation_function": ["relu"]}}, "relu, log1p_relu"),
        ({"1_SpladePooling/config.json": {"k": 3}}, "k is not supported for a SpladePooling"),
        ({"1_SpladePooling/config.json": {"embedding_dimension": 0}}, "a number of words or null"),
        ({"1_SpladePooling/config.json": {"embedding_dimension": 99}}, "must be for 8000 words"),
        ({"config_sentence_transformers.json": {"max_active_dims": -1}}, "max_active_dims must be"),
        ({"config_sentence_transformers.json": {"model_type": "CrossEncoder"}}, "model_type must"),
    ],
)
def test_files_that_are_refused(
    plain: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    BertForMaskedLM.from_pretrained(plain).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        SparseEncoder(write(tmp_path, files() | change))
    assert str(tmp_path) in str(refused.value)


def test_models_of_other_kinds_are_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use SentenceEncoder"):
        SparseEncoder("demo")
    BertForMaskedLM.from_pretrained(plain).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(ConfigError, match="architectures must name a masked language model"):
        SparseEncoder(tmp_path)
    with pytest.raises(ConfigError, match="use SparseEncoder"):
        SentenceEncoder(write(tmp_path, files()))


def test_a_model_in_a_folder_of_its_own(plain: Path, tmp_path: Path) -> None:
    BertForMaskedLM.from_pretrained(plain).save_pretrained(tmp_path / "0_MLM")
    own = files()
    own["modules.json"][0]["path"] = "0_MLM"
    assert SparseEncoder(write(tmp_path, own)).encode("a").nnz


@pytest.mark.parametrize("name", ["bias", "transform.LayerNorm.weight"])
def test_a_weight_that_is_not_finite_is_named(
    encoder: SparseEncoder, tmp_path: Path, name: str
) -> None:
    arrays = dict(encoder.model.named_parameters())
    broken = arrays[f"cls.predictions.{name}"].copy()
    broken[3] = np.nan
    encoder.model.with_parameters({**arrays, f"cls.predictions.{name}": broken}).save_pretrained(
        tmp_path
    )
    with pytest.raises(CheckpointError, match=re.escape(f"cls.predictions.{name}")):
        SparseEncoder(tmp_path).encode("a test")
