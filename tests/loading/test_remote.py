"""Ranges against a hub, a mirror or a proxy that answers wrongly: one error, nothing kept."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from numpy_bert import (
    BertModel,
    CheckpointError,
    HubError,
    IntegrityError,
    OfflineError,
    fetch,
)
from numpy_bert.errors import NumpyBertError
from numpy_bert.loading.cache import CachedRepository
from numpy_bert.loading.client import resolve
from numpy_bert.loading.remote import RemoteFile
from tests.loading.test_partial import WEIGHTS, arrays, asked, demo, table
from tests.support.hub import StandInHub
from tests.support.repository import FILES, REPO, cache_of, contents

DATA = FILES[WEIGHTS]
SIZE = len(DATA)


def check_nothing_kept(hub: StandInHub, tmp_path: Path) -> None:
    """Nothing of the weights is in the cache, and nothing is found; without faults it works."""
    assert not (cache_of(tmp_path) / ".numpy_bert_embeddings").exists()
    assert not list(cache_of(tmp_path).rglob("*.tmp"))
    assert not any(WEIGHTS in name for name in contents(cache_of(tmp_path)))
    with pytest.raises(OfflineError):
        fetch(REPO, only="embeddings", local_files_only=True)
    hub.faults.clear()
    found = BertModel.from_pretrained(REPO, only="embeddings")
    assert arrays(found) == demo()


def replace(**headers: str | None) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"kind": "headers", "replace": named}


# A fault on every GET of the weights, the error, and words of its message.
WRONG: dict[str, tuple[dict[str, Any], type[NumpyBertError], str]] = {
    "range ignored": ({"kind": "norange"}, HubError, "ignored the range.*without --only"),
    "login page": ({"kind": "html"}, HubError, "ignored the range"),
    "no Content-Range": (
        replace(Content_Range=None),
        HubError,
        "answered with Content-Range: None",
    ),
    "unknown total": (
        replace(Content_Range="bytes 0-7/*"),
        HubError,
        r"Content-Range: bytes 0-7/\*",
    ),
    "wrong total": (
        replace(Content_Range=f"bytes 0-7/{SIZE + 1}"),
        HubError,
        f"bytes 0-7 of {SIZE} were asked for, the hub answered with Content-Range: bytes 0-7/",
    ),
    "other range": (
        replace(Content_Range=f"bytes 1-8/{SIZE}"),
        HubError,
        "Content-Range: bytes 1-8",
    ),
    "longer range": (
        replace(Content_Range=f"bytes 0-8/{SIZE}"),
        HubError,
        "Content-Range: bytes 0-8",
    ),
    "no unit": (replace(Content_Range=f"0-7/{SIZE}"), HubError, "Content-Range: 0-7"),
    "coloured": (replace(Content_Range="\x1b[31mred"), HubError, r"Content-Range: '\\x1b\[31mred'"),
    "gzip": (replace(Content_Encoding="gzip"), HubError, "Content-Encoding: gzip"),
    "short": ({"kind": "grow", "by": -1}, HubError, "answered with Content-Length: 7"),
    "long": ({"kind": "grow", "by": 1}, HubError, "answered with Content-Length: 9"),
    "empty": ({"kind": "status", "code": 206}, HubError, "Content-Range: None"),
    "416": ({"kind": "status", "code": 416}, HubError, "status 416 at http"),
    "404": ({"kind": "status", "code": 404}, HubError, "status 404 at http"),
    "403": ({"kind": "status", "code": 403}, HubError, "status 403 at http"),
    "401": ({"kind": "status", "code": 401}, HubError, "status 401 at http|no such repository"),
    "500": ({"kind": "status", "code": 500}, HubError, "status 500 at http"),
    "503": ({"kind": "status", "code": 503}, HubError, "status 503 at http"),
    "204": ({"kind": "status", "code": 204}, HubError, "status 204"),
    "cut at once": ({"kind": "cut", "after": -1}, OfflineError, "or the connection broke"),
    "cut": ({"kind": "cut", "after": 3}, OfflineError, "or the connection broke"),
    "loop": ({"kind": "redirect_loop"}, OfflineError, "or the connection broke"),
    "no scheme": ({"kind": "redirect", "to": "file:///etc/passwd"}, OfflineError, "unsupported"),
    "dead host": ({"kind": "redirect", "to": "http://127.0.0.1:9/x"}, OfflineError, "broke"),
}


@pytest.mark.parametrize(("fault", "error", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_one_error_and_nothing_is_kept(
    fault: dict[str, Any],
    error: type[NumpyBertError],
    words: str,
    hub: StandInHub,
    commit: str,
    tmp_path: Path,
) -> None:  # I3, I5, I6, I7, I8, I12
    declared = hub.fault(on="GET", path=WEIGHTS, **fault)
    with pytest.raises(error, match=words) as caught:
        fetch(REPO, only="embeddings")
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{REPO}: ")
    assert caught.value.__cause__ is None
    # What may pass is asked for five times in all, the rest once; a loop is the client's own.
    dead = fault.get("to", "").startswith("http://127.0.0.1:9")
    if fault["kind"] != "redirect_loop":
        passing = fault["kind"] == "cut" or fault.get("code", 0) >= 500 or dead
        assert declared.fired == (5 if passing else 1)
    check_nothing_kept(hub, tmp_path)


# The length, the header, the data: the GETs that a part takes.
each_get = pytest.mark.parametrize("number", [0, 1, 2], ids=["length", "header", "data"])


@each_get
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "norange"}, HubError),
        ({"kind": "grow", "by": -1}, HubError),
        (replace(Content_Range=f"bytes 0-9/{SIZE}"), HubError),
        (replace(Content_Encoding="gzip"), HubError),
        (replace(Etag='"another"'), IntegrityError),
        (replace(Last_Modified="Thu, 01 Jan 1970 00:00:00 GMT"), IntegrityError),
        ({"kind": "cut", "after": 3}, OfflineError),
        ({"kind": "status", "code": 502}, HubError),
        ({"kind": "status", "code": 416}, HubError),
    ],
)
def test_each_answer_is_checked(
    number: int,
    fault: dict[str, Any],
    error: type[NumpyBertError],
    hub: StandInHub,
    commit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NUMPY_BERT_FETCH_TRIES", "1")
    declared = hub.fault(on="GET", path=WEIGHTS, times=1, skip=number, **fault)
    with pytest.raises(error) as caught:
        fetch(REPO, only="embeddings")
    assert type(caught.value) is error
    assert declared.fired == 1
    check_nothing_kept(hub, tmp_path)


@each_get
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut", "after": -1},
        {"kind": "cut", "after": 0},
        {"kind": "cut", "after": 5},
        {"kind": "status", "code": 500},
        {"kind": "status", "code": 504},
        {"kind": "hang", "seconds": 600},
    ],
)
def test_what_breaks_once_starts_its_range_anew(
    number: int,
    fault: dict[str, Any],
    hub: StandInHub,
    commit: str,
    request: pytest.FixtureRequest,
) -> None:  # I3, I6, I13
    if fault["kind"] == "hang":
        request.getfixturevalue("impatient")
    declared = hub.fault(on="GET", path=WEIGHTS, times=1, skip=number, **fault)
    started = time.perf_counter()
    folder = fetch(REPO, only="embeddings")
    assert time.perf_counter() - started < 60  # the client's read timeout is 3 s here
    assert declared.fired == 1
    spans = asked(hub)
    assert len(spans) == 4
    assert spans[number] == spans[number + 1]
    found = BertModel.from_pretrained(folder, only="embeddings")
    assert arrays(found) == demo()


def remote(tmp_path: Path) -> RemoteFile:
    return RemoteFile(resolve(CachedRepository(REPO, tmp_path / "cache"), None, None), WEIGHTS)


@pytest.mark.parametrize("after", [0, 1, 50_000, 99_999])
def test_a_broken_try_is_taken_back(
    hub: StandInHub, commit: str, tmp_path: Path, after: int
) -> None:  # I6, I8
    file = remote(tmp_path)
    hub.fault("cut", path=WEIGHTS, times=2, after=after)
    hub.fault("slow", path=WEIGHTS, chunk=1000, delay=0)
    sink = BytesIO(b"before")
    sink.seek(6)
    reported: list[int] = []
    file.copy(1000, 101_000, sink, reported.append)
    assert sink.getvalue() == b"before" + DATA[1000:101_000]
    assert sum(reported) == 100_000
    assert asked(hub) == [(1000, 101_000)] * 3


def test_an_empty_range_is_not_asked_for(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    assert remote(tmp_path).read(8, 8) == b""
    assert asked(hub) == []


@pytest.mark.parametrize("by", [-1, 1, 100])
def test_a_body_is_counted_where_no_length_is_told(
    hub: StandInHub, commit: str, tmp_path: Path, by: int
) -> None:  # I7
    hub.fault("grow", path=WEIGHTS, by=by)
    hub.fault(path=WEIGHTS, **replace(Content_Length=None))
    words = "1 less" if by < 0 else "more"
    with pytest.raises(HubError, match=rf"8 bytes were asked for, the hub sent {words}\.$"):
        fetch(REPO, only="embeddings")
    check_nothing_kept(hub, tmp_path)


def test_a_body_without_end_is_left_at_the_first_byte_too_many(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:  # I7
    file = remote(tmp_path)
    hub.fault("grow", path=WEIGHTS, by=10_000_000)
    hub.fault("slow", path=WEIGHTS, chunk=10_000, delay=0.1)  # all of it would take 100 seconds
    hub.fault(path=WEIGHTS, **replace(Content_Length=None))
    sink = BytesIO()
    started = time.perf_counter()
    with pytest.raises(HubError, match=r"the hub sent more\.$"):
        file.copy(0, 100_000, sink)
    assert time.perf_counter() - started < 50
    assert len(sink.getvalue()) <= 100_000


def test_a_file_that_is_sent_whole_is_not_read(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:  # I8
    hub.fault("norange", path=WEIGHTS)
    hub.fault("slow", path=WEIGHTS, chunk=1000, delay=0.5)
    started = time.perf_counter()
    with pytest.raises(HubError, match="ignored the range"):
        fetch(REPO, only="embeddings")
    assert time.perf_counter() - started < 60  # all of it would take 25 minutes


@pytest.mark.parametrize("data", [DATA + b"\0", DATA[:-1], b"x" * 9], ids=len)
def test_a_file_of_another_size_between_header_and_data(
    hub: StandInHub, commit: str, tmp_path: Path, data: bytes
) -> None:  # I14
    hub.fault("body", path=WEIGHTS, skip=2, data=data)
    with pytest.raises(HubError, match=r"Content-Range: bytes|status 416"):
        fetch(REPO, only="embeddings")
    check_nothing_kept(hub, tmp_path)


@pytest.mark.parametrize("change", [{"X_Linked_Etag": f'"{"0" * 64}"'}, {"X_Linked_Size": "99"}])
def test_what_the_hub_tells_is_asked_again_at_the_end(
    hub: StandInHub, commit: str, tmp_path: Path, change: dict[str, str]
) -> None:  # I14
    hub.fault(on="HEAD", path=WEIGHTS, skip=1, **replace(**change))
    with pytest.raises(IntegrityError, match=r"changed while it was read.*nothing was kept"):
        fetch(REPO, only="embeddings")
    assert len(asked(hub)) == 3
    check_nothing_kept(hub, tmp_path)


HEADS: dict[str, tuple[dict[str, str | None], type[NumpyBertError], str]] = {
    "path": ({"X_Linked_Etag": "../../../outside"}, IntegrityError, "etag must be a sha256"),
    "short": ({"X_Linked_Etag": '"abc"'}, IntegrityError, "etag must be a sha256 or a git sha1"),
    "md5": ({"X_Linked_Etag": None, "Etag": "0" * 32}, IntegrityError, "etag must be a sha256"),
    "none": ({"X_Linked_Etag": None, "Etag": None}, HubError, "did not tell its etag and size"),
    "no size": ({"X_Linked_Size": "x"}, HubError, "did not tell its etag and size"),
    "negative": ({"X_Linked_Size": "-5"}, HubError, "did not tell its etag and size"),
    "commit": ({"X_Repo_Commit": "0" * 40}, HubError, "was asked for, the hub answered with '000"),
    "no commit": ({"X_Repo_Commit": None}, HubError, "the hub answered with None"),
}


@pytest.mark.parametrize(("change", "error", "words"), HEADS.values(), ids=HEADS)
def test_a_head_that_makes_no_sense_is_refused_first(
    change: dict[str, str | None],
    error: type[NumpyBertError],
    words: str,
    hub: StandInHub,
    commit: str,
    tmp_path: Path,
) -> None:  # I10, I11
    hub.fault(on="HEAD", path=WEIGHTS, **replace(**change))
    with pytest.raises(error, match=words) as caught:
        fetch(REPO, only="embeddings")
    assert type(caught.value) is error
    assert asked(hub) == []
    check_nothing_kept(hub, tmp_path)


@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_head_that_fails(hub: StandInHub, commit: str, tmp_path: Path, code: int) -> None:
    hub.fault("status", on="HEAD", path=WEIGHTS, code=code)
    with pytest.raises(HubError, match=f"status {code} at http"):
        fetch(REPO, only="embeddings")
    check_nothing_kept(hub, tmp_path)


def test_a_gated_repository(hub: StandInHub, commit: str, tmp_path: Path) -> None:  # I5
    hub.gated.add(REPO)
    with pytest.raises(HubError, match=r"is gated.*token=True"):
        fetch(REPO, only="embeddings")
    hub.reset_log()
    fetch(REPO, only="embeddings", token="good-token")
    assert {request.headers.get("authorization") for request in hub.requests} == {
        "Bearer good-token"
    }


@pytest.mark.parametrize("on", ["HEAD", "GET", "*"])
def test_another_origin_gets_no_token(hub: StandInHub, commit: str, on: Any) -> None:  # I12
    hub.gated.add(REPO)
    with StandInHub() as cdn:
        assert cdn.add_commit(REPO, FILES) == commit
        to = f"{cdn.url}/{REPO}/resolve/{commit}/{WEIGHTS}"
        hub.fault("redirect", on=on, path=WEIGHTS, to=to)
        folder = fetch(REPO, only="embeddings", token="good-token")
        assert len(asked(cdn)) == 3
        assert not any("authorization" in request.headers for request in cdn.requests)
        assert all(request.headers["range"] for request in cdn.requests)
    if on != "GET":
        assert asked(hub) == []  # straight to where the hub said that the bytes are
    assert folder == fetch(REPO, only="embeddings", token="good-token")


def test_where_there_is_a_xet_hash_each_request_asks_the_hub(hub: StandInHub, commit: str) -> None:
    with StandInHub() as cdn:
        cdn.add_commit(REPO, FILES)
        to = f"{cdn.url}/{REPO}/resolve/{commit}/{WEIGHTS}"
        hub.fault("redirect", on="*", path=WEIGHTS, to=to)
        xet = replace(X_Xet_Hash="0" * 64, X_Xet_Refresh_Route=f"{hub.url}/refresh")
        hub.fault(on="HEAD", path=WEIGHTS, **xet)
        hub.gated.add(REPO)
        fetch(REPO, only="embeddings", token="good-token")
        assert len(asked(hub)) == len(asked(cdn)) == 3
        assert not any("authorization" in request.headers for request in cdn.requests)


def test_a_hub_that_goes_away_in_the_middle(
    hub: StandInHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RemoteFile.copy

    def leaving(self: RemoteFile, start: int, *rest: Any) -> None:
        if start > 8:
            hub.close()
        real(self, start, *rest)

    monkeypatch.setattr(RemoteFile, "copy", leaving)
    with pytest.raises(OfflineError, match="could not be reached"):
        fetch(REPO, only="embeddings")
    assert not list(cache_of(tmp_path).rglob("*.tmp"))
    assert not (cache_of(tmp_path) / ".numpy_bert_embeddings").exists()


def test_a_flipped_bit_is_what_cannot_be_found(hub: StandInHub, commit: str) -> None:
    """Why a part has to be asked for: here only the whole file would give it away."""
    base, _ = table(DATA)
    hub.fault("flip", path=WEIGHTS, at=base + 500_000)
    found = BertModel.from_pretrained(REPO, only="embeddings")
    assert arrays(found) != demo()
    with pytest.raises(IntegrityError):
        fetch(REPO)


def test_a_corrupt_header_is_found(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.fault("flip", path=WEIGHTS, at=8)
    with pytest.raises(CheckpointError, match=rf"^{REPO}: model\.safetensors: "):
        fetch(REPO, only="embeddings")
    check_nothing_kept(hub, tmp_path)


def test_encrypted_requests_are_not_sent_on_unencrypted() -> None:
    file = object.__new__(RemoteFile)
    file.name, file.where, file.size, file._version = "f", "owner/model: f", 9, None
    ranged = {"Content-Range": "bytes 2-4/9", "Content-Length": "3"}
    for sent, answered, refused in [
        ("https", "https", False),
        ("http", "http", False),  # a mirror that the user named so
        ("http", "https", False),
        ("https", "http", True),
    ]:
        url = f"{sent}://hub.example/f"
        file._commit = SimpleNamespace(url=lambda _, url=url: url)  # type: ignore[assignment]
        first, last = (SimpleNamespace(url=SimpleNamespace(scheme=s)) for s in (answered, sent))
        for hops in ([first], [first, last], [last, first]):
            answer = SimpleNamespace(
                url=hops[-1].url, history=hops[:-1], status_code=206, headers=ranged
            )
            if refused:
                with pytest.raises(HubError, match=r"not encrypted\. Fetch it whole"):
                    file._check(answer, 2, 5)
            else:
                file._check(answer, 2, 5)
