"""The page: one HTML file with the picture, every number it shows, and the script that draws them.

The files beside this one are its parts: ``page.html`` is the frame, ``page.css`` its looks;
``strips.js``, ``maps.js`` and ``page.js`` draw; ``panels.py`` says and tabulates.
Nothing is fetched when it is opened.
"""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from numpy_bert import __version__
from numpy_bert.arrays import Array
from numpy_bert.explain.drawing import xml_text
from numpy_bert.explain.measures import parts_in, scale_of
from numpy_bert.explain.reading import Reading, Token
from numpy_bert.explain.web.panels import dropout_draws, panels

__all__ = ["page"]

# Characters of a heading; the tokens below it say the rest.
_LONGEST = 200
# The largest of the whole numbers that a quantized array is made of.
_LARGEST = 32767
_SCRIPTS = ("strips.js", "maps.js", "page.js")


def page(reading: Reading) -> str:
    """Return the page of a text's way through a model: one HTML file that opens from the disk.

    It holds the input embedding exactly, and the layers' steps in 16 bits a value.

    Parameters
    ----------
    reading : Reading
        What `read` returns.

    Returns
    -------
    str
        The HTML, to be saved as UTF-8.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer, explain
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> reading = explain.read("1 < 2", model=model, tokenizer=tokenizer)
    >>> "<h1><bdi>1 &lt; 2</bdi></h1>" in explain.page(reading)
    True
    """
    found = panels(reading)
    text = " / ".join(text.strip() or "(an empty text)" for text in reading.texts)
    return Template(_part("page.html")).substitute(
        title=xml_text(text[:80]),
        heading=xml_text(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"),
        model=xml_text(f"{reading.name}: {reading.summary}"),
        tokens=_token_list(reading),
        notes="".join(
            f'<p class="note">{xml_text(note[0].upper() + note[1:])}</p>'
            for note in (*reading.notes, *reading.left_out)
        ),
        links="".join(f'<a href="#{panel.key}">{panel.title}</a>' for panel in found),
        panels="\n".join(panel.html for panel in found),
        version=__version__,
        style=_part("page.css"),
        data=json.dumps(_data(reading), allow_nan=False).replace("<", "\\u003c"),
        script="\n".join(_part(name) for name in _SCRIPTS),
    )


def _part(name: str) -> str:
    return (files("numpy_bert.explain.web") / name).read_text("utf-8")


def _token_list(reading: Reading) -> str:
    """Return the drawn tokens, with a mark where some are left out."""
    items, last = [], -1
    for token in reading.shown:
        if token.position != last + 1:
            items.append("<li>…<small>not drawn</small></li>")
        kind = "second" if token.segment else "first"
        walked = ' walked" aria-current="true' if token.position == reading.walked else ""
        items.append(
            f'<li class="{kind}{walked}"><bdi dir="ltr">{xml_text(token.text)}</bdi>'
            f"<small>{token.position} · id {token.id}</small></li>"
        )
        last = token.position
    if last + 1 < len(reading.tokens):
        items.append("<li>…<small>not drawn</small></li>")
    return "".join(items)


def _data(reading: Reading) -> dict[str, Any]:
    """Return what the script draws."""
    return {
        "tokens": [
            {"text": t.text, "id": t.id, "segment": t.segment, "position": t.position}
            for t in reading.shown
        ],
        "walked": reading.drawn.index(reading.walked),
        "features": reading.config.hidden_size,
        "parts": [
            {"name": part, "step": name, "rows": [_row(token, part) for token in reading.shown]}
            for name, part in parts_in(reading).items()
        ],
        "isPartial": len(reading.drawn) < len(reading.tokens),
        "embeddings": {name: _exact(array) for name, array in reading.embeddings.items()},
        "scales": {name: scale_of(*arrays) for name, arrays in _scaled_alike(reading).items()},
        "draws": _exact(dropout_draws(reading.config.embedding_features)),
        "layers": [
            {
                "probs": _quantized(layer.probs),
                "rest": _quantized(layer.rest),
                "walk": {name: _quantized(array) for name, array in layer.walk.items()},
            }
            for layer in reading.layers
        ],
        "similarity": _quantized(reading.similarity),
    }


def _row(token: Token, part: str) -> int:
    """Return which row of a table a token picks."""
    rows = {"word": token.id, "segment": token.segment, "position": token.position_id}
    return rows.get(part, 0)  # every token is of task 0


def _scaled_alike(reading: Reading) -> dict[str, list[Array]]:
    """Return the arrays whose colours mean the same, as in the figure."""
    rows = reading.embeddings
    return {
        "sum": [rows[name] for name in (*parts_in(reading), "embeddings.sum")],
        "LayerNorm": [rows["embeddings.LayerNorm"]],
    }


def _exact(array: Array) -> dict[str, Any]:
    """Pack an array to the bit, float32 or float64.

    Examples
    --------
    >>> _exact(np.array([[1.0]], np.float32))
    {'dtype': 'float32', 'shape': [1, 1], 'base64': 'AACAPw=='}
    """
    return _packed(array, array.dtype.name)


def _quantized(array: Array) -> dict[str, Any]:
    """Pack an array in 16 bits a value: whole numbers that are to be multiplied by ``scale``.

    A value is off by half of ``scale`` at most, which is the largest size over 32767.

    Examples
    --------
    >>> packed = _quantized(np.array([0.5, -1.0]))
    >>> packed["dtype"], packed["scale"] * 32767
    ('int16', 1.0)
    """
    largest = float(np.abs(array).max(initial=0.0))
    scale = largest / _LARGEST or 1.0
    levels = np.rint(array.astype(np.float64) / scale).astype(np.int16)
    return _packed(levels, "int16") | {"scale": scale}


def _packed(array: Any, dtype: str) -> dict[str, Any]:
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {
        "dtype": dtype,
        "shape": list(array.shape),
        "base64": base64.b64encode(data).decode("ascii"),
    }
