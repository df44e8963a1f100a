"""The panels of what follows: attention, a token's walk, similarity, the words at a mask."""

from __future__ import annotations

from numpy_bert.explain.drawing import xml_text
from numpy_bert.explain.lessons import WALK_STEPS, lesson_of
from numpy_bert.explain.reading import Prediction, Reading
from numpy_bert.explain.web.fragments import bdi, colour_key, readout, shape_text, table

__all__ = ["attention", "predictions", "similarity", "walk"]


def attention(_: Reading) -> str:
    """Return the places of the wall of maps and of the chosen one."""
    return (
        "<p class='faint'>Choose a head. The strength of the colour is the square root of the "
        "weight, so that small ones are seen; a row of the map is the token that attends.</p>"
        f"{_maps('attention', 'Layers and heads', '')}"
    )


def walk(reading: Reading) -> str:
    """Return the layers' slider and the steps of a layer."""
    last = len(reading.layers) - 1
    steps = "".join(
        f'<div class="step"><div><h3>{xml_text(name)}</h3>{_step(name, reading)}</div>'
        f"{_step_strips(name, reading)}</div>"
        for name in WALK_STEPS
    )
    return (
        f'<div class="controls"><label for="layer">layer <input type="range" id="layer" min="0" '
        f'max="{last}" value="0"><span id="layer-value" aria-hidden="true"></span></label></div>'
        f"<p class='faint'>{colour_key()} Each strip has a scale of its own, said beside its name: "
        "compare colours within a strip. Weights are drawn by their square roots.</p>"
        f"{steps}{readout('walk')}"
    )


def _step_strips(name: str, reading: Reading) -> str:
    """Return the place of a step's strips; of those by head with what rows and columns are."""
    strips = f'<div class="strips" data-step="{name}"></div>'
    if "TT" not in lesson_of(name, reading.config).axes:
        return f"<div>{strips}</div>"
    heads = "".join(f"<li>{head}</li>" for head in range(reading.config.num_attention_heads))
    return (
        f'<div class="byhead"><ul class="names" aria-hidden="true">{heads}</ul>{strips}'
        f'<div class="columns" aria-hidden="true" data-of="{name}"></div></div>'
    )


def _step(name: str, reading: Reading) -> str:
    """Return a step's lesson in small."""
    lesson = lesson_of(name, reading.config)
    return (
        f"<p>{xml_text(lesson.sentence)} <code>{xml_text(lesson.formula)}</code></p>"
        f"<p class='faint'><code>{xml_text(lesson.function)} {shape_text(lesson, reading)}</code>, "
        f'<span id="scale-{name}"></span></p>'
    )


def similarity(_: Reading) -> str:
    """Return the places of the wall of maps and of the chosen one."""
    return (
        f"<p class='faint'>{colour_key()} Full colour at 1 and at -1.</p>"
        f"{_maps('similarity', 'The embedding, then each layer', ' narrow')}"
    )


def _maps(key: str, label: str, kind: str) -> str:
    return (
        f'<div class="maps{kind}"><div class="thumbs" id="{key}-wall" role="radiogroup" '
        f'aria-label="{label}"></div><div><h3 id="{key}-which"></h3>'
        f'<div class="wide"><table class="grid" role="grid" id="{key}-map" '
        f'aria-labelledby="{key}-which"></table></div>{readout(key)}</div></div>'
    )


def predictions(reading: Reading) -> str:
    """Return the words that fit at each mask."""
    return "".join(_prediction(found) for found in reading.predictions or ())


def _prediction(found: Prediction) -> str:
    best = max(word.score for word in found.words)
    rows = [
        f"<tr><th scope='row' class='token'>{bdi(word.token_str)}</th>"
        f"<td>{word.token}</td>"
        f"<td>{100 * word.score:#.4g} %</td><td><span class='bar' aria-hidden='true'>"
        f"<i class='word' style='width:{100 * word.score / best:.2f}%'></i></span></td></tr>"
        for word in found.words
    ]
    columns = ["<word", "id", "probability", "<relative to the best"]
    title = f"At position {found.position}"
    return f"<h3>{title}</h3>{table(columns, rows, title)}"
