"""trace, compare, verify, golden: what they print, their exits, what they leave on the disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert.cli import main
from numpy_bert.traces.reading import open_trace
from tests.support.platforms import posix
from tests.support.traces import IDS, trace_of, trained_like


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.safetensors"
    assert main(["trace", "Alice saw a rabbit", "it ran", "-o", str(path)]) == 0
    return path


def tampered(trace: Path, name: str = "encoder.layer.0.intermediate", by: float = 1.0) -> Path:
    arrays: Any = {key: array.stored.load() for key, array in open_trace(trace).arrays.items()}
    arrays[name] = arrays[name] + by
    path = trace.with_name("tampered.npz")
    np.savez(path, **arrays)
    return path


def test_a_trace_of_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "t.safetensors"
    assert main(["trace", "Alice saw a rabbit", "it ran", "-o", str(trace)]) == 0
    err = capsys.readouterr().err
    assert "model 'demo' (built in, small)" in err
    assert f"wrote {trace} (" in err
    found = open_trace(trace)
    assert found.metadata["dtype"] == "float64"
    assert found.listed("text") == ["Alice saw a rabbit", "it ran"]
    mask = found.get("attention_mask")
    assert mask is not None
    assert mask.sum(axis=1).tolist() == [6, 4]


def test_padding_on_the_left_pairs_and_names(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    texts = ["a rabbit ran", "it"]
    assert main(["trace", *texts, "--padding-side", "left", "-o", str(path)]) == 0
    mask = open_trace(path).get("attention_mask")
    assert mask is not None
    assert mask[1].tolist() == [0, 0, 1, 1, 1]
    given = ["--pair", "--names", "embeddings", "pooler", "--force", "--dtype", "float32"]
    assert main(["trace", *texts, *given, "-o", str(path)]) == 0
    found = open_trace(path)
    assert list(found.arrays)[4:] == ["embeddings", "pooler"]
    assert found.arrays["pooler"].dtype == "float32"
    types = found.get("token_type_ids")
    assert types is not None
    assert types.tolist() == [[0] * 5 + [1] * 2]


def test_ids_from_json_and_from_another_trace(trace: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text('{"input_ids": [[2, 5, 3]]}')
    path = tmp_path / "u.safetensors"
    assert main(["trace", "--ids", str(ids), "-o", str(path)]) == 0
    assert "text" not in open_trace(path).metadata
    assert main(["trace", "--ids", str(trace), "-o", str(path), "--force"]) == 0
    assert main(["compare", str(trace), str(path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "t.npz", "a"], 2, "must end in .safetensors"),
        (["-o", "t.safetensors"], 2, "give TEXT, or --ids FILE"),
        (["-o", "t.safetensors", "a", "--ids", "x"], 2, "x: does not exist"),
        (["-o", "t.safetensors", "a", "--pair"], 2, "--pair: there must be two texts; got 1"),
        (["-o", "t.safetensors", "a", "--names", "x"], 2, "--names x fits no step"),
        (["-o", "no/t.safetensors", "a"], 1, "the folder no does not exist"),
        (["-o", "t.safetensors", "--ids", "none.json"], 2, "none.json: does not exist"),
        (["-o", "t.safetensors", "a", "--model", "none/at/all"], 2, "none/at/all"),
        (["-o", "t.safetensors", "a " * 600], 2, "positions"),
    ],
)
def test_what_a_trace_cannot_be_made_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["trace", *arguments]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_an_existing_trace_is_left_and_ids_are_not_overwritten(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = trace.read_bytes()
    assert main(["trace", "other", "-o", str(trace)]) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["trace", "--ids", str(trace), "-o", str(trace), "--force"]) == 2
    assert "is the file that --ids reads" in capsys.readouterr().err
    assert trace.read_bytes() == before


def test_texts_are_not_compared_as_traces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "The sun is shining.", "It is a sunny day."]) == 2
    assert capsys.readouterr().err == (
        "numpy-bert compare: error: The sun is shining.: does not exist. compare takes two traces; "
        "similarity says how alike two texts are.\n"
    )


def test_compare_exits_as_diff_does(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(trace), str(trace)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("The same: all ")
    other = tampered(trace)
    assert main(["compare", str(trace), str(other)]) == 1
    out = capsys.readouterr().out
    assert "The first to differ is encoder.layer.0.intermediate, by 1 (its budget is" in out
    assert "worst at [" in out
    assert main(["compare", str(trace), str(other), "--atol", "2"]) == 0
    assert main(["compare", str(trace), str(other), "--allow", "*.intermediate"]) == 0
    assert main(["compare", str(trace), str(trace), "--atol", "1e-5", "emb*:inf"]) == 2
    assert "must be a number from 0" in capsys.readouterr().err


def test_what_only_one_holds_is_a_note_or_a_failure_as_is_asked(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays: Any = {key: array.stored.load() for key, array in open_trace(trace).arrays.items()}
    few = {key: arrays[key] for key in ("input_ids", "attention_mask", "encoder")}
    np.savez(tmp_path / "few.npz", **few)
    compare = ["compare", str(trace), str(tmp_path / "few.npz")]
    assert main(compare) == 1
    assert main([*compare, "--common", "--strict"]) == 0
    capsys.readouterr()
    np.savez(tmp_path / "few.npz", **few, logits=np.zeros((2, 3)))
    for command in (
        [*compare, "--common"],
        ["verify", str(tmp_path / "few.npz"), "--model", "demo"],
    ):
        assert main(command) == 0
        out = capsys.readouterr().out
        assert out.splitlines()[-1].endswith("; 1 array was not looked at: logits.")
        assert main([*command, "--strict", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["verdict"], found["first"]) == ("differs", "logits")
        assert found["not_looked_at"] == ["logits"]
        assert main([*command, "--strict", "--allow", "logits"]) == 0
        assert "not looked at" not in capsys.readouterr().out


def test_verify_names_step_and_cause(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(trace), "--model", "demo"]) == 0
    capsys.readouterr()
    arrays: Any = {key: array.stored.load() for key, array in open_trace(trace).arrays.items()}
    arrays["pooler"] = arrays["pooler.dense"]
    path = trace.with_name("wrong.npz")
    np.savez(path, **arrays)
    assert main(["verify", str(path), "--model", "demo", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["first"]) == ("differs", "pooler")
    assert found["cause"] == "pooler_without_tanh"
    members = {"name", "max_abs", "max_rel", "ulp", "own", "inherited", "budget", "verdict"}
    assert all(members <= set(step) for step in found["steps"])
    texts = ["--text", "Alice saw a rabbit", "It ran"]
    assert main(["verify", str(trace), "--model", "demo", *texts]) == 0
    assert main(["verify", str(trace), "--model", "demo", "--text", "a", "b"]) == 1
    reference = ["--reference", str(trace)]
    assert main(["verify", str(path), "--model", "demo", *reference]) == 1
    assert "the reference is the nearer to float64" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["compare", "verify"])
def test_what_cannot_be_compared_is_2_and_no_traceback(
    command: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--model", "demo"] if command == "verify" else []
    first = [str(trace)] if command == "compare" else []
    bad = tmp_path / "bad"
    np.savez(tmp_path / "odd.npz", x=np.ones(3))
    (tmp_path / "map.json").write_text('{"a": 3}')
    bad.write_bytes(b"\x80\x04pickle" * 9)
    for arguments in (
        [str(bad)],
        [str(tmp_path / "none")],
        [str(tmp_path / "odd.npz")],
        [str(trace), "--map", str(tmp_path / "map.json")],
        [str(trace), "--map", str(tmp_path / "none.json")],
        [str(trace), "--html", str(tmp_path / "no" / "page.html")],
        [str(trace), "--html", str(trace), "--force"],
        [str(tmp_path / "none"), "--html", str(trace.with_name("map.json")), "--force"],
        ["a" * 300],
        ["/proc/self/mem"],
    ):
        assert main([command, *first, *arguments, *rest]) == 2, arguments
        captured = capsys.readouterr()
        assert captured.err.startswith(f"numpy-bert {command}: error: ")
        assert not captured.out
    edited = bytearray(trace.read_bytes())
    edited[-1] ^= 1
    bad.write_bytes(edited)
    assert main([command, *first, str(bad), *rest]) == 2
    assert "changed after it was written" in capsys.readouterr().err


def test_a_page_is_written_and_not_over_another(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    given = [str(trace), str(trace), "--html", str(page)]
    assert main(["compare", *given]) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert main(["compare", *given]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["verify", str(trace), "--model", "demo", "--html", str(page), "--force"]) == 0
    assert "Verification of a trace" in page.read_text("utf-8")


def test_a_map_of_the_users_names(tmp_path: Path) -> None:
    folder = trained_like(tmp_path / "model")
    arrays = trace_of(folder)
    query = arrays["encoder.layer.0.attention.self.query"].reshape(3, 7, 4, 6).swapaxes(1, 2)
    given: Any = {**IDS, "emb": arrays["embeddings"], "h0/q": query}
    np.savez(tmp_path / "t.npz", **given)
    rules = {"emb": "embeddings", "h*/q": ["encoder.layer.*.attention.self.query", "BATD"]}
    (tmp_path / "map.json").write_text(json.dumps(rules))
    verify = ["verify", str(tmp_path / "t.npz"), "--model", str(folder)]
    assert main(verify) == 2
    assert main([*verify, "--map", str(tmp_path / "map.json")]) == 0


def test_a_checkpoint_without_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained_like(tmp_path / "model")
    np.savez(tmp_path / "t.npz", **dict[str, Any](trace_of(folder)))
    verify = ["verify", str(tmp_path / "t.npz"), "--model", str(folder)]
    assert main(verify) == 0
    assert "the tokenizer was not verified" in capsys.readouterr().err
    assert main([*verify, "--text", "a"]) == 2


def test_golden_packs_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "pack"
    assert main(["golden", "demo", "-o", str(pack), "--names", "encoder", "embeddings"]) == 0
    files = capsys.readouterr().out.splitlines()
    assert files[-1] == str(pack / "golden.json")
    assert len(files) == 7
    assert main(["verify", str(pack / "padded_left.safetensors"), "--model", "demo"]) == 0
    assert main(["golden", "demo", "-o", str(pack)]) == 1
    assert "it holds files or is no folder. Name a new one" in capsys.readouterr().err


def test_a_large_golden_pack_needs_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = tmp_path / "pack"
    command = ["golden", "demo", "-o", str(pack), "--names", "encoder"]
    monkeypatch.setattr("numpy_bert.cli.golden._LARGE", 100_000)
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"pack: the pack will have \d+\.\d [kM]B; add --yes to write it", err)
    assert not pack.exists()
    assert main([*command, "--yes"]) == 0
    size = sum(path.stat().st_size for path in pack.iterdir())
    told = re.search(r"pack: writing (\d+\.\d) MB", capsys.readouterr().err)
    assert told is not None
    assert float(told[1]) * 1e6 == pytest.approx(size, rel=0.1)


@pytest.mark.slow
def test_every_file_of_a_golden_pack_verifies(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    assert main(["golden", "demo", "-o", str(pack)]) == 0
    files = sorted(pack.glob("*.safetensors"))
    assert len(files) == 6
    for path in files:
        assert main(["verify", str(path), "--model", "demo"]) == 0, path.name


@posix
def test_closed_streams_do_not_change_the_exit(trace: Path) -> None:
    command = f"{sys.executable} -m numpy_bert compare {trace} {trace} >/dev/null 2>&-"
    assert subprocess.run(command, shell=True).returncode == 0


def test_whatever_goes_wrong_nothing_was_compared(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("numpy_bert.comparison.compare.compare", broken)
    assert main(["compare", str(trace), str(trace)]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_pair_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    assert main(["trace", "a rabbit", "it ran", "--pair", "-o", str(path)]) == 0
    verify = ["verify", str(path), "--model", "demo", "--text", "a rabbit", "it ran"]
    assert main([*verify, "--pair"]) == 0
    assert main(verify) == 1
    assert main(["verify", str(path), "--model", "demo", "--text", "a", "--pair"]) == 2


@posix
def test_a_reader_that_goes_away_is_no_traceback(trace: Path) -> None:
    command = f"{sys.executable} -m numpy_bert compare {trace} {trace} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith(str(trace)[:40])


def test_padding_without_a_mask_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids, out = tmp_path / "ids.json", tmp_path / "trace.safetensors"
    command = ["trace", "--ids", str(ids), "--model", "demo", "-o", str(out), "--force"]
    command += ["--names", "embeddings"]
    told = (
        f"{ids}: 2 of the input_ids are 0, the model's padding, and attention_mask does not mask "
        "them: they are run as tokens. If they are padding, give an attention_mask that is 0 there."
    )
    for mask, is_told in (({}, True), ({"attention_mask": [[1, 1, 1], [1, 0, 0]]}, False)):
        ids.write_text(json.dumps({"input_ids": [[2, 5, 3], [2, 0, 0]], **mask}), "utf-8")
        assert main(command) == 0
        assert (told in capsys.readouterr().err) is is_told
