"""Letter I: the cache and the network. The last good copy stays, and no worse one replaces it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from numpy_bert import BertModel, HubError, InputError, IntegrityError, OfflineError, fetch
from numpy_bert.cli import main
from numpy_bert.errors import NumpyBertError
from numpy_bert.loading import requests
from numpy_bert.loading.patience import Patience, TooSlowError, Tries, paced
from tests.support.checkpoints import random_tensors, serialize, write_checkpoint
from tests.support.hub import StandInHub
from tests.support.repository import REPO, cache_of, contents, corrupt

WEIGHTS = "model.safetensors"
DATA = serialize(random_tensors())

both_ways = pytest.mark.parametrize("only", [None, "embeddings"], ids=["whole", "ranges"])


@pytest.fixture
def small(hub: StandInHub, tmp_path: Path) -> dict[str, bytes]:
    """The files of a tiny model, which is what `main` is on the hub."""
    files = contents(write_checkpoint(tmp_path / "local"))
    hub.add_commit(REPO, files)
    return files


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the seconds that are waited between tries, and wait none."""
    seconds: list[float] = []
    monkeypatch.setenv("NUMPY_BERT_FETCH_LONGEST_WAIT", "60")
    monkeypatch.setattr("numpy_bert.loading.patience.time.sleep", seconds.append)
    return seconds


def nothing_half(tmp_path: Path) -> None:
    """Nothing is in the cache that is not whole, and nothing of the weights is found there."""
    names = [path.name for path in cache_of(tmp_path).rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith((".tmp", ".incomplete"))]
    assert WEIGHTS not in names
    with pytest.raises(OfflineError):
        fetch(REPO, local_files_only=True)


def mended(hub: StandInHub, files: dict[str, bytes]) -> None:
    """Without faults the same call gives the right files."""
    hub.faults.clear()
    assert contents(fetch(REPO)) == files


def headers(hub: StandInHub, on: Any = "GET", path: str = WEIGHTS, **changes: str | None) -> None:
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    hub.fault("headers", on=on, path=path, replace=named)


