"""What `verify` says of ports that nobody here wrote, on a real checkpoint.

    python scripts/report_ports.py PATH_OF_MINILM [--ports torch,flax] [--environments FOLDER]

Each port is a program of its own, port_*.py, that runs a padded batch of pairs and saves traces;
they are verified here. What a port needs beyond the extras `test` and `bench` is installed in an
environment made for it. A port that cannot be installed or run has a line that says so. Where the
error is as of a lower precision, the trace is verified once more with that as what is meant.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report_verification import PAIRS, largest_share

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.traces.reading import Trace, open_trace
from numpy_bert.verification.verify import PRECISIONS, verify

__all__ = ["PORTS", "Failed", "Port", "Row", "environment", "rows_of", "table"]

SCRIPTS = Path(__file__).parent
HEAD = ("port", "versions", "gives", "verdict", "largest share", "sentence", "seconds")

# The values of a graph that are no steps are many.
_UNSEEN = re.compile(r"(arrays were not looked at): .*")


class Failed(Exception):  # noqa: N818
    """A port that could not be installed or run; the message is the last line of what it said."""


class Port(NamedTuple):
    """A program that runs a port, and the packages that it needs.

    Attributes
    ----------
    program : str
        A file of this folder. It is given the checkpoint, a file with inputs and a folder, in which
        it saves a trace of each of its runs, called by the run's name.
    shows : tuple of str
        The packages whose versions are shown.
    needs : tuple of str
        What is installed for it, with what these need; nothing: it runs in this environment.
    alone : tuple of str
        What is installed without what it needs.
    beside : bool
        Whether it sees the packages of this environment, too.
    """

    program: str
    shows: tuple[str, ...]
    needs: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    beside: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """All that is installed for it."""
        return (*self.needs, *self.alone)


FLAX = "transformers==4.46.3"  # the last versions before 5 still have it
KERAS = ("keras==3.15.1", "jax==0.10.2", "safetensors", "tokenizers", "sentencepiece", "regex")
PORTS = {
    "torch": Port("port_torch.py", ("torch", "transformers")),
    "onnxruntime": Port("port_onnxruntime.py", ("onnxruntime",)),
    "openvino": Port("port_openvino.py", ("openvino",)),
    "curated": Port(
        "port_curated.py",
        ("curated-transformers", "torch"),
        needs=("requests",),
        alone=("curated-transformers==2.0.1", "curated-tokenizers==2.0.1", "catalogue==2.0.10"),
        beside=True,
    ),
    "ctranslate2": Port(
        "port_ctranslate2.py", ("ctranslate2",), alone=("ctranslate2==4.8.5",), beside=True
    ),
    "flax": Port(
        "port_flax.py", ("flax", "jaxlib"), needs=(FLAX, "flax==0.10.7", "jax[cpu]==0.7.1")
    ),
    # Its compiler hands out GELU's results for those of the dense layer before it, as well.
    "flax-2024": Port(
        "port_flax.py",
        ("flax", "jaxlib"),
        needs=(FLAX, "flax==0.8.5", "jax[cpu]==0.4.30", "numpy<2"),
    ),
    # keras-hub names tensorflow among what it needs, and runs without.
    "keras": Port(
        "port_keras.py",
        ("keras-hub", "keras", "jax"),
        needs=(*KERAS, "kagglehub"),
        alone=("keras-hub==0.32.0",),
    ),
}


class Row(NamedTuple):
    """A line of the table."""

    port: str
    versions: str
    gives: str
    verdict: str
    share: float | None
    sentence: str
    seconds: float | None

    def cells(self) -> list[str]:
        """Return what is printed."""
        share = "" if self.share is None else f"{self.share:.2g}"
        seconds = "" if self.seconds is None else f"{self.seconds:.1f}"
        sentence = _UNSEEN.sub(r"\1.", self.sentence).replace("|", r"\|")
        return [*self[:4], share, sentence, seconds]


def environment(port: Port, folder: Path) -> Path:
    """Return the Python that a port runs in; make its environment in `folder` if it is not there.

    Raises
    ------
    Failed
        If something cannot be installed.
    """
    if not port.packages:
        return Path(sys.executable)
    python, done = folder / "bin" / "python", folder / "installed.txt"
    ours = sysconfig.get_paths()["purelib"]
    packages = "\n".join([*port.packages, *[ours] * port.beside])
    if done.exists() and done.read_text("utf-8") == packages:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if port.needs:
        _run([*install, *port.needs])
    if port.alone:
        _run([*install, "--no-deps", *port.alone])
    if port.beside:
        (own,) = (folder / "lib").glob("python*/site-packages")
        (own / "beside.pth").write_text(f"import site; site.addsitedir({ours!r})\n", "utf-8")
    done.write_text(packages, "utf-8")
    return python


def _run(command: Sequence[str]) -> str:
    """Run a command and return what it prints; raise Failed with its last words."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**inherited, **offline}
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise Failed(lines[-1].strip())
    return done.stdout


