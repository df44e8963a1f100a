"""The steps of a model: their names, the order and axes that follow from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numpy_bert import TraceError
from numpy_bert.config import BertConfig
from numpy_bert.traces.layout import (
    arranged,
    axes_of,
    layers_in,
    place_of,
    same_step,
    shape_of,
    sizes_of,
    step_names,
    steps_in,
)
from tests.support.checkpoints import TINY
from tests.support.traces import IDS, exact, ids_of, relative, trace_of, trained_like
from tests.test_trace import MODEL


def test_names_axes_and_order_are_those_of_the_model(tmp_path: Path) -> None:
    trace = trace_of(trained_like(tmp_path))
    names = [name for name in trace if name not in IDS]
    assert step_names(2, pools=True) == names == MODEL
    assert step_names(2, pools=False) == names[:-2]
    assert sorted(set(names), key=place_of) == names
    assert layers_in(names) == 2
    sizes = sizes_of(BertConfig.from_dict(TINY), *IDS["input_ids"].shape)
    for name in names:
        assert shape_of(name, axes_of(name) or "", sizes) == trace[name].shape, name
    assert axes_of("embeddings.summ") is None


# What an architecture has beside a BERT's steps, or lacks of them.
FEW = {
    "roberta": ([], []),
    "distilbert": ([], ["embeddings.token_type_embeddings", "pooler.dense", "pooler"]),
    "electra": (["embeddings_project"], ["pooler.dense", "pooler"]),
    "ernie": (["embeddings.task_type_embeddings"], []),
    "dpr": ([], []),
    "mpnet": (["encoder.relative_attention_bias"], ["embeddings.token_type_embeddings"]),
}


@pytest.mark.parametrize("kind", FEW)
def test_the_names_of_the_other_architectures(kind: str, tmp_path: Path) -> None:
    """They are stable, too."""
    model = exact(relative(tmp_path, kind))
    more, less = FEW[kind]
    names = steps_in(model.config, model.parameters)
    assert [name for name in names if name not in more] == [n for n in MODEL if n not in less]
    assert set(more) <= set(names)
    assert names == [name for name, _ in model.trace(**ids_of(model.config))]
    assert sorted(set(names), key=place_of) == names
    after = {
        "embeddings.task_type_embeddings": "embeddings.position_embeddings",
        "embeddings_project": "embeddings",
        "encoder.relative_attention_bias": "embeddings",
    }
    for name in more:
        assert names[names.index(name) - 1] == after[name]


def test_names_of_one_array_are_one_step(tmp_path: Path) -> None:
    trace = trace_of(trained_like(tmp_path))
    for name in step_names(2, pools=True):
        assert trace[same_step(name, 2)] is trace[name]
    assert same_step("encoder", 0) == "encoder"


@pytest.mark.parametrize(
    ("axes", "wanted", "shape", "expected"),
    [
        ("BTAD", "BTH", (2, 3, 4, 5), (2, 3, 20)),
        ("BATD", "BTH", (2, 4, 3, 5), (2, 3, 20)),
        ("TH", "BTH", (3, 20), (1, 3, 20)),
        ("TBH", "BTH", (3, 2, 20), (2, 3, 20)),
        ("ATT", "BATT", (4, 3, 3), (1, 4, 3, 3)),
    ],
)
def test_axes_are_brought_into_order(
    axes: str, wanted: str, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    found = arranged(array, axes, wanted, "x")
    assert found.shape == expected
    sizes = dict(zip(axes, shape, strict=True)) | {"B": 2 if "B" in axes else 1}
    if axes == "BATD":
        at = array[1, 2, 0, 3]
        assert found[1, 0, 2 * sizes["D"] + 3] == at


@pytest.mark.parametrize(("axes", "shape"), [("BTI", (1, 2, 3)), ("BT", (1, 2)), ("BTH", (1, 2))])
def test_axes_that_do_not_fit(axes: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        TraceError, match=rf"the axes {axes} must fit shape .* and be BTH in another order"
    ):
        arranged(np.zeros(shape), axes, "BTH", "x")
