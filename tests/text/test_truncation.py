"""How many tokens of each text stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_bert.errors import InputError
from numpy_bert.text.truncation import STRATEGIES, kept_lengths

LENGTHS = st.integers(0, 40)


def one_by_one(first: int, second: int, room: int) -> tuple[int, int]:
    """Take tokens one at a time from the longer text; from equal ones, from the shorter before."""
    a, b = first, second
    while a + b > room:
        if a > b or (a == b and first <= second):
            a -= 1
        else:
            b -= 1
    return a, b


@given(LENGTHS, LENGTHS, LENGTHS)
def test_longest_first_takes_one_by_one_from_the_longer(first: int, second: int, room: int) -> None:
    assert kept_lengths(first, second, room, "longest_first") == one_by_one(first, second, room)


@given(LENGTHS, LENGTHS, LENGTHS)
def test_only_first_and_only_second_are_mirror_images(first: int, second: int, room: int) -> None:
    excess = first + second - room
    if excess > 0 and first <= excess:
        with pytest.raises(InputError, match=f"'only_first': {excess} .* that text has {first};"):
            kept_lengths(first, second, room, "only_first")
        with pytest.raises(InputError, match=f"'only_second': {excess} .* that text has {first};"):
            kept_lengths(second, first, room, "only_second")
        return
    kept = kept_lengths(first, second, room, "only_first")
    assert kept == (first - max(excess, 0), second)
    assert kept_lengths(second, first, room, "only_second") == kept[::-1]


@given(LENGTHS, LENGTHS, st.sampled_from(["longest_first", "only_first"]))
def test_a_single_text_keeps_what_there_is_room_for(first: int, room: int, strategy: str) -> None:
    assert kept_lengths(first, None, room, strategy) == (min(first, room), 0)


def test_e11_a_single_text_has_no_second() -> None:
    assert kept_lengths(5, None, 5, "only_second") == (5, 0)
    with pytest.raises(InputError, match=r"^truncation='only_second': there is no second text\.$"):
        kept_lengths(6, None, 5, "only_second")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_texts_that_fit_stay_whole(strategy: str) -> None:
    assert kept_lengths(3, 4, 7, strategy) == (3, 4)
    assert kept_lengths(0, 0, 0, strategy) == (0, 0)
