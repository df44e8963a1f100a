"""What a port's own tests use: one assertion, one fixture."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import TraceError
from numpy_bert.testing import assert_matches_bert, verify_trace
from tests.support.traces import IDS, exact, trace_of, trained_like


def test_a_right_port_passes_from_a_file_a_folder_or_arrays(
    tmp_path: Path, matches_bert: Callable[..., None]
) -> None:
    folder = trained_like(tmp_path / "model")
    trace: Any = trace_of(folder)
    np.savez(tmp_path / "t.npz", **trace)
    (tmp_path / "t").mkdir()
    for name, array in trace.items():
        np.save(tmp_path / "t" / f"{name}.npy", array)
    for given in (trace, tmp_path / "t.npz", str(tmp_path / "t")):
        matches_bert(given, model=folder)
    matches_bert(trace, model=exact(folder))


def test_a_wrong_one_is_told_why(tmp_path: Path) -> None:
    folder = trained_like(tmp_path)
    trace = trace_of(folder)
    trace["pooler"] = trace["pooler.dense"]
    with pytest.raises(AssertionError) as caught:
        assert_matches_bert(trace, model=folder)
    message = str(caught.value)
    assert "The first to differ is pooler" in message
    assert "the pooler is without its tanh" in message
    assert_matches_bert(trace, model=folder, allow=["pooler"])
    reference = trace_of(folder, "float64")
    assert "nearer to float64" in verify_trace(trace, model=folder, reference=reference).notes[0]
    names = {"mine": "pooler"}
    mine = {**IDS, "encoder": trace["encoder"], "mine": trace["pooler"]}
    assert verify_trace(mine, model=folder, names=names).first == "pooler"
    with pytest.raises(TraceError, match="holds no step"):
        assert_matches_bert({**IDS, "mine": trace["pooler"]}, model=folder)


def test_texts_are_verified_with_the_models_tokenizer() -> None:
    from numpy_bert import BertModel, BertTokenizer

    ids = BertTokenizer.from_pretrained("demo")(["a rabbit"], return_tensors="np")
    trace = {**ids, **dict(BertModel.from_pretrained("demo").trace(**ids))}
    assert_matches_bert(trace, model="demo", texts=["A Rabbit"])
    with pytest.raises(AssertionError, match="no known mistake gives these ids"):
        assert_matches_bert(trace, model="demo", texts=["A cat"])


def test_pytest_finds_the_fixture_and_no_framework_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "test_port.py").write_text(
        "import sys\n"
        "import numpy as np\n"
        "def test_port(matches_bert):\n"
        "    from numpy_bert import BertModel\n"
        "    ids = np.array([[2, 5, 3]])\n"
        "    trace = {'input_ids': ids, **dict(BertModel.from_pretrained('demo').trace(ids))}\n"
        "    matches_bert(trace, model='demo')\n"
        "    assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
