"""Training on pairs against sentence-transformers: losses, all gradients, whole runs, names."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.base.data_collator import DEFAULT_LABEL_COLUMNS
from sentence_transformers.sentence_transformer import losses

from numpy_bert import InputError, SentenceEncoder
from numpy_bert.arrays import Array
from numpy_bert.training import (
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
    SentenceEncoderTrainer,
    Trainer,
    TrainingArguments,
)
from numpy_bert.training import pairs as pair_module
from numpy_bert.training.pairs import PairedTexts, PairModel
from numpy_bert.training.run_folder import LOG
from tests.parity.test_encoding_parity import pooling, save, st
from tests.tolerances import GRADIENT_FLOAT64

KINDS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ranking": (MultipleNegativesRankingLoss, {}),
    "ranking, scale 3": (MultipleNegativesRankingLoss, {"scale": 3.0}),
    "cosent": (CoSENTLoss, {}),
    "cosent, scale 5": (CoSENTLoss, {"scale": 5.0}),
    "cosine": (CosineSimilarityLoss, {}),
}
SCORES = [0.25, 1.0, 0.25, 0.75]  # exact in float32, which theirs makes of a score
FIRST = ["a cat sat", "the dog ran to the house", "it is warm", "alice saw a rabbit"]
SECOND = ["a kitten", "a puppy went home quickly", "the sun is up", "there was a rabbit, and a hat"]
THIRD = ["a stone", "nobody ran", "it is cold today", "she read a book about the rabbits of a town"]


@pytest.fixture(scope="module")
def demo() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo", dtype="float64")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negatives", [0, 2])
def test_losses_of_vectors(kind: str, negatives: int, demo: SentenceEncoder) -> None:
    ours, options = KINDS[kind]
    if negatives and ours is not MultipleNegativesRankingLoss:
        return
    rng = np.random.default_rng(3)
    vectors = [rng.standard_normal((4, 7)) for _ in range(2 + negatives)]
    tensors = [torch.from_numpy(each).requires_grad_() for each in vectors]
    theirs = getattr(losses, ours.__name__)(model=None, **options)
    scores = np.array(SCORES)
    expected = theirs.compute_loss_from_embeddings(tensors, torch.from_numpy(scores))
    expected.backward()
    found = ours(demo, **options).gradients(vectors, scores)
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-9, abs=1e-12)
    for column, tensor in zip(found.columns, tensors, strict=True):
        np.testing.assert_allclose(column, tensor.grad.numpy(), rtol=0, atol=1e-9)


def dense(outs: int, **options: Any) -> Any:
    torch.manual_seed(5)
    return st.models.Dense(128, outs, **options)


def norm() -> Any:
    layer = st.models.LayerNorm(128)
    torch.nn.init.normal_(layer.norm.weight)
    return layer


MODULES: dict[str, Any] = {
    "mean": lambda: [pooling("mean")],
    "cls": lambda: [pooling("cls"), st.models.Normalize()],
    "max": lambda: [pooling("max")],
    "mean_sqrt_len": lambda: [pooling("mean_sqrt_len_tokens")],
    "weightedmean": lambda: [pooling("weightedmean")],
    "lasttoken": lambda: [pooling("lasttoken")],
    "two": lambda: [pooling(["mean", "max"])],
    "tanh": lambda: [pooling("mean"), dense(5), st.models.Normalize()],
    "no bias": lambda: [
        pooling("mean"),
        st.models.Normalize(),
        dense(5, bias=False, activation_function=torch.nn.GELU()),
    ],
    "norm": lambda: [pooling("mean"), norm(), dense(128, use_residual=True)],
    "residual": lambda: [
        pooling("mean"),
        dense(6, use_residual=True, activation_function=torch.nn.Sigmoid()),
    ],
}


def peer_of(folder: Path) -> Any:
    """Return sentence-transformers' model in float64, without dropout."""
    options = {"attn_implementation": "eager", "dtype": "float32"}
    peer = st.SentenceTransformer(str(folder), device="cpu", model_kwargs=options)
    return peer.double().eval()


def features_of(peer: Any, columns: list[list[str]]) -> list[Any]:
    return [peer.preprocess(column) for column in columns]


