"""``numpy-bert serve``: vectors and ranks over HTTP."""

from __future__ import annotations

import argparse
from typing import Any

from numpy_bert.cli.console import note
from numpy_bert.cli.options import (
    add_examples,
    add_model,
    add_source,
    count,
    model_name,
    source_options,
    text,
)
from numpy_bert.messages import shown

__all__ = ["LIMITS", "add_arguments", "run"]

# The limits by the fields of `Limits`: their defaults, and what they are. A test holds them equal.
LIMITS = {
    "body": (4_194_304, "bytes of a request's body"),
    "texts": (2048, "texts of a request"),
    "tokens": (300_000, "tokens of a request"),
    "batch_tokens": (4096, "tokens that are computed together"),
    "queue_tokens": (524_288, "tokens that wait"),
    "queue_requests": (512, "requests that wait"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Answer requests for vectors as OpenAI's API and text-embeddings-inference do, or with a "
        "cross-encoder for ranks. A key that clients must send is read from the environment "
        "variable NUMPY_BERT_API_KEY."
    )
    add_examples(
        parser,
        "numpy-bert serve --model sentence-transformers/all-MiniLM-L6-v2",
        "numpy-bert serve --model cross-encoder/ms-marco-MiniLM-L6-v2 --port 8081",
    )
    add_model(parser)
    parser.add_argument(
        "--name", metavar="NAME", type=text, help="what clients call the model; its own by default"
    )
    group = parser.add_argument_group("where it listens, and with what")
    group.add_argument(
        "--host",
        metavar="HOST",
        default="127.0.0.1",
        help="an address of this machine; 127.0.0.1 by default, which only this machine reaches",
    )
    group.add_argument(
        "--port", metavar="N", type=_port, default=8080, help="8080 by default; 0 is any free one"
    )
    group.add_argument(
        "--threads", metavar="N", type=count, help="threads that compute; all cores by default"
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=count,
        default=1,
        help="processes that share the port and the threads; 1 by default",
    )
    _add_limits(parser)
    add_source(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what a request may have."""
    group = parser.add_argument_group("what a request may have")
    group.add_argument(
        "--truncate",
        action="store_true",
        help="cut a text that is longer than the model reads; by default it is refused, unless "
        "the request asks for it",
    )
    group.add_argument(
        "--token-ids",
        action="store_true",
        help="take ids of the model's own tokenizer in the place of texts",
    )
    for name, (number, what) in LIMITS.items():
        option = name if "_" in name else f"max_{name}"
        group.add_argument(
            f"--{option.replace('_', '-')}",
            dest=name,
            metavar="N",
            type=count,
            help=f"most {what}; {number:,} by default",
        )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="how long a request may wait, or take to arrive; 60 by default",
    )


def run(options: argparse.Namespace) -> int:
    """Serve the model until a signal comes."""
    from numpy_bert.serving.batching import Limits
    from numpy_bert.serving.server import Settings, serve

    given = {name: getattr(options, name) for name in (*LIMITS, "timeout")}
    limits: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = Settings(
        model=model_name(options),
        name=options.name,
        dtype=options.dtype,
        source=source_options(options),
        host=options.host,
        port=options.port,
        threads=options.threads,
        workers=options.workers,
        limits=Limits(**limits),
        truncate=options.truncate,
        token_ids=options.token_ids,
    )
    return serve(settings, note)


def _port(argument: str) -> int:
    """Read the number of a port."""
    if not (argument.isascii() and argument.isdigit() and int(argument[:9]) < 65536):
        raise argparse.ArgumentTypeError(f"{shown(argument)} is no port, from 0 to 65535")
    return int(argument)


def _seconds(argument: str) -> float:
    """Read a number of seconds."""
    try:
        value = float(argument)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{shown(argument)} is no number of seconds above 0")
    return value
