"""The panels of the page: what each says and tabulates; its script fills in what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.explain.drawing import MINUS, PLUS, chosen_features, draw, xml_text
from numpy_bert.explain.lessons import WALK_STEPS, Lesson, lesson_of
from numpy_bert.explain.measures import PARTS, parts_of, scale_of
from numpy_bert.explain.reading import Prediction, Reading, Token

__all__ = ["Panel", "panels"]

# Of a histogram: how many bars, and how far it goes beyond what 99 of 100 values stay within.
_BINS, _EDGE = 32, 1.5
_FEATURES = 24
_MOST_COLUMNS = 16


class Panel(NamedTuple):
    """A part of the page: its anchor, its title, its HTML."""

    key: str
    title: str
    html: str


def panels(reading: Reading) -> list[Panel]:
    """Return the panels of a page, in the order in which a model computes."""
    made: list[tuple[str, str, Callable[[Reading], str]]] = [
        ("picture", "Three tables, one sum", _picture),
        ("lookups", "Every feature of every row", _look_ups),
        ("shares", "Where each sum comes from", _shares),
        ("layernorm", "LayerNorm", _layer_norm),
        ("dropout", "Dropout", _dropout),
    ]
    if reading.layers:
        made += [
            ("attention", "Attention: who looks where", _attention),
            ("walk", f"One token's walk: {xml_text(reading.walked_token.text)}", _walk),
        ]
    made.append(("similarity", "How alike the tokens are", _similarity))
    if reading.predictions:
        made.append(("predictions", "The masked word", _predictions))
    return [
        Panel(
            key,
            title,
            f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>'
            f"{_lesson(lesson_of(key, reading.config), reading)}{make(reading)}</section>",
        )
        for key, title, make in made
    ]


def _lesson(lesson: Lesson, reading: Reading) -> str:
    """Return what is computed: a sentence, the formula, the function to read, its shape."""
    return (
        f"<p>{xml_text(lesson.sentence)}</p><div class='lesson'>"
        f"<code class='formula'>{xml_text(lesson.formula)}</code>"
        f"<code>{xml_text(lesson.function)}</code><code>{_shape(lesson, reading)}</code></div>"
    )


def _shape(lesson: Lesson, reading: Reading) -> str:
    """Return the result's shape in letters and in numbers."""
    config = reading.config
    sizes = {
        "T": len(reading.tokens),
        "H": config.hidden_size,
        "A": config.num_attention_heads,
        "I": config.intermediate_size,
        "V": config.vocab_size,
        "3": 3,
        "1": 1,
    }
    numbers = ", ".join(str(sizes[letter]) for letter in lesson.axes)
    return f"({', '.join(lesson.axes)}) = ({numbers})"


def _picture(reading: Reading) -> str:
    """Return the figure."""
    drawn = draw(reading, chosen_features(reading, _FEATURES), background=False)
    return f'<div class="wide" tabindex="0" role="group" aria-label="The picture">{drawn}</div>'


def _look_ups(reading: Reading) -> str:
    """Return places for each token's strips."""
    names = "".join(f"<li>{name}</li>" for name in (*PARTS.values(), "= sum", "LayerNorm"))
    stacks = "".join(
        f'<div class="stack"><h3><bdi>{xml_text(token.text)}</bdi><small> id {token.id}, segment '
        f"{token.segment}, position {token.position}</small></h3>"
        f'<ul class="names" aria-hidden="true">{names}</ul><div class="strips"></div></div>'
        for token in reading.shown
    )
    return (
        f"<p class='faint'>{_key()} A strip is a row, from feature 0 to feature "
        f"{reading.config.hidden_size - 1}; the colour is the sign, its strength the size. Point "
        "at it, or move through it with the arrow keys.</p>"
        f"{stacks}{_readout('lookups')}"
    )


def _key() -> str:
    return (
        f'<i class="swatch" style="background:{MINUS};margin-left:0"></i>negative'
        f'<i class="swatch" style="background:{PLUS}"></i>positive.'
    )


def _readout(key: str) -> str:
    return (
        f'<output class="readout" id="{key}-readout" aria-live="polite">Point at a value, or focus '
        "it, to read it here.</output>"
    )


