"""Every head and every task against transformers, and the small real checkpoints' own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers

import numpy_bert
from numpy_bert.model.with_head import BertWithHead
from numpy_bert.trace import named_steps
from tests.support import checkpoints
from tests.tolerances import HEADS_AGAINST_TORCH, SHIPPED_GOLDEN, float32_budget

SIZES = checkpoints.SIZES | {"type_vocab_size": 3, "initializer_range": 0.5}
# Class, what its config has besides, and where its head is.
HEADS: dict[str, tuple[str, dict[str, Any], str]] = {
    "pretraining": ("BertForPreTraining", {}, "cls"),
    "pretraining relu": (
        "BertForPreTraining",
        {"hidden_act": "relu", "layer_norm_eps": 1e-5},
        "cls",
    ),
    "masked lm": ("BertForMaskedLM", {"hidden_act": "gelu_new"}, "cls"),
    "pretraining untied": ("BertForPreTraining", {"tie_word_embeddings": False}, "cls"),
    "masked lm untied": ("BertForMaskedLM", {"tie_word_embeddings": False}, "cls"),
    "next sentence": ("BertForNextSentencePrediction", {}, "cls"),
    "sequence": ("BertForSequenceClassification", {"num_labels": 5}, "classifier"),
    "cross-encoder": ("BertForSequenceClassification", {"num_labels": 1}, "classifier"),
    "token": ("BertForTokenClassification", {"num_labels": 7}, "classifier"),
    "answers": ("BertForQuestionAnswering", {}, "qa_outputs"),
    "choice": ("BertForMultipleChoice", {}, "classifier"),
}


def seeded(name: str, **config: Any) -> Any:
    """Return transformers' model of a class with random weights, biases and norms included."""
    torch.manual_seed(7)
    model = getattr(transformers, name)(transformers.BertConfig(**(SIZES | config))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def inputs_of(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    shape = (2, 3, 7) if name == "BertForMultipleChoice" else (3, 7)
    mask = np.ones(shape, np.int64)
    mask[..., -1, 4:] = 0
    return {
        "input_ids": rng.integers(0, 61, shape),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 3, shape),
    }


def theirs_of(
    folder: Path, name: str, dtype: str, inputs: dict[str, Any]
) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Run transformers' model; return its output and what forward hooks see, by module path."""
    model = getattr(transformers, name).from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="eager"
    )
    seen: dict[str, npt.NDArray[Any]] = {}

    def keep(path: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen[path] = output.numpy()

        return hook

    for path, module in model.eval().named_modules():
        if not path.startswith("bert") and path:
            module.register_forward_hook(keep(path))
    with torch.no_grad():
        output = model(
            **{key: torch.from_numpy(value) for key, value in inputs.items()},
            output_hidden_states=True,
            output_attentions=True,
        )
    return output, seen


@pytest.mark.parametrize("case", HEADS)
def test_a_head_is_that_of_transformers(case: str, dtype: str, tmp_path: Path) -> None:
    name, config, place = HEADS[case]
    seeded(name, **config).save_pretrained(tmp_path)
    inputs = inputs_of(name)
    theirs, seen = theirs_of(tmp_path, name, dtype, inputs)
    exact, _ = theirs_of(tmp_path, name, "float64", inputs)
    model: BertWithHead[Any, Any] = getattr(numpy_bert, name).from_pretrained(tmp_path, dtype=dtype)
    ours = model(**inputs, output_hidden_states=True, output_attentions=True, unpad_inputs=False)
    assert list(ours.keys()) == [key for key in theirs if key != "loss"]
    assert type(ours).__name__ == type(theirs).__name__
    assert model.loading_info.unexpected_keys == ()
    for key in set(ours) - {"hidden_states", "attentions"}:
        reference, result = exact[key].numpy(), ours[key]
        assert (result.shape, result.dtype) == (reference.shape, dtype)
        budget = float32_budget(reference, theirs[key].numpy())
        budget = HEADS_AGAINST_TORCH if dtype == "float64" else budget
        np.testing.assert_allclose(result, reference, rtol=0, atol=budget, err_msg=key)
    assert len(ours.hidden_states) == len(ours.attentions) + 1 == 3
    if dtype == "float64":
        steps = dict(named_steps(model.steps(**inputs), ""))
        names = {path for path in seen if path.startswith(place) or path == "dropout"}
        # The decoder's scores are cls.predictions' own; `cls` returns a pair, or what is in it.
        names -= {"cls.predictions.decoder", "cls"}
        assert len(names) >= 1
        for path in names:
            result = steps[path]
            assert result.shape == seen[path].shape, path
            np.testing.assert_allclose(
                result, seen[path], rtol=0, atol=HEADS_AGAINST_TORCH, err_msg=path
            )


def test_all_of_a_masked_language_models_steps_are_compared(tmp_path: Path) -> None:
    """The names that the test above takes from transformers' modules."""
    seeded("BertForPreTraining").save_pretrained(tmp_path)
    _, seen = theirs_of(tmp_path, "BertForPreTraining", "float32", inputs_of(""))
    assert set(seen) == {
        "cls.predictions.transform.dense",
        "cls.predictions.transform.transform_act_fn",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.transform",
        "cls.predictions.decoder",
        "cls.predictions",
        "cls.seq_relationship",
    }


def test_a_classifiers_dropout_has_its_own_probability(tmp_path: Path) -> None:
    """The same masks, handed to torch: only the head's is told apart from the encoder's."""
    seeded(
        "BertForSequenceClassification",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.4,
    ).save_pretrained(tmp_path)
    inputs = inputs_of("")
    model = numpy_bert.BertForSequenceClassification.from_pretrained(tmp_path, dtype="float64")
    steps = model.steps(**inputs, rng=np.random.default_rng(5))
    keep = steps.dropout.keep
    assert keep is not None
    assert 0.2 < 1 - keep.mean() < 0.6
    theirs = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path, dtype=torch.float64
    ).eval()
    with torch.no_grad():
        pooled = theirs.bert(**{k: torch.from_numpy(v) for k, v in inputs.items()}).pooler_output
        logits = theirs.classifier(pooled * torch.from_numpy(keep) / 0.6).numpy()
    np.testing.assert_allclose(steps.classifier, logits, rtol=0, atol=HEADS_AGAINST_TORCH)
    called = model(**inputs, rng=np.random.default_rng(5)).logits
    np.testing.assert_array_equal(called, steps.classifier)


