"""The panels of the page: what each says and tabulates; its script fills in what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.explain.drawing import MINUS, PLUS, chosen_features, draw, xml_text
from numpy_bert.explain.lessons import WALK_STEPS, Lesson, count_of, lesson_of
from numpy_bert.explain.measures import parts_in, parts_of, scale_of
from numpy_bert.explain.reading import Prediction, Reading, Token

__all__ = ["SEEDS", "Panel", "dropout_draws", "panels"]

# How many bars a histogram has, and how far it goes beyond what 99 of 100 values stay within.
_BINS, _EDGE = 32, 1.5
_FEATURES = 24
# How many seeds the page has the masks of, from 0.
SEEDS = 20


class Panel(NamedTuple):
    """A part of the page: its anchor, its title, its HTML."""

    key: str
    title: str
    html: str


def panels(reading: Reading) -> list[Panel]:
    """Return the panels of a page, in the order in which a model computes."""
    parts = [*parts_in(reading).values()]
    made: list[tuple[str, str, Callable[[Reading], str]]] = [
        ("picture", f"{count_of(parts).capitalize()} tables, one sum", _picture),
        ("lookups", "Every feature of every row", _look_ups),
        ("shares", "Where each sum comes from", _shares),
        ("layernorm", "LayerNorm", _layer_norm),
        ("dropout", "Dropout", _dropout),
        ("attention", "Attention: which token attends to which", _attention),
        ("walk", f"One token's walk: {_bdi(reading.walked_token.text)}", _walk),
        ("similarity", "How alike the tokens are", _similarity),
    ]
    if reading.predictions:
        made.append(("predictions", "The masked words", _predictions))
    return [
        Panel(
            key,
            title,
            f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>'
            f"{_lesson_box(lesson_of(key, reading.config, parts), reading)}{make(reading)}"
            "</section>",
        )
        for key, title, make in made
    ]


def _picture(reading: Reading) -> str:
    """Return the figure of the input embedding."""
    drawn = draw(reading, chosen_features(reading, _FEATURES), background=False)
    label = "The input embedding, drawn"
    return f'<div class="wide" tabindex="0" role="group" aria-label="{label}">{drawn}</div>'


def _look_ups(reading: Reading) -> str:
    """Return the places of each token's strips."""
    parts = [*parts_in(reading).values()]
    names = "".join(f"<li>{name}</li>" for name in (*parts, "= sum", "LayerNorm"))
    segment = "segment {}, " if "segment" in parts else ""
    stacks = "".join(
        f'<div class="stack"><h3>{_bdi(token.text)}<small> id {token.id}, '
        f"{segment.format(token.segment)}position {token.position}</small></h3>"
        f'<ul class="names" aria-hidden="true">{names}</ul><div class="strips"></div></div>'
        for token in reading.shown
    )
    return (
        f"<p class='faint'>{_colour_key()} A strip is a row, from feature 0 to feature "
        f"{reading.config.embedding_features - 1}; the colour is the sign, its strength the size. "
        "Point at it, or move through it with the arrow keys. <span id='lookups-scale'></span></p>"
        f"{stacks}{_readout('lookups')}"
    )


def _shares(reading: Reading) -> str:
    """Return the table of the rows' norms and shares."""
    parts, names = parts_of(reading), [*parts_in(reading).values()]
    rows = []
    for token, norms, shares, total in zip(
        reading.shown, parts.norms, parts.shares, parts.total, strict=True
    ):
        numbers = "".join(f"<td>{norm:.4f}</td>" for norm in (*norms, total))
        percents = "".join(f"<td>{100 * share:.1f} %</td>" for share in shares)
        rows.append(
            f"<tr>{_row_header(token)}{numbers}<td>{_bar(shares, names)}</td>{percents}</tr>"
        )
    colours = "".join(
        f'<i class="swatch" style="background:var(--{name})"></i>{name}' for name in names
    )
    columns = [*(f"|{name}|" for name in (*names, "sum")), "<shares", *names]
    return (
        f"<p class='faint'>{colours}; hatched where a share is below zero, the row pointing away "
        f"from the sum.</p>{_table(['<token', *columns], rows, 'Norms and shares')}"
    )


def _bar(shares: Array, names: Sequence[str]) -> str:
    """Draw shares, each as long as its size, hatched where it is below zero."""
    sizes = np.abs(shares)
    widths = 100 * sizes / (float(sizes.sum()) or 1.0)
    parts = "".join(
        f'<i class="{name}{" away" if share < 0 else ""}" style="width:{width:.2f}%"></i>'
        for name, share, width in zip(names, shares, widths, strict=True)
    )
    return f"<span class='bar' aria-hidden='true'>{parts}</span>"


