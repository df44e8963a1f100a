"""SentenceEncoder against sentence-transformers: the real MiniLM, and tiny models of every kind."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from numpy_bert import SentenceEncoder, similarity
from numpy_bert.encoding.pooling import MODES
from numpy_bert.loading.cache import demo_folder
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS, activation_named
from tests.tolerances import ACROSS_BATCHES

st = pytest.importorskip("sentence_transformers")
pytest.importorskip("sentence_transformers.models")  # which is no attribute before it is imported

TEXTS = [
    "",
    " ",
    "a test",
    "A test",
    "Wie geht's? \u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \U0001f389 e\u0301t\u00e9",
    "This sentence is somewhat longer than the others are, and it has commas, too.",
    "x" * 150,
    "a test",
    "many words " * 200,
]
# Pairs of STS-B that are encoded by both.
PAIRS = [150, pytest.param(1500, marks=pytest.mark.slow)]
_NAMES = {"mean_sqrt_len": "mean_sqrt_len_tokens"}


@lru_cache(maxsize=1)
def loaded(folder: Path) -> tuple[SentenceEncoder, Any]:
    """Load a folder in both; a test writes its folder to the end before it encodes with it."""
    model = st.SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    return SentenceEncoder.from_pretrained(folder), model


def theirs(folder: Path, texts: Sequence[str], **options: Any) -> Any:
    return loaded(folder)[1].encode(list(texts), **options)


def ours(folder: Path, texts: Sequence[str], **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of texts that are cut
        return loaded(folder)[0].encode(texts, **options)


def save(folder: Path, *modules: Any, **options: Any) -> Path:
    """Save a model of a demo BERT and other modules with sentence-transformers itself."""
    bert = st.models.Transformer(str(demo_folder()), model_kwargs={"dtype": "float32"})
    bert.max_seq_length = 24
    model = st.SentenceTransformer(modules=[bert, *modules], device="cpu", **options)
    model.save(str(folder), create_model_card=False)
    return folder


def pooling(mode: Any, **options: Any) -> Any:
    return st.models.Pooling(128, pooling_mode=mode, **options)


def check(folder: Path, texts: Sequence[str] = TEXTS, **options: Any) -> None:
    reference, found = theirs(folder, texts, **options), ours(folder, texts, **options)
    assert found.shape == reference.shape
    assert found.dtype == np.float32
    assert np.abs(found - reference).max() < 1e-5


def test_minilm(minilm: Path) -> None:
    reference, found = theirs(minilm, TEXTS), ours(minilm, TEXTS)
    assert found.shape == reference.shape
    cosines = (found * reference).sum(1) / np.linalg.norm(found, axis=1)
    cosines /= np.linalg.norm(reference, axis=1)
    assert cosines.min() > 0.999999
    assert np.abs(found - reference).max() < 2e-6
    text = TEXTS[4]
    assert np.abs(ours(minilm, [text])[0] - theirs(minilm, [text])[0]).max() < 2e-6


def ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Rank values from 1; equal ones get their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def spearman(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


@pytest.mark.parametrize("pairs", PAIRS)
def test_sts_benchmark(minilm: Path, data: Path, pairs: int) -> None:
    with (data / "sts" / "stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[:: 1500 // pairs]
    gold = np.array([float(row[2]) for row in rows])
    texts = [row[0] for row in rows] + [row[1] for row in rows]
    scores = []
    for vectors in (ours(minilm, texts), theirs(minilm, texts)):
        both = zip(vectors[: len(rows)], vectors[len(rows) :], strict=True)
        scores.append(np.array([similarity(a, b)[0, 0] for a, b in both]))
    assert np.abs(scores[0] - scores[1]).max() < 2e-6
    assert round(spearman(scores[0], gold), 4) == round(spearman(scores[1], gold), 4)
    assert spearman(scores[0], gold) > 0.8


@pytest.mark.parametrize(
    ("mode", "includes"),
    [
        *((mode, True) for mode in [*MODES, ["lasttoken", "cls", "mean"], list(MODES)]),
        *((mode, False) for mode in ["mean", "cls", "lasttoken", list(MODES)]),
    ],
)
def test_pooling(tmp_path: Path, mode: Any, includes: bool) -> None:
    names = [_NAMES.get(m, m) for m in ([mode] if isinstance(mode, str) else mode)]
    folder = save(
        tmp_path,
        pooling(names[0] if isinstance(mode, str) else names, include_prompt=includes),
        prompts={"query": "find this: ", "none": ""},
    )
    check(folder)
    check(folder, prompt_name="query")
    check(folder, prompt="another prompt ")
    check(folder, prompt_name="none")


@pytest.mark.parametrize("modes", [("mean",), ("lasttoken", "max"), ("cls", "mean_sqrt_len"), ()])
def test_the_old_spelling(tmp_path: Path, modes: tuple[str, ...]) -> None:
    folder = save(tmp_path, pooling("mean"))
    old = {
        "cls_token": "cls",
        "mean_tokens": "mean",
        "max_tokens": "max",
        "mean_sqrt_len_tokens": "mean_sqrt_len",
        "weightedmean_tokens": "weightedmean",
        "lasttoken": "lasttoken",
    }
    config = {f"pooling_mode_{key}": mode in modes for key, mode in old.items()}
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 128, **config})
    )
    types = ("Transformer", "Pooling")
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": i,
                    "name": str(i),
                    "path": "1_Pooling" if i else "",
                    "type": f"sentence_transformers.models.{kind}",
                }
                for i, kind in enumerate(types)
            ]
        )
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    check(folder)


GRID = np.linspace(-30, 30, 1200).reshape(3, -1)


def test_every_activation_of_torch_that_can_be_is_known() -> None:
    """Refused are those with weights or arguments, and GLU, which makes half as many features."""
    others = {"GLU", "MultiheadAttention", "PReLU", "Softmax2d", "Threshold"}
    assert {*torch.nn.modules.activation.__all__, "Identity"} - others == set(TORCH_ACTIVATIONS)


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_an_activation_is_torchs(name: str, dtype: str) -> None:
    module = getattr(torch.nn, name)().eval()
    if name in ("Softmax", "LogSoftmax", "Softmin"):
        module.dim = 1  # what torch guesses, with a warning
    found = activation_named(f"{type(module).__module__}.{name}")
    assert found is not None
    assert found is activation_named(f"torch.nn.{name}")
    values = found(GRID.astype(dtype))
    assert values.dtype == dtype
    expected = module(torch.from_numpy(GRID)).numpy()
    assert np.abs(values - expected).max() <= (1e-10 if dtype == "float64" else 1e-5)
    with np.errstate(all="ignore"):  # as the encoder has it
        far = found(np.array([[-1e30, -1e4, 1e4, 1e30]], dtype))
    assert not np.isnan(far).any()


@pytest.mark.parametrize("activation", ["Identity", "Tanh", "GELU", "LeakyReLU", "Mish", "ELU"])
def test_dense(tmp_path: Path, activation: str) -> None:
    layer = st.models.Dense(128, 17, activation_function=getattr(torch.nn, activation)())
    check(save(tmp_path, pooling("mean"), layer))


@pytest.mark.parametrize(("width", "bias"), [(128, False), (31, True)])
def test_a_residual_dense(tmp_path: Path, width: int, bias: bool) -> None:
    layer = st.models.Dense(128, width, bias=bias, use_residual=True)
    check(save(tmp_path, pooling("mean"), layer, st.models.Normalize()))


def test_layer_norm(tmp_path: Path) -> None:
    layer = st.models.LayerNorm(256)
    with torch.no_grad():
        layer.norm.weight.copy_(torch.linspace(-2, 2, 256))
        layer.norm.bias.copy_(torch.linspace(1, 0, 256))
    check(save(tmp_path, pooling(["cls", "mean"]), layer, st.models.Dense(256, 5)))


@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("start", [0, 2])
def test_weighted_layer_pooling(tmp_path: Path, start: int, has_states: bool) -> None:
    """Without all layers' states, which the BERT's config asks for, it does nothing there."""
    layers = st.models.WeightedLayerPooling(128, num_hidden_layers=2, layer_start=start)
    with torch.no_grad():
        layers.layer_weights.copy_(torch.linspace(0.5, 2, 3 - start))
    folder = save(tmp_path, layers, pooling(["mean", "cls"]), prompts={"query": "find this: "})
    config = folder / "config.json"
    stated = json.loads(config.read_text()) | {"output_hidden_states": has_states}
    config.write_text(json.dumps(stated))
    check(folder)
    check(folder, prompt_name="query")
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    assert np.abs(encoder.encode(TEXTS[2]) - theirs(folder, TEXTS[2:3])[0]).max() < 1e-5
    (note,) = encoder.notes or ("",)
    assert ("WeightedLayerPooling does nothing" in note) is not has_states


@pytest.mark.parametrize("name", ["cos_sim", "dot_score", "maxsim", None])
def test_a_similarity_that_sentence_transformers_passes_over(tmp_path: Path, name: Any) -> None:
    folder = save(tmp_path, pooling("mean"))
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "similarity_fn_name": name}))
    encoder, model = loaded(folder)
    assert encoder.similarity_fn_name == model.similarity_fn_name == "cosine"
    assert len(encoder.notes) == (name is not None)


@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize("truncate", [None, 11])
def test_dense_normalize_and_truncate(
    tmp_path: Path, normalizes: bool, truncate: int | None
) -> None:
    modules = (
        pooling(["cls", "mean"]),
        st.models.Normalize(),
        st.models.Dense(256, 40),
        st.models.Dropout(0.5),
        st.models.Normalize(),
    )
    folder = save(
        tmp_path,
        *modules,
        prompts={"query": "q: "},
        default_prompt_name="query",
        similarity_fn_name="dot",
        truncate_dim=truncate,
    )
    options: dict[str, Any] = {"normalize_embeddings": True} if normalizes else {}
    check(folder, **options)
    check(folder, truncate_dim=7, **options)
    check(folder, prompt="", **options)
    encoder, model = loaded(folder)
    assert encoder.max_seq_length == model.max_seq_length == 24
    assert encoder.prompts["query"] == model.prompts["query"]
    assert encoder.default_prompt_name == "query"
    assert encoder.similarity_fn_name == model.similarity_fn_name == "dot"
    assert encoder.get_embedding_dimension() == model.get_embedding_dimension()


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity(name: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 9)).astype(np.float32) for n in (3, 30))
    reference = st.SimilarityFunction.to_similarity_fn(name)(a, b).numpy()
    assert np.abs(similarity(a, b, name) - reference).max() < 1e-5


@pytest.mark.parametrize("lowers", [False, True])
def test_do_lower_case(tmp_path: Path, lowers: bool) -> None:
    folder = save(tmp_path, pooling("mean"))
    path = folder / "tokenizer.json"
    stated = json.loads(path.read_text("utf-8"))
    stated["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(stated), "utf-8")
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "do_lower_case": False}))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 24, "do_lower_case": lowers})
    )
    texts = ["A Test", "a test", "\u03a3\u03a3\u0391\u03a3 \u0130stanbul", "[MASK] [mask]"]
    check(folder, texts)
    vectors = ours(folder, texts)
    # Rows of one product may be added up in another order, so their last bits may differ.
    assert bool(np.abs(vectors[0] - vectors[1]).max() < ACROSS_BATCHES) is lowers


def test_a_plain_checkpoint() -> None:
    check(demo_folder())