def golden(data: Path, name: str) -> tuple[Path, dict[str, Any]]:
    folder = data / "checkpoints" / name
    return folder, json.loads((folder / "golden.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "kind", "outputs"),
    [
        ("tinycrop_seqcls_L12_H8", "BertForSequenceClassification", {"logits": "logits"}),
        (
            "tinycrop_qa_L12_H8_v10",
            "BertForQuestionAnswering",
            {"start_logits": "start_logits", "end_logits": "end_logits"},
        ),
        (
            "bert_toy_pretraining_L5_H32",
            "BertForPreTraining",
            {
                "prediction_logits": "prediction_scores",
                "seq_relationship_logits": "seq_relationship_score",
            },
        ),
    ],
)
def test_shipped_logits(
    name: str, kind: str, outputs: dict[str, str], dtype: str, data: Path
) -> None:
    folder, shipped = golden(data, name)
    found = getattr(numpy_bert, kind).from_pretrained(folder, dtype=dtype)(
        **{key: np.array(value) for key, value in shipped["inputs"].items()}
    )
    mask = np.array(shipped["inputs"]["attention_mask"], bool)
    for ours, theirs in outputs.items():
        expected, result = np.array(shipped["outputs"][theirs]), found[ours]
        assert result.shape == expected.shape
        if result.shape[:2] == mask.shape:  # of padding nothing is promised
            expected, result = expected[mask], result[mask]
        np.testing.assert_allclose(result, expected, rtol=0, atol=SHIPPED_GOLDEN)


def test_keras_berts_text_to_logits(data: Path) -> None:
    folder, shipped = golden(data, "keras_bert_tiny_pretraining_L2_H4")
    model = numpy_bert.BertForPreTraining.from_pretrained(folder, dtype="float64")
    assert len(shipped["cases"]) >= 1
    for case in shipped["cases"]:
        texts = [case["text"], case["pair"]] if case.get("pair") else [case["text"]]
        encoded = model.tokenizer(*texts, return_tensors="np")
        assert encoded["input_ids"][0].tolist() == case["input_ids"]
        found = model(**encoded)
        np.testing.assert_allclose(
            found.prediction_logits[0], case["prediction_logits"], rtol=0, atol=HEADS_AGAINST_TORCH
        )
        np.testing.assert_allclose(
            found.seq_relationship_logits.ravel(),
            np.ravel(case["seq_relationship_logits"]),
            rtol=0,
            atol=HEADS_AGAINST_TORCH,
        )
