"""numpy_bert.tasks.answers: windows hold all of a context; the spans are those of a full search."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_bert.errors import InputError
from numpy_bert.tasks.answers import best_answers, windows, word_spans
from numpy_bert.tasks.batches import Row, batches_of, encoded_rows, micro_batches


def row(question: int, context: int) -> Row:
    """Frame tokens whose ids say which they are: the context's count from 100."""
    ids = [1, *[9] * question, 2, *range(100, 100 + context), 2]
    return Row(
        input_ids=ids,
        token_type_ids=[0] * (question + 2) + [1] * (context + 1),
        special=[1, *[0] * question, 1, *[0] * context, 1],
        offsets=[(i, i + 1) for i in range(len(ids))],
    )


def context_of(question: int, context: int) -> slice:
    """Return where the tokens of the context are in such a row."""
    return slice(question + 2, question + 2 + context)


@given(
    question=st.integers(0, 5),
    context=st.integers(1, 60),
    room=st.integers(1, 20),
    overlap=st.integers(0, 30),
)
def test_windows_hold_the_whole_context(
    question: int, context: int, room: int, overlap: int
) -> None:
    limit = question + 3 + room
    found = windows(
        row(question, context), context_of(question, context), limit=limit, overlap=overlap
    )
    assert found[0].first == 0
    assert found[-1].last == context
    for window in found:
        ids = window.row.input_ids
        part = ids[window.place : window.place + window.last - window.first]
        assert part == list(range(100 + window.first, 100 + window.last))
        assert len(ids) <= limit
        types = window.row.token_type_ids
        assert types is not None
        assert len(types) == len(window.row.offsets) == len(ids)
        assert [ids[0], ids[window.place - 1], ids[-1]] == [1, 2, 2]
    shared = min(overlap, min(room, context) // 2)
    for one, other in pairwise(found):
        assert one.last - other.first == shared
        assert other.first > one.first


def test_no_room_and_no_context_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"^\[3\]: question takes 8 tokens .* but the model reads 8"
    ):
        windows(row(5, 4), context_of(5, 4), limit=8, overlap=1, where="[3]: ")
    with pytest.raises(InputError, match=r"^context has no tokens"):
        windows(row(5, 0), context_of(5, 0), limit=20, overlap=1)


