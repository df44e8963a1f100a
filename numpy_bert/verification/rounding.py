"""How far rounding may take each number of a step from the float64 result: derived, not chosen.

Every operation in floating point leaves an error of at most one unit roundoff, u, times its own
result. A step is a known sequence of operations, so the size of all of its errors together is
known, for every number that it gives: in a sum of K terms, taken one after the other, each partial
sum leaves its error; a softmax multiplies what its scores are off by; LayerNorm divides by the
deviation. What is computed here is the root of the sum of the squares of these sizes, in units of
u, through all steps of a segment. It holds for the worst order of the sums that ports take, term
after term; blocks, pairs and fused operations round less.

Errors of this kind are as good as independent and of mean 0 [1]_ [2]_: within half a spacing, each
has a deviation of 0.43 u of its result, on the average over all mantissas. So two things can be
asked of a port. No number may be off by more than 7 such roots. In a sum of random terms that is 23
deviations, and because the partial sums of some numbers lie far off the line, the chance falls like
exp(-1.28 x) only [3]_: one number in 10^12. And, since luck is rare, all numbers together may be
off by a small part of that. Their mean square is 0.18 by expectation, and is at most 1.5, since the
terms of all rows stand in one order, which may be an unlucky one for all; in an array of R rows it
may be 30 / R more, since the errors of one row may be all the same.
``python scripts/report_rounding.py`` counts how many clean runs leave these bounds.

References
----------
.. [1] Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM Journal on
   Scientific Computing 41, 2019, theorem 2.4.
.. [2] Ipsen and Zhou, "Probabilistic error analysis for inner products", SIAM Journal on Matrix
   Analysis and Applications 41, 2020.
.. [3] The squares of a random walk that returns to 0 add up to more than x times their mean with a
   chance of about exp(-pi^2 x / 12); Anderson and Darling, Annals of Mathematical Statistics 23,
   1952, eq. 4.35.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import EPSILONS, MASKED, UNSEEN, rms
from numpy_bert.ops.attention import merge_heads, split_heads
from numpy_bert.reprs import short_repr
from numpy_bert.verification.steps import UNCHANGED, Segment, Step, by_head

__all__ = ["FACTOR", "Analysis", "Share", "analysed", "budgets", "share_of", "shares_of"]

# How many roots of the sum of squares a number may be off, and how large the mean square of all may
# be: a constant, and a part for each row.
FACTOR = 7.0
_MEAN_SQUARE, _OF_A_ROW = 1.5, 30.0
# What is expected of a port whose sums are taken term by term, as a root mean square.
_EXPECTED = 0.43
# A number that is far smaller than the others of its row may be off by this much of the largest:
# an exponential that flushes to 0, an error function that is exact to a digit less.
_FLOOR = 0.25
# Half the spacing of float16's subnormal numbers, which in BERT are no rarity.
_LEAST = {"float16": 2.0**-25}
# Errors of a single function, in units of its result: exp, tanh and erf of good libraries are off
# by up to two or three; an activation of a negative number is a difference that cancels.
_EXP, _TANH, _ACTIVATION, _CANCELLED = 4.0, 4.0, 4.0, 2.0
# Beyond them float32's exponential is 0, and so is what an activation leaves of a negative number.
_FAR_BELOW = 110.0
_NOTHING_LEFT = -6.0
_HUGE = 1e29
# So many keys are taken together where partial sums are followed.
_KEYS = 32
# Rows of fewer numbers say too little about how far a run in float32 is off.
_TELLING = 64


class Analysis(NamedTuple):
    """A segment's float64 result, and the size of the errors that rounding leaves in it.

    Attributes
    ----------
    result : ndarray
        What the segment computes in float64.
    spread : ndarray of the same shape
        The root of the sum of the squares of all errors, each in units of the unit roundoff.
    """

    result: Array
    spread: Array

    def __repr__(self) -> str:
        return short_repr(self)


@np.errstate(all="ignore")
def analysed(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    dtype: str = "float32",
    others: Mapping[str, Step] = UNCHANGED,
) -> Analysis:
    """Run a segment in float64, and follow what rounding in another dtype would do to it.

    Where the segment has several steps whose errors may be correlated, it is also run in float32:
    a row that is off there by more than the analysis says has its spread multiplied by as much.

    Parameters
    ----------
    segment : Segment
        What is run.
    arrays : mapping of str to ndarray
        The arrays of the segment's inputs, taken as exact.
    dtype : str
        The dtype that is rounded to, a key of `EPSILONS`.
    others : mapping of str to Step
        Steps that stand in the place of the segment's own, by name.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> from numpy_bert.verification.steps import segment_of, steps_of
    >>> model = BertModel.from_pretrained("demo", dtype="float64")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3]])}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> found = analysed(segment_of("embeddings.LayerNorm", steps, ()), {})
    >>> found.result.shape == found.spread.shape
    True
    """
    squares: dict[str, Array] = {}
    last = segment.last_readers(others)
    roundoff = EPSILONS[dtype] / 2.0
    for step, inputs, output in segment.walk(arrays, np.float64, others):
        given = [squares.get(name) for name in step.inputs]
        found = _RULES[step.kind](_Done(step, inputs, output, given, roundoff))
        if found.shape != output.shape:  # of a step in which something else is done
            found = np.broadcast_to(16.0 * np.square(output), output.shape)
        # What has overflowed is judged by what is not finite, not by its size.
        squares[step.name] = np.where(np.isfinite(found), found, 0.0)
        for name in last.get(step.name, ()):
            squares.pop(name, None)
    spread, result = np.sqrt(squares[segment.target.name]), output
    if sum(step.kind not in _MOVES for step in segment.steps) > 1:
        apart = np.abs(segment.run(arrays, np.float32, others) - result)
        spread = spread * _beyond_analysis(apart, spread)
    if segment.target.kind == "scores":
        spread = _of_unseen(spread, result)
    return Analysis(result, spread)


def budgets(found: Analysis, dtype: str) -> Array:
    """Return how far each number of an analysed segment may be off in a port of this dtype."""
    epsilon = EPSILONS[dtype]
    size = np.where(np.abs(found.result) < _HUGE, np.abs(found.result), 0.0)
    floor = _FLOOR * epsilon * size.max(axis=-1, keepdims=True)
    allowed: Array = FACTOR * 0.5 * epsilon * found.spread + floor + _LEAST.get(dtype, 0.0)
    return allowed


class Share(NamedTuple):
    """How much of its budget an error needs.

    Attributes
    ----------
    share : float
        The error over its budget: within it up to 1.
    error, budget : float
        The error, of one number or as the root mean square of all, and the most it may be.
    unit : {"abs", "rms"}
        Which of the two it is.
    worst : tuple of int
        The place at which a number needs the largest share.
    """

    share: float
    error: float
    budget: float
    unit: str
    worst: tuple[int, ...]


@np.errstate(over="ignore")
def share_of(error: Array, allowed: Array, places: BoolArray) -> Share:
    """Return how much of its budget an error needs, by its worst number or by all together.

    Parameters
    ----------
    error, allowed : ndarray of one shape
        The errors, and how large each may be; where that is 0, no error is.
    places : ndarray of bool
        The places that count, broadcastable to that shape.

    Examples
    --------
    >>> error, allowed = np.array([[1.0, 2.0, 9.0]]), np.array([[0.5, 8.0, 1.0]])
    >>> share_of(error, allowed, np.array([True, True, False]))
    Share(share=2.0, error=1.0, budget=0.5, unit='abs', worst=(0, 0))
    """
    counts = np.broadcast_to(places, error.shape)
    shares = np.where(counts, shares_of(error, allowed), -1.0)
    worst = tuple(int(i) for i in np.unravel_index(int(shares.argmax()), shares.shape))
    one = float(shares[worst])
    rows = np.count_nonzero(counts.any(axis=-1))
    limit = (_MEAN_SQUARE + _OF_A_ROW / rows) / FACTOR**2
    together = math.sqrt(float(np.square(shares[counts]).mean()) / limit)
    if one >= together:
        return Share(one, abs(float(error[worst])), float(allowed[worst]), "abs", worst)
    size = rms(error[counts])
    return Share(together, size, size / together, "rms", worst)


@np.errstate(all="ignore")
def shares_of(error: Array, allowed: Array) -> Array:
    """Return what share of its budget each error takes; that of NaN is infinite."""
    shares = np.where(error == 0.0, 0.0, np.abs(error) / allowed)
    return np.where(np.isnan(shares), np.inf, shares)


def _of_unseen(spread: Array, scores: Array) -> Array:
    """Give scores that softmax makes 0 of the largest error of their row.

    They are compared by where they are cut off, which lies below the largest score of the row
    (see `numpy_bert.comparison.differences.comparable`).
    """
    largest = np.fmax.reduce(scores, axis=-1, keepdims=True)
    above = spread.max(axis=-1, keepdims=True)
    return np.where((scores <= largest - UNSEEN + 1.0) | (largest < MASKED), 2.0 * above, spread)


def _beyond_analysis(apart: Array, spread: Array) -> Array:
    """Return by how much a run in float32 is off by more than the analysis says, 1 at least."""
    ratio = np.where(spread > 0.0, apart / (0.5 * EPSILONS["float32"] * spread), 0.0)
    square = np.square(np.where(np.isfinite(ratio), ratio, 0.0))
    axis = -1 if square.shape[-1] >= _TELLING else None
    size = np.sqrt(square.mean(axis=axis, keepdims=True))
    more: Array = np.maximum(1.0, size / _EXPECTED)
    return more


def _beyond_first_order(squares: Array, probs: Array, roundoff: float) -> Array:
    """Return the squares of softmax's errors where these are too large for its slope to tell.

    A score that is off by x makes a weight exp(x) times as large, and at most 1.
    """
    if squares.shape != probs.shape:
        return squares
    shift = FACTOR * roundoff * np.sqrt(squares) / np.maximum(probs, 1e-300)
    grown = squares * np.square(np.expm1(np.minimum(shift, 100.0)) / np.maximum(shift, 1e-300))
    largest = 1.0 / (FACTOR * roundoff) ** 2
    found: Array = np.where(shift > 1e-3, np.minimum(grown, largest), squares)
    return found


class _Done(NamedTuple):
    """A step that was run, and the squares of the errors of its inputs, None where they are exact.

    A rule returns from it the squares of the errors of the output.
    """

    step: Step
    inputs: list[Array]
    output: Array
    given: list[Array | None]
    roundoff: float

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The weights and settings of the step."""
        return self.step.arguments

    def weights(self, name: str) -> Array:
        """Return a weight in float64."""
        found: Array = self.step.arguments[name].astype(np.float64, copy=False)
        return found