def rows_of(
    name: str, checkpoint: Path, model: BertModel, inputs: Path, environments: Path
) -> Iterator[Row]:
    """Run a port and yield what is said of each of its runs."""
    port = PORTS[name]
    try:
        python = environment(port, environments / name)
        versions = _versions(python, port)
    except Failed as failure:
        yield Row(name, " ".join(port.packages), "", "not installed", None, str(failure), None)
        return
    with tempfile.TemporaryDirectory() as folder:
        failed = None
        try:
            _run([str(python), str(SCRIPTS / port.program), str(checkpoint), str(inputs), folder])
        except Failed as failure:
            failed = Row(name, versions, "", "not run", None, str(failure), None)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns):
            yield from _said_of(path, model, versions)
        if failed is not None:
            yield failed


def _versions(python: Path, port: Port) -> str:
    """Return the versions of a port's packages."""
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    found = _run([str(python), "-c", code, *port.shows]).split()
    return ", ".join(f"{name} {version}" for name, version in zip(port.shows, found, strict=True))


def _said_of(path: Path, model: BertModel, versions: str) -> Iterator[Row]:
    """Verify a trace, and once more in the precision that its error is as of."""
    trace, precision = open_trace(path), None
    for _ in range(2):
        start = time.perf_counter()
        report = verify(trace, model, look_for_hidden=False, fail_fast=True, precision=precision)
        seconds = time.perf_counter() - start
        meant = f", --precision {precision}" if precision else ""
        yield Row(
            path.stem + meant,
            versions,
            _gives(trace),
            report.verdict,
            largest_share(report)[0],
            report.sentence,
            seconds,
        )
        precision = (report.cause or "").removeprefix("as_of_")
        if precision not in PRECISIONS:
            return


def _gives(trace: Trace) -> str:
    """Say how much of a run a trace holds."""
    names = trace.arrays.keys()
    if any(name.endswith(".intermediate") for name in names):
        return "steps"
    return "hidden states" if any("layer.0" in name for name in names) else "last state"


def table(rows: Sequence[Row]) -> str:
    """Return the table, in Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--ports", default=",".join(PORTS), help="which ports, of %(default)s")
    parser.add_argument(
        "--environments",
        type=Path,
        metavar="FOLDER",
        help="where environments are made and kept; by default they are removed again",
    )
    options = parser.parse_args()
    names = options.ports.split(",")
    unknown = sorted(set(names) - set(PORTS))
    if unknown:
        parser.error(f"--ports: {unknown[0]} must be one of {', '.join(PORTS)}")
    model = BertModel.from_pretrained(options.checkpoint, dtype="float64")
    tokenizer = BertTokenizer.from_pretrained(options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        batch: dict[str, Any] = dict(tokenizer(list(PAIRS), padding=True, return_tensors="np"))
        np.savez(inputs, **batch)
        environments = (options.environments or Path(folder)).resolve()
        rows: list[Row] = []
        for name in names:
            print(f"{name} ...", file=sys.stderr)
            rows += rows_of(name, options.checkpoint.resolve(), model, inputs, environments)
    print(table(rows))


if __name__ == "__main__":
    main()
