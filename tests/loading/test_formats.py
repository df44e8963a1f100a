"""numpy_bert.loading.formats: what stands in for safetensors is named, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numpy_bert import BertModel, CheckpointError, fetch
from numpy_bert.loading.formats import instead_of_safetensors, is_pickle
from tests.support.checkpoints import TINY
from tests.support.hub import StandInHub
from tests.support.repository import REPO

PICKLED = "only pickled weights ({}), which are refused, since opening a pickle runs"
EXPORTED = "its weights in {}, an {} file, which is not read. Name the checkpoint that it was made"
CASES = {
    "a pickle": (["pytorch_model.bin"], PICKLED.format("pytorch_model.bin")),
    "shards": (
        ["pytorch_model-00001-of-00002.bin"],
        PICKLED.format("pytorch_model-00001-of-00002.bin"),
    ),
    "Lightning's": (["last.ckpt"], PICKLED.format("last.ckpt")),
    "a pickle and others": (
        ["onnx/model.onnx", "pytorch_model.bin", "tf_model.h5"],
        PICKLED.format("pytorch_model.bin"),
    ),
    "ONNX": (["model.onnx"], EXPORTED.format("model.onnx", "ONNX")),
    "ONNX in a folder": (
        ["onnx/model.onnx", "onnx/model_quantized.onnx", "training_args.bin", "optimizer.pt"],
        EXPORTED.format("onnx/model.onnx", "ONNX"),
    ),
    "OpenVINO": (
        ["openvino/openvino_model.xml", "openvino/openvino_model.bin"],
        EXPORTED.format("openvino/openvino_model.xml", "OpenVINO"),
    ),
    "GGUF": (["model.gguf"], EXPORTED.replace("an ", "a ").format("model.gguf", "GGUF")),
    "TensorFlow": (["tf_model.h5"], "only TensorFlow's weights (tf_model.h5), which are not read"),
    "Google's own": (
        ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"],
        "only TensorFlow's weights (bert_model.ckpt.data-00000-of-00001), which are not read",
    ),
    "Flax": (["flax_model.msgpack"], "only Flax's weights (flax_model.msgpack), which are not"),
    "nothing": (["vocab.txt", "README.md", "training_args.bin"], ""),
}


@pytest.mark.parametrize(("names", "words"), CASES.values(), ids=CASES)
def test_other_weights_are_named(names: list[str], words: str, tmp_path: Path) -> None:
    said = instead_of_safetensors(["config.json", *names], "a/b")
    assert said.startswith(words)
    assert bool(said) == bool(words)
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for read in (BertModel.from_pretrained, fetch):
        with pytest.raises(CheckpointError) as raised:
            read(tmp_path)
        start = f"{tmp_path}: has neither model.safetensors nor model.safetensors.index.json."
        assert str(raised.value).startswith(f"{start} It has {words}" if words else start)


@pytest.mark.parametrize(("names", "words"), CASES.values(), ids=CASES)
def test_a_repository_without_safetensors(
    hub: StandInHub, names: list[str], words: str, tmp_path: Path
) -> None:
    hub.add_commit(REPO, dict.fromkeys(["config.json", *names], b"{}"))
    with pytest.raises(CheckpointError) as raised:
        fetch(REPO)
    message = str(raised.value)
    if not words:
        assert message == f"{REPO}: has no model.safetensors and no model.safetensors.index.json."
        return
    assert message.startswith(f"{REPO}: has {words}")
    converts = message.endswith("where the Space safetensors/convert puts one.")
    assert converts == ("pickled" in words)
    assert all(request.part["api"] for request in hub.requests)  # and nothing was fetched


def test_how_a_model_is_converted_is_said_in_two_lines() -> None:
    def lines(*names: str) -> list[str]:
        return instead_of_safetensors(names, "a/b").splitlines()[1:]

    assert lines("pytorch_model.bin") == [
        "  AutoModel.from_pretrained('a/b').save_pretrained('converted')"
        "  # for a head: AutoModelForMaskedLM, ...",
        "  AutoTokenizer.from_pretrained('a/b').save_pretrained('converted')",
    ]
    assert lines("pytorch_model.bin", "modules.json") == [
        "  from sentence_transformers import SentenceTransformer",
        "  SentenceTransformer('a/b').save_pretrained('converted')",
    ]
    assert "from_pretrained('a/b', from_tf=True)" in lines("tf_model.h5")[0]
    assert "from_pretrained('a/b', from_flax=True)" in lines("flax_model.msgpack")[0]


def test_a_pickle_is_known_by_its_name() -> None:
    assert all(map(is_pickle, ("pytorch_model.bin", "2_Dense/pytorch_model.bin", "a.pth")))
    assert not any(map(is_pickle, ("training_args.bin", "rng_state_0.pth", "model.onnx", "bin")))
