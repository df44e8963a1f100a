"""Every head of BERT's family against transformers: scores, losses, gradients, files both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.tasks.items import added_items
from numpy_bert.trace import named_steps
from tests.parity.test_gradients_parity import distance, labels_of, masks
from tests.support import checkpoints
from tests.support.family_models import in_words_of
from tests.tolerances import (
    GRADIENT_FLOAT64,
    GRADIENT_WILD,
    HEADS_AGAINST_TORCH,
    WILD,
    float32_budget,
    gradient_loss_budget,
)

__all__ = ["masks"]  # a fixture

Arrays = dict[str, npt.NDArray[Any]]

SIZES = checkpoints.SIZES | {
    "initializer_range": 0.5,
    "hidden_act": "relu",  # which a head with an activation of its own does not take
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "classifier_dropout": 0.5,
    "layer_norm_eps": 1e-5,
}
ROBERTA = SIZES | {"type_vocab_size": 1, "pad_token_id": 1}
FAMILY: dict[str, dict[str, Any]] = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": in_words_of(
        "distilbert",
        {name: value for name, value in SIZES.items() if name != "layer_norm_eps"}
        | {"hidden_act": "gelu_new", "qa_dropout": 0.4},
    ),
    "electra": SIZES
    | {
        "embedding_size": 17,
        "type_vocab_size": 3,
        "summary_activation": "gelu_new",
        "summary_last_dropout": 0.4,
    },
    "ernie": SIZES | {"type_vocab_size": 3, "use_task_id": True},
    "mpnet": {name: value for name, value in SIZES.items() if name != "classifier_dropout"},
}
ENDS: dict[str, dict[str, Any]] = {
    "ForPreTraining": {},
    "ForMaskedLM": {},
    "ForNextSentencePrediction": {},
    "ForSequenceClassification": {"num_labels": 5},
    "ForTokenClassification": {"num_labels": 7},
    "ForQuestionAnswering": {},
    "ForMultipleChoice": {},
}
UNTIED = {"tie_word_embeddings": False}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{kind} {end}": (kind, end, config)
    for kind in FAMILY
    for end, config in ENDS.items()
    if end in ARCHITECTURES[kind].heads
}
CASES |= {
    f"{kind} {end} untied": (kind, end, UNTIED)
    for kind, end, _ in list(CASES.values())
    if end == "ForMaskedLM"
}
CASES |= {
    "roberta regression": ("roberta", "ForSequenceClassification", {"num_labels": 1}),
    "distilbert several labels": (
        "distilbert",
        "ForSequenceClassification",
        {"num_labels": 5, "problem_type": "multi_label_classification"},
    ),
    "electra no map": ("electra", "ForMaskedLM", {"embedding_size": 24}),
}
# What RoBERTa has, others of its kind have by the same entry of the same table.
SLOW = ("xlm-roberta", "camembert")
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if case.startswith(SLOW) else case
        for case in CASES
    ],
)


def name_of(kind: str, end: str) -> str:
    return f"{ARCHITECTURES[kind].classes}{end}"


def config_of(kind: str, **changes: Any) -> Any:
    """Return transformers' config of a tiny model."""
    settings = FAMILY[kind] | changes
    config = transformers.CONFIG_MAPPING[kind](**settings)
    config._attn_implementation = "eager"
    return config