def _layer_norm(reading: Reading) -> str:
    """Return the table of the statistics, and what the rows look like before and after."""
    arrays = {
        "before": reading.embeddings["embeddings.sum"],
        "normalized": reading.embeddings["embeddings.LayerNorm.normalized"],
        "after": reading.embeddings["embeddings.LayerNorm"],
    }
    edges = {name: _EDGE * scale_of(array) for name, array in arrays.items()}
    statistics = [
        reading.embeddings[f"embeddings.LayerNorm.{name}"][:, 0]
        for name in ("mean", "variance", "rstd")
    ]
    rows = [
        f"<tr>{_row_header(token)}"
        + "".join(f"<td>{values[k]:#.6g}</td>" for values in statistics)
        + "".join(f"<td>{_histogram(arrays[name][k], edges[name])}</td>" for name in arrays)
        + "</tr>"
        for k, token in enumerate(reading.shown)
    ]
    names = ["<before: the sum", "<normalized", "<after: weight and bias"]
    columns = ["<token", "mean", "variance", "rstd", *names]
    limits = ", ".join(f"{name} ±{edge:.3g}" for name, edge in edges.items())
    return (
        f"{_table(columns, rows, 'Statistics of the rows')}<p class='faint'>Histograms of a row's "
        f"{reading.config.embedding_features} features, zero in the middle; from edge to edge: "
        f"{limits}, with what is beyond in the outermost bars. ε is "
        f"{reading.config.layer_norm_eps:g}.</p>"
    )


def _histogram(row: Array, edge: float) -> str:
    """Draw how many features of a row have which value, from -edge to edge."""
    counts, _ = np.histogram(np.clip(row, -edge, edge), bins=_BINS, range=(-edge, edge))
    heights = 26 * counts / max(int(counts.max()), 1)
    bars = "".join(f"M{3 * k} 27v-{height:.1f}h3v{height:.1f}" for k, height in enumerate(heights))
    label = f"from {float(row.min()):.3g} to {float(row.max()):.3g}"
    return (
        f'<svg class="histogram" viewBox="0 0 {3 * _BINS} 28" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}"><title>{label}</title>'
        f'<path class="zero" d="M{1.5 * _BINS:g} 0v28"/><path d="{bars}"/></svg>'
    )


def _dropout(reading: Reading) -> str:
    """Return the controls and the place of dropout on the walked token's vector."""
    p = reading.config.hidden_dropout_prob
    rows = ("LayerNorm", "mask", "after dropout", f"mean of {SEEDS}")
    names = "".join(f"<li>{name}</li>" for name in rows)
    return (
        f"<p class='faint'>{_colour_key()} On the vector of “{_bdi(reading.walked_token.text)}”, "
        f"position {reading.walked}; full colour as of LayerNorm above. The model's own p is "
        f"{p:g}. The mask of a seed is <code>numpy_bert.ops.dropout.draw_keep((H,), p, "
        "numpy.random.default_rng(seed))</code>; the mean over many comes near to the vector.</p>"
        '<div class="controls"><label for="p">p <input type="range" id="p" min="0" max="0.95" '
        f'step="0.01" value="{min(p, 0.95):.2f}"><span id="p-value" aria-hidden="true"></span>'
        "</label>"
        '<label for="seed">seed <input type="number" id="seed" min="0" value="0" '
        f'max="{SEEDS - 1}"></label>'
        f'</div><div class="stack"><span></span><ul class="names" aria-hidden="true">{names}</ul>'
        '<div class="strips"></div></div><p id="dropout-figures" aria-live="polite"></p>'
        f"{_readout('dropout')}"
    )


def dropout_draws(features: int) -> Array:
    """Return what `numpy_bert.ops.dropout.draw_keep` compares with p, for each seed, (SEEDS, H).

    Examples
    --------
    >>> from numpy_bert.ops.dropout import draw_keep
    >>> keep = draw_keep((8,), 0.5, np.random.default_rng(3))
    >>> np.array_equal(dropout_draws(8)[3] >= 0.5, keep)
    True
    """
    draws = [np.random.default_rng(seed).random(features, np.float32) for seed in range(SEEDS)]
    return np.stack(draws)


