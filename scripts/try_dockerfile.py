"""Runs the steps of scripts/Dockerfile in empty roots, for a machine without Docker; needs root.

    python scripts/try_dockerfile.py PATH_OF_MINILM BASE          # some minutes
    python scripts/try_dockerfile.py --wheels musllinux_1_2_x86_64

BASE is the root that stands for python:slim. If it is not there it is made: a minimal Debian by
debootstrap, and the Python that runs this script, copied to /usr/local. Each stage is a copy of it,
in which COPY copies and RUN is run by chroot. Then ENTRYPOINT is run as the image's user, without a
network and with the root read-only, the health check is asked until it is content, a vector is
fetched, and SIGTERM ends it. The model comes from PATH_OF_MINILM, through a stand-in for the hub.

That is not Docker: there are no layers and no limits, the command is not the first process, and the
base is not the published one, whose size is not known here. Certificates are lent to RUN.
--wheels asks pip for the wheels of another platform, such as Alpine's, and runs nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "scripts" / "Dockerfile"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# What a Python in /usr/local needs of Debian, as python:slim has it.
DEBIAN = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,"
    "libssl3,libuuid1,netbase,tzdata,zlib1g"
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "tmp/certificates.pem"
ASK = """
import http.client, json
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
body = json.dumps({"input": "The sun is shining.", "model": %r})
connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


@dataclass
class Stage:
    """An image in the making."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Return where a path of the image lies here."""
        return self.root / Path("/", self.folder, name).relative_to("/")

    def filled(self, text: str) -> str:
        """Return a text with its variables replaced; one that is not set is empty."""
        known = {**self.arguments, **self.environment}
        return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], ""), text)


class Builder:
    """Carries out the instructions of a Dockerfile."""

    def __init__(self, base: Path, folder: Path, lent: dict[str, str]) -> None:
        self.base, self.folder, self.lent = base, folder, lent
        self.stages: dict[str, Stage] = {}
        self.globals: dict[str, str] = {}
        self.stage: Stage | None = None

    def build(self, text: str) -> Stage:
        """Return the last stage."""
        for name, rest in instructions(text):
            print(f"{name} {rest}", file=sys.stderr)
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise SystemExit(f"{DOCKERFILE.name}: {name} is not understood here")
            method(rest)
        return self._current()

    def _current(self) -> Stage:
        """Return the stage that the instructions are about."""
        if self.stage is None:
            raise SystemExit(f"{DOCKERFILE.name}: the first instruction is not FROM")
        return self.stage

    def _from(self, rest: str) -> None:
        """Begin a stage with a copy of the base, whichever it names."""
        _, *named = re.split(r" AS ", rest, flags=re.I)
        name = named[0] if named else str(len(self.stages))
        self.stage = self.stages[name] = Stage(self.folder / name)
        subprocess.run(["cp", "-a", "--reflink=auto", self.base, self.stage.root], check=True)

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        if self.stage is None:
            self.globals[name] = value
        else:
            self.stage.arguments[name] = value or self.globals.get(name, "")

    def _env(self, rest: str) -> None:
        stage = self._current()
        filled = [stage.filled(word) for word in shlex.split(rest)]
        stage.environment |= dict(word.split("=", 1) for word in filled)

    def _workdir(self, rest: str) -> None:
        stage = self._current()
        stage.folder = stage.filled(rest)
        stage.path(".").mkdir(parents=True, exist_ok=True)

    def _user(self, rest: str) -> None:
        self._current().user = rest

    def _expose(self, rest: str) -> None:
        """Do nothing, as Docker does."""

    def _copy(self, rest: str) -> None:
        """Copy as Docker does: a file into a folder, or the contents of a folder."""
        stage, (*names, to) = self._current(), shlex.split(rest)
        root = ROOT
        if names[0].startswith("--from="):
            root = self.stages[names.pop(0).removeprefix("--from=")].root
        for name in names:
            source, target = root / name.lstrip("/"), stage.path(to)
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__") if root == ROOT else None
                shutil.copytree(source, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(source, target / source.name if to.endswith("/") else target)

    def _run(self, rest: str) -> None:
        """Run a command in the stage, with the network."""
        stage = self._current()
        variables = {**stage.arguments, **stage.environment, **self.lent, "HOME": "/root"}
        with lent_files(stage.root):
            command = ["chroot", str(stage.root), "/bin/sh", "-c", f"cd {stage.folder} && {rest}"]
            subprocess.run(command, check=True, env=variables, stdout=sys.stderr)

    def _healthcheck(self, rest: str) -> None:
        self._current().health = json.loads(rest[rest.index("CMD ") + 4 :])

    def _entrypoint(self, rest: str) -> None:
        self._current().command = json.loads(rest)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile and what stands behind each."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


@contextlib.contextmanager
def lent_files(root: Path) -> Iterator[None]:
    """Let a root reach what this machine reaches, while the block lasts."""
    held = {"etc/resolv.conf": Path("/etc/resolv.conf"), "etc/hosts": Path("/etc/hosts")}
    held[CERTIFICATES] = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    before = {name: root / name for name in held}
    kept = {name: path.read_bytes() if path.exists() else None for name, path in before.items()}
    for name, path in held.items():
        shutil.copy(path, root / name)
    try:
        yield
    finally:
        for name, path in before.items():
            data = kept[name]
            path.unlink() if data is None else path.write_bytes(data)


def make_base(base: Path) -> None:
    """Make a minimal Debian with this Python in /usr/local, as python:slim has it."""
    release = re.search(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text("utf-8"))
    assert release is not None
    command = ["debootstrap", "--variant=minbase", f"--include={DEBIAN}", release[1], str(base)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    python, number = Path(sys.base_prefix), f"{sys.version_info.major}.{sys.version_info.minor}"
    local, name = base / "usr" / "local", f"python{number}"
    skipped = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "*.a")
    shutil.copytree(python / "lib" / name, local / "lib" / name, symlinks=True, ignore=skipped)
    for library in (python / "lib").glob("libpython*.so*"):
        shutil.copy(library, local / "lib", follow_symlinks=False)
    shutil.copy(python / "bin" / name, local / "bin")
    for link in ("python", "python3"):
        (local / "bin" / link).symlink_to(name)
    for words in (["ldconfig"], ["python", "-m", "ensurepip"]):
        subprocess.run(["chroot", base, *words], check=True, env={"PATH": PATH}, stdout=sys.stderr)
    (local / "bin" / "pip").symlink_to("pip3")


def start(stage: Stage) -> subprocess.Popen[bytes]:
    """Run the image's command as its user, without a network and with its root read-only."""
    root = shlex.quote(str(stage.root))
    prepared = (
        f"mount --bind {root} {root} && mount -t proc proc {root}/proc && "
        f"mount --bind /dev {root}/dev && mount -o remount,ro,bind {root} && "
        f"ip link set lo up && exec chroot --groups= --userspec={stage.user}:0 {root} "
        + shlex.join(stage.command)
    )
    command = ["unshare", "--net", "--mount", "/bin/sh", "-c", prepared]
    return subprocess.Popen(command, env={**stage.environment, "HOME": "/"})


def beside(server: subprocess.Popen[bytes], stage: Stage, command: list[str]) -> str | None:
    """Run a command where the server runs; return what it prints, or None if it fails."""
    entered = ["nsenter", f"--target={server.pid}", "--net", "--mount"]
    held = ["chroot", "--groups=", f"--userspec={stage.user}:0", str(stage.root)]
    done = subprocess.run(
        [*entered, *held, *command],
        check=False,
        capture_output=True,
        text=True,
        env=stage.environment,
    )
    return done.stdout if done.returncode == 0 else None


def use(stage: Stage) -> None:
    """Start the image, wait until it is healthy, fetch a vector, and end it."""
    began = time.monotonic()
    server = start(stage)
    try:
        while beside(server, stage, stage.health) is None:
            if server.poll() is not None or time.monotonic() - began > 60:
                raise SystemExit("the health check was not content within a minute")
        print(f"healthy after {time.monotonic() - began:.1f} s")
        answer = beside(server, stage, ["python", "-c", ASK % stage.environment["MODEL"]]) or "?"
        status, _, body = answer.partition(" ")
        if status != "200":
            raise SystemExit(f"the answer was {answer[:300]}")
        vector = json.loads(body)["data"][0]["embedding"]
        print(f"a vector of {len(vector)}: {', '.join(f'{x:.4f}' for x in vector[:4])}, ...")
        status = Path(f"/proc/{server.pid}/status").read_text("utf-8")
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        print(f"user {status.split('Uid:')[1].split()[0]}, at most {peak:.0f} MB")
        outside = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
        print(
            "a network:",
            "no" if beside(server, stage, ["python", "-c", outside]) is None else "YES",
        )
    finally:
        server.terminate()
    print(f"SIGTERM: it ended with {server.wait(60)}")


def megabytes(path: Path) -> float:
    """Return what a folder takes on the disk, in MB of 10**6 bytes."""
    done = subprocess.run(["du", "-sB1", path], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0]) / 1e6