def _shares(reading: Reading) -> str:
    """Return the table of norms and shares."""
    parts = parts_of(reading)
    rows = []
    for token, norms, shares, total in zip(
        reading.shown, parts.norms, parts.shares, parts.total, strict=True
    ):
        numbers = "".join(f"<td>{norm:.4f}</td>" for norm in (*norms, total))
        percents = "".join(f"<td>{100 * share:.1f} %</td>" for share in shares)
        seen = np.maximum(shares, 0.0)
        widths = 100 * seen / max(float(seen.sum()), 1e-300)
        bar = "".join(
            f'<i class="{name}" style="width:{width:.2f}%"></i>'
            for name, width in zip(PARTS.values(), widths, strict=True)
        )
        rows.append(
            f"<tr>{_token(token)}{numbers}<td><span class='bar' aria-hidden='true'>{bar}</span>"
            f"</td>{percents}</tr>"
        )
    colours = "".join(
        f'<i class="swatch" style="background:var(--{name})"></i>{name}' for name in PARTS.values()
    )
    head = (
        "<th class='left'>token</th><th>|word|</th><th>|segment|</th><th>|position|</th>"
        "<th>|sum|</th><th class='left'>shares</th><th>word</th><th>segment</th><th>position</th>"
    )
    return f"<p class='faint'>{colours}</p>{_table(head, rows)}"


def _layer_norm(reading: Reading) -> str:
    """Return the table of the statistics, and what the rows look like before and after."""
    before = reading.embeddings["embeddings.sum"]
    middle = reading.embeddings["embeddings.LayerNorm.normalized"]
    after = reading.embeddings["embeddings.LayerNorm"]
    statistics = [
        reading.embeddings[f"embeddings.LayerNorm.{name}"][:, 0]
        for name in ("mean", "variance", "rstd")
    ]
    rows = [
        f"<tr>{_token(token)}"
        + "".join(f"<td>{values[k]:.6g}</td>" for values in statistics)
        + "".join(f"<td>{_histogram(rows[k], rows)}</td>" for rows in (before, middle, after))
        + "</tr>"
        for k, token in enumerate(reading.shown)
    ]
    head = (
        "<th class='left'>token</th><th>mean</th><th>variance</th><th>rstd</th>"
        "<th class='left'>before: the sum</th><th class='left'>normalized</th>"
        "<th class='left'>after: · weight + bias</th>"
    )
    limits = ", ".join(
        f"{name} ±{_EDGE * scale_of(array):.3g}"
        for name, array in (("before", before), ("normalized", middle), ("after", after))
    )
    return (
        f"{_table(head, rows)}<p class='faint'>Histograms of a row's "
        f"{reading.config.hidden_size} features, zero in the middle; from edge to edge: "
        f"{limits}, with what is beyond in the outermost bars. ε is "
        f"{reading.config.layer_norm_eps:g}.</p>"
    )


def _histogram(row: Array, rows: Array) -> str:
    """Draw how many features of a row have which value, on the scale of all rows."""
    edge = _EDGE * scale_of(rows)
    counts, _ = np.histogram(np.clip(row, -edge, edge), bins=_BINS, range=(-edge, edge))
    heights = 26 * counts / max(int(counts.max()), 1)
    bars = "".join(f"M{3 * k} 27v-{height:.1f}h3v{height:.1f}" for k, height in enumerate(heights))
    label = f"from {float(row.min()):.3g} to {float(row.max()):.3g}"
    return (
        f'<svg class="histogram" viewBox="0 0 {3 * _BINS} 28" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}"><title>{label}</title><path d="{bars}"/></svg>'
    )


def _dropout(reading: Reading) -> str:
    """Return the controls and the place of dropout on the walked token's vector."""
    p = reading.config.hidden_dropout_prob
    rows = ("LayerNorm", "mask", "after it", "mean of 20 seeds")
    names = "".join(f"<li>{name}</li>" for name in rows)
    return (
        f"<p class='faint'>On the vector of “{xml_text(reading.walked_token.text)}”, position "
        f"{reading.walked}. The mask of a seed is <code>numpy_bert.ops.dropout.draw_keep((H,), p, "
        "numpy.random.default_rng(seed))</code>; the mean over many comes near to the vector.</p>"
        '<div class="controls"><label for="p">p <input type="range" id="p" min="0" max="0.95" '
        f'step="0.01" value="{min(p, 0.95):.2f}"><output id="p-value" for="p"></output></label>'
        '<label for="seed">seed <input type="number" id="seed" min="0" max="19" value="0"></label>'
        f'</div><div class="stack"><span></span><ul class="names" aria-hidden="true">{names}</ul>'
        '<div class="strips"></div></div><p id="dropout-figures" aria-live="polite"></p>'
        f"{_readout('dropout')}"
    )