def _sum_of(terms: int, total: Array, squares: Array) -> Array:
    """Return the squares of the errors of sums, from their results and the terms' squares.

    On the way to the total each partial sum is rounded. Those of random terms lie about a line from
    0 to the total, as far off as a sixth of the squares says; that is doubled, since few large
    terms may stand in any order. The products that are the terms are rounded, too.
    """
    found: Array = terms * (np.square(total) + squares) / 3.0 + squares
    return found


def _exact(done: _Done) -> Array:
    """Hand on what a step gets that computes nothing; it is stored once more, perhaps scaled."""
    found: Array = np.square(done.output)
    if not done.given or done.given[0] is None:
        return found
    known = done.given[0]
    return found + (known[:, 0] if known.ndim > found.ndim else known)  # of the first token


def _added(done: _Done) -> Array:
    """Take each partial sum for as large as all terms together."""
    total = np.square(_total([np.abs(x) for x in done.inputs]))
    return _total([total, *(squares for squares in done.given if squares is not None)])


def _total(arrays: list[Array]) -> Array:
    found = arrays[0]
    for array in arrays[1:]:
        found = found + array
    return found


def _linear(done: _Done) -> Array:
    """Follow ``x @ weight.T + bias``."""
    x, known = done.inputs[0], done.given[0]
    if x.ndim > done.output.ndim:  # the pooler reads the first token
        x, known = x[:, 0], None if known is None else known[:, 0]
    weight = done.weights("weight")
    terms = weight.shape[1]
    # _sum_of is linear in the squares of the terms, and so is what is handed on: one product.
    squares = np.square(x) * (terms / 3.0 + 1.0)
    squares = (squares if known is None else squares + known) @ np.square(weight).T
    # The partial sums lie about a line from 0, or from the bias where that is the first of them.
    bias, output = done.weights("bias"), done.output
    from_bias = np.square(output) + output * bias + np.square(bias)
    total = np.maximum(np.square(output - bias), from_bias) * (terms / 3.0)
    found: Array = squares + total + np.square(output)
    return found