@contextlib.contextmanager
def stand_in_hub(model: Path) -> Iterator[dict[str, str]]:
    """Serve a model as MiniLM on loopback; yield the variables by which it is found."""
    sys.path.insert(0, str(ROOT))
    from tests.support.hub import StandInHub, hub_environment

    files = [path for path in model.rglob("*") if path.is_file()]
    with StandInHub() as hub:
        hub.add_commit(MODEL, {p.relative_to(model).as_posix(): p.read_bytes() for p in files})
        yield {k: v for k, v in hub_environment(hub, "/").items() if k != "HF_HOME"}


def wheels(platform: str) -> None:
    """Print the wheels that the image would be made of on a platform, and their sizes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    given = ["--platform", platform, "--only-binary=:all:", "-c", ROOT / "scripts/constraints.txt"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "-d", folder, *given, *needs]
        subprocess.run(command, check=True)
        found = sorted(Path(folder).iterdir(), key=lambda path: -path.stat().st_size)
        for path in found:
            print(f"{path.stat().st_size / 1e6:6.2f} MB  {path.name}")
        print(f"{sum(path.stat().st_size for path in found) / 1e6:6.2f} MB  {len(found)} wheels")


def main() -> None:
    """Build, run, ask, and end the image; or list wheels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", metavar="PATH_OF_MINILM")
    parser.add_argument("base", type=Path, nargs="?", metavar="BASE", help="the root, kept")
    parser.add_argument("--wheels", metavar="PLATFORM", help="list the wheels of a platform")
    options = parser.parse_args()
    if options.wheels is not None:
        wheels(options.wheels)
        return
    if options.base is None:
        parser.error("PATH_OF_MINILM and BASE must be given")
    if not options.base.exists():
        make_base(options.base.resolve())
    lent = {"PIP_CERT": f"/{CERTIFICATES}", "PIP_ROOT_USER_ACTION": "ignore"}
    with tempfile.TemporaryDirectory() as folder, stand_in_hub(options.checkpoint) as hub:
        stage = Builder(options.base, Path(folder), lent | hub).build(DOCKERFILE.read_text("utf-8"))
        for name in ("/venv", "/models"):
            print(f"{megabytes(stage.path(name)):6.1f} MB  {name}")
        print(f"{megabytes(options.base):6.1f} MB  the base, as it was made here", flush=True)
        use(stage)


if __name__ == "__main__":
    main()
