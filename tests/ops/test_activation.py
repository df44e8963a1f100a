"""numpy_bert.ops.activation against the definitions, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.config import ACTIVATION_NAMES, BertConfig
from numpy_bert.ops.activation import ACTIVATIONS, gelu, gelu_tanh
from tests.support.arrays import sample
from tests.support.checkpoints import TINY
from tests.tolerances import activation_budget

NAMES = list(ACTIVATIONS)
# Their limits at plus and minus infinity, where these are not infinity and 0.
LIMITS = {
    "gelu_10": (10.0, 0.0),
    "laplace": (1.0, 0.0),
    "leaky_relu": (math.inf, -math.inf),
    "linear": (math.inf, -math.inf),
    "relu6": (6.0, 0.0),
    "sigmoid": (1.0, 0.0),
    "tanh": (1.0, -1.0),
}
# Their values at 0, where these are not 0.
AT_0 = {"laplace": 0.00609446, "sigmoid": 0.5, "sqrtsoftplus": math.sqrt(math.log(2.0))}


def _tanh_form(x: float) -> float:
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def _gelu(x: float) -> float:
    # erfc where erf would cancel: the form of the code is not the form of the test
    return 0.5 * x * math.erfc(-x / math.sqrt(2.0))


# An activation that is not here is held by its docstring's example, by the differences of
# tests/ops/test_gradients.py and, where transformers has it, by tests/parity.
DEFINITIONS: dict[str, Callable[[float], float]] = {
    "gelu": _gelu,
    "gelu_10": lambda x: min(max(_gelu(x), -10.0), 10.0),
    "gelu_new": _tanh_form,
    "hardswish": lambda x: x * min(max(x + 3.0, 0.0), 6.0) / 6.0,
    "laplace": lambda x: 0.5 * math.erfc((0.707107 - x) / (0.282095 * math.sqrt(2.0))),
    "leaky_relu": lambda x: max(x, 0.0) + 0.01 * min(x, 0.0),
    "linear": lambda x: x,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "quick_gelu": lambda x: x / (1.0 + math.exp(-1.702 * x)),
    "relu": lambda x: x if x > 0 else 0.0,
    "relu2": lambda x: x * x if x > 0 else 0.0,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "sqrtsoftplus": lambda x: math.sqrt(math.log1p(math.exp(x))),
    "tanh": math.tanh,
}


def test_the_names_are_those_that_a_config_may_have() -> None:
    assert sorted(set(ACTIVATION_NAMES.values())) == NAMES
    assert set(DEFINITIONS) <= set(NAMES)
    for name in NAMES:  # each is a name of its own, too
        assert BertConfig.from_dict(TINY | {"hidden_act": name}).activation == name
    assert BertConfig(hidden_act="gelu_python").activation == "gelu"
    assert BertConfig(hidden_act="swish").hidden_act == "swish"


@pytest.mark.parametrize("name", DEFINITIONS)
def test_each_is_its_definition(name: str, dtype: str) -> None:
    grid = np.concatenate([np.linspace(-12, 12, 4801), sample((603,), "float64", scale=1e-3)])
    x = grid.astype(dtype).reshape(7, -1)
    x.flags.writeable = False
    output = ACTIVATIONS[name].forward(x)
    assert output.shape == x.shape
    assert output.dtype == dtype
    expected = np.array([DEFINITIONS[name](v) for v in x.ravel().tolist()]).reshape(x.shape)
    assert (np.abs(output - expected) <= activation_budget(expected, dtype)).all()


def test_the_two_forms_of_gelu_are_told_apart() -> None:
    x = np.linspace(-5, 5, 2001)
    difference = np.abs(gelu(x) - gelu_tanh(x)).max()
    assert 4.6e-4 < difference < 4.8e-4
    assert ACTIVATIONS["gelu"].forward is gelu
    assert ACTIVATIONS["gelu_new"].forward is gelu_tanh


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 37), (3, 7, 37)])
def test_every_shape_is_kept(name: str, shape: tuple[int, ...], dtype: str) -> None:
    output = ACTIVATIONS[name].forward(sample(shape, dtype) if shape else np.ones((), dtype))
    assert output.shape == shape
    assert output.dtype == dtype


def far_out(name: str, dtype: str) -> Array:
    """Return the values at infinity, far out and at 0, on both sides, and of a NaN."""
    largest = float(np.finfo(dtype).max)
    x = np.array([np.inf, largest, 1e20, 0.0, -0.0, -1e20, -largest, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):  # as every public call has it
        return ACTIVATIONS[name].forward(x)


@pytest.mark.parametrize("name", NAMES)
def test_no_nan_comes_out_of_what_is_none(name: str, dtype: str) -> None:
    output = far_out(name, dtype)
    assert not np.isnan(output[:8]).any()
    assert np.isnan(output[8])


@pytest.mark.parametrize("name", DEFINITIONS)
def test_far_out_each_has_its_limits(name: str, dtype: str) -> None:
    output = far_out(name, dtype)
    top, low = LIMITS.get(name, (np.inf, 0.0))
    assert output[0] == top
    assert output[7] == low
    # Far out they are their limits, or as large as their argument.
    grown = {"relu2": 1e40, "sqrtsoftplus": 1e10}.get(name, 1e20) if top == np.inf else top
    with np.errstate(over="ignore"):
        assert output[2] == pytest.approx(np.dtype(dtype).type(grown))
    left = {"leaky_relu": -1e18, "linear": -1e20}.get(name, low)
    assert output[5] == pytest.approx(left)
    assert output[3:5].tolist() == pytest.approx([AT_0.get(name, 0.0)] * 2, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_one_element_knows_nothing_of_the_others(name: str, dtype: str) -> None:
    x: Array = np.array(sample((3, 37), dtype))
    clean = ACTIVATIONS[name].forward(x)
    x[1, 5] = np.nan
    output = ACTIVATIONS[name].forward(x)
    assert np.isnan(output[1, 5])
    output[1, 5] = clean[1, 5]
    assert output.tobytes() == clean.tobytes()