def named_as_ours(peer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of sentence-transformers' model by our names."""
    kinds = {"linear": "dense", "residual": "dense", "norm": "LayerNorm"}
    for name, parameter in peer.named_parameters():
        number, module, rest = name.split(".", 2)
        if number == "0":
            yield f"bert.{rest}", parameter
        elif module == "residual":
            yield f"{number}.dense.residual", parameter
        else:
            yield f"{number}.{kinds[module]}.{rest}", parameter


@pytest.mark.parametrize("kind", ["ranking", "cosent", "cosine"])
@pytest.mark.parametrize("modules", ["mean", "tanh"])
def test_every_gradient_of_every_loss(kind: str, modules: str, tmp_path: Path) -> None:
    check_gradients(kind, modules, tmp_path)


@pytest.mark.parametrize("modules", [name for name in MODULES if name not in ("mean", "tanh")])
def test_every_gradient_through_every_module(modules: str, tmp_path: Path) -> None:
    check_gradients("ranking", modules, tmp_path)


def check_gradients(kind: str, modules: str, place: Path) -> None:
    """Compare the gradients of all parameters in float64 with autograd's."""
    folder = save(place, *MODULES[modules]())
    loss, options = KINDS[kind]
    columns = [FIRST, SECOND, *([THIRD] if kind == "ranking" else [])]
    dataset: dict[str, Any] = dict(zip("abc", columns, strict=False))
    if kind != "ranking":
        dataset["label"] = SCORES
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    model, data = PairModel(encoder, loss(encoder, **options)), PairedTexts(dataset, encoder)
    data.check(model)
    found = model.loss_and_gradients(data.batch(np.arange(4), np.random.default_rng(0)))
    peer = peer_of(folder)
    theirs = getattr(losses, loss.__name__)(peer, **options)
    expected = theirs(features_of(peer, columns), torch.tensor(SCORES))
    expected.backward()
    wanted = {n: p.grad.numpy() for n, p in named_as_ours(peer) if p.grad is not None}
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-9)
    ours = dict(found.named())
    assert set(wanted) == set(dict(model.named_parameters()))
    for name, reference in wanted.items():
        apart = float(np.abs(ours[name] - reference).max())
        assert apart <= GRADIENT_FLOAT64 * max(float(np.abs(reference).max()), 1e-3), name


