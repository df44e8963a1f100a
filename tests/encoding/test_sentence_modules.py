"""numpy_bert.encoding.sentence_modules: what stands before and behind the pooling, and refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import CheckpointError, ConfigError, InputError, SentenceEncoder
from numpy_bert.training import SentenceStudent
from tests.support.checkpoints import serialize
from tests.support.sentence_models import dense_files, modules, write


def norm_files(**config: Any) -> dict[str, Any]:
    tensors = {
        "norm.weight": np.linspace(-2, 2, 128, dtype=np.float32),
        "norm.bias": np.linspace(1, 0, 128, dtype=np.float32),
    }
    return {
        "modules.json": modules("Transformer", "Pooling", "LayerNorm"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
        "2_LayerNorm/config.json": {"dimension": 128} | config,
        "2_LayerNorm/model.safetensors": serialize(tensors),
    }


def test_a_layer_norm(plain_demo: Path, tmp_path: Path, dtype: str) -> None:
    encoder = SentenceEncoder.from_pretrained(
        write(tmp_path, norm_files(), model=True), dtype=dtype
    )
    plain = SentenceEncoder.from_pretrained(plain_demo, dtype="float64").encode("a test")
    expected = (plain - plain.mean()) / np.sqrt(plain.var() + 1e-5)
    expected = expected * np.linspace(-2, 2, 128) + np.linspace(1, 0, 128)
    vector = encoder.encode("a test")
    assert vector.dtype == dtype
    assert np.abs(vector - expected).max() < 1e-5
    assert encoder.get_embedding_dimension() == 128
    with pytest.raises(
        ValueError,
        match="pooling must make 128 features, which the model's LayerNorm takes; got 256",
    ):
        encoder.encode("a", pooling=["cls", "mean"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"dimension": 64},
            r"norm.weight must be floats of shape \(64,\), .*; got F32 of shape \(128,\)",
        ),
        ({"dimension": "128"}, "dimension must be a whole number from 1; got '128'"),
        ({"eps": 1e-12}, "eps is not supported for a LayerNorm"),
    ],
)
def test_a_layer_norm_that_is_refused(tmp_path: Path, config: Any, words: str) -> None:
    folder = write(tmp_path, norm_files(**config), model=True)
    with pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        SentenceEncoder.from_pretrained(folder)
    assert "2_LayerNorm" in str(caught.value)


def test_a_layer_norm_of_another_width_than_comes(tmp_path: Path) -> None:
    files = norm_files() | {"1_Pooling/config.json": {"pooling_mode": ["cls", "mean"]}}
    with pytest.raises(
        ConfigError, match="dimension must be 256, which the module before makes; got 128"
    ):
        SentenceEncoder.from_pretrained(write(tmp_path, files, model=True))


LAYERS = "WeightedLayerPooling"


def layer_files(**config: Any) -> dict[str, Any]:
    stated = {"embedding_dimension": 128, "num_hidden_layers": 2, "layer_start": 1}
    return {
        "modules.json": modules("Transformer", LAYERS, "Pooling"),
        f"1_{LAYERS}/config.json": stated | config,
        f"1_{LAYERS}/model.safetensors": serialize({"layer_weights": np.ones(2, np.float32)}),
        "2_Pooling/config.json": {"pooling_mode": "mean"},
    }


def with_states(folder: Path) -> Path:
    """Let a model's config.json ask for all layers' states."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"output_hidden_states": True}))
    return folder


def test_a_mean_of_the_layers(tmp_path: Path, dtype: str) -> None:
    folder = with_states(write(tmp_path, layer_files(), model=True))
    encoder = SentenceEncoder.from_pretrained(folder, dtype=dtype)
    texts = ["a test", "a longer test than that"]
    found = encoder.encode(texts)
    for row, text in zip(found, texts, strict=True):
        ids = encoder.tokenizer(text)["input_ids"]
        states = encoder.model([ids], output_hidden_states=True).hidden_states
        assert states is not None
        expected = (states[1] + states[2])[0].mean(0) / 2
        assert np.abs(row - expected).max() < 1e-5
    copied = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(copied.encode(texts), found)
    with pytest.raises(InputError, match="pools its layers"):
        SentenceStudent.from_folder(folder, 128)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_hidden_layers": 12}, "num_hidden_layers must be 2, as the model has; got 12"),
        ({"layer_start": 3}, "layer_start must be a number from 0 to 2; got 3"),
        (
            {"layer_start": 0},
            r"layer_weights must be floats of shape \(3,\), .*; got F32 of shape \(2,\)",
        ),
        ({"hidden": 1}, "hidden is not supported for a WeightedLayerPooling"),
    ],
)
def test_a_mean_of_layers_that_is_refused(tmp_path: Path, config: Any, words: str) -> None:
    folder = with_states(write(tmp_path, layer_files(**config), model=True))
    with pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        SentenceEncoder.from_pretrained(folder)
    assert f"1_{LAYERS}" in str(caught.value)


