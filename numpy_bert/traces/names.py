"""The names in a trace: what a port calls a step, turned into its one name.

The user's own rules (a name map) come first. Then come the built-in ones, for what transformers'
outputs, torch's ONNX exporter and TransformerLens call BERT's steps. Last of all, what the other
architectures of BERT's family call their modules becomes BERT's name of the same step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.errors import TraceError
from numpy_bert.files import read_json
from numpy_bert.loading.keys import canonical, renamed
from numpy_bert.messages import quoted
from numpy_bert.traces.layout import INPUTS

__all__ = [
    "OTHER_NAMES",
    "STACKS",
    "NameMap",
    "Named",
    "Rule",
    "Stack",
    "checked_rule",
    "is_first_state",
    "matches",
    "member_of",
    "read_map",
    "stars",
]

# A step's name; or that and the axes of the port's array, where they are not the step's own.
Rule = str | tuple[str, str]
# What models are called inside another module.
_MODELS = tuple(
    dict.fromkeys(module for entry in ARCHITECTURES.values() for module in entry.modules)
)
# What wrappers of a model put before its modules' paths.
_WRAPPERS = re.compile(rf"(?:(?:_orig_mod|[0-9]+|auto_model|model|module|{'|'.join(_MODELS)})\.)+")
# Where the path of a module of BERT begins in a graph that torch exported.
_ONNX_PATHS = ("/embeddings/", "/encoder/", "/pooler/")
# A member of one of transformers' tuples, as hidden_states.3, hidden_states_3 or hidden_states[3].
_MEMBER = re.compile(r"(hidden_states|attentions)(?:[._/]([0-9]{1,4})|\[([0-9]{1,4})\])")
_AXES = re.compile(r"[BTHADIS1]{1,6}")
# Every name of a trace is tried on each of a map's globs; a BERT needs some 40.
_MOST_GLOBS = 1000

# The built-in rules, in the form of a name map's.
_LAYER = "encoder.layer.*"
_BLOCK = "blocks.*"
_TRANSFORMERS: Mapping[str, Rule] = {
    # Modules that are one step with the one around them.
    "encoder.layer.*.intermediate.intermediate_act_fn": f"{_LAYER}.intermediate",
    "pooler.activation": "pooler",
    # Outputs, as fields of what a model returns and as names in an exported graph.
    "last_hidden_state": "encoder",
    "pooler_output": "pooler",
}
# Modules that are others than BERT's of such a name, or that BERT has not.
_FAMILY: Mapping[str, Rule] = {
    **dict.fromkeys(_MODELS, "encoder"),
    # DistilBERT: attention ends in its projection, the feed-forward network before the sum.
    "transformer.layer.*.attention.dropout": f"{_LAYER}.attention.self.dropout",
    "transformer.layer.*.attention": f"{_LAYER}.attention.output.dense",
    "transformer.layer.*.ffn.activation": f"{_LAYER}.intermediate",
    "transformer.layer.*.ffn.dropout": f"{_LAYER}.output.dropout",
    "transformer.layer.*.ffn": f"{_LAYER}.output.dropout",
    # MPNet: the projection is part of self-attention, and dropout behind it is not.
    "encoder.layer.*.attention.attn.dropout": f"{_LAYER}.attention.self.dropout",
    "encoder.layer.*.attention.attn": f"{_LAYER}.attention.output.dense",
    "encoder.layer.*.attention.dropout": f"{_LAYER}.attention.output.dropout",
    # DPR: what stands in the pooler's place.
    "encode_proj": "pooler.dense",
}
# The path of a module and the operator that ends it; what stands before the path is cut off.
_ONNX: Mapping[str, Rule] = {
    "/embeddings/word_embeddings/Gather_output_0": "embeddings.word_embeddings",
    "/embeddings/token_type_embeddings/Gather_output_0": "embeddings.token_type_embeddings",
    "/embeddings/position_embeddings/Gather_output_0": "embeddings.position_embeddings",
    "/embeddings/Add_1_output_0": "embeddings.sum",
    "/embeddings/LayerNorm/LayerNormalization_output_0": "embeddings.LayerNorm",
    "/embeddings/LayerNorm/Add_1_output_0": "embeddings.LayerNorm",
    "/encoder/layer.*/attention/self/query/Add_output_0": f"{_LAYER}.attention.self.query",
    "/encoder/layer.*/attention/self/key/Add_output_0": f"{_LAYER}.attention.self.key",
    "/encoder/layer.*/attention/self/value/Add_output_0": f"{_LAYER}.attention.self.value",
    "/encoder/layer.*/attention/self/Add_output_0": f"{_LAYER}.attention.self.scores",
    "/encoder/layer.*/attention/self/Softmax_output_0": f"{_LAYER}.attention.self.probs",
    "/encoder/layer.*/attention/self/Reshape_3_output_0": f"{_LAYER}.attention.self",
    "/encoder/layer.*/attention/output/dense/Add_output_0": f"{_LAYER}.attention.output.dense",
    "/encoder/layer.*/attention/output/Add_output_0": f"{_LAYER}.attention.output.sum",
    "/encoder/layer.*/attention/output/LayerNorm/LayerNormalization_output_0": (
        f"{_LAYER}.attention.output.LayerNorm"
    ),
    "/encoder/layer.*/attention/output/LayerNorm/Add_1_output_0": (
        f"{_LAYER}.attention.output.LayerNorm"
    ),
    "/encoder/layer.*/intermediate/dense/Add_output_0": f"{_LAYER}.intermediate.dense",
    "/encoder/layer.*/intermediate/intermediate_act_fn/Mul_1_output_0": f"{_LAYER}.intermediate",
    "/encoder/layer.*/output/dense/Add_output_0": f"{_LAYER}.output.dense",
    "/encoder/layer.*/output/Add_output_0": f"{_LAYER}.output.sum",
    "/encoder/layer.*/output/LayerNorm/LayerNormalization_output_0": f"{_LAYER}.output.LayerNorm",
    "/encoder/layer.*/output/LayerNorm/Add_1_output_0": f"{_LAYER}.output.LayerNorm",
    "/pooler/dense/Gemm_output_0": "pooler.dense",
    "/pooler/activation/Tanh_output_0": "pooler",
}
# HookedEncoder. hook_scale is 1 / rstd, which is no step here.
_TRANSFORMER_LENS: Mapping[str, Rule] = {
    "embed.hook_embed": "embeddings.word_embeddings",
    "embed.hook_token_type_embed": "embeddings.token_type_embeddings",
    "embed.hook_pos_embed": "embeddings.position_embeddings",
    "embed.ln.hook_normalized": "embeddings.LayerNorm",
    "hook_full_embed": "embeddings",
    f"{_BLOCK}.attn.hook_q": (f"{_LAYER}.attention.self.query", "BTAD"),
    f"{_BLOCK}.attn.hook_k": (f"{_LAYER}.attention.self.key", "BTAD"),
    f"{_BLOCK}.attn.hook_v": (f"{_LAYER}.attention.self.value", "BTAD"),
    f"{_BLOCK}.attn.hook_attn_scores": f"{_LAYER}.attention.self.scores",
    f"{_BLOCK}.attn.hook_pattern": f"{_LAYER}.attention.self.probs",
    f"{_BLOCK}.attn.hook_z": (f"{_LAYER}.attention.self", "BTAD"),
    f"{_BLOCK}.hook_attn_out": f"{_LAYER}.attention.output.dense",
    f"{_BLOCK}.hook_resid_mid": f"{_LAYER}.attention.output.sum",
    f"{_BLOCK}.ln1.hook_normalized": f"{_LAYER}.attention.output.LayerNorm",
    f"{_BLOCK}.mlp.hook_pre": f"{_LAYER}.intermediate.dense",
    f"{_BLOCK}.mlp.hook_post": f"{_LAYER}.intermediate",
    f"{_BLOCK}.hook_mlp_out": f"{_LAYER}.output.dense",
    # The sum before the second LayerNorm; behind it is what transformers calls a hidden state.
    f"{_BLOCK}.hook_resid_post": f"{_LAYER}.output.sum",
    f"{_BLOCK}.ln2.hook_normalized": f"{_LAYER}.output.LayerNorm",
    f"{_BLOCK}.hook_normalized_resid_post": _LAYER,
    "pooler.hook_pooler_out": "pooler",
}
OTHER_NAMES: Mapping[str, Rule] = {
    **_TRANSFORMERS,
    **_FAMILY,
    **_ONNX,
    **_TRANSFORMER_LENS,
}


class Stack(NamedTuple):
    """A tuple of transformers' outputs that may stand as one array, its members side by side.

    Attributes
    ----------
    axes : str
        The letters of a member's axes; the members are numbered by the axis before them.
    more : int
        How many members there are beside one for each layer.
    """

    axes: str
    more: int


STACKS: Mapping[str, Stack] = {"hidden_states": Stack("BTH", 1), "attentions": Stack("BATT", 0)}


class Named(NamedTuple):
    """The step that a name in a file stands for, and the array's axes if they are not the step's.

    The step is empty where the array is not to be read.
    """

    step: str
    axes: str | None = None


class NameMap:
    """Rules from a port's names to the steps'.

    Parameters
    ----------
    rules : mapping of str to str, or to (str, str), optional
        The user's own rules, which come before the built-in ones. A rule leads from a name, in
        which ``*`` stands for anything, to a step, in which each ``*`` is replaced by what the one
        of its place stood for; or to the step and the axes of the port's array, as ``"BTAD"``; or
        to None for what is not to be read. At most 1,000 names may have a ``*``.

    Raises
    ------
    TraceError
        If a rule is none, or too many names have a ``*``.

    Examples
    --------
    >>> names = NameMap({"h.*.attn.q": "encoder.layer.*.attention.self.query"})
    >>> names("h.3.attn.q").step
    'encoder.layer.3.attention.self.query'
    >>> names("bert.encoder.layer.0.intermediate.intermediate_act_fn").step
    'encoder.layer.0.intermediate'
    >>> names("blocks.2.attn.hook_q")
    Named(step='encoder.layer.2.attention.self.query', axes='BTAD')
    >>> names("distilbert.transformer.layer.1.ffn.lin1").step
    'encoder.layer.1.intermediate.dense'
    """

    def __init__(self, rules: Mapping[str, Rule | None] | None = None) -> None:
        self._own = _Rules(dict(checked_rule(*item) for item in (rules or {}).items()))

    def __call__(self, name: str) -> Named:
        """Return the step that a name stands for; a name that no rule fits stands for itself."""
        found = self._own.first(name)
        if found is not None:
            return found
        if name.startswith("/"):
            name = name[max(0, *map(name.rfind, _ONNX_PATHS)) :]
        bare = _bare(name)
        member = _MEMBER.fullmatch(bare)
        if member is not None:
            return Named(member_of(member[1], int(member[2] or member[3])))
        return _BUILT_IN.first(bare) or Named(_in_berts_words(canonical(bare)))


def _bare(name: str) -> str:
    """Return a name without what wrappers put before it."""
    wrapped = _WRAPPERS.match(name)
    return name if wrapped is None else name[wrapped.end() :]


def _in_berts_words(name: str) -> str:
    """Return BERT's name of a module, or parameter, of any architecture of its family."""
    for entry in ARCHITECTURES.values():
        name = renamed(name, entry)
    return name


