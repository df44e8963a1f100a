"""A model's own traces: complete, in order, and saying what they are made of."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, TraceError
from numpy_bert.traces.layout import INPUTS, step_names
from numpy_bert.traces.reading import open_trace
from numpy_bert.traces.recording import Recorder
from numpy_bert.traces.trace_inputs import inputs_of
from tests.support.traces import IDS, exact, trace_of, trained_like

DEMO = Path(__file__).parent.parent.parent / "numpy_bert" / "demo"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_trace_holds_ids_and_steps_in_order(tmp_path: Path, dtype: str) -> None:
    folder = trained_like(tmp_path / "model")
    model = BertModel.from_pretrained(folder, dtype=dtype)
    path = tmp_path / "t.safetensors"
    Recorder(model, folder).record(path, inputs_of(IDS, model))
    trace = open_trace(path)
    assert list(trace.arrays) == [*INPUTS, *step_names(2, pools=True)]
    assert trace.listed("order") == list(trace.arrays)
    expected = trace_of(folder, dtype)
    for name, array in trace.arrays.items():
        found = array.stored.load()
        if name in expected:
            assert np.array_equal(found, expected[name]), name
            assert found.dtype == expected[name].dtype
    metadata = trace.metadata
    assert metadata["dtype"] == dtype
    assert json.loads(metadata["config"])["layer_norm_eps"] == 1e-12
    weights = (folder / "model.safetensors").read_bytes()
    assert metadata["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert set(json.loads(metadata["versions"])) == {"numpy_bert", "numpy", "python"}
    assert "tokenizer_sha256" not in metadata


def test_texts_are_noted_with_the_tokenizer_that_read_them(tmp_path: Path) -> None:
    model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    path = tmp_path / "t.safetensors"
    inputs = inputs_of(tokenizer("a", "b", return_tensors="np"), model)
    Recorder(model, "demo").record(path, inputs, texts=["a", "b"], pair=True)
    trace = open_trace(path)
    assert trace.listed("text") == ["a", "b"]
    assert trace.metadata["pair"] == "true"
    digits = hashlib.sha256((DEMO / "tokenizer.json").read_bytes()).hexdigest()
    assert trace.metadata["tokenizer_sha256"] == digits


def test_some_names_and_the_weights(tmp_path: Path) -> None:
    folder = trained_like(tmp_path / "model")
    model = BertModel.from_pretrained(folder)
    path = tmp_path / "t.safetensors"
    names = ["embeddings", "encoder.layer.*.attention"]
    Recorder(model, folder).record(path, inputs_of(IDS, model), names=names, weights=True)
    found = list(open_trace(path).arrays)
    assert found[:5] == [*INPUTS, "embeddings.word_embeddings.weight"]
    assert found[-3:] == [
        "embeddings",
        "encoder.layer.0.attention",
        "encoder.layer.1.attention",
    ]
    with pytest.raises(TraceError, match="--names nothing fits no step"):
        Recorder(model, folder).tensors(inputs_of(IDS, model), ["nothing"])


def test_positions_that_were_given(tmp_path: Path) -> None:
    folder = trained_like(tmp_path / "model")
    model = exact(folder)
    positions = np.array([[3] * 7, [0] * 7, [6, 5, 4, 3, 2, 1, 0]])
    path = tmp_path / "t.safetensors"
    Recorder(model, folder).record(path, inputs_of({**IDS, "position_ids": positions}, model))
    found = open_trace(path).get("embeddings.position_embeddings")
    assert found is not None
    assert found.shape == (3, 7, 24)


def test_a_stream_holds_one_layer(tmp_path: Path) -> None:
    """Twelve layers streamed take no more than one kept whole, with room for the next."""
    model = exact(trained_like(tmp_path, num_hidden_layers=12, max_position_embeddings=64))
    ids = np.ones((4, 64), np.int64)
    steps = model.steps(ids)
    layer = sum(a.nbytes for name, a in model.trace(ids) if name.startswith("encoder.layer.3."))
    del steps
    tracemalloc.start()
    for _ in model.trace(ids):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * layer
