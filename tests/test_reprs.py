"""Whatever a user can get is shown in a line: no array is ever printed number by number."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import numpy_bert
from numpy_bert import explain
from numpy_bert.reprs import LONGEST, short_repr
from numpy_bert.testing import verify_trace
from tests.support.heads import TREES, write_head

ARRAYS = re.compile(r"\b(Array|StoredArray|NDArray|IntArray|BoolArray)\b")


def classes() -> Iterator[type[Any]]:
    """Yield the public dataclasses and named tuples of the package."""
    for module in pkgutil.walk_packages(numpy_bert.__path__, "numpy_bert."):
        if module.name.endswith((".__main__", ".demo")) or ".kernels" in module.name:
            continue
        here = importlib.import_module(module.name)
        for name, kind in inspect.getmembers(here, inspect.isclass):
            is_record = is_dataclass(kind) or hasattr(kind, "_fields")
            if is_record and kind.__module__ == module.name and not name.startswith("_"):
                yield kind


def hints_of(kind: type[Any]) -> str:
    return " ".join(
        str(hint) for base in kind.__mro__ for hint in getattr(base, "__annotations__", {}).values()
    )


def with_arrays() -> list[type[Any]]:
    """Return the classes that hold arrays, or others that do."""
    every, found = list(classes()), list[type[Any]]()
    while True:
        names = "|".join(kind.__name__ for kind in found) or "none"
        holds = re.compile(rf"{ARRAYS.pattern}|\b({names})\b")
        more = [kind for kind in every if holds.search(hints_of(kind))]
        if more == found:
            return found
        found = more


def is_short(kind: type[Any]) -> bool:
    """Tell whether a class is shown by `short_repr`."""
    how: Any = kind.__repr__
    return how is short_repr or "short_repr" in how.__code__.co_names


@pytest.mark.parametrize("kind", with_arrays(), ids=lambda k: f"{k.__module__}.{k.__name__}")
def test_what_holds_arrays_is_shown_short(kind: type[Any]) -> None:
    assert is_short(kind), "write __repr__ = short_repr into it"


def test_the_rule_finds_them() -> None:
    found = {kind.__name__ for kind in with_arrays()}
    assert len(found) > 100
    assert {"BertModelOutput", "BertSteps", "Hits", "Reading", "LinearParameters"} <= found


def reached(value: Any, seen: dict[int, Any]) -> None:
    """Collect every object of the package that hangs on one."""
    if id(value) in seen or isinstance(value, (type, np.ndarray, str, int, float)):
        return
    seen[id(value)] = value
    if isinstance(value, Mapping):
        parts: Any = list(value.values())
    elif isinstance(value, (tuple, list)):
        parts = value
    elif type(value).__module__.startswith("numpy_bert"):
        slots = [s for k in type(value).__mro__ for s in getattr(k, "__slots__", ())]
        names = {*vars(value), *slots} if hasattr(value, "__dict__") else set(slots)
        parts = [getattr(value, n) for n in names if not n.startswith("_") and hasattr(value, n)]
    else:
        return
    for part in parts:
        reached(part, seen)


def objects(tmp_path: Path) -> Iterator[Any]:
    """Make what users make with the demo."""
    ids = [[2, 120, 1273, 135, 5763, 18, 3]]
    model = numpy_bert.BertModel.from_pretrained("demo")
    words = numpy_bert.BertForMaskedLM.from_pretrained("demo")
    tokenizer = numpy_bert.BertTokenizer.from_pretrained("demo")
    encoder = numpy_bert.SentenceEncoder.from_pretrained("demo")
    every: dict[str, Any] = {"output_hidden_states": True, "output_attentions": True}
    yield from (model, words, tokenizer, encoder, model.config)
    yield from (model(ids, **every), model.steps(ids), words(ids, **every), words.steps(ids))
    yield words.loss_and_gradients({"input_ids": ids, "labels": [[-100, 7, *[-100] * 5]]})
    yield from (words.fill_mask("a [MASK]"), encoder.search("a", encoder.encode(["a", "b"]), k=1))
    yield explain.read("this is a test sentence", model=model, tokenizer=tokenizer)
    port = {"input_ids": np.array(ids), **dict(model.trace(ids))}
    yield verify_trace(port, model="demo")
    for name in TREES:
        folder = write_head(tmp_path / name, name)
        head = getattr(numpy_bert, name).from_pretrained(folder)
        rows: Any = [ids] if name == "BertForMultipleChoice" else ids
        small = np.array(rows) % 60
        yield from (head, head(small, **every), head.steps(small))


def test_what_users_make_is_shown_in_a_line(tmp_path: Path) -> None:
    seen = dict[int, Any]()
    for value in objects(tmp_path):
        reached(value, seen)
    found = [v for v in seen.values() if type(v).__module__.startswith("numpy_bert")]
    assert len({type(value) for value in found}) > 70
    for value in found:
        text = repr(value)
        assert len(text) <= LONGEST, f"{type(value).__name__}: {len(text)}"
        assert "\n" not in text


@dataclass(frozen=True)
class Sample:
    __repr__ = short_repr

    value: Any


class Pair(NamedTuple):
    first: Any
    second: Any

    def __repr__(self) -> str:
        return short_repr(self)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (1.5, "1.5"),
        ("a", "'a'"),
        ("a" * 99, "'" + "a" * 56 + "..."),
        (np.zeros((3, 7), np.float32), "float32 (3, 7)"),
        (np.arange(3), "array([0, 1, 2])"),
        (np.zeros((2, 3)), "float64 (2, 3)"),
        ((), "()"),
        ((1, None, "a"), "(1, None, 'a')"),
        (tuple(range(40)), "(0 and 39 more)"),
        ((np.zeros((3, 7)),) * 2, "(float64 (3, 7) and 1 more)"),
        ([Sample(1)], "(Sample(...))"),
        ({"a": 1}, "{'a': 1}"),
        ({}, "{}"),
        ({"a": np.zeros(9)}, "(float64 (9,))"),
        (Sample(np.zeros(9)), "Sample(...)"),
        (Pair(1, 2), "Pair(...)"),
        (("a" * 99, "b"), "('" + "a" * 45 + "... and 1 more)"),
    ],
)
def test_a_field(value: Any, text: str) -> None:
    assert repr(Sample(value)) == f"Sample(value={text})"
    assert repr(Pair(value, 1)) == f"Pair(first={text}, second=1)"


def test_it_is_cut_in_the_end() -> None:
    kind = NamedTuple("Many", [(f"field_{n}", str) for n in range(40)])  # type: ignore[misc]
    text = short_repr(kind(*["x" * 50] * 40))
    assert len(text) == LONGEST
    assert text.endswith("...)")
