"""The target of fuzz.py for command lines: every command, with streams that may be closed.

A command that succeeds prints what can be printed, JSON where it is asked for; one that fails says
why in one message, and leaves no file. Nobody's file is changed without --force. Where there is
no standard error, standard output and the exit code are the same as where there is one.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

import numpy as np
from fuzz_target import Difference, Target

import numpy_bert
from numpy_bert.cli import COMMANDS, main
from numpy_bert.cli.parser import Parser
from numpy_bert.kernels.measure import Sizes

__all__ = ["GOOD", "TARGETS", "Outcome", "World", "run"]

# Command lines that succeed in a `World`, some for each command, with | between words. `serve` has
# none, as it does not end.
GOOD: dict[str, Sequence[str]] = {
    "encode": (
        "encode|the cat|a dog|--model|bert",
        "encode|--input|texts.txt|-o|out.npy|--model|bert",
        "encode|-|--json|--model|bert",
        "encode|--input|texts.txt|--index|out|--model|bert",
    ),
    "search": ("search|texts.index|the cat", "search|texts.index|the cat|a dog|-k|1|--json"),
    "similarity": (
        "similarity|the cat|a dog|--model|bert",
        "similarity|the cat|a dog|--json|--model|bert",
    ),
    "fill-mask": ("fill-mask|the [MASK] sat|--model|words", "fill-mask|a [MASK]|--json"),
    "classify": ("classify|the cat|--model|labels", "classify|the|a dog|--json|--model|labels"),
    "tag": ("tag|the cat sat|--model|labelled words", "tag|the|--json|--model|labelled words"),
    "answer": (
        "answer|who sat|the cat sat|--model|answers",
        "answer|who|--context-file|texts.txt|--json|--model|answers",
    ),
    "rerank": (
        "rerank|who sat|the cat|a dog|--model|score",
        "rerank|who|--input|texts.txt|--json|--model|score",
    ),
    "explain": (
        "explain|the [MASK]|--model|words",
        "explain|the cat|a dog|-o|out.html|--model|bert",
    ),
    "embed": ("embed|the cat|-o|out.npz|--model|bert", "embed|the cat|--json|--model|bert"),
    "trace": (
        "trace|the cat|a dog|-o|out.safetensors|--model|bert",
        "trace|--ids|ids.json|-o|out.safetensors|--model|bert",
    ),
    "train": (
        "train|mlm|--data|texts.txt|-o|out|--max-steps|1|--model|words",
        "train|classify|--data|table.csv|-o|out|--max-steps|1|--model|bert",
        "train|pairs|--data|pairs.csv|-o|out|--max-steps|1|--model|bert",
    ),
    "verify": ("verify|t.safetensors|--model|bert", "verify|t.npz|--json|--model|bert"),
    "bisect": ("bisect|t.safetensors|--model|bert", "bisect|t.npz|--json|--model|bert"),
    "compare": ("compare|t.safetensors|t.npz", "compare|t.npz|t.npz|--html|out.html|--json"),
    "golden": ("golden|bert|-o|out",),
    "fetch": ("fetch|bert", "fetch|bert|--verify"),
    "inspect": ("inspect|bert", "inspect|bert|--check|--json"),
    "tune": ("tune|--show", "tune|-o|out.json"),
    "completion": ("completion|bash", "completion|fish"),
}
_WORDS = ("the", "a", "cat", "dog", "sat", "ran", "on", "mat", "who", "[MASK]", "##s", ".")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_FILES = {
    "texts.txt": "the cat sat\na dog ran\nthe mat\n",
    "table.csv": "text,label\nthe cat,x\na dog,y\n",
    "pairs.csv": "text,text_pair\nthe cat,a cat\nthe dog,a dog\n",
    "ids.json": '{"input_ids": [[2, 5, 3]]}',
    "map.json": '{"sum": "embeddings.sum"}',
    "empty": "",
    "words.bin": "\x00\x1b",
}
_ODD = (
    *("", "-", "--", ".", "..", " ", "0", "-1", "1", "3", "1e999", "nan", "9" * 5000, "x" * 300),
    *("\x1b[31mred", "a\nb", "\udcff", "a\0b", "é\u2028\u202e", "[MASK]", "*", "[", "embeddings*"),
    *("texts.txt", "table.csv", "pairs.csv", "ids.json", "map.json", "empty", "words.bin"),
    *("t.safetensors", "t.npz", "bert", "words", "labels", "answers", "score", "folder", "pipe"),
    *("loop", "gone", "gone.npy", "missing/out.npy", "empty/out.npy", "out.npy", "out.html"),
    *("out.safetensors", "owner/name", "../x", "a--b", "-x", "--frob", "--json", "--force", "-o"),
    *("demo", "float64", "--help", "--m", "--model", "encode", "help", "a\x1b\n.npy"),
)
_STDIN = (
    b"the cat\na dog\n",
    b"the cat\n",
    b"",
    b"\xff\n",
    b"a\rb",
    b"\xef\xbb\xbfthe\r\n\x00\x1b\n",
)
# Commands that take several times as long as the others, and so are tried less often.
_SLOW = ("verify", "bisect", "compare", "golden", "train")
# Commands that return 1 for what they found.
_FINDING = ("verify", "bisect", "compare", "inspect")


@dataclass
class Outcome:
    """What a command did: its exit code, what it printed, and which files it made."""

    code: object
    out: str = ""
    err: str = ""
    made: list[str] = field(default_factory=list)


class World:
    """A folder with small models, data and traces, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = {command: _options(command) for command in COMMANDS}
        _write_models(folder)
        for name, text in _FILES.items():
            (folder / name).write_text(text, "utf-8")
        (folder / "folder").mkdir()
        (folder / "loop").symlink_to("loop")
        (folder / "gone").symlink_to("nowhere")
        (folder / "gone.npy").symlink_to("nowhere.npy")
        os.mkfifo(folder / "pipe")
        run(
            self, ["trace", "the cat", "a dog", "--model", "bert", "-o", "t.safetensors"], keep=True
        )
        made = ["encode", "--input", "texts.txt", "--index", "texts.index", "--model", "bert"]
        run(self, made, keep=True)
        from numpy_bert.traces.reading import open_trace

        arrays: Any = open_trace(folder / "t.safetensors").arrays.items()
        np.savez(folder / "t.npz", **{name: array.stored.load() for name, array in arrays})
        self.before = self.contents()
        self.bytes = {name: (folder / name).read_bytes() for name in self.before if self._is(name)}

    def _is(self, name: str) -> bool:
        path = self.folder / name
        return path.is_file() and not path.is_symlink()

    def contents(self) -> dict[str, tuple[int, int]]:
        """Return the files and folders that are there, each with its size and time."""
        found = dict[str, tuple[int, int]]()
        for folder, folders, files in os.walk(self.folder):
            for name in (*folders, *files):
                path = Path(folder, name)
                status = path.lstat()
                is_folder = path.is_dir() and not path.is_symlink()
                times = (0, 0) if is_folder else (status.st_size, status.st_mtime_ns)
                found[str(path.relative_to(self.folder))] = times
        return found

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Work in the folder, without the hub, and leave everything else as it was."""
        environment = {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "home"),
            "NUMPY_BERT_TUNING": "table",
        }
        sizes = Sizes({48: (64,)}, rows=(8,), cold=1, features=16, tokens=256, rounds=1)
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, environment),
            mock.patch("numpy_bert.kernels.measure.Sizes", return_value=sizes),
        ):
            yield

    def clean(self) -> list[str]:
        """Remove what was made; return it, and what was changed, which is as before again."""
        after = self.contents()
        made = sorted(after.keys() - self.before.keys())
        for name in made:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        changed = [name for name, state in self.before.items() if after.get(name) != state]
        for name in changed:
            path = self.folder / name
            if name in self.bytes:
                path.unlink(missing_ok=True)
                path.write_bytes(self.bytes[name])
                status = path.lstat()
                self.before[name] = (status.st_size, status.st_mtime_ns)
        return made + [f"changed {name}" for name in changed]


def _options(command: str) -> list[Any]:
    """Return the options of a command, as argparse has them."""
    parser = Parser()
    importlib.import_module(f"numpy_bert.cli.{command.replace('-', '_')}").add_arguments(parser)
    return [action for action in parser._actions if action.option_strings]


def _write_models(folder: Path) -> None:
    """Save a tiny model for each task, with a tokenizer."""
    tokens = [*_SPECIAL, *_WORDS]
    config = numpy_bert.BertConfig(
        vocab_size=len(tokens),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    classes: dict[str, Any] = {
        "bert": numpy_bert.BertModel,
        "words": numpy_bert.BertForMaskedLM,
        "labels": numpy_bert.BertForSequenceClassification,
        "labelled words": numpy_bert.BertForTokenClassification,
        "answers": numpy_bert.BertForQuestionAnswering,
        "score": numpy_bert.BertForSequenceClassification,
    }
    for name, kind in classes.items():
        sizes = (
            config
            if name != "score"
            else numpy_bert.BertConfig.from_dict(
                {**config.to_dict(), "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
            )
        )
        kind(sizes).save_pretrained(folder / name)
        (folder / name / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        (folder / name / "tokenizer_config.json").write_text(json.dumps(settings))


def run(
    world: World,
    words: Sequence[str],
    *,
    stdin: bytes | None = b"",
    out: str = "open",
    err: str = "open",
    keep: bool = False,
) -> Outcome:
    """Run a command in this process, with streams of its own, which may be closed or none."""
    printed, told = _stream(out), _stream(err)
    read = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    with (
        world.entered(),
        mock.patch("sys.stdout", printed),
        mock.patch("sys.stderr", told),
        mock.patch("sys.stdin", read),
    ):
        try:
            code: object = main(words)
        except SystemExit as end:
            code = end.code
        for stream in (printed, told):
            if stream is not None and not stream.closed:
                stream.flush()
    return Outcome(code, _text(printed), _text(told), [] if keep else world.clean())


def _stream(kind: str) -> TextIO | None:
    """Return a stream that is open, closed or none."""
    if kind == "none":
        return None
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    if kind == "closed":
        stream.close()
    return stream


def _text(stream: Any) -> str:
    """Return what was written to a stream."""
    return "" if stream is None or stream.closed else stream.buffer.getvalue().decode("utf-8")


def good(world: World, rng: random.Random, command: str) -> list[str]:
    """Return a command line that succeeds, perhaps with more options, which it may not take."""
    words = rng.choice(GOOD[command]).split("|")
    for _ in range(rng.choice((0, 0, 1, 2))):
        words += given(rng, rng.choice(world.options[command]))
    return words


def given(rng: random.Random, action: Any) -> list[str]:
    """Return an option with as many values as it takes."""
    if action.nargs == 0:
        return [rng.choice(action.option_strings)]
    values = tuple(action.choices or ()) or ("1", "2", "0.5", *_ODD)
    many = rng.choice((1, 1, 2)) if action.nargs == "+" else 1
    return [rng.choice(action.option_strings), *rng.choices(values, k=many)]


def edited(world: World, rng: random.Random, words: list[str]) -> list[str]:
    """Return a command line with words replaced, put between, doubled, dropped or joined."""
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        place = rng.randrange(1, len(words) + 1)
        old = words[place : place + 1]
        command = words[0] if words[0] in COMMANDS else "encode"
        option = given(rng, rng.choice(world.options[command]))
        new = rng.choice(
            (
                [rng.choice(_ODD)],
                [*old, rng.choice(_ODD)],
                old * 2,
                [],
                [*option, *old],
                [f"{option[0]}={rng.choice(_ODD)}", *old],
                [word[: len(word) // 2] for word in old],
            )
        )
        words = words[:place] + new + words[place + 1 :]
    if rng.random() < 0.02:
        words = [rng.choice(_ODD), *words[1:]]
    return words


def attempt(world: World, rng: random.Random) -> bool:
    """Run one command line; tell whether it succeeded."""
    weights = [1 if command in _SLOW else 4 for command in GOOD]
    (command,) = rng.choices(list(GOOD), weights)
    words = edited(world, rng, good(world, rng, command))
    stdin = rng.choice((*_STDIN, None))
    found = run(world, words, stdin=stdin)
    try:
        check(words, found)
        if rng.random() < 0.1:
            other = run(world, words, stdin=stdin, err=rng.choice(("closed", "none")))
            if (other.code, other.out) != (found.code, found.out) and words[0] != "tune":
                raise Difference(f"without standard error: {other.code} {other.out[:300]!r}")
            dumb = run(world, words, stdin=stdin, out=rng.choice(("closed", "none")))
            if found.out and (dumb.code == 0 or "output: is closed." not in dumb.err):
                raise Difference(f"without standard output: {dumb.code} {dumb.err[:300]!r}")
    except Difference as failure:
        raise Difference(f"{[word[:99] for word in words]}: {failure}") from None
    return found.code == 0 or (found.code == 1 and words[0] in _FINDING and found.out != "")


def check(words: Sequence[str], found: Outcome) -> None:
    """Raise Difference unless what a command did is what one may do."""
    for name, text in (("output", found.out), ("error", found.err)):
        if not all(line.isprintable() for line in text.split("\n")):
            raise Difference(f"standard {name} has what is not to be printed: {text[-300:]!r}")
    if found.code not in (0, 1, 2):
        raise Difference(f"it ended with {found.code}")
    if "Traceback" in found.err:
        raise Difference(f"a traceback: {found.err[-500:]}")
    fails = found.code != 0 and not (words[0] in _FINDING and found.out)
    said = found.err.rpartition(": error: ")[2]
    if fails and (": error: " not in found.err or len(said) > 2000):
        raise Difference(f"it failed with {found.code}, and said {found.err[-300:]!r}")
    changed = [name for name in found.made if name.startswith("changed ")]
    if changed and not any(word.startswith("--fo") for word in words):
        raise Difference(f"{changed} without --force")
    if fails and found.made != changed and words[0] != "train":
        raise Difference(f"it failed with {found.code}, and left {found.made}")
    if found.code == 0 and "--json" in words and "--" not in words and "-h" not in words:
        _check_json(found.out)


def _check_json(text: str) -> None:
    """Raise Difference unless each line is JSON, if not help or nothing was asked for."""
    if text.startswith("usage: "):
        return
    for line in text.splitlines():
        try:
            json.loads(line)
        except ValueError:
            raise Difference(f"no JSON: {line[:300]!r}") from None


TARGETS = [Target("commands", "the same without standard error", World, attempt, cost=20)]