def test_columns_that_are_read_apart_have_the_same_gradients(
    demo: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PairModel(demo, MultipleNegativesRankingLoss(demo))
    batch = PairedTexts({"a": FIRST, "b": SECOND, "c": THIRD}, demo).batch(
        np.arange(4), np.random.default_rng(0)
    )
    found = []
    for more in (0.0, 100.0):
        monkeypatch.setattr(pair_module, "_MORE", more)
        found.append(model.loss_and_gradients(batch))
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-12)
    for name, array in found[0].named():
        np.testing.assert_allclose(array, found[1].gradients[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["ranking", "cosent", "cosine"])
def test_a_run_has_the_losses_of_their_run(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", *MODULES["tanh"]())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    loss, options = KINDS[kind]
    dataset: dict[str, Any] = {"a": FIRST * 2, "b": SECOND + THIRD}
    if kind != "ranking":
        dataset["score"] = [0.25, 1.0, 0.25, 0.75, 0.5, 0.125, 0.0, 1.0]
    encoder = SentenceEncoder.from_pretrained(folder, dtype="float64")
    arguments = TrainingArguments(
        output_dir=tmp_path / "run",
        num_train_epochs=3,
        per_device_train_batch_size=3,
        learning_rate=1e-3,
        warmup_steps=0.2,
        weight_decay=0.1,
        logging_steps=1,
    )
    data = PairedTexts(dataset, encoder)
    run = Trainer[Any](PairModel(encoder, loss(encoder, **options)), data, arguments)
    order = [run._examples(step).tolist() for step in range(9)]
    trained = run.train()
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    ours = [line["loss"] for line in lines]
    peer = peer_of(folder)
    theirs = their_losses(peer, getattr(losses, loss.__name__)(peer, **options), dataset, order)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert ours[-1] < ours[0]
    after = dict(trained.named_parameters())
    for name, parameter in named_as_ours(peer):
        if not name.startswith("bert.pooler"):
            np.testing.assert_allclose(
                after[name], parameter.detach().numpy(), rtol=0, atol=1e-7, err_msg=name
            )


def their_losses(peer: Any, loss: Any, dataset: Any, order: list[list[int]]) -> list[float]:
    """Train as transformers' Trainer does, on the same batches."""
    named = [(n, p) for n, p in peer.named_parameters() if "pooler" not in n]
    plain = re.compile("bias|layer_?norm", re.IGNORECASE)
    no_decay = [p for n, p in named if plain.search(n)]
    decay = [p for n, p in named if not plain.search(n)]
    groups = [
        {"params": decay, "weight_decay": 0.1},
        {"params": no_decay, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 2, len(order))
    found = []
    for numbers in order:
        columns = [[dataset[key][n] for n in numbers] for key in "ab"]
        scores = torch.tensor([dataset["score"][n] for n in numbers] if "score" in dataset else [])
        value = loss(features_of(peer, columns), scores)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        scheduler.step()
        found.append(float(value.detach()))
    return found


def test_a_trained_model_loads_there(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", *MODULES["residual"](), prompts={"query": "find: "})
    model = SentenceEncoder.from_pretrained(folder)
    trainer = SentenceEncoderTrainer(
        model=model,
        args=TrainingArguments(output_dir=tmp_path / "run", max_steps=3, learning_rate=1e-3),
        train_dataset={"anchor": FIRST, "positive": SECOND},
        loss=MultipleNegativesRankingLoss(model),
    )
    trained = trainer.train()
    trained.save_pretrained(tmp_path / "saved")
    for place in ("run", "saved"):
        peer = st.SentenceTransformer(str(tmp_path / place), device="cpu")
        np.testing.assert_allclose(trained.encode(THIRD), peer.encode(THIRD), rtol=0, atol=1e-5)
        assert peer.prompts["query"] == "find: "
    assert np.abs(trained.encode(THIRD) - model.encode(THIRD)).max() > 1e-3


def test_the_settings_are_theirs() -> None:
    theirs = {f.name: f.default for f in dataclasses.fields(SentenceTransformerTrainingArguments)}
    own = {"logging_steps", "seed"}  # as the docstring says
    ours_alone = {"group_by_length", "early_stopping_patience"}  # a strategy and a callback there
    for field in dataclasses.fields(TrainingArguments):
        if field.name in own | ours_alone:
            continue
        wanted = theirs[field.name]
        wanted = None if field.name == "max_steps" and wanted == -1 else wanted
        assert getattr(wanted, "value", wanted) == field.default, field.name
    taken = {p.name for p in inspect.signature(TrainingArguments).parameters.values()}
    assert taken - ours_alone <= set(theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every: dict[str, Any] = {
            name: theirs[name]
            for name in taken & set(theirs)
            if theirs[name] is not dataclasses.MISSING and name != "load_best_model_at_end"
        }
    assert TrainingArguments(**every) == TrainingArguments(logging_steps=500, seed=42)


@pytest.mark.parametrize("loss", [MultipleNegativesRankingLoss, CoSENTLoss, CosineSimilarityLoss])
def test_the_arguments_of_the_losses_are_theirs(loss: type[Any], demo: SentenceEncoder) -> None:
    theirs = inspect.signature(getattr(losses, loss.__name__).__init__).parameters
    assert list(inspect.signature(loss.__init__).parameters) == list(theirs)
    defaults = {
        name: parameter.default
        for name, parameter in theirs.items()
        if parameter.default is not inspect.Parameter.empty
    }
    made = loss(demo, **defaults)
    assert made.identity == loss(demo).identity
    if "scale" in defaults:
        assert made.scale == defaults["scale"]


def test_the_columns_of_numbers_are_theirs() -> None:
    assert tuple(DEFAULT_LABEL_COLUMNS) == pair_module._SCORES


def test_float32_follows_float64(demo: SentenceEncoder) -> None:
    narrow = SentenceEncoder.from_pretrained("demo")
    found: list[dict[str, Array]] = []
    for encoder in (demo, narrow):
        model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
        data = PairedTexts({"a": FIRST, "b": SECOND}, encoder)
        found.append(
            dict(
                model.loss_and_gradients(data.batch(np.arange(4), np.random.default_rng(0))).named()
            )
        )
    exact, ours = found
    length = np.sqrt(sum(float(np.square(array).sum()) for array in exact.values()))
    apart = np.sqrt(sum(float(np.square(ours[n] - exact[n]).sum()) for n in exact))
    assert {array.dtype for array in ours.values()} == {np.dtype("f4")}
    assert apart < 1e-5 * length


def test_a_sum_of_squares_is_not_taken_for_their_mean() -> None:
    encoder = SentenceEncoder("demo")
    CosineSimilarityLoss(encoder, torch.nn.MSELoss())
    with pytest.raises(InputError, match=r"have the reduction 'mean', .* got 'sum'"):
        CosineSimilarityLoss(encoder, torch.nn.MSELoss(reduction="sum"))
