"""What it takes to deploy numpy_bert, and what else makes vectors: size, start, memory, speed.

    python scripts/bench_deployment.py PATH_OF_MINILM [--keep FOLDER]

Each contender is installed into an environment of its own, which --keep keeps for the next time,
and runs as its users write it, in processes of its own, in turn with the others:

- numpy_bert, this repository's;
- sentence-transformers on torch for the CPU; on Linux pip must be told of torch's index of such
  wheels, or it brings gigabytes for GPUs, and the version that is printed is without "+cpu";
- onnxruntime with tokenizers, in a loop of twenty lines, and fastembed, which wraps the two: on a
  graph that is exported here;
- model2vec, which computes something else: a vector for each token, distilled from MiniLM here by
  its own function, and their mean. How like MiniLM's its vectors are is printed.

Of the others the vectors are held to numpy_bert's. Each process is held to as many processors as it
has threads, and so are the threads of each library in it. "first" is from the start of a process of
two threads to its first vector, the model on the disk and its files read before; the memory is the
peak of that process after one text, and of one of one thread after all texts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from bench_machine import print_machine
from bench_rivals import TOKENIZER_FILES, exported, mixed_texts

__all__ = ["CONTENDERS", "Contender", "environment", "installed_size", "likeness"]

ROOT = Path(__file__).parent.parent
TEXT = "The sun is shining."
HANDLER = "the handler of encoding/RECIPES.md"
TORCH = "torch==2.13.0"


class Contender(NamedTuple):
    """What makes vectors.

    Attributes
    ----------
    needs : tuple of str
        What pip installs.
    shows : tuple of str
        The packages whose versions are printed.
    imports, load : str
        Lines of a program, the second of which make `encode` of `model`, a folder, and `threads`.
    exact : bool
        Whether the vectors must be numpy_bert's.
    """

    needs: tuple[str, ...]
    shows: tuple[str, ...]
    imports: str
    load: str
    exact: bool = True


ONNX_LOOP = """
tokenizer = Tokenizer.from_file(model + "/tokenizer.json")
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(model + "/model.onnx", options, ["CPUExecutionProvider"])

def encode(texts):
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    found = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        batch = tokenizer.encode_batch([texts[row] for row in rows])
        ids = np.array([one.ids for one in batch])
        mask = np.array([one.attention_mask for one in batch])
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = session.run(["last_hidden_state"], given)
        weights = mask[:, None].astype(np.float32)
        means = (weights @ states)[:, 0] / weights.sum(axis=-1)
        found[rows] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return found
"""
FASTEMBED = """
TextEmbedding.add_custom_model(
    "minilm", PoolingType.MEAN, True, ModelSource(hf="minilm"), 384, "model.onnx"
)
made = TextEmbedding("minilm", threads=threads, specific_model_path=model)
encode = lambda texts: list(made.embed(texts))
"""
CONTENDERS = {
    "numpy_bert": Contender(
        (str(ROOT),),
        ("numpy",),
        "from numpy_bert import SentenceEncoder",
        "encode = SentenceEncoder(model).encode",
    ),
    "sentence-transformers": Contender(
        ("sentence-transformers", TORCH),
        ("sentence-transformers", "transformers", "torch"),
        "from sentence_transformers import SentenceTransformer",
        "import torch; torch.set_num_threads(threads)\n"
        "encode = SentenceTransformer(model, device='cpu').encode",
    ),
    "onnxruntime": Contender(
        ("onnxruntime", "tokenizers"),
        ("onnxruntime", "tokenizers"),
        "import numpy as np; import onnxruntime as ort; from tokenizers import Tokenizer",
        ONNX_LOOP,
    ),
    "fastembed": Contender(
        ("fastembed==0.9.1",),
        ("fastembed", "onnxruntime"),
        "from fastembed import TextEmbedding\n"
        "from fastembed.common.model_description import ModelSource, PoolingType",
        FASTEMBED,
    ),
    "model2vec": Contender(
        ("model2vec==0.10.0",),
        ("model2vec",),
        "from model2vec import StaticModel",
        "encode = StaticModel.from_pretrained(model).encode",
        exact=False,
    ),
}
DISTILL = """
import sys
from model2vec.distill import distill
distill(sys.argv[1]).save_pretrained(sys.argv[2])
"""
# One process: what is asked for comes as JSON, what was measured goes out as JSON.
HARNESS = """
import json, os, sys, time
asked = json.loads(sys.argv[1])
model, threads = asked["model"], asked["threads"]
start = time.perf_counter()
exec(asked["imports"])
imported = time.perf_counter() - start
if asked["load"]:
    exec(asked["load"])
    print(float(encode([asked["text"]])[0][0]), flush=True)
status = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
found = {"import": imported, "first peak": status()}
if asked["texts"]:
    texts = json.load(open(asked["texts"]))
    encode(texts[:32])
    start = time.perf_counter()
    vectors = encode(texts)
    found["rate"] = len(texts) / (time.perf_counter() - start)
    found["peak"] = status()
    import numpy
    numpy.save(asked["save"], numpy.asarray(vectors, numpy.float32))
print(json.dumps(found))
"""


class Run(NamedTuple):
    """What a process was measured to take: seconds to its first vector, and what it printed."""

    first: float
    found: dict[str, float]


def environment(folder: Path, needs: Sequence[str], beside: Path | None = None) -> Path:
    """Return the Python of an environment with some packages, made where it is not there.

    It sees the packages of another environment, too, if `beside` is that one's Python.
    """
    python, done = folder / "bin" / "python", folder / "installed.json"
    # Without pip, and setuptools, which some versions of venv bring and only some contenders need.
    make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)]
    wanted = json.dumps([*make, *needs, str(beside)])
    ours = str(ROOT) in needs  # which may have changed since
    if done.exists() and done.read_text("utf-8") == wanted and not ours:
        return python
    subprocess.run(make, check=True)
    if beside is not None:
        text = f"import site; site.addsitedir({str(packages_of(beside))!r})\n"
        (packages_of(python) / "beside.pth").write_text(text, "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    log = folder / "pip.txt"
    with log.open("w", encoding="utf-8") as file:
        failed = subprocess.run([*pip, *needs], check=False, stderr=file).returncode
    if failed:
        raise SystemExit(f"pip could not install {' '.join(needs)}:\n{log.read_text('utf-8')}")
    done.write_text(wanted, "utf-8")
    return python


def packages_of(python: Path) -> Path:
    """Return an environment's site-packages."""
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    return folder


def installed_size(python: Path) -> float:
    """Return what is installed, in MB of 10**6 bytes."""
    files = packages_of(python).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def model_of(name: str, checkpoint: Path, folder: Path, pythons: dict[str, Path]) -> Path:
    """Return the folder that a contender loads, which is made where it is not there."""
    made = folder / f"model-{name}"
    if name in {"numpy_bert", "sentence-transformers"} or made.exists():
        return made if made.exists() else checkpoint
    if name == "model2vec":
        beside = pythons["sentence-transformers"]
        python = environment(folder / "distill", ["model2vec[distill]==0.10.0"], beside)
        subprocess.run([python, "-c", DISTILL, checkpoint, made], check=True, capture_output=True)
        return made
    made.mkdir()
    files = (*TOKENIZER_FILES, "config.json", "special_tokens_map.json")
    for file in (path for file in files if (path := checkpoint / file).exists()):
        (made / file.name).write_bytes(file.read_bytes())
    (made / "model.onnx").write_bytes(exported(checkpoint, folder).read_bytes())
    return made


def run(
    python: Path,
    name: str,
    model: Path,
    threads: int,
    *,
    load: bool = True,
    texts: str = "",
    save: str = "",
) -> Run:
    """Run a contender in a process of its own, held to so many processors."""
    made = CONTENDERS[name]
    asked = {"model": str(model), "threads": threads, "imports": made.imports, "text": TEXT}
    asked |= {"load": made.load if load else "", "texts": texts, "save": save}
    first, lines = timed([str(python), "-c", HARNESS, json.dumps(asked)], threads)
    return Run(first, json.loads(lines[-1]))


def timed(command: list[str], threads: int, **variables: str) -> tuple[float, list[str]]:
    """Run a program; return the seconds to the first line that it prints, and its lines."""
    names = ("OMP_NUM_THREADS", "NUMPY_BERT_NUM_THREADS", "RAYON_NUM_THREADS")
    given = {"HF_HUB_OFFLINE": "1", **dict.fromkeys(names, str(threads)), **variables}
    every = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, every[:threads])  # a child has its parent's
    start = time.perf_counter()
    try:
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | given
            )
            assert process.stdout is not None
            with process, process.stdout:
                lines = [process.stdout.readline()]
                first = time.perf_counter() - start
                lines += process.stdout.readlines()
            if process.returncode:
                errors.seek(0)
                raise SystemExit(f"{command[0]}: {errors.read()}")
    finally:
        os.sched_setaffinity(0, every)
    return first, lines


def handler_command(python: Path) -> list[str]:
    """Return the command that runs the handler of the recipes once, and prints its answer."""
    page = (ROOT / "numpy_bert" / "encoding" / "RECIPES.md").read_text("utf-8")
    (program,) = re.findall(r"^## A function as.*?^```python\n(.*?)^```", page, re.M | re.S)
    event = {"body": json.dumps({"texts": [TEXT]})}
    return [str(python), "-c", f"{program}\nprint(handler({event!r}, None)['body'])"]


