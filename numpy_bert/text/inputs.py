"""What is taken for texts, pairs and lists of them, checked before the Rust library.

One rule for all that takes texts: a str is one; of several there is a length and an order, in one
dimension. So a list, tuple or other sequence, an array, a Series, Index or other column are taken;
a table (whose items are its columns' names), a dict, a set, a generator or a file is not.
"""

from __future__ import annotations

from array import array
from collections import UserString
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import numpy as np

from numpy_bert.errors import InputError
from numpy_bert.messages import shown

__all__ = [
    "MOST_CHARACTERS",
    "Pair",
    "Words",
    "are_texts",
    "as_documents",
    "as_items",
    "as_pairs",
    "as_texts",
    "as_word_items",
    "as_words",
    "check_text",
    "dropped",
    "given_pairs",
    "stream_of_texts",
]

# Some seconds of work in the Rust library; a larger text is somebody's mistake.
MOST_CHARACTERS = 5_000_000
# By these names columns give their items as a list: numpy's and pandas', polars', pyarrow's.
_AS_LIST = ("tolist", "to_list", "to_pylist")
_WORDS = "a list of words, or a list of such lists (is_split_into_words=True)"
_PAIRS = "a pair of texts or a list of pairs"
_DOCUMENTS = "a list of documents, each a list of its sentences"
# These are sequences, but one text each at best: their items are characters or numbers.
_ONE_TEXT = (bytes, bytearray, memoryview, array, UserString)

Pair: TypeAlias = tuple[str, str]
Words: TypeAlias = list[str]


def as_texts(value: object, name: str = "text") -> tuple[bool, list[str]]:
    """Return whether one text was given, and the checked texts, none of which may be a pair.

    Parameters
    ----------
    value : str, or sequence, array, Series or other column of str
        One text, or any number of them in one dimension.
    name : str
        The argument's name, for messages.

    Raises
    ------
    InputError
        If it is anything else, or one of the texts is no str or cannot be encoded.

    Examples
    --------
    >>> as_texts("a")
    (True, ['a'])
    >>> as_texts(np.array(["a", "b"]))
    (False, ['a', 'b'])
    """
    if isinstance(value, str):
        return True, [check_text(value, name)]
    items = _items(value, name)
    return False, [check_text(text, f"{name}[{row}]") for row, text in enumerate(items)]


def stream_of_texts(value: object, name: str = "texts") -> Iterator[str]:
    """Return an iterator over texts, each of which is checked when its turn comes.

    Parameters
    ----------
    value : iterable of str
        Any number of texts in an order, such as a generator; what `as_texts` takes for several is
        taken, too.
    name : str
        The argument's name, for messages.

    Raises
    ------
    InputError
        If it is anything else; and, from the iterator, if a text is no str or cannot be encoded.

    Examples
    --------
    >>> list(stream_of_texts(word for word in ("a", "b")))
    ['a', 'b']
    >>> stream_of_texts("a")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: texts must be an iterable of str; got one text. Put it in a list.
    """
    wanted = "an iterable of str"
    if isinstance(value, str):
        raise InputError(f"{name} must be {wanted}; got one text. Put it in a list.")
    unordered = isinstance(value, (Mapping, AbstractSet))
    is_column = isinstance(value, Sequence) or _shape(value) is not None
    if is_column or unordered or any(hasattr(value, way) for way in _AS_LIST):
        items: Iterable[Any] = _items(value, name, wanted)
    elif isinstance(value, Iterable):
        items = value
    else:
        raise _refused(value, name, "", wanted, "")
    return (check_text(text, f"{name}[{row}]") for row, text in enumerate(items))


def as_documents(value: object, name: str = "documents") -> list[list[str]]:
    """Return checked documents, each of which is a list of its sentences.

    Parameters
    ----------
    value : sequence, array, Series or other column of what `as_texts` takes for several texts
        Documents, in one dimension.
    name : str
        The argument's name, for messages.

    Raises
    ------
    InputError
        If it is anything else, or a document is one text or no texts.

    Examples
    --------
    >>> as_documents([["a", "b"], ("c",)])
    [['a', 'b'], ['c']]
    >>> as_documents(["a", "b"])
    Traceback (most recent call last):
    numpy_bert.errors.InputError: documents[0] must be a list of its sentences; got one text.
    """
    if isinstance(value, str):
        raise InputError(f"{name} must be {_DOCUMENTS}; got one text.")
    found = []
    for number, document in enumerate(_items(value, name, _DOCUMENTS)):
        where = f"{name}[{number}]"
        is_one, sentences = as_texts(document, where)
        if is_one:
            raise InputError(f"{where} must be a list of its sentences; got one text.")
        found.append(sentences)
    return found


