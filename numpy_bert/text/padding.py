"""Rows of different lengths made alike: the padding of a call, and of what is encoded already."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.errors import InputError
from numpy_bert.messages import listed, must_be, quoted

__all__ = ["Padding", "pad_encoded", "pad_rows"]

# The most tokens of a padded batch: they take 24 bytes each, as lists and again as arrays.
_MOST_TOKENS = 1_000_000_000
# What padding is in those members in which it is not 0.
_FILLS: Mapping[str, Any] = {"special_tokens_mask": 1, "offset_mapping": (0, 0)}
# What `pad_encoded` lengthens, as transformers does; labels and all else are left as they are.
_LENGTHENED = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How rows are lengthened.

    Attributes
    ----------
    token : str
        The token at the padding.
    token_id : int
        Its id.
    left : bool
        Whether it stands on the left.
    length : int or None
        Tokens that a row is lengthened to; None for the length of the longest.
    multiple : int
        What that length is rounded up to a multiple of.
    """

    token: str
    token_id: int
    left: bool
    length: int | None = None
    multiple: int = 1


def pad_rows(rows: Mapping[str, list[list[Any]]], padding: Padding) -> dict[str, list[list[Any]]]:
    """Lengthen every row; rows that are longer stay as they are.

    Raises
    ------
    InputError
        If that is more than any memory should be asked for.

    Examples
    --------
    >>> padding = Padding(token="[PAD]", token_id=0, left=False, multiple=4)
    >>> pad_rows({"input_ids": [[2, 3], [2, 5, 3]]}, padding)
    {'input_ids': [[2, 3, 0, 0], [2, 5, 3, 0]]}
    """
    lengths = [len(row) for row in rows["input_ids"]]
    length = max(lengths, default=0) if padding.length is None else padding.length
    length = -(-length // padding.multiple) * padding.multiple
    total = length * len(lengths)
    if total > _MOST_TOKENS:
        raise InputError(
            f"padding: {len(lengths):,} rows of {length:,} tokens would take more than "
            f"{total * len(rows) * 8 // 10**9:,} GB; encode fewer texts at a time, or cut them "
            "(truncation=True)."
        )
    padded = {}
    for name, members in rows.items():
        fill = padding.token_id if name == "input_ids" else _FILLS.get(name, 0)
        gaps = [[fill] * (length - len(row)) for row in members]
        padded[name] = [
            gap + row if padding.left else row + gap for row, gap in zip(members, gaps, strict=True)
        ]
    return padded


def pad_encoded(
    encoded: object, padding: Padding | None, *, masks: bool | None, arrays: bool
) -> dict[str, Any]:
    """Pad what is encoded already; see `numpy_bert.BertTokenizer.pad`.

    Parameters
    ----------
    encoded : mapping, or list of mappings
        Rows of ids, and what belongs to them.
    padding : Padding, optional
        How they are lengthened; by default they are not.
    masks : bool, optional
        Whether there is to be an ``attention_mask``; there is unless it is False.
    arrays : bool
        Whether arrays are asked for. They are returned where some came, too.
    """
    found, arrays = _columns(encoded, arrays=arrays)
    ids = found["input_ids"]
    if not ids:
        return {**found, **({"attention_mask": []} if masks else {})}
    single = not isinstance(ids[0], (list, tuple))
    names = [n for n in _LENGTHENED if n in found and (n != "attention_mask" or masks is not False)]
    if not single:
        _check_counts(found, len(ids))
    rows = {name: [found[name]] if single else list(found[name]) for name in names}
    for name, members in rows.items():
        for number, row in enumerate(members):
            if not isinstance(row, (list, tuple)):
                raise InputError(must_be(f"{name}[{number}]", "a list of numbers", row))
    if masks is not False and "attention_mask" not in rows:
        rows["attention_mask"] = [[1] * len(row) for row in rows["input_ids"]]
    for name, members in rows.items():
        for number, (row, own) in enumerate(zip(members, rows["input_ids"], strict=True)):
            if len(row) != len(own):
                raise InputError(
                    f"{name}[{number}] must have the {len(own)} tokens that input_ids[{number}] "
                    f"has; got {len(row)}."
                )
    lengthened = {name: [list(row) for row in members] for name, members in rows.items()}
    if padding is not None:
        lengthened = pad_rows(lengthened, padding)
    found |= {name: members[0] if single else members for name, members in lengthened.items()}
    return {name: _as_array(name, value) for name, value in found.items()} if arrays else found


def _columns(encoded: object, *, arrays: bool) -> tuple[dict[str, Any], bool]:
    """Return the members by name, as lists, and whether they are to become arrays."""
    examples = [encoded] if isinstance(encoded, Mapping) else encoded
    if (
        not isinstance(examples, (list, tuple))
        or not examples
        or not all(isinstance(example, Mapping) for example in examples)
    ):
        wanted = "what the tokenizer returns, or a list of such"
        raise InputError(must_be("encoded_inputs", wanted, type(encoded).__name__))
    first = examples[0]
    for number, example in enumerate(examples):
        missing = [name for name in ("input_ids", *first) if name not in example]
        if missing:
            where = (
                "encoded_inputs" if isinstance(encoded, Mapping) else f"encoded_inputs[{number}]"
            )
            raise InputError(f"{where} must have {listed(missing)}; got {listed(list(example))}.")
    found = (
        dict(encoded)
        if isinstance(encoded, Mapping)
        else {name: [example[name] for example in examples] for name in first}
    )
    ids, plain = found["input_ids"], {name: _plain(value) for name, value in found.items()}
    if not isinstance(plain["input_ids"], (list, tuple)):
        raise InputError(must_be("input_ids", "a list of ids, or of such lists", ids))
    arrays = arrays or hasattr(ids, "tolist") or (len(ids) > 0 and hasattr(ids[0], "tolist"))
    return plain, arrays


def _plain(value: Any) -> Any:
    """Return an array, or a list of arrays, as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [one.tolist() if hasattr(one, "tolist") else one for one in value]
    return value


def _check_counts(found: Mapping[str, Any], count: int) -> None:
    """Raise InputError unless each member has so many rows."""
    for name, value in found.items():
        rows = len(value) if isinstance(value, Sized) else f"a {type(value).__name__}"
        if rows != count:
            raise InputError(
                f"{quoted(name)} must have {count} rows, as input_ids has; got {rows}."
            )


def _as_array(name: str, value: Any) -> Any:
    """Return a member as an array."""
    try:
        return np.array(value)
    except ValueError:
        raise InputError(
            f"{quoted(name)} is no array, since its rows are of different lengths; pad them "
            "(padding=True), and labels before."
        ) from None
