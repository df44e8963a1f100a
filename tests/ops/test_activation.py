"""numpy_bert.ops.activation against the definitions, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.errors import ConfigError
from numpy_bert.ops.activation import ACTIVATIONS, gelu, gelu_tanh
from tests.support.arrays import sample
from tests.support.checkpoints import TINY
from tests.tolerances import activation_budget

NAMES = ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"]


def _tanh_form(x: float) -> float:
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


DEFINITIONS: dict[str, Callable[[float], float]] = {
    # erfc where erf would cancel: the form of the code is not the form of the test
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2.0)),
    "gelu_new": _tanh_form,
    "gelu_pytorch_tanh": _tanh_form,
    "relu": lambda x: x if x > 0 else 0.0,
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "swish": lambda x: x / (1.0 + math.exp(-x)),
    "tanh": math.tanh,
}


def test_the_names_are_those_that_a_config_may_have() -> None:
    assert list(ACTIVATIONS) == NAMES
    for name in NAMES:
        assert BertConfig.from_dict(TINY | {"hidden_act": name}).hidden_act == name
    with pytest.raises(ConfigError, match=f"known are {', '.join(NAMES)}"):
        BertConfig.from_dict(TINY | {"hidden_act": "gelu_fast"})


@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_definition(name: str, dtype: str) -> None:
    grid = np.concatenate([np.linspace(-12, 12, 4801), sample((603,), "float64", scale=1e-3)])
    x = grid.astype(dtype).reshape(7, -1)
    x.flags.writeable = False
    output = ACTIVATIONS[name](x)
    assert output.shape == x.shape
    assert output.dtype == dtype
    expected = np.array([DEFINITIONS[name](v) for v in x.ravel().tolist()]).reshape(x.shape)
    assert (np.abs(output - expected) <= activation_budget(expected, dtype)).all()


def test_the_two_forms_of_gelu_are_told_apart() -> None:
    x = np.linspace(-5, 5, 2001)
    difference = np.abs(gelu(x) - gelu_tanh(x)).max()
    assert 4.6e-4 < difference < 4.8e-4
    assert ACTIVATIONS["gelu"] is gelu
    assert ACTIVATIONS["gelu_new"] is ACTIVATIONS["gelu_pytorch_tanh"] is gelu_tanh


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 37), (3, 7, 37)])
def test_every_shape_is_kept(name: str, shape: tuple[int, ...], dtype: str) -> None:
    output = ACTIVATIONS[name](sample(shape, dtype) if shape else np.ones((), dtype))
    assert output.shape == shape
    assert output.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_no_nan_comes_out_of_what_is_none(name: str, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    x = np.array([np.inf, largest, 1e20, 0.0, -0.0, -1e20, -largest, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):  # as every public call has it
        output = ACTIVATIONS[name](x)
    top, low = (1.0, -1.0) if name == "tanh" else (np.inf, 0.0)
    assert output[0] == top
    assert np.isfinite(output[1:3]).all() or top == np.inf
    assert output[2] == (1.0 if name == "tanh" else np.dtype(dtype).type(1e20))
    assert output[3:5].tolist() == [0.0, 0.0]
    assert output[5:8].tolist() == [low, low, low]
    assert np.isnan(output[8])


@pytest.mark.parametrize("name", NAMES)
def test_one_element_knows_nothing_of_the_others(name: str, dtype: str) -> None:
    x: Array = np.array(sample((3, 37), dtype))
    clean = ACTIVATIONS[name](x)
    x[1, 5] = np.nan
    output = ACTIVATIONS[name](x)
    assert np.isnan(output[1, 5])
    output[1, 5] = clean[1, 5]
    assert output.tobytes() == clean.tobytes()