def as_items(
    text: object, text_pair: object, names: Pair = ("text", "text_pair")
) -> tuple[bool, list[str | Pair]]:
    """Return whether one text or pair was given, and the checked texts or pairs.

    Several of them stand in what `as_texts` takes; `names` are the arguments' names.
    """
    if isinstance(text, str):
        first = check_text(text, names[0])
        if text_pair is None:
            return True, [first]
        return True, [(first, check_text(text_pair, names[1]))]
    rows = _items(text, names[0])
    if text_pair is None:
        items = [_item(item, f"{names[0]}[{row}]") for row, item in enumerate(rows)]
        if len({isinstance(item, str) for item in items}) > 1:
            raise InputError(f"{names[0]}: some items are texts, some pairs; give all of one kind.")
        return False, items
    seconds = [] if isinstance(text_pair, str) else _items(text_pair, names[1])
    if isinstance(text_pair, str) or len(seconds) != len(rows):
        got = "one text" if isinstance(text_pair, str) else f"{len(seconds)}"
        raise InputError(
            f"{names[1]} must be a list of {len(rows)} texts, as {names[0]} is; got {got}."
        )
    return False, [
        (check_text(a, f"{names[0]}[{row}]"), check_text(b, f"{names[1]}[{row}]"))
        for row, (a, b) in enumerate(zip(rows, seconds, strict=True))
    ]


def as_word_items(
    text: object, text_pair: object, names: Pair = ("text", "text_pair")
) -> tuple[bool, list[Words | tuple[Words, Words]]]:
    """Return whether one text or pair was given as words, and the checked texts or pairs.

    A text is a list of words, or whatever `as_texts` takes for several texts; several texts stand
    in a list of such. A pair in a list is a pair of such.

    Examples
    --------
    >>> as_word_items(["a", "b c"], None)
    (True, [['a', 'b c']])
    >>> as_word_items([["a"], ["b", "c"]], [["d"], ["e"]])
    (False, [(['a'], ['d']), (['b', 'c'], ['e'])])
    """
    single, rows = _word_rows(text, names[0])
    if text_pair is None:
        return single, [_word_item(row, where) for where, row in rows]
    is_one, seconds = _word_rows(text_pair, names[1])
    if is_one is not single or len(seconds) != len(rows):
        wanted = _WORDS if single else f"a list of {len(rows)} lists of words, as {names[0]} is"
        got = "one text" if is_one else f"{len(seconds)} texts"
        raise InputError(f"{names[1]} must be {wanted}; got {got}.")
    return single, [
        (_words(first, where), _words(second, other))
        for (where, first), (other, second) in zip(rows, seconds, strict=True)
    ]


def as_words(value: object, name: str = "text") -> tuple[bool, list[Words]]:
    """Return whether the words of one text were given, and the checked words of all.

    Examples
    --------
    >>> as_words(["a", "b c"]), as_words([["a"], ["b", "c"]])
    ((True, [['a', 'b c']]), (False, [['a'], ['b', 'c']]))
    """
    single, rows = _word_rows(value, name)
    return single, [_words(row, where) for where, row in rows]


def _word_rows(value: object, name: str) -> tuple[bool, list[tuple[str, Any]]]:
    """Return whether words of one text were given, and the texts, each with its place."""
    if isinstance(value, str):
        raise InputError(f"{name} must be {_WORDS}; got one text. Split it: text.split().")
    rows = _items(value, name, _WORDS)
    if not rows or isinstance(rows[0], str):
        return True, [(name, rows)]
    return False, [(f"{name}[{number}]", row) for number, row in enumerate(rows)]


def _word_item(row: Any, where: str) -> Words | tuple[Words, Words]:
    """Check the words of a text, or of a pair of texts."""
    if (
        isinstance(row, (list, tuple))
        and len(row) == 2
        and not any(isinstance(r, str) for r in row)
    ):
        return _words(row[0], f"{where}[0]"), _words(row[1], f"{where}[1]")
    return _words(row, where)


def _words(value: object, where: str) -> Words:
    """Check the words of a text."""
    single, words = as_texts(value, where)
    if single:
        raise InputError(f"{where} must be a list of words; got one text.")
    return words


def as_pairs(first: object, second: object, names: Pair) -> tuple[bool, list[Pair]]:
    """Return whether one pair was given, and the checked pairs; `names` are as in `as_items`."""
    if second is None:
        raise InputError(f"{names[1]} must be a text, or one for each {names[0]}; got None.")
    single, items = as_items(first, second, names)
    return single, [(item[0], item[1]) for item in items]


def given_pairs(value: object, name: str) -> tuple[bool, list[Pair]]:
    """Return whether one pair was given, and the checked pairs, which stand in one argument.

    Parameters
    ----------
    value : pair of str, or sequence, column or array (n, 2) of pairs
        A list, tuple or array of two texts is one pair.
    name : str
        The argument's name, for messages.

    Raises
    ------
    InputError
        If it is anything else, or one of the texts is no str or cannot be encoded.

    Examples
    --------
    >>> given_pairs(["a", "b"], "inputs")
    (True, [('a', 'b')])
    >>> given_pairs([["a", "b"]], "inputs")
    (False, [('a', 'b')])
    """
    is_table = isinstance(value, np.ndarray) and value.ndim == 2
    rows: Any = value.tolist() if is_table else value  # type: ignore[attr-defined]
    if isinstance(rows, str):
        raise InputError(f"{name} must be {_PAIRS}; got one text. For such there is classify.")
    items = _items(rows, name, _PAIRS)
    single = bool(items) and isinstance(items[0], str)
    found = []
    for number, item in enumerate([items] if single else items):
        where = name if single else f"{name}[{number}]"
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            count = f"{len(item)} texts" if isinstance(item, (list, tuple)) else "no pair"
            raise InputError(f"{where} must be {_PAIRS if single else 'a pair'}; got {count}.")
        found.append((check_text(item[0], f"{where}[0]"), check_text(item[1], f"{where}[1]")))
    return single, found


