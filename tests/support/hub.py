"""A stand-in Hugging Face hub on loopback: it answers rightly, and wrongly on demand.

It speaks the part of the protocol by which huggingface_hub 1.0 to 2.4 find and fetch the files of
a model. A request is logged, given its right `Answer`, changed by every fault due, and sent.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from dataclasses import replace as edit
from fnmatch import fnmatchcase
from functools import partial
from http.server import BaseHTTPRequestHandler
from os import PathLike, fspath
from socketserver import ThreadingTCPServer  # ThreadingHTTPServer also looks up its own name
from threading import Event, Lock, Thread
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

HTML = b"<!doctype html><html><title>Sign in</title><p>This network needs a password.</p></html>"
PATH = re.compile(
    r"(?P<api>/api/models)?/(?P<repo>[^/]+(?:/[^/]+)??)"
    r"(?:/(?P<verb>resolve|revision|tree)/(?P<revision>[^/]+)(?:/(?P<file>.+))?)?"
)
Files = dict[str, "File"]
Names = Collection[str]
On = Literal["GET", "HEAD", "API", "*"]

# Seconds until an answer that comes is given up: a hub that shares its processors with much else
# may take some. IMPATIENCE is for what never answers.
PATIENCE, IMPATIENCE = 120, 3


def hub_environment(hub: StandInHub, home: str | PathLike[str]) -> dict[str, str]:
    """Variables by which a child uses `hub`, with its cache below `home`.

    Before adding them, drop HF_TOKEN and any other HF_*: HF_HUB_CACHE, say, wins over HF_HOME.
    """
    switches = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    seconds = dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), str(PATIENCE))
    seconds["NUMPY_BERT_FETCH_LONGEST_WAIT"] = "0.01"
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")  # the lower one wins
    return {"HF_ENDPOINT": hub.url, "HF_HOME": fspath(home), **switches, **seconds, **direct}


class File:
    """A file of a commit, with what the hub tells of it in headers and in listings."""

    def __init__(self, data: bytes, in_lfs: bool) -> None:
        size, name = len(data), hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {size}\n"
        stored = pointer.encode() if in_lfs else data  # in git, as a blob:
        oid = hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()
        self.data = data
        self.headers = {"Etag": f'"{oid}"', "Accept-Ranges": "bytes"}
        self.entry: dict[str, object] = {"size": size, "oid": oid, "blobId": oid}
        if in_lfs:
            self.headers |= {"X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(size)}
            lfs = {"size": size, "pointerSize": len(stored), "oid": name, "sha256": name}
            self.entry["lfs"] = lfs


@dataclass(frozen=True)
class Request:
    """A line of the log: the path with its query as sent, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def part(self) -> dict[str, str]:
        """Its api, repo, verb, revision, file; unquoted last, as a revision may hold a slash."""
        match = PATH.fullmatch(urlsplit(self.path).path)
        found = match.groupdict() if match else {}
        return {key: unquote(found.get(key) or "") for key in PATH.groupindex}


