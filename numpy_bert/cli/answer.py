"""``numpy-bert answer``: the part of a text that answers a question."""

from __future__ import annotations

import argparse
from pathlib import Path

from numpy_bert.cli.results import percent, show_json, show_table
from numpy_bert.cli.source import source_options
from numpy_bert.errors import InputError
from numpy_bert.files import read_bytes
from numpy_bert.model.task_models import BertForQuestionAnswering

__all__ = ["run"]

# More bytes than a context may have characters are somebody's mistake.
_LARGEST_FILE = 20_000_000


def run(options: argparse.Namespace) -> int:
    """Find the answers to the question, and print them, best first."""
    context = options.context
    if options.context_file is not None:
        context = _read(Path(options.context_file))
    model = BertForQuestionAnswering.from_pretrained(
        options.model, dtype=options.dtype, **source_options(options)
    )
    found = model.answer(
        options.question,
        context,
        top_k=options.top_k,
        handle_impossible_answer=options.impossible,
    )
    if options.json:
        show_json(options.model, {"question": options.question}, found)
        return 0
    rows = [
        (best.start, best.end, percent(best.score), best.answer or "(there is no answer)")
        for best in found
    ]
    show_table(("start", "end", "score", "answer"), rows, "rrrl", "no answer")
    return 0


def _read(path: Path) -> str:
    """Return the text of a file."""
    data = read_bytes(path, error=InputError, limit=_LARGEST_FILE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data[: failure.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8 (byte {failure.start}).") from None