def are_texts(value: object) -> bool:
    """Tell texts from vectors, where both are taken: what holds numbers is vectors.

    An empty list or column is no texts, rather than a vector without features. A value that is
    neither counts as texts, so that `as_texts` says what is wrong with it.

    Examples
    --------
    >>> are_texts(["a", "b"]), are_texts([]), are_texts([0.5, 1.0]), are_texts(np.zeros((2, 3)))
    (True, True, False, False)
    """
    if isinstance(value, str):
        return True
    if len(_shape(value) or ()) > 1:
        try:
            return np.asarray(value).dtype.kind in "OSTU"
        except (TypeError, ValueError, RuntimeError):
            return False  # as of a tensor of torch's that needs gradients
    try:
        items = _items(value, "")
    except InputError:
        return True
    return not items or any(item is None or isinstance(item, str) for item in items)


def _items(value: object, name: str, wanted: str = "a str or a list of str") -> list[Any]:
    """Return several texts as a list; raise InputError for a value that is not taken for them."""
    shape = _shape(value)
    if shape is not None and len(shape) != 1:
        raise _refused(value, name, f" of shape {shape}", wanted, _way_out(value, shape))
    if isinstance(value, _ONE_TEXT):
        raise _refused(value, name, "", wanted, " Make a str of it.")
    if not isinstance(value, type):
        for method in _AS_LIST:
            if callable(getattr(value, method, None)):
                return list(getattr(value, method)())
        if isinstance(value, Sequence):
            return list(value)
    # Not taken although they can be iterated over: of a dict come the keys, of a set the texts in
    # any order, of a file lines with their ends, and of a generator nothing a second time.
    loose = isinstance(value, Iterable)
    hint = " Put the texts into a list, which has a length and an order." if loose else ""
    raise _refused(value, name, "", wanted, hint)


def _shape(value: object) -> tuple[int, ...] | None:
    """Return the shape of an array, a column or a table, None if it has none."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else None


def _way_out(value: object, shape: tuple[int, ...]) -> str:
    """Say what to give in place of what has no dimension, or more than one."""
    if not shape:
        return " Give the text in it: x.item()."
    for attribute in ("columns", "column_names"):  # pandas' and polars', pyarrow's and datasets'
        columns = getattr(value, attribute, None)
        if columns is not None and len(columns):
            return f" Give one of its columns, such as df[{shown(columns[0])}]."
    return " Give one of its rows or columns."


def _refused(value: object, name: str, what: str, wanted: str, hint: str) -> InputError:
    """Say that a value is taken for no texts."""
    return InputError(f"{name} must be {wanted}; got {type(value).__name__}{what}.{hint}")


def _item(item: object, where: str) -> str | Pair:
    """Check one text or pair of a batch."""
    if not isinstance(item, (list, tuple)):
        return check_text(item, where)
    if len(item) != 2:
        raise InputError(
            f"{where} must be a text or a pair of texts; got {len(item)} texts. If they are the "
            "words of one text, say so: is_split_into_words=True."
        )
    return check_text(item[0], f"{where}[0]"), check_text(item[1], f"{where}[1]")


def check_text(text: object, where: str) -> str:
    """Return a text that the Rust library can take; raise InputError otherwise."""
    if not isinstance(text, str):
        missing = " It is a missing value: leave it out, or fill it with a text."
        raise InputError(
            f"{where} must be a str; got {type(text).__name__}."
            f"{missing if _is_missing(text) else ''}"
        )
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"{where}: has {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken. "
            "Split it: a BERT reads some hundred tokens."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as failure:
        raise InputError(
            f"{where}: character {failure.start} is U+{ord(text[failure.start]):04X}, half of a "
            "surrogate pair; the text was decoded wrongly."
        ) from None
    return text if type(text) is str else str.__str__(text)  # numpy's str is one of its own


def _is_missing(value: object) -> bool:
    """Tell whether a value is what tables hold where there is none: None, NaN, pandas' NA, NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)


def dropped(text: str, normalize: Callable[[str], str]) -> list[str]:
    """Return the characters of a text that vanish when it is normalized.

    Printed ones are not looked at: of those only marks can go, when accents are stripped.
    """
    without = normalize("aa")
    gone = {
        character
        for character in set(text)
        if (character == "\ufffd" or not character.isprintable())
        and normalize(f"a{character}a") == without
    }
    return [character for character in text if character in gone]
