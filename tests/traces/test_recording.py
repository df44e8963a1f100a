"""A model's own traces: complete, in order, and saying what they are made of."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer, InputError, OutputError, TraceError
from numpy_bert.traces.golden import MANIFEST, write_golden
from numpy_bert.traces.layout import arranged
from numpy_bert.traces.names import INPUTS, step_names
from numpy_bert.traces.reading import open_trace
from numpy_bert.traces.recording import Recorder, inputs_of, read_ids
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
    with pytest.raises(TraceError, match="--names nothing: fits no step"):
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


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[[1]]", TraceError, "must be a JSON object"),
        ("{}", TraceError, "has no input_ids; there are input_ids, attention_mask"),
        ('{"input_ids": 3}', TraceError, r"\(B, T\) was expected"),
        ('{"input_ids": [1, 2]}', TraceError, r"has shape \(2,\); \(B, T\) was expected"),
        ('{"input_ids": []}', TraceError, "with a token"),
        ('{"input_ids": [[1], [1, 2]]}', InputError, "its rows are of different lengths"),
        ('{"input_ids": [[1.5]]}', InputError, "an array of integers was expected"),
        ('{"input_ids": [[-1]]}', InputError, r"input_ids\[0, 0\] = -1 is outside"),
        ('{"input_ids": [[61]]}', InputError, "outside the vocabulary of 61"),
        ('{"input_ids": [[1]], "attention_mask": [[0]]}', InputError, "0 everywhere"),
        ('{"input_ids": [[1]], "attention_mask": [[2]]}', InputError, "1 for a token"),
        ('{"input_ids": [[1]], "attention_maks": [[0]]}', TraceError, "a member attention_maks"),
        ('{"input_ids": [[NaN]]}', TraceError, "NaN is not JSON"),
        ('{"input_ids": [["a"]]}', TraceError, "plain numbers were expected"),
        ('{"input_ids": [[1e99]]}', InputError, "an array of integers was expected"),
        ('{"input_ids": [[99999999999999999999]]}', TraceError, "plain numbers|object"),
    ],
)
def test_ids_that_are_none(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    model = exact(trained_like(tmp_path / "model"))
    path = tmp_path / "ids.json"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_ids(path, model)


def test_ids_of_another_trace_are_run_again(tmp_path: Path) -> None:
    model = exact(trained_like(tmp_path / "model"))
    np.savez(tmp_path / "t.npz", **dict[str, Any](IDS))
    found = read_ids(tmp_path / "t.npz", model)
    assert np.array_equal(found.attention_mask, IDS["attention_mask"] == 1)
    assert np.array_equal(found.position_ids, [range(7)])


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


def test_a_golden_pack(tmp_path: Path) -> None:
    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    folder = tmp_path / "pack"
    names = ["embeddings", "encoder.layer.*"]
    written = write_golden(
        folder, model, tokenizer, Recorder(model, "demo"), name="demo", names=names
    )
    manifest = json.loads((folder / MANIFEST).read_text())
    command = "numpy-bert golden demo --names embeddings 'encoder.layer.*' -o pack"
    assert manifest["command"] == command
    cases = {case["file"].partition(".")[0]: case for case in manifest["cases"]}
    assert list(cases) == ["sentence", "pair", "padded", "padded_left", "rare_ids", "longest"]
    assert [path.name for path in written] == [*(c["file"] for c in cases.values()), MANIFEST]
    for case in cases.values():
        path = folder / case["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == case["sha256"]
        trace = open_trace(path)
        assert trace.metadata["command"] == command
        assert trace.arrays["embeddings"].dtype == "float64"
    longest = open_trace(folder / "longest.safetensors").get("input_ids")
    assert longest is not None
    assert longest.shape == (1, model.config.max_position_embeddings)
    assert {int(i) for i in longest[0, [0, -1]]} == {tokenizer.cls_token_id, tokenizer.sep_token_id}
    left: Any = open_trace(folder / "padded_left.safetensors").get("attention_mask")
    right: Any = open_trace(folder / "padded.safetensors").get("attention_mask")
    assert (left.argmax(axis=1) > 0).any()
    assert np.array_equal(left.sum(axis=1), right.sum(axis=1))
    types = open_trace(folder / "pair.safetensors").get("token_type_ids")
    assert types is not None
    assert set(types[0]) == {0, 1}


def test_a_pack_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer, recorder = BertTokenizer.from_pretrained("demo"), Recorder(model, "demo")
    folder = tmp_path / "pack"
    with pytest.raises(TraceError, match="fits no step"):
        write_golden(folder, model, tokenizer, recorder, name="demo", names=["nothing"])
    assert not list(tmp_path.iterdir())
    written = Recorder.record

    def full(self: Recorder, path: Path, inputs: Any, **given: Any) -> int:
        if path.name == "padded.safetensors":
            raise OutputError("the disk is full")
        return written(self, path, inputs, **given)

    monkeypatch.setattr(Recorder, "record", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_golden(folder, model, tokenizer, recorder, name="demo", names=["pooler"])
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    (folder / "mine").write_text("x")
    with pytest.raises(OutputError, match="holds files already"):
        write_golden(folder, model, tokenizer, recorder, name="demo", names=["pooler"])


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
    with pytest.raises(TraceError, match=rf"has not the axes {axes}, or they are not BTH"):
        arranged(np.zeros(shape), axes, "BTH", "x")
