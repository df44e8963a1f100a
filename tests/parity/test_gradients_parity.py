"""Every head's loss and every parameter's gradient against torch's autograd, dropout included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert.parameters import arrays_of
from numpy_bert.tasks.items import added_items
from numpy_bert.trace import named_steps
from tests.parity.test_heads_parity import HEADS, inputs_of, seeded
from tests.tolerances import GRADIENT_FLOAT64, GRADIENT_WILD, gradient_loss_budget

Arrays = dict[str, npt.NDArray[Any]]

DROPOUT = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    **{case: (name, config) for case, (name, config, _) in HEADS.items()},
    "another padding": ("BertForMaskedLM", {"pad_token_id": 3}),
    "no padding": ("BertForTokenClassification", {"num_labels": 7, "pad_token_id": None}),
    "silu": ("BertForTokenClassification", {"num_labels": 7, "hidden_act": "silu"}),
    "several labels": (
        "BertForSequenceClassification",
        {"num_labels": 5, "problem_type": "multi_label_classification"},
    ),
    "head's own dropout": (
        "BertForSequenceClassification",
        {"num_labels": 5, "classifier_dropout": 0.5},
    ),
}


def labels_of(name: str, config: Mapping[str, Any]) -> Arrays:
    """Return labels for the inputs of `inputs_of`; those of tokens do not all count."""
    rng = np.random.default_rng(4)
    tokens = rng.integers(0, config.get("num_labels", 61), (3, 7))
    tokens[rng.random((3, 7)) < 0.5] = -100
    kinds = {
        "BertForPreTraining": {"labels": tokens, "next_sentence_label": np.array([0, 1, 1])},
        "BertForMaskedLM": {"labels": tokens},
        "BertForNextSentencePrediction": {"labels": np.array([1, 0, 1])},
        "BertForSequenceClassification": {"labels": rng.integers(0, 5, 3)},
        "BertForTokenClassification": {"labels": tokens},
        "BertForQuestionAnswering": {
            "start_positions": np.array([1, 4, 99]),  # one was cut off
            "end_positions": np.array([3, 4, 99]),
        },
        "BertForMultipleChoice": {"labels": np.array([2, 0])},
    }
    if config.get("num_labels") == 1:
        return {"labels": rng.standard_normal(3)}
    if "problem_type" in config:
        return {"labels": rng.integers(0, 2, (3, 5)).astype(np.float64)}
    return kinds[name]


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[npt.NDArray[np.bool_]]]:
    """Dropout's masks that torch uses, in the order of execution."""
    given: list[npt.NDArray[np.bool_]] = []

    def shared(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0.0:
            return input
        return input * torch.from_numpy(given.pop(0)) / (1.0 - p)

    monkeypatch.setattr(torch.nn.functional, "dropout", shared)
    yield given
    assert not given


def theirs_of(
    folder: Path, name: str, dtype: str, batch: Arrays, *, drops: bool
) -> tuple[float, Arrays]:
    """Return torch's loss and gradients, by name; tied parameters have one."""
    model = getattr(transformers, name).from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="eager"
    )
    model.train(drops)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    if tensors.get("labels") is not None and tensors["labels"].is_floating_point():
        tensors["labels"] = tensors["labels"].to(getattr(torch, dtype))
    loss = model(**tensors).loss
    loss.backward()
    gradients = {
        key: parameter.grad.numpy()
        for key, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return float(loss.detach()), gradients


def ours_of(
    folder: Path, name: str, dtype: str, batch: Arrays, *, drops: bool
) -> tuple[float, Arrays, list[npt.NDArray[np.bool_]]]:
    """Return the loss, gradients, and dropout's masks in the order of execution."""
    model = getattr(numpy_bert, name).from_pretrained(folder, dtype=dtype)

    def rng() -> np.random.Generator | None:
        return np.random.default_rng(11) if drops else None

    found = model.loss_and_gradients(batch, rng=rng())
    inputs = {key: value for key, value in batch.items() if key in inputs_of(name)}
    steps = dict(named_steps(model.steps(**inputs, rng=rng()), ""))
    keep = [array for path, array in steps.items() if path.endswith("keep")]
    assert bool(keep) == drops
    gradients = {
        **{f"bert.{key}": np.asarray(array) for key, array in arrays_of(found.bert)},
        **{key: np.asarray(array) for key, array in arrays_of(found.head)},
    }
    return found.loss, gradients, keep


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd(
    case: str, drops: bool, dtype: str, tmp_path: Path, masks: list[npt.NDArray[np.bool_]]
) -> None:
    name, config = CASES[case]
    seeded(name, **config, **DROPOUT).save_pretrained(tmp_path)
    batch = {**inputs_of(name), **labels_of(name, config)}
    pad = config.get("pad_token_id", 0) or 0
    batch["input_ids"][..., -1, 4:] = pad  # which is masked; elsewhere it is a word, too
    batch["input_ids"][..., 0, 3] = pad
    loss, ours, keep = ours_of(tmp_path, name, dtype, batch, drops=drops)
    masks.extend(keep)
    their_loss, theirs = theirs_of(tmp_path, name, dtype, batch, drops=drops)
    masks.extend(keep)
    exact_loss, exact = theirs_of(tmp_path, name, "float64", batch, drops=drops)
    known = {key for key in ours if key in exact}
    assert set(exact) == known
    # Neither is read: a pooler by some heads, the bias beside an untied decoder's own.
    unread = {"bert.pooler.dense.weight", "cls.predictions.bias"}
    assert {key for key in ours if key not in known} <= unread
    untied = not config.get("tie_word_embeddings", True)
    assert ("cls.predictions.bias" in ours.keys() - known) == untied
    for key in ours.keys() - known:
        assert not ours[key].any()
    budget = gradient_loss_budget(dtype, exact_loss, their_loss)
    assert abs(loss - exact_loss) <= budget
    for key, reference in exact.items():
        assert ours[key].shape == reference.shape
        assert ours[key].dtype == dtype
        if dtype == "float64":
            largest = max(float(np.abs(reference).max()), 1e-3)  # key.bias: a true gradient of 0
            assert float(np.abs(ours[key] - reference).max()) <= GRADIENT_FLOAT64 * largest, key
    for key in ours:
        if key.endswith("key.bias"):
            assert np.abs(ours[key]).max() < 1e-5
    # Of one parameter of so small and wild a model chance decides, by the roundings of the forward
    # pass. The real one below is held to twice torch's error.
    floor = (GRADIENT_WILD if dtype == "float32" else GRADIENT_FLOAT64) * distance(exact, {})
    assert distance(ours, exact) <= max(2 * distance(theirs, exact), floor)


@pytest.mark.parametrize("drops", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_real_models_gradients_are_as_exact_as_torchs(
    drops: bool, minilm: Path, tmp_path: Path, masks: list[npt.NDArray[np.bool_]]
) -> None:
    name = "BertForSequenceClassification"
    torch.manual_seed(7)
    getattr(transformers, name).from_pretrained(minilm, num_labels=3).save_pretrained(tmp_path)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(minilm)
    texts = ["A man is eating food.", "Is he?", "A cheetah is running behind its prey, at dusk."]
    batch: Arrays = dict(tokenizer(texts, padding=True, return_tensors="np"))
    batch["labels"] = np.array([2, 0, 1])
    results = {}
    for dtype in ("float32", "float64"):
        ours = ours_of(tmp_path, name, dtype, batch, drops=drops)
        masks.extend(ours[2])
        results[dtype] = ours[:2], theirs_of(tmp_path, name, dtype, batch, drops=drops)
    (loss, ours64), (exact_loss, exact) = results["float64"]
    assert loss == pytest.approx(exact_loss, rel=1e-12)
    for key, reference in exact.items():
        largest = max(float(np.abs(reference).max()), 1e-6)
        assert float(np.abs(ours64[key] - reference).max()) <= GRADIENT_FLOAT64 * largest, key
    (_, ours32), (_, theirs) = results["float32"]
    assert distance(ours32, exact) <= 2 * distance(theirs, exact)
    nothing = 1e-6 * distance(exact, {})
    for key in exact:
        mine, yours = ({key: found[key]} for found in (ours32, theirs))
        only = {key: exact[key]}
        # Where both are near nothing (key.bias, whose true gradient is 0) all is rounding.
        allowed = max(2 * distance(yours, only), nothing)
        assert distance(mine, only) <= allowed, key


def distance(found: Arrays, reference: Arrays) -> float:
    """Return the length of the difference of two sets of gradients."""
    zero = np.float64(0.0)
    terms = (np.square(found[key] - reference.get(key, zero)).sum() for key in reference or found)
    return float(np.sqrt(sum(float(term) for term in terms)))


@pytest.mark.parametrize("case", CASES)
def test_accumulated_batches_are_torchs_one_batch(case: str, tmp_path: Path) -> None:
    name, config = CASES[case]
    seeded(name, **config).save_pretrained(tmp_path)
    batch = {**inputs_of(name), **labels_of(name, config)}
    model = getattr(numpy_bert, name).from_pretrained(tmp_path, dtype="float64")
    rows = len(batch["input_ids"])
    parts = [{key: array[at] for key, array in batch.items()} for at in ([0], [*range(1, rows)])]
    items = added_items(model.num_items_in_batch(part) for part in parts)
    found = [model.loss_and_gradients(part, num_items_in_batch=items) for part in parts]
    ours = [dict(part.named()) for part in found]
    their_loss, theirs = theirs_of(tmp_path, name, "float64", batch, drops=False)
    assert sum(part.loss for part in found) == pytest.approx(their_loss, rel=1e-12)
    for key, reference in theirs.items():
        largest = max(float(np.abs(reference).max()), 1e-3)
        apart = float(np.abs(ours[0][key] + ours[1][key] - reference).max())
        assert apart <= GRADIENT_FLOAT64 * largest, key
