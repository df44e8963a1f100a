"""The same story in a terminal: at most two screens of text, with colours or without."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_bert.explain.drawing import printable
from numpy_bert.explain.measures import PARTS, Floats, Parts, parts_in, parts_of
from numpy_bert.explain.reading import LayerReading, Reading
from numpy_bert.messages import quoted

__all__ = ["terminal"]

_NARROW, _WIDE = 80, 120
# What two screens of 24 lines have room for.
_MOST_TOKENS, _MOST_LAYERS, _MOST_MASKS, _MOST_WORDS = 14, 12, 2, 6
# The background of each part's bar; its letter is what a terminal without colours shows.
_LETTERS = {part: part[0] for part in PARTS.values()}
_COLOURS = {"w": "30;46", "s": "30;43", "p": "30;42", "t": "30;45"}
_BOLD, _FAINT = "1", "2"


def terminal(reading: Reading, *, width: int = 80, colour: bool = False) -> str:
    """Tell a text's way through a model in at most 48 lines.

    Parameters
    ----------
    reading : Reading
        What `read` returns.
    width : int
        How many columns the terminal has; at least 80 are used and at most 120.
    colour : bool
        Whether to write the terminal's colours; otherwise the text is plain.

    Returns
    -------
    str
        The lines, with no line break after the last one.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> reading = explain.read("this is a test", model=model, tokenizer=tokenizer)
    >>> print(explain.terminal(reading).splitlines()[0])
    BERT: 6 tokens, 2 layers of 128 features, 2 heads each
    """
    width = min(max(width, _NARROW), _WIDE)
    page = _Page(width, colour=colour)
    name, rest = quoted(reading.name), f": {reading.summary}"
    if _columns(name + rest) > width:
        name = name.rpartition("/")[2]
    if _columns(name + rest) > width:
        name = _fit(name, width - len(rest))
    blocks = [
        [page.heading(name + rest)],
        _embedding(reading, page),
        _walk(reading, page),
        _predictions(reading, page),
        [
            line
            for note in reading.notes
            for line in textwrap.wrap(note[0].upper() + note[1:], width)
        ],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


class _Page:
    """How wide the terminal is, and whether it has colours."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self.width = width
        self.is_wide = width >= _WIDE
        self._colour = colour

    def paint(self, text: str, style: str) -> str:
        """Return text in a style, plain where there are no colours."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def heading(self, text: str) -> str:
        """Return a heading, no wider than the page."""
        return self.paint(_fit(text, self.width).rstrip(), _BOLD)

    def bar(self, shares: Floats, letters: Sequence[str], columns: int) -> str:
        """Draw shares, each as long as its size, in capitals where it is below zero."""
        sizes = np.abs(shares)
        if not sizes.any():
            return " " * columns
        ends = np.rint(np.cumsum(sizes) / sizes.sum() * columns).astype(int)
        lengths = np.diff(ends, prepend=0).tolist()
        parts = zip(letters, shares.tolist(), lengths, strict=True)
        return "".join(
            self.paint((letter.upper() if share < 0 else letter) * length, _COLOURS[letter])
            for letter, share, length in parts
            if length
        )


class _Columns(NamedTuple):
    """How the table of the tokens is laid out: its parts' letters, and the widths that vary."""

    letters: tuple[str, ...]
    has_segments: bool
    name: int
    bar: int


