"""The whole model, step by step, against transformers with eager attention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertModel, BertTokenizer
from tests.parity.pair import Pair, replayed
from tests.support.arrays import far
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import (
    ENCODER_FLOAT64_AGAINST_TORCH,
    WILD,
    encoder_float32_budget,
    fast_encoder_budget,
)

TEXTS = ["this is a test sentence", "", "The bank of the river. " * 3, "naïve café 東京 🙂"]
# Sizes odd and pairwise different. MiniLM alone exercises one spelling of everything.
VARIANTS: dict[str, dict[str, Any]] = {
    "odd": {},
    "one layer, eps 1e-5": {"num_hidden_layers": 1, "layer_norm_eps": 1e-5, "hidden_size": 20},
    "three layers, eps 1e-3": {"num_hidden_layers": 3, "layer_norm_eps": 1e-3},
    "head size 1": {"hidden_size": 11, "num_attention_heads": 11},
    "one head": {"num_attention_heads": 1, "intermediate_size": 5},
    **{
        f"act {name}": {"hidden_act": name} for name in ("gelu", "gelu_new", "relu", "silu", "tanh")
    },
}
B, T = 5, 7
# Padding right, left, in holes, on [CLS], and nothing else.
MASK = np.array(
    [[int(bit) for bit in row] for row in ("1111100", "0011111", "1010110", "0111111", "0000000")]
)
# A call is computed by one code or the other, according to what it is asked for.
ASKED: list[Any] = [
    {},
    {"output_hidden_states": True},
    {"output_hidden_states": True, "output_attentions": True},
]
# What transformers computes without a module, or names otherwise than the step.
NO_MODULE = (".mean", ".variance", ".rstd", ".normalized", ".sum", ".scores", ".probs")
RENAMED = {"pooler.activation": "pooler"}


def tiny(folder: Path, **changes: Any) -> Path:
    """Write a checkpoint whose numbers have the size of trained ones."""
    config = TINY | changes
    rng = np.random.default_rng(len(changes))
    tensors = {
        key: ((key.endswith("LayerNorm.weight")) + rng.normal(0, 0.3, array.shape)).astype("f4")
        for key, array in random_tensors(config).items()
    }
    return write_checkpoint(folder, tensors, config)


def pairs(folder: Path) -> tuple[Pair, Pair]:
    return Pair(folder, "float32"), Pair(folder, "float64")


def random_inputs(config: Mapping[str, Any]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "input_ids": rng.integers(0, config["vocab_size"], (B, T)),
        "token_type_ids": rng.integers(0, config["type_vocab_size"], (B, T)),
        "position_ids": rng.integers(0, config["max_position_embeddings"], (B, T)),
        "attention_mask": MASK,
    }


def compare(narrow: Pair, wide: Pair, inputs: Mapping[str, Any], *, room: float = WILD) -> None:
    """Hold every step that torch has against it: float64 closely, float32 within its budget."""
    rows = inputs.get("inputs_embeds")
    short = dict(inputs) if rows is None else {**inputs, "inputs_embeds": rows.astype("f4")}
    theirs, theirs_narrow = wide.hooked(inputs), narrow.hooked(short)
    ours, ours_narrow = wide.steps(inputs), narrow.steps(short)
    for name in ours:
        if name.endswith(NO_MODULE) or name not in theirs:
            continue
        assert ours_narrow[name].dtype == np.float32
        assert far(ours[name], theirs[name]) <= ENCODER_FLOAT64_AGAINST_TORCH, name
        budget = room * encoder_float32_budget(ours[name], theirs_narrow[name])
        assert far(ours_narrow[name], ours[name]) <= budget, name
    for asked in ASKED:
        exact = wide.ours(**inputs, **asked)
        compare_outputs(exact, exact, wide.forward(inputs, **asked), inputs, room)
        found = narrow.ours(**short, **asked)
        compare_outputs(found, exact, narrow.forward(short, **asked), inputs, room)


def compare_outputs(
    ours: Any, truth: Any, theirs: Any, inputs: Mapping[str, Any], room: float
) -> None:
    """Hold what a call returns against transformers' output, field by field."""
    # Cross-attentions, always empty here, are listed among theirs; a pooler that the checkpoint
    # lacks is made up there.
    there = tuple(name for name, value in theirs.items() if len(value))
    lacks = () if ours.pooler_output is not None else ("pooler_output",)
    assert ours.keys() == tuple(name for name in there if name not in lacks)
    # A fast path may leave padding out; what the readable code computes of it is compared above.
    real = inputs.get("attention_mask", np.ones(ours.last_hidden_state.shape[:2], int)) == 1
    for name in ours:
        found, wanted, exact = ours[name], theirs[name], truth[name]
        if name in ("last_hidden_state", "pooler_output"):
            found, wanted, exact = (found,), (wanted,), (exact,)
        assert len(found) == len(wanted)
        where = {"attentions": ..., "pooler_output": real[:, 0]}.get(name, real)
        for one, other, right in zip(found, (w.numpy() for w in wanted), exact, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            if ours is truth:
                assert far(one[where], other[where]) <= ENCODER_FLOAT64_AGAINST_TORCH, name
            else:
                budget = room * fast_encoder_budget(right[where], other[where])
                assert far(one[where], right[where]) <= budget, name


@pytest.fixture(scope="module")
def real(minilm: Path) -> tuple[Pair, Pair]:
    return pairs(minilm)


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS], ids=["one", "padded"])
def test_minilm_step_by_step(real: tuple[Pair, Pair], minilm: Path, texts: list[str]) -> None:
    batch = BertTokenizer.from_pretrained(minilm)(texts, padding=True, return_tensors="np")
    compare(*real, dict(batch), room=1.0)


