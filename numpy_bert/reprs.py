"""How what holds arrays is shown: in a line, by dtypes and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["LONGEST", "short_repr"]

# The most characters of an object and of one of its fields, and the most numbers that are shown.
LONGEST = 480
_FIELD = 60
_NUMBERS = 6


def short_repr(self: Any) -> str:
    """Return a dataclass or a named tuple in a line, with arrays by their dtype and shape.

    A class takes it by ``__repr__ = short_repr`` in its body.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> BertModel.from_pretrained("demo")([[2, 5, 3]], output_hidden_states=True)
    BertModelOutput(last_hidden_state=float32 (1, 3, 128), pooler_output=float32 (1, 128),
    hidden_states=(float32 (1, 3, 128) and 2 more), attentions=None)
    """
    names = [field.name for field in fields(self)] if is_dataclass(self) else self._fields
    shown = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in names)
    return _cut(f"{type(self).__name__}({shown}", LONGEST - 1) + ")"


def _shown(value: Any) -> str:
    """Return one field."""
    if _has_fields(value):
        return f"{type(value).__name__}(...)"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        few = isinstance(getattr(value, "size", None), int) and value.size <= _NUMBERS
        text = repr(value) if few else ""
        is_line = 0 < len(text) <= _FIELD and "\n" not in text
        return text if is_line else f"{value.dtype} {value.shape}"
    if isinstance(value, (Mapping, tuple, list, set, frozenset)):
        return _several(value)
    return _cut(repr(value), _FIELD)


def _several(values: Any) -> str:
    """Return a collection: its items if they are short, else the first, and how many more."""
    items = [*values.values(), *values] if isinstance(values, Mapping) else values
    if all(item is None or isinstance(item, (str, int, float)) for item in items):
        text = repr(values)
        if len(text) <= _FIELD:
            return text
    more = f" and {len(values) - 1} more" if len(values) > 1 else ""
    return f"({_cut(_shown(next(iter(items))), _FIELD - len(more))}{more})"


def _has_fields(value: Any) -> bool:
    """Tell whether a value is a dataclass or a named tuple."""
    return is_dataclass(value) or (isinstance(value, tuple) and hasattr(value, "_fields"))


def _cut(text: str, most: int) -> str:
    """Return a text that is no longer than that."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
