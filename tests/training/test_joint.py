"""Several models over one BERT: their losses are added, what they share is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    InputError,
)
from numpy_bert.training import (
    JointData,
    JointModel,
    LabelledTexts,
    MaskedTexts,
    SentencePairs,
    SentenceStudent,
    Trainer,
    TrainingArguments,
    new_classifier,
)
from numpy_bert.training.data import batches
from tests.training.test_fit import TEXTS, written

DOCUMENTS = [["hello world", "the world", "hello un"], ["un world", "the the hello"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("model"), "BertForPreTraining")


def models_of(folder: Path, dtype: str = "float64") -> dict[str, Any]:
    bert = BertModel.from_pretrained(folder, dtype=dtype)
    return {
        "vectors": SentenceStudent.new(bert, 5, folder),
        "words": BertForMaskedLM.from_pretrained(folder, dtype=dtype),
        "pairs": BertForPreTraining.from_pretrained(folder, dtype=dtype),
    }


def data_of(folder: Path) -> JointData:
    tokenizer = BertTokenizer.from_pretrained(folder)
    return JointData(
        {
            "words": MaskedTexts(TEXTS, tokenizer, probability=0.4),
            "pairs": SentencePairs(DOCUMENTS, tokenizer, probability=0.4),
        },
        {"pairs": 0.5},
    )


def test_losses_and_gradients_are_added_by_their_weights(folder: Path) -> None:
    models, tokenizer = models_of(folder), BertTokenizer.from_pretrained(folder)
    joint = JointModel(models, {"words": 0.25})
    data, rng = data_of(folder), np.random.default_rng(1)
    batch = data.batch(np.arange(4), rng)
    inputs = dict(tokenizer(["hello world", "the un"], padding=True, return_tensors="np"))
    batch["vectors"] = {**inputs, "labels": rng.standard_normal((2, 5))}
    found = joint.loss_and_gradients(batch)
    each = {name: model.loss_and_gradients(batch[name]) for name, model in models.items()}
    weights = {"vectors": 1.0, "words": 0.25, "pairs": 1.0}
    assert found.loss == pytest.approx(sum(weights[n] * each[n].loss for n in models), rel=1e-12)
    sums = dict(found.named())
    assert set(sums) == set(dict(joint.named_parameters()))
    for name, array in sums.items():
        expected = sum(
            weights[key] * dict(one.named())[name]
            for key, one in each.items()
            if name in dict(one.named())
        )
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-12, err_msg=name)


def test_what_is_shared_is_one_array(folder: Path) -> None:
    joint = JointModel(models_of(folder))
    arrays = {name: np.array(array) for name, array in joint.named_parameters()}
    again = joint.with_parameters(arrays)
    name = "bert.encoder.layer.0.output.dense.weight"
    found = [dict(model.named_parameters())[name] for model in again.models.values()]
    assert all(array is arrays[name] for array in found)
    word = "cls.predictions.bias"
    for key in ("words", "pairs"):
        assert dict(again.models[key].named_parameters())[word] is arrays[word]


def test_a_joint_run_goes_on_in_the_same_bits(folder: Path, tmp_path: Path) -> None:
    models = models_of(folder, "float32")
    joint = JointModel({name: models[name] for name in ("words", "pairs")})

    def run(place: Path, save: int | None, data: Any) -> Any:
        settings = TrainingArguments(
            max_steps=6,
            per_device_train_batch_size=2,
            learning_rate=1e-3,
            save_steps=save,
            seed=2,
            group_by_length=True,
        )
        return Trainer(joint, data, settings, place).train()

    class Killed(Exception):
        """What ends a run in the middle."""

    class Breaks(JointData):
        """Data that break once."""

        left = 4

        def batch(self, numbers: Any, rng: np.random.Generator) -> Any:
            Breaks.left -= 1
            if Breaks.left == 0:
                raise Killed
            return super().batch(numbers, rng)

    whole = run(tmp_path / "whole", 2, data_of(folder))
    data = data_of(folder)
    breaks = Breaks(data._sets, data._shares)
    with pytest.raises(Killed):
        run(tmp_path / "cut", 2, breaks)
    resumed = run(tmp_path / "cut", 2, breaks)
    for (name, one), (_, other) in zip(
        whole.named_parameters(), resumed.named_parameters(), strict=True
    ):
        assert np.array_equal(one, other), name


def test_shares_and_smaller_sets(folder: Path) -> None:
    data = data_of(folder)
    assert len(data) == len(TEXTS)
    assert data.lengths.tolist() == [4, 4, 5, 5, 4]
    batch = data.batch(np.array([4, 3, 1, 0]), np.random.default_rng(0))
    assert len(batch["words"]["input_ids"]) == 4
    assert len(batch["pairs"]["input_ids"]) == 2
    assert len(data.batch(np.array([4]), np.random.default_rng(0))["pairs"]["input_ids"]) == 1
    with pytest.raises(InputError, match="'words' has 5 examples, the first set 2"):
        JointData({name: data._sets[name] for name in ("pairs", "words")})
    other = JointData(data._sets)
    assert other.fingerprint != data.fingerprint


class Numbers:
    """Data that say which examples they were asked for."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, list[int]()
        self.fingerprint, self.lengths = "", np.arange(count)

    def __len__(self) -> int:
        return self.count

    def batch(self, numbers: Any, rng: np.random.Generator) -> Any:
        del rng
        self.asked += numbers.tolist()
        return {}


