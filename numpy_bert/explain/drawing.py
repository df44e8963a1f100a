"""The picture of the input embedding, as SVG: its tables, the rows picked from them, their sum.

A value's colour is its sign's, its opacity its size: nothing is drawn where a value is zero, so a
picture suits a light ground and a dark one.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numpy_bert.arguments import is_number
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.explain.measures import parts_in, scale_of
from numpy_bert.explain.reading import Reading, Token
from numpy_bert.files import check_output, write_atomically
from numpy_bert.messages import must_be, quoted

__all__ = ["MINUS", "PLUS", "Figure", "figure"]

PLUS, MINUS = "#d9541e", "#2f7fd6"
_INK = "#1b1f24"
_LEVELS = 20  # of opacity
_ROW, _GAP, _CELL = 15, 2, 5
_LABELS, _TABLE, _FAN, _SIGN = 176, 22, 40, 26
_HEAD, _FOOT, _MARGIN = 64, 44, 12
_LEAST_TABLE = 110  # the least height of a table, so that it still looks like one
_LONGEST_TOKEN = 12


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Figure:
    """A drawing; a notebook shows it.

    Attributes
    ----------
    svg : str
        The drawing, an SVG 1.1 document without any reference to another file.
    """

    svg: str

    def __repr__(self) -> str:
        return f"<Figure: {len(self.svg):,} characters of SVG>"

    def _repr_svg_(self) -> str:
        return self.svg

    def png(self, *, zoom: float = 2.0) -> bytes:
        """Return the drawing as PNG, on white, its letters from the fonts of this machine.

        Parameters
        ----------
        zoom : float
            How many pixels each unit of the drawing takes.

        Raises
        ------
        InputError
            If the extra ``png`` is not installed, or `zoom` is not from 0.1 to 20.
        """
        if not (is_number(zoom) and 0.1 <= zoom <= 20.0):
            raise InputError(must_be("png: zoom", "a number from 0.1 to 20", zoom))
        return png_renderer()(svg_string=self.svg, zoom=zoom, background="#ffffff")

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the drawing to a file.

        Parameters
        ----------
        path : str or Path
            The file, whose name ends in ``.svg`` or ``.png``.
        force : bool
            Whether a file that is there is replaced.

        Raises
        ------
        InputError
            If the name has another end, or the extra ``png`` is not installed.
        OutputError
            If the file is there already, or cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".png"):
            raise InputError(f"the name must end in .svg or .png; got {quoted(path)}.")
        check_output(path, force=force)
        data = self.png() if path.suffix == ".png" else self.svg.encode("utf-8")
        write_atomically(path, data)


def png_renderer() -> Callable[..., bytes]:
    """Return the function that turns SVG into PNG; it comes with the extra ``png``.

    Raises
    ------
    InputError
        If the extra is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise InputError(
            "png needs the package resvg-py, which pip install 'numpy_bert[png]' brings. The "
            "drawing as .svg needs nothing."
        ) from None
    return svg_to_bytes


def figure(reading: Reading, *, features: int | Sequence[int] = 24) -> Figure:
    """Draw the input embedding of a text: which rows its tokens pick, their sum, its LayerNorm.

    Parameters
    ----------
    reading : Reading
        What `read` returns.
    features : int or sequence of int
        How many of the E features are drawn, from the first one on, or which ones.

    Returns
    -------
    Figure
        A drawing that a notebook shows, and that can be saved as SVG, or as PNG with the extra
        ``png``.

    Raises
    ------
    InputError
        If a feature does not exist, or none is asked for.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> reading = explain.read("this is a test", model=model, tokenizer=tokenizer)
    >>> explain.figure(reading, features=[0, 1, 127]).svg.count("word_embeddings")
    1
    """
    return Figure(svg=draw(reading, chosen_features(reading, features), background=True))


def chosen_features(reading: Reading, features: int | Sequence[int]) -> list[int]:
    """Return the numbers of the features to draw; raise InputError if one does not exist."""
    size = reading.config.embedding_features
    rule = f"figure: features must be a number from 1, or a list of numbers from 0 to {size - 1}"
    given = np.asarray(features)
    if given.dtype.kind not in "iu" or given.ndim > 1 or not given.size:
        raise InputError(f"{rule}; got {quoted(features)}.")
    if given.ndim == 0 and given >= 1:
        return list(range(min(int(given), size)))
    wrong = given[(given < 0) | (given >= size)]
    if given.ndim == 0 or wrong.size:
        raise InputError(f"{rule}; got {(*wrong.tolist(), 0)[0]}.")
    return [int(feature) for feature in given]


