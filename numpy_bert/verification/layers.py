"""Layers and modules that were run with the weights of others, in another order, or not at all.

Where a trace holds the ends of layers, or of the model alone, the numbers do not tell the weights.
So the plans by which a port may have run its layers are tried, each on the shortest row of the
batch; those that come near to the candidate's numbers there are worth a run of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.comparison.differences import rms
from numpy_bert.traces.layout import BIAS, PROJECT
from numpy_bert.verification.arrangements import layer_of, relation
from numpy_bert.verification.mistakes import PROJECTIONS, Cause, Mistake, Setting
from numpy_bert.verification.rows import shortest, weights_dtype
from numpy_bert.verification.steps import UNCHANGED, Segment, Step, same, segment_of

__all__ = ["layer_mistakes"]

# A plan is worth a run of the whole batch if it leaves so much less of the error in one row.
_BETTER = 2.0
# What leaves no more than this of it is the answer, and the others need not be tried.
_ALL = 1e-3
# So many plans are worth a run.
_TRIED = 3


class _Plan(NamedTuple):
    """The layers that are run in place of a segment's own, in this order."""

    cause: str
    text: str
    layers: tuple[int, ...]


class _Swap(NamedTuple):
    """The steps whose weights stand for those of others, by the names of these."""

    cause: str
    text: str
    others: Mapping[str, str]


