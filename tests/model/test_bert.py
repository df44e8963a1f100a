"""numpy_bert.model.bert: what a call takes, refuses, returns, and leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, BertModel, InputError
from numpy_bert.model.outputs import BertModelOutput
from tests.support.arrays import far, sample
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.traces import tiny
from tests.tolerances import ACROSS_BATCHES

B, T, H, A, L = 3, 7, TINY["hidden_size"], TINY["num_attention_heads"], TINY["num_hidden_layers"]
RNG = np.random.default_rng(7)
IDS = RNG.integers(0, TINY["vocab_size"], (B, T))
SEGMENTS = RNG.integers(0, TINY["type_vocab_size"], (B, T))
POSITIONS = RNG.integers(0, TINY["max_position_embeddings"], (B, T))
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
for _array in (IDS, SEGMENTS, POSITIONS, MASK):
    _array.flags.writeable = False


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BertModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def test_what_comes_back(tmp_path: Path, dtype: str) -> None:
    model = tiny(tmp_path, dtype)
    assert model.dtype == dtype
    plain = model(IDS)
    assert plain.keys() == ("last_hidden_state", "pooler_output")
    output = model(IDS, MASK, SEGMENTS, output_hidden_states=True, output_attentions=True)
    assert output.hidden_states is not None
    assert output.attentions is not None
    assert output.pooler_output is not None
    assert [state.shape for state in output.hidden_states] == [(B, T, H)] * (L + 1)
    assert [weights.shape for weights in output.attentions] == [(B, A, T, T)] * L
    assert output.pooler_output.shape == (B, H)
    for array in (output[0], output.pooler_output, *output.hidden_states, *output.attentions):
        assert array.dtype == dtype
    assert np.array_equal(output.hidden_states[-1], output.last_hidden_state)
    embedded = model.embeddings(IDS, SEGMENTS)
    assert far(output.hidden_states[0][MASK == 1], embedded[MASK == 1]) <= ACROSS_BATCHES


def test_a_call_is_its_steps(tmp_path: Path, dtype: str) -> None:
    model = tiny(tmp_path, dtype)
    steps = model.steps(IDS, MASK, SEGMENTS, POSITIONS)
    output = model(IDS, MASK, SEGMENTS, POSITIONS)
    real = MASK == 1
    assert far(output.last_hidden_state[real], steps.encoder.output[real]) <= ACROSS_BATCHES
    assert steps.pooler is not None
    assert output.pooler_output is not None
    first = real[:, 0]
    assert far(output.pooler_output[first], steps.pooler.output[first]) <= ACROSS_BATCHES


def test_arguments_by_place_and_by_name_are_transformers(model: BertModel) -> None:
    placed = model(IDS, MASK, SEGMENTS, POSITIONS).last_hidden_state
    named = model(
        position_ids=POSITIONS, token_type_ids=SEGMENTS, attention_mask=MASK, input_ids=IDS
    )
    assert np.array_equal(placed, named.last_hidden_state)
    rows = model.embeddings.word_embeddings(IDS)
    given = model(None, MASK, SEGMENTS, POSITIONS, rows).last_hidden_state
    assert np.array_equal(placed, given)
    for other in (model(IDS), model(IDS, MASK, SEGMENTS), model(IDS, None, SEGMENTS, POSITIONS)):
        assert far(other.last_hidden_state, placed) > 1e-3


def test_a_mask_of_ones_is_none(model: BertModel) -> None:
    expected = model(IDS).last_hidden_state
    for mask in (np.ones((B, T), int), np.ones((B, T), bool), [[1] * T] * B, np.ones((B, T), "u1")):
        assert np.array_equal(model(IDS, mask).last_hidden_state, expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(0, T), (0, 0), (B, 0), (B, 1), (1, 1)])
def test_the_smallest_batches(model: BertModel, shape: tuple[int, int], masked: bool) -> None:
    mask = np.ones(shape, bool) if masked else None
    output = model(np.zeros(shape, int), mask, output_hidden_states=True, output_attentions=True)
    assert output.last_hidden_state.shape == (*shape, H)
    assert output.attentions is not None
    assert output.attentions[0].shape == (shape[0], A, shape[1], shape[1])
    if shape[1]:
        assert output.pooler_output is not None
        assert output.pooler_output.shape == (shape[0], H)
    else:  # there is no first token
        assert output.pooler_output is None


def test_the_longest_row_and_one_more(model: BertModel) -> None:  # F11
    most = TINY["max_position_embeddings"]
    assert model(np.zeros((1, most), int)).last_hidden_state.shape == (1, most, H)
    with pytest.raises(InputError, match=f"has {most + 1} tokens a row; the model has {most} pos"):
        model(np.zeros((1, most + 1), int))


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", "tanh"])
def test_it_works_where_numpy_is_set_to_raise(tmp_path: Path, act: str) -> None:  # G6
    model = tiny(tmp_path, hidden_act=act)
    calls: list[Any] = [
        lambda: model(IDS, MASK).last_hidden_state,
        lambda: model(IDS, MASK, output_attentions=True).last_hidden_state,
        lambda: model.steps(IDS, MASK).encoder.output,
        lambda: model(IDS, rng=np.random.default_rng(0)).last_hidden_state,
        lambda: model.packed(IDS.ravel(), np.full(B, T)),
    ]
    expected = [call() for call in calls]
    with np.errstate(all="raise"):
        for call, right in zip(calls, expected, strict=True):
            assert np.array_equal(call(), right)
        assert set(np.geterr().values()) == {"raise"}


def test_inputs_are_never_written_to_and_any_layout_is_taken(model: BertModel) -> None:  # F5
    rows = sample((B, T, H), "float32")
    expected = model(inputs_embeds=rows, attention_mask=MASK).last_hidden_state
    for other in (np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2], rows.astype(">f4")):
        found = model(inputs_embeds=other, attention_mask=np.asfortranarray(MASK))
        assert found.last_hidden_state.tobytes() == expected.tobytes()


def test_dropout_is_on_only_where_an_rng_is_given(model: BertModel) -> None:
    plain = model(IDS, MASK).last_hidden_state
    one, same, other = (
        model(IDS, MASK, rng=np.random.default_rng(seed)).last_hidden_state for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert far(one, other) > 1e-2
    assert far(one, plain) > 1e-2
    assert np.array_equal(model(IDS, MASK).last_hidden_state, plain)
    assert model.eval() is model


def test_a_part_of_a_model_says_that_it_is_one(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    part = BertModel.from_pretrained(folder, only="embeddings")
    message = r"^model: loaded with only='embeddings'; load the whole to run the encoder\.$"
    for call in (lambda: part(IDS), lambda: part.steps(IDS)):
        with pytest.raises(InputError, match=message):
            call()


def test_without_a_pooler_there_is_none(tmp_path: Path) -> None:
    tensors = {k: v for k, v in random_tensors().items() if not k.startswith("pooler.")}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    output: BertModelOutput = model(IDS)
    assert output.pooler_output is None
    assert output.keys() == ("last_hidden_state",)
    assert sorted(model.loading_info.missing_keys) == ["pooler.dense.bias", "pooler.dense.weight"]
    assert model.steps(IDS).pooler is None


@pytest.mark.parametrize("lengths", [[7], [1, 1, 5], [2, 2, 3, 1], [3, 1, 3]])
def test_packed_sequences_are_what_they_are_alone(model: BertModel, lengths: list[int]) -> None:
    ids, segments = IDS.ravel()[: sum(lengths)], SEGMENTS.ravel()[: sum(lengths)]
    for types in (None, segments):
        found = model.packed(ids, np.array(lengths), types)
        assert found.shape == (sum(lengths), H)
        start = 0
        for length in lengths:
            part = slice(start, start + length)
            own = None if types is None else types[np.newaxis, part]
            alone = model(ids[np.newaxis, part], token_type_ids=own)
            assert far(found[part], alone.last_hidden_state[0]) <= ACROSS_BATCHES
            start += length


def test_nothing_packed_is_nothing(model: BertModel) -> None:
    none = np.zeros(0, int)
    assert model.packed(none, none).shape == (0, H)


def test_packed_sequences_are_taken_as_lists_and_in_any_integers(tmp_path: Path) -> None:
    for dtype in ("float32", "float64"):
        model = tiny(tmp_path / dtype, dtype)
        ids, lengths, types = [5, 6, 7, 8, 9], [2, 3], [0, 1, 0, 0, 1]
        expected = model.packed(np.array(ids), np.array(lengths), np.array(types))
        assert np.array_equal(model.packed(ids, lengths, types), expected)
        small = (np.array(values, np.uint8) for values in (ids, lengths, types))
        assert np.array_equal(model.packed(*small), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([5, 6], [2, 0]),
            r"lengths\[1\] must be from 1 to \d+ \(max_position_embeddings\); got 0",
        ),
        (([5, 6], [3, -1]), r"lengths\[1\] must be from 1 to .*; got -1"),
        (([5, 6], [2**62, 2**62]), r"lengths\[0\] must be .*; got 4611686018427387904"),
        (
            ([5, 6], np.array([2**64 - 1], np.uint64)),
            r"lengths\[0\] must be .*; got 18446744073709551615",
        ),
        (([5, 6], [1]), "lengths must add up to 2, the tokens of input_ids; got 1"),
        (([5, 6], [1, 2]), "lengths must add up to 2, the tokens of input_ids; got 3"),
        (([5, 6], np.zeros(0, int)), "lengths must add up to 2, the tokens of input_ids; got 0"),
        (([5, 6], 2), r"lengths must have shape \(B,\), .*; got \(\)"),
        (([[5, 6]], [2]), r"input_ids must have shape \(N,\), .*; got \(1, 2\)"),
        (([5, 6], [2.0]), "lengths must be an array of integers; got dtype float64"),
        (([5, 6], [True, True]), "lengths must be an array of integers; got dtype bool"),
        (([[5], [6, 7]], [2]), "input_ids must have rows of one length"),
        ((None, [1]), "input_ids must be an array of integers; got dtype object"),
        (([5, 6], None), "lengths must be an array of integers; got dtype object"),
        ((["a"], [1]), "input_ids must be an array of integers; got dtype <U1"),
        (([5, 6], [2], [0]), "token_type_ids must have 2 tokens, as input_ids; got 1"),
        (([5, 6], [2], [[0, 0]]), r"token_type_ids must have shape \(N,\), .*; got \(1, 2\)"),
        (
            ([5, 6], [2], [0.0, 0.0]),
            "token_type_ids must be an array of integers; got dtype float64",
        ),
    ],
)
def test_packed_sequences_that_are_none_are_refused(
    model: BertModel, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"^packed: {message}"):
        model.packed(*arguments)


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "f2", "f4", "f8", ">f4"])
def test_f6_a_mask_in_any_numbers_gives_the_same_bits(model: BertModel, dtype: str) -> None:
    mask = MASK.astype(dtype)
    for given in (mask, mask.tolist(), np.asfortranarray(mask)):
        found, expected = model(IDS, given), model(IDS, MASK)
        assert found.last_hidden_state.tobytes() == expected.last_hidden_state.tobytes()
        for (name, one), (_, two) in zip(
            model.trace(IDS, given), model.trace(IDS, MASK), strict=True
        ):
            assert one.tobytes() == two.tobytes(), name


@pytest.mark.parametrize("stored", ["F16", "BF16"])
def test_a_file_of_half_precision_is_the_widened_model(
    tmp_path: Path, stored: str, dtype: str
) -> None:
    # The values of random_tensors are exact in both, a quarter of them too.
    tensors = {key: array * np.float32(0.25) for key, array in random_tensors().items()}
    wide = BertModel.from_pretrained(write_checkpoint(tmp_path / "wide", tensors), dtype=dtype)
    if stored == "F16":
        tensors = {key: array.astype(np.float16) for key, array in tensors.items()}
    folder = write_checkpoint(tmp_path / "half", tensors, bfloat16=stored == "BF16")
    half = BertModel.from_pretrained(folder, dtype=dtype)
    found, expected = half(IDS, MASK, SEGMENTS), wide(IDS, MASK, SEGMENTS)
    for name in expected:
        assert found[name].tobytes() == expected[name].tobytes()


def test_a_release_costs_nothing_but_the_next_arrangement() -> None:
    model = BertModel.from_pretrained("demo")
    model.release()  # before there is anything
    first = model([[2, 5, 3]]).last_hidden_state
    model.release()
    np.testing.assert_array_equal(model([[2, 5, 3]]).last_hidden_state, first)
    BertModel.from_pretrained("demo", dtype="float64").release()


WRONG_SWITCHES: dict[str, tuple[Any, str]] = {
    "array": (np.ones((B, T)), "array([[1., 1., 1., 1., 1., 1., 1."),
    "text": ("no", "'no'"),
    "number": (10**5000, "a number of about 5,001 digits"),
}


@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions", "unpad_inputs"])
@pytest.mark.parametrize("kind", WRONG_SWITCHES)
def test_what_is_asked_for_is_true_or_false(kind: str, name: str, model: BertModel) -> None:
    value, shown = WRONG_SWITCHES[kind]
    for call in (model, BertForMaskedLM.from_pretrained("demo")):
        with pytest.raises(InputError) as raised:
            call(IDS, **{name: value})
        message = str(raised.value)
        assert message.startswith(f"{name} must be True or False; got ")
        assert shown in message


def test_nothing_is_asked_for_by_none(model: BertModel) -> None:
    found = model(IDS, output_hidden_states=None, output_attentions=None)  # type: ignore[arg-type]
    assert found.hidden_states is None
    assert found.attentions is None