def draw(reading: Reading, features: Sequence[int], *, background: bool) -> str:
    """Return the drawing; without a background its ink is the page's."""
    tokens, count = reading.shown, len(reading.drawn)
    block = len(features) * _CELL
    rows_height = count * (_ROW + _GAP) - _GAP
    height = max(rows_height, _LEAST_TABLE)
    first = _HEAD + (height - rows_height) / 2  # of the rows' tops
    tops = [first + number * (_ROW + _GAP) for number in range(count)]
    names = parts_in(reading)
    parts = [reading.embeddings[name][:, features] for name in names]
    total = reading.embeddings["embeddings.sum"][:, features]
    normed = reading.embeddings["embeddings.LayerNorm"][:, features]
    scale = scale_of(*(reading.embeddings[name] for name in (*names, "embeddings.sum")))
    norm_scale = scale_of(reading.embeddings["embeddings.LayerNorm"])

    marks = [_labels(tokens, tops)]
    x: float = _LABELS
    for number, (name, rows, part) in enumerate(zip(names, _tables(reading), parts, strict=True)):
        size, picked = rows
        marks.append(_table(x, height, size, picked, tops))
        x += _TABLE + _FAN
        rows_text = f"{size:,} row{'s' * (size != 1)}"
        marks.append(_heading(x - _TABLE - _FAN, name.partition(".")[2], rows_text))
        marks.append(_block(x, tops, part, scale))
        x += block
        marks.append(_sign(x, _HEAD + height / 2, "+" if number < len(names) - 1 else "="))
        x += _SIGN
    shape = f"{count} x {reading.config.embedding_features}"
    marks += [_heading(x, "sum", shape)]
    marks += [_block(x, tops, total, scale), _sign(x + block, _HEAD + height / 2, "→")]
    x += block + _SIGN
    marks += [_heading(x, "LayerNorm", shape), _block(x, tops, normed, norm_scale)]
    width = x + block + _MARGIN
    bottom = _HEAD + height + _FOOT
    marks.append(_legend(bottom - 16, scale, norm_scale, features, reading))
    ground = f'<rect width="{width:g}" height="{bottom:g}" fill="#ffffff"/>' if background else ""
    text = " ".join(token.text for token in tokens)
    title = f"The input embedding of {quoted(text)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom:g}" '
        f'width="{width:g}" height="{bottom:g}" role="img" color="{_INK}" '
        'font-family="DejaVu Sans, Noto Sans, Arial, sans-serif" font-size="11" '
        f'fill="currentColor"><title>{html.escape(title)}</title>'
        f"{ground}{''.join(marks)}</svg>"
    )


def _tables(reading: Reading) -> list[tuple[int, list[int]]]:
    """Return how many rows each table has, and which of them the drawn tokens pick."""
    config, tokens = reading.config, reading.shown
    tables = {
        "word": (config.vocab_size, [token.id for token in tokens]),
        "segment": (config.type_vocab_size, [token.segment for token in tokens]),
        "position": (config.max_position_embeddings, [token.position_id for token in tokens]),
        "task": (config.task_types, [0 for _ in tokens]),
    }
    return [tables[part] for part in parts_in(reading).values()]


def _labels(tokens: Sequence[Token], tops: Sequence[float]) -> str:
    """Write each token with its position, and the ids that pick its rows."""
    marks = []
    for token, top in zip(tokens, tops, strict=True):
        y = top + _ROW - 4
        text = token.text
        if len(text) > _LONGEST_TOKEN:
            text = text[: _LONGEST_TOKEN - 1] + "…"
        marks.append(
            f'<text x="{_MARGIN + 16}" y="{y:g}" text-anchor="end" opacity=".7">'
            f"{token.position}</text>"
            f'<text x="{_MARGIN + 24}" y="{y:g}" direction="ltr">{xml_text(text)}</text>'
            f'<text x="{_LABELS - 10}" y="{y:g}" text-anchor="end" opacity=".7">{token.id}</text>'
        )
    return "".join(marks)


