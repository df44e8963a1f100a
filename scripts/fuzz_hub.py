"""The target of fuzz.py for the fetcher: a hub, a mirror or a proxy that answers wrongly."""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from fuzz_target import Difference, Target, refused

from numpy_bert import fetch

ROOT = Path(__file__).parent.parent

__all__ = ["TARGETS"]

HEADERS = (
    *("Content-Length", "Content-Range", "Content-Encoding", "Transfer-Encoding", "Accept-Ranges"),
    *("Etag", "X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit", "Location", "Content-Type"),
    *("Retry-After", "RateLimit", "Date", "Last-Modified", "X-Error-Code", "X-Error-Message"),
    *("X-Xet-Hash", "X-Xet-Refresh-Route", "Link", "X-HF-Warning", "Set-Cookie"),
)
VALUES = (
    *("", "x", "0", "-1", "9" * 50, "9" * 4400, "é", "NaN", "1e9", "bytes 0-7/9", "identity"),
    *("gzip", "deflate", "br", "zstd", "chunked", "../../x", "/", "?", "%", "//", "http://["),
    *("http://\x7f/", "http://127.0.0.1:9/x", "file:///etc/passwd", '"api";r=0;t=' + "9" * 30),
    *("Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "0" * 40, "0" * 64),
    *("Mon, 01 Jan 0001 00:00:00 +2359", f'W/"{"a" * 64}"', "GatedRepo", "RepoNotFound"),
    *("RevisionNotFound", "Invalid credentials in Authorization header", "topic; message"),
)
CODES = (
    *(200, 201, 204, 206, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 410, 416, 429),
    *(451, 500, 502, 503, 504, 599),
)
BODIES = (
    *(b"", b"{}", b"[]", b"null", b"5", b'"x"', b"\xff", b"{" * 3000, gzip.compress(b"x" * 100)),
    *(b'{"sha": NaN}', b'{"sha": 1, "sha": 2}', b'{"sha": ' + b"9" * 5000 + b"}"),
)
TOKEN = "hf_secret"  # noqa: S105 nobody's


class State(NamedTuple):
    """What all attempts share."""

    hub: Any
    cache: Path
    files: dict[str, bytes]
    variables: dict[str, str]


def prepare(folder: Path) -> State:
    """Start a hub with a tiny model on this machine, for as long as the process lives."""
    sys.path.insert(0, str(ROOT))
    from tests.support.checkpoints import write_checkpoint
    from tests.support.hub import StandInHub, hub_environment
    from tests.support.repository import contents

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it passes on what a hub says
    hub = StandInHub()
    variables = hub_environment(hub, folder / "home")
    variables |= {"NUMPY_BERT_FETCH_LONGEST_WAIT": "0.001", "NUMPY_BERT_FETCH_TRIES": "3"}
    return State(hub, folder / "cache", contents(write_checkpoint(folder / "local")), variables)


def spoil(hub: Any, rng: random.Random) -> None:
    """Declare a fault of some of the answers."""
    kinds = ("headers",) * 4 + ("status", "cut", "body", "grow", "html", "norange", "redirect")
    kind = rng.choice(kinds)
    ways: dict[str, dict[str, Any]] = {
        "headers": {
            "replace": {
                name: rng.choice((None, *VALUES)) for name in rng.sample(HEADERS, rng.randint(1, 3))
            }
        },
        "status": {"code": rng.choice(CODES)},
        "cut": {"after": rng.choice((-1, 0, 1, 9, 100, 5000))},
        "body": {"data": rng.choice((*BODIES, listing(rng)))},
        "grow": {"by": rng.choice((-9, -1, 1, 9))},
        "redirect": {"to": rng.choice(VALUES)},
    }
    times, skip = rng.choice((None, 1, 2)), rng.choice((0, 0, 1, 2))
    hub.fault(
        kind,
        on=rng.choice(("API", "HEAD", "GET", "*")),
        times=times,
        skip=skip,
        **ways.get(kind, {}),
    )


def listing(rng: random.Random) -> bytes:
    """Return what a hub could say of a model."""
    name = rng.choice((5, None, "../x", "\ud800", "config.json"))
    files: Any = rng.choice((5, None, {}, "x", [[]], [{"rfilename": name}]))
    return json.dumps({"sha": rng.choice((5, None, "x", "0" * 40, [])), "siblings": files}).encode()


def attempt(state: State, rng: random.Random) -> bool:
    """Fetch from a hub that answers wrongly: the right files come, or an error and no file."""
    from tests.support.repository import REPO, contents

    hub = state.hub
    for log in (hub.faults, hub.commits, hub.refs, hub.requests):
        log.clear()
    hub.add_commit(REPO, state.files)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        spoil(hub, rng)
    only: Any = rng.choice((None, "embeddings"))
    token = rng.choice((False, TOKEN))
    folders = list[Path]()

    def call() -> None:
        try:
            folders.append(fetch(REPO, only=only, token=token, cache_dir=state.cache))
        except Exception as failure:
            if TOKEN in str(failure):
                raise Difference("the error shows the token") from None
            raise

    try:
        # Nothing here has to outlive the machine: to wait for the disk takes most of the time.
        with patch.dict(os.environ, state.variables), patch("os.fsync"):
            is_refused = refused(call, naming="")
        if folders and only is None and contents(folders[0]) != state.files:
            raise Difference("other files were taken than the hub has")
        if left := [p.name for p in state.cache.rglob("*") if p.suffix in (".tmp", ".incomplete")]:
            raise Difference(f"left behind: {left}")
    finally:
        shutil.rmtree(state.cache, ignore_errors=True)
    return not is_refused


TARGETS = [Target("hub", "the files that the hub has, for whole files", prepare, attempt, cost=20)]
