"""Texts or pairs of them to ids in one array, without padding, as an encoder of many needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase, Normalizer
from tokenizers.normalizers import Sequence as Normalizers

from numpy_bert.errors import TokenizerError
from numpy_bert.reprs import short_repr
from numpy_bert.text.batch import kept_tokens
from numpy_bert.text.inputs import Pair
from numpy_bert.text.library import backend_errors
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["IdEncoder", "Ids", "Tokenized", "joined", "prompted"]

_ALL = (slice(None),)
_ITEM = np.dtype(np.int64).itemsize


class Ids(NamedTuple):
    """The ids of several texts or pairs, one after another.

    Attributes
    ----------
    ids : ndarray of shape (N,), int64
        The ids of all texts.
    lengths : ndarray of shape (B,), int
        How many of the `ids` are each text's.
    cut : dict of int to int
        The texts that were cut, and how many tokens they had.
    types : ndarray of shape (N,), int64, or None
        The segment of each id, 0 or 1, for pairs; None for texts, whose ids are all of segment 0,
        and of tokenizers that give no token types.
    """

    ids: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.intp]
    cut: dict[int, int]
    types: npt.NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return short_repr(self)


class Tokenized(NamedTuple):
    """A text or a pair whose ids are known, so that it can be counted before it is computed.

    Attributes
    ----------
    text : str or (str, str)
        What it was made of; by it the same text is known again.
    ids : bytes
        Its ids, special ones included and cut to what is read, as int64.
    types : bytes or None
        The segment of each id, for a pair.
    whole : int
        How many tokens it had before it was cut.
    """

    text: str | Pair
    ids: bytes
    types: bytes | None
    whole: int

    @property
    def length(self) -> int:
        """How many tokens are computed."""
        return len(self.ids) // _ITEM

    def __repr__(self) -> str:
        return short_repr(self)


def prompted(text: Any, prompt: str) -> Any:
    """Return a text, or a pair, behind a prompt.

    Examples
    --------
    >>> prompted("a", "find: "), prompted(("a", "b"), "find: ")
    ('find: a', ('find: a', 'b'))
    """
    return prompt + text if isinstance(text, str) else (prompt + text[0], text[1])


def joined(items: Sequence[Tokenized], _limit: int | None = None) -> Ids:
    """Return the ids of texts that are tokenized already, in the place of an `IdEncoder`.

    They have been cut to the limit before.

    Examples
    --------
    >>> joined([Tokenized("a", np.array([2, 43, 3]).tobytes(), None, 3)])
    Ids(ids=array([ 2, 43,  3]), lengths=array([3]), cut={}, types=None)
    """
    lengths = np.fromiter((item.length for item in items), np.intp, len(items))
    ids = np.frombuffer(b"".join(item.ids for item in items), np.int64)
    if not items or items[0].types is None:
        return Ids(ids, lengths, {})
    types = b"".join(item.types or b"" for item in items)
    return Ids(ids, lengths, {}, np.frombuffer(types, np.int64))


class IdEncoder:
    """A tokenizer that returns arrays of ids, framed by [CLS] and [SEP].

    It is never changed by a call, so threads can share it.

    Parameters
    ----------
    tokenizer : BertTokenizer
        The tokenizer whose ids, switches and truncation side are used.
    lower_case : bool
        Whether texts are lower-cased first, whatever the tokenizer does, as sentence-transformers'
        do_lower_case asks.

    Attributes
    ----------
    frame : int
        The number of special tokens around a text.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> IdEncoder(BertTokenizer.from_pretrained("demo"))(["a", "a test"], 3)
    Ids(ids=array([ 2, 43,  3,  2, 43,  3]), lengths=array([3, 3]), cut={1: 4}, types=None)
    """

    def __init__(self, tokenizer: BertTokenizer, *, lower_case: bool = False) -> None:
        self._tokenizer, self._lower_case = tokenizer, lower_case
        backend = tokenizer._backend(None)
        if lower_case and not _lowers(backend.normalizer):
            backend = _lowered(backend)
        self._backend = backend
        with backend_errors("tokenizer"):
            frame = backend.encode("")
            self.frame = len(frame)
            self._gives_types = "token_type_ids" in tokenizer.model_input_names
            if self._gives_types and any(backend.encode("a").type_ids):
                raise TokenizerError(
                    "tokenizer: single texts get token types other than 0, which is not supported."
                )

    def __call__(self, texts: Sequence[str] | Sequence[Pair], limit: int | None = None) -> Ids:
        """Return the ids of checked texts or pairs, special ones included, each cut to `limit`.

        Of a pair the longer text is cut first.

        Raises
        ------
        InputError
            If the special tokens alone are more than `limit`.
        """
        with backend_errors("tokenizer"):
            encodings = self._backend.encode_batch_fast(list(texts))
        lengths = np.fromiter(map(len, encodings), np.intp, len(encodings))
        cut, kept = dict[int, int](), dict[int, tuple[slice, ...]]()
        if limit is not None:
            side = self._tokenizer.truncation_side  # as it is now: it can be set
            for row in np.flatnonzero(lengths > limit).tolist():
                cut[row] = int(lengths[row])
                (kept[row],) = kept_tokens(encodings[row], limit, "longest_first", side=side)
            lengths = np.minimum(lengths, limit)

        def joined(name: str) -> npt.NDArray[np.int64]:
            # One list at a time lives: each id of it is a Python object.
            rows = (
                _picked(getattr(encoding, name), kept.get(row, _ALL))
                for row, encoding in enumerate(encodings)
            )
            return np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))

        has_types = self._gives_types and len(texts) > 0 and not isinstance(texts[0], str)
        return Ids(joined("ids"), lengths, cut, joined("type_ids") if has_types else None)

    def apart(
        self, texts: Sequence[str] | Sequence[Pair], limit: int | None = None, *, prompt: str = ""
    ) -> list[Tokenized]:
        """Return the ids of checked texts or pairs, each behind a prompt, by themselves.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> ids = IdEncoder(BertTokenizer.from_pretrained("demo"))
        >>> [(item.length, item.whole) for item in ids.apart(["a", "a test"], 3)]
        [(3, 3), (3, 4)]
        """
        given: list[Any] = list(texts)
        found = self([prompted(text, prompt) for text in given], limit)
        ends = np.cumsum(found.lengths).tolist()
        return [
            Tokenized(
                text,
                found.ids[end - length : end].tobytes(),
                None if found.types is None else found.types[end - length : end].tobytes(),
                found.cut.get(row, length),
            )
            for row, (text, length, end) in enumerate(
                zip(given, found.lengths.tolist(), ends, strict=True)
            )
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what it was made of: a backend's own pickle loses some switches."""
        return partial(IdEncoder, lower_case=self._lower_case), (self._tokenizer,)


def _picked(ids: list[int], kept: Iterable[slice]) -> list[int]:
    """Return some slices of a list as one; the list itself where it is all of it."""
    if kept is _ALL:
        return ids
    return [index for part in kept for index in ids[part]]


def _lowers(normalizer: Normalizer | None) -> bool:
    """Tell whether a normalizer lower-cases all by itself, as sentence-transformers asks it."""
    return any(isinstance(step, Lowercase) for step in _steps(normalizer))


def _lowered(backend: Tokenizer) -> Tokenizer:
    """Return a copy that lower-cases before anything else."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = backend.encode_special_tokens  # lost on the way
    copy.normalizer = Normalizers([Lowercase(), *_steps(backend.normalizer)])
    return copy


def _steps(normalizer: Normalizer | None) -> list[Normalizer]:
    """Return the steps of a normalizer, which may be a sequence of them."""
    if isinstance(normalizer, Normalizers):
        steps: list[Normalizer] = list(normalizer)  # type: ignore[call-overload]
        return steps
    return [] if normalizer is None else [normalizer]
