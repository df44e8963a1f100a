"""Kill what writes, at each step that it takes on the disk, and look at what its next run makes.

    python scripts/kill.py [--kills 20] [--only NAME ...]

Each command runs once undisturbed. Then it is killed (SIGKILL) --kills times, each time in a new
folder, and run again: half of the times just before its n-th step on the disk (a file opened for
writing, renamed, removed, flushed, a folder made), n swept over all of them, the other half at
moments swept over the time that it takes. After the next run the folder has to hold what the
undisturbed one left, byte for byte and nothing else, and a file that is replaced has to be whole in
between. The exit code is 1 where that does not hold. A run is a process of its own, forked from one
that has everything imported. POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
TEXT = "The sun is shining."
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# What is left of a job's folder while the last of it is removed.
_EMPTY = (".part", ".part/job.lock")
# What a command says that does not begin anew.
_GOES_ON = "goes on after"
_OLD = b"an older file"
_OLD_DIGITS = hashlib.sha256(_OLD).hexdigest()
_COLUMNS = (
    "command",
    "steps",
    "kills",
    "next run succeeded",
    "went on",
    "same bytes",
    "left by the kill",
    "left after the next run",
    "left by huggingface_hub",
)
# What says when a file was checked, and how fast a step was.
_STAMPS, _SPEED = ".numpy_bert_verified", "tokens_per_second"


class Job(NamedTuple):
    """Something that writes into the folder it runs in, and returns an exit status."""

    name: str
    run: Callable[[], int]
    # A file that stands there before, and is replaced.
    old: str = ""


@dataclass
class Tally:
    """What became of the runs that were killed."""

    steps: int = 0
    kills: int = 0
    succeeded: int = 0
    went_on: int = 0
    same: int = 0
    half: int = 0
    left: int = 0
    left_after: int = 0
    theirs: int = 0

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing was lost, wrong, or left."""
        return self.succeeded == self.same == self.kills and not (self.half or self.left_after)


class Outcome(NamedTuple):
    """How a run ended: its exit status, negative for a signal; its steps on the disk; seconds."""

    status: int
    steps: int
    seconds: float


