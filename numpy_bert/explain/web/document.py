"""The page: one HTML file with the picture, every number it shows, and the script that draws them.

The files beside this one are its parts: ``page.html`` the frame, ``page.css`` its looks,
``strips.js``, ``maps.js`` and ``page.js`` what draws; ``panels.py`` what is said and tabulated.
Nothing is fetched when it is opened.
"""

from __future__ import annotations

import json
from importlib.resources import files
from string import Template
from typing import Any

from numpy_bert import __version__
from numpy_bert.arrays import Array
from numpy_bert.explain.drawing import xml_text
from numpy_bert.explain.measures import PARTS, scale_of
from numpy_bert.explain.reading import Reading
from numpy_bert.explain.web.draws import dropout_draws
from numpy_bert.explain.web.packing import exact, quantized
from numpy_bert.explain.web.panels import panels

__all__ = ["page"]

# Characters of a heading; the tokens below it say the rest.
_LONGEST = 200
_SCRIPTS = ("strips.js", "maps.js", "page.js")


def page(reading: Reading) -> str:
    """Return the page of a text's way through a model: one HTML file that opens from the disk.

    It holds the input embedding exactly, and the layers' steps in 16 bits a value.

    Parameters
    ----------
    reading : Reading
        From `read`.

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
    config = reading.config
    found = panels(reading)
    text = " / ".join(text.strip() or "(an empty text)" for text in reading.texts)
    model = (
        f"{reading.name}: {len(reading.tokens)} tokens, {config.num_hidden_layers} layers of "
        f"{config.hidden_size} features, {config.num_attention_heads} heads each"
    )
    return Template(_part("page.html")).substitute(
        title=xml_text(text[:80]),
        heading=xml_text(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"),
        model=xml_text(model),
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
        "isPartial": len(reading.drawn) < len(reading.tokens),
        "embeddings": {name: exact(array) for name, array in reading.embeddings.items()},
        "scales": {name: scale_of(*arrays) for name, arrays in _scaled_alike(reading).items()},
        "draws": exact(dropout_draws(reading.config.hidden_size)),
        "layers": [
            {
                "probs": quantized(layer.probs),
                "rest": quantized(layer.rest),
                "walk": {name: quantized(array) for name, array in layer.walk.items()},
            }
            for layer in reading.layers
        ],
        "similarity": quantized(reading.similarity),
    }


def _scaled_alike(reading: Reading) -> dict[str, list[Array]]:
    """Return the arrays whose colours mean the same, as in the figure."""
    rows = reading.embeddings
    return {
        "sum": [rows[name] for name in (*PARTS, "embeddings.sum")],
        "LayerNorm": [rows["embeddings.LayerNorm"]],
    }