@given(seed=st.integers(0, 10_000), longest=st.integers(1, 9), top_k=st.integers(1, 40))
def test_spans_are_those_of_a_full_search(seed: int, longest: int, top_k: int) -> None:
    """Over several windows: probabilities among all places, a span's best window."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    limit = 5 + int(rng.integers(1, 8))
    cut = windows(row(2, count), context_of(2, count), limit=limit, overlap=2)
    size = [len(window.row.input_ids) for window in cut]
    scored = [(w, rng.normal(size=n), rng.normal(size=n)) for w, n in zip(cut, size, strict=True)]
    context = "".join(chr(97 + i) for i in range(count))
    words = [(i, i + 1) for i in range(count)]
    inside = [slice(w.place, w.place + w.last - w.first) for w in cut]
    start_sum = sum(np.exp(s[i]).sum() for (_, s, _), i in zip(scored, inside, strict=True))
    end_sum = sum(np.exp(e[i]).sum() for (_, _, e), i in zip(scored, inside, strict=True))
    expected: dict[tuple[int, int], float] = {}
    for window, start, end in scored:
        for i in range(window.last - window.first):
            for j in range(i, min(i + longest, window.last - window.first)):
                score = np.exp(start[window.place + i] + end[window.place + j])
                key = (window.first + i, window.first + j + 1)
                expected[key] = max(expected.get(key, 0.0), score / start_sum / end_sum)
    best = sorted(expected.items(), key=lambda item: -item[1])[:top_k]
    found = best_answers(
        context,
        words,
        scored,
        top_k=top_k,
        max_answer_len=longest,
        handle_impossible_answer=False,
    )
    assert [(a.start, a.end) for a in found] == [place for place, _ in best]
    np.testing.assert_allclose([a.score for a in found], [score for _, score in best], rtol=1e-12)
    assert all(a.answer == context[a.start : a.end] for a in found)


@pytest.mark.parametrize("null", [-20.0, 20.0])
def test_no_answer_competes_with_the_best(null: float) -> None:
    (window,) = windows(row(1, 3), context_of(1, 3), limit=20, overlap=1)
    start, end = np.zeros(7), np.zeros(7)
    start[0] = end[0] = null
    options = {"top_k": 1, "max_answer_len": 3}
    words = [(0, 1), (1, 2), (2, 3)]
    scored = [(window, start, end)]
    (with_null,) = best_answers("abc", words, scored, handle_impossible_answer=True, **options)
    assert (with_null.answer == "") == (null > 0)
    (without,) = best_answers("abc", words, scored, handle_impossible_answer=False, **options)
    assert without.answer == "a"
    assert without.score == pytest.approx(1 / 9)


def test_no_answer_counts_by_the_window_that_least_believes_in_it() -> None:
    cut = windows(row(1, 4), context_of(1, 4), limit=6, overlap=0)
    assert [window.last for window in cut] == [2, 4]
    sure, unsure = np.zeros(6), np.zeros(6)
    sure[0], unsure[0] = 3.0, -1.0
    words = [(i, i + 1) for i in range(4)]
    scored = [(cut[0], sure, sure), (cut[1], unsure, unsure)]
    found = best_answers(
        "abcd", words, scored, top_k=20, max_answer_len=1, handle_impossible_answer=True
    )
    total = 4 + np.exp(3.0) + np.exp(-1.0)
    assert found[-1].answer == ""
    assert found[-1].score == pytest.approx(np.exp(-2.0) / total**2)


def test_large_scores_do_not_overflow() -> None:
    (window,) = windows(row(1, 3), context_of(1, 3), limit=20, overlap=1)
    start = np.array([0, 0, 0, 1e4, 0, 0, 0], np.float32)
    end = np.array([0, 0, 0, 0, -1e4, 1e4, 0], np.float32)
    (best,) = best_answers(
        "abc",
        [(0, 1), (1, 2), (2, 3)],
        [(window, start, end)],
        top_k=1,
        max_answer_len=5,
        handle_impossible_answer=False,
    )
    assert (best.answer, best.score) == ("abc", 1.0)


def test_pieces_widen_to_words() -> None:
    owners = [0, 1, 1, 1, None, None]
    offsets = [(0, 1), (2, 4), (4, 7), (7, 11), (12, 13), (13, 14)]
    words = [(0, 1), (2, 11), (2, 11), (2, 11), (12, 13), (13, 14)]
    assert word_spans(owners, offsets) == words


@given(lengths=st.lists(st.integers(1, 30), max_size=40), budget=st.integers(1, 100))
def test_batches_keep_to_their_budget(lengths: list[int], budget: int) -> None:
    found = list(micro_batches(lengths, budget))
    assert sorted(number for batch in found for number in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= budget


def test_token_types_are_left_out_where_a_tokenizer_gives_none() -> None:
    encoded = {
        "input_ids": [[0, 5, 2], [0, 2]],
        "special_tokens_mask": [[1, 0, 1], [1, 1]],
        "offset_mapping": [[(0, 0), (0, 1), (0, 0)], [(0, 0), (0, 0)]],
    }
    (batch,) = batches_of(encoded_rows(encoded), 1)
    assert {name: array.tolist() for name, array in batch.inputs.items()} == {
        "input_ids": [[0, 5, 2], [0, 2, 1]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
    }
    typed = encoded | {"token_type_ids": [[0, 1, 1], [0, 0]]}
    (batch,) = batches_of(encoded_rows(typed), 1)
    assert batch.inputs["token_type_ids"].tolist() == [[0, 1, 1], [0, 0, 0]]
    cut = windows(encoded_rows(encoded)[0], slice(1, 2), limit=3, overlap=0)
    assert [window.row.token_type_ids for window in cut] == [None]
