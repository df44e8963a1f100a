"""Rows F1 to F13 of the catalogue: ids and masks, which NumPy's own indexing never decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert import BertForSequenceClassification, BertModel, InputError
from tests.support.arrays import far
from tests.support.checkpoints import TINY
from tests.support.limits import within
from tests.support.traces import tiny
from tests.tolerances import ACROSS_BATCHES

B, T, H = 3, 7, TINY["hidden_size"]
V, P, S = TINY["vocab_size"], TINY["max_position_embeddings"], TINY["type_vocab_size"]
IDS = np.random.default_rng(3).integers(0, V, (B, T))
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
for _array in (IDS, MASK):
    _array.flags.writeable = False
LEAST = np.iinfo(np.int64).min


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    return tiny(tmp_path_factory.mktemp("f"))


def calls(model: BertModel) -> list[Callable[..., object]]:
    """Return all that takes ids: the kernels, the readable code, the embedding, a head."""
    head = BertForSequenceClassification(model)
    return [model, model.steps, head, head.steps]


def refused(model: BertModel, message: str, *arguments: Any, **named: Any) -> None:
    for call in calls(model):
        with pytest.raises(InputError, match=message):
            call(*arguments, **named)


def changed(value: object, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """Return the ids with another one in row 1, column 4."""
    ids = IDS.astype(dtype)
    ids[1, 4] = value
    return ids


@pytest.mark.parametrize("value", [-1, V, LEAST, -100, np.iinfo(np.int64).max])
def test_f1_an_id_outside_the_table_is_named_with_its_place(model: BertModel, value: int) -> None:
    message = rf"^embeddings: input_ids\[1, 4\] = {value} is outside the vocabulary of {V} \(word"
    refused(model, message, changed(value))


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        (IDS.astype(float), "got dtype float64"),
        (IDS > 3, "got dtype bool"),
        (IDS.astype(object), "got dtype object"),
        ([["[CLS]", "the"]], "got text. Write model"),
        (IDS.astype(complex), "got dtype complex128"),
        (np.full((B, T), np.nan), "got dtype float64"),
        ([[None, 3]], "got dtype object"),
        (IDS.astype("M8[s]"), r"got dtype datetime64\[s\]"),
        ([[10**400]], "got dtype object"),
    ],
    ids=["float", "bool", "object", "text", "complex", "nan", "none", "date", "400 digits"],
)
def test_f2_ids_of_another_kind_are_refused(model: BertModel, ids: Any, what: str) -> None:
    refused(model, f"^embeddings: input_ids must be an array of integers; {what}", ids)


def test_f2_a_masked_array_does_not_lose_its_mask(model: BertModel) -> None:
    masked = np.ma.masked_array(IDS, MASK == 0)
    refused(model, r"^embeddings: input_ids must be a plain array; got a masked one", masked)
    with pytest.raises(InputError, match=r"^attention_mask must be a plain array; got a masked"):
        model(IDS, np.ma.masked_array(MASK, MASK == 0))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**63, "uint64"), (2**64 - 1, "uint64"), (2**32 + 1, "int64"), (2**31, "uint32")],
)
def test_f3_the_range_is_checked_before_any_cast(model: BertModel, value: int, dtype: str) -> None:
    refused(model, rf"^embeddings: input_ids\[1, 4\] = {value} is outside", changed(value, dtype))


def test_f4_ids_have_two_axes_and_may_be_none(model: BertModel) -> None:
    for wrong in (5, IDS[0], IDS[np.newaxis]):
        shape = re.escape(str(np.shape(wrong)))
        for call in (model, model.steps):
            with pytest.raises(InputError, match=rf"must have shape \(B, T\); got {shape}"):
                call(wrong)
    nothing: list[Any] = []
    for empty in (nothing, [nothing]):
        refused(model, "^embeddings: input_ids must be .*; got an empty list, which", empty)
    for size in ((0, T), (B, 0), (0, 0)):
        found = model(np.zeros(size, np.int32))
        assert found.last_hidden_state.shape == (*size, H)
        assert found.last_hidden_state.dtype == np.float32


def test_f4_ragged_ids_are_refused_even_if_a_list_holds_itself(model: BertModel) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with within(5.0):
        for ragged in ([[1, 2], [3]], [[1, [2]]], endless):
            refused(model, "^embeddings: input_ids must have rows of one length", ragged)


def layouts(array: npt.NDArray[Any], folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the same numbers as they may lie in memory."""
    twice = np.repeat(array, 2, axis=1)
    mapped = np.memmap(folder / f"{array.max()}", array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return {
        "Fortran": np.asfortranarray(array),
        "strided": twice[:, ::2],
        "reversed": array[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "mapped": mapped,
    }


def test_f5_any_layout_gives_the_same_bits_and_is_left_as_it_is(
    model: BertModel, tmp_path: Path
) -> None:
    expected = model(IDS, MASK).last_hidden_state
    for name, ids in layouts(IDS, tmp_path).items():
        mask = layouts(MASK, tmp_path)[name]
        before = ids.tobytes(), mask.tobytes()
        assert np.array_equal(model(ids, mask).last_hidden_state, expected), name
        assert (ids.tobytes(), mask.tobytes()) == before
    row = np.broadcast_to(IDS[:1], (B, T))
    assert np.array_equal(model(row)[0], model(row.copy())[0])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK[:, :-1], r"must have shape \(3, 7\), a value for each token; got \(3, 6\)"),
        (MASK[0], r"must have shape .*; got \(7,\)"),
        (MASK[:, np.newaxis], r"must have shape .*; got \(3, 1, 7\)"),
        ([[1, 0], [1]], "must have rows of one length"),
        (MASK * 2, r"\[0, 0\] must be 1 for a token or 0 for padding; got 2"),
        (MASK - 1, r"\[0, 5\] must be 1 for a token or 0 .*; got -1"),
        (MASK * 0.5, r"\[0, 0\] must be 1 for a token or 0 for padding; got 0.5"),
        (np.where(MASK, 1.0, np.nan), r"\[0, 5\] must be 1 for a token or 0 .*; got nan"),
        (np.where(MASK, 0.0, -1e4), r"\[0, 5\] must be 1 for a token or 0 .*; got -10000.0"),
        (MASK.astype(object), "must be numbers or booleans, 0 or 1; got dtype object"),
    ],
    ids=["shape", "row", "axes", "ragged", "2", "-1", "half", "nan", "additive", "object"],
)
def test_f6_a_mask_of_another_kind_is_refused(model: BertModel, mask: Any, message: str) -> None:
    refused(model, f"^attention_mask ?{message}", IDS, mask)