def _scores(done: _Done) -> Array:
    """Follow ``query @ key.T * scale``, a bias that is added, and a mask that is."""
    heads, scale = done.arguments["heads"], float(done.arguments["scale"])
    query, key = (split_heads(x, heads) for x in done.inputs[:2])
    terms = query.shape[-1]
    seen = np.where(np.abs(done.output) < _HUGE, done.output, 0.0)
    squares = scale**2 * _product_of_squares(query, key.swapaxes(-1, -2))
    product = seen if not done.inputs[2:] else seen - by_head(done.inputs[2])
    found = _sum_of(terms, product, squares) + 2.0 * np.square(seen)
    if done.inputs[2:]:
        found = found + np.square(product)  # which is rounded before the bias is added
        known = by_head(done.given[2])
        found = found if known is None else found + known
    for known, other, turned in ((done.given[0], key, False), (done.given[1], query, True)):
        if known is not None:
            own = split_heads(known, heads)
            more = own @ np.square(other).swapaxes(-1, -2)
            found = found + scale**2 * (more.swapaxes(-1, -2) if turned else more)
    return np.where(np.abs(done.output) < _HUGE, found, 0.0)


def _product_of_squares(a: Array, b: Array) -> Array:
    found: Array = np.square(a) @ np.square(b)
    return found


