"""``numpy-bert inspect``: what a checkpoint holds, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from numpy_bert.cli import main
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint


def test_the_demo_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "demo", "--check"]) == 0
    out = capsys.readouterr().out
    assert "vocab_size                    8000" in out
    line = next(line for line in out.splitlines() if "word_embeddings." in line)
    assert line.split()[0] == "bert.embeddings.word_embeddings.weight"
    assert line.split()[1:7] == ["F16", "8000", "x", "128", "2.0", "MB"]
    assert line.endswith("input embedding")
    assert "checked: no problem found" in out


def test_the_real_model_for_a_machine(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(minilm), "--check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config"]["hidden_size"] == 384
    assert report["problems"] == []
    by_name = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert by_name["embeddings.position_ids"]["use"] == "buffer"
    assert by_name["pooler.dense.weight"]["use"] == "pooler"
    words = by_name["embeddings.word_embeddings.weight"]
    assert (words["shape"], words["dtype"], words["bytes"]) == ([30522, 384], "F32", 46881792)
    assert len(report["tensors"]) == 104


def test_without_check_no_value_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = random_tensors()
    tensors["embeddings.word_embeddings.weight"][7, 3] = np.nan
    folder = write_checkpoint(tmp_path / "nan", tensors)
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "problems:" not in out
    assert "checked:" not in out


def test_check_finds_what_is_not_finite_and_not_tied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # A15, B13, B14
    tensors = random_tensors(heads=True)
    tensors["embeddings.word_embeddings.weight"][7, 3] = np.nan
    tensors["encoder.layer.1.output.dense.bias"][5] = -np.inf
    tensors["cls.predictions.decoder.weight"] = tensors["embeddings.word_embeddings.weight"] + 1
    folder = write_checkpoint(tmp_path / "bad", tensors)
    assert main(["inspect", str(folder), "--check"]) == 1
    out = capsys.readouterr().out
    assert "embeddings.word_embeddings.weight[7, 3] is not finite" in out
    assert "encoder.layer.1.output.dense.bias[5] is not finite" in out
    assert "cls.predictions.decoder.weight and embeddings.word_embeddings.weight differ" in out
    untied = write_checkpoint(tmp_path / "bad", tensors, TINY | {"tie_word_embeddings": False})
    assert main(["inspect", str(untied), "--check"]) == 1
    assert "embeddings.word_embeddings.weight differ" not in capsys.readouterr().out


def test_a_checkpoint_that_does_not_fit_is_listed_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_checkpoint(tmp_path / "other", random_tensors(), TINY | {"vocab_size": 62})
    assert main(["inspect", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert "embeddings.word_embeddings.weight" in out
    assert "is (61, 24), config.json says (62, 24)" in err
