"""The ids that a trace was made of, held against what they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from numpy_bert.arrays import IntArray, as_ids, place
from numpy_bert.comparison.report import StepReport
from numpy_bert.text.batch import encode
from numpy_bert.text.inputs import Pair
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.inputs import Inputs
from numpy_bert.traces.reading import Trace
from numpy_bert.verification.mistakes import wrong_positions

__all__ = ["compare_positions", "compare_texts"]


def compare_positions(trace: Trace, inputs: Inputs) -> StepReport | None:
    """Hold a trace's ``position_ids`` against 0, 1, 2, ..., at tokens; None where it has none."""
    found = trace.get("position_ids")
    if found is None:
        return None
    ids, mask = as_ids(found, name="position_ids"), inputs.attention_mask
    width = mask.shape[1]
    row = StepReport(name="position_ids", verdict="differs", shape=ids.shape, dtype=ids.dtype.name)
    if ids.shape not in ((width,), (1, width), mask.shape):
        return replace(row, text=f"shape {ids.shape}; (1, {width}) was expected")
    wide = np.broadcast_to(ids.astype(np.int64), mask.shape)[mask]

    def is_found(positions: IntArray) -> bool:
        return np.array_equal(wide, np.broadcast_to(positions, mask.shape)[mask])

    if is_found(inputs.position_ids):
        return replace(row, verdict="pass")
    for cause, positions in wrong_positions(inputs):
        if is_found(positions):
            return replace(row, cause=cause.name, text=cause.text)
    text = "they are not 0, 1, 2, ...; allowed by name, they are taken as they are"
    return replace(row, text=text)


def compare_texts(
    inputs: Inputs, texts: Sequence[str], tokenizer: BertTokenizer, *, pair: bool
) -> StepReport:
    """Hold the ids of a trace against those of the texts that it is said to be made of.

    Parameters
    ----------
    inputs : Inputs
        Of the trace.
    texts : sequence of str
        Checked; a text for each row; of a pair, its two texts.
    tokenizer : BertTokenizer
        The model's.
    pair : bool
        Whether `texts` are the two of a pair.
    """
    rows = [ids[used].tolist() for ids, used in zip(*inputs[:2], strict=True)]
    items: list[str | Pair] = [(texts[0], texts[1])] if pair and len(texts) == 2 else [*texts]
    shape, name = inputs.input_ids.shape, "input_ids"
    if len(items) != len(rows):
        text = f"{len(rows)} rows; there are {len(items)} texts"
        return StepReport(name=name, verdict="differs", shape=shape, dtype="int64", text=text)
    expected = [
        row.ids for row in encode(tokenizer.backend_tokenizer, items, add_special_tokens=True)
    ]
    if rows == expected:
        return StepReport(name=name, verdict="pass", shape=shape, dtype="int64")
    cause, reason = None, "no known mistake gives these ids"
    for other, text, encoded in _otherwise(items, tokenizer):
        if encoded == rows:
            cause, reason = other, text
            break
    pad = tokenizer.pad_token_id
    if [[i for i in ids if i != pad] for ids in rows] == expected:
        cause, reason = (
            "padding_unmasked",
            "padding stands in them that attention_mask has as tokens",
        )
    row = next(i for i, (a, b) in enumerate(zip(rows, expected, strict=True)) if a != b)
    return StepReport(
        name=name,
        verdict="differs",
        shape=shape,
        dtype="int64",
        cause=cause,
        text=f"{reason}; {_first_difference(row, rows[row], expected[row], tokenizer)}",
    )


def _otherwise(
    items: list[str | Pair], tokenizer: BertTokenizer
) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Yield what tokenizers that are known to be taken for this one make of the texts."""
    backend = tokenizer.backend_tokenizer
    normalizer = backend.normalizer
    if isinstance(normalizer, BertNormalizer):
        state: dict[str, Any] = {
            "clean_text": normalizer.clean_text,
            "handle_chinese_chars": normalizer.handle_chinese_chars,
            "strip_accents": normalizer.strip_accents,
            "lowercase": normalizer.lowercase,
        }
        lower = not normalizer.lowercase
        kinds = ("uncased", "cased") if lower else ("cased", "uncased")
        others = [
            (
                f"tokenizer_{kinds[0]}",
                f"the tokenizer is {kinds[0]}, the model's is {kinds[1]}",
                {"lowercase": lower},
            ),
            (
                "tokenizer_accents",
                "the tokenizer treats accents otherwise",
                {"strip_accents": not (state["strip_accents"] or normalizer.lowercase)},
            ),
            (
                "tokenizer_chinese",
                "Chinese characters are not set apart",
                {"handle_chinese_chars": not state["handle_chinese_chars"]},
            ),
        ]
        for cause, text, other in others:
            changed = Tokenizer.from_str(backend.to_str())
            changed.normalizer = BertNormalizer(**state | other)
            yield cause, text, [row.ids for row in encode(changed, items, add_special_tokens=True)]
    plain = encode(backend, items, add_special_tokens=False)
    yield "special_tokens_missing", "there are no [CLS] and [SEP]", [row.ids for row in plain]


def _first_difference(
    row: int, found: list[int], expected: list[int], tokenizer: BertTokenizer
) -> str:
    """Say where two rows of ids part."""
    both = min(len(found), len(expected))
    column = next((i for i in range(both) if found[i] != expected[i]), both)
    ends = [ids[column] if column < len(ids) else None for ids in (found, expected)]
    words = [
        "nothing" if i is None else f"{i} ({tokenizer.convert_ids_to_tokens([i])[0]})" for i in ends
    ]
    return f"input_ids{place((row, column))} is {words[0]}, not {words[1]}"
