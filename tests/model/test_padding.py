"""Padding and the rows that are read: options that decide one thing each, and what reads what."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertModel, CheckpointError, InputError
from numpy_bert import arrays as array_checks
from numpy_bert import inputs as input_checks
from numpy_bert.arrays import Array
from numpy_bert.inputs import Packing
from numpy_bert.kernels.encoder import EncoderKernel
from numpy_bert.ops import embedding as look_ups
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.heads import TREES, write_head
from tests.tolerances import ACROSS_BATCHES

B, T = 4, 7
RNG = np.random.default_rng(3)
IDS = RNG.integers(5, 60, (B, T))
MASK = np.array([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 0, 0]])
REAL = MASK == 1
LABELS: dict[str, dict[str, Any]] = {
    "BertForPreTraining": {"labels": np.where(REAL, 7, -100), "next_sentence_label": [0, 1, 0, 1]},
    "BertForMaskedLM": {"labels": np.full((B, T), 7)},
    "BertForNextSentencePrediction": {"labels": [0, 1, 1, 0]},
    "BertForSequenceClassification": {"labels": [0, 1, 2, 3]},
    "BertForTokenClassification": {"labels": np.where(REAL, 1, -100)},
    "BertForQuestionAnswering": {"start_positions": [1, 2, 3, 0], "end_positions": [2, 6, 3, 1]},
    "BertForMultipleChoice": {"labels": [1, 0]},
}


def calm(config: dict[str, Any] = TINY) -> dict[str, Any]:
    """Return tensors whose numbers have the size of trained ones."""
    return {key: array * np.float32(0.25) for key, array in random_tensors(config).items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BertModel]:
    folder = write_checkpoint(tmp_path_factory.mktemp("tiny"), calm())
    return {dtype: BertModel.from_pretrained(folder, dtype=dtype) for dtype in ("f4", "f8")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("heads")
    return {name: write_head(root / name, name) for name in TREES}


def far(found: Array, expected: Array) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max(initial=0.0))


def bits(output: Any) -> dict[str, Any]:
    """Return all that an output holds but its loss, as bytes."""
    return {
        key: [np.asarray(a).tobytes() for a in (value if isinstance(value, tuple) else [value])]
        for key, value in output.items()
        if key != "loss"
    }


def shaped(name: str) -> dict[str, Any]:
    shape = (2, 2, T) if name == "BertForMultipleChoice" else (B, T)
    return {"input_ids": IDS.reshape(shape), "attention_mask": MASK.reshape(shape)}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("unpad", [True, False])
def test_no_output_changes_because_another_is_asked_for(
    models: dict[str, BertModel], dtype: str, unpad: bool
) -> None:
    model = models[dtype]
    everything = model(
        IDS, MASK, output_hidden_states=True, output_attentions=True, unpad_inputs=unpad
    )
    for states, weights in ((False, False), (True, False), (False, True)):
        some = model(
            IDS,
            MASK,
            output_hidden_states=states,
            output_attentions=weights,
            unpad_inputs=unpad,
        )
        whole = bits(everything)
        assert bits(some) == {key: whole[key] for key in some}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_padding_is_left_out_or_computed_and_tokens_are_the_same_to_the_bit(
    models: dict[str, BertModel], dtype: str
) -> None:
    model: Any = models[dtype]
    options = {"output_hidden_states": True, "output_attentions": True}
    out, computed = (model(IDS, MASK, **options, unpad_inputs=unpad) for unpad in (True, False))
    steps = models["f8"].steps(IDS, MASK)
    exact = [steps.embeddings.output, *(layer.output.output for layer in steps.encoder.layer)]
    for left_out, all_of_it, right in zip(
        out.hidden_states, computed.hidden_states, exact, strict=True
    ):
        assert left_out[REAL].tobytes() == all_of_it[REAL].tobytes()
        assert not left_out[~REAL].any()
        assert far(all_of_it, right) <= (5e-6 if dtype == "f4" else 0.0)
    for left_out, all_of_it, layer in zip(
        out.attentions, computed.attentions, steps.encoder.layer, strict=True
    ):
        by_query = left_out.swapaxes(1, 2)
        assert by_query[REAL].tobytes() == all_of_it.swapaxes(1, 2)[REAL].tobytes()
        assert not by_query[~REAL].any()
        assert far(all_of_it, layer.attention.self.probs) <= (2e-6 if dtype == "f4" else 0.0)
    assert steps.pooler is not None
    assert far(computed.pooler_output, steps.pooler.output) <= (5e-6 if dtype == "f4" else 0.0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_row_of_nothing_but_padding_is_computed_as_transformers_does(
    models: dict[str, BertModel], dtype: str
) -> None:
    mask = MASK.copy()
    mask[2] = 0
    found: Any = models[dtype](IDS, mask, unpad_inputs=False, output_attentions=True)
    steps = models["f8"].steps(IDS, mask)
    assert far(found.last_hidden_state, steps.encoder.output) <= (5e-6 if dtype == "f4" else 0.0)
    assert found.attentions[1][2] == pytest.approx(1 / T)
    assert not models[dtype](IDS, mask).last_hidden_state[2].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TREES)
def test_labels_add_a_loss_and_change_nothing_else(
    name: str, dtype: str, folders: dict[str, Path]
) -> None:
    model = getattr(numpy_bert, name).from_pretrained(folders[name], dtype=dtype)
    exact = getattr(numpy_bert, name).from_pretrained(folders[name], dtype="float64")
    given, labels = shaped(name), LABELS[name]
    right = exact(**given, **labels, unpad_inputs=False).loss
    for options in ({}, {"output_hidden_states": True, "output_attentions": True}):
        for unpad in (True, False):
            plain = model(**given, **options, unpad_inputs=unpad)
            judged = model(**given, **options, **labels, unpad_inputs=unpad)
            assert plain.loss is None
            assert bits(judged) == bits(plain)
            assert judged.loss == pytest.approx(right, rel=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_some_places_of_packed_sequences(models: dict[str, BertModel], dtype: str) -> None:
    model, lengths = models[dtype], [7, 7, 3, 1, 5]
    ids = RNG.integers(5, 60, sum(lengths))
    whole = model.packed(ids, lengths)
    starts = np.cumsum(lengths) - lengths
    for places in (starts, [22, 3, 3, 0], [17], np.arange(23), np.zeros(0, int)):
        found = model.packed(ids, lengths, places=places)
        assert found.dtype == model.dtype
        assert far(found, whole[np.asarray(places)]) <= (ACROSS_BATCHES if dtype == "f4" else 0.0)
    for wrong, message in (
        ([23], r"packed: places\[0\] = 23 is outside the 23 rows of tokens"),
        ([-1], r"packed: places\[0\] = -1"),
        ([[1]], r"packed: places must have shape .*; got \(1, 1\)"),
        ([1.0], "packed: places must be an array of integers"),
    ):
        with pytest.raises(InputError, match=message):
            model.packed(ids, lengths, places=wrong)


class Spy:
    """What the encoder's kernel was asked to read, call by call: places of the last layer, or all.

    A call in which padding is computed is "padding".
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[Any] = []
        real = EncoderKernel.__call__

        def call(kernel: Any, tokens: Any, padding: Any = None, read: Any = None) -> bool:
            self.seen.append(
                "padding" if padding else "all" if read is None else read.places.tolist()
            )
            return real(kernel, tokens, padding, read)

        monkeypatch.setattr(EncoderKernel, "__call__", call)

    def of(self, run: Any) -> list[Any]:
        self.seen.clear()
        run()
        return list(self.seen)


