"""``numpy-bert golden``: traces for a port's own tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from numpy_bert.cli.console import megabytes, note, show
from numpy_bert.cli.source import source_options
from numpy_bert.model.bert import BertModel
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.golden import write_golden
from numpy_bert.traces.recording import Recorder

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Write a pack and print its files."""
    source = source_options(options)
    model = BertModel.from_pretrained(options.model, dtype="float64", **source)
    tokenizer = BertTokenizer.from_pretrained(options.model, **source)
    recorder = Recorder(model, options.model, **source)
    written = write_golden(
        Path(options.output),
        model,
        tokenizer,
        recorder,
        name=str(options.model),
        names=options.names,
    )
    total = sum(path.stat().st_size for path in written)
    show("\n".join(str(path) for path in written))
    note(f"{len(written)} files, {megabytes(total)}")
    return 0
