"""CrossEncoder against sentence-transformers: scores, arguments, shapes, files of each version."""

from __future__ import annotations

import csv
import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sentence_transformers as st
import torch
import transformers

from numpy_bert import BertForSequenceClassification, CrossEncoder
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS
from tests.support.demo import write_plain
from tests.support.sentence_models import write
from tests.tolerances import CROSS_ENCODER

IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"
QUERY = "How many people live in Berlin?"
DOCUMENTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in 2016.",
    "Berlin is well known for its museums.",
    "",
    "Wie geht's? Привет 你好 \U0001f389 été",
    "many words " * 40,
    "Berlin is well known for its museums.",
]
PAIRS = [*((QUERY, text) for text in DOCUMENTS), ("", ""), ("many words " * 30, "so many " * 30)]
TINY: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 50,
    "vocab_size": 8000,
    "initializer_range": 0.2,
}


def theirs(folder: Path, **options: Any) -> Any:
    options = {"model_kwargs": {"dtype": "float32"}, **options}
    return st.CrossEncoder(str(folder), device="cpu", local_files_only=True, **options)


def write_model(
    folder: Path, source: Path, labels: int, *, half: bool = False, **members: Any
) -> Path:
    """Save a BERT with a random head by transformers: the weights of `source`, or a tiny one's."""
    torch.manual_seed(labels)
    kind = transformers.BertForSequenceClassification
    if source.name == "demo":
        model = kind(transformers.BertConfig(**TINY, num_labels=labels))
    else:
        model = kind.from_pretrained(source, num_labels=labels)
    torch.nn.init.normal_(model.classifier.weight, std=0.2)
    torch.nn.init.normal_(model.classifier.bias)
    (model.half() if half else model).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8")) | members
    tokenizer = json.loads((source / "tokenizer_config.json").read_text("utf-8"))
    files = {
        "config.json": config,
        "tokenizer.json": (source / "tokenizer.json").read_bytes(),
        "tokenizer_config.json": tokenizer | {"model_max_length": 48},
    }
    return write(folder, files)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what writes a tiny random model."""
    source = write_plain(tmp_path_factory.mktemp("tiny") / "demo")
    return lambda labels, **options: write_model(
        tmp_path_factory.mktemp("model"), source, labels, **options
    )


@pytest.fixture(scope="module", params=["minilm", "tiny"])
def make_any(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return what writes a model of MiniLM's weights, or a tiny random one."""
    if request.param == "tiny":
        return request.getfixturevalue("make")  # type: ignore[no-any-return]
    source: Path = request.getfixturevalue("minilm")
    return lambda labels, **options: write_model(
        tmp_path_factory.mktemp("model"), source, labels, **options
    )


def quiet(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call what warns of pairs that are cut."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* pairs have more tokens", UserWarning)
        return call(*arguments, **options)


def check(ours: CrossEncoder, other: Any, pairs: Any = PAIRS, **options: Any) -> npt.NDArray[Any]:
    """Hold scores, and what they are, against sentence-transformers'."""
    found = quiet(ours.predict, pairs, **options)
    reference = other.predict(pairs, **options)
    assert type(found) is type(reference)
    assert found.shape == reference.shape
    assert found.dtype == reference.dtype
    most = CROSS_ENCODER * max(1.0, float(np.abs(reference).max()))
    assert np.abs(found - reference).max() < most
    return np.asarray(found)


@pytest.mark.parametrize("labels", [1, 3])
def test_scores(make_any: Callable[..., Path], labels: int) -> None:
    check_scores(make_any(labels))


def test_scores_of_two_labels(make: Callable[..., Path]) -> None:
    check_scores(make(2))


def check_scores(folder: Path) -> None:
    ours, other = CrossEncoder(folder), theirs(folder)
    scores = check(ours, other)
    assert np.ptp(scores) > 0.01
    check(ours, other, apply_softmax=True)
    check(ours, other, PAIRS[:1])
    check(ours, other, PAIRS[0])
    check(ours, other, list(PAIRS[0]))
    check(ours, other, [list(pair) for pair in PAIRS])
    check(ours, other, np.array(PAIRS))
    check(ours, other, np.array(PAIRS[0]))
    check(ours, other, batch_size=2, show_progress_bar=False)
    assert ours.predict([]).shape == other.predict([]).shape == (0,)
    assert (ours.num_labels, ours.max_seq_length) == (other.num_labels, other.max_seq_length)
    for function in (torch.nn.Sigmoid(), torch.nn.Identity(), torch.nn.Tanh()):
        named = check(ours, other, activation_fn=function)
        assert np.array_equal(named, quiet(ours.predict, PAIRS, activation_fn=repr(function)[:-2]))