@dataclass(frozen=True)
class Answer:
    """What is sent, and how. Of headers that differ in case only the last counts; None drops it."""

    request: Request
    status: int
    headers: Mapping[str, str | None]
    body: bytes = b""
    hold: float = 0.0  # seconds of silence before it
    chunk: int = 1 << 16  # bytes sent at once
    delay: float = 0.0  # seconds between chunks
    end: int | None = None  # of the body: there the socket is shut. -1: before the status line
    grow: int = 0  # bytes by which a range is longer, or shorter, than it claims to be
    move: tuple[str, str] | None = None  # a branch, and the sha it names from now on

    def ranged(self) -> Answer:
        """Keep what the request's Range names, if the answer allows one."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.request.headers.get("range", ""))
        if asked is None or self.status != 200 or self.headers.get("Accept-Ranges") is None:
            return self
        size = len(self.body)
        first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
        status, span = (416, "*") if first > last else (206, f"{first}-{last}")
        headers = {"Content-Range": f"bytes {span}/{size}", **self.headers}
        body = self.body[first : last + 1] + bytes(max(self.grow, 0))
        return edit(
            self, status=status, headers=headers, body=body[: len(body) + min(self.grow, 0)]
        )


def flip(answer: Answer, *, at: int | None = None) -> Answer:
    """Flip the lowest bit of one byte of the file, by default of the middle one."""
    body = bytearray(answer.body)
    body[len(body) // 2 if at is None else at] ^= 1
    return edit(answer, body=bytes(body))


def html(answer: Answer, *, same_size: bool = False) -> Answer:
    """Send a login page, as captive portals do; at will just as long as the file."""
    body = HTML.ljust(len(answer.body))[: len(answer.body)] if same_size else HTML
    return edit(answer, status=200, headers={"Content-Type": "text/html"}, body=body)


def truncate(answer: Answer, *, drop: int = 1) -> Answer:
    """Leave out the last bytes, and lie about the size wherever it is told."""
    body = answer.body[: len(answer.body) - drop]
    return edit(answer, headers={**answer.headers, "X-Linked-Size": str(len(body))}, body=body)


# The keywords of each are the arguments that `StandInHub.fault` takes for it.
FAULTS: dict[str, Callable[..., Answer]] = {
    "cut": lambda it, *, after: edit(it, end=after),  # -1: not even the status line
    "body": lambda it, *, data: edit(it, body=data),
    "flip": flip,
    "grow": lambda it, *, by: edit(it, grow=by),
    "hang": lambda it, *, seconds: edit(it, hold=seconds),
    "headers": lambda it, *, replace: edit(it, headers={**it.headers, **replace}),
    "html": html,
    "move": lambda it, *, sha, branch="main": edit(it, move=(branch, sha)),
    "norange": lambda it: edit(it, headers={**it.headers, "Accept-Ranges": None}),
    "redirect": lambda it, *, to: edit(it, status=302, headers={**it.headers, "Location": to}),
    "redirect_loop": lambda it: FAULTS["redirect"](it, to=it.request.path),
    "slow": lambda it, *, chunk, delay: edit(it, chunk=chunk, delay=delay),
    "status": lambda it, *, code=503: edit(it, status=code, body=b""),
    "truncate": truncate,
}


@dataclass
class Fault:
    """A fault as declared; `fired` tells how often it was applied."""

    spoil: Callable[[Answer], Answer]
    on: On
    path: str
    times: int | None
    skip: int
    fired: int = 0

    def is_due(self, request: Request) -> bool:
        """Whether it concerns the request, now, and is not used up."""
        on, name = request.method, request.part["file"]
        if request.part["api"]:
            on, name = "API", urlsplit(request.path).path.removeprefix("/api/models/")
        concerned = self.on in ("*", on) and fnmatchcase(name, self.path)
        if concerned and self.skip:
            self.skip -= 1
            return False
        return concerned and (self.times is None or self.fired < self.times)


class StandInHub(ThreadingTCPServer):
    """A hub on 127.0.0.1, at `url`, from construction until `close` or the end of a `with`."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[Request] = []  # the log
        self.gated: set[str] = set()  # repositories that want "Bearer good-token"
        self.commits: dict[str, dict[str, Files]] = {}  # by repository, then by sha
        self.refs: dict[tuple[str, str], str] = {}  # (repository, branch or tag) -> sha
        self.faults: list[Fault] = []
        self.closed = Event()
        self._crash: BaseException | None = None
        self._lock = Lock()
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.close()
        if self._crash is not None:
            raise RuntimeError(f"the stand-in hub itself failed: {self._crash!r}")

    def close(self) -> None:
        """Refuse connections, and end what hangs or drips. Twice is once."""
        self.closed.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep what went wrong here, unless the client has merely left."""
        if not isinstance(sys.exc_info()[1], OSError):
            self._crash = sys.exc_info()[1]

    def add_commit(
        self, repo: str, files: Mapping[str, bytes], branch: str = "main", lfs: Names | None = None
    ) -> str:
        """Make `files` (with `lfs`, or *.safetensors, in LFS) a branch's head; return its sha."""
        large = [path for path in files if path.endswith(".safetensors")] if lfs is None else lfs
        commit = {path: File(files[path], path in large) for path in sorted(files)}
        commits = self.commits.setdefault(repo, {})
        listing = [len(commits), *((path, file.entry) for path, file in commit.items())]
        sha = str(File(repr(listing).encode(), in_lfs=False).entry["oid"])
        commits[sha] = commit
        self.refs[repo, branch] = sha
        return sha

    def fault(
        self,
        kind: str,
        *,
        on: On = "GET",
        path: str = "*",
        times: int | None = None,
        skip: int = 0,
        **how: Any,
    ) -> Fault:
        """Declare a fault of the table `FAULTS`, for ever or a number of times, after some spared.

        It concerns files whose name `path` matches or, with on="API", requests of which it
        matches what follows /api/models/. Several apply in the order of declaration.
        """
        inspect.signature(FAULTS[kind]).bind(None, **how)
        self.faults.append(Fault(partial(FAULTS[kind], **how), on, path, times, skip))
        return self.faults[-1]

    def reset_log(self) -> None:
        """Forget all requests."""
        self.requests.clear()

    def answer(self, request: Request) -> Answer:
        """Log the request, find its right answer, spoil it."""
        with self._lock:
            self.requests.append(request)
            answer = self._right_answer(request)
            for fault in self.faults:
                if fault.is_due(request):
                    fault.fired += 1
                    answer = fault.spoil(answer)
            if answer.move is not None:
                self.refs[request.part["repo"], answer.move[0]] = answer.move[1]
        return answer.ranged()

    def _right_answer(self, request: Request) -> Answer:
        def refuse(status: int, code: str, **more: str) -> Answer:
            return Answer(request, status, {"X-Error-Code": code, "X-Error-Message": code} | more)

        repo, verb, name = (request.part[key] for key in ("repo", "verb", "file"))
        if repo not in self.commits or request.method not in ("GET", "HEAD"):
            return refuse(404, "RepoNotFound")
        if repo in self.gated and request.headers.get("authorization") != "Bearer good-token":
            return refuse(401, "GatedRepo")
        revision = request.part["revision"] or "main"
        sha = self.refs.get((repo, revision), revision)
        if (files := self.commits[repo].get(sha)) is None:
            return refuse(404, "RevisionNotFound")
        if verb != "resolve":
            content = json.dumps(self._listing(request, sha, files)).encode()
            return Answer(request, 200, {"Content-Type": "application/json"}, content)
        if (file := files.get(name)) is None:
            return refuse(404, "EntryNotFound", **{"X-Repo-Commit": sha})
        return Answer(request, 200, {"X-Repo-Commit": sha} | file.headers, file.data)

    def _listing(self, request: Request, sha: str, files: Files) -> object:
        repo, query = request.part["repo"], urlsplit(request.path).query.lower()
        if request.part["verb"] == "tree":
            names = [name for name in files if "recursive=true" in query or "/" not in name]
            return [{"type": "file", "path": name, **files[name].entry} for name in names]
        blobs = "blobs=true" in query
        siblings = [{"rfilename": k} | (f.entry if blobs else {}) for k, f in files.items()]
        about = {"id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []}
        gated = "auto" if repo in self.gated else False
        return {**about, "private": False, "gated": gated, "downloads": 0, "likes": 0}


class Handler(BaseHTTPRequestHandler):
    """Passes requests to the hub, and sends what it answers."""

    protocol_version = "HTTP/1.1"
    server: StandInHub

    def do_GET(self) -> None:
        """Answer, and keep nothing alive: a closed hub must not go on answering."""
        hub = self.server
        asked = {key.lower(): value for key, value in self.headers.items()}
        answer = hub.answer(Request(self.command, self.path, asked))
        self.close_connection = True
        if hub.closed.wait(answer.hold) or answer.end == -1:
            return
        self.send_response_only(answer.status)
        sent: dict[str, str | None] = {"Content-Length": str(len(answer.body))}
        sent |= {name.title(): value for name, value in answer.headers.items()}
        for name, value in {**sent, "Connection": "close"}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        body = b"" if self.command == "HEAD" else answer.body[: answer.end]
        for start in range(0, len(body), answer.chunk):
            self.wfile.write(body[start : start + answer.chunk])
            if hub.closed.wait(answer.delay):
                return

    do_HEAD = do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Stay quiet."""