def _attention(_: Reading) -> str:
    """Return the places of the attention maps, all of them small and the chosen one large."""
    return (
        "<p class='faint'>Choose a head. The strength of the colour is the square root of the "
        "weight, so that small ones are seen; a row of the map is the token that attends.</p>"
        f"{_maps('attention', 'Layers and heads', '')}"
    )


def _walk(reading: Reading) -> str:
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
        f"<p class='faint'>{_colour_key()} Each strip has a scale of its own, said beside its "
        "name: compare colours within a strip. Weights are drawn by their square roots.</p>"
        f"{steps}{_readout('walk')}"
    )


def _step_strips(name: str, reading: Reading) -> str:
    """Return the place of a step's strips; where there are heads, rows and columns are named."""
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
        f"<p class='faint'><code>{xml_text(lesson.function)} {_shape_text(lesson, reading)}</code>"
        f', <span id="scale-{name}"></span></p>'
    )


def _similarity(_: Reading) -> str:
    """Return the places of the similarity maps, all of them small and the chosen one large."""
    return (
        f"<p class='faint'>{_colour_key()} Full colour at 1 and at -1.</p>"
        f"{_maps('similarity', 'The embedding, then each layer', ' narrow')}"
    )


def _maps(key: str, label: str, kind: str) -> str:
    return (
        f'<div class="maps{kind}"><div class="thumbs" id="{key}-wall" role="radiogroup" '
        f'aria-label="{label}"></div><div><h3 id="{key}-which"></h3>'
        f'<div class="wide"><table class="grid" role="grid" id="{key}-map" '
        f'aria-labelledby="{key}-which"></table></div>{_readout(key)}</div></div>'
    )


def _predictions(reading: Reading) -> str:
    """Return the words that fit at each mask."""
    return "".join(_prediction(found) for found in reading.predictions or ())


def _prediction(found: Prediction) -> str:
    best = max(word.score for word in found.words)
    rows = [
        f"<tr><th scope='row' class='token'>{_bdi(word.token_str)}</th>"
        f"<td>{word.token}</td>"
        f"<td>{100 * word.score:#.4g} %</td><td><span class='bar' aria-hidden='true'>"
        f"<i class='word' style='width:{100 * word.score / best:.2f}%'></i></span></td></tr>"
        for word in found.words
    ]
    columns = ["<word", "id", "probability", "<relative to the best"]
    title = f"At position {found.position}"
    return f"<h3>{title}</h3>{_table(columns, rows, title)}"


def _bdi(text: str) -> str:
    """Return a token that runs its own way, whatever stands around it."""
    return f"<bdi dir='ltr'>{xml_text(text)}</bdi>"


def _lesson_box(lesson: Lesson, reading: Reading) -> str:
    """Return a lesson: what is computed, the formula, the function to read, its shape."""
    return (
        f"<p>{xml_text(lesson.sentence)}</p><div class='lesson'>"
        f"<code class='formula'>{xml_text(lesson.formula)}</code>"
        f"<code>{xml_text(lesson.function)}</code><code>{_shape_text(lesson, reading)}</code></div>"
    )


def _shape_text(lesson: Lesson, reading: Reading) -> str:
    """Return the result's shape in letters and in numbers."""
    config = reading.config
    sizes = {
        "T": len(reading.tokens),
        "E": config.embedding_features,
        "H": config.hidden_size,
        "A": config.num_attention_heads,
        "I": config.intermediate_size,
        "V": config.vocab_size,
    }
    numbers = tuple(int(letter) if letter.isdigit() else sizes[letter] for letter in lesson.axes)
    letters = ", ".join(lesson.axes) + "," * (len(numbers) == 1)
    return f"({letters}) = {numbers}"


def _colour_key() -> str:
    """Say what the two colours are."""
    return (
        f'<i class="swatch" style="background:{MINUS};margin-left:0"></i>negative'
        f'<i class="swatch" style="background:{PLUS}"></i>positive.'
    )


def _readout(key: str) -> str:
    """Return the place where a panel's values are read out."""
    # The cells of a table are read out by themselves.
    live = "off" if key in ("attention", "similarity") else "polite"
    return (
        f'<output class="readout" id="{key}-readout" aria-live="{live}">Point at a value, or focus '
        "it, to read it here.</output>"
    )


def _row_header(token: Token) -> str:
    """Return a token as the head of its row."""
    return f"<th scope='row' class='token'>{token.position}&ensp;{_bdi(token.text)}</th>"


def _table(columns: Sequence[str], rows: Sequence[str], label: str) -> str:
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
