"""The arguments of every command; nothing heavy is imported to read them."""

from __future__ import annotations

import argparse
from pathlib import Path

from numpy_bert import __version__
from numpy_bert.cli.arguments import add_model, add_source, count, natural, text
from numpy_bert.cli.trace_arguments import TRACE_COMMANDS
from numpy_bert.cli.train_arguments import TRAIN, add_train

__all__ = ["make_parser"]

_EMBED = (
    "Print BERT's input embedding of a text, step by step: token ids, the three look-ups, their "
    "sum, LayerNorm, dropout. These are input embeddings, the first thing a BERT computes; they "
    "are no sentence vectors, which are another command's."
)
_INSPECT = (
    "List a checkpoint's config and tensors (dtype, shape, size, what is used and what is not) "
    "without loading the data."
)
_FETCH = (
    "Download a published safetensors checkpoint into the cache, or bring it up to date, verify "
    "every file against its hash, and print the folder."
)
_ENCODE = (
    "Turn texts into vectors, one each, as sentence-transformers' models do; print them, or save "
    "them to a file."
)
_SIMILARITY = "Print how alike two texts are, as the model compares its vectors."
_EXPLAIN = (
    "Show how BERT reads a text, or a pair: the rows that its tokens pick from three tables, their "
    "sum, LayerNorm, and a token's way through the layers; in the terminal, or with -o page.html "
    "as one page with every map and strip, or with -o picture.svg as a drawing."
)
_TUNE = (
    "Measure which ways to compute the same are the fastest on this machine (how products are cut, "
    "how an activation is computed, the size of a block) and keep them for later processes. It "
    "takes two minutes, best on a quiet machine; results change by roundings."
)
_POOLING = ("cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken")
_FILL_MASK = "Print the words that fit best at each [MASK] of a text, with their probabilities."
_CLASSIFY = (
    "Print the labels of a text, or of a pair of texts, with their scores: probabilities, unless "
    "the model is a regression."
)
_TAG = "Print the entities of a text (or whatever a model labels words by), and where they are."
_ANSWER = "Print the part of a text that answers a question, and where it is."


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of ``numpy-bert``."""
    parser = argparse.ArgumentParser(prog="numpy-bert", description="BERT in NumPy, from scratch.")
    parser.add_argument("--version", action="version", version=f"numpy-bert {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_embed(commands.add_parser("embed", help="a text's input embedding", description=_EMBED))
    _add_explain(
        commands.add_parser(
            "explain", help="a text's way through BERT, drawn", description=_EXPLAIN
        )
    )
    _add_encode(commands.add_parser("encode", help="texts into vectors", description=_ENCODE))
    _add_similarity(
        commands.add_parser("similarity", help="how alike texts are", description=_SIMILARITY)
    )
    _add_inspect(
        commands.add_parser("inspect", help="what a checkpoint holds", description=_INSPECT)
    )
    _add_fetch(commands.add_parser("fetch", help="download a checkpoint", description=_FETCH))
    _add_tune(commands.add_parser("tune", help="measure what is fast here", description=_TUNE))
    for name, (add, line, description) in {**_TASKS, **TRACE_COMMANDS}.items():
        add(commands.add_parser(name, help=line, description=description))
    return parser


def _add_one_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", type=text, help="a text")
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text: segment 1"
    )
    add_model(parser)


def _add_embed(parser: argparse.ArgumentParser) -> None:
    _add_one_text(parser)
    parser.add_argument("--step", metavar="NAME", help="only this step, as embeddings.sum")
    parser.add_argument(
        "--truncate", action="store_true", help="cut a text that is longer than the model reads"
    )
    parser.add_argument(
        "--dropout-seed", metavar="N", type=natural, help="apply dropout, its mask drawn from N"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="save: .safetensors or .npz every step, .npy the last one",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_source(parser)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    _add_one_text(parser)
    parser.add_argument(
        "--token",
        dest="walked",
        metavar="N",
        type=natural,
        help="the position of the token to follow through the layers; the middle one by default",
    )
    parser.add_argument(
        "--truncate", action="store_true", help="cut a text that is longer than the model reads"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write .html, the page; .svg, the drawing of the embedding; or .png, the same",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_source(parser, flag="--hub-token")


def _add_encode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", metavar="TEXT", nargs="*", type=text, help="a text")
    parser.add_argument(
        "--input", metavar="FILE", help="a text on each line, in UTF-8; - is standard input"
    )
    add_model(parser)
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale vectors to length 1, or do not; by default what the model's files say",
    )
    parser.add_argument("--pooling", choices=_POOLING, help="in place of the model's own")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", type=text, help="put before each text")
    prompt.add_argument("--prompt-name", metavar="NAME", type=text, help="one of the model's")
    parser.add_argument("--truncate-dim", metavar="N", type=count, help="keep the first N features")
    parser.add_argument(
        "--batch-size", metavar="N", type=count, help="compute at most N texts together"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="save: .npy, .npz or .safetensors, as 'vectors'"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_source(parser)


def _add_similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", type=text, help="a text")
    parser.add_argument("b", metavar="B", type=text, help="another")
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_source(parser)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME_OR_PATH", help="a folder, or a name on the hub")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read all tensors: look for NaN and infinity, compare tied tensors; 1 if any is wrong",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_source(parser)


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME", help="a repository on the hub")
    parser.add_argument(
        "--only",
        choices=("embeddings",),
        help="no more of the weights than the input embedding's, about a fifth; to be asked for, "
        "since a part of a file cannot be checked against the whole file's hash",
    )
    parser.add_argument("--verify", action="store_true", help="hash every file again")
    add_source(parser)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="another file than the user's own, for the environment variable NUMPY_BERT_TUNING",
    )
    either.add_argument(
        "--show", action="store_true", help="measure nothing; print what is in force, and why"
    )


def _add_fill_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", type=text, help="a text with [MASK] in it")
    _add_task(parser, "; the built-in 'demo', which is small, by default", required=False)
    parser.add_argument("--top-k", metavar="N", type=count, default=5, help="words for a mask; 5")


def _add_classify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", type=text, help="a text")
    parser.add_argument(
        "text_pair", metavar="TEXT2", nargs="?", type=text, help="a second text, for a pair"
    )
    _add_task(parser)
    parser.add_argument("--top-k", metavar="N", type=count, help="labels to show; all by default")


def _add_tag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", type=text, help="a text")
    _add_task(parser)
    parser.add_argument(
        "--aggregation",
        choices=("simple", "first", "average", "max", "none"),
        default="simple",
        help="how labels of tokens become entities; simple by default",
    )


def _add_answer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", metavar="QUESTION", type=text, help="a question")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "context", metavar="CONTEXT", nargs="?", type=text, help="the text with the answer in it"
    )
    given.add_argument("--context-file", metavar="FILE", help="that text in a file, UTF-8")
    _add_task(parser)
    parser.add_argument("--top-k", metavar="N", type=count, default=1, help="answers to show; 1")
    parser.add_argument(
        "--impossible", action="store_true", help="allow for there being no answer (SQuAD 2.0)"
    )


def _add_task(parser: argparse.ArgumentParser, more: str = "", *, required: bool = True) -> None:
    """Add what every task's command takes."""
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        required=required,
        help=f"a folder, or a repository on the hub, trained for this task{more}",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_source(parser)


_TASKS = {
    "fill-mask": (_add_fill_mask, "which words fit at [MASK]", _FILL_MASK),
    "classify": (_add_classify, "the labels of a text or of a pair", _CLASSIFY),
    "tag": (_add_tag, "the names in a text, or other labels of words", _TAG),
    "answer": (_add_answer, "the answer to a question, in a text", _ANSWER),
    "train": (add_train, "train a model further", TRAIN),
}
