"""Gradients of the family's models without a head against torch's, under one mask of dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert.loading.keys import canonical
from numpy_bert.model.gradients import BertRun
from numpy_bert.parameters import arrays_of
from numpy_bert.trace import named_steps
from tests.parity.test_family_models import DISTILBERT, SIZES, wild
from tests.parity.test_gradients_parity import masks
from tests.tolerances import GRADIENT_FLOAT64, GRADIENT_WILD

__all__ = ["masks"]  # a fixture

Arrays = dict[str, npt.NDArray[Any]]
RATES = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "positions by tokens": ("RobertaModel", SIZES | RATES | {"pad_token_id": 4}),
    "none behind attention": (
        "DistilBertModel",
        DISTILBERT | {"dropout": 0.2, "attention_dropout": 0.3},
    ),
    "projected": ("ElectraModel", SIZES | RATES | {"embedding_size": 10}),
    "tasks": ("ErnieModel", SIZES | RATES | {"use_task_id": True, "task_type_vocab_size": 5}),
    "first token": ("DPRQuestionEncoder", SIZES | RATES),
    "first token, projected": ("DPRContextEncoder", SIZES | RATES | {"projection_dim": 11}),
    "by distance": ("MPNetModel", SIZES | RATES | {"pad_token_id": 7}),
    "by distance, hidden alone": (
        "MPNetModel",
        SIZES | RATES | {"attention_probs_dropout_prob": 0.0},
    ),
}
B, T = 3, 12  # as many tokens as have distances in buckets that several share
MASK = np.ones((B, T), np.int64)
MASK[0, 9:] = MASK[1, :2] = MASK[2, [3, 4, 7, 11]] = 0


def batch(pad: int) -> dict[str, Any]:
    """Return ids with padding's among them, also where the mask has a token."""
    ids = np.random.default_rng(5).integers(8, 61, (B, T))
    ids[MASK == 0] = pad
    ids[1, 5] = pad
    return {"input_ids": ids, "attention_mask": MASK}


def weights_of(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return the gradient that comes back to an output."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def ours_of(model: Any, inputs: dict[str, Any], *, drops: bool) -> tuple[Arrays, Any]:
    """Return the gradients and dropout's masks in the order of execution."""

    def rng() -> np.random.Generator | None:
        return np.random.default_rng(11) if drops else None

    checked = model.inputs(**inputs)
    run = BertRun(model, checked, rng())
    pooled = None if run.pooled is None else weights_of(run.pooled.shape, model.dtype)
    found = run.gradients(hidden=weights_of(run.hidden.shape, model.dtype), pooled=pooled)
    steps = dict(named_steps(model.all_steps(checked, rng()), ""))
    keep = [array for path, array in steps.items() if path.endswith("keep")]
    return {key: np.asarray(array) for key, array in arrays_of(found)}, keep


def theirs_of(model: Any, inputs: dict[str, Any], architecture: Any) -> Arrays:
    """Return torch's gradients by our names."""
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}
    output = model(**given, output_hidden_states=True, return_dict=True)
    total = 0.0
    for state in (output.hidden_states[-1], getattr(output, "pooler_output", None)):
        if state is not None:
            dtype = state.detach().numpy().dtype
            total = total + (state * torch.from_numpy(weights_of(state.shape, dtype))).sum()
    total.backward()  # type: ignore[attr-defined]
    return {
        canonical(name, architecture)
        .removeprefix("question_encoder.")
        .removeprefix("ctx_encoder."): parameter.grad.numpy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def length(arrays: Arrays, reference: Arrays | None = None) -> float:
    """Return the length of gradients, or of their difference."""
    zero = np.float64(0.0)
    other = {} if reference is None else reference
    terms = (float(np.square(arrays[key] - other.get(key, zero)).sum()) for key in arrays)
    return float(np.sqrt(sum(terms)))


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_autograd(
    kind: str, drops: bool, dtype: str, tmp_path: Path, masks: list[npt.NDArray[np.bool_]]
) -> None:
    name, settings = KINDS[kind]
    wild(name, settings).save_pretrained(tmp_path)
    ours = numpy_bert.AutoModel.from_pretrained(tmp_path, dtype=dtype)
    inputs = batch(ours.config.padding_idx or 0)
    found, keep = ours_of(ours, inputs, drops=drops)
    assert bool(keep) == drops
    expected = {}
    for wanted in dict.fromkeys((dtype, "float64")):
        masks.extend(keep)
        theirs = getattr(transformers, name).from_pretrained(
            tmp_path, dtype=getattr(torch, wanted), attn_implementation="eager"
        )
        expected[wanted] = theirs_of(theirs.train(drops), inputs, ours.config.architecture)
    exact = expected["float64"]
    assert found.keys() == exact.keys()
    for key, reference in exact.items():
        assert found[key].shape == reference.shape
        assert found[key].dtype == dtype
        if dtype == "float64":
            largest = max(float(np.abs(reference).max()), 1e-3)  # key.bias: a true gradient of 0
            assert float(np.abs(found[key] - reference).max()) <= GRADIENT_FLOAT64 * largest, key
    floor = (GRADIENT_WILD if dtype == "float32" else GRADIENT_FLOAT64) * length(exact)
    assert length(found, exact) <= max(2 * length(expected[dtype], exact), floor)