def test_i1_offline_cold_and_warm(
    hub: StandInHub, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    started = time.perf_counter()
    for call in (fetch, BertModel.from_pretrained):
        with pytest.raises(OfflineError, match=rf"numpy-bert fetch {REPO}\. Without it there are"):
            call(REPO)
    assert time.perf_counter() - started < 1
    monkeypatch.delenv("HF_HUB_OFFLINE")
    folder = fetch(REPO)
    hub.reset_log()
    assert fetch(REPO, local_files_only=True) == folder
    assert BertModel.from_pretrained(REPO, local_files_only=True).config.hidden_size == 24
    assert hub.requests == []


@both_ways
def test_i2_a_refused_connection_is_an_error_at_once(
    hub: StandInHub, slept: list[float], only: Any
) -> None:
    hub.close()
    with pytest.raises(OfflineError, match=r"127\.0\.0\.1.* \(HF_ENDPOINT\) could not be reached"):
        fetch(REPO, only=only)
    assert slept == []


def test_i2_a_name_that_is_unknown_and_packets_that_are_dropped(
    monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    """Not here: packets that are dropped; a timeout of the connection stands for them."""
    from huggingface_hub import get_session

    client = type(get_session())
    httpx = import_module(client.__module__.partition(".")[0])  # or httpx2
    failures = [httpx.ConnectError("Name or service not known"), httpx.ConnectTimeout("timed out")]
    for failure in failures:
        monkeypatch.setattr(client, "stream", raising(failure))
        with pytest.raises(OfflineError, match=f"could not be reached.*{failure}"):
            fetch(REPO)
    assert slept == []  # the hub has never answered: nobody waits for more tries


def raising(failure: Exception) -> Callable[..., None]:
    def call(*_: Any, **__: Any) -> None:
        raise failure

    return call


@both_ways
@pytest.mark.parametrize(
    ("on", "code"), [("API", 504), ("HEAD", 502), ("GET", 408), ("GET", 429), ("GET", 500)]
)
def test_i3_a_hub_that_fails_once_is_asked_again(
    hub: StandInHub, small: dict[str, bytes], slept: list[float], only: Any, code: int, on: Any
) -> None:
    fault = hub.fault("status", on=on, code=code, times=1)
    assert fetch(REPO, only=only).is_dir()
    assert fault.fired == 1
    assert slept == [1.0]


@both_ways
@pytest.mark.parametrize("on", ["API", "HEAD", "GET"])
def test_i3_a_hub_that_always_fails_is_one_error(
    hub: StandInHub,
    small: dict[str, bytes],
    tmp_path: Path,
    slept: list[float],
    only: Any,
    on: Any,
) -> None:
    fault = hub.fault("status", on=on, path="*" if on == "API" else WEIGHTS, code=503)
    with pytest.raises(HubError, match=f"{REPO}: the hub answered with status 503 at http"):
        fetch(REPO, only=only)
    assert fault.fired == 5
    assert slept == [1.0, 2.0, 4.0, 8.0]
    nothing_half(tmp_path)
    mended(hub, small)


@both_ways
@pytest.mark.parametrize("code", [429, 503])
def test_i4_retry_after_is_heeded_up_to_a_cap(
    hub: StandInHub, small: dict[str, bytes], slept: list[float], only: Any, code: int
) -> None:
    now = datetime.now(UTC)
    soon, date = format_datetime(now + timedelta(seconds=7), usegmt=True), format_datetime(now)
    for change, least, most in [
        ({"Retry_After": "3"}, 3, 3),
        ({"Retry_After": soon, "Date": date}, 7, 7),
        ({"Retry_After": soon}, 3, 7),
        ({"Retry_After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1, 1),
        ({"Retry_After": "soon"}, 1, 1),
        ({"RateLimit": '"api";r=0;t=5'}, 5, 5),
    ]:
        slept.clear()
        hub.faults.clear()
        hub.fault("status", on="API", code=code, times=1)
        named = {name.replace("_", "-"): value for name, value in change.items()}
        hub.fault("headers", on="API", times=1, replace=named)
        fetch(REPO, only=only)
        assert least <= slept[0] <= most
        assert len(slept) == 1


@both_ways
@pytest.mark.parametrize(
    ("on", "asked"),
    [("GET", "1000000"), ("HEAD", "9" * 5000), ("API", "Fri, 31 Dec 9999 23:59:59 GMT")],
    ids=["number", "digits", "date"],
)
def test_i4_a_wait_that_is_too_long_is_an_error_at_once(
    hub: StandInHub,
    small: dict[str, bytes],
    tmp_path: Path,
    slept: list[float],
    only: Any,
    on: Any,
    asked: str,
) -> None:
    path = "*" if on == "API" else WEIGHTS
    hub.fault("status", on=on, path=path, code=429)
    headers(hub, on, path, Retry_After=asked)
    with pytest.raises(
        HubError, match=rf"status 429 and asks to be .*Retry-After: {asked[:9]}"
    ) as c:
        fetch(REPO, only=only)
    assert "set NUMPY_BERT_FETCH_LONGEST_WAIT" in str(c.value)
    assert len(str(c.value)) < 600
    assert slept == []
    nothing_half(tmp_path)
    mended(hub, small)


def test_i4_a_long_wait_is_announced(
    hub: StandInHub, small: dict[str, bytes], slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fault("status", code=429, path=WEIGHTS, times=1)
    headers(hub, Retry_After="30")
    assert main(["fetch", REPO]) == 0
    words = f"{REPO}: {WEIGHTS}: the hub answered with status 429. It is asked for again in 30 s"
    assert words in capsys.readouterr().err
    assert slept == [30.0]


REFUSED = {
    "no repository": ("RepoNotFound", 404, "there is no such repository on the hub, or it is priv"),
    "hidden": (None, 401, "there is no such repository on the hub, or it is private"),
    "gated": ("GatedRepo", 403, "is gated. Accept its terms"),
    "no revision": ("RevisionNotFound", 404, "has no such branch, tag or commit"),
    "no file": ("EntryNotFound", 404, f"status 404 at http://.*{WEIGHTS}"),
    "forbidden": (None, 403, "status 403 at http"),
    "bad token": ("Invalid credentials in Authorization header", 401, "does not know the token"),
}


@pytest.mark.parametrize(("code", "status", "words"), REFUSED.values(), ids=REFUSED)
def test_i5_what_is_refused_is_said_and_the_token_is_not(
    hub: StandInHub,
    small: dict[str, bytes],
    tmp_path: Path,
    code: str | None,
    status: int,
    words: str,
) -> None:
    hub.fault("status", on="HEAD", path=WEIGHTS, code=status)
    headers(hub, "HEAD", X_Error_Code=code, X_Error_Message=code)
    with pytest.raises(HubError, match=words) as caught:
        fetch(REPO, token="hf_secret")
    assert "secret" not in str(caught.value)
    assert sum(r.method == "HEAD" and r.part["file"] == WEIGHTS for r in hub.requests) == 1
    nothing_half(tmp_path)
    mended(hub, small)


@pytest.mark.parametrize("after", [-1, 0, 1, len(DATA) // 2, len(DATA) - 1])
def test_i6_a_connection_that_is_cut_goes_on_where_it_stopped(
    hub: StandInHub, small: dict[str, bytes], after: int
) -> None:
    hub.fault("cut", path=WEIGHTS, times=1, after=after)
    assert contents(fetch(REPO)) == small
    gets = [r for r in hub.requests if r.method == "GET" and r.part["file"] == WEIGHTS]
    assert [r.headers.get("range") for r in gets] == [
        None,
        f"bytes={after}-" if after > 0 else None,
    ]


@both_ways
@pytest.mark.parametrize("after", [-1, 1])
def test_i6_a_connection_that_is_always_cut_is_one_error(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, only: Any, after: int
) -> None:
    cut = hub.fault("cut", path=WEIGHTS, after=after)
    with pytest.raises(OfflineError, match=r"or the connection broke \("):
        fetch(REPO, only=only)
    assert cut.fired == 5
    nothing_half(tmp_path)
    mended(hub, small)


def test_i6_tries_begin_anew_where_enough_has_come(
    hub: StandInHub, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMPY_BERT_FETCH_SPEED_WINDOW", "2")  # 2,000 bytes are enough
    cut = hub.fault("cut", path=WEIGHTS, after=len(DATA) // 12)
    hub.fault("cut", path=WEIGHTS, after=None, skip=13)
    assert contents(fetch(REPO)) == small
    assert cut.fired > 10


LENGTHS: dict[str, tuple[dict[str, str | None], bool]] = {
    "too small": ({"Content_Length": str(len(DATA) - 1)}, False),
    "too large": ({"Content_Length": str(len(DATA) + 1)}, True),
    "missing": ({"Content_Length": None}, True),
    "no number": ({"Content_Length": "x"}, False),
    "gzip": ({"Content_Encoding": "gzip"}, False),
}


@pytest.mark.parametrize(("change", "right"), LENGTHS.values(), ids=LENGTHS)
def test_i7_a_wrong_length_is_an_error_or_changes_nothing(
    hub: StandInHub,
    small: dict[str, bytes],
    tmp_path: Path,
    change: dict[str, Any],
    right: bool,
) -> None:
    headers(hub, **change)
    if right:
        assert contents(fetch(REPO)) == small
        return
    with pytest.raises(HubError, match=r"1 less|connection broke"):
        fetch(REPO)
    nothing_half(tmp_path)
    mended(hub, small)


def test_i7_a_size_that_nobody_tells_and_a_compressed_answer(
    hub: StandInHub, small: dict[str, bytes]
) -> None:
    headers(hub, "HEAD", X_Linked_Size=None, Content_Length=None)
    hub.fault("body", path=WEIGHTS, data=gzip.compress(DATA))
    headers(hub, "GET", Content_Encoding="gzip", Accept_Ranges=None)
    assert contents(fetch(REPO)) == small


@pytest.mark.parametrize("how", ["ignored", "416"])
def test_i8_a_range_that_is_not_served_begins_anew(
    hub: StandInHub, small: dict[str, bytes], how: str
) -> None:
    hub.fault("cut", path=WEIGHTS, times=1, after=9)
    if how == "ignored":
        hub.fault("norange", path=WEIGHTS)
    else:
        hub.fault("status", path=WEIGHTS, code=416, skip=1, times=1)
    assert contents(fetch(REPO)) == small


@both_ways
def test_i8_a_wrong_range_is_refused(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, only: Any
) -> None:
    hub.fault("cut", path=WEIGHTS, times=1, after=9)
    headers(hub, Content_Range=f"bytes 0-7/{len(DATA) + 1}")
    with pytest.raises(HubError, match="were asked for, the hub answered with Content-Range: "):
        fetch(REPO, only=only)
    nothing_half(tmp_path)
    mended(hub, small)


@pytest.mark.parametrize("fault", ["flip", "html", "other revision"])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_i9_other_bytes_never_reach_the_cache(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, fault: str, name: str
) -> None:
    how: dict[str, Any] = {"html": {"same_size": True}}.get(fault, {})
    if fault == "other revision":
        fault, how = "body", {"data": b" " * len(small[name])}
    spoilt = hub.fault(fault, path=name, **how)
    with pytest.raises(IntegrityError, match=rf"{REPO}: {name}: its bytes hash to .* wrong twice"):
        fetch(REPO)
    assert spoilt.fired == 2
    assert name not in [path.name for path in cache_of(tmp_path).rglob("*")]
    assert not [p for p in cache_of(tmp_path).rglob("*") if p.suffix in (".tmp", ".incomplete")]
    mended(hub, small)
    # Once is no more than another try.
    hub.add_commit(REPO, small)
    spoilt = hub.fault(fault, path=name, times=1, **how)
    assert contents(fetch(REPO)) == small


@pytest.mark.parametrize("etag", [None, "", '""', "0" * 300, "../../x", 'W/"abc"'])
def test_i10_an_etag_that_is_no_hash_is_refused_first(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, etag: str | None
) -> None:
    headers(hub, "HEAD", X_Linked_Etag=None, Etag=etag)
    with pytest.raises((IntegrityError, HubError), match=r"must be a sha256|did not tell its etag"):
        fetch(REPO)
    assert not [r for r in hub.requests if r.method == "GET" and r.part["file"] == WEIGHTS]
    assert not list(tmp_path.rglob("x"))
    nothing_half(tmp_path)
    mended(hub, small)


def test_i10_a_weak_etag_is_a_hash_too(hub: StandInHub, small: dict[str, bytes]) -> None:
    headers(hub, "HEAD", X_Linked_Etag=f'W/"{hashlib.sha256(small[WEIGHTS]).hexdigest()}"')
    assert contents(fetch(REPO)) == small


@both_ways
@pytest.mark.parametrize("sha", [None, "0" * 40, "x"])
def test_i11_another_commit_than_was_asked_for_is_refused(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, only: Any, sha: str | None
) -> None:
    headers(hub, "HEAD", X_Repo_Commit=sha)
    with pytest.raises(HubError, match=r"commit [0-9a-f]{40} was asked for, the hub answered with"):
        fetch(REPO, only=only)
    nothing_half(tmp_path)
    mended(hub, small)


@both_ways
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "redirect_loop"}, "redirect"),
        ({"kind": "redirect", "to": "file:///etc/passwd"}, "protocol"),
        ({"kind": "redirect", "to": "http://127.0.0.1:9/?Signature=abc"}, "refused"),
    ],
    ids=["loop", "file", "dead host"],
)
def test_i12_a_redirect_that_leads_nowhere(
    hub: StandInHub,
    small: dict[str, bytes],
    tmp_path: Path,
    only: Any,
    fault: dict[str, Any],
    words: str,
) -> None:
    hub.fault(path=WEIGHTS, **fault)
    with pytest.raises(OfflineError, match=rf"(?i)the connection broke \(.*{words}") as caught:
        fetch(REPO, only=only)
    assert "Signature" not in str(caught.value)
    nothing_half(tmp_path)
    mended(hub, small)


@both_ways
def test_i12_a_signature_in_an_address_is_not_shown(
    hub: StandInHub, small: dict[str, bytes], only: Any
) -> None:
    hub.fault("redirect", path=WEIGHTS, to=f"{hub.url}/absent?Signature=secret")
    with pytest.raises(
        HubError, match=rf"no such repo|status 404 at {hub.url}/absent\.$"
    ) as caught:
        fetch(REPO, only=only)
    assert "secret" not in str(caught.value)


@both_ways
@pytest.mark.parametrize("on", ["HEAD", "GET"])
def test_i12_another_origin_gets_no_token(
    hub: StandInHub, small: dict[str, bytes], only: Any, on: Any
) -> None:
    commit = hub.refs[REPO, "main"]
    with StandInHub() as cdn:
        cdn.add_commit(REPO, small)
        hub.gated.add(REPO)
        to = f"{cdn.url}/{REPO}/resolve/{commit}/{WEIGHTS}"
        hub.fault("redirect", on=on, path=WEIGHTS, to=to)
        fetch(REPO, only=only, token="good-token")
        assert cdn.requests
        assert not any("authorization" in request.headers for request in cdn.requests)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at once what is too slow, and soon what is silent."""
    for name, value in (("SPEED_WINDOW", "0.1"), ("TRIES", "2"), ("LONGEST_WAIT", "0.01")):
        monkeypatch.setenv(f"NUMPY_BERT_FETCH_{name}", value)


@pytest.mark.usefixtures("strict")
@both_ways
@pytest.mark.parametrize("on", ["API", "GET"])
def test_i13_a_byte_now_and_then_is_given_up(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, only: Any, on: Any
) -> None:
    drip = hub.fault("slow", on=on, path="*" if on == "API" else WEIGHTS, chunk=1, delay=0.02)
    started = time.perf_counter()
    with pytest.raises(OfflineError, match=r"bytes came in 0.\d+ seconds; at least 1000 a second"):
        fetch(REPO, only=only)
    assert time.perf_counter() - started < 5
    assert drip.fired == 2
    nothing_half(tmp_path)
    mended(hub, small)


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a hub whose headers have no end: a line of them every 20 milliseconds."""
    ended = Event()

    class Drip(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                while not ended.wait(0.02):
                    self.request.sendall(b"X-Line: 1\r\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        ended.set()
        server.shutdown()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("on", ["API", "GET"])
def test_i13_headers_that_drip_are_given_up(
    hub: StandInHub,
    small: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dripping: str,
    on: str,
) -> None:
    monkeypatch.setenv("NUMPY_BERT_FETCH_TRIES", "1")
    for name in ("ETAG", "DOWNLOAD"):
        monkeypatch.setenv(f"HF_HUB_{name}_TIMEOUT", "1")
    if on == "API":
        monkeypatch.setenv("HF_ENDPOINT", dripping)
    else:
        hub.fault("redirect", path=WEIGHTS, times=1, to=f"{dripping}/x")
    with pytest.raises(OfflineError, match=r"no answer had begun after 1\.1 seconds"):
        fetch(REPO)
    nothing_half(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    mended(hub, small)


@pytest.mark.usefixtures("strict")
def test_i13_a_slow_but_steady_line_is_not(hub: StandInHub, small: dict[str, bytes]) -> None:
    hub.fault("slow", path=WEIGHTS, chunk=len(DATA) // 20, delay=0.02)
    assert contents(fetch(REPO)) == small


def test_i13_only_waiting_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("numpy_bert.loading.patience.time.monotonic", lambda: clock[0])

    def blocks(size: int, seconds: float) -> Iterator[bytes]:
        for _ in range(10):
            clock[0] += seconds
            yield bytes(size)

    patience = Patience(lowest_speed=1000, speed_window=3)
    for size in (1000, 5000):
        for _block in paced(blocks(size, 1), patience):
            clock[0] += 100  # a disk that is slow
    with pytest.raises(TooSlowError, match="2,997 bytes came in 3 seconds; at least 1000 a second"):
        list(paced(blocks(999, 1), patience))
    assert len(list(paced(blocks(0, 1), Patience(lowest_speed=0)))) == 10


@pytest.mark.parametrize(
    ("on", "only"), [("API", None), ("HEAD", "embeddings"), ("GET", None), ("GET", "embeddings")]
)
def test_i13_silence_is_given_up(
    hub: StandInHub,
    small: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    on: Any,
    only: Any,
) -> None:
    monkeypatch.setattr("numpy_bert.loading.patience._TIMEOUT", 0.1)
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setenv(name, "0")  # the default
    monkeypatch.setenv("NUMPY_BERT_FETCH_TRIES", "2")
    hang = hub.fault("hang", on=on, path="*" if on == "API" else WEIGHTS, seconds=60)
    with pytest.raises(OfflineError, match=r"or the connection broke .*timed out"):
        fetch(REPO, only=only)
    assert hang.fired == 2
    hub.closed.set()  # lets it go


@both_ways
@pytest.mark.parametrize("on", ["HEAD", "GET"])
def test_i14_a_branch_that_moves_is_still_one_commit(
    hub: StandInHub, small: dict[str, bytes], only: Any, on: Any
) -> None:
    commit = hub.refs[REPO, "main"]
    other = hub.add_commit(REPO, {**small, "config.json": b"{}"}, branch="other")
    hub.fault("move", on=on, path="*", times=1, sha=other)
    assert fetch(REPO, only=only).name == commit
    assert {r.part["revision"] for r in hub.requests if r.part["verb"] == "resolve"} == {commit}


@pytest.mark.parametrize("how", ["flip", "cut", "dangling"])
def test_i15_a_bad_file_of_the_cache_is_found_and_fetched_again(
    hub: StandInHub, small: dict[str, bytes], how: str
) -> None:
    path = fetch(REPO) / WEIGHTS
    if how == "flip":
        corrupt(path)
    elif how == "cut":
        os.truncate(path.resolve(), 100)
    else:
        path.resolve().unlink()
    with pytest.raises((IntegrityError, OfflineError)):
        fetch(REPO, local_files_only=True)
    assert contents(fetch(REPO)) == small


def test_i15_a_bad_blob_that_another_commit_would_share(
    hub: StandInHub, small: dict[str, bytes]
) -> None:
    path = fetch(REPO) / WEIGHTS
    corrupt(path)
    hub.add_commit(REPO, {**small, "vocab.txt": b"x"})
    assert contents(fetch(REPO)) == {**small, "vocab.txt": b"x"}
    assert path.read_bytes() == small[WEIGHTS]


@pytest.mark.parametrize("text", ["", "\n", "../..", "main", "x" * 40])
def test_i15_a_broken_reference_is_no_path(
    hub: StandInHub, small: dict[str, bytes], tmp_path: Path, text: str
) -> None:
    commit = fetch(REPO).name
    (cache_of(tmp_path) / "refs" / "main").write_text(text)
    with pytest.raises(OfflineError):
        fetch(REPO, local_files_only=True)
    assert fetch(REPO).name == commit


@both_ways
def test_i16_a_copy_that_may_be_old_is_named(
    hub: StandInHub, small: dict[str, bytes], only: Any
) -> None:
    folder = fetch(REPO, only=only)
    hub.close()
    with pytest.warns(UserWarning, match=f"could not be reached.*commit {folder.name} is used"):
        assert fetch(REPO, only=only) == folder


@both_ways
def test_i17_a_token_is_sent_where_it_is_asked_for(
    hub: StandInHub, small: dict[str, bytes], only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "good-token")
    fetch(REPO, only=only)
    fetch(REPO, only=only, token=None)
    assert not any("authorization" in request.headers for request in hub.requests)
    hub.gated.add(REPO)
    assert fetch(REPO, only=only, token=True).name == hub.refs[REPO, "main"]


@pytest.mark.parametrize(
    ("endpoint", "warned"),
    [
        ("http://user:geheim@mirror.example", True),
        ("https://mirror.example", False),
        ("http://127.0.0.1:80", False),
        ("", False),
    ],
)
def test_i17_a_token_that_is_sent_unencrypted_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, warned: bool
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr("numpy_bert.loading.client.model_info", raising(HubError("asked")))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for token in ("hf_secret", False):
            with pytest.raises(HubError, match="asked"):
                fetch(REPO, token=token)
    said = [str(warning.message) for warning in found]
    assert [text.startswith("the token is sent to mirror.example") for text in said] == [
        True
    ] * warned
    assert not any(word in text for text in said for word in ("geheim", "secret"))


@pytest.fixture
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client that reads its variables anew, as the first one of a process does."""
    from huggingface_hub.utils._http import close_session

    close_session()
    yield
    monkeypatch.undo()
    close_session()


PROXIES = {
    "dead": (
        {"HTTPS_PROXY": "http://user:geheim@127.0.0.1:9"},
        OfflineError,
        r"by way of the proxy http://\*\*\*@127\.0\.0\.1:9 \(HTTPS_PROXY and its like\), could not",
    ),
    "no proxy": (
        {"HTTPS_PROXY": "ftp://geheim@x"},
        InputError,
        r"HTTPS_PROXY, HTTP_PROXY and ALL_PROXY must be URLs",
    ),
    "no port": (
        {"HTTPS_PROXY": "http://user:geheim@127.0.0.1:x"},
        InputError,
        r"HTTPS_PROXY, HTTP_PROXY and ALL_PROXY must be URLs such as .*port",
    ),
    "no file": (
        {"SSL_CERT_FILE": "/no/such/file"},
        InputError,
        "SSL_CERT_FILE and SSL_CERT_DIR must name certificates .*No such file",
    ),
    "no certificate": ({"SSL_CERT_FILE": __file__}, InputError, "must name certificates .*certif"),
}


@pytest.mark.usefixtures("fresh_client")
@pytest.mark.parametrize(("variables", "error", "words"), PROXIES.values(), ids=PROXIES)
def test_i18_a_wrong_proxy_or_certificate_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    error: type[NumpyBertError],
    words: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error, match=words) as caught:
        fetch(REPO, cache_dir=tmp_path)
    assert "geheim" not in str(caught.value)


def test_i18_an_untrusted_certificate_names_what_is_trusted() -> None:
    """Verification is never switched off: no `verify=False` is in the package."""
    failure = OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    text = str(requests._unreachable(failure, "a/b"))
    assert "self-signed certificate; SSL_CERT_FILE names the certificates that are trusted" in text
    package = Path(requests.__file__).parent.parent
    assert not [p for p in package.rglob("*.py") if "verify=False" in p.read_text("utf-8")]


@both_ways
def test_i19_a_xet_store_that_cannot_be_reached_is_not_needed(
    hub: StandInHub,
    small: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    only: Any,
) -> None:
    """The catalogue has an error and a hint; the same bytes come over HTTPS instead."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    route = {"X_Xet_Hash": "0" * 64, "X_Xet_Refresh_Route": "http://127.0.0.1:9/xet"}
    headers(hub, "*", **route)
    folder = fetch(REPO, only=only)
    assert (folder / WEIGHTS).stat().st_size > 1000
    assert BertModel.from_pretrained(folder, only=only).config.hidden_size == 24


def test_i3_what_will_not_pass_is_not_tried_again(slept: list[float]) -> None:
    answer = SimpleNamespace(status_code=404, headers={})
    for failure in (ValueError("x"), requests.RefusedError(answer), HubError("x")):
        assert not Tries(Patience(), "x").again(failure)
    assert slept == []
