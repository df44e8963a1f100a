"""``numpy-bert verify``: what is wrong with a port's trace, and why."""

from __future__ import annotations

import argparse

import numpy_bert
from numpy_bert.cli.compare import TRACE, add_comparison, check_page, deliver, open_candidate
from numpy_bert.cli.console import note
from numpy_bert.cli.options import (
    NAME_OR_PATH,
    add_examples,
    add_source,
    natural,
    source_options,
    text,
)
from numpy_bert.errors import InputError, TokenizerError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Verify a trace that a port of BERT has made: numpy_bert runs the same ids in float64, "
        "runs every step again from the trace's own numbers, and names the first step that is "
        "wrong, by how much, and why. Exits with 0 if it passes, 1 if it differs, 2 if it could "
        "not be compared."
    )
    add_examples(
        parser,
        "numpy-bert verify port.npz --model demo",
        "numpy-bert verify port.npz --model bert-base-uncased --html report.html",
    )
    parser.add_argument("candidate", metavar="CANDIDATE", help=TRACE)
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        required=True,
        help=f"the model that was ported: {NAME_OR_PATH}",
    )
    parser.add_argument(
        "--text",
        metavar="TEXT",
        nargs="+",
        type=text,
        help="what the ids were made of, a text for each row: the tokenizer is then verified too",
    )
    parser.add_argument(
        "--pair",
        action="store_true",
        help="take the two texts of --text as one row, of two segments",
    )
    _add_limits(parser)
    add_comparison(parser)
    add_source(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what the trace is held against, how closely, and for how long."""
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="a second trace; tell which of the two is nearer to float64",
    )
    parser.add_argument(
        "--precision",
        choices=("float16", "bfloat16", "tf32"),
        help="what the port is meant to compute in; by default what its arrays are stored in",
    )
    parser.add_argument(
        "--time-limit",
        metavar="SECONDS",
        type=natural,
        default=60,
        help="how long the cause of a difference is looked for; 0 is not at all; 60 by default",
    )


def run(options: argparse.Namespace) -> int:
    """Verify a file."""
    from numpy_bert.traces.reading import open_trace
    from numpy_bert.verification.verify import load_exactly, verify

    check_page(options, options.candidate, options.reference, options.map)
    if options.pair and len(options.text or ()) != 2:
        raise InputError("--pair: there must be two texts; give them with --text.")
    candidate = open_candidate(options)
    reference = open_trace(options.reference) if options.reference is not None else None
    model = load_exactly(options.model, **source_options(options))
    report = verify(
        candidate,
        model,
        tokenizer=_tokenizer(options, needed=options.text is not None),
        texts=options.text,
        pair=options.pair,
        reference=reference,
        allow=options.allow,
        all_positions=options.all_positions,
        fail_fast=options.fail_fast,
        precision=options.precision,
        time_limit=options.time_limit,
        tell=note,
    )
    return deliver(report, options)


def _tokenizer(options: argparse.Namespace, *, needed: bool) -> numpy_bert.BertTokenizer | None:
    """Load the model's tokenizer; where only the trace may ask for it, it may be absent."""
    try:
        return numpy_bert.BertTokenizer.from_pretrained(options.model, **source_options(options))
    except TokenizerError as failure:
        if needed:
            raise
        note(f"the tokenizer was not verified: {failure}")
        return None