def test_the_pairs_of_sts(make_any: Callable[..., Path], data: Path) -> None:
    with (data / "sts" / "stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(row[0], row[1]) for row in list(csv.reader(file))[::10]]
    folder = make_any(1)
    check(CrossEncoder(folder), theirs(folder), pairs, activation_fn=torch.nn.Identity())


def test_rank(make: Callable[..., Path]) -> None:
    folder = make(1)
    ours, other = CrossEncoder(folder), theirs(folder)
    cases: list[dict[str, Any]] = [
        {},
        {"top_k": 2},
        {"return_documents": True},
        {"top_k": 99, "return_documents": True, "activation_fn": torch.nn.Identity()},
        {"batch_size": 1},
    ]
    for options in cases:
        found = quiet(ours.rank, QUERY, DOCUMENTS, **options)
        reference = other.rank(QUERY, DOCUMENTS, **options)
        assert len(found) == len(reference)
        for best, expected in zip(found, reference, strict=True):
            assert list(best) == list(expected)
            assert type(best["score"]) is type(expected["score"])
            assert abs(best.pop("score") - expected.pop("score")) < CROSS_ENCODER
            assert DOCUMENTS[best.pop("corpus_id")] == DOCUMENTS[expected.pop("corpus_id")]
            assert best == expected
    assert ours.rank(QUERY, []) == other.rank(QUERY, []) == []


@pytest.mark.parametrize(
    "members",
    [
        {"sbert_ce_default_activation_function": IDENTITY},
        {"sbert_ce_default_activation_function": SIGMOID},
        {"sbert_ce_default_activation_function": None},
        {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}},
        {"sentence_transformers": {"activation_fn": SIGMOID, "version": "5.1.0"}},
        {"sentence_transformers": {"version": "4.1.0"}},
        {
            "sentence_transformers": {"activation_fn": SIGMOID},
            "sbert_ce_default_activation_function": IDENTITY,
        },
        {"problem_type": "regression"},
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [1, 3])
def test_files_before_version_6(
    make: Callable[..., Path], members: dict[str, Any], labels: int
) -> None:
    folder = make(labels, **members)
    ours, other = CrossEncoder(folder), theirs(folder)
    assert ours.activation_fn == type(other.activation_fn).__name__
    found = check(ours, other)
    if any(key != "problem_type" and value for key, value in members.items()):
        model = BertForSequenceClassification.from_pretrained(folder)
        best = quiet(model.classify, *PAIRS[0])
        if "Identity" in str(members) or "Sigmoid" in str(members):
            expected = sorted(found[0].ravel().tolist(), reverse=True)
            assert np.allclose([label.score for label in best], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"max_length": 16}, {"activation_fn": torch.nn.Tanh()}])