def _table(x: float, height: float, size: int, picked: Sequence[int], tops: Sequence[float]) -> str:
    """Draw a table, the rows that are picked in it, and a line from each to where it is laid."""
    lines = []
    for row, top in zip(picked, tops, strict=True):
        y = _HEAD + height * (row + 0.5) / size
        end = top + _ROW / 2
        lines.append(
            f"M{x:g} {y:.1f}h{_TABLE}c{_FAN / 2:g} 0 {_FAN / 2:g} {end - y:.1f} {_FAN - 2} "
            f"{end - y:.1f}"
        )
    return (
        f'<rect x="{x:g}" y="{_HEAD}" width="{_TABLE}" height="{height:g}" fill="currentColor" '
        'fill-opacity=".08" stroke="currentColor" stroke-opacity=".4"/>'
        f'<path d="{"".join(lines)}" fill="none" stroke="currentColor" stroke-opacity=".45"/>'
    )


def _block(x: float, tops: Sequence[float], values: Array, scale: float) -> str:
    """Draw the rows' values as cells."""
    cells: dict[tuple[bool, int], list[str]] = defaultdict(list)
    levels = np.rint(np.clip(values / scale, -1.0, 1.0) * _LEVELS).astype(int)
    for row, top in zip(levels.tolist(), tops, strict=True):
        for number, level in enumerate(row):
            if level:
                left = x + number * _CELL
                cells[level > 0, abs(level)].append(f"M{left:g} {top:g}h{_CELL}v{_ROW}h-{_CELL}z")
    drawn = "".join(
        f'<path fill="{PLUS if positive else MINUS}" fill-opacity="{level / _LEVELS:g}" '
        f'd="{"".join(paths)}"/>'
        for (positive, level), paths in sorted(cells.items())
    )
    frames = "".join(
        f"M{x:g} {top:g}h{values.shape[1] * _CELL}v{_ROW}h-{values.shape[1] * _CELL}z"
        for top in tops
    )
    outline = f'<path d="{frames}" fill="none" stroke="currentColor" stroke-opacity=".18"/>'
    return f'<g shape-rendering="crispEdges">{drawn}{outline}</g>'


def _heading(x: float, name: str, size: str) -> str:
    return (
        f'<text x="{x:g}" y="26" font-weight="bold">{html.escape(name)}</text>'
        f'<text x="{x:g}" y="42" opacity=".7">{html.escape(size)}</text>'
    )


def _sign(x: float, y: float, sign: str) -> str:
    place = f'x="{x + _SIGN / 2:g}" y="{y + 6:g}"'
    return f'<text {place} text-anchor="middle" font-size="17">{sign}</text>'


def _legend(
    y: float, scale: float, norm_scale: float, features: Sequence[int], reading: Reading
) -> str:
    """Say what the colours and the columns are, and whether rows are left out."""
    many, size = len(features), reading.config.embedding_features
    first = list(features) == list(range(many))
    which = f"features 0 to {many - 1} of {size}" if first else f"{many} features of {size}"
    if many == 1:
        which = f"feature {features[0]} of {size}"
    words = f"{which}; full colour at {scale:.2g} and beyond, LayerNorm at {norm_scale:.2g}"
    if reading.left_out:
        words += f"; {len(reading.drawn)} of {len(reading.tokens)} tokens"
    return (
        f'<rect x="{_LABELS}" y="{y - 9:g}" width="10" height="10" fill="{MINUS}"/>'
        f'<text x="{_LABELS + 15}" y="{y:g}">negative</text>'
        f'<rect x="{_LABELS + 76}" y="{y - 9:g}" width="10" height="10" fill="{PLUS}"/>'
        f'<text x="{_LABELS + 91}" y="{y:g}">positive</text>'
        f'<text x="{_LABELS + 152}" y="{y:g}" opacity=".75">{words}</text>'
    )


def printable(text: str) -> str:
    """Return a text in which control characters are written out, not obeyed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def xml_text(text: str) -> str:
    """Escape a text for SVG and HTML; the characters that XML cannot hold are written out."""
    return html.escape(printable(text))
