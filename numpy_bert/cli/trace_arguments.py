"""The arguments of the commands that make and compare traces."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from numpy_bert.cli.arguments import add_model, add_source, text

__all__ = ["TRACE_COMMANDS"]

_TRACE = (
    "Run the model on texts, each a row of the batch, or on ids, and save every intermediate under "
    "its name in one safetensors file, with what it was made of."
)
_COMPARE = (
    "Compare two traces, without a model: ids, weights, then steps in order. Prints a table and "
    "the first tensor that differs. 0: the same, 1: they differ, 2: could not compare."
)
_VERIFY = (
    "Verify a trace that a port of BERT has made: numpy_bert runs the same ids in float64, runs "
    "every step again from the trace's own numbers, and names the first step that is wrong, by how "
    "much, and why. 0: passes, 1: differs, 2: could not compare."
)
_GOLDEN = (
    "Write traces in float64 of a few texts that exercise pairs, padding on both sides, rare ids "
    "and the longest input: what a port's own tests can compare with."
)


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", metavar="TEXT", nargs="*", type=text, help="a text: a row")
    parser.add_argument(
        "--pair", action="store_true", help="the two texts are one row, of two segments"
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="run these ids: a JSON object or a trace with input_ids and, where they are not all 1 "
        "and all 0, attention_mask and token_type_ids",
    )
    parser.add_argument(
        "--padding-side", choices=("right", "left"), help="where shorter rows are padded"
    )
    add_model(parser, dtype="float64")
    _add_names(parser)
    parser.add_argument(
        "--weights", action="store_true", help="save the model's weights too, before the steps"
    )
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="a .safetensors file")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_source(parser)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference", metavar="REFERENCE", help="a trace: .safetensors, .npz, or a folder of .npy"
    )
    parser.add_argument("candidate", metavar="CANDIDATE", help="another")
    for name in ("--atol", "--rtol"):
        parser.add_argument(
            name,
            metavar="NUMBER",
            nargs="+",
            default=[],
            help="a number, or GLOB:NUMBER for the tensors whose name the glob fits, * for "
            "anything; by default 32 epsilon of the largest number of each tensor",
        )
    parser.add_argument(
        "--check",
        choices=("max", "mean", "ulp", "nmse", "cosine"),
        default="max",
        help="what is measured; max, every element's distance, by default",
    )
    parser.add_argument(
        "--equal-nan", action="store_true", help="a NaN in both at one place is no difference"
    )
    _add_comparison(parser)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "candidate", metavar="CANDIDATE", help="a trace: .safetensors, .npz, or a folder of .npy"
    )
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        required=True,
        help="what was ported: a folder, or a repository on the hub",
    )
    parser.add_argument(
        "--text",
        metavar="TEXT",
        nargs="+",
        type=text,
        help="what the ids are made of, a text for each row: then the tokenizer is verified too",
    )
    parser.add_argument(
        "--pair", action="store_true", help="the two texts of --text are one row, of two segments"
    )
    parser.add_argument(
        "--reference", metavar="FILE", help="a second trace: tell which is nearer to float64"
    )
    _add_comparison(parser)
    add_source(parser)


def _add_golden(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME_OR_PATH", help="a folder, or a name on the hub")
    _add_names(parser)
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="a folder to make")
    add_source(parser)


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names",
        metavar="GLOB",
        nargs="+",
        help="save these steps only, as embeddings 'encoder.layer.*.attention'",
    )


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add what compare and verify both take."""
    parser.add_argument(
        "--map", metavar="FILE", help="a JSON object of the candidate's names and the steps'"
    )
    parser.add_argument(
        "--allow",
        metavar="GLOB",
        nargs="+",
        default=[],
        help="what may differ, or be missing, by name",
    )
    parser.add_argument(
        "--all-positions", action="store_true", help="padding counts too, not tokens only"
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first that differs")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the worst place of every step"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.add_argument("--html", metavar="FILE", help="write a page with a picture, too")
    parser.add_argument("--force", action="store_true", help="replace the page if it exists")


TRACE_COMMANDS: Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], str, str]] = {
    "trace": (_add_trace, "save every intermediate of a run", _TRACE),
    "verify": (_add_verify, "what is wrong with a port's trace, and why", _VERIFY),
    "compare": (_add_compare, "the first difference of two traces", _COMPARE),
    "golden": (_add_golden, "traces for a port's own tests", _GOLDEN),
}
