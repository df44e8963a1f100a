"""The stand-in hub, proved against huggingface_hub itself."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

from tests.support.hub import PATIENCE, StandInHub, hub_environment

Reply = tuple[int, dict[str, str], bytes]
REPO = "org/name"
WEIGHTS = "model.safetensors"
FILES = {"config.json": b"{}", "1_Pooling/config.json": b"[1]\n", WEIGHTS: bytes(range(256)) * 9}
BRACES = "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # printf {} | git hash-object --stdin
SHA256 = hashlib.sha256(FILES[WEIGHTS]).hexdigest()


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add_commit(REPO, FILES)
        yield hub


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


def fetch(hub: StandInHub, cache: Path, name: str = WEIGHTS, **options: Any) -> Path:
    """Download as a user would, without this machine's token and with much patience."""
    options = {"repo_id": REPO, "token": False, "etag_timeout": PATIENCE, **options}
    return Path(hf_hub_download(filename=name, endpoint=hub.url, cache_dir=cache, **options))


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives or raises: the transport errors belong to httpx or httpx2."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001
        return error


def ask(hub: StandInHub, name: str = WEIGHTS, method: str = "GET", **headers: str) -> Reply:
    """Ask without huggingface_hub."""
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, f"/{REPO}/resolve/main/{name}", headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


# Right answers


@pytest.mark.parametrize(("name", "etag"), [("config.json", BRACES), (WEIGHTS, SHA256)])
def test_cold_and_warm(hub: StandInHub, tmp_path: Path, name: str, etag: str) -> None:
    path = fetch(hub, tmp_path, name)
    sha, folder = hub.refs[REPO, "main"], tmp_path / "models--org--name"
    assert path.read_bytes() == FILES[name]
    assert path == folder / "snapshots" / sha / name
    assert path.resolve() == folder / "blobs" / etag
    assert (folder / "refs" / "main").read_text() == sha
    resolve = f"/{REPO}/resolve/main/{name}"
    assert [(r.method, r.path) for r in hub.requests] == [("HEAD", resolve), ("GET", resolve)]
    assert all("authorization" not in request.headers for request in hub.requests)
    hub.reset_log()
    assert fetch(hub, tmp_path, name, revision=sha) == path
    assert hub.requests == []


def test_the_head_of_lfs_and_of_small_files(hub: StandInHub) -> None:
    status, headers, body = ask(hub, WEIGHTS, "HEAD")
    assert (status, body, headers["connection"]) == (200, b"", "close")
    assert headers["content-length"] == headers["x-linked-size"] == "2304"
    assert headers["x-linked-etag"] == f'"{SHA256}"' != headers["etag"]
    _, headers, _ = ask(hub, "config.json", "HEAD")
    assert headers["etag"] == f'"{BRACES}"'
    assert headers["x-repo-commit"] == hub.refs[REPO, "main"]
    assert "x-linked-etag" not in headers


@pytest.mark.parametrize(
    ("wanted", "told", "body"),
    [("2300-", "2300-2303", b"\xfc\xfd\xfe\xff"), ("1-2", "1-2", b"\1\2"), ("2304-", "*", b"")],
)
def test_ranges(hub: StandInHub, wanted: str, told: str, body: bytes) -> None:
    status, headers, got = ask(hub, Range=f"bytes={wanted}")
    assert (status, headers["content-range"]) == (206 if body else 416, f"bytes {told}/2304")
    assert got == body
    hub.fault("norange")
    assert ask(hub, Range=f"bytes={wanted}")[::2] == (200, FILES[WEIGHTS])


@pytest.mark.parametrize(("by", "body"), [(2, b"\0\1\2\3\4\0\0"), (-3, b"\0\1")])
def test_a_range_longer_or_shorter_than_it_claims(hub: StandInHub, by: int, body: bytes) -> None:
    hub.fault("grow", by=by)
    status, headers, got = ask(hub, Range="bytes=0-4")
    assert (status, headers["content-range"], got) == (206, "bytes 0-4/2304", body)
    assert headers["content-length"] == str(len(body))
    assert ask(hub)[2] == FILES[WEIGHTS]


