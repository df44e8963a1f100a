"""The names in a trace: what a port calls a step, turned into its one name.

A step's name is the path of the module in transformers' BertModel (see `numpy_bert.trace`). Rules
of the user's own (a name map) come first, then those of `numpy_bert.traces.other_names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from numpy_bert.errors import TraceError
from numpy_bert.files import read_json
from numpy_bert.loading.keys import canonical
from numpy_bert.messages import quoted
from numpy_bert.traces.other_names import OTHER_NAMES, Rule

__all__ = [
    "INPUTS",
    "NameMap",
    "Named",
    "axes_of",
    "checked_rule",
    "is_weight",
    "layers_in",
    "matches",
    "place_of",
    "read_map",
    "same_step",
    "step_names",
]

# What a model is run on, in the order in which it is compared.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
# What wrappers of a BertModel put before its modules' paths.
_WRAPPERS = re.compile(r"(?:_orig_mod\.|\d+\.|auto_model\.|model\.|module\.|bert\.)+")
_ONNX_WRAPPER = re.compile(r"/.*(?=/(?:embeddings|encoder|pooler)/)")
_HIDDEN_STATE = re.compile(r"hidden_states[._]([1-9]\d{0,3})")
# Names of what one array is: the end of a block, of the block around it, of the LayerNorm in it.
_SAME = (
    (re.compile(r"(encoder\.layer\.\d+\.attention)(?:\.output)?"), r"\1.output.LayerNorm"),
    (re.compile(r"(encoder\.layer\.\d+)(?:\.output)?"), r"\1.output.LayerNorm"),
    (re.compile(r"embeddings"), "embeddings.dropout"),
)
_IN_LAYER = re.compile(r"encoder\.layer\.(\d{1,4})\.?(.*)")
_NORM = ("LayerNorm.mean", "LayerNorm.variance", "LayerNorm.rstd", "LayerNorm.normalized")
_ENDS = ("dense", "dropout", "sum", *_NORM, "LayerNorm")
# The steps in the order of execution: of the embedding and of what follows the layers, of a layer.
_AROUND = (
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings.sum",
    *(f"embeddings.{part}" for part in (*_NORM, "LayerNorm")),
    "embeddings.dropout",
    "embeddings",
    "encoder",
    "pooler.dense",
    "pooler",
)
_LAYER_STEPS = (
    *(f"attention.self.{part}" for part in ("query", "key", "value", "scores", "probs", "dropout")),
    "attention.self",
    *(f"attention.output.{part}" for part in _ENDS),
    "attention.output",
    "attention",
    "intermediate.dense",
    "intermediate",
    *(f"output.{part}" for part in _ENDS),
    "output",
    "",
)
_AXES = re.compile(r"[BTHADIS1]{1,6}")


class Named(NamedTuple):
    """What a name in a file stands for: a step, and the letters of its axes if they are others.

    The step is empty where the array is not to be read.
    """

    step: str
    axes: str | None = None


class NameMap:
    """Rules from a port's names to the steps'.

    Parameters
    ----------
    rules : mapping of str to str, or to (str, str)
        The user's own, which come before the built-in ones: a name in which ``*`` stands for
        anything, and the step, in which each ``*`` is replaced by what the one of its place stood
        for; or the step and the axes of the port's array, as ``"BTAD"``; or None for what is not
        to be read.

    Examples
    --------
    >>> names = NameMap({"h.*.attn.q": "encoder.layer.*.attention.self.query"})
    >>> names("h.3.attn.q").step
    'encoder.layer.3.attention.self.query'
    >>> names("bert.encoder.layer.0.intermediate.intermediate_act_fn").step
    'encoder.layer.0.intermediate'
    >>> names("blocks.2.attn.hook_q")
    Named(step='encoder.layer.2.attention.self.query', axes='BTAD')
    """

    def __init__(self, rules: Mapping[str, Rule | None] | None = None) -> None:
        self._own = [_compiled(*checked_rule(name, rule)) for name, rule in (rules or {}).items()]

    def __call__(self, name: str) -> Named:
        """Return what a name stands for; a name that no rule fits stands for itself."""
        found = _first(self._own, name)
        if found is not None:
            return found
        name = _ONNX_WRAPPER.sub("", name, count=1) if name.startswith("/") else name
        bare = _WRAPPERS.sub("", name, count=1) if _WRAPPERS.match(name) else name
        state = _HIDDEN_STATE.fullmatch(bare)
        if state is not None:  # counted from the embedding
            return Named(f"encoder.layer.{int(state[1]) - 1}")
        return _first(_BUILT_IN, bare) or Named(canonical(bare))


def read_map(path: Path) -> dict[str, Rule | None]:
    """Read a name map: a JSON object of the rules that `NameMap` takes, a pair as a list.

    Raises
    ------
    TraceError
        Naming the file and the rule.
    """
    try:
        return dict(checked_rule(*item) for item in read_json(path, error=TraceError).items())
    except TraceError as failure:
        where = str(path)
        message = str(failure)
        raise TraceError(message if message.startswith(where) else f"{where}: {message}") from None


def checked_rule(name: str, rule: object) -> tuple[str, Rule | None]:
    """Return a rule of a name map; raise TraceError if it is none."""
    if rule is None:
        return name, None
    step, axes = rule if isinstance(rule, (list, tuple)) and len(rule) == 2 else (rule, None)
    if not isinstance(step, str) or not step or not (axes is None or _is_axes(axes)):
        raise TraceError(
            f"{quoted(name)} is {quoted(rule)}; the name of a step was expected, or "
            '["name of a step", "BTAD"] with the letters of the array\'s axes, or null.'
        )
    if step.count("*") > name.count("*"):
        raise TraceError(
            f"{quoted(step)} has more * than {quoted(name)}; each stands for what the one of its "
            "place stood for."
        )
    if step in INPUTS and axes is not None:
        raise TraceError(f"{quoted(name)}: {step} is (B, T) and has no other axes.")
    return name, step if axes is None else (step, str(axes))


def same_step(name: str, layers: int) -> str:
    """Return the first name of the array that `name` stands for, where it has several.

    Examples
    --------
    >>> same_step("encoder.layer.1.attention", 6), same_step("encoder", 6)
    ('encoder.layer.1.attention.output.LayerNorm', 'encoder.layer.5.output.LayerNorm')
    """
    if name == "encoder" and layers:
        name = f"encoder.layer.{layers - 1}"
    for pattern, first in _SAME:
        found = pattern.fullmatch(name)
        if found is not None:
            return found.expand(first)
    return name


def step_names(layers: int, *, pools: bool) -> list[str]:
    """Return the names of a whole model's steps in the order of execution.

    Examples
    --------
    >>> len(step_names(2, pools=True)), step_names(0, pools=False)[-1]
    (72, 'encoder')
    """
    first = _AROUND.index("encoder")
    inside = [
        f"encoder.layer.{number}.{part}".rstrip(".")
        for number in range(layers)
        for part in _LAYER_STEPS
    ]
    last = _AROUND[first:] if pools else _AROUND[first : first + 1]
    return [*_AROUND[:first], *inside, *last]


def place_of(name: str) -> tuple[int, int, int]:
    """Return what sorts names into the order of execution; unknown ones come last.

    Examples
    --------
    >>> sorted(["pooler", "encoder.layer.1.output", "encoder.layer.1.attention"], key=place_of)
    ['encoder.layer.1.attention', 'encoder.layer.1.output', 'pooler']
    """
    if name in _AROUND:
        number = _AROUND.index(name)
        return (0 if number < _AROUND.index("encoder") else 2, 0, number)
    layer = _IN_LAYER.fullmatch(name)
    if layer is not None and layer[2] in _LAYER_STEPS:
        return (1, int(layer[1]), _LAYER_STEPS.index(layer[2]))
    return (3, 0, 0)


def axes_of(name: str) -> str | None:
    """Return the letters of a step's axes by its name; None of a name that is no step's.

    Examples
    --------
    >>> axes_of("encoder.layer.0.attention.self.probs"), axes_of("loss")
    ('BATT', None)
    """
    if place_of(name)[0] == 3:
        return None
    last = name.rpartition(".")[2]
    if last in ("scores", "probs") or name.endswith("self.dropout"):
        return "BATT"
    if name.startswith("pooler"):
        return "BH"
    if name == "embeddings.position_embeddings":
        return "1TH"
    wide = re.search(r"\.intermediate(\.dense)?$", name)
    return "BT1" if last in ("mean", "variance", "rstd") else "BTI" if wide else "BTH"


def is_weight(name: str) -> bool:
    """Tell whether a name is a parameter's, not a step's."""
    return name.endswith((".weight", ".bias"))


def layers_in(names: Iterable[str]) -> int:
    """Return how many layers a model has at least that has steps of these names."""
    numbers = [int(found[1]) for name in names if (found := _IN_LAYER.fullmatch(name))]
    return max(numbers, default=-1) + 1


def matches(name: str, globs: Iterable[str]) -> bool:
    """Tell whether one of the globs, in which ``*`` stands for anything, is the whole name.

    Examples
    --------
    >>> matches("embeddings.sum", ["embeddings.*"]), matches("embeddings", ["embeddings.*"])
    (True, False)
    """
    return any(re.fullmatch(_pattern(glob), name) for glob in globs)


def _pattern(glob: str) -> str:
    return "(.*)".join(re.escape(part) for part in glob.split("*"))


def _compiled(name: str, rule: Rule | None) -> tuple[re.Pattern[str], str, str | None]:
    step, axes = rule if isinstance(rule, tuple) else (rule or "", None)
    return re.compile(_pattern(name)), step, axes


def _first(rules: Iterable[tuple[re.Pattern[str], str, str | None]], name: str) -> Named | None:
    """Return what the first rule that fits makes of a name."""
    for pattern, step, axes in rules:
        found = pattern.fullmatch(name)
        if found is not None:
            parts = step.split("*")
            middle = (*found.groups()[: len(parts) - 1], "")
            return Named("".join(a + b for a, b in zip(parts, middle, strict=True)), axes)
    return None


def _is_axes(axes: object) -> bool:
    return isinstance(axes, str) and _AXES.fullmatch(axes) is not None


_BUILT_IN = [_compiled(name, rule) for name, rule in OTHER_NAMES.items()]
