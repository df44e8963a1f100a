"""numpy_bert.loading.client: downloads overlap, and leave others' hooks on the client alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from numpy_bert import IntegrityError, fetch
from tests.support.hub import StandInHub
from tests.support.repository import FILES, REPO

WEIGHTS = "model.safetensors"
OTHER = "someone/other"


def hooks_of_client() -> list[Callable[[Any], None]]:
    from huggingface_hub import get_session

    hooks: list[Callable[[Any], None]] = get_session().event_hooks["response"]
    return hooks


@pytest.mark.parametrize("how", ["appended", "put in a new dict"])
def test_downloads_overlap_and_leave_others_hooks_alone(hub: StandInHub, how: str) -> None:
    for repo in (REPO, OTHER):
        hub.add_commit(repo, FILES)
    from huggingface_hub import get_session

    both_are_here, after = threading.Barrier(2, timeout=30), list[str]()

    def foreign(response: Any) -> None:
        after.append(response.request.method)

    def meet(response: Any) -> None:
        """Wait, amid a download, for the other one; then somebody adds a hook."""
        is_weights = response.request.url.path.endswith(WEIGHTS)
        if response.request.method != "HEAD" or not is_weights or both_are_here.wait() != 0:
            return
        client = get_session()
        if how == "appended":
            client.event_hooks["response"].append(foreign)
        else:
            ours = client.event_hooks
            client.event_hooks = {**ours, "response": [*ours["response"], foreign]}

    before = [*hooks_of_client()]
    hooks_of_client().append(meet)
    try:
        with ThreadPoolExecutor(2) as pool:
            folders = list(pool.map(fetch, [REPO, OTHER]))
        assert all((folder / WEIGHTS).exists() for folder in folders)
        assert hooks_of_client() == [*before, meet, foreign]
        assert after  # it was called, too
    finally:
        hooks_of_client()[:] = before


def test_a_hook_is_left_nowhere_where_a_download_fails(hub: StandInHub) -> None:
    hub.add_commit(REPO, FILES)
    hub.fault("headers", on="HEAD", path="config.json", replace={"Etag": '"../../x"'})
    before = [*hooks_of_client()]
    with pytest.raises(IntegrityError, match="the etag must be a sha256 or a git sha1; got "):
        fetch(REPO)
    assert hooks_of_client() == before


def test_hooks_that_were_replaced_meanwhile_are_no_error(hub: StandInHub) -> None:
    hub.add_commit(REPO, FILES)
    from huggingface_hub import get_session

    before = [*hooks_of_client()]

    def forget(_response: Any) -> None:
        get_session().event_hooks = {"request": get_session().event_hooks["request"]}

    hooks_of_client().append(forget)
    try:
        fetch(REPO)
        assert hooks_of_client() == []
    finally:
        hooks_of_client()[:] = before


def test_others_requests_are_their_own_affair(hub: StandInHub) -> None:
    """An etag that is no hash stops no thread but the one that fetches."""
    hub.add_commit(REPO, FILES)
    hub.add_commit(OTHER, {"a.txt": b"a"})
    hub.fault("headers", on="HEAD", path="a.txt", replace={"Etag": '"no hash"'})
    from huggingface_hub import get_session

    statuses: list[int] = []

    def ask(response: Any) -> None:
        if response.request.method == "HEAD" and response.request.url.path.endswith(WEIGHTS):
            url = f"{hub.url}/{OTHER}/resolve/main/a.txt"
            with ThreadPoolExecutor(1) as pool:
                statuses.append(pool.submit(get_session().head, url).result().status_code)

    hooks_of_client().append(ask)
    try:
        fetch(REPO)
    finally:
        hooks_of_client().remove(ask)
    assert statuses == [200]
