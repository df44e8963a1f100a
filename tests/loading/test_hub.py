"""The fetcher against a stand-in hub: cold, warm, offline, corrupted, hostile, moved, killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import (
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    HubError,
    InputError,
    IntegrityError,
    OfflineError,
    TokenizerError,
    fetch,
)
from numpy_bert.loading import integrity
from numpy_bert.loading.cache import demo_folder, is_offline
from numpy_bert.loading.hub import verify_again
from tests.support.checkpoints import (
    TINY,
    random_tensors,
    serialize,
    write_checkpoint,
    write_shards,
)
from tests.support.hub import PATIENCE, StandInHub, hub_environment
from tests.support.platforms import posix
from tests.support.repository import FILES, REPO, TAKEN, cache_of, contents, corrupt


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the seconds that are waited between tries, and wait none."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def test_cold_then_warm_without_a_request(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    folder = fetch(REPO)
    assert folder == cache_of(tmp_path) / "snapshots" / commit
    assert contents(folder) == {name: FILES[name] for name in TAKEN}
    assert (cache_of(tmp_path) / "refs" / "main").read_text() == commit
    resolved = [request for request in hub.requests if request.part["verb"] == "resolve"]
    # One commit for every file, and nobody's token.
    assert {request.part["revision"] for request in resolved} == {commit}
    assert not any("authorization" in request.headers for request in hub.requests)
    hub.reset_log()
    model = BertModel.from_pretrained(REPO)
    tokenizer = BertTokenizer.from_pretrained(REPO)
    assert model.embeddings(tokenizer("a", return_tensors="np")["input_ids"]).shape == (1, 3, 128)
    assert hub.requests == []
    # `fetch` asks what the branch is now, and nothing more.
    assert fetch(REPO) == folder
    assert len(hub.requests) == 1
    assert hub.requests[0].part["api"]


def test_a_model_is_fetched_when_it_is_first_used(hub: StandInHub, commit: str) -> None:
    assert BertTokenizer.from_pretrained(REPO).vocab_size == 8000
    hub.reset_log()
    BertModel.from_pretrained(REPO)
    assert hub.requests == []


def test_another_cache(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    folder = fetch(REPO, cache_dir=tmp_path / "elsewhere")
    assert folder.is_relative_to(tmp_path / "elsewhere")
    assert BertModel.from_pretrained(REPO, cache_dir=tmp_path / "elsewhere").dtype == "float32"
    with pytest.raises(OfflineError):
        fetch(REPO, local_files_only=True)


def test_a_moved_branch_is_still_one_commit(hub: StandInHub, commit: str) -> None:  # I14
    other = hub.add_commit(REPO, {**FILES, "config.json": b"{}"}, branch="other")
    hub.fault("move", on="HEAD", path="tokenizer.json", times=1, sha=other)
    folder = fetch(REPO)
    assert folder.name == commit
    assert (folder / "config.json").read_bytes() == FILES["config.json"]
    # The next fetch sees the new head; the old snapshot stays.
    assert fetch(REPO).name == other
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


def test_branches_tags_and_commits(hub: StandInHub, commit: str) -> None:
    other = hub.add_commit(REPO, {**FILES, "vocab.txt": b"x"}, branch="refs/pr/1")
    assert fetch(REPO, revision="refs/pr/1").name == other
    assert fetch(REPO, revision=commit).name == commit
    hub.reset_log()
    assert BertModel.from_pretrained(REPO, revision="refs/pr/1").config.hidden_size == 128
    assert hub.requests == []
    with pytest.raises(HubError, match="no such branch, tag or commit"):
        fetch(REPO, revision="absent")
    with pytest.raises(
        InputError, match="revision must be the name of a branch, tag or commit; got "
    ):
        fetch(REPO, revision="../../x")


def test_only_listed_shards_are_taken(hub: StandInHub, tmp_path: Path) -> None:
    sharded = write_shards(tmp_path / "sharded")
    files = contents(sharded)
    hub.add_commit(REPO, {**files, "tokenizer.json": b"{}", "extra.safetensors": b"x"})
    folder = fetch(REPO)
    assert set(contents(folder)) == {*files, "tokenizer.json"}
    assert BertModel.from_pretrained(REPO).config.hidden_size == TINY["hidden_size"]


@pytest.mark.parametrize(
    "etag", ["../../../../outside", '"../../x"', "short", "A" * 64, "g" * 40, "0" * 300, "..", ""]
)
@pytest.mark.parametrize("header", ["X-Linked-Etag", "Etag"])
def test_a_hostile_etag_is_refused_before_it_is_a_path(
    hub: StandInHub, commit: str, tmp_path: Path, etag: str, header: str
) -> None:  # I10
    drop = {"X-Linked-Etag": None} if header == "Etag" else {}
    hub.fault("headers", on="HEAD", path="model.safetensors", replace={**drop, header: etag})
    with pytest.raises((IntegrityError, HubError)) as caught:
        fetch(REPO)
    if etag:
        assert isinstance(caught.value, IntegrityError)
        assert "the etag must be a sha256 or a git sha1; got " in str(caught.value)
    names = {path.name for path in tmp_path.rglob("*")}
    assert not names & {"outside", "x", "short", "A" * 64, "g" * 40}
    assert not any("model.safetensors" in name for name in names)


def test_only_pickles_are_refused_with_the_reason(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_commit(REPO, {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02"})
    with pytest.raises(CheckpointError, match=r"only pickled weights.*runs whatever code"):
        fetch(REPO)
    assert not (tmp_path / "home").exists()
    assert all(request.part["api"] for request in hub.requests)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.safetensors": b"x"}, "has no config.json"),
        ({"config.json": b"{}"}, "has no model.safetensors and no model.safetensors.index.json"),
    ],
)
def test_a_repository_without_a_model(hub: StandInHub, files: dict[str, bytes], words: str) -> None:
    hub.add_commit(REPO, files)
    with pytest.raises(CheckpointError, match=words):
        fetch(REPO)


def test_a_gated_repository_says_how_to_pass_a_token(hub: StandInHub, commit: str) -> None:
    hub.gated.add(REPO)
    with pytest.raises(HubError, match=r"is gated.*token=True.*--token") as caught:
        fetch(REPO, token="bad-secret")
    assert "bad-secret" not in str(caught.value)
    assert fetch(REPO, token="good-token").name == commit


def test_a_repository_that_does_not_exist(hub: StandInHub) -> None:
    with pytest.raises(HubError, match="no such repository on the hub, or it is private"):
        fetch("someone/absent")


@pytest.mark.parametrize("token", [5, b"hf_x"])
def test_a_token_that_is_none(hub: StandInHub, token: Any) -> None:
    with pytest.raises(InputError, match="token must be True, False or a str; got "):
        fetch(REPO, token=token)


@pytest.mark.parametrize("options", [{"revision": 5}, {"cache_dir": 5}, {"cache_dir": ""}])
def test_arguments_of_other_kinds(hub: StandInHub, options: Any) -> None:
    with pytest.raises(
        InputError, match=r"^(revision must be the name|cache_dir must be a folder)"
    ):
        fetch(REPO, **options)


def test_a_home_that_does_not_exist(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such user's home folder"):
        fetch("~nosuchuser/x")
    with pytest.raises(InputError, match="no such user's home folder"):
        fetch(REPO, cache_dir="~nosuchuser/x")
    monkeypatch.setenv("HF_HOME", "~nosuchuser/x")
    with pytest.raises(InputError, match="no such user's home folder"):
        fetch(REPO)


def test_a_branch_whose_reference_cannot_be_written(hub: StandInHub, commit: str) -> None:
    hub.add_commit(REPO, FILES, branch="x")
    hub.add_commit(REPO, FILES, branch="x/y")
    fetch(REPO, revision="x")
    with pytest.warns(UserWarning, match="could not record what y is now"):
        fetch(REPO, revision="x/y")


def test_hostile_modules_are_refused(hub: StandInHub) -> None:
    for data, words in ((b"[" * 100_000, "nested|not JSON"), (b'{"a": 1}', "is not a list")):
        hub.add_commit(REPO, {**FILES, "modules.json": data})
        with pytest.raises(CheckpointError, match=words):
            fetch(REPO)


AS_NOBODY = """
import contextlib, io, os, sys
import encodings.idna, huggingface_hub.utils, safetensors.numpy  # while it may read them
from huggingface_hub import HfApi, hf_hub_download
from numpy_bert.cli import fetch, main
with contextlib.redirect_stdout(io.StringIO()):
    main(["embed", "a", "--model", "demo"])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become nobody")
