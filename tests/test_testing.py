"""What a port's own tests use: one assertion, one fixture."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import InputError, TokenizerError, TraceError
from numpy_bert.loading.cache import demo_folder
from numpy_bert.testing import assert_matches_bert, verify_trace
from tests.support.checkpoints import serialize
from tests.support.demo import write_plain
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
    with pytest.raises(TraceError, match="must hold a step"):
        assert_matches_bert({**IDS, "mine": trace["pooler"]}, model=folder)


def test_what_was_not_looked_at_is_wrong_if_strict(tmp_path: Path) -> None:
    folder = trained_like(tmp_path)
    trace = {**trace_of(folder), "logits": np.zeros((3, 2))}
    assert_matches_bert(trace, model=folder)
    report = verify_trace(trace, model=folder)
    assert (report.verdict, report.not_looked_at) == ("pass", ["logits"])
    assert report.sentence.endswith("; 1 array was not looked at: logits.")
    assert verify_trace(trace, model=folder, strict=True).verdict == "differs"
    with pytest.raises(AssertionError, match="1 array was not looked at: logits; all 7"):
        assert_matches_bert(trace, model=folder, strict=True)
    for left_out in ({"names": {"logits": None}}, {"allow": ["logits"]}):
        assert_matches_bert(trace, model=folder, strict=True, **left_out)


def test_texts_are_verified_with_the_models_tokenizer() -> None:
    from numpy_bert import BertModel, BertTokenizer

    ids = BertTokenizer.from_pretrained("demo")(["a rabbit"], return_tensors="np")
    trace = {**ids, **dict(BertModel.from_pretrained("demo").trace(**ids))}
    assert_matches_bert(trace, model="demo", texts=["A Rabbit"])
    with pytest.raises(AssertionError, match="no known mistake gives these ids"):
        assert_matches_bert(trace, model="demo", texts=["A cat"])


def _rewritten(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file in place: size and time of change stay, as where a clock is coarse."""
    path = folder / name
    before = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _moved(folder: Path) -> None:
    """Negate a weight, so that a trace of before differs from then on."""
    table = load_file(folder / "model.safetensors")
    name = next(key for key in table if key.endswith("layer.0.output.dense.weight"))
    data = serialize({**table, name: -table[name]})
    _rewritten(folder, "model.safetensors", lambda _: data)


@pytest.mark.parametrize("kind", ["in place", "another folder", "a link", "the working folder"])
def test_a_folder_that_changed_is_judged_by_what_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    first, second = (trained_like(tmp_path / place / "model") for place in ("a", "b"))
    _moved(second)
    trace = trace_of(first)
    named: Any = first
    if kind == "a link":  # as a snapshot of the hub's cache, or a run's last checkpoint
        named = tmp_path / "link"
        named.symlink_to(first, target_is_directory=True)
    if kind == "the working folder":
        named = "./model"
        monkeypatch.chdir(tmp_path / "a")
    assert_matches_bert(trace, model=named)
    if kind == "in place":
        _moved(first)
    elif kind == "another folder":
        shutil.rmtree(first)
        second.rename(first)
    elif kind == "a link":
        named.unlink()
        named.symlink_to(second, target_is_directory=True)
    else:
        monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(AssertionError, match="The first to differ is"):
        assert_matches_bert(trace, model=named)


def test_a_tokenizer_that_changed_is_read_again(tmp_path: Path) -> None:
    from numpy_bert import BertModel, BertTokenizer

    folder = write_plain(tmp_path)
    ids = BertTokenizer.from_pretrained(folder)(["a rabbit"], return_tensors="np")
    trace = {**ids, **dict(BertModel.from_pretrained(folder).trace(**ids))}
    assert_matches_bert(trace, model=folder, texts=["A Rabbit"])
    old, new = b'"do_lower_case": true', b'"do_lower_case":false'
    assert old in (folder / "tokenizer_config.json").read_bytes()
    _rewritten(folder, "tokenizer_config.json", lambda data: data.replace(old, new))
    with (
        pytest.warns(UserWarning, match="do_lower_case is False in tokenizer_config.json"),
        pytest.raises(AssertionError, match="input_ids"),
    ):
        assert_matches_bert(trace, model=folder, texts=["A Rabbit"])


def test_a_branch_that_moved_is_judged_by_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--someone--bert"
    folders = [trained_like(repository / "snapshots" / (digit * 40)) for digit in "ab"]
    _moved(folders[1])
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    for folder in folders:
        write_plain(tmp_path / "plain")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tmp_path / "plain" / name, folder / name)
    trace = trace_of(folders[0])
    assert_matches_bert(trace, model="someone/bert")
    (repository / "refs" / "main").write_text("b" * 40)
    with pytest.raises(AssertionError, match="The first to differ is"):
        assert_matches_bert(trace, model="someone/bert")


def test_files_that_are_the_same_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numpy_bert import BertModel

    folder = trained_like(tmp_path)
    trace = trace_of(folder)
    assert_matches_bert(trace, model=folder)
    monkeypatch.setattr(BertModel, "from_pretrained", None)
    assert_matches_bert(trace, model=folder)


@pytest.mark.parametrize("loaded", [True, False])
def test_texts_without_a_tokenizer_are_not_passed_over(tmp_path: Path, loaded: bool) -> None:
    folder = trained_like(tmp_path)
    model: Any = exact(folder) if loaded else folder
    what = (
        (InputError, "^texts cannot be verified with a loaded model")
        if loaded
        else (TokenizerError, "neither")
    )
    with pytest.raises(what[0], match=what[1]):
        assert_matches_bert(trace_of(folder), model=model, texts=["a"])


def test_why_there_is_no_tokenizer_is_said(tmp_path: Path) -> None:
    folder = trained_like(tmp_path)
    (folder / "vocab.txt").write_text("[PAD]\n", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    assert_matches_bert(trace_of(folder), model=folder)
    with pytest.raises(TokenizerError, match="BertJapaneseTokenizer"):
        assert_matches_bert(trace_of(folder), model=folder, texts=["a"])


@pytest.mark.parametrize("texts", [{"a rabbit": 1}, (t for t in "a"), np.array([["a rabbit"]])])
def test_texts_that_are_none_are_refused(texts: Any) -> None:
    with pytest.raises(InputError, match=r"^texts must be a str or a list of str; got "):
        assert_matches_bert(trace_of(demo_folder()), model="demo", texts=texts)


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
    command = [sys.executable, "-m", "pytest", "-q", str(tmp_path)]
    for plugin in ("anyio", "cacheprovider", "langsmith_plugin"):
        command += ["-p", f"no:{plugin}"]
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