def layer_mistakes(
    segment: Segment,
    arrays: Mapping[str, npt.NDArray[Any]],
    found: Array,
    places: BoolArray,
    setting: Setting,
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[Mistake]:
    """Yield the plans by which layers and modules seem to have been run, the likeliest first.

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
        The model's steps and its inputs.
    is_over : callable
        Tells whether the time for it is over.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.trace_inputs import inputs_of
    >>> from numpy_bert.verification.steps import steps_of
    >>> model = BertModel.from_pretrained("demo", dtype="float64")
    >>> inputs = inputs_of({"input_ids": np.array([[2, 5, 3, 9, 7, 11]])}, model)
    >>> steps = steps_of(model.config, model.parameters, inputs)
    >>> last = model.config.num_hidden_layers - 1
    >>> found = segment_of(f"encoder.layer.{last - 1}", steps, ()).run({})
    >>> whole, places = segment_of("encoder", steps, ()), np.ones((1, 6, 1), bool)
    >>> setting = Setting(model.config, steps, inputs)
    >>> next(layer_mistakes(whole, {}, found, places, setting)).cause.name
    'layer_left_out'
    """
    if sum("weight" in step.arguments for step in segment.steps) < 2 and not _is_hidden(segment):
        return
    row = _ShortRow(segment, arrays, found, places, setting)
    expected = rms(row.found - row.counted(row.run(UNCHANGED)))
    tried: list[tuple[float, _Plan | _Swap]] = []
    plans: list[_Plan | _Swap] = [*_plans(row.layers, setting), *_swaps(segment, setting)]
    for plan in plans:
        made = row.planned(plan.layers) if isinstance(plan, _Plan) else row.swapped(plan.others)
        left = rms(row.found - row.counted(made))
        if left * _BETTER <= expected:
            tried.append((left, plan))
        if left <= _ALL * expected or is_over():
            break
    tried.sort(key=lambda pair: pair[0])
    for _, plan in tried[:_TRIED]:
        steps = (
            _steps_of(plan.layers, row.layers, setting.steps)
            if isinstance(plan, _Plan)
            else _swapped(plan.others, setting.steps)
        )
        yield Mistake(Cause(plan.cause, plan.text), steps)


class _ShortRow:
    """The shortest row of a batch, without its padding, in which a segment is run.

    Attributes
    ----------
    found : ndarray
        What the candidate has in it, at the places that count.
    layers : tuple of int
        The layers that lie in the segment from one hidden state to another.
    """

    def __init__(
        self,
        segment: Segment,
        arrays: Mapping[str, npt.NDArray[Any]],
        found: Array,
        places: BoolArray,
        setting: Setting,
    ) -> None:
        row = shortest(setting.inputs.attention_mask)
        self._steps = {name: row.step(step) for name, step in setting.steps.items()}
        self._dtype = weights_dtype(segment)  # a plan has only to come near
        self._arrays = {
            name: row.of(array, setting.steps[name].axes).astype(self._dtype, copy=False)
            for name, array in arrays.items()
        }
        axes = segment.target.axes
        whole = np.broadcast_to(places, found.shape)
        self._places = row.of(whole, axes)
        self.found = row.of(found, axes)[self._places]
        inside = tuple(self._steps[step.name] for step in segment.steps)
        self._segment = Segment(inside, segment.inputs)
        self.layers = _whole_layers(segment, setting.steps)
        self._states: dict[tuple[int, ...], Array] = {}

    def run(self, others: Mapping[str, Step]) -> Array:
        """Run the segment with other steps in it."""
        return self._segment.run(self._arrays, self._dtype, others)

    def swapped(self, others: Mapping[str, str]) -> Array:
        """Run the segment with the weights of other steps."""
        return self.run(_swapped(others, self._steps))

    def planned(self, layers: tuple[int, ...]) -> Array:
        """Run the segment with other layers; what begins as before is not run again."""
        end = f"encoder.layer.{self.layers[-1]}"
        after = segment_of(self._segment.target.name, self._steps, {end})
        state = self._state(layers)
        return after.run({end: state}, self._dtype) if self._segment.target.name != end else state

    def counted(self, array: Array) -> Array:
        """Return the values at the places that count."""
        chosen: Array = np.broadcast_to(array, self._places.shape)[self._places]
        return chosen

    def _state(self, layers: tuple[int, ...]) -> Array:
        """Return the hidden state behind some layers, run from the segment's own input."""
        if layers not in self._states:
            if layers:
                found = _run_layer(layers[-1], self._steps, self._state(layers[:-1]))
            else:
                hidden = _input_of(self.layers[0], self._steps)
                before = segment_of(hidden, self._steps, set(self._segment.inputs))
                is_held = hidden in self._arrays
                arrays = self._arrays
                found = arrays[hidden] if is_held else before.run(arrays, self._dtype)
            self._states[layers] = found
        return self._states[layers]


def _is_hidden(segment: Segment) -> bool:
    """Tell whether the last step with a weight has others behind it that hide the weight."""
    last = next((s for s in reversed(segment.steps) if s.kind not in ("same", "dropout")), None)
    return last is not None and "weight" not in last.arguments


def _input_of(layer: int, steps: Mapping[str, Step]) -> str:
    """Return the name of the hidden state that a layer reads."""
    first = PROJECT if PROJECT in steps else "embeddings"
    return f"encoder.layer.{layer - 1}" if layer else first


def _whole_layers(segment: Segment, steps: Mapping[str, Step]) -> tuple[int, ...]:
    """Return the layers that a segment holds from one hidden state to another."""
    names = {step.name for step in segment.steps}
    numbers = sorted(
        number
        for name in names
        if (number := layer_of(name)) is not None and name == f"encoder.layer.{number}"
    )
    if not numbers:
        return ()
    first = _input_of(numbers[0], steps)
    before = segment_of(first, steps, set(segment.inputs)).inputs
    read = {first} if first in segment.inputs else set(before)
    if read - {BIAS} != set(segment.inputs) - {BIAS}:  # something within a layer is held
        return ()
    return tuple(numbers)


def _run_layer(layer: int, steps: Mapping[str, Step], hidden: Array) -> Array:
    """Run one layer on a hidden state."""
    name, read = f"encoder.layer.{layer}", _input_of(layer, steps)
    return segment_of(name, steps, {read}).run({read: hidden}, hidden.dtype)


def _swapped(others: Mapping[str, str], steps: Mapping[str, Step]) -> dict[str, Step]:
    """Return steps with the weights of others."""
    found = {}
    for name, other in others.items():
        step, given = steps[name], steps[other].arguments
        weights = {"weight": given["weight"], "bias": given["bias"]}
        found[name] = replace(step, arguments={**step.arguments, **weights})
    return found


def _weighted(layer: int, steps: Mapping[str, Step]) -> list[str]:
    """Return the names of the steps of a layer that have a weight."""
    path = f"encoder.layer.{layer}."
    return [
        name for name, step in steps.items() if name.startswith(path) and "weight" in step.arguments
    ]


def _steps_of(
    plan: Sequence[int], layers: Sequence[int], steps: Mapping[str, Step]
) -> dict[str, Step]:
    """Return the steps by which a plan stands in the place of a segment's own layers."""
    found: dict[str, Step] = {}
    for own, other in zip(layers, plan, strict=False):
        names = {} if own == other else dict(zip(*_alike(own, other, steps), strict=True))
        found |= _swapped(names, steps)
    for own in layers[len(plan) :]:  # left out
        end = steps[f"encoder.layer.{own}"]
        found[end.name] = replace(end, function=same, inputs=(_input_of(own, steps),))
    more, end = plan[len(layers) :], steps[f"encoder.layer.{layers[-1]}"]
    if more:

        def longer(hidden: Array, **_: object) -> Array:
            for layer in more:
                hidden = _run_layer(layer, steps, hidden)
            return hidden

        found[end.name] = replace(end, function=longer)
    return found


def _alike(one: int, two: int, steps: Mapping[str, Step]) -> tuple[list[str], list[str]]:
    return _weighted(one, steps), _weighted(two, steps)


def _plans(layers: tuple[int, ...], setting: Setting) -> list[_Plan]:
    """Return the plans by which layers may have been run in place of the segment's own."""
    count = setting.config.num_hidden_layers
    if not layers:
        return []
    plans = [*(_of_one(layers[0], count) if len(layers) == 1 else _of_many(layers, count))]
    first = {plan.layers: plan for plan in reversed(plans) if plan.layers != layers}
    return [plan for plan in plans if first.get(plan.layers) is plan]


def _of_one(layer: int, count: int) -> Iterator[_Plan]:
    """Yield what may have been run in place of one layer."""
    name = f"encoder.layer.{layer}"
    yield _Plan("layer_left_out", f"{name} is left out: this is what it reads", ())
    for other in range(count):
        text = f"{name} was run with the weights of encoder.layer.{other}"
        yield _Plan("weights_of_another_layer", text, (other,))
    yield _Plan("layer_repeated", f"{name} is run twice", (layer, layer))
    if layer + 1 < count:
        text = f"encoder.layer.{layer + 1} is run, too: this is a hidden state later"
        yield _Plan("layer_repeated", text, (layer, layer + 1))


def _of_many(layers: tuple[int, ...], count: int) -> Iterator[_Plan]:
    """Yield the orders in which several layers may have been run."""
    text = "the last layer is left out: this is hidden_states[-2]"
    if layers[-1] == count - 1:
        yield _Plan("layer_left_out", text, layers[:-1])
    yield _Plan("layers_reversed", "the layers are run in reverse", _at(layers, range(count)[::-1]))
    for shared in (count - 1, 0):
        text = f"every layer has the weights of encoder.layer.{shared}"
        yield _Plan("layers_shared", text, (shared,) * len(layers))
    for shift in (1, -1):
        text = f"every layer has the weights of the {'next' if shift > 0 else 'one before'}"
        clipped = [min(max(n + shift, 0), count - 1) for n in range(count)]
        turned = [(n + shift) % count for n in range(count)]
        yield _Plan("layers_shifted", text, _at(layers, clipped))
        yield _Plan("layers_shifted", f"{text}, in a ring", _at(layers, turned))
    for size in range(2, count):
        if count % size == 0:
            text = f"the layers share weights in groups of {size}"
            yield _Plan(
                "layers_shared", text, _at(layers, [n // size * size for n in range(count)])
            )
            text = f"every weight is used for {size} layers in a row, and the later ones for none"
            yield _Plan("layers_shared", text, _at(layers, [n // size for n in range(count)]))
    text = "the layers are sorted as text: 0, 1, 10, 11, 2, ..."
    yield _Plan("layers_in_text_order", text, _at(layers, sorted(range(count), key=str)))
    for place, layer in enumerate(layers):
        text = f"encoder.layer.{layer} is left out"
        yield _Plan("layer_left_out", text, layers[:place] + layers[place + 1 :])
        text = f"encoder.layer.{layer} is run twice"
        yield _Plan("layer_repeated", text, layers[: place + 1] + layers[place:])
    for place, layer in enumerate(layers[:-1]):
        text = f"encoder.layer.{layer} and encoder.layer.{layer + 1} are exchanged"
        turned = [layer + 1, layer]
        yield _Plan("layers_exchanged", text, (*layers[:place], *turned, *layers[place + 2 :]))


def _at(layers: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    return tuple(order[layer] for layer in layers)


def _swaps(segment: Segment, setting: Setting) -> Iterator[_Swap]:
    """Yield the modules whose weights may stand for those of a segment's, if it is short."""
    own = [step.name for step in segment.steps if "weight" in step.arguments]
    numbers = {layer_of(name) for name in own}
    if len(numbers) != 1:
        return
    layer = numbers.pop()
    if layer is not None:
        yield from _from_layers(own, layer, setting)
        yield from _exchanged_norms(own, layer)
    ends = {
        step.name: step for step in segment.steps if step.arguments.get("part") in (None, "output")
    }
    for name in own:
        if name not in ends:
            continue
        shape = ends[name].arguments["weight"].shape
        for other, step in setting.steps.items():
            weight = step.arguments.get("weight")
            if weight is None or other == name or weight.shape != shape:
                continue
            parts = {n.rpartition(".")[2] for n in (name, other)}
            is_elsewhere = layer is not None and layer_of(other) != layer
            if step.arguments.get("part", "output") != "output" or is_elsewhere:
                continue
            if layer is not None and parts <= set(PROJECTIONS):  # in the catalogue
                continue
            text = f"{name} was computed with the weight and bias of {other}"
            yield _Swap(relation(name, other), text, {name: other})


def _exchanged_norms(own: Sequence[str], layer: int) -> Iterator[_Swap]:
    """Yield the exchange of a layer's two LayerNorms."""
    one, two = (f"encoder.layer.{layer}.{part}output.LayerNorm" for part in ("attention.", ""))
    if {one, two} <= set(own):
        text = f"the weights and biases of {one} and {two} are exchanged"
        yield _Swap("weights_of_another_module", text, {one: two, two: one})


def _from_layers(own: Sequence[str], layer: int, setting: Setting) -> Iterator[_Swap]:
    """Yield the parts of a layer that may have the weights of another layer's."""
    path = f"encoder.layer.{layer}"
    parts = ("", ".attention", ".attention.self", ".attention.output", ".output")
    groups = {part: tuple(n for n in own if n.startswith(f"{path}{part}.")) for part in parts}
    groups |= {name.removeprefix(path): (name,) for name in own}
    seen: set[tuple[str, ...]] = {()}
    for part, names in groups.items():
        if names in seen:
            continue
        seen.add(names)
        for other in range(setting.config.num_hidden_layers):
            if other == layer:
                continue
            there = f"encoder.layer.{other}"
            text = f"{path}{part} was computed with the weights of {there}{part}"
            others = {name: name.replace(path, there, 1) for name in names}
            yield _Swap("weights_of_another_layer", text, others)