def is_first_state(name: str) -> bool:
    """Tell whether an array's own name is that of the first of transformers' hidden states.

    That is what the first layer reads: the embedding, or what a projection makes of it.

    Examples
    --------
    >>> is_first_state("hidden_states[0]"), is_first_state("bert.embeddings")
    (True, False)
    """
    member = _MEMBER.fullmatch(_bare(name))
    return member is not None and (member[1], int(member[2] or member[3])) == ("hidden_states", 0)


def member_of(stack: str, number: int) -> str:
    """Return the step that a member of a tuple of transformers' is, a key of `STACKS`.

    Examples
    --------
    >>> member_of("hidden_states", 0), member_of("hidden_states", 6)
    ('embeddings', 'encoder.layer.5')
    >>> member_of("attentions", 0)
    'encoder.layer.0.attention.self.dropout'
    """
    if stack == "attentions":
        return f"encoder.layer.{number}.attention.self.dropout"
    return f"encoder.layer.{number - 1}" if number else "embeddings"


def read_map(path: Path) -> dict[str, Rule | None]:
    """Read a name map: a JSON object of the rules that `NameMap` takes, a pair as a list.

    Raises
    ------
    TraceError
        If the file holds no such rules. The message names the file and the rule.
    """
    try:
        return dict(checked_rule(*item) for item in read_json(path, error=TraceError).items())
    except TraceError as failure:
        where = str(path)
        message = str(failure)
        raise TraceError(message if message.startswith(where) else f"{where}: {message}") from None


