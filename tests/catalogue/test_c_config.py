"""Rows C1 to C13: nothing is guessed where a field of config.json that counts is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel
from numpy_bert.cli import main
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, ConfigError
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.support.limits import allocating_at_most, within

Capture = pytest.CaptureFixture[str]


def refusal(folder: Path, config: bytes | None, capsys: Capture) -> str:
    """Return what Python and the command line say alike of a config.json, without its path."""
    path = write_checkpoint(folder) / "config.json"
    path.unlink()
    if config is not None:
        path.write_bytes(config)
    with pytest.raises(ConfigError) as raised, within(5), allocating_at_most(8 << 20):
        BertModel.from_pretrained(folder)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 1000
    assert main(["inspect", str(folder)]) == 1
    assert capsys.readouterr().err == f"numpy-bert inspect: error: {message}\n"
    return message.removeprefix(f"{path}: ")


def changed(**changes: Any) -> bytes:
    """Return TINY with some members changed, as JSON."""
    return json.dumps(TINY | changes).encode()


def read(folder: Path, **changes: Any) -> BertConfig:
    return BertModel.from_pretrained(write_checkpoint(folder, config=TINY | changes)).config


BROKEN = {
    "missing": (None, "does not exist; name the folder of a checkpoint."),
    "empty": (b"", "must be a JSON object; got an empty file."),
    "HTML": (b"<!DOCTYPE html>", "is not JSON (Expecting value: line 1, column 1)."),
    "BOM": (b"\xef\xbb\xbf" + changed(), "is not JSON (Unexpected UTF-8 BOM"),
    "UTF-16": (changed().decode().encode("utf-16"), "is not UTF-8 (byte 0)."),
    "a list": (b"[" + changed() + b"]", "must be a JSON object; got [{"),
    "a number": (b"3", "must be a JSON object; got 3."),
    "a cut": (changed()[:-30], "is not JSON ("),
    "more than 1 MB": (
        b" " * (1 << 20) + b"{}",
        "has 1,048,578 bytes; at most 1,048,576 are read.",
    ),
    "deep": (b'{"a":' + b"[" * 200_000, "is nested too deeply for a JSON file."),
    "deep and closed": (b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}", "is nested too deeply for a"),
}


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=BROKEN)
def test_c1_a_file_that_is_no_config(
    data: bytes | None, words: str, tmp_path: Path, capsys: Capture
) -> None:
    assert refusal(tmp_path, data, capsys).startswith(words)


def test_c1_a_file_of_1_gb_is_not_read(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path) / "config.json"
    os.truncate(path, 1 << 30)
    with pytest.raises(ConfigError) as raised, within(5), allocating_at_most(1 << 16):
        BertConfig.from_json_file(path)
    assert str(raised.value) == f"{path}: has 1,073,741,824 bytes; at most 1,048,576 are read."


def test_c1_as_much_as_is_read_takes_little_time(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"x": [' + b"[]," * ((1 << 20) // 3 - 8) + b"0]}")
    with within(3):
        assert BertConfig.from_json_file(path) == BertConfig()


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b'{"vocab_size": 61, "vocab_size": 61}', "vocab_size"),
        (b'{"x": [{"a": 1, "a": 2}]}', "a"),
        (b'{"\\u001b[31m": 1, "\\u001b[31m": 1}', r"'\x1b[31m'"),
    ],
)
def test_c2_duplicate_keys(data: bytes, key: str, tmp_path: Path, capsys: Capture) -> None:
    assert refusal(tmp_path, data, capsys) == f"the key {key} stands twice; keep one."


NUMBERS = {
    "NaN": ("NaN", "layer_norm_eps must be a number above 0; got nan."),
    "Infinity": ("Infinity", "layer_norm_eps must be a number above 0; got inf."),
    "1e400": ("1e400", "layer_norm_eps must be a number above 0; got inf."),
    "400 digits": ("9" * 400, "layer_norm_eps must be a number above 0; got "),
    "5000 digits": ("9" * 5000, "holds a number that is too long ("),
}


@pytest.mark.parametrize(("value", "words"), NUMBERS.values(), ids=NUMBERS)
def test_c3_numbers_that_are_none(value: str, words: str, tmp_path: Path, capsys: Capture) -> None:
    """Where nobody reads the member, NaN and Infinity stop nothing, as in transformers."""
    stated = changed(layer_norm_eps="VALUE")
    data = stated.replace(b'"VALUE"', value.encode())
    assert refusal(tmp_path, data, capsys).startswith(words)
    if len(value) < 100:
        path = tmp_path / "config.json"
        path.write_bytes(data.replace(b"layer_norm_eps", b"of_a_task"))
        assert BertConfig.from_json_file(path) == BertConfig.from_dict(TINY)


@pytest.mark.parametrize(
    "value", [0, -1, 768.0, "768", True, 10**12], ids=["0", "-1", "768.0", "text", "true", "1e12"]
)
def test_c4_sizes_are_integers_within_bounds(
    value: object, tmp_path: Path, capsys: Capture
) -> None:
    """Of every size they are in tests/test_config.py."""
    for name in ("vocab_size", "num_hidden_layers"):
        message = refusal(tmp_path, changed(**{name: value}), capsys)
        assert message.startswith(f"{name} must be an integer from 1 to ")
        assert message.endswith(f"; got {value!r}.")


def test_c5_heads_must_divide_the_hidden_size(tmp_path: Path, capsys: Capture) -> None:
    message = refusal(tmp_path, changed(num_attention_heads=5), capsys)
    assert message == "hidden_size = 24 is not a multiple of num_attention_heads = 5."


@pytest.mark.parametrize("value", [0, 0.0, -1e-12, "1e-12", None, True], ids=repr)
def test_c6_an_epsilon_is_above_0(value: object, tmp_path: Path, capsys: Capture) -> None:
    message = refusal(tmp_path, changed(layer_norm_eps=value), capsys)
    assert message == f"layer_norm_eps must be a number above 0; got {value!r}."
    assert read(tmp_path, layer_norm_eps=1e-12).layer_norm_eps == BertConfig().layer_norm_eps


@pytest.mark.parametrize("value", ["Gelu", "prelu", "", None, 3, ["gelu"], "\x1b[31m"], ids=ascii)
def test_c7_an_unknown_activation_is_never_replaced(
    value: object, tmp_path: Path, capsys: Capture
) -> None:
    message = refusal(tmp_path, changed(hidden_act=value), capsys)
    assert message.startswith("hidden_act = ")
    assert "is not supported; known are gelu, gelu_10, gelu_accurate, gelu_fast, " in message


def test_c7_two_functions_of_like_names_are_two(tmp_path: Path) -> None:
    assert read(tmp_path, hidden_act="gelu").activation == "gelu"
    assert read(tmp_path, hidden_act="gelu_new").activation == "gelu_new"
    ids = [[2, 5, 3]]
    states = []
    for name in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        write_checkpoint(tmp_path, config=TINY | {"hidden_act": name})
        states.append(BertModel.from_pretrained(tmp_path, dtype="float64")(ids).last_hidden_state)
    assert not np.array_equal(states[0], states[1])
    assert np.array_equal(states[1], states[2])


OTHERS = {
    "position_embedding_type": ("relative_key", "'absolute'"),
    "is_decoder": (True, "False"),
    "add_cross_attention": (True, "False"),
    "is_encoder_decoder": (True, "False"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_c8_other_architectures_are_refused(name: str, tmp_path: Path, capsys: Capture) -> None:
    """More of them are in tests/test_config.py."""
    value, only = OTHERS[name]
    message = refusal(tmp_path, changed(**{name: value}), capsys)
    assert message == f"{name} = {value!r} is not supported; only {only} is."


def test_c9_all_sizes_that_do_not_fit_are_named_at_once(tmp_path: Path, capsys: Capture) -> None:
    bias = "embeddings.LayerNorm.bias"
    tensors = {f"bert.{key}": a for key, a in random_tensors().items() if key != bias}
    config = TINY | {"vocab_size": 62, "max_position_embeddings": 18, "type_vocab_size": 2}
    write_checkpoint(tmp_path, tensors, config)
    with pytest.raises(CheckpointError) as raised:
        BertModel.from_pretrained(tmp_path)
    misfit = (
        "  misfit   bert.embeddings.{}_embeddings.weight is {}, config.json says {}"
        "  (another model's config?)"
    )
    assert str(raised.value).splitlines() == [
        f"{tmp_path / 'model.safetensors'}: 1 key missing, 3 of the wrong shape or dtype.",
        f"  missing  {bias}",
        misfit.format("word", (61, 24), (62, 24)),
        misfit.format("position", (19, 24), (18, 24)),
        misfit.format("token_type", (3, 24), (2, 24)),
    ]
    assert main(["inspect", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"numpy-bert inspect: error: {raised.value}\n"


@pytest.mark.parametrize("value", [-62, 61, 1.0, "0", True], ids=repr)
def test_c10_the_padding_id_is_one_of_the_vocabulary(
    value: object, tmp_path: Path, capsys: Capture
) -> None:
    """-1 is the last, as in torch.nn.Embedding, which transformers hands it to."""
    message = refusal(tmp_path, changed(pad_token_id=value), capsys)
    assert message.startswith("pad_token_id must be null, an id of the vocabulary of 61, or")
    assert message.endswith(f"; got {value!r}.")
    assert [read(tmp_path, pad_token_id=v).pad_token_id for v in (None, -1, 60)] == [None, -1, 60]


def test_c11_the_file_wins_over_torch_dtype(tmp_path: Path) -> None:
    word = "embeddings.word_embeddings.weight"
    tensors = random_tensors() | {word: random_tensors()[word].astype(np.float16)}
    for name in ("torch_dtype", "dtype"):
        folder = write_checkpoint(tmp_path, tensors, TINY | {name: "bfloat16"})
        model = BertModel.from_pretrained(folder)
        assert model.dtype == np.float32
        assert model.loading_info.cast == ((word, "F16", "float32"),)
        assert np.array_equal(model.embeddings.word_embeddings.weight, random_tensors()[word])


def test_c12_code_of_the_checkpoint_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {"AutoConfig": "evil--config.Evil", "AutoModel": "modeling_evil.Evil"}
    config = TINY | {"auto_map": code, "trust_remote_code": True}
    folder = write_checkpoint(tmp_path, config=config)
    (folder / "modeling_evil.py").write_text("raise SystemExit('was run')", "utf-8")
    monkeypatch.syspath_prepend(folder)
    model = BertModel.from_pretrained(folder)
    assert model.config == BertConfig.from_dict(TINY)
    assert "modeling_evil" not in sys.modules
    (note,) = model.loading_info.notes
    assert note.endswith("modeling_evil.Evil), which is never run.")


def test_c13_unknown_members_are_listed_at_debug_level_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extra: dict[str, Any] = {"torch_dtype": "float16", "b\x1b[31m": 1, "architectures": ["BertX"]}
    with caplog.at_level(logging.DEBUG, "numpy_bert"):
        assert read(tmp_path, **extra) == BertConfig.from_dict(TINY)
    record = caplog.records[0]
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == r"config.json: ignored architectures, 'b\x1b[31m', torch_dtype"
