"""numpy_bert.loading.client: downloads overlap, and leave the client that all share alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from numpy_bert import fetch
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