def checked_rule(name: str, rule: object) -> tuple[str, Rule | None]:
    """Return a rule of a name map; raise TraceError if it is not one."""
    if rule is None:
        return name, None
    step, axes = rule if isinstance(rule, (list, tuple)) and len(rule) == 2 else (rule, None)
    if not isinstance(step, str) or not step or not (axes is None or _is_axes(axes)):
        raise TraceError(
            f'{quoted(name)} must lead to the name of a step, to ["name of a step", "BTAD"] with '
            f"the letters of the array's axes, or to null; got {quoted(rule)}."
        )
    if step.count("*") > name.count("*"):
        raise TraceError(
            f"{quoted(step)} must not have more * than {quoted(name)}: each stands for what the "
            "one of its place stood for."
        )
    if step in INPUTS and axes is not None:
        raise TraceError(
            f"{quoted(name)} must lead to {step} without axes, which are always (B, T)."
        )
    return name, step if axes is None else (step, str(axes))


def matches(name: str, globs: Iterable[str]) -> bool:
    """Tell whether one of the globs fits a whole name; ``*`` stands for anything.

    Examples
    --------
    >>> matches("embeddings.sum", ["embeddings.*"]), matches("embeddings", ["embeddings.*"])
    (True, False)
    """
    return any(stars(glob.split("*"), name) is not None for glob in globs)


