"""numpy_bert.loading.client: downloads overlap, and leave the client that all share alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from numpy_bert import CheckpointError, HubError, fetch
from numpy_bert.loading.cache import CachedRepository
from numpy_bert.loading.client import resolve
from tests.support.hub import StandInHub
from tests.support.repository import FILES, REPO

WEIGHTS = "model.safetensors"
OTHER = "someone/other"


def test_downloads_overlap_and_leave_the_shared_client_alone(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for repo in (REPO, OTHER):
        hub.add_commit(repo, FILES)
    from huggingface_hub import get_session

    both_are_here = threading.Barrier(2, timeout=30)

    def meet(response: Any) -> None:
        """Wait, amid a download, for the other one."""
        is_weights = response.request.url.path.endswith(WEIGHTS)
        if response.request.method == "GET" and is_weights:
            both_are_here.wait()

    client = get_session()
    hooks = {name: [*found] for name, found in client.event_hooks.items()}
    monkeypatch.setattr(client, "event_hooks", {**hooks, "response": [meet]})
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(fetch, [REPO, OTHER]))
    assert all((folder / WEIGHTS).exists() for folder in folders)
    assert get_session() is client
    assert client.event_hooks["response"] == [meet]


def test_a_file_that_two_commits_share_is_fetched_once(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_commit(REPO, FILES)
    before = fetch(REPO) / WEIGHTS
    hub.add_commit(REPO, {**FILES, "vocab.txt": b"x"})
    after = fetch(REPO) / WEIGHTS
    assert before != after
    assert before.resolve() == after.resolve()
    gets = [request.part["file"] for request in hub.requests if request.method == "GET"]
    assert gets.count(WEIGHTS) == 1
    # As the client does: programs that copy folders know what may be left out.
    tag = (tmp_path / "home" / "hub" / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_disk_without_room_is_told_before_the_download(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_commit(REPO, {"config.json": b"{}", WEIGHTS: bytes(12_345)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        HubError, match=r"could not be stored in .*has 12,345 bytes, 1,000 are free"
    ):
        fetch(REPO)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", "C:x", "", "a//x"])
def test_a_file_that_would_lie_elsewhere_is_not_listed(
    hub: StandInHub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    siblings = [{"rfilename": known} for known in (name, "config.json", 5)]
    info = {"sha": "0" * 40, "siblings": [*siblings, "x"]}
    monkeypatch.setattr("numpy_bert.loading.client.model_info", lambda *_: info)
    assert resolve(CachedRepository(REPO, None), None, None).names == {"config.json"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"sha": 5}', "the hub named 5 as its commit"),
        (b'{"sha": "../../x"}', "the hub named .* as its commit"),
        (b'{"sha": "' + b"0" * 40 + b'", "siblings": 5}', r"has no config\.json"),
        (b'{"sha": "' + b"0" * 40 + b'", "siblings": [[]]}', r"has no config\.json"),
        (b"[]", "the hub's answer: must be a JSON object"),
        (b'{"sha": 1, "sha": 2}', "the key sha stands twice"),
        (b" " * 2000, "the hub's list of its files has no end"),
    ],
)
def test_what_the_hub_says_of_a_model_is_checked(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, body: bytes, words: str
) -> None:
    monkeypatch.setattr("numpy_bert.loading.requests._LARGEST_LISTING", 1000)
    hub.add_commit(REPO, {"config.json": b"{}"})
    hub.fault("body", on="API", data=body)
    with pytest.raises((HubError, CheckpointError), match=words):
        fetch(REPO)
