"""The panels of the page: what each says and tabulates; its script fills in what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from numpy_bert.explain.lessons import lesson_of
from numpy_bert.explain.reading import Reading
from numpy_bert.explain.web import embedding_panels, layer_panels
from numpy_bert.explain.web.fragments import bdi, lesson_box

__all__ = ["Panel", "panels"]


class Panel(NamedTuple):
    """A part of the page: its anchor, its title, its HTML."""

    key: str
    title: str
    html: str


def panels(reading: Reading) -> list[Panel]:
    """Return the panels of a page, in the order in which a model computes."""
    made: list[tuple[str, str, Callable[[Reading], str]]] = [
        ("picture", "Three tables, one sum", embedding_panels.picture),
        ("lookups", "Every feature of every row", embedding_panels.look_ups),
        ("shares", "Where each sum comes from", embedding_panels.shares),
        ("layernorm", "LayerNorm", embedding_panels.layer_norm),
        ("dropout", "Dropout", embedding_panels.dropout),
        ("attention", "Attention: which token attends to which", layer_panels.attention),
        ("walk", f"One token's walk: {bdi(reading.walked_token.text)}", layer_panels.walk),
        ("similarity", "How alike the tokens are", layer_panels.similarity),
    ]
    if reading.predictions:
        made.append(("predictions", "The masked words", layer_panels.predictions))
    return [
        Panel(
            key,
            title,
            f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>'
            f"{lesson_box(lesson_of(key, reading.config), reading)}{make(reading)}</section>",
        )
        for key, title, make in made
    ]