def _columns_of(parts: Sequence[str], page: _Page) -> _Columns:
    """Return the layout; what fewer parts leave is given to the tokens and the shares' bar."""
    name, bar = (17, 16) if page.is_wide else (12, 11)
    has_segments = "segment" in parts
    room = (3 - len(parts)) * (12 if page.is_wide else 6) + (0 if has_segments else 4)
    letters = tuple(_LETTERS[part] for part in parts)
    return _Columns(letters, has_segments, name + room - room // 2, bar + room // 2)


def _embedding(reading: Reading, page: _Page) -> list[str]:
    """Return the table of the tokens: ids, the parts of their sums, LayerNorm's figures."""
    parts, names = parts_of(reading), [*parts_in(reading).values()]
    columns = _columns_of(names, page)
    head = f"pos {'token':{columns.name}} {'id':>6}{' seg' * columns.has_segments} "
    head += "".join(f"   |{letter}|" for letter in columns.letters)
    head += f"  |sum| {'shares':{columns.bar}}" if page.is_wide else f" {'shares':{columns.bar}}"
    head += "".join(f"{letter:>6}" for letter in columns.letters) if page.is_wide else ""
    head += "     mean   rstd" + ("  variance" if page.is_wide else "")
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    lines = [
        page.heading(f"Input embedding: LayerNorm({' + '.join(names)})"),
        f"Lengths of the {listed} rows, shares of the sum, LayerNorm",
        page.paint(head, _FAINT),
    ]
    numbers = _nearest(reading, _MOST_TOKENS)
    lines += [_token(reading, parts, number, page, columns) for number in numbers]
    if len(numbers) < len(reading.tokens):
        lines.append(f"... {len(reading.tokens) - len(numbers)} more tokens")
    if (parts.shares[numbers] < 0).any():
        lines.append("Capitals: a row that points away from the sum, whose share is below zero.")
    p = reading.config.hidden_dropout_prob
    kept = f" or divides it by {1 - p:.4g}" if p < 1 else ""
    lines.append(
        f"In training, dropout then makes a feature 0 (p = {p:.4g}){kept}."
        if p
        else "This model has no dropout here (hidden_dropout_prob is 0)."
    )
    return lines


def _token(reading: Reading, parts: Parts, number: int, page: _Page, columns: _Columns) -> str:
    """Return a token's line."""
    token = reading.shown[number]
    norms, shares = parts.norms[number], parts.shares[number]
    mean, variance, rstd = (
        float(reading.embeddings[f"embeddings.LayerNorm.{part}"][number, 0])
        for part in ("mean", "variance", "rstd")
    )
    is_walked = token.position == reading.walked
    text = _fit(token.text, columns.name)
    line = f"{token.position:>3} {page.paint(text, _BOLD) if is_walked else text} {token.id:>6}"
    line += f" {token.segment:>3}" if columns.has_segments else ""
    line += " " + "".join(f" {_short(norm):>5}" for norm in norms)
    line += f"  {_short(parts.total[number]):>5}" if page.is_wide else ""
    line += f" {page.bar(shares, columns.letters, columns.bar)}"
    if page.is_wide:
        line += "".join(f" {_whole_percent(share):>5}" for share in shares)
    line += f"  {_fixed(mean):>7} {_short(rstd):>6}"
    return f"{line}  {variance:>8.1e}" if page.is_wide else line


def _walk(reading: Reading, page: _Page) -> list[str]:
    """Return, layer by layer, where the walked token looks, and what it is most like."""
    token = reading.walked_token
    left = page.width - 26
    alike = (
        "most like" if len(reading.drawn) == len(reading.tokens) else "most like, of those drawn"
    )
    lines = [
        page.heading(f"Layer by layer: position {token.position}, {quoted(token.text)}"),
        page.paint(f"layer  {'attends most to (mean of the heads)':{left - 8}} {alike}", _FAINT),
    ]
    last = len(reading.layers) - 1
    step = -(-len(reading.layers) // _MOST_LAYERS)
    for number in range(last % step, last + 1, step):
        attended = _listed(_attended(reading, reading.layers[number]), left - 8)
        lines.append(f"{number:>5}  {attended} {_alike(reading, reading.similarity[number + 1])}")
    return lines


def _attended(reading: Reading, layer: LayerReading) -> list[str]:
    """Write which tokens the walked one takes most from in a layer, most first."""
    probs = layer.walked_probs.mean(axis=0)  # (T,)
    best = np.argsort(-probs, kind="stable")[:_MOST_WORDS]
    return [f"{_named(reading, int(place))} {_percent(probs[place])}" for place in best]


def _alike(reading: Reading, similarity: Floats) -> str:
    """Write which other token the walked one is most like after a layer."""
    where = reading.drawn.index(reading.walked)
    row = similarity[where].copy()
    row[where] = -np.inf
    best = int(row.argmax())
    if best == where:
        return "(no other token)"
    return _fit(f"{row[best]:.2f} {_named(reading, reading.drawn[best])}", 24).rstrip()


def _predictions(reading: Reading, page: _Page) -> list[str]:
    """Return the words that fit at the masks."""
    lines = []
    predictions = reading.predictions or ()
    for found in predictions[:_MOST_MASKS]:
        words = [f"{quoted(word.token_str)} {_percent(word.score)}" for word in found.words]
        head = f"position {found.position}: "
        lines.append(head + _listed(words, page.width - len(head)).rstrip())
    if len(predictions) > _MOST_MASKS:
        left = len(predictions) - _MOST_MASKS
        lines.append(f"... {left} more mask{'s' * (left > 1)}")
    return [page.heading("Words that fit at the mask"), *lines] if lines else []


def _nearest(reading: Reading, most: int) -> list[int]:
    """Return which of the drawn tokens are listed: the first, the last, those by the walked."""
    where, count = reading.drawn.index(reading.walked), len(reading.drawn)
    order = sorted(range(count), key=lambda k: (k not in (0, count - 1), abs(k - where), k))
    return sorted(order[:most])


def _named(reading: Reading, place: int) -> str:
    """Write the token of a position, with that where the same text is there again."""
    text = reading.tokens[place].text
    same = sum(other.text == text for other in reading.tokens)
    return f"{quoted(text)}" + (f"@{place}" if same > 1 else "")


def _listed(items: Sequence[str], columns: int) -> str:
    """Return as many items as there is room for, in exactly so many columns; at least one."""
    text = items[0]
    for item in items[1:]:
        if _columns(f"{text}, {item}") > columns:
            break
        text = f"{text}, {item}"
    return _fit(text, columns)


def _percent(share: float) -> str:
    if share >= 0.1:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.1f}%" if share >= 0.001 else f"{100 * share:.1g}%"


def _short(value: float) -> str:
    """Write a number in at most five characters, if it can be."""
    return f"{value:.3f}" if value < 9.9995 else f"{value:.1f}" if value < 999.5 else f"{value:.0e}"


def _fixed(value: float) -> str:
    """Write a number in at most seven characters, with four decimals if it can be."""
    return f"{value:.4f}" if abs(value) < 9.99995 else f"{value:.0e}"


def _whole_percent(share: float) -> str:
    """Write a share in at most five characters; of a larger one only the sign has a meaning."""
    return f"{100 * share:.0f}%" if abs(share) < 9.995 else ">999%" if share > 0 else "<-9e2"


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_column, text))


def _column(character: str) -> int:
    """Return the columns of a character: 0 for a mark on another, a Korean vowel or final."""
    is_mark = unicodedata.category(character) in ("Mn", "Me", "Cf")
    if is_mark or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fit(text: str, columns: int) -> str:
    """Return a text, control characters shown, in exactly so many columns: cut, or padded."""
    plain = printable(text)
    if _columns(plain) > columns:
        while _columns(plain) > columns - 2:
            plain = plain[:-1]
        plain += ".."
    return plain + " " * (columns - _columns(plain))
