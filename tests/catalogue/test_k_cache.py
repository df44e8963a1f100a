"""Letter K, rows K1 and K8: several processes and one cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from numpy_bert import HubError, fetch
from tests.support.checkpoints import write_checkpoint
from tests.support.hub import StandInHub, hub_environment
from tests.support.platforms import posix
from tests.support.repository import FILES, REPO, cache_of, contents

WEIGHTS = "model.safetensors"
# One that imports what is needed, and then is eight.
EIGHT = """
import fcntl, os, sys
if sys.argv[2] == "ignored":
    fcntl.flock = lambda *_: None
from huggingface_hub import get_hf_file_metadata, get_session
from huggingface_hub.utils import WeakFileLock
from numpy_bert import fetch
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        fetch(sys.argv[1])
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def run_threads(flock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    if flock == "ignored":
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, [REPO] * 8))


def run_processes(flock: str, environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", EIGHT, REPO, flock], env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


@posix
@pytest.mark.parametrize(
    ("who", "flock"),
    [
        ("threads", "works"),
        ("threads", "ignored"),
        pytest.param("processes", "works", marks=pytest.mark.slow),
        pytest.param("processes", "ignored", marks=pytest.mark.slow),
    ],
)
def test_k1_eight_at_once_on_a_cold_cache(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, flock: str
) -> None:
    """A lock keeps threads apart as it keeps processes apart; eight processes take some seconds."""
    small = contents(write_checkpoint(tmp_path / "local"))
    commit = hub.add_commit(REPO, small)
    hub.fault("slow", path=WEIGHTS, chunk=5000, delay=0.02)
    with monkeypatch.context() as patch:
        if who == "threads":
            run_threads(flock, patch)
        else:
            run_processes(flock, {**os.environ, **hub_environment(hub, tmp_path / "home")})
    gets = sum(r.method == "GET" and r.part["file"] == WEIGHTS for r in hub.requests)
    assert gets == 1 or flock == "ignored"
    folder = cache_of(tmp_path) / "snapshots" / commit
    assert contents(folder) == small
    blobs = [path.name for path in (cache_of(tmp_path) / "blobs").iterdir()]
    assert sorted(blobs) == sorted(path.resolve().name for path in folder.rglob("*.*"))
    hub.close()
    assert fetch(REPO, local_files_only=True) == folder


def lock_of(hub: StandInHub, tmp_path: Path) -> Path:
    """Return the lock of the weights, as the hub's own client names it."""
    commit = hub.refs[REPO, "main"]
    etag = hub.commits[REPO][commit][WEIGHTS].headers["X-Linked-Etag"].strip('"')
    path = cache_of(tmp_path).parent / ".locks" / cache_of(tmp_path).name / f"{etag}.lock"
    path.parent.mkdir(parents=True)
    return path


def test_k8_a_lock_that_nobody_holds_is_none(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_commit(REPO, FILES)
    lock = lock_of(hub, tmp_path)
    lock.touch()
    os.utime(lock, (time.time() + 1e6, time.time() + 1e6))  # the clock was set back since
    assert (fetch(REPO) / WEIGHTS).exists()


def test_k8_a_lock_that_another_process_holds_is_waited_for_aloud_and_not_for_ever(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies leaves its lock; the hub's client and we hold the same one."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    hub.add_commit(REPO, FILES)
    monkeypatch.setenv("NUMPY_BERT_FETCH_MESSAGE_AFTER", "0.1")
    monkeypatch.setenv("NUMPY_BERT_FETCH_LOCK_WAIT", "0.2")
    lock = lock_of(hub, tmp_path)
    started = time.perf_counter()
    with (
        WeakFileLock(lock),
        pytest.warns(UserWarning, match="another download of it has the lock .* 0.2 seconds at mo"),
        pytest.raises(HubError, match=r"has had the lock .* for 0\.2 seconds. If it still"),
    ):
        fetch(REPO)
    assert 0.2 <= time.perf_counter() - started < 10
    assert not [r for r in hub.requests if r.method == "GET" and r.part["file"] == WEIGHTS]
    assert (fetch(REPO) / WEIGHTS).exists()
