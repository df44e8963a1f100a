"""numpy_bert.foreign: what counts as a value that asks for what happens anyway."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from numpy_bert import InputError
from numpy_bert.foreign import Accepted, check_accepted, no_attribute


class Strategy(enum.Enum):
    STEPS = "steps"
    EPOCH = "epoch"


class Device:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class Identity:
    """It stands for torch's class of this name."""


def cos_sim() -> None:
    """Stand for a function of this name."""


def dot_score() -> None:
    """Stand for another."""


@pytest.mark.parametrize(
    ("values", "taken", "refused"),
    [
        ((None, "cpu"), [None, "cpu", Device("cpu")], ["cuda", Device("cuda"), False, 0, ""]),
        ((False,), [False], [None, 0, 0.0, "False", np.zeros(2)]),
        (("steps",), ["steps", Strategy.STEPS], ["epoch", Strategy.EPOCH, ["steps"]]),
        ((None, "cos_sim"), [None, cos_sim, "cos_sim"], [dot_score, "dot"]),
        ((None, "Identity"), [Identity()], [Device("x"), 5]),
        ((False, "steps"), ["steps"], [10**5000, [10**5000], np.array([10**5000])]),
        ((("a",), ["a"]), [("a",), ["a"]], ["a", ("a", "b"), []]),
    ],
    ids=lambda value: str(len(value)),
)
def test_what_is_accepted(
    values: tuple[object, ...], taken: list[object], refused: list[object]
) -> None:
    accepted = Accepted(values, "Leave it out.")
    assert [value for value in taken if not accepted.has(value)] == []
    assert not any(accepted.has(value) for value in refused)


def test_the_members_of_a_dict() -> None:
    accepted = Accepted((None,), "Leave it out.", {"dtype": ("float32",)})
    assert accepted.has({})
    assert accepted.has({"dtype": Device("float32")})
    assert not accepted.has({"dtype": "float16"})
    assert not accepted.has({"other": "float32"})
    assert not Accepted((None,), "Leave it out.").has({})


def test_the_line() -> None:
    known = {"a": Accepted((None, False, "x"), "Leave it out.")}
    with pytest.raises(InputError) as caught:
        check_accepted("Model", {"a": "y\n"}, known)
    assert str(caught.value) == (r"Model: a must be None, False or 'x'; got 'y\n'. Leave it out.")
    with pytest.raises(TypeError, match=r"^Model\(\) got an unexpected keyword argument 'b'$"):
        check_accepted("Model", {"b": None}, known)


def test_an_attribute_that_is_not_there() -> None:
    owner, ours = Identity(), {"cuda": "It computes on the CPU."}
    found: Any = no_attribute(owner, "cuda", ours)
    assert str(found) == "Identity has no 'cuda'. It computes on the CPU."
    assert found.obj is None  # so that Python adds no guess of its own
    found = no_attribute(owner, "nothing", ours)
    assert str(found) == "Identity has no 'nothing'."
    assert (found.name, found.obj) == ("nothing", owner)
