"""numpy_bert.blocks.heads: shapes, dtypes, definitions, inputs untouched."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.blocks.heads import (
    Dense,
    Dropout,
    HeadCall,
    PreTrainingHeadsSteps,
    lm_prediction,
    run_layers,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import (
    BertPreTrainingHeadsParameters,
    ClassifierParameters,
    LinearParameters,
    build,
    shapes,
)
from numpy_bert.trace import named_steps
from tests.support.checkpoints import TINY

CONFIG = BertConfig.from_dict(TINY | {"hidden_act": "relu", "layer_norm_eps": 1e-5})
V, H = 61, 24


def array(*shape: int, dtype: str, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    values.flags.writeable = False
    return values


def heads(dtype: str) -> BertPreTrainingHeadsParameters:
    table = shapes(BertPreTrainingHeadsParameters, CONFIG, "cls.")
    tensors = {key: array(*shape, dtype=dtype, seed=len(key)) for key, shape in table.items()}
    return build(BertPreTrainingHeadsParameters, CONFIG, tensors.__getitem__, "cls.")


def test_prediction_is_its_definition(dtype: str) -> None:
    parameters, table = heads(dtype).predictions, array(V, H, dtype=dtype)
    hidden = array(3, 7, H, dtype=dtype, seed=1)
    steps = lm_prediction(parameters, table, hidden, config=CONFIG)
    transform = parameters.transform
    dense = hidden.astype("f8") @ transform.dense.weight.T.astype("f8") + transform.dense.bias
    active = np.maximum(dense, 0.0)
    centred = active - active.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(active.var(-1, keepdims=True) + 1e-5)
    normed = scaled * transform.LayerNorm.weight + transform.LayerNorm.bias
    expected = normed @ table.T.astype("f8") + parameters.bias
    atol = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(steps.output, expected, rtol=0, atol=atol)
    wide = ("mean", "variance", "rstd", "normalized")  # LayerNorm's statistics may be wider
    kept = {a.dtype for name, a in named_steps(steps, "x") if not name.endswith(wide)}
    assert kept == {np.dtype(dtype)}
    # A place alone is scored as it is among all: fill_mask scores masks only.
    alone = lm_prediction(parameters, table, hidden[1, [4]], config=CONFIG)
    np.testing.assert_allclose(alone.output[0], steps.output[1, 4], rtol=0, atol=atol)


def test_names_of_the_pretraining_heads(dtype: str) -> None:
    hidden, relation = array(3, 7, H, dtype=dtype), heads(dtype).seq_relationship
    steps = PreTrainingHeadsSteps(
        predictions=lm_prediction(
            heads(dtype).predictions, array(V, H, dtype=dtype), hidden, config=CONFIG
        ),
        seq_relationship=linear(array(3, H, dtype=dtype), relation.weight, relation.bias),
    )
    found = {name: a.shape for name, a in named_steps(steps, "cls")}
    transform = "cls.predictions.transform"
    assert found == {
        f"{transform}.dense": (3, 7, H),
        f"{transform}.transform_act_fn": (3, 7, H),
        f"{transform}.LayerNorm.mean": (3, 7, 1),
        f"{transform}.LayerNorm.variance": (3, 7, 1),
        f"{transform}.LayerNorm.rstd": (3, 7, 1),
        f"{transform}.LayerNorm.normalized": (3, 7, H),
        f"{transform}.LayerNorm": (3, 7, H),
        transform: (3, 7, H),
        "cls.predictions": (3, 7, V),
        "cls.seq_relationship": (3, 2),
    }


@pytest.mark.parametrize("shape", [(3, H), (3, 7, H)])
def test_a_classifier_is_its_definition(dtype: str, shape: tuple[int, ...]) -> None:
    weights = LinearParameters(weight=array(5, H, dtype=dtype), bias=array(5, dtype=dtype, seed=2))
    x = array(*shape, dtype=dtype, seed=3)
    layers = (Dropout("dropout", p=0.5), Dense("classifier"))
    call = HeadCall(ClassifierParameters(classifier=weights), CONFIG)
    steps = run_layers(layers, call, x)
    assert list(steps) == ["dropout", "classifier"]
    assert steps["dropout"].keep is None
    assert steps["dropout"].output is x
    expected = x @ weights.weight.T + weights.bias
    np.testing.assert_allclose(steps["classifier"], expected, rtol=0, atol=1e-5)
    dropped = run_layers(layers, call._replace(rng=np.random.default_rng(0)), x)
    assert dropped["dropout"].keep is not None
    expected = (x * dropped["dropout"].keep * 2) @ weights.weight.T + weights.bias
    np.testing.assert_allclose(dropped["classifier"], expected, rtol=0, atol=1e-5)
    assert dropped["classifier"].dtype == dtype


def test_a_table_of_another_dtype_is_refused() -> None:
    with pytest.raises(InputError, match=r"weight must be float32 .*; got float64 of shape"):
        lm_prediction(
            heads("float32").predictions,
            array(V, H, dtype="float64"),
            array(1, H, dtype="float32"),
            config=CONFIG,
        )
