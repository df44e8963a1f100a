"""SentenceEncoder and CrossEncoder on BERT's family, in the layouts of published models.

Each is saved by sentence-transformers itself, with tiny random weights, and held against it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

from numpy_bert import ConfigError, CrossEncoder, SentenceEncoder
from numpy_bert.loading.modules import MODULES
from tests.support.family_models import MOST_TOKENS, sizes_of, write_tokenizer
from tests.tolerances import CROSS_ENCODER, ENCODER_FLOAT64_AGAINST_TORCH, fast_encoder_budget

st = pytest.importorskip("sentence_transformers")
pytest.importorskip("sentence_transformers.models")  # which is no attribute before it is imported

TEXTS = [
    "",
    "Alice was beginning to get very tired",
    "query: a test",
    "Il \u00e9tait une fois \u4f60\u597d \U0001f389 e\u0301t\u00e9 <mask> [MASK] <pad>",
    "a",
    "Es war einmal ein Mann. " * 20,
    "a",
]
PAIRS = [("who?", text) for text in TEXTS] + [("", ""), ("many words " * 30, "so many " * 30)]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a published model is made of."""

    model_type: str
    tokenizer: str = ""  # that of its model_type
    pooling: str = "mean"
    dense: int = 0
    normalizes: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    max_seq_length: int | None = None
    switches: dict[str, Any] = field(default_factory=dict)  # of tokenizer_config.json
    settings: dict[str, Any] = field(default_factory=dict)  # of config.json


LAYOUTS = {
    "LaBSE": Layout(
        model_type="bert",
        pooling="cls",
        dense=24,
        normalizes=True,
        switches={"do_lower_case": False},
    ),
    "all-MiniLM-L6-v2": Layout(model_type="bert", normalizes=True, max_seq_length=17),
    "paraphrase-multilingual-MiniLM-L12-v2": Layout(
        model_type="bert", tokenizer="xlm-roberta", max_seq_length=19
    ),
    "paraphrase-multilingual-mpnet-base-v2": Layout(model_type="xlm-roberta", max_seq_length=13),
    "multilingual-e5-base": Layout(
        model_type="xlm-roberta",
        normalizes=True,
        prompts={"query": "query: ", "passage": "passage: "},
        max_seq_length=MOST_TOKENS,
    ),
    "bge-m3": Layout(model_type="xlm-roberta", pooling="cls", normalizes=True),
    "all-distilroberta-v1": Layout(model_type="roberta", normalizes=True),
    "sentence-camembert-base": Layout(model_type="camembert"),
    "distiluse-base-multilingual-cased-v2": Layout(
        model_type="distilbert",
        dense=17,
        max_seq_length=21,
        switches={"do_lower_case": False},
        settings={"activation": "gelu", "sinusoidal_pos_embds": False},
    ),
    "msmarco-distilbert-base-tas-b": Layout(model_type="distilbert", pooling="cls"),
    "all-mpnet-base-v2": Layout(model_type="mpnet", normalizes=True),
    "an ELECTRA": Layout(model_type="electra", pooling="max", dense=5),
    "an ERNIE": Layout(model_type="ernie", pooling="lasttoken"),
}


def shaken(model: Any, seed: int) -> Any:
    """Give a model of torch's random weights, biases and scales too."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "layernorm" in name.lower().replace("_", "") and name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if norm else 0.0))
    return model.eval()


def write_body(
    folder: Path, layout: Layout, kind: Any = transformers.AutoModel, **more: Any
) -> Path:
    """Save a random model by transformers, and its tokenizer's files as they are published."""
    tokenizer = layout.tokenizer or layout.model_type
    sizes = {**sizes_of(layout.model_type, tokenizer), **layout.settings, **more}
    config = transformers.AutoConfig.for_model(layout.model_type, **sizes)
    make = getattr(kind, "from_config", kind)
    shaken(make(config), len(folder.name)).save_pretrained(folder)
    return write_tokenizer(folder, tokenizer, **layout.switches)


