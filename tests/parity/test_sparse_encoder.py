"""SparseEncoder against sentence-transformers': tiny random BERTs that it saved itself."""

from __future__ import annotations

import inspect
import shutil
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import SparseEncoder
from numpy_bert.arrays import Array
from numpy_bert.encoding.names import CONSTRUCTOR
from numpy_bert.loading.cache import demo_folder
from tests.support.checkpoints import SIZES
from tests.support.family_models import in_words_of
from tests.tolerances import WILD, fast_encoder_budget

st = pytest.importorskip("sentence_transformers")

TEXTS = [
    "",
    "a test",
    "Wie geht's? \u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \U0001f389",
    "This sentence is somewhat longer than the others are, and it has commas, too.",
    "a test",
    "many words " * 40,
    "the sea",
]
POOLINGS = [(s, a) for s in ("max", "sum") for a in ("relu", "log1p_relu")]
PROMPTS = {"query": "find this: ", "document": "read this: ", "other": "say: "}
# Of weights of up to 1, or of the largest; models in which roundings grow are held otherwise.
LIMIT = 1e-6


def write_model(folder: Path, name: str = "Bert", **settings: Any) -> Path:
    """Save a random masked language model with transformers, and the demo's tokenizer."""
    sizes = SIZES | {"vocab_size": 8000, "max_position_embeddings": 64, "initializer_range": 0.1}
    kind = getattr(transformers, f"{name}Config")
    config = kind(**in_words_of(kind.model_type, sizes | settings))
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForMaskedLM")(config)
    for key, bias in model.named_parameters():
        if bias.shape == (8000,):  # with which transformers begins as zeros
            torch.nn.init.normal_(bias, std=2.0)
            assert key.endswith("bias")
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(demo_folder() / file, folder / file)
    return folder


def save(folder: Path, strategy: str = "max", activation: str = "relu", **options: Any) -> Path:
    """Save a sparse encoder of such a model with sentence-transformers itself."""
    source = str(write_model(folder / "source", **options.pop("settings", {})))
    modules = [
        st.base.modules.Transformer(source, transformer_task="fill-mask", max_seq_length=24),
        st.sparse_encoder.modules.SpladePooling(strategy, activation),
    ]
    model = st.SparseEncoder(modules=modules, device="cpu", **options)
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


@lru_cache(maxsize=1)
def loaded(folder: Path) -> tuple[SparseEncoder, Any]:
    """Load a folder in both."""
    return SparseEncoder.from_pretrained(folder), st.SparseEncoder(str(folder), device="cpu")