def likeness(found: npt.NDArray[np.float32], ours: npt.NDArray[np.float32]) -> float:
    """Return how alike two models order pairs of texts: Spearman's correlation of their cosines.

    Their vectors cannot be compared, since they have no axes in common.
    """

    def ranks(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
        return np.argsort(np.argsort(cosines))

    return float(np.corrcoef(ranks(found), ranks(ours))[0, 1])


def measure(
    names: Sequence[str], pythons: dict[str, Path], models: dict[str, Path], options: Any
) -> dict[str, dict[str, list[float]]]:
    """Return what was measured of each contender, run by run."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}

    def note(name: str, **values: float) -> None:
        for key, value in values.items():
            found[name].setdefault(key, []).append(value)

    with tempfile.TemporaryDirectory() as folder:
        texts = str(Path(folder, "texts.json"))
        Path(texts).write_text(json.dumps(mixed_texts(options.data, options.texts)), "utf-8")
        for turn in range(-1, options.rounds):
            print(f"round {turn + 1} of {options.rounds} ...", file=sys.stderr)
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                given = pythons[name], name, models[name]
                started = run(*given, 2)
                values = {"import": started.found["import"], "first": started.first}
                for threads in (1, 2):
                    save = str(Path(folder, f"{name}.npy"))
                    ran = run(*given, threads, texts=texts, save=save).found
                    values |= {f"rate {threads}": ran["rate"], f"peak {threads}": ran["peak"]}
                if turn >= 0:  # the first round has only filled the caches of files
                    note(name, **values, one=started.found["first peak"])
        hold(names, Path(folder))
        for name in names[1:]:
            vectors = [np.load(Path(folder, f"{which}.npy")) for which in (name, names[0])]
            note(name, like=likeness(*vectors))
    return found


def hold(names: Sequence[str], folder: Path) -> None:
    """Raise SystemExit unless all that should have made the same vectors has."""
    ours = np.load(folder / "numpy_bert.npy")
    for name in names:
        if CONTENDERS[name].exact:
            apart = np.abs(np.load(folder / f"{name}.npy") - ours).max()
            if not apart < 2e-5:
                raise SystemExit(f"the vectors of {name} are {apart:.1e} from numpy_bert's")


def report(found: dict[str, dict[str, list[float]]], pythons: dict[str, Path], texts: int) -> None:
    """Print the table, and what each contender is."""
    heads = ("installed", "import", "first", "one text", f"{texts} texts", "1 thread", "2 threads")
    print(f"{'':>21} " + " ".join(f"{head:>10}" for head in heads))
    for name, values in found.items():
        middle = {key: statistics.median(numbers) for key, numbers in values.items()}
        cells = [
            f"{installed_size(pythons[name]):.0f} MB",
            f"{middle['import']:.2f} s",
            f"{middle['first']:.2f} s",
            f"{middle['one']:.0f} MB",
            f"{middle['peak 1']:.0f} MB",
            *(f"{middle[f'rate {threads}']:.0f}/s" for threads in (1, 2)),
        ]
        print(f"{name:>21} " + " ".join(f"{cell:>10}" for cell in cells))
        if not CONTENDERS[name].exact:
            print(
                f"{'':>21} another model: its cosines rank pairs as MiniLM's, {middle['like']:.2f}"
            )


def versions(name: str, python: Path) -> str:
    """Return the versions of a contender's packages."""
    shows = CONTENDERS[name].shows
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *shows], check=True, capture_output=True, text=True)
    return ", ".join(f"{a} {b}" for a, b in zip(shows, done.stdout.split(), strict=True))


def main() -> None:
    """Install the contenders, let them run in turn, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep environments there")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    checkpoint = options.checkpoint.resolve()
    names = list(dict.fromkeys(["numpy_bert", *options.contenders]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        pythons, models = {}, {}
        wanted = [*names, *["sentence-transformers"] * ("model2vec" in names)]
        for name in dict.fromkeys(wanted):
            print(f"{name}: its environment ...", file=sys.stderr)
            pythons[name] = environment(folder / name, CONTENDERS[name].needs)
        for name in names:
            print(f"{name}: its model ...", file=sys.stderr)
            models[name] = model_of(name, checkpoint, folder, pythons)
        print_machine()
        for name in names:
            print(f"{name:>21}: {versions(name, pythons[name])}")
        found = measure(names, pythons, models, options)
        command, runs = handler_command(pythons["numpy_bert"]), range(options.rounds)
        cold = [timed(command, 2, NUMPY_BERT_MODEL=str(checkpoint))[0] for _ in runs]
        report(found, pythons, options.texts)
        print(f"{HANDLER}, from nothing to its answer: {statistics.median(cold):.2f} s")


if __name__ == "__main__":
    main()
