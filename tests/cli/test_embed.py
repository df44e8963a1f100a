"""``numpy-bert embed``: what a person sees, what a machine gets, what is saved, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.cli import main
from numpy_bert.trace import named_steps
from tests.test_trace import NAMES

TEXT = "this is a test sentence"


def expected(*texts: str, dtype: str = "float32") -> dict[str, Any]:
    inputs = BertTokenizer.from_pretrained("demo")(*texts, return_tensors="np")
    model = BertModel.from_pretrained("demo", dtype=dtype)
    steps = model.embeddings.steps(inputs["input_ids"], inputs["token_type_ids"])
    return dict(named_steps(steps, "embeddings"))


def test_a_person_sees_the_tokens_and_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", TEXT, "and another"]) == 0
    out, err = capsys.readouterr()
    assert err == (
        "numpy-bert: model 'demo' (built in, small); name another with --model NAME_OR_PATH.\n"
    )
    lines = out.splitlines()
    assert lines[0] == "demo: input embedding, 128 features, float32"
    assert lines[2].split() == ["position", "token", "id", "segment"]
    assert lines[3].split() == ["0", "[CLS]", "2", "0"]
    assert [line.split()[3] for line in lines[3:13]] == ["0"] * 7 + ["1"] * 3
    for name, array in expected(TEXT, "and another").items():
        assert f"\n{name}  {array.shape}  " in out
    corner = expected(TEXT, "and another")["embeddings"][0, 0, :3]
    assert f"[[[{corner[0]:7.4f}"[:9] in out


def test_one_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", TEXT, "--model", "demo", "--step", "embeddings.sum"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "embeddings.sum  (1, 7, 128)" in out
    assert "LayerNorm" not in out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_machine_gets_json(capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    assert main(["embed", TEXT, "--model", "demo", "--json", "--dtype", dtype]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["tokens"] == ["[CLS]", *TEXT.split(), "[SEP]"]
    assert result["input_ids"] == [[2, 190, 135, 43, 2444, 1616, 3]]
    assert [step["name"] for step in result["steps"]] == NAMES
    for step in result["steps"]:
        array = expected(TEXT, dtype=dtype)[step["name"]]
        assert step["shape"] == list(array.shape)
        assert step["dtype"] == array.dtype.name
        assert np.array_equal(np.array(step["values"]), array)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".npy"])
def test_steps_are_saved(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"steps{suffix}"
    assert main(["embed", TEXT, "-o", str(path)]) == 0
    assert f"wrote {path}" in capsys.readouterr().err
    if suffix == ".npy":
        assert np.array_equal(np.load(path), expected(TEXT)["embeddings"])
        return
    saved = load_file(path) if suffix == ".safetensors" else dict(np.load(path))
    assert set(saved) == {*NAMES, "input_ids", "token_type_ids", "attention_mask"}
    for name, array in expected(TEXT).items():
        assert saved[name].dtype == array.dtype
        assert np.array_equal(saved[name], array), name
    assert list(tmp_path.iterdir()) == [path]


def test_one_step_is_saved_alone(tmp_path: Path) -> None:
    path = tmp_path / "sum.npz"
    assert main(["embed", TEXT, "--step", "embeddings.sum", "-o", str(path)]) == 0
    assert list(np.load(path)) == ["embeddings.sum"]


def test_dropout_by_seed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "dropped.npz"
    assert main(["embed", TEXT, "--dropout-seed", "3", "-o", str(path)]) == 0
    saved = np.load(path)
    keep = saved["embeddings.dropout.keep"]
    assert 0.8 < keep.mean() < 0.97
    model = BertModel.from_pretrained("demo")
    again = model.embeddings(saved["input_ids"], rng=np.random.default_rng(3))
    assert np.array_equal(saved["embeddings"], again)
    assert "embeddings.dropout.keep  (1, 7, 128)" in capsys.readouterr().out


def test_an_existing_file_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.npy"
    path.write_bytes(b"precious")
    assert main(["embed", TEXT, "-o", str(path)]) == 1
    out, err = capsys.readouterr()
    assert path.read_bytes() == b"precious"
    assert out == ""
    assert "already exists and was left as it is; --force replaces it" in err
    assert main(["embed", TEXT, "-o", str(path), "--force"]) == 0
    assert np.load(path).shape == (1, 7, 128)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-o", "x.txt"], 2, "the name must end in one of .safetensors, .npz, .npy"),
        (["-o", "no/such/folder/x.npy"], 1, "the folder no/such/folder does not exist"),
        (["--step", "embeddings.summ"], 2, "no step is named embeddings.summ; there are"),
        (["--model", "./nowhere"], 2, "there is no folder ./nowhere"),
        (["--model", "no/such/model"], 2, "there is no folder"),
        (["--model", "a--b"], 2, "neither a folder that exists nor the name of a repository"),
        (["--model", "absent/model", "--offline"], 1, "has no copy, and no request was allowed"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["embed", TEXT, *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("numpy-bert embed: error: ")
    assert words in last
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["embed", TEXT, "--dtype", "float16"],
        ["embed", TEXT, "--dropout-seed", "-1"],
        ["embed", TEXT, "--dropout-seed", "x"],
        ["embed", TEXT, "--no-such-flag"],
        ["nothing"],
    ],
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: numpy-bert" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the text has no content tokens"),  # E1
        (" \t ", "the text has no content tokens"),
        ("a\x00b\u200bc\ufffd", "3 characters dropped by the tokenizer: U+0000, U+200B, U+FFFD."),
    ],
)
def test_what_a_text_loses_is_said(
    capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:  # E4
    assert main(["embed", text, "--model", "demo"]) == 0
    assert words in capsys.readouterr().err


def test_a_lone_surrogate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "caf\udce9"]) == 2  # as the shell hands on Latin-1 bytes
    assert "text: character 3 is U+DCE9" in capsys.readouterr().err


def test_the_help_says_what_it_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["embed", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "These are input embeddings" in text
    assert "no sentence vectors, which are another command's" in text
