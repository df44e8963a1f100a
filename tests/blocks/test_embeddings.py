"""numpy_bert.blocks.embeddings through a loaded model: steps, arguments, refusals, invariance."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, CheckpointError, InputError
from numpy_bert.arrays import Array
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import FLOAT32_FLOOR

B, T, H = 3, 7, TINY["hidden_size"]
RNG = np.random.default_rng(7)
IDS = RNG.integers(0, TINY["vocab_size"], (B, T))
SEGMENTS = RNG.integers(0, TINY["type_vocab_size"], (B, T))
READ_ONLY = np.zeros((B, T, H), np.float32)
for _array in (IDS, SEGMENTS, READ_ONLY):
    _array.flags.writeable = False


def near(found: Array, expected: Array) -> bool:
    """Tell whether the kernels and the readable code agree."""
    return bool(np.abs(found - expected).max() <= FLOAT32_FLOOR)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(tiny: Path) -> BertModel:
    return BertModel.from_pretrained(tiny)


def test_steps_are_what_their_names_say(tiny: Path, dtype: str) -> None:
    model = BertModel.from_pretrained(tiny, dtype=dtype)
    tensors = random_tensors()
    steps = model.embeddings.steps(IDS, SEGMENTS)
    word = tensors["embeddings.word_embeddings.weight"][IDS]
    segment = tensors["embeddings.token_type_embeddings.weight"][SEGMENTS]
    position = tensors["embeddings.position_embeddings.weight"][np.arange(T)][np.newaxis]
    assert np.array_equal(steps.word_embeddings, word)
    assert steps.token_type_embeddings is not None
    assert np.array_equal(steps.token_type_embeddings, segment)
    assert np.array_equal(steps.position_embeddings, position)
    assert steps.position_embeddings.shape == (1, T, H)
    assert np.array_equal(steps.sum, (word + segment) + position)
    assert steps.output is steps.dropout.output is steps.LayerNorm.output
    for array in (steps.sum, steps.output, steps.LayerNorm.normalized):
        assert array.shape == (B, T, H)
        assert array.dtype == dtype
    assert near(model.embeddings(IDS, SEGMENTS), steps.output)


def test_the_parts_can_be_called_one_by_one_as_in_transformers(model: BertModel) -> None:
    parts = model.eval().embeddings
    total = (
        parts.word_embeddings(IDS)
        + parts.token_type_embeddings(SEGMENTS)
        + parts.position_embeddings(np.arange(T))[np.newaxis]
    )
    output = parts.dropout(parts.LayerNorm(total))
    assert near(output, parts(IDS, SEGMENTS))
    assert parts.word_embeddings.weight.shape == (TINY["vocab_size"], H)
    assert parts.LayerNorm.eps == TINY["layer_norm_eps"]
    assert parts.dropout.p == TINY["hidden_dropout_prob"]


def test_defaults_are_segment_zero_and_positions_in_order(model: BertModel) -> None:
    spelled = model.embeddings(IDS, np.zeros_like(IDS), np.arange(T))
    assert np.array_equal(model.embeddings(IDS), spelled)


@pytest.mark.parametrize("shape", [(T,), (1, T), (B, T)])
def test_positions_of_each_allowed_shape(model: BertModel, shape: tuple[int, ...]) -> None:
    positions = np.broadcast_to(np.arange(T)[::-1], shape)
    output = model.embeddings(IDS, SEGMENTS, positions)
    table = model.embeddings.position_embeddings.weight
    words = model.embeddings.word_embeddings(IDS)
    segments = model.embeddings.token_type_embeddings(SEGMENTS)
    expected = model.embeddings.LayerNorm((words + segments) + table[np.arange(T)[::-1]])
    assert near(output, expected)


def test_given_rows_take_the_place_of_the_word_look_up(model: BertModel) -> None:
    rows = model.embeddings.word_embeddings(IDS)
    output = model.embeddings(inputs_embeds=rows, token_type_ids=SEGMENTS)
    assert np.array_equal(output, model.embeddings(IDS, SEGMENTS))


def test_dropout_is_on_only_when_asked_for(model: BertModel) -> None:
    plain = model.embeddings(IDS)
    steps = model.embeddings.steps(IDS, rng=np.random.default_rng(0))
    assert steps.dropout.keep is not None
    assert not steps.dropout.keep.all()
    assert near(steps.LayerNorm.output, plain)
    assert np.array_equal(model.embeddings(IDS, keep=steps.dropout.keep), steps.output)
    assert np.array_equal(model.embeddings(IDS), plain)


def test_the_result_can_be_written_into_a_buffer(tiny: Path, dtype: str) -> None:
    model = BertModel.from_pretrained(tiny, dtype=dtype)
    out = np.full((B, T, H), np.nan, dtype)
    assert model.embeddings(IDS, out=out) is out
    assert out.tobytes() == model.embeddings(IDS).tobytes()
    keep = model.embeddings.steps(IDS, rng=np.random.default_rng(0)).dropout.keep
    assert model.embeddings(IDS, rng=np.random.default_rng(0), out=out) is out
    assert out.tobytes() == model.embeddings(IDS, keep=keep).tobytes()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (
            np.empty((B, T, H)),
            rf"out must be float32 of .*; got float64 of shape \({B}, {T}, {H}\)",
        ),
        (
            np.empty((B, T + 1, H), np.float32),
            r"out must be float32 of .*; got float32 of shape \(3, 8, 24\)",
        ),
        ([[0.0]], "out must be float32 .*; got list"),
        (np.empty((B, T, 2 * H), np.float32)[:, :, ::2], "out must be C-contiguous and writeable"),
        (READ_ONLY, "out must be C-contiguous and writeable"),
    ],
    ids=["dtype", "shape", "list", "strided", "read-only"],
)
def test_a_buffer_that_does_not_fit_is_refused(model: BertModel, out: Any, message: str) -> None:
    for rng in (None, np.random.default_rng(0)):
        with pytest.raises(InputError, match=f"^embeddings: {message}"):
            model.embeddings(IDS, rng=rng, out=out)


def test_a_buffer_may_not_be_the_input(model: BertModel) -> None:
    rows = model.embeddings.word_embeddings(IDS)
    before = rows.copy()
    shares = "^embeddings: out must not share memory with another argument"
    with pytest.raises(InputError, match=shares):
        model.embeddings(inputs_embeds=rows, out=rows)
    assert np.array_equal(rows, before)
    memory = np.zeros(B * T * H, np.float32)
    ids = memory[: 2 * B * T].view(np.int64).reshape(B, T)
    for arguments in ((ids,), (IDS, ids), (IDS, SEGMENTS, ids)):
        with pytest.raises(InputError, match=shares):
            model.embeddings(*arguments, out=memory.reshape(B, T, H))


def test_a_row_is_the_same_alone_in_a_batch_and_padded(model: BertModel) -> None:  # F13
    batch = model.embeddings(IDS, SEGMENTS)
    for row in range(B):
        alone = model.embeddings(IDS[row : row + 1], SEGMENTS[row : row + 1])
        assert alone.tobytes() == batch[row].tobytes()
    padded = np.zeros((B, T + 4), dtype=np.int64)
    padded[:, :T] = IDS
    segments = np.zeros_like(padded)
    segments[:, :T] = SEGMENTS
    assert np.array_equal(model.embeddings(padded, segments)[:, :T], batch)


def test_garbage_at_other_positions_changes_nothing_here(model: BertModel) -> None:  # F12
    rows = model.embeddings.word_embeddings(IDS)
    clean = model.embeddings(inputs_embeds=rows)
    rows[1, 3] = np.nan
    rows[2, 6] = np.inf
    output = model.embeddings(inputs_embeds=rows)
    others = np.ones((B, T), bool)
    others[1, 3] = others[2, 6] = False
    assert output[others].tobytes() == clean[others].tobytes()
    assert np.isnan(output[1, 3]).all()


@pytest.mark.parametrize("shape", [(0, 7), (3, 0), (0, 0)])
def test_empty_batches_and_rows_are_defined(model: BertModel, shape: tuple[int, int]) -> None:
    assert model.embeddings(np.zeros(shape, np.int64)).shape == (*shape, H)  # F4


V, P, S = TINY["vocab_size"], TINY["max_position_embeddings"], TINY["type_vocab_size"]


def _with(value: int, place: tuple[int, int]) -> Any:
    ids = IDS.copy()
    ids[place] = value
    return ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"input_ids": _with(V, (1, 4))},
            rf"^embeddings: input_ids\[1, 4\] = {V} is outside the vocabulary of {V} "
            r"\(word_embeddings\)\. Is the tokenizer from another checkpoint\?$",
        ),  # F1, and the sample of design.md section 6
        ({"input_ids": _with(-1, (0, 0))}, r"input_ids\[0, 0\] = -1 is outside the vocabulary"),
        ({"input_ids": IDS[0]}, r"input_ids must have shape \(B, T\); got \(7,\).*\[ids\]"),
        ({"input_ids": IDS[np.newaxis]}, r"input_ids must have shape \(B, T\); got \(1, 3, 7\)"),
        (
            {"input_ids": IDS.astype(float)},
            "input_ids must be an array of integers; got dtype float64",
        ),
        ({"input_ids": IDS > 3}, "input_ids must be an array of integers; got dtype bool"),
        ({}, "give input_ids or inputs_embeds, one of the two"),
        (
            {"input_ids": IDS, "inputs_embeds": np.zeros((B, T, H), np.float32)},
            "one of the two",
        ),
        (
            {"inputs_embeds": np.zeros((B, T, H))},
            r"inputs_embeds must be float32 of shape \(B, T, 24\); got float64",
        ),
        (
            {"inputs_embeds": np.zeros((B, T, H + 1), np.float32)},
            r"inputs_embeds must be .*; got float32",
        ),
        (
            {"inputs_embeds": np.zeros((B, T, H), np.float16)},
            "inputs_embeds must be float32 or float64; got float16",
        ),
        (
            {"input_ids": IDS, "token_type_ids": np.full((B, T), S)},
            rf"token_type_ids\[0, 0\] = {S} is outside the {S} token types",
        ),  # F9
        ({"input_ids": IDS, "token_type_ids": -SEGMENTS - 1}, r"token_type_ids\[0, 0\] = -"),
        ({"input_ids": IDS, "token_type_ids": SEGMENTS[:, :-1]}, "token_type_ids must have shape"),
        (
            {"input_ids": IDS, "token_type_ids": SEGMENTS * 1.0},
            "token_type_ids must be an array of int",
        ),
        (
            {"input_ids": IDS, "position_ids": np.full((1, T), P)},
            rf"position_ids\[0, 0\] = {P} is outside the {P} positions",
        ),  # F10
        ({"input_ids": IDS, "position_ids": np.full((T,), -1)}, r"position_ids\[0, 0\] = -1"),
        ({"input_ids": IDS, "position_ids": np.zeros((2, T), int)}, "position_ids must have shape"),
        (
            {"input_ids": np.zeros((1, P + 1), int)},
            rf"has {P + 1} tokens a row; the model has {P} positions "
            r"\(max_position_embeddings\)\..*truncation=True",
        ),  # F11
    ],
)
def test_bad_arguments_are_named(model: BertModel, arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.embeddings(**arguments)


def test_the_longest_row_is_taken(model: BertModel) -> None:
    assert model.embeddings(np.zeros((1, P), int)).shape == (1, P, H)


@pytest.mark.parametrize(
    "key",
    [
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.LayerNorm.bias",
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_found_and_named(
    tmp_path: Path, key: str, value: float
) -> None:  # A15
    tensors = random_tensors()
    index = (5, 2) if tensors[key].ndim == 2 else (2,)
    tensors[key][index] = value
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "bad", tensors))
    message = f"{key}{list(index)} = {value}: this weight is not finite".replace("[", r"\[")
    with pytest.raises(CheckpointError, match=message):
        model.embeddings(np.full((1, 7), 5))
    if index == (5, 2) and "word" in key:
        # A row that is not used is not read, and disturbs nobody.
        assert np.isfinite(model.embeddings(np.full((1, 7), 6))).all()


def test_only_weights_in_use_are_blamed(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["embeddings.word_embeddings.weight"][6, 3] = np.nan
    tensors["embeddings.word_embeddings.weight"][7, 1] = np.inf
    tensors["embeddings.position_embeddings.weight"][9, 2] = -np.inf
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "bad", tensors))
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight\[7, 1\] = inf:"):
        model.embeddings([[1, 7]])
    with pytest.raises(CheckpointError, match=r"position_embeddings\.weight\[9, 2\] = -inf:"):
        model.embeddings([[1, 2]], position_ids=[[3, 9]])
    rows = np.full((1, 3, H), np.nan, np.float32)
    assert np.isnan(model.embeddings(inputs_embeds=rows)).all()
    rows[:] = 3e38
    rows[0, 1, 1] = np.float32(3.4e38)
    tensors["embeddings.token_type_embeddings.weight"][0] = 1e37
    large = BertModel.from_pretrained(write_checkpoint(tmp_path / "large", tensors))
    assert not np.isfinite(large.embeddings(inputs_embeds=rows)).all()  # the caller's own doing


def test_a_sum_that_overflows_says_so(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["embeddings.word_embeddings.weight"][5] = 3e38
    tensors["embeddings.position_embeddings.weight"][0] = 3e38
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "large", tensors))
    with pytest.raises(CheckpointError, match=r"embeddings\.sum overflows float32"):
        model.embeddings([[5]])


def test_it_works_where_numpy_is_set_to_raise(model: BertModel) -> None:  # G6
    expected = model.embeddings(IDS)
    with np.errstate(all="raise"):
        assert np.array_equal(model.embeddings(IDS), expected)
        assert np.geterr()["under"] == "raise"


def test_weights_and_steps_cannot_be_changed_by_accident(model: BertModel) -> None:
    weight: Array = model.embeddings.word_embeddings.weight
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 1.0
    steps = model.embeddings.steps(IDS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps.output = steps.sum  # type: ignore[misc]
    with pytest.raises(TypeError):
        IDS + steps  # type: ignore[operator]
