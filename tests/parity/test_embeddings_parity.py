"""The input embedding against torch and transformers, on the real MiniLM and on odd tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.arrays import Array
from numpy_bert.kernels.half import widen_into
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace
from numpy_bert.ops.dropout import draw_keep, dropout
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.trace import named_steps
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import FLOAT64_AGAINST_TORCH, float32_budget

TEXTS: list[tuple[str, str | None]] = [
    ("this is a test sentence", None),
    ("", None),
    ("I saw the branch on the bank.", "A second sequence of words."),
    ("你好，世界。東京は日本の首都です", None),
    ("emoji 🙂👩‍👩‍👧 and ﬁligature, naïve café", "שלום עולם"),
    ("word " * 600, None),
    ("pair " * 300, "other " * 300),
]
# Sizes odd and pairwise different, other epsilons, more token types than two.
VARIANTS: dict[str, dict[str, Any]] = {
    "odd": {},
    "eps 1e-5": {"layer_norm_eps": 1e-5, "hidden_size": 20, "vocab_size": 41},
    "eps 1e-3, one type": {"layer_norm_eps": 1e-3, "type_vocab_size": 1, "hidden_size": 36},
    "hidden 4": {"hidden_size": 4, "num_hidden_layers": 1, "max_position_embeddings": 33},
    "no dropout": {"hidden_dropout_prob": 0.0, "type_vocab_size": 16},
}


class Pair:
    """One checkpoint in numpy_bert and in torch, both in one dtype."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.ours = BertModel.from_pretrained(folder, dtype=dtype)
        self.theirs = transformers.BertModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="eager"
        ).eval()

    def hooked(self, **inputs: Any) -> dict[str, Array]:
        """Run torch's block and return what forward hooks see, by module path."""
        seen: dict[str, Array] = {}
        block = self.theirs.embeddings
        handles = [
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: seen.update({name: output.numpy()})
            )
            for name, module in block.named_modules(prefix="embeddings")
        ]
        with torch.no_grad():
            block(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        for handle in handles:
            handle.remove()
        return seen


def compare(pair: Pair, reference: Pair, **inputs: Any) -> None:
    """Hold every step against torch: look-ups and sum to the bit, LayerNorm within its budget."""
    theirs = pair.hooked(**inputs)
    steps = dict(named_steps(pair.ours.embeddings.steps(**inputs), "embeddings"))
    look_ups = ["word_embeddings", "token_type_embeddings", "position_embeddings"]
    for name in (f"embeddings.{part}" for part in look_ups):
        assert steps[name].shape == theirs[name].shape, name
        assert steps[name].tobytes() == theirs[name].tobytes(), name
    words, segments, positions = (theirs[f"embeddings.{part}"] for part in look_ups)
    total = torch.from_numpy(words) + torch.from_numpy(segments) + torch.from_numpy(positions)
    assert steps["embeddings.sum"].tobytes() == total.numpy().tobytes()
    specification = reference.ours.embeddings(**inputs)
    wide = reference.hooked(**inputs)["embeddings"]
    assert np.abs(specification - wide).max(initial=0) <= FLOAT64_AGAINST_TORCH
    steps["embeddings"] = pair.ours.embeddings(**inputs)  # in float32 the kernel's
    for name in ("embeddings.LayerNorm", "embeddings.dropout", "embeddings"):
        assert steps[name].shape == theirs[name].shape
        assert steps[name].dtype == pair.ours.dtype
        error = np.abs(steps[name] - specification).max(initial=0)
        assert error <= float32_budget(specification, theirs[name]), name


@pytest.mark.parametrize("features", [8, 24, 384, 768, 1024])
@pytest.mark.parametrize("mean", [0.0, 0.5, 0.95, 1.05, 3.0, 1e2, 1e4, 1e6])
def test_the_layer_norm_kernel_is_held_to_torchs_error(features: int, mean: float) -> None:
    rng = np.random.default_rng(features)
    weight = rng.normal(0.9, 0.1, features).astype(np.float32)
    bias = rng.normal(0.0, 0.1, features).astype(np.float32)
    x = rng.normal(mean, 1.0, (500, features)).astype(np.float32)
    wide = [array.astype(np.float64) for array in (x, weight, bias)]
    truth = layer_norm(*wide, eps=1e-12).output
    theirs = torch.nn.functional.layer_norm(
        torch.from_numpy(x), (features,), torch.from_numpy(weight), torch.from_numpy(bias), 1e-12
    ).numpy()
    ours = x.copy()
    with np.errstate(all="ignore"):
        assert LayerNormKernel(weight, bias, eps=1e-12)(ours, LayerNormWorkspace(*x.shape))
    assert np.abs(ours - truth).max() <= float32_budget(truth, theirs)


@pytest.fixture(scope="module")
def real(minilm: Path) -> tuple[Pair, Pair]:
    return Pair(minilm, "float32"), Pair(minilm, "float64")


@pytest.mark.parametrize("texts", TEXTS, ids=[str(number) for number in range(len(TEXTS))])
def test_minilm_on_varied_texts(
    real: tuple[Pair, Pair], minilm: Path, texts: tuple[str, str | None]
) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    inputs = tokenizer(*texts, truncation=True, return_tensors="np")
    reference = transformers.AutoTokenizer.from_pretrained(minilm)
    same = reference(*texts, truncation=True, max_length=512, padding=False)
    assert inputs["input_ids"].tolist() == [same["input_ids"]]
    assert inputs["token_type_ids"].tolist() == [same["token_type_ids"]]
    compare(*real, input_ids=inputs["input_ids"], token_type_ids=inputs["token_type_ids"])


def test_minilm_is_nearer_the_truth_than_torch(real: tuple[Pair, Pair]) -> None:
    ids = np.random.default_rng(0).integers(0, 30522, (8, 512))
    truth = real[1].ours.embeddings(ids)
    ours = np.abs(real[0].ours.embeddings(ids) - truth).max()
    theirs = np.abs(real[0].hooked(input_ids=ids)["embeddings"] - truth).max()
    assert ours <= theirs


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_tiny_models(tmp_path: Path, variant: str) -> None:
    config = TINY | VARIANTS[variant]
    tensors = {
        key: np.random.default_rng(len(key)).normal(size=array.shape).astype(np.float32)
        for key, array in random_tensors(config).items()
    }
    folder = write_checkpoint(tmp_path / "tiny", tensors, config)
    rng = np.random.default_rng(1)
    shape = (3, 7)
    inputs: dict[str, Any] = {
        "input_ids": rng.integers(0, config["vocab_size"], shape),
        "token_type_ids": rng.integers(0, config["type_vocab_size"], shape),
        "position_ids": rng.integers(0, config["max_position_embeddings"], shape),
    }
    pairs = Pair(folder, "float32"), Pair(folder, "float64")
    compare(*pairs, input_ids=inputs["input_ids"])
    compare(*pairs, **inputs)


def test_given_rows(real: tuple[Pair, Pair]) -> None:
    rows = np.random.default_rng(2).normal(size=(2, 5, 384)).astype(np.float32)
    with torch.no_grad():
        theirs = real[0].theirs.embeddings(inputs_embeds=torch.from_numpy(rows)).numpy()
    ours = real[0].ours.embeddings(inputs_embeds=rows)
    truth = real[1].ours.embeddings(inputs_embeds=rows.astype(np.float64))
    assert np.abs(ours - truth).max() <= float32_budget(truth, theirs)


@pytest.mark.parametrize("mean", [0, 1e2, 1e4, 1e6])
def test_layer_norm_at_large_means(mean: float) -> None:
    x = (np.random.default_rng(3).normal(size=(5, 768)) + mean).astype(np.float32)
    weight = np.random.default_rng(4).normal(size=768).astype(np.float32)
    bias = np.random.default_rng(5).normal(size=768).astype(np.float32)
    arguments = [torch.from_numpy(array) for array in (x, weight, bias)]
    theirs = torch.nn.functional.layer_norm(arguments[0], (768,), *arguments[1:], eps=1e-12)
    wide = [argument.double() for argument in arguments]
    truth = torch.nn.functional.layer_norm(wide[0], (768,), *wide[1:], eps=1e-12).numpy()
    ours = layer_norm(x, weight, bias, eps=1e-12).output
    assert np.abs(ours - truth).max() <= float32_budget(truth, theirs.numpy())


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_a_mask_drawn_here_and_applied_in_torch(p: float, dtype: str) -> None:
    x = np.random.default_rng(6).normal(size=(3, 7, 24)).astype(dtype)
    keep = draw_keep(x.shape, p, np.random.default_rng(7))
    ours = dropout(x, p, keep=keep).output
    # As aten/src/ATen/native/Dropout.cpp: noise = mask / (1 - p) in the input's dtype; x * noise.
    noise = torch.from_numpy(keep).to(getattr(torch, dtype)).div_(1 - p)
    assert ours.tobytes() == (torch.from_numpy(x) * noise).numpy().tobytes()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_torchs_own_dropout_with_its_mask_read_back(p: float, dtype: str) -> None:
    x = torch.randn(50, 40, dtype=getattr(torch, dtype), generator=torch.Generator().manual_seed(8))
    torch.manual_seed(9)
    theirs = torch.nn.functional.dropout(x, p, training=True).numpy()
    ours = dropout(x.numpy(), p, keep=theirs != 0).output
    assert ours.tobytes() == theirs.tobytes()


@pytest.fixture
def demo_in_torch() -> Any:
    folder = Path(__file__).parent.parent.parent / "numpy_bert" / "demo"
    return transformers.BertForPreTraining.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )


def test_transformers_loads_the_demo_with_nothing_missing(demo_in_torch: Any) -> None:
    model, info = demo_in_torch
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = np.array([[2, 190, 135, 3]])
    with torch.no_grad():
        theirs = model.bert.embeddings.eval()(torch.from_numpy(ids)).numpy()
    ours = BertModel.from_pretrained("demo").embeddings(ids)
    assert np.abs(ours - theirs).max() < 1e-6


def test_unused_keys_are_those_that_transformers_reports(tmp_path: Path) -> None:
    tensors = {
        (key if key.startswith("cls.") else f"bert.{key}"): array
        for key, array in random_tensors(heads=True).items()
    }
    folder = write_checkpoint(tmp_path / "heads", tensors)
    _, info = transformers.BertModel.from_pretrained(folder, output_loading_info=True)
    ours = BertModel.from_pretrained(folder).loading_info
    assert set(ours.unexpected_keys) == set(info["unexpected_keys"])
    assert len(ours.unexpected_keys) == 7


def test_the_other_gelu_and_more_do_not_change_the_embedding(tmp_path: Path) -> None:
    # MiniLM alone has one spelling of everything: another activation must load all the same.
    for act in ("gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh"):
        folder = write_checkpoint(tmp_path / act, config=TINY | {"hidden_act": act})
        theirs = transformers.BertModel.from_pretrained(folder).eval()
        ids = np.array([[1, 2, 3]])
        with torch.no_grad():
            expected = theirs.embeddings(torch.from_numpy(ids)).numpy()
        ours = BertModel.from_pretrained(folder)
        assert ours.config.hidden_act == act
        assert np.abs(ours.embeddings(ids) - expected).max() < 1e-6


def test_what_transformers_saves_is_read(tmp_path: Path) -> None:
    config = transformers.BertConfig(**{k: v for k, v in TINY.items() if k != "model_type"})
    model = transformers.BertForPreTraining(config).eval()
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == "bert"
    ours = BertModel.from_pretrained(tmp_path / "saved")
    ids = np.arange(14).reshape(2, 7)
    with torch.no_grad():
        theirs = model.bert.embeddings(torch.from_numpy(ids)).numpy()
    assert np.abs(ours.embeddings(ids) - theirs).max() < 1e-6


def test_half_tables_are_exact_where_torch_flushes_subnormals_to_zero() -> None:
    stored = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    stored = stored[np.isfinite(stored)]
    expected = stored.astype(np.float32)
    found = np.empty_like(expected)
    assert torch.set_flush_denormal(True)
    try:
        widen_into(stored, found)
    finally:
        torch.set_flush_denormal(False)
    assert found.tobytes() == expected.tobytes()