def test_f7_a_row_without_a_token_is_finite_and_changes_no_other(model: BertModel) -> None:
    """The others are equal to the bit in the readable code, and within roundings in the kernels."""
    empty = MASK.copy()
    empty[1] = 0
    found, clean = model(IDS, empty), model(IDS, MASK)
    assert not found.last_hidden_state[1].any()
    for row in (0, 2):
        assert far(found.last_hidden_state[row], clean.last_hidden_state[row]) <= ACROSS_BATCHES
    whole = model(IDS, empty, unpad_inputs=False)
    assert np.isfinite(whole.last_hidden_state).all()
    for output in (found, whole):
        assert output.pooler_output is not None
        assert np.isfinite(output.pooler_output).all()
    steps = model.steps(IDS, empty), model.steps(IDS, MASK)
    for row in (0, 2):
        assert np.array_equal(*(step.encoder.output[row] for step in steps))


@pytest.mark.parametrize("row", ["0001111", "1010110", "0111111", "1111000", "0000001"])
def test_f8_padding_may_stand_anywhere_and_positions_are_absolute(
    model: BertModel, row: str
) -> None:
    used = [place for place, bit in enumerate(row) if bit == "1"]
    found = model(IDS, np.array([[int(bit) for bit in row]] * B)).last_hidden_state[:, used]
    alone = model(IDS[:, used], position_ids=np.array(used)).last_hidden_state
    assert far(found, alone) <= ACROSS_BATCHES
    assert far(found, model(IDS).last_hidden_state[:, used]) > 1e-3


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (np.full((B, T), -1), rf"\[0, 0\] = -1 is outside the {S} token types"),
        (np.full((B, T), S), rf"\[0, 0\] = {S} is outside the {S} token types"),
        (np.zeros((B, T)), " must be an array of integers; got dtype float64"),
        (np.zeros((B, 1), int), r" must have shape \(3, 7\), as input_ids; got \(3, 1\)"),
    ],
    ids=["negative", "too large", "float", "shape"],
)
def test_f9_segments_are_rows_of_their_table(model: BertModel, segments: Any, message: str) -> None:
    refused(model, f"^embeddings: token_type_ids{message}", IDS, token_type_ids=segments)
    zeros = np.zeros((B, T), np.int8)
    assert np.array_equal(model(IDS, token_type_ids=None)[0], model(IDS, token_type_ids=zeros)[0])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[P] * T], rf"\[0, 0\] = {P} is outside the {P} positions"),
        ([[-1] * T], rf"\[0, 0\] = -1 is outside the {P} positions"),
        ([0.0] * T, " must be an array of integers; got dtype float64"),
        ([0] * (T - 1), r" must have shape \(7,\), \(1, 7\) or \(3, 7\), as input_ids; got \(6,\)"),
        ([[0] * T] * 2, r" must have shape \(7,\), .*; got \(2, 7\)"),
    ],
    ids=["too large", "negative", "float", "too few", "rows"],
)
def test_f10_positions_are_rows_of_their_table(
    model: BertModel, positions: Any, message: str
) -> None:
    refused(model, f"^embeddings: position_ids{message}", IDS, position_ids=positions)


def test_f11_one_token_too_many_is_refused_before_anything_is_looked_up(model: BertModel) -> None:
    assert model(np.zeros((1, P), int))[0].shape == (1, P, H)
    message = rf"input_ids has {P + 1} tokens a row; the model has {P} positions \(max_position_"
    refused(model, message, np.zeros((1, P + 1), int))
    with pytest.raises(InputError, match=f"inputs_embeds has {P + 1} tokens a row"):
        model(inputs_embeds=np.zeros((1, P + 1, H), np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_f12_what_stands_at_padding_changes_no_token(model: BertModel, bad: float) -> None:
    rows = model.embeddings.word_embeddings(IDS).copy()
    clean = model(inputs_embeds=rows, attention_mask=MASK).last_hidden_state
    rows[MASK == 0] = bad
    found = model(inputs_embeds=rows, attention_mask=MASK).last_hidden_state
    assert np.array_equal(found[MASK == 1], clean[MASK == 1])


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_f13_a_sentence_alone_and_in_a_padded_batch(model: BertModel, padding: int) -> None:
    wide, mask = np.full((B, T + padding), 5), np.zeros((B, T + padding), int)
    wide[:, :T], mask[:, :T] = IDS, 1
    batch, embedded = model(wide, mask), model.embeddings(wide)
    for row in range(B):
        alone = model(IDS[row : row + 1])
        assert far(alone[0][0], batch[0][row, :T]) <= ACROSS_BATCHES
        assert far(alone[1][0], batch[1][row]) <= ACROSS_BATCHES
        assert np.array_equal(model.embeddings(IDS[row : row + 1])[0], embedded[row, :T])