def test_a_cache_that_one_may_read_but_not_write(
    hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # J3
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        monkeypatch.setenv("HF_HOME", home)
        _use_as_nobody(fetch(REPO))


def _use_as_nobody(folder: Path) -> None:
    def as_nobody(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", AS_NOBODY, *arguments]
        result = subprocess.run(command, capture_output=True, text=True)
        assert "Traceback" not in result.stderr
        return result.returncode, result.stderr

    assert as_nobody("fetch", REPO)[0] == 0
    assert as_nobody("fetch", REPO, "--verify", "--offline")[0] == 0
    corrupt(folder / "model.safetensors")
    status, error = as_nobody("embed", "a", "--model", REPO)
    assert status == 1
    assert "is corrupt and could not be removed" in error
    folder.parent.chmod(0o000)
    status, error = as_nobody("embed", "a", "--model", REPO, "--offline")
    folder.parent.chmod(0o755)
    assert status == 2
    assert "cannot be looked at (Permission denied)" in error


def test_a_login_page_in_place_of_the_hub(hub: StandInHub, commit: str) -> None:  # I9
    hub.fault("html", on="API")
    with pytest.raises(HubError, match=r"the hub's answer: is not JSON"):
        fetch(REPO)


def test_where_there_are_no_links_copies_are_checked_too(
    hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True, raising=False)
    flip = hub.fault("flip", path="model.safetensors", times=1)
    folder = fetch(REPO)
    assert flip.fired == 1
    assert not (folder / "model.safetensors").is_symlink()
    assert contents(folder) == {name: FILES[name] for name in TAKEN}


def test_a_hub_that_is_gone_is_given_up_soon(hub: StandInHub, slept: list[float]) -> None:  # I2
    hub.close()
    with pytest.raises(OfflineError, match=r"could not be reached") as raised:
        BertModel.from_pretrained(REPO)
    assert sum(slept) < 10  # the client alone waits 23 s
    (line,) = str(raised.value).splitlines()
    for way_out in ("'demo'", "--model demo", "a folder", "HF_ENDPOINT names"):
        assert way_out in line
    shown = "".join(traceback.format_exception(raised.value))
    assert shown.count("Traceback (most recent call last)") == 1


CHILD = "import sys; from numpy_bert import fetch; fetch(sys.argv[1])"


@pytest.mark.parametrize("wait", [0.9, 1.5])
@posix
def test_a_killed_download_is_completed_by_a_second_run(
    hub: StandInHub, commit: str, tmp_path: Path, wait: float
) -> None:  # I6, K6
    hub.fault("slow", path="model.safetensors", times=1, chunk=1 << 18, delay=0.5)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= hub_environment(hub, tmp_path / "home")
    child = subprocess.Popen([sys.executable, "-c", CHILD, REPO], env=environment)
    deadline = time.monotonic() + PATIENCE
    while not any(
        r.method == "GET" and r.part["file"] == "model.safetensors" for r in hub.requests
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(wait)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with pytest.raises(OfflineError):
        BertModel.from_pretrained(REPO, local_files_only=True)
    assert not (cache_of(tmp_path) / "snapshots" / commit / "model.safetensors").exists()
    assert contents(fetch(REPO)) == {name: FILES[name] for name in TAKEN}
    assert BertModel.from_pretrained(REPO, local_files_only=True).config.hidden_size == 128


def test_a_blob_that_was_never_checked_is_checked_at_its_next_use(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    folder = fetch(REPO)
    corrupt(folder / "model.safetensors")
    # Touched since it was verified: hashed again, found bad, fetched again.
    model = BertModel.from_pretrained(REPO)
    assert contents(folder) == {name: FILES[name] for name in TAKEN}
    assert model.config.hidden_size == 128
    corrupt(folder / "model.safetensors")
    with pytest.raises(IntegrityError, match=r"its bytes hash to .*the hub published"):  # I15
        BertModel.from_pretrained(REPO, local_files_only=True)


def test_what_another_tool_downloaded_is_found_and_verified_once(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        hf_hub_download(REPO, name, endpoint=hub.url, cache_dir=tmp_path / "home" / "hub")
    hub.reset_log()
    BertModel.from_pretrained(REPO)
    BertTokenizer.from_pretrained(REPO)
    assert hub.requests == []
    marks = cache_of(tmp_path) / ".numpy_bert_verified"
    assert len(list(marks.iterdir())) == 3


def test_what_was_verified_is_not_hashed_again(
    hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(REPO)

    def hashed(*_: object, **__: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(integrity, "_hash", hashed)
    BertModel.from_pretrained(REPO)
    BertTokenizer.from_pretrained(REPO)
    with pytest.raises(AssertionError, match="hashed again"):
        verify_again(folder)


def test_a_corrupt_download_of_another_tool_is_found_at_the_first_use(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    hub.fault("flip", path="model.safetensors", times=1)
    for name in ("config.json", "model.safetensors"):
        hf_hub_download(REPO, name, endpoint=hub.url, cache_dir=tmp_path / "home" / "hub")
    with pytest.raises(IntegrityError):
        BertModel.from_pretrained(REPO, local_files_only=True)
    assert BertModel.from_pretrained(REPO).config.hidden_size == 128


def test_a_local_folder_wins(hub: StandInHub, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "someone" / "tiny-bert")
    assert fetch(REPO) == Path(REPO)
    assert hub.requests == []


def test_demo_is_the_built_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "demo")
    assert fetch("demo") == demo_folder()
    assert fetch("./demo") == Path("demo")
    assert fetch(Path("demo")) == Path("demo")


@pytest.mark.parametrize(
    "name", ["", " ", "../x", "a/b/c", "a--b", "a..b", "x" * 200, "https://h/x"]
)
def test_names_that_cannot_be_are_refused(name: str) -> None:  # H2
    with pytest.raises(
        InputError, match=r"^model(:| must be a folder or a repository's name; got) "
    ):
        fetch(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"this folder has no config\.json, no model"):
        fetch(tmp_path)
    with pytest.raises(ConfigError, match=r"config\.json: does not exist; name the folder of"):
        BertModel.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"has neither tokenizer\.json nor vocab\.txt"):
        BertTokenizer.from_pretrained(tmp_path)


def test_it_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(serialize(random_tensors()))
    with pytest.raises(InputError, match=r"is a file; name the folder that holds config.json"):
        BertModel.from_pretrained(path)


@pytest.mark.parametrize(
    ("hub_says", "transformers_says", "offline"),
    [
        (None, "1", True),
        (None, "yes", True),
        ("", "TRUE", True),
        ("1", "0", True),
        ("0", "1", False),  # as in huggingface_hub: the newer name counts where it is set
        (None, "0", False),
        (None, None, False),
    ],
)
def test_transformers_offline_is_heeded_too(
    hub_says: str | None,
    transformers_says: str | None,
    offline: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        ("HF_HUB_OFFLINE", hub_says),
        ("TRANSFORMERS_OFFLINE", transformers_says),
    ):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert is_offline() == offline


def test_a_cache_without_refs_has_one_snapshot(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    folder = fetch(REPO)
    shutil.rmtree(cache_of(tmp_path) / "refs")
    for revision in (None, "main"):
        with pytest.warns(UserWarning, match=f"only commit there, {commit}, is used"):
            model = BertModel.from_pretrained(REPO, local_files_only=True, revision=revision)
        assert model.config.hidden_size == 128
    with pytest.raises(OfflineError, match="has no copy"):
        BertModel.from_pretrained(REPO, local_files_only=True, revision="v1")
    # With a network the hub is asked what it is, and nothing more.
    hub.reset_log()
    BertModel.from_pretrained(REPO)
    assert [request.part["api"] for request in hub.requests] == ["/api/models"]
    BertModel.from_pretrained(REPO, local_files_only=True)
    # Of two nobody knows which is meant, nor of one that is a tag's.
    shutil.rmtree(cache_of(tmp_path) / "refs")
    (folder.parent / ("0" * 40)).mkdir()
    with pytest.raises(OfflineError, match="has no copy"):
        BertModel.from_pretrained(REPO, local_files_only=True)
    (folder.parent / ("0" * 40)).rmdir()
    (cache_of(tmp_path) / "refs").mkdir()
    (cache_of(tmp_path) / "refs" / "v1").write_text(commit)
    with pytest.raises(OfflineError, match="has no copy"):
        BertModel.from_pretrained(REPO, local_files_only=True)


def test_a_path_named_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path("demo"), Path("./demo")):
        assert fetch(path) == demo_folder()
    for other in ("./demo", tmp_path / "demo", Path("Demo"), Path("../demo")):
        with pytest.raises(InputError, match="there is no folder"):
            fetch(other)
    # A Path cannot tell demo from ./demo, so where there is a folder it is that.
    write_checkpoint(tmp_path / "demo")
    for path in (Path("demo"), Path("./demo")):
        assert fetch(path) == Path("demo")
    assert fetch("./demo") == Path("demo")
    assert fetch("demo") == demo_folder()
