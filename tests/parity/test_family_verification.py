"""Traces of transformers' own models of BERT's family: right ones pass, mistakes are named."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

from numpy_bert import AutoModel, BertModel
from numpy_bert.comparison.report import Report
from numpy_bert.traces.reading import as_trace
from numpy_bert.verification.verify import verify
from tests.support.checkpoints import SIZES
from tests.support.family_models import in_words_of
from tests.support.traces import IDS

Arrays = dict[str, npt.NDArray[Any]]

_ROBERTA = {**SIZES, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
# The class in transformers, and what its config is given.
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "roberta": ("RobertaModel", _ROBERTA),
    "xlm-roberta": ("XLMRobertaModel", _ROBERTA),
    "camembert": ("CamembertModel", _ROBERTA),
    "distilbert": ("DistilBertModel", in_words_of("distilbert", SIZES)),
    "electra": ("ElectraModel", {**SIZES, "embedding_size": 15}),
    "ernie": ("ErnieModel", {**SIZES, "use_task_id": True}),
    "dpr": ("DPRQuestionEncoder", {**SIZES, "projection_dim": 13}),
    "mpnet": ("MPNetModel", {**SIZES, "layer_norm_eps": 1e-5}),
}


def made(kind: str, folder: Path, seed: int = 0) -> Any:
    """Make and save a tiny model of transformers whose numbers have the size of trained ones."""
    name, settings = KINDS[kind]
    cls = getattr(transformers, name)
    config = cls.config_class(**settings)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = cls(config).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            mean = float(key.lower().endswith("norm.weight"))
            weight.copy_(torch.randn(weight.shape) * 0.3 + mean)
    model.save_pretrained(folder)
    return model


def inputs_for(model: Any) -> Arrays:
    """Return a batch with padding on the right, on the left and within, and two segments."""
    ids, mask = IDS["input_ids"], IDS["attention_mask"]
    found = {
        "input_ids": np.where(mask == 1, ids, model.config.pad_token_id),
        "attention_mask": mask,
    }
    if getattr(model.config, "type_vocab_size", 0) > 1:
        found["token_type_ids"] = IDS["token_type_ids"]
    return found


def hooked(model: Any, inputs: Arrays) -> Arrays:
    """Return what the recipe of numpy_bert/traces/README.md saves, under transformers' names."""
    seen = dict(inputs)

    def hook(name: str) -> Any:
        def see(_module: Any, _inputs: Any, output: Any) -> None:
            seen[name] = (output if torch.is_tensor(output) else output[0]).numpy().copy()
            is_distilbert = name.startswith("transformer.") and name.endswith(".attention")
            if name.endswith("attention.self") or is_distilbert:
                seen[f"{name}.dropout"] = output[1].numpy()

        return see

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    with torch.no_grad():
        model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    for handle in handles:
        handle.remove()
    return seen


def loaded(folder: Path) -> BertModel:
    found: BertModel = AutoModel.from_pretrained(folder, dtype="float64")
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_hooks_of_every_module_are_read_without_a_map_and_pass(
    kind: str, seed: int, tmp_path: Path
) -> None:
    model = made(kind, tmp_path, seed)
    trace = hooked(model, inputs_for(model))
    report = verify(as_trace(trace), loaded(tmp_path), look_for_hidden=False)
    assert report.verdict == "pass", report.sentence
    assert not report.not_looked_at
    modules = {name for name in trace if name not in IDS}
    assert len(report.steps) == len(modules) >= 34
    shares = [row.own / row.budget for row in report.steps if row.own and row.budget]
    assert max(shares) < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_a_model_are_read_and_pass(kind: str, tmp_path: Path) -> None:
    model = made(kind, tmp_path)
    inputs = inputs_for(model)
    with torch.no_grad():
        output = model(
            **{name: torch.from_numpy(array) for name, array in inputs.items()},
            output_hidden_states=True,
            output_attentions=True,
        )
    members = ("last_hidden_state", "pooler_output", "hidden_states", "attentions")
    arrays = {name: output[name] for name in members if output.get(name) is not None}
    report = verify(as_trace({**inputs, **arrays}), loaded(tmp_path), look_for_hidden=False)
    assert report.verdict == "pass", report.sentence
    assert not report.not_looked_at
    assert len(report.steps) >= 6


# Mistakes, made in transformers' own models.

Make = Callable[[Any, Arrays], Arrays]


def _positions(places: Callable[[Arrays], npt.NDArray[np.int64]]) -> Make:
    """Return what runs a model with other positions than its own."""

    def run(model: Any, inputs: Arrays) -> Arrays:
        found = hooked(model, {**inputs, "position_ids": places(inputs)})
        return {name: array for name, array in found.items() if name != "position_ids"}

    return run