def _attention(_: Reading) -> str:
    """Return the places of the wall of maps and of the chosen one."""
    return (
        "<p class='faint'>Choose a head. The strength of the colour is the square root of the "
        "share, so that small ones are seen; a row of the map is the token that looks.</p>"
        f"{_maps('attention', 'Layers and heads', '')}"
    )


def _walk(reading: Reading) -> str:
    """Return the layers' slider and the steps of a layer."""
    last = len(reading.layers) - 1
    steps = "".join(
        f'<div class="step"><div><h3>{xml_text(name)}</h3>{_step(name, reading)}</div>'
        f'<div><div class="strips" data-step="{name}"></div>{_columns(name, reading)}</div></div>'
        for name in WALK_STEPS
    )
    return (
        f'<div class="controls"><label for="layer">layer <input type="range" id="layer" min="0" '
        f'max="{last}" value="0"><output id="layer-value" for="layer"></output></label></div>'
        f"{steps}{_readout('walk')}"
    )


def _columns(name: str, reading: Reading) -> str:
    """Return the tokens that the columns of scores and shares stand for, if there is room."""
    if "TT" not in lesson_of(name, reading.config).axes or len(reading.drawn) > _MOST_COLUMNS:
        return ""
    names = "".join(f"<bdi>{xml_text(token.text)}</bdi>" for token in reading.shown)
    grid = f"grid-template-columns: repeat({len(reading.drawn)}, minmax(0, 1fr))"
    return f'<div class="columns" aria-hidden="true" style="{grid}">{names}</div>'


def _step(name: str, reading: Reading) -> str:
    """Return a step's lesson in small."""
    lesson = lesson_of(name, reading.config)
    return (
        f"<p>{xml_text(lesson.sentence)} <code>{xml_text(lesson.formula)}</code></p>"
        f"<p class='faint'><code>{xml_text(lesson.function)} {_shape(lesson, reading)}</code></p>"
    )


def _similarity(_: Reading) -> str:
    """Return the places of the wall of maps and of the chosen one."""
    return _maps("similarity", "The embedding, then each layer", " narrow")


def _maps(key: str, label: str, kind: str) -> str:
    return (
        f'<div class="maps{kind}"><div class="thumbs" id="{key}-wall" role="radiogroup" '
        f'aria-label="{label}"></div><div><h3 id="{key}-which" aria-live="polite"></h3>'
        f'<div class="wide"><table class="grid" role="grid" id="{key}-map" '
        f'aria-labelledby="{key}-which"></table></div>{_readout(key)}</div></div>'
    )


def _predictions(reading: Reading) -> str:
    """Return the words that fit at each mask."""
    return "".join(_prediction(found) for found in reading.predictions or ())


def _prediction(found: Prediction) -> str:
    best = max(word.score for word in found.words)
    rows = [
        f"<tr><td class='token'><bdi>{xml_text(word.token_str)}</bdi></td><td>{word.token}</td>"
        f"<td>{100 * word.score:.4g} %</td><td><span class='bar' aria-hidden='true'>"
        f"<i class='word' style='width:{100 * word.score / best:.2f}%'></i></span></td></tr>"
        for word in found.words
    ]
    head = "<th class='left'>word</th><th>id</th><th>probability</th><th></th>"
    return f"<h3>At position {found.position}</h3>{_table(head, rows)}"


def _token(token: Token) -> str:
    text = f"{token.position}&ensp;<bdi>{xml_text(token.text)}</bdi>"
    return f"<th scope='row' class='token'>{text}</th>"


def _table(head: str, rows: Sequence[str]) -> str:
    return (
        f"<div class='wide' tabindex='0' role='group'><table class='plain'><thead><tr>{head}</tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