def write_layout(folder: Path, layout: Layout) -> Path:
    """Save a model by sentence-transformers."""
    options: dict[str, Any] = {"model_kwargs": {"dtype": "float32"}}
    body = write_body(folder / "body", layout)
    first = st.models.Transformer(str(body), max_seq_length=layout.max_seq_length, **options)
    modules = [first, st.models.Pooling(24, pooling_mode=layout.pooling)]
    torch.manual_seed(5)
    if layout.dense:
        modules.append(st.models.Dense(24, layout.dense, activation_function=torch.nn.Tanh()))
    if layout.normalizes:
        modules.append(st.models.Normalize())
    model = st.SentenceTransformer(modules=modules, device="cpu", prompts=layout.prompts or None)
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def as_published(folder: Path, layout: Layout) -> Path:
    """Write the files as they were written before version 6, the tokenizer's as published."""
    modules = json.loads((folder / MODULES).read_text("utf-8"))
    for entry in modules:
        kind = entry["type"].rpartition(".")[2]
        entry["type"] = f"sentence_transformers.models.{kind}"
        if kind == "Pooling":
            modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
            own = {f"pooling_mode_{m}": m.startswith(layout.pooling) for m in modes[:3] + modes[4:]}
            stated = {"word_embedding_dimension": 24, **own}
            (folder / entry["path"] / "config.json").write_text(json.dumps(stated), "utf-8")
    (folder / MODULES).write_text(json.dumps(modules), "utf-8")
    limit = layout.max_seq_length or MOST_TOKENS
    stated = {"max_seq_length": limit, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(stated), "utf-8")
    return write_tokenizer(folder, layout.tokenizer or layout.model_type, **layout.switches)


def peer_of(folder: Path, dtype: str = "float32") -> Any:
    options = {"attn_implementation": "eager", "dtype": "float32"}
    model = st.SentenceTransformer(
        str(folder), device="cpu", model_kwargs=options, local_files_only=True
    )
    return (model.double() if dtype == "float64" else model).eval()


