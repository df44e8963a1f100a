"""What a tokenizer returns: the arrays for a model, and how tokens, words and characters belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy_bert.arguments import as_count
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.text.padding import Padding

if TYPE_CHECKING:  # a model that is called with ids needs no tokenizers library
    from tokenizers import Encoding

__all__ = ["BatchEncoding", "CharSpan", "Row", "segments_of"]


class CharSpan(NamedTuple):
    """The characters ``text[start:end]`` of a token."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Row:
    """A row of a batch: an encoded text or pair, or a part of it, between padding.

    Attributes
    ----------
    number : int
        The text's number among those of the call.
    encoding : tokenizers.Encoding
        The text or pair in full.
    kept : tuple of slice, optional
        The tokens of it that the row has; all by default.
    before, after : int
        How much padding stands on either side.
    pad_token : str
        The token of the padding.
    """

    number: int
    encoding: Encoding
    kept: tuple[slice, ...] | None = None
    before: int = 0
    after: int = 0
    pad_token: str = ""

    def member(self, name: str) -> list[Any]:
        """Return one of the library's members, a value for each token, without the padding."""
        return self.part_of(getattr(self.encoding, name))

    def part_of(self, values: list[Any]) -> list[Any]:
        """Return what the row has of values for each token of the encoding."""
        return values if self.kept is None else [v for part in self.kept for v in values[part]]

    def padded(self, name: str, fill: object = None) -> list[Any]:
        """Return one of the library's members with `fill` at the padding."""
        return [fill] * self.before + self.member(name) + [fill] * self.after

    def widened(self, gap: int, padding: Padding) -> Row:
        """Return the row with so much padding."""
        before, after = (gap, 0) if padding.left else (0, gap)
        return replace(self, before=before, after=after, pad_token=padding.token)


class BatchEncoding(dict[str, Any]):
    """What a tokenizer returns: ``input_ids``, ``token_type_ids``, ``attention_mask``.

    A dict whose members are attributes too. `truncated` maps the number of each row that was cut
    to its length in tokens before and after.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> encoding = BertTokenizer.from_pretrained("demo")("Unbelievably so")
    >>> encoding.input_ids == encoding["input_ids"]
    True
    >>> encoding.tokens()
    ['[CLS]', 'un', '##be', '##lie', '##v', '##ably', 'so', '[SEP]']
    >>> encoding.word_ids()
    [None, 0, 0, 0, 0, 0, 1, None]
    >>> encoding.token_to_chars(6), encoding.char_to_token(13)
    (CharSpan(start=13, end=15), 6)
    """

    truncated: Mapping[int, tuple[int, int]]

    def __init__(
        self,
        data: Mapping[str, Any],
        truncated: Mapping[int, tuple[int, int]] | None = None,
        rows: Sequence[Row] = (),
    ) -> None:
        super().__init__(data)
        self.__dict__["truncated"] = dict(truncated or {})
        self.__dict__["_rows"] = tuple(rows)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"an encoding has no {name!r}; it has {', '.join(self)}") from None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row, special ones and padding included."""
        row = self._row(batch_index)
        return row.padded("tokens", row.pad_token)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, the number of its word in its text.

        The words are those that were given, or else what the tokenizer splits a text into before it
        looks for pieces. Special tokens and padding have None.
        """
        return self._row(batch_index).padded("word_ids")

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, 0 for the first text, 1 for the second, else None."""
        return self._row(batch_index).padded("sequence_ids")

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> CharSpan | None:
        """Return the characters of a token, None for special tokens, padding, and beyond the row.

        With one number it is the token's, in the first row; with two, the first is the row's.
        """
        row, token = self._place(batch_or_token_index, token_index)
        owners = row.padded("sequence_ids")
        if token >= len(owners) or owners[token] is None:
            return None
        return CharSpan(*row.padded("offsets")[token])

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the number of the token that a character is in, None where it is in no token.

        Parameters
        ----------
        batch_or_char_index, char_index : int
            With one number it is the character's, in the first row; with two, the first is the
            row's.
        sequence_index : int
            Whether it is a character of the first text (0) or the second (1).
        """
        row, character = self._place(batch_or_char_index, char_index)
        places = zip(row.padded("sequence_ids"), row.padded("offsets", (0, 0)), strict=True)
        for token, (owner, (start, end)) in enumerate(places):
            if owner == sequence_index and start <= character < end:
                return token
        return None

    def to(self, device: object) -> BatchEncoding:
        """Return the encoding itself, which is where NumPy computes: on the "cpu"."""
        if str(device) != "cpu":
            raise InputError(must_be("device", "'cpu', where NumPy computes", device))
        return self

    def _place(self, first: int, second: int | None) -> tuple[Row, int]:
        """Return a row and a number in it, which must not be negative."""
        row, number = (0, first) if second is None else (first, second)
        return self._row(row), as_count("the index", number, least=0)

    def _row(self, index: int) -> Row:
        """Return a row by its number, which may count from the end."""
        rows: tuple[Row, ...] = self.__dict__["_rows"]
        if not rows:
            raise InputError(
                "this encoding does not know its texts: only what a call of the tokenizer returns "
                "knows tokens, words and characters, and not what pad() returns."
            )
        return rows[as_count("the row", index, least=-len(rows), most=len(rows) - 1)]


def segments_of(encoding: Mapping[str, Any]) -> Any:
    """Return the token types of a batch; those of a tokenizer that gives none are all 0.

    Examples
    --------
    >>> segments_of({"input_ids": [[2, 43, 3], [2, 3]]})
    [[0, 0, 0], [0, 0]]
    """
    if "token_type_ids" in encoding:
        return encoding["token_type_ids"]
    ids = encoding["input_ids"]
    return [[0] * len(row) for row in ids] if isinstance(ids, list) else ids * 0
