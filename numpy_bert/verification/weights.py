"""Whose weights a step was computed with: read from its own input and output.

A dense layer's output feature is its input times one row of a weight. So where the input is known,
each feature tells its row: among all rows and columns of all weights of the model it is the one
whose products come nearest. A LayerNorm's features tell their weight and bias, a look-up's rows
tell their ids. What is found is no verdict but a `Mistake`, to be made and compared as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray, StoredArray, widen
from numpy_bert.comparison.differences import rms
from numpy_bert.verification.arrangements import (
    Arrangement,
    Tensor,
    arrangements,
    layer_of,
    relation,
)
from numpy_bert.verification.changes import Cause, Mistake, Setting, changed
from numpy_bert.verification.steps import Segment, Step, segment_of

__all__ = ["weight_mistakes", "whose_weight"]

_DENSE = ("linear", "pooler.dense")
_TABLES = (
    "word_embeddings",
    "token_type_embeddings",
    "position_embeddings",
    "task_type_embeddings",
)
# What a step's array passes through unchanged.
_UNCHANGING = ("same", "dropout")
# Tokens that are looked at, and directions in which they differ.
_TOKENS = 128
_DIRECTIONS = 24
# In fewer directions every product comes near to that of some row.
_FEWEST_DIRECTIONS = 2
# In fewer than these the nearest row is often another one, so whole tensors are tried, too.
_ENOUGH_DIRECTIONS = 4
# Features that are looked for in the whole model before the others are in the tensors found.
_PROBES = 64
# A tensor to which no such share of them comes nearest is left out.
_VOTES = 0.04
# A row is clear where no other is less than so many times as far.
_CLEARLY = 3.0
# Beyond such a share of a feature's size its nearest row is none.
_NEAR = 0.25
# Of vectors that fit about as well the likeliest is taken.
_ABOUT = 2.0
# So many arrangements are tried.
_TRIED = 3
# With fewer tokens any number may be a bias.
_FEWEST_TOKENS = 8
# Standard deviations of a mean that chance does not reach.
_FAR = 6.0
# The squares of such numbers overflow.
_HUGE = 1e100
# Rows of a table that are looked at together, features by which they are told apart.
_BLOCK = 2048
_TELLING = 32
# So many of the other ids are written out.
_SHOWN = 3


def weight_mistakes(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    found: Array,
    places: BoolArray,
    setting: Setting,
) -> Iterator[Mistake]:
    """Yield what the numbers of a segment's last step suggest about the weights of that step.

    Parameters
    ----------
    segment : Segment
        The step, and those between it and the nearest steps that the candidate holds.
    arrays : mapping of str to ndarray
        The candidate's arrays of these nearest steps.
    found : ndarray
        The candidate's result.
    places : ndarray of bool
        The places that count.
    setting : Setting
        The model's other steps.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> from numpy_bert.verification.steps import segment_of, steps_of
    >>> model = BertModel.from_pretrained("demo", dtype="float64")
    >>> ids = np.array([[2, 5, 3, 9, 7, 11]])
    >>> inputs = inputs_of({"input_ids": ids}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> x = {"embeddings": dict(model.trace(ids))["embeddings"]}
    >>> found = steps["encoder.layer.0.attention.self.value"].run(x, "float64")[..., ::-1]
    >>> segment = segment_of("encoder.layer.0.attention.self.value", steps, x)
    >>> setting = Setting(model.config, steps, inputs)
    >>> for mistake in weight_mistakes(segment, x, found, np.ones((1, 6, 1), bool), setting):
    ...     print(mistake.cause.text)
    the rows of its weight and bias stand in reverse order
    """
    step = next((s for s in reversed(segment.steps) if s.kind not in _UNCHANGING), None)
    if step is None or step.arguments.get("part", "output") != "output":
        return
    counts = np.broadcast_to(places, found.shape)[..., 0]
    if step.kind in _TABLES:
        yield from _in_look_up(step, found, counts, setting)
    search = _SEARCHES.get(step.kind)
    if search is None:
        return
    x = _input_of(step, segment, arrays, setting)
    x = x[:, 0] if x.ndim > found.ndim else x  # the pooler reads the first token
    inputs, outputs = x[counts], found[counts]
    if len(inputs) > _TOKENS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(inputs))[:_TOKENS])
        inputs, outputs = inputs[chosen], outputs[chosen]
    if all(np.abs(numbers).max() < _HUGE for numbers in (inputs, outputs)):  # nor is any a NaN
        yield from search(step, inputs, outputs, setting)


def _input_of(
    step: Step, segment: Segment, arrays: Mapping[str, npt.NDArray[Any]], setting: Setting
) -> Array:
    """Return the array that a step of a segment reads."""
    name = step.inputs[0]
    if name in arrays:
        return arrays[name].astype(np.float64, copy=False)
    return segment_of(name, setting.steps, segment.inputs).run(arrays)


# Dense layers.


class _Bias(NamedTuple):
    """A bias that may have been added: the name of the cause, how a sentence says it, and it."""

    cause: str
    text: str
    vector: Array


def _in_dense(step: Step, x: Array, y: Array, setting: Setting) -> Iterator[Mistake]:
    """Yield the rows of other weights, in other orders, that give the features of a dense layer."""
    for arrangement in _arrangements(step, x, y, setting):
        weight = arrangement.weight()
        bias = _bias_of(y - x @ weight.T, arrangement, step, setting)
        only = arrangement.only
        is_own = only is not None and (only.step, only.turned, arrangement.order) == (
            step.name,
            "",
            "",
        )
        if is_own and bias.cause:
            text = _BIASES.get(bias.cause, f"it was computed with {bias.text}")
            yield changed(step, bias.cause, text, bias=bias.vector)
        elif not is_own:
            named = _named(arrangement, bias, step)
            yield changed(step, *named, weight=weight, bias=bias.vector)


def _tensors(step: Step, setting: Setting) -> list[Tensor]:
    """Return the weights of the model whose rows are as long as this layer's, its own first."""
    width, layer = step.arguments["weight"].shape[1], layer_of(step.name)
    dense = [other for other in setting.steps.values() if other.kind in _DENSE]
    dense.sort(key=lambda other: (other is not step, layer_of(other.name) != layer))
    found = []
    for other in dense:
        weight, bias = other.arguments["weight"], other.arguments["bias"]
        views = {"": weight, "transposed": weight.T}
        if weight.shape[0] != weight.shape[1] and weight.flags.c_contiguous:
            turned = weight.reshape(weight.shape[::-1])
            views["reshaped"] = turned.T if weight.shape[1] == width else turned
        for name, rows in views.items():
            if rows.shape[1] == width:
                found.append(Tensor(other.name, name, rows, bias))
    return found


def _arrangements(step: Step, x: Array, y: Array, setting: Setting) -> list[Arrangement]:
    """Return the arrangements that come into question, the likeliest first."""
    tensors, features = _tensors(step, setting), y.shape[1]
    centred, wanted = x - x.mean(axis=0), y - y.mean(axis=0)  # a bias adds nothing to them
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    count = min(int((sizes > 1e-6 * sizes[0]).sum()) if sizes[0] else 0, _DIRECTIONS)
    found = _whole(tensors, x, y) if count < _ENOUGH_DIRECTIONS else []
    if count < _FEWEST_DIRECTIONS:
        return found
    axes = sizes[:count, np.newaxis] * right[:count]  # (r, K)
    wanted = left[:, :count].T @ wanted  # (r, O)
    probes = np.random.default_rng(0).permutation(features)[:_PROBES]
    source, row, distance, _ = _nearest(axes, wanted[:, probes], tensors)
    if not _is_near(distance, wanted[:, probes]):
        return []
    numbers, votes = np.unique(source, return_counts=True)
    if (source == source[0]).all() and (row == probes).all():
        order = np.arange(features)
        whole = Arrangement(tensors, np.full(features, source[0]), order)
        far = np.linalg.norm(axes @ whole.weight().T - wanted, axis=0)
        if (far <= _NEAR * np.linalg.norm(wanted, axis=0)).all():
            return [*found, whole]
    path = step.name.rpartition(".")[0]
    beside = (n for n, tensor in enumerate(tensors) if tensor.step.rpartition(".")[0] == path)
    numbers = numbers[votes >= _VOTES * len(probes)]
    chosen = {*beside, *numbers.tolist()}
    near = [tensors[number] for number in sorted(chosen)]
    source, row, distance, second = _nearest(axes, wanted, near)
    clear = distance * _CLEARLY < second
    clear &= distance <= _NEAR * np.linalg.norm(wanted, axis=0)
    heads = setting.config.num_attention_heads
    return [*found, *islice(arrangements(near, source, row, clear, heads), _TRIED)]


def _is_near(distance: Array, wanted: Array) -> bool:
    return bool(np.median(distance / (np.linalg.norm(wanted, axis=0) + 1e-300)) <= _NEAR)


def _whole(tensors: Sequence[Tensor], x: Array, y: Array) -> list[Arrangement]:
    """Return the tensors that give the numbers best, where the tokens are too few for more."""
    features = y.shape[1]
    plain = np.arange(features)
    rests = []
    for number, tensor in enumerate(tensors):
        if len(tensor.rows) < features:
            continue
        rest = y - x @ tensor.rows[:features].T
        if len(tensor.bias) == features:
            rest = rest - tensor.bias
        rests.append((rms(rest), number))
    rests.sort()
    numbers = [number for _, number in rests[:_TRIED]]
    return [Arrangement(tensors, np.full(features, number), plain) for number in numbers]


def _nearest(
    axes: Array, wanted: Array, tensors: Sequence[Tensor]
) -> tuple[IntArray, IntArray, Array, Array]:
    """Return, for each feature, the tensor and the row that come nearest, and how near.

    Parameters
    ----------
    axes : ndarray of shape (r, K)
        What rows are multiplied by.
    wanted : ndarray of shape (r, O)
        What should come of it.
    tensors : sequence of Tensor
        Where the rows are looked for.

    Returns
    -------
    source, row : ndarray of shape (O,)
        The number of the tensor and of the row; of several that are as near the first.
    distance, second : ndarray of shape (O,)
        How far the nearest product is, and the nearest of those that differ from it.
    """
    features = wanted.shape[1]
    source, row = np.zeros(features, np.int64), np.zeros(features, np.int64)
    distance, second = np.full(features, np.inf), np.full(features, np.inf)
    best = np.full_like(wanted, np.inf)
    size = np.square(wanted).sum(axis=0)
    for number, tensor in enumerate(tensors):
        made = (axes.astype(tensor.rows.dtype) @ tensor.rows.T).astype(np.float64)  # (r, R)
        squares = size - 2.0 * (made.T @ wanted) + np.square(made).sum(axis=0)[:, np.newaxis]
        for _ in range(2):  # the nearest, and the next
            nearest = squares.argmin(axis=0)
            chosen = made[:, nearest]
            far = np.linalg.norm(chosen - wanted, axis=0)
            is_same = np.linalg.norm(chosen - best, axis=0) <= 1e-9 * np.sqrt(size)
            is_best = (far < distance) & ~is_same
            second = np.where(is_best, distance, np.where(is_same, second, np.minimum(second, far)))
            source[is_best], row[is_best] = number, nearest[is_best]
            best[:, is_best] = chosen[:, is_best]
            distance = np.where(is_best, far, distance)
            squares[nearest, np.arange(features)] = np.inf
    return source, row, distance, second


def _bias_of(rest: Array, arrangement: Arrangement, step: Step, setting: Setting) -> _Bias:
    """Return the bias that fits best what a weight leaves of the numbers, (N, O)."""
    mean = rest.mean(axis=0)
    biases = list(_biases(mean, arrangement, step, setting))
    far = [rms(mean - bias.vector) for bias in biases]
    number = next(i for i, distance in enumerate(far) if distance <= _ABOUT * min(far))
    chance = _FAR * rms(rest.std(axis=0)) / np.sqrt(len(rest))
    if far[number] > chance + 1e-9 * rms(mean) and len(rest) >= _FEWEST_TOKENS:
        return _Bias("bias_unknown", "a bias that is none of this model's", mean)
    return biases[number]


def _biases(mean: Array, arrangement: Arrangement, step: Step, setting: Setting) -> Iterator[_Bias]:
    """Yield the biases that may have been added, the likeliest first."""
    own, going = step.arguments["bias"], arrangement.bias()
    right = own if going is None else going
    if going is not None:
        yield _Bias("", "", going)
    if going is None or not np.array_equal(own, going):
        yield _Bias("bias_own", "its own bias", own)
    yield _Bias("bias_missing", "no bias", np.zeros_like(own))
    yield _Bias("bias_twice", "its bias added twice", 2.0 * right)
    turns = np.fft.irfft(np.fft.rfft(mean) * np.conj(np.fft.rfft(own)), len(own))
    shift = int(-turns.argmax() % len(own))
    if shift:
        text = f"its bias shifted by {shift}"
        yield _Bias("bias_shifted", text, np.roll(own, -shift))
    for name, vector in _vectors(setting, len(own)):
        if not name.startswith(f"{step.name}."):
            yield _Bias("bias_of_another", f"{name} as its bias", vector)


def _vectors(setting: Setting, size: int) -> Iterator[tuple[str, Array]]:
    """Yield the biases, and the weights of LayerNorms, that have so many numbers."""
    for step in setting.steps.values():
        if step.kind == "layer_norm" and step.arguments["part"] != "output":
            continue
        for key in ("bias", "weight"):
            vector = step.arguments.get(key)
            if vector is not None and vector.shape == (size,):
                yield f"{step.name}.{key}", vector


def _named(arrangement: Arrangement, bias: _Bias, step: Step) -> tuple[str, str]:
    """Return the name of the cause and the sentence about a weight and its bias."""
    only, order = arrangement.only, arrangement.order
    both = "" if bias.cause else " and bias"
    added = f", with {bias.text}" if bias.cause else ""
    if arrangement.is_joined:
        return "qkv_layout", f"query, key and value were {order}{added}"
    if only is None:
        return "rows_mixed", f"the rows of its weight{both} stand {order}{added}"
    turned = f", {only.turned}" if only.turned else ""
    if only.step != step.name:
        stand = f"; the rows stand {order}" if order else ""
        text = f"it was computed with the weight{both} of {only.step}{turned}{added}{stand}"
        return relation(step.name, only.step), text
    if order:
        return "rows_permuted", f"the rows of its weight{both}{turned} stand {order}{added}"
    return "weight_not_transposed", f"the weight is not transposed{added}"


# What is wrong where the weight is right.
_BIASES = {
    "bias_missing": "the bias is not added",
    "bias_twice": "the bias is added twice",
    "bias_unknown": "the weight is right, but a bias is added that is none of this model's",
}


# LayerNorms.


def _in_norm(step: Step, x: Array, y: Array, setting: Setting) -> Iterator[Mistake]:
    """Yield the other weight and bias that give the features of a LayerNorm."""
    centred = x - x.mean(axis=-1, keepdims=True)
    rows = centred / np.sqrt(
        np.square(centred).mean(axis=-1, keepdims=True) + step.arguments["eps"]
    )
    own = {key: step.arguments[key] for key in ("weight", "bias")}
    if not np.isfinite(rows).all():  # a constant row, and no epsilon
        return
    path = step.name
    ones = np.ones_like(own["weight"])
    vectors = {
        f"{path}.weight": own["weight"],
        "ones": ones,
        "zeros": np.zeros_like(ones),
        f"{path}.bias": own["bias"],
        f"1 + {path}.weight": 1.0 + own["weight"].astype(np.float64),
        **dict(_vectors(setting, len(ones))),
    }
    if len(rows) > _FEWEST_DIRECTIONS:
        inner = rows - rows.mean(axis=0)
        size = np.square(inner).mean(axis=0)
        slope = (inner * (y - y.mean(axis=0))).mean(axis=0) / (size + 1e-300)
        weight = _best_of(vectors, lambda v: rms(np.sqrt(size) * (slope - v)))
        biases = {f"{path}.bias": own["bias"], "zeros": vectors["zeros"], **vectors}
        mean = (y - rows * vectors[weight]).mean(axis=0)
        bias = _best_of(biases, lambda v: rms(mean - v))
    else:
        pairs = [*_pairs(path, setting, len(ones))]
        far = [rms(y - rows * vectors[a] - vectors[b]) for a, b in pairs]
        weight, bias = pairs[int(np.argmin(far))]
    named = _norm_cause(path, weight, bias)
    if named is not None:
        yield changed(step, *named, weight=vectors[weight], bias=vectors[bias])


def _best_of(vectors: Mapping[str, Array], far: Callable[[Array], float]) -> str:
    """Return the name of the vector that is least far, or of the first that is about as near."""
    distances = {name: far(vector) for name, vector in vectors.items()}
    least = min(distances.values())
    return next(name for name, distance in distances.items() if distance <= _ABOUT * least)


def _pairs(path: str, setting: Setting, size: int) -> Iterator[tuple[str, str]]:
    """Yield the weights and biases that a LayerNorm of so many features may have, its own first."""
    yield f"{path}.weight", f"{path}.bias"
    yield f"{path}.bias", f"{path}.weight"
    yield "ones", "zeros"
    for step in setting.steps.values():
        is_norm = step.kind == "layer_norm" and step.arguments["part"] == "output"
        if is_norm and len(step.arguments["weight"]) == size:
            yield f"{step.name}.weight", f"{step.name}.bias"


def _norm_cause(path: str, weight: str, bias: str) -> tuple[str, str] | None:
    """Return the name of the cause and the sentence about a LayerNorm's weight and bias.

    There is none for its own two, nor for two that nobody takes for a weight and a bias.
    """
    own = f"{path}.weight", f"{path}.bias"
    known = {
        own: None,
        own[::-1]: ("layer_norm_exchanged", "LayerNorm's weight and bias are exchanged"),
        ("ones", own[1]): ("layer_norm_weight_missing", f"{_LEFT_OUT[0]} is left out"),
        (own[0], "zeros"): ("layer_norm_bias_missing", f"{_LEFT_OUT[1]} is left out"),
        ("ones", "zeros"): (
            "layer_norm_plain",
            f"{_LEFT_OUT[0]} and bias (beta) are left out",
        ),
    }
    if (weight, bias) in known:
        return known[weight, bias]
    if not bias.endswith(".bias") or weight in ("ones", "zeros") or weight.endswith(".bias"):
        return None
    if weight == f"1 + {own[0]}":
        text = "LayerNorm multiplies by 1 + its weight (gamma)"
        return ("layer_norm_weight_plus_one", text) if bias == own[1] else None
    other = weight.removesuffix(".weight")
    if bias == f"{other}.bias":
        return relation(path, other), f"it was computed with the weight and bias of {other}"
    if weight == own[0]:
        return "bias_of_another", f"it was computed with {bias} as its bias"
    return relation(path, other), f"it was computed with {weight} as its weight, {bias} as its bias"


_LEFT_OUT = ("LayerNorm's weight (gamma)", "LayerNorm's bias (beta)")


# Look-ups.


def _in_look_up(step: Step, found: Array, counts: BoolArray, setting: Setting) -> Iterator[Mistake]:
    """Yield the other rows, of this table or of another one, that were looked up."""
    rows = found[counts]
    if not np.abs(rows).max() < _HUGE:  # nor if one is a NaN
        return
    tables = {s.name: s for s in setting.steps.values() if s.kind in _TABLES}
    names = [step.name, *(name for name in tables if name != step.name)]
    for name in names:
        table = tables[name].arguments["table"]
        chosen, distance = _nearest_rows(rows, table)
        if (distance > _NEAR * np.linalg.norm(rows, axis=1)).any():
            continue
        own = np.broadcast_to(step.arguments["ids"], counts.shape)
        ids = np.clip(own, 0, len(table) - 1)
        ids[counts] = chosen
        if name != step.name:
            text = f"the rows of {name} are looked up in place of its own"
            yield changed(step, "weights_of_another_module", text, table=table, ids=ids)
        elif not np.array_equal(ids[counts], own[counts]):
            yield changed(step, *_ids_cause(step, own, ids, counts), ids=ids)
        return


def _nearest_rows(rows: Array, table: StoredArray) -> tuple[IntArray, Array]:
    """Return which rows of a table are the nearest to others, and how far they are."""
    features = np.linspace(0, rows.shape[1] - 1, min(_TELLING, rows.shape[1])).astype(np.int64)
    wanted = rows[:, features]
    best, nearest = np.full(len(rows), np.inf), np.zeros(len(rows), np.int64)
    for start in range(0, len(table), _BLOCK):
        block = widen(table[start : start + _BLOCK, features], np.float64)
        squares = np.square(block).sum(axis=1) - 2.0 * (wanted @ block.T)
        here = squares.argmin(axis=1)
        least = squares[np.arange(len(rows)), here]
        is_nearer = least < best
        best[is_nearer], nearest[is_nearer] = least[is_nearer], start + here[is_nearer]
    return nearest, np.linalg.norm(rows - widen(table[nearest], np.float64), axis=1)


def _ids_cause(step: Step, own: IntArray, ids: IntArray, counts: BoolArray) -> tuple[str, str]:
    """Return the name of the cause and the sentence about other ids in a look-up."""
    what, name = _IDS[step.kind]
    shifts = np.unique((ids - own)[counts])
    if len(shifts) == 1:
        return f"{name}_shifted", f"{what} are shifted by {shifts[0]}"
    places = np.argwhere((ids != own) & counts)
    first = ", ".join(
        f"{ids[tuple(at)]} (not {own[tuple(at)]}) at {list(map(int, at))}" for at in places[:_SHOWN]
    )
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"{name}_other", f"{what} are others: {first}{more}"


# What a look-up's ids are called, and how the causes begin that are about them.
_IDS = {
    "word_embeddings": ("the ids of the tokens", "ids"),
    "token_type_embeddings": ("segments", "segments"),
    "position_embeddings": ("positions", "positions"),
    "task_type_embeddings": ("tasks", "tasks"),
}

_SEARCHES: Mapping[str, Callable[[Step, Array, Array, Setting], Iterator[Mistake]]] = {
    "linear": _in_dense,
    "pooler.dense": _in_dense,
    "layer_norm": _in_norm,
}


# Weights that stand in a trace themselves.


def whose_weight(
    name: str, found: npt.NDArray[Any], own: Mapping[str, StoredArray], heads: int
) -> Cause | None:
    """Return what stands in the place of a weight, None if the model has it nowhere.

    Parameters
    ----------
    name : str
        The name of the weight.
    found : ndarray
        What stands there.
    own : mapping of str to ndarray
        The weights of the model.
    heads : int
        How many heads it has.

    Examples
    --------
    >>> own = {"pooler.dense.weight": np.arange(9.0).reshape(3, 3)}
    >>> found = own["pooler.dense.weight"][::-1]
    >>> whose_weight("pooler.dense.weight", found, own, heads=1).text
    'its rows stand in reverse order'
    """
    path, _, kind = name.rpartition(".")
    for other, stored in own.items():
        step = other.rpartition(".")[0]
        for turned, array in (("", stored), (", transposed", stored.T)):
            if other == name or array.shape != found.shape or not _is_equal(found, array):
                continue
            if other.startswith(f"{path}.") and path.endswith("LayerNorm"):
                return Cause("layer_norm_exchanged", f"it is {other}")
            is_bias = kind == "bias" and not path.endswith("LayerNorm")
            cause = "bias_of_another" if is_bias else relation(path, step)
            return Cause(cause, f"it is {other}{turned}")
    if path.endswith("LayerNorm") and kind == "weight" and (found == 1.0).all():
        return Cause("layer_norm_weight_missing", "it is 1")
    for arrangement in _stored_rows(name, found, own, heads):
        made = arrangement.weight().reshape(found.shape)
        if (arrangement.only is None or arrangement.order) and _is_equal(found, made):
            text = f"its rows stand {arrangement.order}"
            if arrangement.is_joined:
                return Cause("qkv_layout", f"query, key and value were {arrangement.order}")
            return Cause("rows_mixed" if arrangement.only is None else "rows_permuted", text)
    return None


def _is_equal(found: npt.NDArray[Any], stored: StoredArray) -> bool:
    """Tell whether an array holds stored numbers, rounded to its dtype."""
    for part in (slice(0, 1), slice(None)):  # most differ in the first row
        with np.errstate(over="ignore"):
            other = widen(stored[part], np.float64 if stored.dtype == np.float64 else np.float32)
            if not np.array_equal(found[part], other.astype(found.dtype)):
                return False
    return True


def _stored_rows(
    name: str, found: npt.NDArray[Any], own: Mapping[str, StoredArray], heads: int
) -> Iterator[Arrangement]:
    """Yield the arrangements of rows of the model's weights that an array may be."""
    kind = name.rpartition(".")[2]
    is_table = "_embeddings" in name
    names = [name]
    if not is_table:
        names += [n for n in own if n != name and n.endswith(kind) and "_embeddings" not in n]
    tensors: list[Tensor] = []
    known: dict[int, tuple[int, int]] = {}  # by their hashes: the rows themselves are large
    wanted = found.reshape(len(found), -1)
    for other in names:
        stored = own[other]
        if stored.shape[1:] != found.shape[1:]:
            continue
        wide = widen(stored, np.float64 if stored.dtype == np.float64 else np.float32)
        rows = wide.reshape(len(wide), -1)
        for number, row in enumerate(rows.astype(found.dtype)):
            known.setdefault(hash(row.tobytes()), (len(tensors), number))
        tensors.append(Tensor(other.rpartition(".")[0], "", rows, np.zeros(len(rows))))
    places = [known.get(hash(row.tobytes())) for row in wanted]
    if all(place is not None for place in places):
        source, row = np.array(places).T
        yield from arrangements(tensors, source, row, np.ones(len(row), np.bool_), heads)