def stars(parts: Sequence[str], name: str) -> list[str] | None:
    """Return what each ``*`` of a glob stands for in a whole name, None if the glob does not fit.

    The first star stands for as much as it can, then the second one, and so on. Every part is
    looked for once, from the end: no glob, however many stars it has, takes long.

    Parameters
    ----------
    parts : sequence of str
        What stands before, between and behind the stars of the glob.
    name : str
        The name.

    Examples
    --------
    >>> stars("h.*.attn.*".split("*"), "h.3.attn.q"), stars("h.*".split("*"), "pooler")
    (['3', 'q'], None)
    """
    if len(parts) == 1:
        return [] if name == parts[0] else None
    first, *middle, last = parts
    end = len(name) - len(last)
    if end < len(first) or not (name.startswith(first) and name.endswith(last)):
        return None
    found = list[str]()
    for part in reversed(middle):
        place = name.rfind(part, len(first), end)
        if place < 0:
            return None
        found.append(name[place + len(part) : end])
        end = place
    return [name[len(first) : end], *reversed(found)]


class _Compiled(NamedTuple):
    """A rule: its place, the parts of its glob, the step it leads to, and the axes' letters."""

    place: int
    parts: list[str]
    step: str
    axes: str | None


class _Rules:
    """Rules in their order, of which those without a ``*`` are found without trying any other."""

    def __init__(self, rules: Mapping[str, Rule | None]) -> None:
        self._plain: dict[str, _Compiled] = {}
        self._globs: list[_Compiled] = []
        for place, (name, rule) in enumerate(rules.items()):
            step, axes = rule if isinstance(rule, tuple) else (rule or "", None)
            found = _Compiled(place, name.split("*"), step, axes)
            if "*" in name:
                self._globs.append(found)
            else:
                self._plain[name] = found
        if len(self._globs) > _MOST_GLOBS:
            raise TraceError(
                f"a name map must have at most {_MOST_GLOBS:,} names with a *; got "
                f"{len(self._globs):,}. Let one * stand for what varies."
            )

    def first(self, name: str) -> Named | None:
        """Return what the first rule that fits makes of a name, None if none fits."""
        plain = self._plain.get(name)
        for rule in self._globs:
            if plain is not None and plain.place < rule.place:
                break
            found = stars(rule.parts, name)
            if found is not None:
                parts = rule.step.split("*")
                middle = (*found[: len(parts) - 1], "")
                step = "".join(a + b for a, b in zip(parts, middle, strict=True))
                return Named(step, rule.axes)
        return None if plain is None else Named(plain.step, plain.axes)


def _is_axes(axes: object) -> bool:
    return isinstance(axes, str) and _AXES.fullmatch(axes) is not None


_BUILT_IN = _Rules(OTHER_NAMES)
