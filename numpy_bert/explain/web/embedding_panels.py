"""The panels of the input embedding: picture, look-ups, shares, LayerNorm, dropout."""

from __future__ import annotations

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.explain.drawing import chosen_features, draw
from numpy_bert.explain.measures import PARTS, parts_of, scale_of
from numpy_bert.explain.reading import Reading
from numpy_bert.explain.web.draws import SEEDS
from numpy_bert.explain.web.fragments import bdi, colour_key, readout, row_header, table

__all__ = ["dropout", "layer_norm", "look_ups", "picture", "shares"]

# Of a histogram: how many bars, and how far it goes beyond what 99 of 100 values stay within.
_BINS, _EDGE = 32, 1.5
_FEATURES = 24


def picture(reading: Reading) -> str:
    """Return the figure."""
    drawn = draw(reading, chosen_features(reading, _FEATURES), background=False)
    label = "The input embedding, drawn"
    return f'<div class="wide" tabindex="0" role="group" aria-label="{label}">{drawn}</div>'


def look_ups(reading: Reading) -> str:
    """Return places for each token's strips."""
    names = "".join(f"<li>{name}</li>" for name in (*PARTS.values(), "= sum", "LayerNorm"))
    stacks = "".join(
        f'<div class="stack"><h3>{bdi(token.text)}<small> id {token.id}, segment '
        f"{token.segment}, position {token.position}</small></h3>"
        f'<ul class="names" aria-hidden="true">{names}</ul><div class="strips"></div></div>'
        for token in reading.shown
    )
    return (
        f"<p class='faint'>{colour_key()} A strip is a row, from feature 0 to feature "
        f"{reading.config.hidden_size - 1}; the colour is the sign, its strength the size. Point "
        "at it, or move through it with the arrow keys. <span id='lookups-scale'></span></p>"
        f"{stacks}{readout('lookups')}"
    )


def shares(reading: Reading) -> str:
    """Return the table of norms and shares."""
    parts = parts_of(reading)
    rows = []
    for token, norms, shares, total in zip(
        reading.shown, parts.norms, parts.shares, parts.total, strict=True
    ):
        numbers = "".join(f"<td>{norm:.4f}</td>" for norm in (*norms, total))
        percents = "".join(f"<td>{100 * share:.1f} %</td>" for share in shares)
        rows.append(f"<tr>{row_header(token)}{numbers}<td>{_bar(shares)}</td>{percents}</tr>")
    colours = "".join(
        f'<i class="swatch" style="background:var(--{name})"></i>{name}' for name in PARTS.values()
    )
    columns = [*(f"|{name}|" for name in (*PARTS.values(), "sum")), "<shares", *PARTS.values()]
    return (
        f"<p class='faint'>{colours}; hatched where a share is below zero, the row pointing away "
        f"from the sum.</p>{table(['<token', *columns], rows, 'Norms and shares')}"
    )


def _bar(shares: Array) -> str:
    """Draw shares, each as long as its size, one below zero hatched; of a sum of zeros nothing."""
    sizes = np.abs(shares)
    widths = 100 * sizes / (float(sizes.sum()) or 1.0)
    parts = "".join(
        f'<i class="{name}{" away" if share < 0 else ""}" style="width:{width:.2f}%"></i>'
        for name, share, width in zip(PARTS.values(), shares, widths, strict=True)
    )
    return f"<span class='bar' aria-hidden='true'>{parts}</span>"


def layer_norm(reading: Reading) -> str:
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
        f"<tr>{row_header(token)}"
        + "".join(f"<td>{values[k]:#.6g}</td>" for values in statistics)
        + "".join(f"<td>{_histogram(arrays[name][k], edges[name])}</td>" for name in arrays)
        + "</tr>"
        for k, token in enumerate(reading.shown)
    ]
    names = ["<before: the sum", "<normalized", "<after: weight and bias"]
    columns = ["<token", "mean", "variance", "rstd", *names]
    limits = ", ".join(f"{name} ±{edge:.3g}" for name, edge in edges.items())
    return (
        f"{table(columns, rows, 'Statistics of the rows')}<p class='faint'>Histograms of a row's "
        f"{reading.config.hidden_size} features, zero in the middle; from edge to edge: "
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


def dropout(reading: Reading) -> str:
    """Return the controls and the place of dropout on the walked token's vector."""
    p = reading.config.hidden_dropout_prob
    rows = ("LayerNorm", "mask", "after dropout", f"mean of {SEEDS}")
    names = "".join(f"<li>{name}</li>" for name in rows)
    return (
        f"<p class='faint'>{colour_key()} On the vector of “{bdi(reading.walked_token.text)}”, "
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
        f"{readout('dropout')}"
    )