def test_every_example_comes_as_often_as_another() -> None:
    first, part, small = Numbers(6400), Numbers(6400), Numbers(7)
    data = JointData({"a": first, "b": part, "c": small}, {"b": 0.5})
    for epoch in range(8):
        rng = np.random.default_rng(epoch)
        for numbers in batches(len(data), 64, rng, data.lengths):
            data.batch(numbers, rng)
    assert sorted(first.asked) == sorted([*range(6400)] * 8)
    counts = np.bincount(part.asked, minlength=6400)
    assert counts.mean() == 4.0
    assert counts[:640].mean() == pytest.approx(4.0, abs=0.3)  # the shortest
    assert counts[-640:].mean() == pytest.approx(4.0, abs=0.3)  # the longest
    assert np.ptp(np.bincount(small.asked)) <= 8


def test_what_does_not_fit_together_is_refused(folder: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder)
    words = BertForMaskedLM.from_pretrained(folder)
    with pytest.raises(InputError, match="has no model"):
        JointModel({})
    with pytest.raises(InputError, match="weights must be for its models; got one for 'order'"):
        JointModel({"words": words}, {"order": 1.0})
    with pytest.raises(InputError, match="must have one dtype"):
        JointModel({"a": words, "b": BertForMaskedLM.from_pretrained(folder, dtype="float64")})
    for weight in (-1.0, float("nan")):
        with pytest.raises(
            InputError, match=r"the weight of 'words' must be a number from 0; got "
        ):
            JointModel({"words": words}, {"words": weight})
    others = (new_classifier(words.bert, ["a", "b"], folder, seed=n) for n in (0, 1))
    with pytest.raises(InputError, match=r"classifier\.weight must be the same in '0' and '1'"):
        JointModel({str(number): model for number, model in enumerate(others)})
    with pytest.raises(InputError, match="batch is for pairs, but the models are words"):
        JointModel({"words": words}).loss_and_gradients({"pairs": {}})
    with pytest.raises(InputError, match="has no data"):
        JointData({})
    labelled = LabelledTexts(["hello"], [0], tokenizer)
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="above 0 and at most 1"):
            JointData({"a": labelled}, {"a": share})


def test_what_is_no_number_is_no_weight_and_no_share() -> None:
    model = BertForMaskedLM.from_pretrained("demo")
    data = MaskedTexts(["a cat"], BertTokenizer.from_pretrained("demo"))
    wrong: Any = {"words": "1"}
    with pytest.raises(
        InputError, match="JointModel: the weight of 'words' must be a number from 0; got '1'"
    ):
        JointModel({"words": model}, wrong)
    with pytest.raises(InputError, match=r"JointData: the share of 'words' must be .*; got '1'"):
        JointData({"words": data}, wrong)
    with pytest.raises(InputError, match="JointModel: a weight must be above 0; all are 0"):
        JointData({"words": data}).check(JointModel({"words": model}, {"words": 0.0}))
    arrays: Any
    for arrays in ([], None):
        for one in (model, JointModel({"words": model})):
            with pytest.raises(InputError, match=r"with_parameters: .*a mapping of names"):
                one.with_parameters(arrays)


def test_items_of_a_joint_model_are_for_every_model_or_for_each() -> None:
    joint = JointModel({"words": BertForMaskedLM.from_pretrained("demo")})
    batch = {"words": {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}}
    each = joint.loss_and_gradients(batch, num_items_in_batch={"words": 4}).loss
    assert joint.loss_and_gradients(batch, num_items_in_batch=4).loss == each
    with pytest.raises(InputError, match="must have a number for each model; got none for 'words'"):
        joint.loss_and_gradients(batch, num_items_in_batch={"other": 4})