def _probs(done: _Done) -> Array:
    """Follow softmax: exponentials of the distances from the largest score, over their sum."""
    scores, known = done.inputs[0], done.given[0]
    below = np.fmax.reduce(scores, axis=-1, keepdims=True) - scores
    below = np.where(below < _FAR_BELOW, below, 0.0)
    relative = np.square(2.0 * below) + _EXP**2 + done.output.shape[-1] / 3.0
    if known is not None:
        handed_on = (np.square(done.output) * known).sum(axis=-1, keepdims=True)
        relative = relative + np.maximum(known * (1.0 - 2.0 * done.output) + handed_on, 0.0)
    return _beyond_first_order(np.square(done.output) * relative, done.output, done.roundoff)


def _context(done: _Done) -> Array:
    """Follow ``probs @ value``."""
    heads, probs = done.arguments["heads"], done.inputs[0]
    value = split_heads(np.nan_to_num(done.inputs[1], posinf=0.0, neginf=0.0), heads)
    squares = _product_of_squares(probs, value)
    total = probs @ value
    found = _of_ordered(probs, value, total) + (probs.shape[-1] / 3.0 + 1.0) * squares
    if done.given[0] is not None:
        found = found + done.given[0] @ np.square(value)
    if done.given[1] is not None:
        found = found + np.square(probs) @ split_heads(done.given[1], heads)
    if not np.allclose(merge_heads(total), done.output, rtol=1e-6, atol=0.0):
        found = np.full_like(found, found.max())  # of heads that are split or merged otherwise
    return merge_heads(found)