def main() -> int:
    """Kill all commands, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command; 20 by default")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these commands alone")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="kill-") as name, hub() as url:
        folder = Path(name).resolve()
        found = jobs(url, folder)
        if options.only:
            found = [job for job in found if job.name in options.only]
        print(f"| {' | '.join(_COLUMNS)} |\n|{len(_COLUMNS) * '---|'}")
        total = Tally()
        for job in found:
            tally = kill(job, folder / "runs", options.kills)
            failed |= not tally.is_sound
            print(row(job.name, tally), flush=True)
            for field in vars(total):
                setattr(total, field, getattr(total, field) + getattr(tally, field))
        print(row("all", total))
    return int(failed)


def row(name: str, tally: Tally) -> str:
    """Return a line of the table."""
    half = f"; {tally.half} half written" if tally.half else ""
    return (
        f"| {name} | {tally.steps} | {tally.kills} | {tally.succeeded} | {tally.went_on} | "
        f"{tally.same}{half} | {tally.left} | {tally.left_after} | {tally.theirs} |"
    )


def kill(job: Job, folder: Path, kills: int, *, by_time: bool = True) -> Tally:
    """Kill a job again and again, run it anew, and hold what it leaves to an undisturbed run."""
    first = prepared(job, folder / "undisturbed")
    undisturbed = run(job, first)
    if undisturbed.status != 0:
        raise SystemExit(f"{job.name}: exit status {undisturbed.status}\n{said(first)}")
    whole, tally = contents(first), Tally(steps=undisturbed.steps)
    by_step = min(undisturbed.steps, (kills + 1) // 2 if by_time else kills)
    for number in range(kills if by_time else by_step):
        place = prepared(job, folder / f"{number}")
        if number < by_step:
            step = 1 + number * undisturbed.steps // by_step
            ended = run(job, place, step=step)
        else:
            part = (number - by_step + 0.5) / (kills - by_step)
            ended = run(job, place, after=part * undisturbed.seconds)
        if ended.status == -signal.SIGKILL:
            tally.kills += 1
            _judge(job, place, whole, tally)
        shutil.rmtree(place)
    shutil.rmtree(folder)
    return tally


def _judge(job: Job, place: Path, whole: dict[str, str], tally: Tally) -> None:
    """Look at what a killed run has left, run the job again, and look anew."""
    before = contents(place)
    tally.left += len(before.keys() - whole.keys())
    if job.old and before.get(job.old) not in (whole[job.old], _OLD_DIGITS):
        tally.half += 1
    ended = run(job, place)
    after = contents(place)
    # What makes something new refuses to replace it once it is whole.
    was_whole = {name: v for name, v in before.items() if not name.endswith(_EMPTY)} == whole
    tally.succeeded += ended.status == 0 or was_whole
    tally.went_on += _GOES_ON in said(place)
    left = {name for name in after if name not in whole and not _is_theirs(name)}
    tally.left_after += len(left)
    tally.theirs += len(after.keys() - whole.keys()) - len(left)
    same = {name: digits for name, digits in after.items() if name in whole} == whole
    tally.same += same
    if not same or left or (ended.status != 0 and not was_whole):
        odd = {name for name in whole | after if whole.get(name) != after.get(name)}
        print(f"{job.name}: status {ended.status}, {sorted(odd)}\n{said(place)}", file=sys.stderr)


def _is_theirs(name: str) -> bool:
    """Tell whether huggingface_hub wrote a file, which keeps those of its killed processes."""
    return name.endswith(".incomplete") or "/blobs/tmp_" in name


def prepared(job: Job, place: Path) -> Path:
    """Make a folder for a job, with the old file in it."""
    work = place / "work"
    work.mkdir(parents=True)
    (work / "tmp").mkdir()
    if job.old:
        (work / job.old).write_bytes(_OLD)
    return place


def said(place: Path) -> str:
    """Return what the last run in a folder printed."""
    return (place / "said").read_text(errors="replace")


def contents(place: Path) -> dict[str, str]:
    """Return what the paths below a folder hold, but for what is another each time."""
    found, work = dict[str, str](), place / "work"
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_symlink():
            found[name] = f"to {path.readlink()}"
        elif path.is_file():
            stamped = _STAMPS in path.parts
            data = b"" if stamped else path.read_bytes()
            if path.name == "log.jsonl":
                lines = [json.loads(line) for line in data.splitlines()]
                slow = [{k: v for k, v in line.items() if k != _SPEED} for line in lines]
                data = json.dumps(slow).encode()
            found[name] = hashlib.sha256(data).hexdigest()
        else:
            found[name] = "folder"
    return found


def run(job: Job, place: Path, *, step: int = 0, after: float | None = None) -> Outcome:
    """Run a job in a process of its own, which is killed before a step or after some seconds."""
    reader, writer = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if not child:
        os.close(reader)
        _be(job, place, step, writer)
    os.close(writer)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - started
    with os.fdopen(reader, "rb") as file:
        steps = int(file.read() or 0)
    return Outcome(os.waitstatus_to_exitcode(status), steps, seconds)


def _be(job: Job, place: Path, step: int, writer: int) -> None:
    """Be the process that runs a job."""
    status = 70
    try:
        work = place / "work"
        os.chdir(work)
        tempfile.tempdir = str(work / "tmp")
        log = os.open(place / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        taken = _count(str(work), step)
        status = job.run()
        os.write(writer, str(taken()).encode())
    except BaseException:  # noqa: BLE001  # the process ends here, whatever it was
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _count(below: str, deadly: int) -> Callable[[], int]:
    """Count the steps that change something in a folder; the process ends before the deadly one."""
    count = 0

    def take(path: Any) -> None:
        nonlocal count
        is_descriptor = isinstance(path, int)  # which is flushed
        if not is_descriptor and not os.path.abspath(os.fsdecode(path)).startswith(below):  # noqa: PTH100
            return
        count += 1
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & _WRITES):
            take(arguments[0])

    fsync = os.fsync

    def flush(fd: Any) -> None:
        take(fd)
        fsync(fd)

    sys.addaudithook(hook)
    os.fsync = flush
    return lambda: count


@contextlib.contextmanager
def hub() -> Iterator[str]:
    """Have a stand-in hub run in a process of its own; yield where."""
    sys.path.append(str(ROOT))
    from tests.support.hub import StandInHub
    from tests.support.repository import FILES, REPO

    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        server = StandInHub()
        server.add_commit(REPO, FILES)
        os.write(writer, server.url.encode() + b"\n")
        signal.pause()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        url = file.readline().decode().strip()
    try:
        yield url
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def jobs(url: str, shared: Path) -> list[Job]:
    """Return everything that writes; `shared` gets what the commands read."""
    from tests.support.repository import REPO

    os.environ |= {"HF_ENDPOINT": url, "HF_HOME": str(shared / "home")}
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "NUMPY_BERT_TUNING": "table"}
    _import_all()
    from numpy_bert import BertModel, BertTokenizer, SentenceEncoder, SparseEncoder
    from numpy_bert.cli import main as command
    from numpy_bert.encoding import stream
    from numpy_bert.kernels.choices import Choices
    from numpy_bert.kernels.tuning_file import check_file, keep

    inputs = _inputs(shared)

    def cli(name: str, *words: str, old: str = "") -> Job:
        force = ("--force",) if old else ()
        return Job(name, lambda: command([*words, *force]), old)

    def call(name: str, act: Callable[[], object]) -> Job:
        def run() -> int:
            act()
            return 0

        return Job(name, run)

    def save(kind: Any, name: str = "demo") -> None:
        kind.from_pretrained(name).save_pretrained("saved", force=True)

    texts, pairs, trace = (str(inputs / n) for n in ("texts.txt", "pairs.csv", "t.safetensors"))
    cache, some = ("--cache-dir", "cache"), ("--names", "embeddings")
    corpus = str(inputs / "corpus.txt")
    stream._MOST_TEXTS = 120  # so that a job of few texts has several blocks
    short = ("--max-steps", "4", "--save-steps", "1", "--batch-size", "2")
    judged = ("--eval-data", pairs, "--eval-steps", "2")
    return [
        cli("fetch", "fetch", REPO, *cache),
        cli("fetch --only", "fetch", REPO, "--only", "embeddings", *cache),
        cli("trace", "trace", TEXT, "-o", "t.safetensors", old="t.safetensors"),
        cli("golden", "golden", "demo", *some, "-o", "golden"),
        cli("explain", "explain", TEXT, "-o", "page.html", old="page.html"),
        cli("embed -o .npy", "embed", TEXT, "-o", "e.npy", old="e.npy"),
        cli("embed -o .npz", "embed", TEXT, "-o", "e.npz", old="e.npz"),
        cli("encode", "encode", TEXT, "-o", "v.safetensors", old="v.safetensors"),
        *(
            cli(f"encode --input, {name}", "encode", "--input", corpus, *words, old=old)
            for name, old, *words in (
                ("npy", "v.npy", "-o", "v.npy"),
                ("npy int8", "v.npy", "-o", "v.npy", "--precision", "int8"),
                ("npz, new", "", "-o", "v.npz"),
                ("index, new", "", "--index", "v.index"),
                ("jsonl", "v.jsonl", "-o", "v.jsonl", "--truncate-dim", "8"),
                ("parquet", "v.parquet", "-o", "v.parquet", "--precision", "float16"),
            )
        ),
        cli(
            *("encode --input, bad lines", "encode", "--input", str(inputs / "bad.txt")),
            *("-o", "v.npy", "--bad-lines", "bad.jsonl"),
        ),
        cli("compare --html", "compare", trace, trace, "--html", "c.html", old="c.html"),
        cli("verify --html", "verify", trace, "--model", "demo", "--html", "v.html", old="v.html"),
        cli("bisect", "bisect", "--text", TEXT, *_port(trace, "safetensors")),
        cli("train mlm", "train", "mlm", "--data", texts, *short, "-o", "run"),
        cli("train pairs", "train", "pairs", "--data", pairs, *short, *judged, "-o", "run"),
        call("BertModel.save_pretrained", lambda: save(BertModel)),
        call("SentenceEncoder.save_pretrained", lambda: save(SentenceEncoder)),
        call("SparseEncoder.save_pretrained", lambda: save(SparseEncoder, str(inputs / "words"))),
        call("BertTokenizer.save_pretrained", lambda: save(BertTokenizer)),
        call("tune, what it writes", lambda: keep(check_file(Path("tuning.json")), Choices())),
    ]


def _port(trace: str, form: str) -> list[str]:
    """Return what runs a port that always writes one trace."""
    return ["--model", "demo", "--format", form, "--", "cp", trace, "{output}"]


def _inputs(shared: Path) -> Path:
    """Write what the commands read."""
    from numpy_bert import BertForMaskedLM
    from numpy_bert.cli import main as command

    folder = shared / "inputs"
    folder.mkdir()
    sentences = ["The cat sat on the mat.", "A dog ran to the cat.", "The sun is shining."]
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in sentences))
    lines = (b"caf\xe9\n" if n % 150 == 7 else b"%d times\n" % n for n in range(500))
    (folder / "bad.txt").write_bytes(b"".join(lines))
    (folder / "corpus.txt").write_bytes(b"".join(b"%d times\n" % n for n in range(500)))
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "text_pair", "label"])
        for number, text in enumerate(sentences):
            rows.writerow([text, sentences[number - 1], number / 3])
    assert command(["trace", TEXT, "-o", str(folder / "t.safetensors")]) == 0
    BertForMaskedLM.from_pretrained("demo").save_pretrained(folder / "words")
    return folder


def _import_all() -> None:
    """Import what the commands import when they run, so that a run costs no more than itself."""
    import importlib

    import huggingface_hub
    import safetensors.numpy  # noqa: F401

    huggingface_hub.get_session()
    for path in (ROOT / "numpy_bert").rglob("*.py"):
        if path.stem not in ("__main__", "pytest_plugin"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(parts).removesuffix(".__init__"))


if __name__ == "__main__":
    sys.exit(main())