def _places(inputs: Arrays) -> npt.NDArray[np.int64]:
    shape = inputs["input_ids"].shape
    return np.broadcast_to(np.arange(shape[1]), shape).copy()


def _changed(change: Callable[[Any], None]) -> Make:
    def run(model: Any, inputs: Arrays) -> Arrays:
        change(model)
        return hooked(model, inputs)

    return run


def _epsilon(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-12


def _biased(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        inner = model.encoder.compute_position_bias
        model.encoder.compute_position_bias = lambda x: change(inner(x))

    return apply


def _one_sided(model: Any) -> None:
    def buckets(relative_position: Any, **_: object) -> Any:
        behind = (-relative_position).clamp(min=0)
        far = torch.log(behind.clamp(min=1) / 16) / math.log(8) * 16
        return torch.where(behind < 16, behind, (16 + far.long()).clamp(max=31))

    model.encoder.relative_position_bucket = buckets


def _unprojected(model: Any) -> None:
    def forward(self: Any, x: Any) -> Any:
        return torch.nn.functional.pad(x, (0, self.out_features - x.shape[-1]))

    own = model.embeddings_project
    own.forward = types.MethodType(forward, own)


def _untasked(model: Any) -> None:
    model.embeddings.task_type_embeddings.weight.data.zero_()


def _second_task(model: Any) -> None:
    table = model.embeddings.task_type_embeddings.weight.data
    table[0] = table[1]


def _mean_pooled(model: Any) -> None:
    inner = model.question_encoder.encode_proj.forward

    def forward(_: Any) -> Any:
        return inner(model.states.mean(dim=1))

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        model.states = output[0]

    model.question_encoder.bert_model.register_forward_hook(keep)
    model.question_encoder.encode_proj.forward = forward


_AT = "embeddings.position_embeddings"
_PROBS = "encoder.layer.0.attention.self.dropout"
MADE: Mapping[str, tuple[str, Make, str, str]] = {
    "positions from 0": (
        "roberta",
        _positions(_places),
        _AT,
        "positions_start",
    ),
    "positions of tokens from 0": (
        "camembert",
        _positions(lambda i: (np.cumsum(i["attention_mask"], axis=1) - 1).clip(min=0)),
        _AT,
        "positions_start",
    ),
    "positions from 2, padding counted": (
        "xlm-roberta",
        _positions(lambda inputs: _places(inputs) + 2),
        _AT,
        "positions_count_padding",
    ),
    "MPNet's positions from 0": ("mpnet", _positions(_places), _AT, "positions_start"),
    "epsilon 1e-12": ("roberta", _changed(_epsilon), "embeddings.LayerNorm", "layer_norm_epsilon"),
    "no relative bias": (
        "mpnet",
        _changed(_biased(lambda x: 0 * x)),
        _PROBS,
        "relative_bias_missing",
    ),
    "the relative bias scaled": (
        "mpnet",
        _changed(_biased(lambda x: x / math.sqrt(6))),
        _PROBS,
        "relative_bias_scaled",
    ),
    "one-sided buckets": (
        "mpnet",
        _changed(_one_sided),
        "encoder.relative_attention_bias",
        "relative_bias_buckets",
    ),
    "no projection": (
        "electra",
        _changed(_unprojected),
        "embeddings_project",
        "projection_missing",
    ),
    "no task": ("ernie", _changed(_untasked), "embeddings.task_type_embeddings", "tasks_dropped"),
    "another task": (
        "ernie",
        _changed(_second_task),
        "embeddings.task_type_embeddings",
        "tasks_other",
    ),
    "the mean in the first token's place": (
        "dpr",
        _changed(_mean_pooled),
        "pooler.dense",
        "pooler_token",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_the_mistakes_of_ports_are_named_where_they_are_made(name: str, tmp_path: Path) -> None:
    kind, make, step, cause = MADE[name]
    model = made(kind, tmp_path)
    report: Report = verify(
        as_trace(make(model, inputs_for(model))), loaded(tmp_path), look_for_hidden=False
    )
    assert (report.first, report.cause) == (step, cause), report.sentence


def test_positions_by_the_mask_differ_where_padding_stands_in_it(tmp_path: Path) -> None:
    model = made("roberta", tmp_path)
    inputs = inputs_for(model)
    inputs["attention_mask"] = np.ones_like(inputs["attention_mask"])
    report = verify(as_trace(hooked(model, inputs)), loaded(tmp_path), look_for_hidden=False)
    assert report.verdict == "pass"
    counted = _positions(lambda i: np.cumsum(i["attention_mask"], axis=1) + 1)
    wrong = verify(as_trace(counted(model, inputs)), loaded(tmp_path), look_for_hidden=False)
    assert (wrong.first, wrong.cause) == (_AT, "positions_count_padding")