@pytest.mark.parametrize("name", TREES)
def test_which_rows_are_read(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer computes the first token alone where the head reads no other."""
    model, spy = getattr(numpy_bert, name).from_pretrained(folders[name]), Spy(monkeypatch)
    ids = shaped(name)["input_ids"]
    reads_first = name in (
        "BertForNextSentencePrediction",
        "BertForSequenceClassification",
        "BertForMultipleChoice",
    )
    assert spy.of(lambda: model(ids)) == [[0, 7, 14, 21] if reads_first else "all"]
    assert spy.of(lambda: model(ids, output_hidden_states=True)) == ["all"]
    assert spy.of(lambda: model(ids, output_attentions=True)) == ["all"]
    assert spy.of(lambda: model(ids, rng=np.random.default_rng(0))) == []
    assert spy.of(lambda: model.steps(ids)) == []
    labels = LABELS[name]
    assert len(spy.of(lambda: model(ids, **labels))) == 1  # no padding: no second run
    assert spy.of(lambda: model.loss_and_gradients({"input_ids": ids, **labels})) == []
    exact = getattr(numpy_bert, name).from_pretrained(folders[name], dtype="float64")
    assert spy.of(lambda: exact(ids)) == []


def test_what_a_loss_of_padded_texts_costs(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run only where a first token is padding; an answer is looked for at padding."""
    spy = Spy(monkeypatch)
    right = MASK.copy()
    right[2] = MASK[1]
    for name, runs in (
        ("BertForSequenceClassification", 1),
        ("BertForTokenClassification", 1),
        ("BertForQuestionAnswering", 1),
        ("BertForNextSentencePrediction", 1),
    ):
        model = getattr(numpy_bert, name).from_pretrained(folders[name])
        labels = LABELS[name]
        if name == "BertForTokenClassification":
            labels = {"labels": np.where(right == 1, 1, -100)}
        seen = spy.of(lambda model=model, labels=labels: model(IDS, right, **labels))
        assert len(seen) == runs
        assert ("padding" in seen) == (name == "BertForQuestionAnswering")
    kind = numpy_bert.BertForSequenceClassification
    other = kind.from_pretrained(folders["BertForSequenceClassification"])
    seen = spy.of(lambda: other(IDS, MASK, labels=[0, 1, 2, 3]))
    assert len(seen) == 2
    assert seen[0] == "padding"


def test_fill_mask_reads_the_masks(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = numpy_bert.BertForMaskedLM.from_pretrained(folders["BertForMaskedLM"])
    spy = Spy(monkeypatch)
    assert spy.of(lambda: model.fill_mask("hello [MASK] world [MASK]")) == [[2, 4]]
    assert spy.of(lambda: model(IDS)) == ["all"]


@pytest.mark.parametrize("part", ["attention.self.key.weight", "output.dense.bias"])
def test_a_row_that_is_not_finite_names_its_tensor(tmp_path: Path, part: str) -> None:
    key = f"encoder.layer.1.{part}"
    tensors = calm()
    tensors[key].flat[0] = np.nan
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    for call in (
        lambda: model.packed([5, 6, 7], [3], places=[0]),
        lambda: model.hidden_at(model.inputs(IDS, MASK), np.array([0])),
        lambda: model(IDS, MASK, unpad_inputs=False),
        lambda: model(IDS, MASK, output_attentions=True),
    ):
        with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
            call()


def test_the_readable_code_keeps_one_layer(tmp_path: Path) -> None:
    """More layers take no more memory, but for what they are asked to return."""
    peaks = []
    for layers in (1, 4):
        config = TINY | {"num_hidden_layers": layers}
        folder = write_checkpoint(tmp_path / str(layers), calm(config), config)
        model = BertModel.from_pretrained(folder, dtype="float64")
        peaks.append(
            [
                peak(model.packed, np.full(19 * 8, 5), [19] * 8),
                peak(model, np.full((8, 19), 5)),
                peak(lambda ids, model=model: [None for _ in model.trace(ids)], [[5] * 19] * 8),
            ]
        )
    for one, four in zip(*peaks, strict=True):
        assert four <= 1.3 * one


def peak(call: Any, *arguments: Any) -> int:
    call(*arguments)
    tracemalloc.start()
    try:
        call(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_each_array_is_checked_once(
    models: dict[str, BertModel], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = models[dtype], list[str]()
    real = array_checks.as_ids

    def counted(value: Any, *, name: str) -> Any:
        seen.append(name.rpartition(" ")[2])
        return real(value, name=name)

    for module in (input_checks, look_ups):
        monkeypatch.setattr(module, "as_ids", counted)
    given = (IDS, MASK, np.zeros_like(IDS), np.arange(T))
    names = ["input_ids", "token_type_ids", "position_ids"]
    for call in (
        lambda: model(*given),
        lambda: model(*given, output_attentions=True),
        lambda: model.steps(*given),
        lambda: list(model.trace(*given)),
        lambda: model.embeddings(IDS, given[2], given[3]),
    ):
        seen.clear()
        call()
        assert seen == names
    seen.clear()
    model.packed(IDS.ravel(), [T] * B)
    assert seen == ["input_ids", "lengths"]


def test_weights_of_any_mask_go_back_to_their_places(models: dict[str, BertModel]) -> None:
    packing = Packing.of(models["f4"].inputs(IDS, MASK))
    assert packing.lengths == [3, 4, 5, 7]
    assert packing.counts == [4, 3, 2, 0]
    rows = packing.put_back(np.ones((19, 2), np.float32), np.full((9, 2), 2.0, np.float32))
    assert (rows[..., 0] == np.where(REAL, 1.0, 2.0)).all()
