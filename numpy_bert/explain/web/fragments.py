"""Pieces of HTML that the panels share."""

from __future__ import annotations

from collections.abc import Sequence

from numpy_bert.explain.drawing import MINUS, PLUS, xml_text
from numpy_bert.explain.lessons import Lesson
from numpy_bert.explain.reading import Reading, Token

__all__ = ["bdi", "colour_key", "lesson_box", "readout", "row_header", "shape_text", "table"]


def bdi(text: str) -> str:
    """Return a token that runs its own way, whatever stands around it."""
    return f"<bdi dir='ltr'>{xml_text(text)}</bdi>"


def lesson_box(lesson: Lesson, reading: Reading) -> str:
    """Return what is computed: a sentence, the formula, the function to read, its shape."""
    return (
        f"<p>{xml_text(lesson.sentence)}</p><div class='lesson'>"
        f"<code class='formula'>{xml_text(lesson.formula)}</code>"
        f"<code>{xml_text(lesson.function)}</code><code>{shape_text(lesson, reading)}</code></div>"
    )


def shape_text(lesson: Lesson, reading: Reading) -> str:
    """Return the result's shape in letters and in numbers."""
    config = reading.config
    sizes = {
        "T": len(reading.tokens),
        "H": config.hidden_size,
        "A": config.num_attention_heads,
        "I": config.intermediate_size,
        "V": config.vocab_size,
        "3": 3,
    }
    numbers = tuple(sizes[letter] for letter in lesson.axes)
    letters = ", ".join(lesson.axes) + "," * (len(numbers) == 1)
    return f"({letters}) = {numbers}"


def colour_key() -> str:
    """Say what the two colours are."""
    return (
        f'<i class="swatch" style="background:{MINUS};margin-left:0"></i>negative'
        f'<i class="swatch" style="background:{PLUS}"></i>positive.'
    )


def readout(key: str) -> str:
    """Return the place where a panel's values are read out."""
    # What is read in a table the cells say themselves.
    live = "off" if key in ("attention", "similarity") else "polite"
    return (
        f'<output class="readout" id="{key}-readout" aria-live="{live}">Point at a value, or focus '
        "it, to read it here.</output>"
    )


def row_header(token: Token) -> str:
    """Return a token as the head of its row."""
    return f"<th scope='row' class='token'>{token.position}&ensp;{bdi(token.text)}</th>"


def table(columns: Sequence[str], rows: Sequence[str], label: str) -> str:
    """Return rows under the columns' names; those that begin with < stand at the left."""
    head = "".join(
        f"<th scope='col' class='left'>{name[1:]}</th>"
        if name.startswith("<")
        else f"<th scope='col'>{name}</th>"
        for name in columns
    )
    return (
        f"<div class='wide' tabindex='0' role='group' aria-label='{label}'><table class='plain'>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