def seeded(kind: str, end: str, **changes: Any) -> Any:
    """Return transformers' model with random weights, biases and norms included."""
    torch.manual_seed(7)
    model = getattr(transformers, name_of(kind, end))(config_of(kind, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def batch_of(kind: str, end: str, config: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
    """Return inputs, of which a row ends in padding, and labels."""
    rng = np.random.default_rng(3)
    shape = (2, 3, 7) if end == "ForMultipleChoice" else (3, 7)
    pad = int(FAMILY[kind].get("pad_token_id", 1 if kind == "mpnet" else 0))
    ids, mask = rng.integers(2, 61, shape), np.ones(shape, np.int64)
    ids[..., -1, 4:], mask[..., -1, 4:] = pad, 0
    ids[..., 0, 3] = pad  # which is not masked
    inputs = {"input_ids": ids, "attention_mask": mask}
    if FAMILY[kind].get("type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = rng.integers(0, 3, shape)
    if kind == "electra" and end == "ForPreTraining":
        return inputs, {"labels": rng.integers(0, 2, shape)}
    return inputs, labels_of(f"Bert{end}", config)


def tensors(arrays: Mapping[str, npt.NDArray[Any]], dtype: str = "float64") -> dict[str, Any]:
    found = {key: torch.from_numpy(value) for key, value in arrays.items()}
    for key, tensor in found.items():
        if tensor.is_floating_point():
            found[key] = tensor.to(getattr(torch, dtype))
    return found


def written(case: str, folder: Path) -> tuple[Any, Arrays, Arrays]:
    """Save transformers' model of a case; return it in float64, inputs and labels."""
    kind, end, config = CASES[case]
    model = seeded(kind, end, **config)
    model.save_pretrained(folder)
    return model.double(), *batch_of(kind, end, config)


def ours_of(case: str, folder: Path, dtype: str = "float64") -> Any:
    kind, end, _ = CASES[case]
    return getattr(numpy_bert, name_of(kind, end)).from_pretrained(folder, dtype=dtype)


def bert_name(kind: str, key: str) -> str:
    """Return BERT's name for a name of transformers' model, as the architecture's entry has it."""
    entry = ARCHITECTURES[kind]
    found = f".{key.removeprefix(entry.prefix)}."
    for own, name in entry.keys.items():
        found = found.replace(f".{own}.", f".{name}.")
    return found.strip(".")


def named_alike(kind: str, arrays: Arrays, config: Mapping[str, Any]) -> Arrays:
    """Return parameters or gradients of transformers' model by the names of ours."""
    ties = config.get("tie_word_embeddings", True)
    second = {  # under which of its names a tied one is listed goes by the order of its modules
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    found = {}
    for key, array in arrays.items():
        name = bert_name(kind, key)
        is_own = key.startswith(ARCHITECTURES[kind].prefix)
        found[f"bert.{name}" if is_own else second.get(name, name) if ties else name] = array
    return found


def hooked(model: Any, inputs: Arrays) -> tuple[Any, Arrays]:
    """Run transformers' model; return its output and what hooks on the head's modules see."""
    seen: Arrays = {}

    def keep(path: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen[path] = output.numpy()

        return hook

    handles = [
        module.register_forward_hook(keep(path))
        for path, module in model.named_modules()
        if path and not path.startswith(model.base_model_prefix)
    ]
    with torch.no_grad():
        output = model(**tensors(inputs), output_hidden_states=True, output_attentions=True)
    for handle in handles:
        handle.remove()
    return output, seen


# Modules that are no steps here: their outputs are those of their last parts; and a dropout that
# is called twice, of which a hook keeps the second call.
NO_STEPS = {
    "classifier",
    "classifier.dropout",
    "cls",
    "cls.predictions.decoder",
    "cls.predictions.transform.activation",
    "discriminator_predictions",
    "lm_head",
    "sequence_summary",
    "sequence_summary.first_dropout",
    "activation",
}


@every_case
def test_a_head_is_that_of_transformers(case: str, tmp_path: Path) -> None:
    kind, _, _ = CASES[case]
    peer, inputs, _ = written(case, tmp_path)
    theirs, seen = hooked(peer, inputs)
    model = ours_of(case, tmp_path)
    assert type(model).__name__ == type(peer).__name__
    assert model.loading_info.unexpected_keys == ()
    ours = model(**inputs, output_hidden_states=True, output_attentions=True, unpad_inputs=False)
    assert type(ours).__name__ == type(theirs).__name__
    assert list(ours.keys()) == [key for key in theirs if key != "loss"]
    for key in set(ours) - {"hidden_states", "attentions"}:
        reference = theirs[key].numpy()
        assert ours[key].shape == reference.shape
        np.testing.assert_allclose(
            ours[key], reference, rtol=0, atol=HEADS_AGAINST_TORCH, err_msg=key
        )
    steps, compared = dict(named_steps(model.steps(**inputs), "")), 0
    for path, array in seen.items():
        name = bert_name(kind, path)
        if name not in NO_STEPS:
            result = steps[name]
            assert result.shape == array.shape, name
            np.testing.assert_allclose(
                result, array, rtol=0, atol=HEADS_AGAINST_TORCH, err_msg=name
            )
            compared += 1
    assert compared >= 1
    single = peer.float()
    with torch.no_grad():
        rounded = single(**tensors(inputs, "float32"))
    narrow = ours_of(case, tmp_path, "float32")(**inputs, unpad_inputs=False)
    for key in narrow:
        reference = theirs[key].numpy()
        assert narrow[key].dtype == np.float32
        budget = WILD * float32_budget(reference, rounded[key].numpy())
        np.testing.assert_allclose(narrow[key], reference, rtol=0, atol=budget, err_msg=key)


def torch_gradients(model: Any, batch: Arrays, dtype: str, *, drops: bool) -> tuple[float, Arrays]:
    """Return torch's loss and gradients, by its names; tied parameters have one."""
    model.train(drops)
    model.zero_grad()
    output = model(**tensors(batch, dtype))
    loss = output.loss
    if isinstance(model, transformers.ElectraForPreTraining):  # whose labels are made float32 there
        read = torch.from_numpy(batch["attention_mask"] == 1)
        labels = torch.from_numpy(batch["labels"])[read].to(output.logits.dtype)
        stated, loss = loss, torch.nn.BCEWithLogitsLoss()(output.logits[read], labels)
        assert float(stated.detach()) == pytest.approx(float(loss.detach()), rel=1e-6)
    loss.backward()
    found = {
        key: parameter.grad.numpy().copy()
        for key, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return float(loss.detach()), found


@pytest.mark.parametrize("drops", [False, True])
@every_case
def test_losses_and_gradients_are_those_of_autograd(
    case: str, drops: bool, tmp_path: Path, masks: list[npt.NDArray[np.bool_]]
) -> None:
    kind, _, config = CASES[case]
    peer, inputs, labels = written(case, tmp_path)
    batch = {**inputs, **labels}

    def rng() -> np.random.Generator | None:
        return np.random.default_rng(11) if drops else None

    model = ours_of(case, tmp_path)
    steps = dict(named_steps(model.steps(**inputs, rng=rng()), ""))
    keep = [array for path, array in steps.items() if path.endswith("keep")]
    assert bool(keep) == drops
    masks.extend(keep)
    exact_loss, given = torch_gradients(peer, batch, "float64", drops=drops)
    exact = named_alike(kind, given, config)
    found = model.loss_and_gradients(batch, rng=rng())
    assert abs(found.loss - exact_loss) <= gradient_loss_budget("float64", exact_loss, exact_loss)
    ours = dict(found.named())
    # What nothing reads has no gradient there, and 0 here: a pooler, the bias beside a decoder's.
    unread = set(ours) - set(exact)
    assert set(exact) <= set(ours)
    assert all(name.startswith("bert.pooler") or name == "cls.predictions.bias" for name in unread)
    assert not any(ours[name].any() for name in unread)
    for key, reference in exact.items():
        largest = max(float(np.abs(reference).max()), 1e-3)  # key.bias: a true gradient of 0
        assert ours[key].shape == reference.shape, key
        assert float(np.abs(ours[key] - reference).max()) <= GRADIENT_FLOAT64 * largest, key
    narrow = ours_of(case, tmp_path, "float32").loss_and_gradients(batch, rng=rng())
    masks.extend(keep)
    rounded_loss, given = torch_gradients(peer.float(), batch, "float32", drops=drops)
    rounded = named_alike(kind, given, config)
    budget = gradient_loss_budget("float32", exact_loss, rounded_loss)
    assert abs(narrow.loss - exact_loss) <= budget
    floor = GRADIENT_WILD * distance(exact, {})
    of_narrow = distance(dict(narrow.named()), exact)
    assert of_narrow <= max(2 * distance(rounded, exact), floor)


@every_case
def test_accumulated_batches_are_torchs_one_batch(case: str, tmp_path: Path) -> None:
    peer, inputs, labels = written(case, tmp_path)
    batch = {**inputs, **labels}
    their_loss, _ = torch_gradients(peer, batch, "float64", drops=False)
    model = ours_of(case, tmp_path)
    rows = len(batch["input_ids"])
    parts = [{key: array[at] for key, array in batch.items()} for at in ([0], [*range(1, rows)])]
    items = added_items(model.num_items_in_batch(part) for part in parts)
    found = [model.loss_and_gradients(part, num_items_in_batch=items) for part in parts]
    assert sum(part.loss for part in found) == pytest.approx(their_loss, rel=1e-12)
    assert model(**batch).loss == pytest.approx(their_loss, rel=1e-12)


@every_case
def test_what_is_saved_here_loads_there(case: str, tmp_path: Path) -> None:
    kind, end, _ = CASES[case]
    peer, inputs, _ = written(case, tmp_path / "theirs")
    model = ours_of(case, tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours")
    kinds = getattr(transformers, name_of(kind, end))
    loaded, info = kinds.from_pretrained(
        tmp_path / "ours",
        dtype=torch.float64,
        attn_implementation="eager",
        output_loading_info=True,
    )
    assert not info["unexpected_keys"]
    assert not info["missing_keys"]
    state = peer.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]) or name.endswith("lm_head.bias"), name
    with torch.no_grad():
        theirs = loaded.eval()(**tensors(inputs))
    saved = ours_of(case, tmp_path / "ours")
    assert saved.config == model.config
    assert saved.loading_info.unexpected_keys == ()
    again = saved(**inputs, unpad_inputs=False)
    for key in again:
        np.testing.assert_allclose(
            again[key], theirs[key].numpy(), rtol=0, atol=HEADS_AGAINST_TORCH, err_msg=key
        )
    stated = json.loads((tmp_path / "ours" / "config.json").read_text("utf-8"))
    assert stated["architectures"] == [name_of(kind, end)]
    assert stated["model_type"] == kind


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "mpnet"])
@pytest.mark.parametrize("end", ["ForSequenceClassification", "ForMultipleChoice"])
def test_a_new_head_starts_as_there(kind: str, end: str, tmp_path: Path) -> None:
    """Over a model without one: normal weights of one spread, no biases, the same parameters."""
    torch.manual_seed(3)
    base = getattr(transformers, f"{ARCHITECTURES[kind].classes}Model")(
        config_of(kind, initializer_range=0.05, num_labels=3)
    )
    base.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="newly initialized, because the checkpoint has none"):
        model = getattr(numpy_bert, name_of(kind, end)).from_pretrained(tmp_path, seed=5)
    theirs = getattr(transformers, name_of(kind, end)).from_pretrained(tmp_path)
    prefix = ARCHITECTURES[kind].prefix
    own = {
        name: parameter.detach().numpy()
        for name, parameter in theirs.named_parameters()
        if not name.startswith(prefix)
    }
    made = {key: array for key, array in model.named_parameters() if not key.startswith("bert.")}
    assert {key: array.shape for key, array in made.items()} == {
        key: array.shape for key, array in own.items()
    }
    for key, array in made.items():
        if key.endswith("bias"):
            assert not array.any()
            assert not own[key].any()
        elif array.size > 100:
            assert array.std() == pytest.approx(0.05, rel=0.15)
            assert own[key].std() == pytest.approx(0.05, rel=0.15)
    model.save_pretrained(tmp_path / "new")
    _, info = getattr(transformers, name_of(kind, end)).from_pretrained(
        tmp_path / "new", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
