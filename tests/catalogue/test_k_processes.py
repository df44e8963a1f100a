"""K: concurrency and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import kill
import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import BertModel, BertTokenizer, OfflineError, TokenizerError
from numpy_bert.files import write_atomically, writing, writing_folder
from numpy_bert.parameters import arrays_of
from numpy_bert.traces.writing import Tensor, write_trace
from tests.support.hub import PATIENCE, StandInHub, hub_environment
from tests.support.platforms import posix
from tests.support.repository import REPO, cache_of


def test_k2_the_last_of_two_writers_wins(tmp_path: Path) -> None:
    path = tmp_path / "trace.safetensors"
    path.write_bytes(b"old")
    with writing(path) as first:
        first.write(b"first")
        with writing(path) as second:
            second.write(b"second")
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"  # the last that was complete
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@posix
def test_k2_a_reader_sees_a_whole_trace(tmp_path: Path) -> None:
    """Two threads write one path again and again, while a third reads it."""
    path, size = tmp_path / "trace.safetensors", 5_000

    def write(value: float) -> None:
        array = np.full(size, value)
        write_trace(path, [Tensor("a", "float64", array.shape)], [("a", array)], {})

    write(0.0)

    def write_again(start: float) -> None:
        for number in range(20):
            write(start + number)

    writers = [Thread(target=write_again, args=(start,)) for start in (100.0, 200.0)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        array = load_file(path)["a"]
        assert array.shape == (size,)
        (value,) = set(array.tolist())
        seen.add(value)
    for writer in writers:
        writer.join()
    assert seen <= {0.0, *(100.0 + np.arange(20)), *(200.0 + np.arange(20))}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def _a_file() -> None:
    write_atomically(Path("out"), b"new")


def _a_folder() -> None:
    with writing_folder(Path("pack")) as folder:
        for name in "ab":
            write_atomically(folder / name, b"1")


TOKENIZER = BertTokenizer.from_pretrained("demo")


def _a_tokenizer() -> None:
    TOKENIZER.save_pretrained("saved")


@posix
@pytest.mark.parametrize(("act", "old"), [(_a_file, "out"), (_a_folder, ""), (_a_tokenizer, "")])
def test_k6_a_kill_at_each_step_of_a_save(
    act: Callable[[], None], old: str, tmp_path: Path
) -> None:
    """scripts/kill.py does it with every command that writes.

    What was killed is given again as its refusal says, if it refuses what is whole by now: with
    --force, or force=True.
    """

    def run() -> int:
        if old or not Path("pack").exists():  # a folder that is whole is refused
            act()
        return 0

    tally = kill.kill(kill.Job("save", run, old), tmp_path / "runs", 100, by_time=False)
    assert tally.kills == tally.steps >= 4
    assert tally.left > 0  # else nothing was killed while it wrote
    assert tally.is_sound, tally


def test_k6_a_tokenizer_that_was_half_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is none, rather than one with other settings, and the next saving makes it whole."""
    model, written = BertModel.from_pretrained("demo"), list[str]()

    def write(path: Path, data: bytes) -> None:
        written.append(path.name)
        write_atomically(path, data)

    monkeypatch.setattr("numpy_bert.text.saving.write_atomically", write)
    model.save_pretrained(tmp_path)
    (tmp_path / written.pop()).unlink()
    with pytest.raises(TokenizerError):
        BertTokenizer.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path, force=True)
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == TOKENIZER.model_max_length


CHILD = "import sys; from numpy_bert import fetch; fetch(sys.argv[1], only='embeddings')"


@posix
def test_k6_a_killed_download_leaves_nothing_that_is_found(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    slow = hub.fault("slow", path="model.safetensors", chunk=1 << 16, delay=0.1)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= hub_environment(hub, tmp_path / "home")
    child = subprocess.Popen([sys.executable, "-c", CHILD, REPO], env=environment)
    folder = cache_of(tmp_path) / ".numpy_bert_embeddings" / commit
    deadline = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in folder.glob("*.tmp")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert slow.fired == 3
    assert [path.suffix for path in folder.iterdir()] == [".tmp"]
    for only in ("embeddings", None):
        with pytest.raises(OfflineError):
            BertModel.from_pretrained(REPO, only=only, local_files_only=True)
    hub.faults.clear()
    found, demo = (
        BertModel.from_pretrained(REPO, only="embeddings"),
        BertModel.from_pretrained("demo"),
    )
    words = dict(arrays_of(demo.parameters))["embeddings.word_embeddings.weight"]
    assert np.array_equal(found.embeddings.word_embeddings.weight, words)
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