def quiet(call: Callable[..., Any], *arguments: Any, **options: Any) -> npt.NDArray[Any]:
    """Call what warns of texts that are cut."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* more tokens|.* was cut", UserWarning)
        return np.asarray(call(*arguments, **options))


def check(folder: Path, texts: Any = TEXTS, **options: Any) -> SentenceEncoder:
    """Hold vectors against sentence-transformers', in both dtypes."""
    ours, exact = SentenceEncoder.from_pretrained(folder), peer_of(folder, "float64")
    reference = np.asarray(exact.encode(texts, **options))
    theirs = np.asarray(peer_of(folder).encode(texts, **options))
    found = quiet(ours.encode, texts, **options)
    assert found.dtype == np.float32
    assert found.shape == reference.shape
    assert np.abs(found - reference).max() <= fast_encoder_budget(reference, theirs)
    wide = SentenceEncoder.from_pretrained(folder, dtype="float64")
    apart = np.abs(quiet(wide.encode, texts, **options) - reference).max()
    assert apart < ENCODER_FLOAT64_AGAINST_TORCH
    return ours


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def saved(layout: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout"), LAYOUTS[layout])


def test_a_layout_that_version_6_saved(saved: Path, layout: str) -> None:
    ours = check(saved)
    peer = peer_of(saved)
    assert ours.max_seq_length == peer.max_seq_length
    assert ours.get_embedding_dimension() == peer.get_embedding_dimension()
    for name in LAYOUTS[layout].prompts:
        check(saved, prompt_name=name)
    one = quiet(ours.encode, TEXTS[3])
    assert np.abs(one - peer.encode(TEXTS[3])).max() < 1e-6
    assert np.ptp(one) > 0.01


def test_a_layout_as_published(saved: Path, layout: str, tmp_path: Path) -> None:
    for path in saved.rglob("*"):
        target = tmp_path / path.relative_to(saved)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    check(as_published(tmp_path, LAYOUTS[layout]))


def test_what_is_saved_is_one_there(saved: Path, layout: str, tmp_path: Path) -> None:
    ours = SentenceEncoder(saved, truncate_dim=4)
    ours.save_pretrained(tmp_path / "ours")
    again = SentenceEncoder.from_pretrained(tmp_path / "ours")
    vectors = quiet(ours.encode, TEXTS)
    assert np.array_equal(quiet(again.encode, TEXTS), vectors)
    peer = peer_of(tmp_path / "ours")
    assert peer[0].auto_model.config.model_type == LAYOUTS[layout].model_type
    assert np.abs(peer.encode(TEXTS) - vectors).max() < 1e-6


def test_all_that_is_known_of_a_text(saved: Path) -> None:
    """The members are theirs: token types only where the tokenizer gives some."""
    ours, peer = SentenceEncoder.from_pretrained(saved), peer_of(saved)
    found, expected = (model.encode("a test", output_value=None) for model in (ours, peer))
    assert set(found) == {name for name in expected if name in {*found, "token_type_ids"}}
    assert found["input_ids"].tolist() == expected["input_ids"].tolist()
    states = expected["token_embeddings"].numpy()
    assert np.abs(found["token_embeddings"] - states).max() < 1e-5


CROSS = {
    "bge-reranker-base": Layout(model_type="xlm-roberta"),
    "stsb-roberta-base": Layout(model_type="roberta"),
    "ms-marco-distilbert": Layout(model_type="distilbert"),
    "a DistilBERT with BERT's tokenizer": Layout(
        model_type="distilbert", switches={"tokenizer_class": "BertTokenizer"}
    ),
    "ms-marco-electra-base": Layout(model_type="electra"),
    "a BERT with XLM-R's tokenizer": Layout(model_type="bert", tokenizer="xlm-roberta"),
    "an MPNet": Layout(model_type="mpnet"),
    "a CamemBERT": Layout(model_type="camembert"),
    "an ERNIE": Layout(model_type="ernie"),
}


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("name", CROSS)
def test_a_cross_encoder(name: str, labels: int, tmp_path: Path) -> None:
    kind = transformers.AutoModelForSequenceClassification
    folder = write_body(tmp_path / "model", CROSS[name], kind, num_labels=labels)
    ours = CrossEncoder(folder)
    check_scores(ours, folder)
    ours.save_pretrained(tmp_path / "ours")
    check_scores(ours, tmp_path / "ours")
    assert np.array_equal(
        quiet(CrossEncoder(tmp_path / "ours").predict, PAIRS), quiet(ours.predict, PAIRS)
    )


def check_scores(ours: CrossEncoder, folder: Path) -> None:
    """Hold scores against those of sentence-transformers' CrossEncoder of a folder."""
    peer = st.CrossEncoder(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"}
    )
    assert ours.max_seq_length == min(peer.max_seq_length, MOST_TOKENS)
    for activation in (None, torch.nn.Identity()):
        found = quiet(ours.predict, PAIRS, activation_fn=activation)
        reference = peer.predict(PAIRS, activation_fn=activation)
        assert found.shape == reference.shape
        most = CROSS_ENCODER * max(1.0, float(np.abs(reference).max()))
        assert np.abs(found - reference).max() < most
        assert np.ptp(found) > 0.01


@pytest.mark.parametrize("kind", ["DPRQuestionEncoder", "DPRContextEncoder"])
def test_a_dpr_is_its_first_token(kind: str, tmp_path: Path) -> None:
    """sentence-transformers reads none; the vectors are transformers' pooler_output."""
    folder = write_body(tmp_path / "dpr", Layout(model_type="dpr"), getattr(transformers, kind))
    ours = SentenceEncoder(folder)
    assert (ours.pooling, ours.similarity_fn_name) == (("cls",), "dot")
    assert ours.notes[0].endswith("vectors are those of the first token, as DPR's.")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        reference = model(**inputs).pooler_output.numpy()
    assert np.abs(quiet(ours.encode, TEXTS) - reference).max() < 1e-5
    ours.save_pretrained(tmp_path / "ours")
    again = SentenceEncoder(tmp_path / "ours")
    assert type(again.model).__name__ == kind
    assert np.array_equal(quiet(again.encode, TEXTS), quiet(ours.encode, TEXTS))


def test_a_projection_is_no_pooling(tmp_path: Path) -> None:
    layout = Layout(model_type="dpr", settings={"projection_dim": 7})
    folder = write_body(tmp_path / "dpr", layout, transformers.DPRQuestionEncoder)
    with pytest.raises(ConfigError, match="projection_dim must be 0"):
        SentenceEncoder(folder)
