"""``numpy-bert verify``: what is wrong with a port's trace, and why."""

from __future__ import annotations

import argparse

from numpy_bert.cli.console import note
from numpy_bert.cli.reports import check_page, deliver, open_candidate
from numpy_bert.cli.source import source_options
from numpy_bert.errors import InputError, TokenizerError
from numpy_bert.model.bert import BertModel
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.reading import open_trace
from numpy_bert.verification.verify import verify

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Verify a file."""
    check_page(options, options.candidate, options.reference, options.map)
    if options.pair and len(options.text or ()) != 2:
        raise InputError("--pair: --text with two texts was expected.")
    candidate = open_candidate(options)
    reference = open_trace(options.reference) if options.reference is not None else None
    model = BertModel.from_pretrained(options.model, dtype="float64", **source_options(options))
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
    )
    return deliver(report, options)


def _tokenizer(options: argparse.Namespace, *, needed: bool) -> BertTokenizer | None:
    """Load the model's tokenizer; where only the trace may ask for it, it may be absent."""
    try:
        return BertTokenizer.from_pretrained(options.model, **source_options(options))
    except TokenizerError as failure:
        if needed:
            raise
        note(f"the tokenizer was not verified: {failure}")
        return None