def both(folder: Path, call: str, texts: Any, **options: Any) -> tuple[Any, Any]:
    """Return what a method of ours and of theirs makes of texts."""
    ours, theirs = loaded(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of texts that are cut
        found = getattr(ours, call)(texts, **options)
    return found, getattr(theirs, call)(texts, **options)


def dense(tensor: Any) -> Array:
    array: Array = tensor.to_dense().numpy()
    return array


def check(folder: Path, texts: Sequence[str] = TEXTS, call: str = "encode", **options: Any) -> None:
    found, reference = both(folder, call, texts, **options)
    wanted = dense(reference)
    assert found.shape == tuple(reference.shape)
    assert found.dtype == np.float32
    # Scores of 0 in one of them may be a rounding above 0 in the other.
    assert abs(found.nnz - np.count_nonzero(wanted)) <= 2
    limit = LIMIT * max(1.0, float(wanted.max()))
    np.testing.assert_allclose(found.toarray(), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize(("strategy", "activation"), POOLINGS)
def test_vectors(tmp_path: Path, strategy: str, activation: str) -> None:
    folder = save(tmp_path, strategy, activation, prompts=PROMPTS, default_prompt_name="other")
    check(folder)
    check(folder, call="encode_query")
    check(folder, call="encode_document")
    check(folder, prompt="another ")
    check(folder, prompt_name="query")
    found, reference = both(folder, "encode", TEXTS[3])  # a single text
    assert found.shape == tuple(reference.shape) == (8000,)
    limit = LIMIT * max(1.0, float(found.data.max()))
    np.testing.assert_allclose(found.toarray(), dense(reference), rtol=0, atol=limit)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "relu", "layer_norm_eps": 1e-3},
        {"hidden_act": "gelu_new"},
        {"tie_word_embeddings": False},
    ],
)
def test_heads(tmp_path: Path, settings: dict[str, Any]) -> None:
    check(save(tmp_path, settings=settings))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("DistilBert", {}),
        ("Electra", {"embedding_size": 16, "hidden_act": "relu"}),
        ("MPNet", {}),
        ("Roberta", {"hidden_act": "relu"}),
        ("XLMRoberta", {"pad_token_id": 3}),
    ],
)
def test_other_architectures(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    folder = write_model(tmp_path, name, **settings)
    assert type(loaded(folder)[0].model).__name__ == f"{name}ForMaskedLM"
    check(folder, TEXTS[:5])


def test_wild_weights_are_within_the_policy(tmp_path: Path) -> None:
    folder = write_model(tmp_path, initializer_range=0.5)
    found, reference = both(folder, "encode", TEXTS[:5])
    exact = SparseEncoder(folder, dtype="float64").encode(TEXTS[:5])
    assert exact.dtype == np.float64
    limit = WILD * fast_encoder_budget(exact.toarray(), dense(reference))
    np.testing.assert_allclose(found.toarray(), exact.toarray(), rtol=0, atol=limit)


def test_the_heaviest_words(tmp_path: Path) -> None:
    folder = save(tmp_path, max_active_dims=40)
    assert loaded(folder)[0].max_active_dims == 40
    for options in ({}, {"max_active_dims": 7}):
        found, reference = both(folder, "encode", TEXTS, **options)
        wanted = dense(reference)
        assert found.nnz == np.count_nonzero(wanted)
        np.testing.assert_allclose(
            np.sort(found.toarray()), np.sort(wanted), rtol=0, atol=3 * LIMIT
        )
        # The same words, unless the last two weigh the same.
        other = (found.toarray() != 0) ^ (wanted != 0)
        least = np.array([row.data.min() for row in found])[:, np.newaxis]
        assert (wanted[other] <= np.broadcast_to(least, wanted.shape)[other] + LIMIT).all()


@pytest.mark.filterwarnings("ignore:Sparse (CSR tensor support|invariant checks):UserWarning")
def test_words_similarity_and_statistics(tmp_path: Path) -> None:
    ours, theirs = loaded(save(tmp_path, max_active_dims=60))
    texts = [*TEXTS[1:4], *TEXTS[6:]]
    found, reference = ours.encode(texts), theirs.encode(texts)
    for top_k in (None, 5):
        words, wanted = ours.decode(found, top_k), theirs.decode(reference, top_k)
        assert [[word for word, _ in row] for row in words] == [
            [word for word, _ in row] for row in wanted
        ]
        for row, other in zip(words, wanted, strict=True):
            np.testing.assert_allclose([w for _, w in row], [w for _, w in other], atol=3 * LIMIT)
    assert ours.decode(found[0], 3)[0][0] == theirs.decode(reference[0], 3)[0][0]
    assert ours.sparsity(found) == pytest.approx(theirs.sparsity(reference))
    shared = ours.intersection(found[0], found), theirs.intersection(reference[0], reference)
    np.testing.assert_allclose(shared[0].toarray(), dense(shared[1]), rtol=1e-5)
    assert ours.similarity_fn_name == theirs.similarity_fn_name == "dot"
    for name in ("dot", "cosine", "euclidean", "manhattan"):
        ours.similarity_fn_name = theirs.similarity_fn_name = name
        scores, wanted = ours.similarity(found, found), theirs.similarity(reference, reference)
        largest = float(wanted.abs().max())
        # Of two equal vectors the euclidean distance is the root of a rounding, there.
        limit = 2e-2 if name == "euclidean" else 2 * LIMIT * largest
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=limit)
        pairs = ours.similarity_pairwise(found[:2], found[1:3])
        tensors = reference.to_dense()
        wanted = theirs.similarity_pairwise(tensors[:2], tensors[1:3])
        np.testing.assert_allclose(pairs, wanted, rtol=0, atol=2 * LIMIT * largest)


def test_other_results(tmp_path: Path) -> None:
    folder = save(tmp_path)
    found, reference = both(folder, "encode", TEXTS, convert_to_sparse_tensor=False)
    np.testing.assert_allclose(found, reference.numpy(), rtol=0, atol=5 * LIMIT)
    found, reference = both(folder, "encode", TEXTS, convert_to_tensor=False)
    assert isinstance(found, list)
    for row, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(row.toarray(), dense(other), rtol=0, atol=5 * LIMIT)


def test_a_plain_masked_language_model(tmp_path: Path) -> None:
    check(write_model(tmp_path), TEXTS[:5])


def test_what_is_saved_here_is_loaded_there(tmp_path: Path) -> None:
    ours = SparseEncoder(write_model(tmp_path / "source"), prompts=PROMPTS, max_active_dims=50)
    ours.max_seq_length = 20
    ours.save_pretrained(tmp_path / "saved")
    check(tmp_path / "saved", call="encode_query")
    theirs = loaded(tmp_path / "saved")[1]
    assert theirs.max_seq_length == 20
    assert theirs.max_active_dims == 50
    assert theirs.prompts == PROMPTS


def test_names_and_arguments() -> None:
    def names(function: Any) -> list[str]:
        found = inspect.signature(inspect.unwrap(function)).parameters
        return [name for name in found if name not in ("self", "kwargs")]

    wanted = ["sentences" if n == "inputs" else n for n in names(st.SparseEncoder.encode)]
    assert names(SparseEncoder.encode)[: len(wanted)] == wanted
    own = set(inspect.signature(SparseEncoder).parameters)
    assert set(names(st.SparseEncoder.__init__)) <= own | set(CONSTRUCTOR)
    # Every method of theirs is here, or says what is.
    ours = dir(SparseEncoder)
    missing = {
        name
        for name in vars(st.SparseEncoder)
        if not name.startswith("_") and name not in ours and name not in SparseEncoder._elsewhere
    }
    assert missing <= {
        "SUPPORTED_SIMILARITY_FN_NAMES",
        "default_huggingface_organization",
        "model_card_data_class",
        "model_type",
        "set_pooling_include_prompt",
    }