def test_every_module_of_transformers_is_a_step(tmp_path: Path) -> None:
    pair = Pair(tiny(tmp_path), "float64")
    inputs = random_inputs(TINY)
    theirs, ours = pair.hooked(inputs), pair.steps(inputs)
    there = {RENAMED.get(name, name) for name in theirs}
    there = {name.removesuffix(".intermediate_act_fn") for name in there}
    assert there == {name for name in ours if not name.endswith(NO_MODULE)}
    for name, array in theirs.items():
        step = RENAMED.get(name, name).removesuffix(".intermediate_act_fn")
        assert far(ours[step], array) <= ENCODER_FLOAT64_AGAINST_TORCH, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_tiny_models_step_by_step(tmp_path: Path, variant: str) -> None:
    config = TINY | VARIANTS[variant]
    both = pairs(tiny(tmp_path, **VARIANTS[variant]))
    inputs = random_inputs(config)
    compare(*both, {"input_ids": inputs["input_ids"]})
    compare(*both, inputs)
    inputs["inputs_embeds"] = np.random.default_rng(2).normal(size=(B, T, config["hidden_size"]))
    # Of numbers that float32 holds, so that both dtypes get the same ones.
    inputs["inputs_embeds"] = inputs["inputs_embeds"].astype("f4").astype("f8")
    del inputs["input_ids"], inputs["position_ids"]
    compare(*both, inputs)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
def test_dropout_replayed_in_torch(tmp_path: Path, mask: Any) -> None:
    pair = Pair(
        tiny(tmp_path, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.4), "float64"
    )
    inputs = random_inputs(TINY)
    if mask is None:
        del inputs["attention_mask"]
    ours = pair.steps(inputs, rng=np.random.default_rng(3))
    keeps: Any = {name: array for name, array in ours.items() if name.endswith(".dropout.keep")}
    assert len(keeps) == 1 + 3 * TINY["num_hidden_layers"]
    assert not any(array.all() for array in keeps.values())
    left = iter(keeps.values())
    pair.theirs.train()
    with replayed(left):
        theirs = pair.hooked(inputs)
    assert next(left, None) is None
    for name in set(ours) & set(theirs):
        assert far(ours[name], theirs[name]) <= ENCODER_FLOAT64_AGAINST_TORCH, name
    asked: Any = {"output_attentions": True, "output_hidden_states": True}
    output = pair.ours(**inputs, **asked, rng=np.random.default_rng(3))
    with replayed(iter(keeps.values())):
        expected = pair.forward(inputs, **asked)
    for name in ("attentions", "hidden_states"):
        for found, wanted in zip(output[name], expected[name], strict=True):
            assert far(found, wanted.numpy()) <= ENCODER_FLOAT64_AGAINST_TORCH, name


@pytest.mark.parametrize("stored", ["F16", "BF16"])
def test_half_precision_as_torch_reads_it(tmp_path: Path, stored: str) -> None:
    tensors = {key: array * np.float32(0.25) for key, array in random_tensors().items()}
    if stored == "F16":
        tensors = {key: array.astype(np.float16) for key, array in tensors.items()}
    compare(
        *pairs(write_checkpoint(tmp_path, tensors, bfloat16=stored == "BF16")), random_inputs(TINY)
    )


def test_a_checkpoint_without_a_pooler(tmp_path: Path) -> None:
    tensors = {k: v for k, v in random_tensors().items() if not k.startswith("pooler.")}
    folder = write_checkpoint(tmp_path, tensors)
    theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = random_inputs(TINY)["input_ids"]
    ours = BertModel.from_pretrained(folder)(ids)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids))
    assert ours.pooler_output is None
    assert ours.keys() == tuple(expected.keys()) == ("last_hidden_state",)


@pytest.mark.parametrize(
    "name", ["bert_toy_pretraining_L5_H32", "tinycrop_qa_L12_H8_v10", "tinycrop_seqcls_L12_H8"]
)
def test_published_toys_step_by_step(data: Path, name: str) -> None:
    folder = data / "checkpoints" / name
    golden = json.loads((folder / "golden.json").read_text("utf-8"))
    inputs = {key: np.array(value) for key, value in golden["inputs"].items()}
    compare(*pairs(folder), inputs)
