"""numpy_bert.encoding.recipe, .settings, .dense: every spelling of the files, and refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import CheckpointError, ConfigError, InputError, SentenceEncoder
from numpy_bert.encoding.recipe import read_recipe
from numpy_bert.encoding.settings import read_settings
from numpy_bert.training import SentenceStudent
from tests.support.checkpoints import serialize
from tests.support.demo import write_plain

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Dropout": "sentence_transformers.sentence_transformer.modules.dropout.Dropout",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
}


def modules(*kinds: str, new: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}".replace("\x1b", "") if place else "",
            "type": NEW[kind] if new else kind if "." in kind else OLD + kind,
        }
        for place, kind in enumerate(kinds)
    ]


def write(folder: Path, files: dict[str, Any], *, model: bool = False) -> Path:
    if model:
        write_plain(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)
    return folder


@pytest.mark.parametrize("new", [False, True])
def test_both_spellings_of_the_modules(tmp_path: Path, new: bool) -> None:
    kinds = ("Transformer", "Pooling", "Dense", "Dropout", "Normalize", "LayerNorm")
    files = {
        "modules.json": modules(*kinds, new=new),
        "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
        if not new
        else {"embedding_dimension": 128, "pooling_mode": ["max", "cls"], "include_prompt": False},
        "sentence_bert_config.json": {"max_seq_length": 77, "do_lower_case": True},
    }
    recipe = read_recipe(write(tmp_path, files))
    assert recipe.folder == tmp_path
    assert recipe.pooling == (("max", "cls") if new else ("cls", "max"))
    assert recipe.width == (128 if new else None)
    assert recipe.include_prompt is not new
    assert recipe.behind == (
        ("Dense", tmp_path / "2_Dense"),
        ("Normalize", tmp_path / "4_Normalize"),
        ("LayerNorm", tmp_path / "5_LayerNorm"),
    )
    assert (recipe.max_seq_length, recipe.lower_case) == (77, True)
    assert recipe.notes == ()


def test_a_bert_in_a_folder_of_its_own(tmp_path: Path) -> None:
    write_plain(tmp_path / "0_Transformer")
    listed = modules("Transformer", "Pooling")
    listed[0]["path"] = "0_Transformer"
    files = {
        "modules.json": listed,
        "1_Pooling/config.json": {"pooling_mode": "cls"},
        "0_Transformer/sentence_bert_config.json": {"max_seq_length": 11},
    }
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, files))
    assert encoder.max_seq_length == 11
    assert encoder.encode("a").shape == (128,)


@pytest.mark.parametrize(
    "kind",
    ["CNN", "LSTM", "WordWeights", "BoW", "StaticEmbedding", "Router", "x\x1b[31m"],
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", kind),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
    }
    with pytest.raises(ConfigError, match="is not supported; Transformer, Pooling") as caught:
        read_recipe(write(tmp_path, files))
    assert kind in str(caught.value) or "\\x1b" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([{"path": "", "type": "mine.Transformer"}], "the module mine.Transformer is not supp"),
        ([{"path": "", "type": "evil.models.Transformer"}], "evil.models.Transformer is not"),
        ([{"path": "", "type": "Transformer"}], "the module Transformer is not supported"),
        ([{"path": ""}], "the module '' is not supported"),
        ([], "has the modules none; a Transformer, then a Pooling"),
        (modules("Transformer"), "has the modules Transformer; a Transformer, then"),
        (modules("Transformer", "Dense", "Pooling"), "Transformer, Dense, Pooling; a Trans"),
        (modules("Transformer", "Pooling", "Pooling"), "Pooling, Pooling; a Transformer"),
        ([{"path": "../x", "type": OLD + "Transformer"}], "is no folder in the model's own"),
        ([{"path": "/etc", "type": OLD + "Transformer"}], "is no folder in the model's own"),
        ({"a": 1}, "is not a list of modules"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, listed: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe(write(tmp_path, {"modules.json": listed}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "sum"}, "pooling_mode = 'sum'; one or a list"),
        ("1_Pooling/config.json", {"pooling_mode": []}, r"pooling_mode = \[\]; one or"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", 1]}, "one or a list of"),
        ("1_Pooling/config.json", {"pooling_mode_attention": True}, "'?pooling_mode_attention"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": 1}, "= 1; true or false"),
        ("1_Pooling/config.json", {"include_prompt": "no"}, "include_prompt = 'no'"),
        ("1_Pooling/config.json", {"embedding_dimension": 0}, "embedding_dimension = 0"),
        ("1_Pooling/config.json", b"[", "is not JSON"),
        ("sentence_bert_config.json", {"max_seq_length": 5.5}, "max_seq_length = 5.5; a number"),
        ("sentence_bert_config.json", {"max_seq_length": "a"}, "max_seq_length = 'a'"),
        ("sentence_bert_config.json", {"do_lower_case": 1}, "do_lower_case = 1; true or"),
        ("sentence_bert_config.json", {"do_lowercase": True}, "do_lowercase is not supported for"),
        ("sentence_bert_config.json", {"model_args": {"num_hidden_layers": 1}}, "model_args = {"),
        ("sentence_bert_config.json", {"tokenizer_args": {"do_lower_case": 0}}, "of model_max_len"),
        ("sentence_bert_config.json", {"tokenizer_args": []}, "tokenizer_args = "),
        ("sentence_bert_config.json", {"config_kwargs": {"x": 1}}, "an object of nothing was"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {}}}, "processing_kwargs = {"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "x"}, "tokenizer_name_or_path"),
        ("sentence_xlnet_config.json", {"max_seq_length": True}, "max_seq_length = True; a number"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "'feature-extraction'"),
        ("sentence_bert_config.json", {"module_output_name": "x"}, "'token_embeddings' was"),
        ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, name: str, content: Any, words: str) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
    }
    folder = write(tmp_path, files)
    assert read_recipe(folder).pooling == ("mean",)
    with pytest.raises(ConfigError, match=words) as caught:
        read_recipe(write(folder, {name: content}))
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "expected"), [(-1, None), (0, None), (None, None), (9.0, 9), ("9", 9), (9, 9)]
)
def test_a_limit_is_taken_for_what_it_can_only_mean(
    tmp_path: Path, stated: object, expected: int | None
) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
        "sentence_bert_config.json": {"max_seq_length": stated},
    }
    assert read_recipe(write(tmp_path, files)).max_seq_length == expected


def test_a_missing_pooling_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1_Pooling.config\.json: does not exist"):
        read_recipe(write(tmp_path, {"modules.json": modules("Transformer", "Pooling")}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"prompts": [1]}, "prompts = "),
        ({"prompts": {"a": 1}}, "an object of texts by their names"),
        ({"default_prompt_name": "a"}, "default_prompt_name = 'a'; null or the name of one"),
        ({"truncate_dim": 0}, "truncate_dim = 0"),
        ({"model_type": "SparseEncoder"}, "model_type = 'SparseEncoder'"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    files = {"config_sentence_transformers.json": content, "modules.json": []}
    folder = write(tmp_path, files)
    with pytest.raises(ConfigError, match=words):
        read_settings(folder)


def test_settings(tmp_path: Path) -> None:
    assert read_settings(tmp_path).similarity_fn_name == "cosine"
    content = {
        "prompts": {"query": "q: ", "none": None},
        "default_prompt_name": "query",
        "similarity_fn_name": None,
        "truncate_dim": 9,
    }
    folder = write(tmp_path, {"config_sentence_transformers.json": content})
    assert read_settings(folder).prompts == {}  # without modules.json it is not read
    settings = read_settings(write(folder, {"modules.json": []}))
    assert settings.prompts == {"query": "q: ", "none": ""}
    assert settings.default_prompt_name == "query"
    assert settings.similarity_fn_name == "cosine"
    assert settings.truncate_dim == 9


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cos_sim", "'cos_sim' is not read by sentence-transformers; it is cosine."),
        ("dot_score", "cosine is taken, as there. Set 'dot' if another is meant."),
        ("maxsim", "cosine is taken, as there. Set one of cosine, dot, euclidean, manhattan if"),
        (["dot"], "['dot'] is not read"),
        ("", "'' is not read"),
    ],
)
def test_a_similarity_by_another_name(tmp_path: Path, name: Any, words: str) -> None:
    content = {"similarity_fn_name": name, "nobody": float("nan")}
    files = {"config_sentence_transformers.json": content, "modules.json": []}
    settings = read_settings(write(tmp_path, files))
    assert settings.similarity_fn_name == "cosine"
    (note,) = settings.notes
    assert words in note


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
    with pytest.raises(ValueError, match="makes vectors of 256 features; the model's LayerNorm ta"):
        encoder.encode("a", pooling=["cls", "mean"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"dimension": 64}, r"norm.weight is \(128,\), F32; floats of the shape \(64,\) were"),
        ({"dimension": "128"}, "dimension = '128'; a whole number from 1 was expected"),
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
    with pytest.raises(ConfigError, match="dimension = 128; 256, which comes from the module bef"):
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
        ({"num_hidden_layers": 12}, "num_hidden_layers = 12; 2, as the model has, was expected"),
        ({"layer_start": 3}, "layer_start = 3; a number from 0 to 2 was expected"),
        ({"layer_start": 0}, r"layer_weights is \(2,\), F32; floats of the shape \(3,\) were"),
        ({"hidden": 1}, "hidden is not supported for a WeightedLayerPooling"),
    ],
)
def test_a_mean_of_layers_that_is_refused(tmp_path: Path, config: Any, words: str) -> None:
    folder = with_states(write(tmp_path, layer_files(**config), model=True))
    with pytest.raises((ConfigError, CheckpointError), match=words) as caught:
        SentenceEncoder.from_pretrained(folder)
    assert f"1_{LAYERS}" in str(caught.value)


def dense_files(**config: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    tensors = {
        "linear.weight": rng.standard_normal((5, 128)).astype(np.float32),
        "linear.bias": rng.standard_normal(5).astype(np.float32),
    }
    stated = {
        "in_features": 128,
        "out_features": 5,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    return {
        "modules.json": modules("Transformer", "Pooling", "Dense"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
        "2_Dense/config.json": stated | config,
        "2_Dense/model.safetensors": serialize(tensors),
    }


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
        ({"in_features": 127}, "in_features = 127; 128, which comes from|is \\(5, 128\\)"),
        ({"out_features": 6}, r"linear.weight is \(5, 128\), F32; floats of the shape \(6, 128\)"),
        ({"out_features": True}, "out_features = True; a whole number"),
        ({"bias": False}, "asks for linear.weight"),
        ({"bias": "no"}, "bias = 'no'; true or false"),
        ({"use_residual": True}, "asks for linear.weight, linear.bias, residual.weight"),
        ({"module_input_name": "token_embeddings"}, "module_input_name = 'token_embeddings'"),
        ({"activation_function": "os.system"}, "activation_function = 'os.system'; one of"),
        ({"activation_function": "torch.nn.modules.activation.PReLU"}, "PReLU'; one of"),
        ({"activation_function": "torch.nn.modules.activation.GLU"}, "GLU'; one of"),
        ({"activation_function": "torch.nn.functional.relu"}, "relu'; one of torch.nn's CELU"),
        ({"activation_function": None}, "activation_function = None"),
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


def test_a_pooling_of_another_width_is_refused(tmp_path: Path) -> None:
    files = dense_files() | {"1_Pooling/config.json": {"word_embedding_dimension": 64}}
    with pytest.raises(ConfigError, match="pooling is for 64 features, the model has 128"):
        SentenceEncoder.from_pretrained(write(tmp_path, files, model=True))


def test_a_call_whose_pooling_does_not_fit_the_dense_layer(tmp_path: Path) -> None:
    files = dense_files(in_features=256) | {
        "1_Pooling/config.json": {"pooling_mode": ["cls", "mean"]},
        "2_Dense/model.safetensors": serialize(
            {"linear.weight": np.ones((5, 256), np.float32), "linear.bias": np.ones(5, np.float32)}
        ),
    }
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, files, model=True))
    assert encoder.encode("a").shape == (5,)
    with pytest.raises(ValueError, match="pooling: makes vectors of 128 features; the model's"):
        encoder.encode("a", pooling="cls")