def test_a_range_of_another_file(hub: StandInHub) -> None:
    hub.fault("body", data=b"another")
    _, headers, got = ask(hub, Range="bytes=0-2")
    assert (headers["content-range"], got) == ("bytes 0-2/7", b"ano")


def test_the_api(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    sha = hub.refs[REPO, "main"]
    assert api.model_info(REPO).sha == sha
    assert {file.rfilename for file in api.model_info(REPO).siblings or []} == set(FILES)
    files = {f.rfilename: f for f in api.model_info(REPO, files_metadata=True).siblings or []}
    assert (files["config.json"].blob_id, files["config.json"].size) == (BRACES, 2)
    assert (lfs := files[WEIGHTS].lfs)
    assert (lfs.sha256, lfs.size) == (SHA256, 2304)
    assert set(api.list_repo_files(REPO, revision=sha)) == set(FILES)
    assert {entry.path for entry in api.list_repo_tree(REPO)} == {"config.json", WEIGHTS}
    if verify := getattr(api, "verify_repo_checksums", None):  # not yet in 1.0
        paths = [fetch(hub, tmp_path, name) for name in FILES]
        assert verify(REPO, cache_dir=tmp_path).checked_count == len(paths)
        assert verify(REPO, cache_dir=tmp_path).mismatches == []


def test_old_commits_and_tags(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    first = hub.refs[REPO, "main"]
    second = hub.add_commit(REPO, {"config.json": b"[]"}, branch="refs/pr/1")
    hub.refs[REPO, "v1.0"] = first
    revisions = {"main": first, "v1.0": first, "refs/pr/1": second, second: second}
    assert {r: api.model_info(REPO, revision=r).sha for r in revisions} == revisions
    assert fetch(hub, tmp_path, "config.json", revision="refs/pr/1").read_bytes() == b"[]"
    assert fetch(hub, tmp_path, "config.json", revision=first).read_bytes() == b"{}"
    third = hub.add_commit("bert", {"a.bin": b"x"}, lfs=("a.bin",))
    assert api.model_info("bert").sha == third
    path = fetch(hub, tmp_path, "a.bin", repo_id="bert")
    assert path.resolve().name == hashlib.sha256(b"x").hexdigest()


def test_shas_depend_on_contents_and_count_only(hub: StandInHub) -> None:
    with StandInHub() as other:
        shas = [other.add_commit(REPO, files) for files in (FILES, FILES, {"config.json": b""})]
    assert shas[0] == hub.refs[REPO, "main"]
    assert len({int(sha, 16) for sha in shas if len(sha) == 40}) == 3


def test_refusals(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    def error(**options: Any) -> Any:
        return outcome(lambda: fetch(hub, tmp_path, **options))

    assert isinstance(error(repo_id="org/none"), errors.RepositoryNotFoundError)
    assert isinstance(outcome(lambda: api.model_info("none")), errors.RepositoryNotFoundError)
    assert isinstance(error(revision="none"), errors.RevisionNotFoundError)
    assert isinstance(error(name="none.json"), errors.RemoteEntryNotFoundError)
    hub.gated.add(REPO)
    assert isinstance(refused := error(), errors.GatedRepoError)
    assert refused.response.status_code == 401
    assert isinstance(error(token="bad-token"), errors.GatedRepoError)
    assert isinstance(outcome(lambda: api.model_info(REPO)), errors.GatedRepoError)
    assert fetch(hub, tmp_path, token="good-token").read_bytes() == FILES[WEIGHTS]


# Faults


BELIEVED: dict[str, Any] = {"flip": {}, "html": {"same_size": True}, "truncate": {"on": "*"}}
HANG = {"kind": "hang", "seconds": 600}
DRIP = {"kind": "slow", "chunk": 8, "delay": 10}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("truncate", {"drop": 3}, "should be of size 2304 but has size 2301"),
    ("html", {}, "should be of size 2304 but has size"),
    ("headers", {"replace": {"content-length": "7"}}, "should be of size 2304 but has size 7"),
    ("status", {"code": 503}, "503"),
    ("redirect_loop", {}, "redirects"),
]


@pytest.mark.parametrize("kind", BELIEVED)
def test_wrong_bodies_that_are_believed(hub: StandInHub, tmp_path: Path, kind: str) -> None:
    hub.fault(kind, **BELIEVED[kind])
    path = fetch(hub, tmp_path)
    got, right = path.read_bytes(), FILES[WEIGHTS]
    assert path.resolve().name == SHA256 != hashlib.sha256(got).hexdigest()
    if kind == "flip":
        assert bin(int.from_bytes(got) ^ int.from_bytes(right)).count("1") == 1
    assert len(got) == len(right) - (kind == "truncate")
    assert got.startswith(b"<!doctype html>") == (kind == "html")


@pytest.mark.parametrize(("kind", "how", "message"), REFUSED)
def test_wrong_answers_that_are_refused(
    hub: StandInHub, tmp_path: Path, kind: str, how: dict[str, Any], message: str
) -> None:
    hub.fault(kind, **how)
    assert message in str(outcome(lambda: fetch(hub, tmp_path)))
    assert not list(tmp_path.glob("*/snapshots/*/*"))


def test_cut_bodies_are_resumed_or_refused(hub: StandInHub, tmp_path: Path) -> None:
    large = bytes(range(256)) * (11 << 12)  # resumed are only whole chunks, of 10 MiB
    hub.add_commit(REPO, {WEIGHTS: large})
    fault = hub.fault("cut", after=(10 << 20) + 5, times=1)
    result = outcome(lambda: fetch(hub, tmp_path))
    assert fault.fired == 1
    if isinstance(result, Path):
        assert result.read_bytes() == large
        assert hub.requests[-1].headers["range"] == f"bytes={10 << 20}-"
    else:  # 1.0 does not resume
        assert "peer closed connection" in str(result)
        assert not list(tmp_path.glob("*/snapshots/*/*"))


def test_a_cut_is_where_it_was_asked_for(hub: StandInHub) -> None:
    hub.fault("cut", after=5, times=1)
    error = outcome(lambda: ask(hub))
    assert isinstance(error, http.client.IncompleteRead)
    assert error.partial == FILES[WEIGHTS][:5]
    hub.fault("cut", after=-1)
    assert isinstance(outcome(lambda: ask(hub)), http.client.RemoteDisconnected)


def test_faults_choose_their_requests(hub: StandInHub, api: HfApi) -> None:
    fault = hub.fault("status", path="*config.json", code=500, times=2)
    assert ask(hub)[0] == ask(hub, "config.json", "HEAD")[0] == 200
    assert [ask(hub, "1_Pooling/config.json")[0] for _ in range(3)] == [500, 500, 200]
    assert fault.fired == 2
    hub.fault("status", on="API", path="*/tree/*", code=418)
    assert api.model_info(REPO).sha
    assert isinstance(outcome(lambda: api.list_repo_files(REPO)), errors.HfHubHTTPError)
    hub.faults.clear()
    assert len(api.list_repo_files(REPO)) == 3


def test_a_fault_spares_the_first_requests(hub: StandInHub) -> None:
    fault = hub.fault("status", path=WEIGHTS, code=500, skip=1, times=1)
    assert [ask(hub, name)[0] for name in ("config.json", WEIGHTS, WEIGHTS, WEIGHTS)] == [
        200,
        200,
        500,
        200,
    ]
    assert fault.fired == 1


def test_faults_apply_one_after_the_other(hub: StandInHub) -> None:
    hub.fault("status", on="*", code=429)
    hub.fault("headers", on="*", replace={"retry-after": "7", "ETag": None})
    status, headers, _ = ask(hub, Range="bytes=1-")
    assert (status, headers["retry-after"], headers["x-linked-size"]) == (429, "7", "2304")
    assert "etag" not in headers


def test_a_misspelt_fault_is_refused_at_once(hub: StandInHub) -> None:
    with pytest.raises(KeyError):
        hub.fault("flop")
    with pytest.raises(TypeError):
        hub.fault("cut", before=3)


def test_hostile_headers_arrive(hub: StandInHub, tmp_path: Path) -> None:
    hub.fault("headers", on="HEAD", replace={"X-Linked-Etag": '"../../../../x"'}, times=1)
    url = hf_hub_url(REPO, WEIGHTS, endpoint=hub.url)
    assert get_hf_file_metadata(url, token=False).etag == "../../../../x"
    hub.fault("headers", on="HEAD", replace={"X-Repo-Commit": None})
    assert isinstance(outcome(lambda: fetch(hub, tmp_path)), OSError)
    assert {request.method for request in hub.requests} == {"HEAD"}


def test_a_second_hub_is_the_cdn_and_gets_no_token(hub: StandInHub, tmp_path: Path) -> None:
    with StandInHub() as cdn:
        cdn.add_commit(REPO, FILES)
        hub.fault("redirect", on="HEAD", to=f"{cdn.url}/{REPO}/resolve/main/{WEIGHTS}")
        assert fetch(hub, tmp_path, token="secret").read_bytes() == FILES[WEIGHTS]
        assert [request.method for request in hub.requests] == ["HEAD"]
        assert "authorization" not in cdn.requests[-1].headers


def test_the_branch_moves_behind_an_answer(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    old = hub.refs[REPO, "main"]
    new = hub.add_commit(REPO, {"config.json": b"[]"}, branch="next")
    fault = hub.fault("move", on="API", sha=new)
    assert [api.model_info(REPO).sha for _ in range(2)] == [old, new]
    hub.faults.remove(fault)
    hub.refs[REPO, "main"] = old
    hub.fault("move", on="HEAD", sha=new)
    path = fetch(hub, tmp_path, "config.json")  # HEAD of the old commit, GET of the new one
    assert (path.parent.name, path.resolve().name, path.read_bytes()) == (old, BRACES, b"[]")


@pytest.mark.parametrize("how", [HANG, DRIP])
def test_what_hangs_or_drips_ends_with_the_hub(how: dict[str, Any]) -> None:
    with StandInHub() as hub:
        hub.add_commit(REPO, FILES)
        hub.fault(**how)
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(outcome(lambda: ask(hub))))
        thread.start()
        while not hub.requests:
            time.sleep(0.01)
    thread.join(60)
    assert not thread.is_alive()  # the hang, or the drip, would take ten minutes or more
    assert isinstance(results[0], http.client.HTTPException)


def test_slow_and_hang(hub: StandInHub, api: HfApi) -> None:
    hub.fault("slow", chunk=1000, delay=0.06)
    start = time.monotonic()
    assert ask(hub)[2] == FILES[WEIGHTS]
    assert time.monotonic() - start >= 0.1
    hub.fault("hang", on="API", seconds=600)
    assert "timed out" in str(outcome(lambda: api.model_info(REPO, timeout=0.2)))


def test_a_closed_hub_is_gone(hub: StandInHub) -> None:
    assert ask(hub)[0] == 200
    hub.close()
    assert isinstance(outcome(lambda: ask(hub)), ConnectionRefusedError)
    hub.close()


def test_a_failure_of_the_hub_itself_is_not_taken_for_a_fault() -> None:
    hub = StandInHub()
    hub.add_commit(REPO, {WEIGHTS: b""})
    hub.fault("flip")  # of an empty body
    assert isinstance(outcome(lambda: ask(hub)), http.client.RemoteDisconnected)
    with pytest.raises(RuntimeError, match="stand-in hub itself failed"):
        hub.__exit__()


def test_a_child_process_uses_the_hub_by_its_environment(hub: StandInHub, tmp_path: Path) -> None:
    program = f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, 'config.json'))"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    clean |= hub_environment(hub, tmp_path)
    output = subprocess.check_output([sys.executable, "-c", program], env=clean, text=True)
    path = Path(output.strip())
    assert path.read_bytes() == b"{}"
    assert path.is_relative_to(tmp_path / "hub")
    assert len(hub.requests) == 2