def _of_ordered(probs: Array, value: Array, total: Array) -> Array:
    """Return the squares of the partial sums of `probs @ value`, term after term.

    The values of two segments, say, may lie on two sides of 0, so that the terms are in no random
    order: the partial sums are followed from block to block, forwards and backwards.
    """
    before, found = np.zeros_like(total), np.zeros_like(total)
    for start in range(0, probs.shape[-1], _KEYS):
        block = slice(start, start + _KEYS)
        part = probs[..., block]
        after = before + part @ value[..., block, :]
        sums = [
            (np.square(one) + one * two + np.square(two)) / 3.0
            for one, two in ((before, after), (total - before, total - after))
        ]
        found += part.shape[-1] * np.maximum(*sums)
        before = after
    return found


def _activation(done: _Done) -> Array:
    x, known = done.inputs[0], done.given[0]
    cancelled = np.where((x < 0.0) & (x > _NOTHING_LEFT), x, 0.0)
    found: Array = np.square(_ACTIVATION * done.output) + np.square(_CANCELLED * cancelled)
    if known is not None:
        small = 1e-6 * (1.0 + np.abs(x))
        slope = (done.arguments["activation"](x + small) - done.output) / small
        found = found + known * np.square(slope)
    return found


def _tanh(done: _Done) -> Array:
    found: Array = np.square(_TANH * done.output)
    if done.given[0] is not None:
        found = found + done.given[0] * np.square(1.0 - np.square(done.output))
    return found


def _layer_norm(done: _Done) -> Array:
    """Follow the mean, the variance, one over the deviation, and what is scaled by them."""
    x, known, part = done.inputs[0], done.given[0], done.arguments["part"]
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.square(x - mean).mean(axis=-1, keepdims=True)
    rstd = 1.0 / np.sqrt(variance + done.arguments["eps"])
    of_mean, of_variance = _of_moments(x, mean, variance, known)
    of_rstd = 0.25 * of_variance * np.square(np.square(rstd)) + 4.0  # of its own square
    parts: dict[str, Array] = {
        "mean": of_mean,
        "variance": of_variance,
        "rstd": of_rstd * np.square(rstd),
    }
    if part in parts:
        return parts[part]
    normalized = (x - mean) * rstd
    found: Array = np.square(rstd) * of_mean + np.square(normalized) * (of_rstd + 2.0)
    if known is not None:
        found = found + np.square(rstd) * known
    if part == "normalized":
        return found
    scaled = normalized * done.weights("weight")
    result = scaled + done.weights("bias")
    found *= np.square(done.weights("weight"))
    found += np.square(scaled) + np.square(result)
    return found


def _of_moments(x: Array, mean: Array, variance: Array, known: Array | None) -> tuple[Array, Array]:
    """Return the squares of the errors of the means and variances of rows.

    Their sums are over the features. A variance may be a mean of squares less a squared mean.
    """
    features = x.shape[-1]
    second = variance + np.square(mean)
    of_mean = _sum_of(features, mean, second / features)
    of_variance: Array = np.square(second) * (features / 3.0 + 3.0)
    if known is not None:
        of_mean = of_mean + known.sum(axis=-1, keepdims=True) / features**2
        more = (np.square(x - mean) * known).sum(axis=-1, keepdims=True)
        of_variance = of_variance + 4.0 * more / features**2
    return of_mean, of_variance


# Steps that compute nothing: their output is their input, or rows of a table.
_MOVES = (
    "same",
    "dropout",
    "first_token",
    "word_embeddings",
    "token_type_embeddings",
    "position_embeddings",
    "task_type_embeddings",
    "relative_bias",
)
_RULES: Mapping[str, Callable[[_Done], Array]] = {
    **dict.fromkeys(_MOVES, _exact),
    "embeddings.sum": _added,
    "residual": _added,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "pooler.dense": _linear,
    "scores": _scores,
    "probs": _probs,
    "context": _context,
    "activation": _activation,
    "tanh": _tanh,
}