def test_a_dense_layer(plain_demo: Path, tmp_path: Path, dtype: str) -> None:
    folder = write(tmp_path, dense_files(), model=True)
    for mmap in (True, False):
        encoder = SentenceEncoder.from_pretrained(folder, dtype=dtype, mmap=mmap)
        vector = encoder.encode("a test")
        assert vector.shape == (5,)
        assert vector.dtype == dtype
        assert encoder.get_embedding_dimension() == 5
        plain = SentenceEncoder.from_pretrained(plain_demo, dtype="float64").encode("a test")
        rng = np.random.default_rng(0)
        weight = rng.standard_normal((5, 128)).astype(np.float32)
        bias = rng.standard_normal(5).astype(np.float32)
        assert np.abs(vector - np.tanh(weight @ plain + bias)).max() < 1e-5
    # Another mode is as wide; a text's vector by two modes would not be.
    assert encoder.encode("a test", pooling="cls").shape == (5,)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"in_features": 127},
            "in_features must be 128, which the module before makes; got 127|shape \\(5, 128\\)",
        ),
        (
            {"out_features": 6},
            r"linear.weight must be floats of shape \(6, 128\), .*; got F32 of shape \(5, 128\)",
        ),
        ({"out_features": True}, "out_features must be a whole number from 1; got True"),
        ({"bias": False}, "must hold linear.weight, as"),
        ({"bias": "no"}, "bias must be true or false; got 'no'"),
        ({"use_residual": True}, "must hold linear.weight, linear.bias, residual.weight, as"),
        (
            {"module_input_name": "token_embeddings"},
            "module_input_name must be 'sentence_embedding'; got",
        ),
        (
            {"activation_function": "os.system"},
            "activation_function must be one of torch.nn's CELU.*; got 'os.system'",
        ),
        ({"activation_function": "torch.nn.modules.activation.PReLU"}, "; got 'torch.*PReLU'"),
        ({"activation_function": "torch.nn.modules.activation.GLU"}, "; got 'torch.*GLU'"),
        ({"activation_function": "torch.nn.functional.relu"}, "; got 'torch.*relu'"),
        ({"activation_function": None}, "activation_function must be one of .*; got None"),
        ({"hidden": 1}, "hidden is not supported for a Dense"),
    ],
)
def test_a_dense_layer_that_is_refused(tmp_path: Path, config: Any, words: str) -> None:
    folder = write(tmp_path, dense_files(**config), model=True)
    with pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        SentenceEncoder.from_pretrained(folder)
    assert "2_Dense" in str(caught.value)


def test_a_pickled_dense_layer_is_refused(tmp_path: Path) -> None:
    files = dense_files()
    del files["2_Dense/model.safetensors"]
    folder = write(tmp_path, files, model=True)
    with pytest.raises(CheckpointError, match=r"2_Dense: has no model\.safetensors"):
        SentenceEncoder.from_pretrained(folder)
    write(folder, {"2_Dense/pytorch_model.bin": b"\x80\x02"})
    with pytest.raises(CheckpointError, match=r"has only pickled weights .* are refused"):
        SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("width", "shown"),
    [(64, "64"), (10**4000, "a number of about 4,001 digits")],
    ids=["64", "4001 digits"],
)
def test_a_pooling_of_another_width_is_refused(width: int, shown: str, tmp_path: Path) -> None:
    files = dense_files() | {"1_Pooling/config.json": {"word_embedding_dimension": width}}
    with pytest.raises(ConfigError) as raised:
        SentenceEncoder.from_pretrained(write(tmp_path, files, model=True))
    assert str(raised.value) == (
        f"{tmp_path}: the pooling must be for 128 features, as the model has; got {shown}."
    )


def test_a_call_whose_pooling_does_not_fit_the_dense_layer(tmp_path: Path) -> None:
    files = dense_files(in_features=256) | {
        "1_Pooling/config.json": {"pooling_mode": ["cls", "mean"]},
        "2_Dense/model.safetensors": serialize(
            {"linear.weight": np.ones((5, 256), np.float32), "linear.bias": np.ones(5, np.float32)}
        ),
    }
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, files, model=True))
    assert encoder.encode("a").shape == (5,)
    with pytest.raises(
        ValueError, match="pooling must make 256 features, which the model's Dense takes; got 128"
    ):
        encoder.encode("a", pooling="cls")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_is_refused_though_tanh_hides_it(
    tmp_path: Path, value: float
) -> None:
    files = dense_files()
    weight, bias = np.ones((5, 128), np.float32), np.zeros(5, np.float32)
    bias[3] = value
    files["2_Dense/model.safetensors"] = serialize({"linear.weight": weight, "linear.bias": bias})
    with pytest.raises(CheckpointError, match=rf"2_Dense.*: linear.bias\[3\] = {value}: this wei"):
        SentenceEncoder(write(tmp_path, files, model=True))


def test_a_module_that_overflows_is_named(tmp_path: Path) -> None:
    files = dense_files(activation_function="torch.nn.modules.linear.Identity", bias=False)
    weight = np.full((5, 128), 3e38, np.float32)
    files["2_Dense/model.safetensors"] = serialize({"linear.weight": weight})
    encoder = SentenceEncoder(write(tmp_path, files, model=True))
    with pytest.raises(
        CheckpointError, match=r"so large that 2\.dense overflows float32; load with dtype='float64"
    ):
        encoder.encode("a test")
    assert np.isfinite(SentenceEncoder(tmp_path, dtype="float64").encode("a test")).all()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, -1.0], "layer_weights must not add up to 0"),
        ([1.0, np.inf], r"layer_weights\[1\] = inf: this weight is not finite"),
    ],
)
def test_layers_of_which_there_is_no_mean(tmp_path: Path, weights: Any, words: str) -> None:
    files = layer_files()
    data = {"layer_weights": np.array(weights, np.float32)}
    files[f"1_{LAYERS}/model.safetensors"] = serialize(data)
    with pytest.raises(CheckpointError, match=words):
        SentenceEncoder(with_states(write(tmp_path, files, model=True)))


def test_layers_whose_mean_overflows(tmp_path: Path) -> None:
    files = layer_files()
    data = {"layer_weights": np.array([3e38, 3e38], np.float32)}
    files[f"1_{LAYERS}/model.safetensors"] = serialize(data)
    encoder = SentenceEncoder(with_states(write(tmp_path, files, model=True)))
    with pytest.raises(CheckpointError, match="the mean of the layers overflows float32"):
        encoder.encode("a test")
