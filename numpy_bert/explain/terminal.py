"""The same story in a terminal: at most two screens of text, with colours or without."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from numpy_bert.explain.measures import PARTS, Parts, parts_of
from numpy_bert.explain.reading import LayerReading, Reading
from numpy_bert.files import quoted

__all__ = ["terminal"]

_NARROW, _WIDE = 80, 120
# What two screens of 24 lines have room for.
_MOST_TOKENS, _MOST_LAYERS, _MOST_MASKS, _MOST_WORDS = 14, 12, 2, 6
# The background of each part's bar; its letter is what a terminal without colours shows.
_LETTERS = dict(zip(PARTS.values(), ("w", "s", "p"), strict=True))
_COLOURS = {"w": "30;46", "s": "30;43", "p": "30;42"}
_BOLD, _FAINT = "1", "2"


def terminal(reading: Reading, *, width: int = 80, colour: bool = False) -> str:
    """Tell a text's way through a model in at most 48 lines.

    Parameters
    ----------
    reading : Reading
        From `read`.
    width : int
        Columns of the terminal; 80 are used where there are fewer, 120 where there are more.
    colour : bool
        Whether to write the terminal's colours; otherwise the text is plain.

    Returns
    -------
    str
        Lines, the last one without an end.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> reading = explain.read("this is a test", model=model, tokenizer=tokenizer)
    >>> print(explain.terminal(reading).splitlines()[0])
    BERT: 6 tokens, 2 layers of 128 features, 2 heads
    """
    width = min(max(width, _NARROW), _WIDE)
    page = _Page(width, colour=colour)
    config = reading.config
    size = f"{config.num_hidden_layers} layers of {config.hidden_size} features"
    count = f"{len(reading.tokens)} token{'s' * (len(reading.tokens) != 1)}"
    heads = f"{config.num_attention_heads} heads"
    blocks = [
        [page.paint(f"{quoted(reading.name)}: {count}, {size}, {heads}", _BOLD)],
        _embedding(reading, page),
        _walk(reading, page),
        _predictions(reading, page),
        [line for note in reading.notes for line in textwrap.wrap(note, width)],
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

    def bar(self, shares: Sequence[float], columns: int) -> str:
        """Draw shares as a bar; one below nothing takes no room."""
        sizes = np.maximum(np.array(shares, np.float64), 0.0)
        ends = np.rint(np.cumsum(sizes) / max(float(sizes.sum()), 1e-300) * columns).astype(int)
        lengths = np.diff(ends, prepend=0).tolist()
        letters = _LETTERS.values()
        return "".join(
            self.paint(letter * length, _COLOURS[letter])
            for letter, length in zip(letters, lengths, strict=True)
            if length
        )


def _embedding(reading: Reading, page: _Page) -> list[str]:
    """Return the table of the tokens: ids, the three parts of their sums, LayerNorm's figures."""
    parts = parts_of(reading)
    name, bar = (17, 16) if page.is_wide else (12, 11)
    head = f"pos {'token':{name}} {'id':>6} seg   word  segm   posn"
    head += f"    sum {'shares':{bar}}" if page.is_wide else f" {'shares':{bar}}"
    head += "  word  segm  posn" if page.is_wide else ""
    head += "     mean   rstd" + ("  variance" if page.is_wide else "")
    lines = [
        page.paint("Input embedding: LayerNorm(word + segment + position)", _BOLD),
        "How long the three rows are, their shares of the sum, and LayerNorm's figures",
        page.paint(head, _FAINT),
    ]
    numbers = _nearest(reading, _MOST_TOKENS)
    lines += [_token(reading, parts, number, page, name, bar) for number in numbers]
    if len(numbers) < len(reading.tokens):
        lines.append(f"... {len(reading.tokens) - len(numbers)} more tokens")
    p = reading.config.hidden_dropout_prob
    lines.append(
        f"In training, dropout then makes a feature 0 (p = {p:g}) or divides it by {1 - p:g}."
    )
    return lines


def _token(reading: Reading, parts: Parts, number: int, page: _Page, name: int, bar: int) -> str:
    """Return a token's line."""
    token = reading.shown[number]
    norms, shares = parts.norms[number], parts.shares[number]
    mean, variance, rstd = (
        float(reading.embeddings[f"embeddings.LayerNorm.{part}"][number, 0])
        for part in ("mean", "variance", "rstd")
    )
    is_walked = token.position == reading.walked
    text = _fit(token.text, name)
    line = f"{token.position:>3} {page.paint(text, _BOLD) if is_walked else text} {token.id:>6}"
    line += f" {token.segment:>3} " + "".join(f" {_short(norm):>5}" for norm in norms)
    line += f"  {_short(parts.total[number]):>5}" if page.is_wide else ""
    line += f" {page.bar(shares.tolist(), bar)}"
    if page.is_wide:
        line += "".join(f" {100 * share:>4.0f}%" for share in shares)
    line += f"  {mean:>7.4f} {_short(rstd):>6}" + (f"  {variance:>8.1e}" if page.is_wide else "")
    return line


def _walk(reading: Reading, page: _Page) -> list[str]:
    """Return, layer by layer, where the walked token looks, and what it is most like."""
    if not reading.layers:
        return []
    token = reading.walked_token
    left = page.width - 26
    alike = (
        "most like" if len(reading.drawn) == len(reading.tokens) else "most like, of those drawn"
    )
    lines = [
        page.paint(f"Layer by layer: {quoted(token.text)}, position {token.position}", _BOLD),
        page.paint(f"layer  {'takes most from (mean of the heads)':{left - 8}} {alike}", _FAINT),
    ]
    step = -(-len(reading.layers) // _MOST_LAYERS)
    for number in range(step - 1, len(reading.layers), step):
        takes = _listed(_takes(reading, reading.layers[number]), left - 8)
        lines.append(f"{number:>5}  {takes} {_alike(reading, reading.similarity[number + 1])}")
    return lines


def _takes(reading: Reading, layer: LayerReading) -> list[str]:
    """Write which tokens the walked one takes most from in a layer, most first."""
    probs = layer.taken.mean(axis=0)  # (T,)
    best = np.argsort(-probs, kind="stable")[:_MOST_WORDS]
    return [f"{_named(reading, int(place))} {_percent(probs[place])}" for place in best]


def _alike(reading: Reading, similarity: npt.NDArray[np.float64]) -> str:
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
    for found in (reading.predictions or ())[:_MOST_MASKS]:
        words = [f"{quoted(word.token_str)} {_percent(word.score)}" for word in found.words]
        head = f"position {found.position}: "
        lines.append(head + _listed(words, page.width - len(head)).rstrip())
    return [page.paint("Words that fit at the mask", _BOLD), *lines] if lines else []


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


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _fit(text: str, columns: int) -> str:
    """Return a text, control characters shown, in exactly so many columns: cut, or padded."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if _columns(plain) > columns:
        while _columns(plain) > columns - 2:
            plain = plain[:-1]
        plain += ".."
    return plain + " " * (columns - _columns(plain))
