"""numpy_bert.encoding.saving: an encoder as it is now, saved and loaded, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, OutputError, SentenceEncoder
from numpy_bert.cli import main
from numpy_bert.encoding import MODES
from tests.support.checkpoints import serialize
from tests.support.sentence_models import dense_files, modules, write

TEXTS = ["A test", "the moon and the sea", "word " * 30]


def same(one: SentenceEncoder, two: SentenceEncoder) -> None:
    for name in (
        *("pooling", "prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim"),
        *("max_seq_length", "dtype"),
    ):
        assert getattr(one, name) == getattr(two, name), name
    assert np.array_equal(one.encode(TEXTS), two.encode(TEXTS))
    assert one.tokenizer.truncation_side == two.tokenizer.truncation_side


def all_modules(folder: Path) -> Path:
    """Write a model with every kind of module."""
    rng = np.random.default_rng(0)
    layers = {"layer_weights": np.array([0.5, 1.0, 2.0], np.float32)}
    norm = {"norm.weight": rng.uniform(0.5, 2, 256), "norm.bias": rng.uniform(-1, 1, 256)}
    dense = {"linear.weight": rng.standard_normal((6, 256)) / 16}
    residual = {"residual.weight": rng.standard_normal((6, 256)) / 16}
    square = {"linear.weight": rng.standard_normal((6, 6)), "linear.bias": np.arange(6.0)}
    kinds = ("WeightedLayerPooling", "Pooling", "LayerNorm", "Dense", "Dense", "Normalize")

    def tensors(arrays: dict[str, Any]) -> bytes:
        return serialize({name: array.astype(np.float32) for name, array in arrays.items()})

    sizes = {"in_features": 256, "out_features": 6}
    gelu = "torch.nn.modules.activation.GELU"
    files: dict[str, Any] = {
        "modules.json": modules("Transformer", *kinds),
        "1_WeightedLayerPooling/config.json": {"num_hidden_layers": 2, "layer_start": 0},
        "1_WeightedLayerPooling/model.safetensors": tensors(layers),
        "2_Pooling/config.json": {"pooling_mode": ["lasttoken", "cls"], "include_prompt": False},
        "3_LayerNorm/config.json": {"dimension": 256},
        "3_LayerNorm/model.safetensors": tensors(norm),
        "4_Dense/config.json": {**sizes, "bias": False, "use_residual": True},
        "4_Dense/model.safetensors": tensors(dense | residual),
        "5_Dense/config.json": {
            "in_features": 6,
            "out_features": 6,
            "use_residual": True,
            "activation_function": gelu,
        },
        "5_Dense/model.safetensors": tensors(square),
        "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True},
        "config_sentence_transformers.json": {
            "prompts": {"query": "fin\u0434: "},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
        },
    }
    write(folder, files, model=True)
    config = folder / "config.json"
    stated = json.loads(config.read_text()) | {"output_hidden_states": True}
    config.write_text(json.dumps(stated))
    return folder


@pytest.mark.filterwarnings("ignore:encode. .*cut")
@pytest.mark.parametrize("number", ["float32", "float64"])
def test_every_module_is_saved(tmp_path: Path, number: str) -> None:
    encoder = SentenceEncoder(all_modules(tmp_path / "old"), dtype=number)
    encoder.save_pretrained(tmp_path / "new")
    found = SentenceEncoder(tmp_path / "new", dtype=number)
    same(encoder, found)
    reads = json.loads((tmp_path / "new" / "sentence_bert_config.json").read_text())
    assert reads == {"max_seq_length": 24, "do_lower_case": True}
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [
        *("1_WeightedLayerPooling", "2_Pooling", "3_LayerNorm", "4_Dense", "5_Dense"),
        *("config.json", "config_sentence_transformers.json", "model.safetensors", "modules.json"),
        *("sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json"),
    ]


@pytest.mark.filterwarnings("ignore:encode. .*cut")
@pytest.mark.parametrize("pooling", [*MODES, ("max", "cls"), ("cls", "mean_sqrt_len")])
def test_what_has_been_set_is_saved(plain_demo: Path, tmp_path: Path, pooling: Any) -> None:
    encoder = SentenceEncoder(plain_demo)
    encoder.pooling, encoder.max_seq_length, encoder.truncate_dim = pooling, 9, 100
    encoder.prompts = {"query": "q: ", "document": "", "other": "o: "}
    encoder.default_prompt_name, encoder.similarity_fn_name = "other", "manhattan"
    encoder.tokenizer.truncation_side = "left"
    encoder.save_pretrained(tmp_path)
    same(encoder, SentenceEncoder(tmp_path))


def test_the_folder_works_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "suns"
    encoder = SentenceEncoder("demo")
    encoder.save_pretrained(folder)
    assert main(["encode", "a test", "--model", str(folder), "--json"]) == 0
    vectors = json.loads(capsys.readouterr().out)["vectors"]
    assert np.array_equal(np.array(vectors[0], np.float32), encoder.encode("a test"))
    model = BertModel.from_pretrained(folder)
    for name, array in encoder.model.named_parameters():
        assert np.array_equal(dict(model.named_parameters())[name], array)


@pytest.mark.parametrize("first", ["encoder", "tokenizer"])
def test_the_tokenizer_may_be_saved_before_and_after(
    minilm: Path, tmp_path: Path, first: str
) -> None:
    encoder, tokenizer = SentenceEncoder(minilm), BertTokenizer.from_pretrained(minilm)
    assert encoder.max_seq_length != tokenizer.model_max_length
    if first == "tokenizer":
        tokenizer.save_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    same(encoder, SentenceEncoder(tmp_path))


def test_nothing_is_lost_without_force(plain_demo: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder(plain_demo)
    encoder.save_pretrained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = SentenceEncoder(write(tmp_path / "dense", dense_files(), model=True))
    with pytest.raises(OutputError, match=r"modules\.json: already exists"):
        other.save_pretrained(tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    other.save_pretrained(tmp_path, force=True)
    same(other, SentenceEncoder(tmp_path))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        place = tmp_path / name.split(".")[0]
        place.mkdir()
        (place / name).write_bytes(b"mine")
        with pytest.raises(OutputError, match=f"{name}: already exists"):
            encoder.save_pretrained(place)
        assert [path.name for path in place.iterdir() if path.is_file()] == [name]


def test_over_the_files_that_it_was_loaded_from(tmp_path: Path) -> None:
    encoder = SentenceEncoder(write(tmp_path, dense_files(), model=True))
    expected = encoder.encode(TEXTS)
    encoder.save_pretrained(tmp_path, force=True)
    assert np.array_equal(encoder.encode(TEXTS), expected)
    assert np.array_equal(SentenceEncoder(tmp_path).encode(TEXTS), expected)


def test_a_folder_without_its_weights_is_no_plain_bert(
    plain_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the middle leaves a folder that cannot be loaded, rather than other vectors."""
    encoder = SentenceEncoder(plain_demo)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BertModel, "save_pretrained", killed)
    with pytest.raises(KeyboardInterrupt):
        encoder.save_pretrained(tmp_path)
    assert (tmp_path / "modules.json").exists()
    assert not (tmp_path / "model.safetensors").exists()


def test_what_is_refused(plain_demo: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder(plain_demo)
    encoder.save_pretrained(tmp_path / "a", safe_serialization=True, create_model_card=False)
    with pytest.raises(ValueError, match="Weights are saved as safetensors alone"):
        encoder.save_pretrained(tmp_path / "b", safe_serialization=False)
    with pytest.raises(ValueError, match="numpy_bert writes no model cards"):
        encoder.save_pretrained(tmp_path / "b", create_model_card=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        encoder.save_pretrained(tmp_path / "b", name="x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be made"):
        encoder.save_pretrained(tmp_path / "file")
    assert not (tmp_path / "b").exists()
