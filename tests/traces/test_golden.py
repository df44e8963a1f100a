"""Golden packs: what they hold, and that they are whole or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import BertModel, BertTokenizer, OutputError, TraceError
from numpy_bert.traces.golden import MANIFEST, golden_size, write_golden
from numpy_bert.traces.reading import open_trace
from numpy_bert.traces.recording import Recorder


def test_a_golden_pack(tmp_path: Path) -> None:
    model = BertModel.from_pretrained("demo", dtype="float64")
    tokenizer = BertTokenizer.from_pretrained("demo")
    folder = tmp_path / "pack"
    names = ["embeddings", "encoder.layer.*"]
    written = write_golden(
        folder, model, tokenizer, Recorder(model, "demo"), name="demo", names=names
    )
    arrays = [array for path in written[:-1] for array in load_file(path).values()]
    size = golden_size(model, tokenizer, Recorder(model, "demo"), names)
    assert size == sum(array.nbytes for array in arrays)
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
    with pytest.raises(OutputError, match="must be empty or not there; it holds files"):
        write_golden(folder, model, tokenizer, recorder, name="demo", names=["pooler"])