def test_files_of_version_6(
    make: Callable[..., Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    prompts = {"query": "find: ", "none": ""}
    for labels in (1, 3):
        folder = tmp_path / str(labels)
        theirs(make(labels), prompts=prompts, **options).save_pretrained(str(folder))
        ours, other = CrossEncoder(folder), theirs(folder)
        assert ours.max_seq_length == other.max_seq_length
        assert dict(ours.prompts) == other.prompts
        plain = check(ours, other)
        prompted = check(ours, other, prompt_name="query")
        assert np.abs(plain - prompted).max() > 1e-5
        check(ours, other, prompt="read: ")
        check(CrossEncoder(folder, default_prompt_name="query"), other, prompt_name="query")
        check(
            CrossEncoder(folder, **options, max_length=9) if not options else ours,
            theirs(folder, **options, max_length=9) if not options else other,
        )


def test_other_files_beside_modules_json(make: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    theirs(make(1), prompts={"query": "find: "}).save_pretrained(str(folder))
    settings = json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))
    changed = settings | {"activation_fn": IDENTITY, "default_prompt_name": "query"}
    limits = {
        "max_seq_length": 9,
        "do_lower_case": True,
        "transformer_task": "sequence-classification",
    }
    write(
        folder, {"config_sentence_transformers.json": changed, "sentence_bert_config.json": limits}
    )
    ours, other = CrossEncoder(folder), theirs(folder)
    assert (ours.max_seq_length, ours.default_prompt_name) == (9, "query")
    check(ours, other)
    # A model of another class: only its config.json counts.
    other_class = changed | {"model_type": "SentenceTransformer"}
    write(folder, {"config_sentence_transformers.json": other_class})
    ours, other = CrossEncoder(folder), theirs(folder)
    assert (ours.activation_fn, ours.default_prompt_name) == ("Sigmoid", None)
    assert ours.max_seq_length == other.max_seq_length != 9
    check(ours, other)


def test_weights_in_half_precision(make: Callable[..., Path]) -> None:
    folder = make(2, half=True)
    ours = CrossEncoder(folder)
    assert ours.model.loading_info.cast
    check(ours, theirs(folder))


# There RReLU draws its slopes, as in training, since sentence-transformers leaves it in that mode.
@pytest.mark.parametrize("name", sorted({*TORCH_ACTIVATIONS} - {"RReLU"}))
def test_every_activation(make: Callable[..., Path], name: str) -> None:
    home = "linear" if name == "Identity" else "activation"
    member = {"sbert_ce_default_activation_function": f"torch.nn.modules.{home}.{name}"}
    folder = make(3, **member)
    ours, other = CrossEncoder(folder), theirs(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Implicit dimension choice")
        check(ours, other, PAIRS[:4])


def test_code_of_a_repository_is_not_run_there_either(make: Callable[..., Path]) -> None:
    folder = make(1, sbert_ce_default_activation_function="os.abort")
    with pytest.warns(UserWarning, match="os.abort"):
        ours = CrossEncoder(folder)
    check(ours, theirs(folder))


def test_what_is_saved_works_there(make_any: Callable[..., Path], tmp_path: Path) -> None:
    for labels in (1, 3):
        ours = CrossEncoder(
            make_any(labels), max_length=11, activation_fn="tanh", prompts={"query": "find: "}
        )
        folder = tmp_path / str(labels)
        ours.save_pretrained(folder)
        other = theirs(folder)
        assert type(other.activation_fn) is torch.nn.Tanh
        assert (other.max_seq_length, other.prompts) == (11, {"query": "find: "})
        check(ours, other)
        check(ours, other, prompt_name="query")
        check(CrossEncoder(folder), other)
        for name in ("modules.json", "config_sentence_transformers.json"):
            (folder / name).unlink()  # as versions before 6 read the folder
        check(ours, theirs(folder))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        inputs = tokenizer([list(pair) for pair in PAIRS], truncation=True, padding=True)
        with torch.no_grad():
            logits = model(**inputs.convert_to_tensors("pt")).logits.numpy()
        found = quiet(ours.predict, PAIRS, activation_fn="identity").reshape(logits.shape)
        assert np.abs(found - logits).max() < CROSS_ENCODER


# What of theirs is not taken: what makes a model of modules, or a card.
_NOT_OURS = {"modules", "model_card_data", "keep_in_fp32_modules", "kwargs", "self"}
# Defaults that differ: no token is sent unasked, and tokens bound a batch.
_OTHER_DEFAULTS = {"token", "batch_size"}


@pytest.mark.parametrize("name", ["__init__", "predict", "rank"])
def test_the_arguments_are_theirs(name: str) -> None:
    ours = inspect.signature(getattr(CrossEncoder, name)).parameters
    other = inspect.signature(getattr(st.CrossEncoder, name)).parameters
    assert [key for key in other if key not in ours] == [
        key for key in other if key in _NOT_OURS and key != "self"
    ]
    shared = [key for key in other if key in ours]
    for key in shared:
        if key not in _OTHER_DEFAULTS | {"self", "model_name_or_path"}:
            assert ours[key].default == other[key].default, key
    if name != "__init__":
        assert [key for key in ours if key in other] == shared  # by place, too
