"""Mistakes that ports of BERT make, made in transformers' BertModel on torch.

What report_verification.py and the tests verify: each is a patched module, a permuted weight or
another input, and knows the step at which it is made and the causes that are right for it.
"""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from port_attention import WAYS, Way, attend_by_hand

__all__ = ["KINDS", "MISTAKES", "Arrays", "PortMistake", "dump", "kept"]

Arrays = dict[str, npt.NDArray[Any]]
Apply = Callable[[Any, int], None]

# What a port may save: all that torch can hold, what hooks see, the states, the last one.
KINDS = ("full", "hooks", "hidden", "last")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def dump(model: Any, **inputs: Any) -> Arrays:
    """Return what every module of a BertModel returns, by its path, with the inputs.

    The sums that LayerNorms get, and scores of an attention by hand, are there, too.
    """
    trace = {name: value.numpy() for name, value in inputs.items()}

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def keep(module: Any, args: Any, output: Any) -> None:
            trace[name] = _numbers(output if torch.is_tensor(output) else output[0])
            if name.endswith(".LayerNorm"):
                trace[f"{name.removesuffix('.LayerNorm')}.sum"] = _numbers(args[0])
            if (
                name.endswith("attention.self") and output[1] is not None
            ):  # its weights are no module's output
                trace[f"{name}.dropout"] = _numbers(output[1])
                for part, array in getattr(module, "parts", {}).items():
                    trace[f"{name}.{part}"] = _numbers(array)

        return keep

    hooks = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    with torch.no_grad():
        model(**inputs)
    for handle in hooks:
        handle.remove()
    return trace


def _numbers(tensor: Any) -> Any:
    """Return a tensor as an array; as it is in bfloat16, which NumPy lacks."""
    return tensor if tensor.dtype == torch.bfloat16 else tensor.numpy()


def kept(trace: Arrays, kind: str) -> Arrays:
    """Return what a trace of one of the `KINDS` holds."""
    if kind == "full":
        return trace
    own = {n: a for n, a in trace.items() if not n.endswith((".sum", ".scores", ".probs"))}
    if kind == "hooks":
        return own
    layers = [n for n in own if n.rpartition(".")[0] == "encoder.layer"]
    states = ["embeddings", *layers] if kind == "hidden" else ["encoder"]
    return {name: own[name] for name in (*_INPUTS, *states) if name in own}


@dataclass(frozen=True, kw_only=True)
class PortMistake:
    """A mistake, where it is made, and what a verification must say of it.

    Attributes
    ----------
    name : str
        For a person.
    causes : str
        The names that are right for it, with | between them; "": no error that could be told from
        rounding.
    at : str
        The step at which it is made; ``{}`` is the layer's number.
    apply : callable
        Makes it in a model, in the layer of that number.
    in_layers : bool
        Whether it can be made in any layer.
    left : bool
        Whether the batch must be padded on the left.
    activation : str
        The model's ``hidden_act``.
    tokenizer : str
        How the tokenizer of the ids is wrong, "" if it is right.
    hidden_in : sequence of str
        The kinds of trace in which it makes no difference, or one that rounding hides.
    """

    name: str
    causes: str
    at: str
    apply: Apply
    in_layers: bool = True
    left: bool = False
    activation: str = "gelu"
    tokenizer: str = ""
    hidden_in: Sequence[str] = ()

    def port(self, model: Any, *layers: int) -> Any:
        """Return a copy of the model in which the mistake is made in these layers."""
        made = copy.deepcopy(model)
        for number in range(len(made.encoder.layer)):
            attend_by_hand(_layer(made, number).attention.self, WAYS["right"])
        for layer in layers:
            self.apply(made, layer)
        return made


def _layer(model: Any, number: int) -> Any:
    return model.encoder.layer[number]


_LAYER = "encoder.layer.{}"
_SELF = f"{_LAYER}.attention.self"
_FIRST, _SECOND = f"{_LAYER}.attention.output", f"{_LAYER}.output"


# LayerNorm.


def _norm_of(place: str) -> Callable[[Any, int], Any]:
    def get(model: Any, layer: int) -> Any:
        if place == "embeddings":
            return model.embeddings.LayerNorm
        block = _layer(model, layer)
        return (block.attention.output if place == "attention" else block.output).LayerNorm

    return get


def _norm_by(normalize: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return what makes a LayerNorm normalize in another way."""

    def change(norm: Any) -> None:
        def forward(self: Any, x: Any) -> Any:
            return normalize(x) * self.weight + self.bias

        norm.forward = types.MethodType(forward, norm)

    return change


def _plain_norm(
    x: Any, *, eps: float = 1e-12, outside: float = 0.0, correction: int = 0, power: float = 0.5
) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, correction=correction)
    return centred / ((variance + eps) ** power + outside)


def _rms_norm(x: Any) -> Any:
    return x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt()


def _over_tokens(x: Any) -> Any:
    return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + 1e-12).sqrt()


def _weights(change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any], None]:
    """Return what changes the weight and the bias of a module."""

    def apply(module: Any) -> None:
        module.weight.data, module.bias.data = change(module.weight.data, module.bias.data)

    return apply


_ZEROS, _ONES = torch.zeros_like, torch.ones_like


def _twice(norm: Any) -> None:
    inner = norm.forward
    norm.forward = lambda x: inner(inner(x))


_USUAL_NORMS: Mapping[str, tuple[str, Callable[[Any], None]]] = {
    "epsilon 1e-5": ("layer_norm_epsilon", _norm_by(lambda x: _plain_norm(x, eps=1e-5))),
    "epsilon 1e-5 outside the root": (
        "layer_norm_epsilon_outside",
        _norm_by(lambda x: _plain_norm(x, eps=0.0, outside=1e-5)),
    ),
    "Bessel's variance": ("layer_norm_bessel", _norm_by(lambda x: _plain_norm(x, correction=1))),
}
_ODD_NORMS: Mapping[str, tuple[str, Callable[[Any], None]]] = {
    "no mean taken away (RMSNorm)": ("layer_norm_uncentred", _norm_by(_rms_norm)),
    "over the tokens": ("layer_norm_axis", _norm_by(_over_tokens)),
    "divided by the variance": (
        "layer_norm_variance",
        _norm_by(lambda x: _plain_norm(x, power=1.0)),
    ),
    "weight missing": ("layer_norm_weight_missing", _weights(lambda w, b: (_ONES(w), b))),
    "bias missing": ("layer_norm_bias_missing", _weights(lambda w, b: (w, _ZEROS(b)))),
    "weight and bias missing": ("layer_norm_plain", _weights(lambda w, b: (_ONES(w), _ZEROS(b)))),
    "weight and bias exchanged": ("layer_norm_exchanged", _weights(lambda w, b: (b, w))),
    "weight added to 1": ("layer_norm_weight_plus_one", _weights(lambda w, b: (w + 1.0, b))),
    "twice": ("layer_norm_extra", _twice),
}


def _norm_mistakes() -> list[PortMistake]:
    """LayerNorm with other settings, in three places; odder ones in one."""

    def made(place: str, what: str, cause: str, change: Callable[[Any], None]) -> PortMistake:
        get = _norm_of(place)
        at = {"embeddings": "embeddings.LayerNorm", "attention": f"{_FIRST}.LayerNorm"}
        return PortMistake(
            name=f"LayerNorm ({place}): {what}",
            causes=cause,
            at=at.get(place, f"{_SECOND}.LayerNorm"),
            apply=lambda model, layer: change(get(model, layer)),
            in_layers=place != "embeddings",
        )

    places = ("embeddings", "attention", "output")
    usual = [made(place, what, *own) for place in places for what, own in _USUAL_NORMS.items()]
    odd = [made("output", what, *own) for what, own in _ODD_NORMS.items()]
    return usual + odd


# The input embedding.

_TABLES = ("word_embeddings", "token_type_embeddings", "position_embeddings")


def _embed(change: Callable[..., Any]) -> Apply:
    """Return what sums up the three look-ups in another way."""

    def forward(self: Any, input_ids: Any, token_type_ids: Any, position_ids: Any, **_: Any) -> Any:
        places = self.position_ids[:, : input_ids.shape[1]]
        ids = (input_ids, token_type_ids, places if position_ids is None else position_ids)
        parts = [getattr(self, name)(rows) for name, rows in zip(_TABLES, ids, strict=True)]
        return self.dropout(self.LayerNorm(change(*parts)))

    def apply(model: Any, _: int) -> None:
        model.embeddings.forward = types.MethodType(forward, model.embeddings)

    return apply


def _without(name: str) -> Apply:
    """Return what never looks a table up."""
    left = [own for own in _TABLES if own != name]

    def forward(self: Any, input_ids: Any, token_type_ids: Any, **_: Any) -> Any:
        ids = (input_ids, token_type_ids, self.position_ids[:, : input_ids.shape[1]])
        rows = dict(zip(_TABLES, ids, strict=True))
        return self.dropout(self.LayerNorm(sum(getattr(self, own)(rows[own]) for own in left)))

    def apply(model: Any, _: int) -> None:
        model.embeddings.forward = types.MethodType(forward, model.embeddings)

    return apply


def _with_inputs(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Apply:
    """Return what runs the model on other inputs than the trace has."""

    def apply(model: Any, _: int) -> None:
        inner = model.forward
        model.forward = lambda **inputs: inner(**{**inputs, **change(inputs)})

    return apply


def _positions(places: Callable[[Mapping[str, Any]], Any]) -> Apply:
    return _with_inputs(lambda inputs: {"position_ids": places(inputs)})


def _types(change: Callable[[Any], Any]) -> Apply:
    return _with_inputs(lambda inputs: {"token_type_ids": change(inputs["token_type_ids"])})


def _upright(inputs: Mapping[str, Any]) -> Any:
    return torch.arange(inputs["input_ids"].shape[1]).expand_as(inputs["input_ids"])


def _by_segment(inputs: Mapping[str, Any]) -> Any:
    places = _upright(inputs)
    kinds = inputs["token_type_ids"]
    starts = torch.nn.functional.pad(kinds.diff(dim=1) != 0, (1, 0))
    return places - (places * starts).cummax(1).values


def _from_the_end(inputs: Mapping[str, Any]) -> Any:
    return (inputs["attention_mask"].sum(1, keepdim=True) - 1 - _upright(inputs)).clamp(min=0)


def _joined(inputs: Mapping[str, Any]) -> Any:
    mask = inputs["attention_mask"]
    return mask.flatten().cumsum(0).view_as(mask) - 1


def _with_separator(kinds: Any) -> Any:
    return kinds + torch.nn.functional.pad(kinds.diff(dim=1) == 1, (0, 1)).to(kinds.dtype)


def _table(name: str, change: Callable[[Any], Any]) -> Apply:
    def apply(model: Any, _: int) -> None:
        table = getattr(model.embeddings, name).weight
        table.data = change(table.data)

    return apply


def _waves(table: Any) -> Any:
    angles = torch.arange(table.shape[0])[:, None] / 10000.0 ** (
        torch.arange(0, table.shape[1], 2) / table.shape[1]
    )
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(table.dtype)


_AT = {name: f"embeddings.{name}" for name in _TABLES}
_WORDS, _SEGMENTS, _PLACES = _AT.values()
_IN_EMBEDDINGS: Sequence[tuple[str, str, str, Apply]] = (
    (
        "words' table shifted by a row",
        "ids_shifted|rows_shifted|rows_permuted",
        _WORDS,
        _table("word_embeddings", lambda t: t.roll(1, 0)),
    ),
    (
        "words multiplied by the root of H",
        "embedding_scaled",
        _WORDS,
        _table("word_embeddings", lambda t: t * t.shape[1] ** 0.5),
    ),
    (
        "words' table rounded to bfloat16",
        "weights_bfloat16|as_of_bfloat16",
        _WORDS,
        _table("word_embeddings", lambda t: t.bfloat16().to(t.dtype)),
    ),
    (
        "segment table dropped",
        "segments_dropped",
        "embeddings.sum",
        _without("token_type_embeddings"),
    ),
    (
        "segment table swapped",
        "segments_swapped|rows_permuted",
        _SEGMENTS,
        _table("token_type_embeddings", lambda t: t.flip(0)),
    ),
    ("token types all 0", "segments_ignored", _SEGMENTS, _types(torch.zeros_like)),
    ("token types all 1", "segments_ignored", _SEGMENTS, _types(torch.ones_like)),
    (
        "middle [SEP] in the second segment",
        "segments_separator",
        _SEGMENTS,
        _types(_with_separator),
    ),
    (
        "segments added twice",
        "embedding_twice",
        "embeddings.sum",
        _embed(lambda w, s, p: w + s + s + p),
    ),
    ("position table dropped", "positions_dropped", _PLACES, _without("position_embeddings")),
    ("positions shifted by 1", "positions_shifted", _PLACES, _positions(lambda i: _upright(i) + 1)),
    ("positions shifted by 2", "positions_shifted", _PLACES, _positions(lambda i: _upright(i) + 2)),
    ("positions by segment", "positions_by_segment", _PLACES, _positions(_by_segment)),
    ("positions all 0", "positions_constant", _PLACES, _positions(lambda i: 0 * _upright(i))),
    ("positions from the end", "positions_reversed", _PLACES, _positions(_from_the_end)),
    ("positions run on from row to row", "positions_joined", _PLACES, _positions(_joined)),
    (
        "sines for the position table",
        "positions_sinusoidal",
        _PLACES,
        _table("position_embeddings", _waves),
    ),
)


# Dense layers, and the weights of others.


def _dense(path: str, change: Callable[[Any], None]) -> Apply:
    return lambda model, layer: change(_layer(model, layer).get_submodule(path))


def _round(dtype: torch.dtype) -> Apply:
    def apply(model: Any, layer: int) -> None:
        for weight in _layer(model, layer).parameters():
            weight.data = weight.data.to(dtype).to(weight.dtype)

    return apply


def _to_int8(*, by_row: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
    def change(weight: Any, bias: Any) -> tuple[Any, Any]:
        largest = weight.abs().amax(1, keepdim=True) if by_row else weight.abs().amax()
        return (weight / largest * 127.0).round() * (largest / 127.0), bias

    return change


def _swap(one: str, other: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        own = _layer(model, layer).attention.self
        first, second = getattr(own, one), getattr(own, other)
        setattr(own, one, second)
        setattr(own, other, first)

    return apply


def _fused(model: Any, layer: int) -> None:
    """Read query, key and value, stacked by thirds, as if they were interleaved by head."""
    own = _layer(model, layer).attention.self
    parts = (own.query, own.key, own.value)
    heads = own.num_attention_heads
    for name in ("weight", "bias"):
        fused = torch.cat([getattr(part, name).data for part in parts])
        read = fused.view(heads, 3, -1, *fused.shape[1:])
        for number, part in enumerate(parts):
            getattr(part, name).data = read[:, number].flatten(0, 1).clone()


def _from_another(path: str, name: str = "weight") -> Apply:
    """Return what takes a tensor of the next layer, or of the one before the last."""

    def apply(model: Any, layer: int) -> None:
        count = len(model.encoder.layer)
        other = _layer(model, layer + 1 if layer + 1 < count else layer - 1)
        tensor = getattr(other.get_submodule(path), name).data.clone()
        getattr(_layer(model, layer).get_submodule(path), name).data = tensor

    return apply


def _bias_of_value(model: Any, layer: int) -> None:
    own = _layer(model, layer).attention.self
    own.query.bias.data = own.value.bias.data.clone()


def _heads_reversed(weight: Any, bias: Any) -> tuple[Any, Any]:
    return weight.view(12, -1, weight.shape[1]).flip(0).reshape_as(weight), bias.view(12, -1).flip(
        0
    ).flatten()


_TURNED = _weights(lambda w, b: (w.T.contiguous(), b))
_NO_BIAS = _weights(lambda w, b: (w, _ZEROS(b)))
_QUERY, _KEY, _VALUE = (f"attention.self.{part}" for part in ("query", "key", "value"))
_INNER = ("hidden", "last")
_IN_DENSE: Sequence[tuple[str, str, str, Apply]] = (
    (
        "query's weight not transposed",
        "weight_not_transposed",
        f"{_SELF}.query",
        _dense(_QUERY, _TURNED),
    ),
    (
        "attention.output's weight not transposed",
        "weight_not_transposed",
        f"{_FIRST}.dense",
        _dense("attention.output.dense", _TURNED),
    ),
    ("query's bias missing", "bias_missing", f"{_SELF}.query", _dense(_QUERY, _NO_BIAS)),
    ("value's bias missing", "bias_missing", f"{_SELF}.value", _dense(_VALUE, _NO_BIAS)),
    (
        "intermediate's bias missing",
        "bias_missing",
        f"{_LAYER}.intermediate.dense",
        _dense("intermediate.dense", _NO_BIAS),
    ),
    (
        "output's bias added twice",
        "bias_twice",
        f"{_SECOND}.dense",
        _dense("output.dense", _weights(lambda w, b: (w, 2.0 * b))),
    ),
    (
        "query's bias is the value's",
        "bias_of_another|bias_missing",
        f"{_SELF}.query",
        _bias_of_value,
    ),
    (
        "value's heads in reverse",
        "rows_permuted|heads_permuted",
        f"{_SELF}.value",
        _dense(_VALUE, _weights(_heads_reversed)),
    ),
    (
        "value's rows shifted by 1",
        "rows_permuted|rows_shifted",
        f"{_SELF}.value",
        _dense(_VALUE, _weights(lambda w, b: (w.roll(1, 0), b.roll(1, 0)))),
    ),
    ("Q and K swapped", "qkv_swapped", f"{_SELF}.query", _swap("query", "key")),
    ("K and V swapped", "qkv_swapped", f"{_SELF}.key", _swap("key", "value")),
    ("fused QKV read by heads", "qkv_layout", f"{_SELF}.query", _fused),
    (
        "value's weight of another layer",
        "weights_of_another_layer",
        f"{_SELF}.value",
        _from_another(_VALUE),
    ),
    (
        "intermediate's bias of another layer",
        "bias_of_another",
        f"{_LAYER}.intermediate.dense",
        _from_another("intermediate.dense", "bias"),
    ),
    ("weights rounded to float16", "weights_float16", f"{_SELF}.query", _round(torch.float16)),
    ("weights rounded to bfloat16", "weights_bfloat16", f"{_SELF}.query", _round(torch.bfloat16)),
    (
        "output's weight in int8",
        "weights_int8",
        f"{_SECOND}.dense",
        _dense("output.dense", _weights(_to_int8(by_row=False))),
    ),
    (
        "output's weight in int8, by rows",
        "weights_int8|as_of_int8|as_of_bfloat16",  # which are of one size; the sentence says both
        f"{_SECOND}.dense",
        _dense("output.dense", _weights(_to_int8(by_row=True))),
    ),
)


# Attention: the causes of the ways of port_attention.py, and the steps at which they begin.

_SCORES, _PROBS = f"{_SELF}.scores", f"{_SELF}.probs"
_NO_CAUSE = ""
_ATTENTION: Mapping[str, tuple[str, str]] = {
    "heads split as (D, A)": ("heads_split", _SCORES),
    "heads split by a reshape": ("heads_split", _SCORES),
    "heads merged by a reshape": ("heads_merge", _SELF),
    "heads merged as (D, A)": ("heads_merge", _SELF),
    "half as many heads": ("heads_count", _SCORES),
    "attention scale missing": ("attention_scale_missing", _SCORES),
    "attention scale twice": ("attention_scale_twice", _SCORES),
    "scores divided by 8 for D = 32": ("attention_scale_other", _SCORES),
    "scores multiplied by the root of D": ("attention_scale_other", _SCORES),
    "scores halved (temperature 2)": ("attention_scale_other", _SCORES),
    "softmax to the base of 2": ("attention_scale_other", _SCORES),
    "mask missing": ("mask_missing", _SCORES),
    "mask of -10000": (_NO_CAUSE, _SCORES),
    "mask of -10 only": ("mask_weak", _SCORES),
    "mask inverted": ("mask_inverted", _SCORES),
    "mask added to the tokens": ("mask_inverted", _SCORES),
    "mask over the queries": ("mask_missing", _SCORES),
    "mask over keys and queries": (_NO_CAUSE, _SCORES),
    "mask as 0 and 1, added": ("mask_added", _SCORES),
    "scores times the mask": ("mask_multiplied", _SCORES),
    "scores times the mask of -10000": ("mask_multiplied", _SCORES),
    "mask shifted by 1": ("mask_wrong_tokens", _SCORES),
    "mask shifted by -1": ("mask_wrong_tokens", _SCORES),
    "mask hides [SEP]": ("mask_wrong_tokens", _SCORES),
    "mask hides [CLS]": ("mask_wrong_tokens", _SCORES),
    "mask of the first row": ("mask_of_another_row", _SCORES),
    "mask of the row before": ("mask_of_another_row", _SCORES),
    "mask tiled over heads": ("mask_of_another_row", _SCORES),
    "causal mask": ("mask_causal", _SCORES),
    "causal mask, reversed": ("mask_causal", _SCORES),
    "local window of 2": ("mask_window", _SCORES),
    "no attention to oneself": ("mask_diagonal", _SCORES),
    "mask after softmax": ("mask_after_softmax|mask_missing", _SCORES),
    "softmax over the queries": ("softmax_axis", _PROBS),
    "softmax over the heads": ("softmax_axis", _PROBS),
    "softmax missing": ("softmax_missing", _PROBS),
    "softmax twice": ("softmax_twice", _PROBS),
    "softmax with 1 more": ("softmax_one", _PROBS),
    "softmax not divided": ("softmax_unnormalized", _PROBS),
    "sigmoid for softmax": ("softmax_sigmoid", _PROBS),
    "weights transposed": ("probs_transposed", _SELF),
    "rotary positions": ("rotary", _SCORES),
    "ALiBi": ("alibi", _SCORES),
    "scores capped at 5": ("scores_capped", _SCORES),
    "queries and keys of length 1": ("query_key_norm", _SCORES),
    "grouped keys": ("grouped_keys", _SCORES),
    "one key for all heads": ("grouped_keys", _SCORES),
}


def _attention(way: str) -> Apply:
    return lambda model, layer: attend_by_hand(_layer(model, layer).attention.self, WAYS[way])


# Residuals, and the order of a layer's parts.


def _residual(place: str, change: Callable[[Any, Any], Any]) -> Apply:
    """Return what joins a part of a layer with its residual in another way."""

    def forward(self: Any, hidden: Any, residual: Any) -> Any:
        return self.LayerNorm(change(self.dropout(self.dense(hidden)), residual))

    def apply(model: Any, layer: int) -> None:
        own = _layer(model, layer).get_submodule(place)
        own.forward = types.MethodType(forward, own)

    return apply


def _rewired(change: Callable[[Any, Any, Any], tuple[Any, Any]]) -> Apply:
    """Return what gives the feed-forward part of a layer another input and another residual.

    The function takes the layer's input, the sum before attention's LayerNorm, and its output.
    """

    def forward(self: Any, hidden: Any, mask: Any = None, *_: Any, **__: Any) -> Any:
        output = self.attention.output
        seen, _probs = self.attention.self(hidden, mask)
        total = output.dropout(output.dense(seen)) + hidden
        read, residual = change(hidden, total, output.LayerNorm(total))
        return self.output(self.intermediate(read), residual)

    def apply(model: Any, layer: int) -> None:
        block = _layer(model, layer)
        block.forward = types.MethodType(forward, block)

    return apply


def _pre_norm(model: Any, layer: int) -> None:
    def forward(self: Any, hidden: Any, mask: Any = None, *_: Any, **__: Any) -> Any:
        output = self.attention.output
        seen, _probs = self.attention.self(output.LayerNorm(hidden), mask)
        hidden = hidden + output.dense(seen)
        wide = self.intermediate(self.output.LayerNorm(hidden))
        return hidden + self.output.dense(wide)

    block = _layer(model, layer)
    block.forward = types.MethodType(forward, block)


def _norm_first(model: Any, layer: int) -> None:
    def forward(self: Any, hidden: Any, residual: Any) -> Any:
        return self.LayerNorm(self.dropout(self.dense(hidden))) + residual

    output = _layer(model, layer).attention.output
    output.forward = types.MethodType(forward, output)


def _no_norm(model: Any, layer: int) -> None:
    _layer(model, layer).output.LayerNorm = torch.nn.Identity()


def _without_attention(model: Any, layer: int) -> None:
    block = _layer(model, layer)
    block.forward = lambda hidden, *_, **__: block.output(block.intermediate(hidden), hidden)


def _without_feed_forward(model: Any, layer: int) -> None:
    block = _layer(model, layer)
    block.forward = lambda hidden, mask=None, *_, **__: block.attention(hidden, mask)[0]


_IN_RESIDUALS: Sequence[tuple[str, str, str, Apply]] = (
    ("pre-LayerNorm layer", "pre_layer_norm", f"{_SELF}.query", _pre_norm),
    (
        "LayerNorm before the residual",
        "pre_layer_norm|residual_missing",
        f"{_FIRST}.sum",
        _norm_first,
    ),
    ("LayerNorm left out", "pre_layer_norm", f"{_SECOND}.LayerNorm", _no_norm),
    (
        "residual missing",
        "residual_missing",
        f"{_FIRST}.sum",
        _residual("attention.output", lambda x, _: x),
    ),
    (
        "residual doubled",
        "residual_doubled",
        f"{_FIRST}.sum",
        _residual("attention.output", lambda x, r: x + 2.0 * r),
    ),
    (
        "layer's own part doubled",
        "residual_doubled",
        f"{_SECOND}.sum",
        _residual("output", lambda x, r: 2.0 * x + r),
    ),
    (
        "residual subtracted",
        "residual_subtracted",
        f"{_SECOND}.sum",
        _residual("output", lambda x, r: x - r),
    ),
    ("residual alone", "block_left_out", f"{_SECOND}.sum", _residual("output", lambda _, r: r)),
    (
        "residual from before LayerNorm",
        "residual_before_layer_norm",
        f"{_SECOND}.sum",
        _rewired(lambda _, t, a: (a, t)),
    ),
    (
        "residual from the layer's input",
        "residual_of_layer_input",
        f"{_SECOND}.sum",
        _rewired(lambda h, _, a: (a, h)),
    ),
    (
        "feed-forward reads the layer's input",
        "feed_forward_input",
        f"{_LAYER}.intermediate.dense",
        _rewired(lambda h, _, a: (h, a)),
    ),
    ("attention left out", "block_left_out", f"{_LAYER}.attention", _without_attention),
    ("feed-forward left out", "block_left_out", _LAYER, _without_feed_forward),
)


# The activation, dropout, the pooler and the whole.


class _Function(torch.nn.Module):  # type: ignore[misc]
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return self.function(x)


def _activate(function: Callable[[Any], Any]) -> Apply:
    def apply(model: Any, layer: int) -> None:
        _layer(model, layer).intermediate.intermediate_act_fn = _Function(function)

    return apply


def _erf_of_3_terms(x: Any) -> Any:
    t = 1.0 / (1.0 + 0.47047 * x.abs())
    total = t * (0.3480242 + t * (-0.0958798 + t * 0.7478556))
    return x.sign() * (1.0 - total * (-x * x).exp())


def _tanh_without_cube(x: Any) -> Any:
    return 0.5 * x * (1.0 + (x * (2.0 / math.pi) ** 0.5).tanh())


_GELU = torch.nn.functional.gelu
_ACTIVATIONS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "tanh GELU for erf": ("gelu_tanh", lambda x: _GELU(x, approximate="tanh")),
    "GELU by a sigmoid": ("gelu_sigmoid", lambda x: x * (1.702 * x).sigmoid()),
    "GELU's erf without its root": ("gelu_without_root", lambda x: 0.5 * x * (1.0 + x.erf())),
    "GELU without its half": ("gelu_without_half", lambda x: 2.0 * _GELU(x)),
    "GELU's erf of 3 terms": (
        "gelu_erf_of_3",
        lambda x: 0.5 * x * (1.0 + _erf_of_3_terms(x * 0.5**0.5)),
    ),
    "tanh GELU without its cube": ("gelu_tanh", _tanh_without_cube),
    "GELU twice": ("activation_twice", lambda x: _GELU(_GELU(x))),
    "ReLU": ("activation_relu", torch.relu),
    "SiLU": ("activation_silu", torch.nn.functional.silu),
    "mish": ("activation_mish", torch.nn.functional.mish),
    "ELU": ("activation_elu", torch.nn.functional.elu),
    "no activation": ("activation_missing", lambda x: x),
}


def _dropout(path: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        torch.manual_seed(layer)
        _root(model, path, layer).get_submodule(path).train()

    return apply


def _root(model: Any, path: str, layer: int) -> Any:
    return model if path.startswith("embeddings") else _layer(model, layer)


def _train_attention(model: Any, layer: int) -> None:
    torch.manual_seed(layer)
    way = Way(after=lambda probs, _: torch.nn.functional.dropout(probs, 0.1))
    attend_by_hand(_layer(model, layer).attention.self, way)


def _scaled_dropout(path: str, factor: float) -> Apply:
    def apply(model: Any, layer: int) -> None:
        own = _root(model, path, layer).get_submodule(path)
        own.forward = lambda x: x * factor

    return apply


def _pool(read: Callable[[Any], Any], after: Callable[[Any], Any] = torch.tanh) -> Apply:
    """Return a pooler that reads something else, or does something else at its end."""

    def apply(model: Any, _: int) -> None:
        own = model.pooler
        own.forward = lambda hidden: after(own.dense(read(hidden)))

    return apply


def _extra_norm(model: Any, _: int) -> None:
    last = model.encoder.layer[-1]
    norm = copy.deepcopy(last.output.LayerNorm)  # which no hook sees
    inner = last.forward
    last.forward = lambda *args, **given: norm(inner(*args, **given))


def _layers(change: Callable[[list[Any]], list[Any]]) -> Apply:
    """Return what runs the layers in another order; a port dumps them as it runs them."""

    def apply(model: Any, _: int) -> None:
        model.encoder.layer = torch.nn.ModuleList(
            copy.deepcopy(block) for block in change(list(model.encoder.layer))
        )

    return apply


def _whole_layer_of_another(model: Any, layer: int) -> None:
    count = len(model.encoder.layer)
    other = _layer(model, layer + 1 if layer + 1 < count else layer - 1)
    model.encoder.layer[layer] = copy.deepcopy(other)


_PLANS: Sequence[tuple[str, str, Apply]] = (
    ("layers reversed", "layers_reversed|weights_of_another_layer", _layers(lambda own: own[::-1])),
    (
        "one layer for all",
        "layers_shared|weights_of_another_layer",
        _layers(lambda own: own[:1] * len(own)),
    ),
    (
        "layers off by one",
        "layers_shifted|weights_of_another_layer",
        _layers(lambda own: own[1:] + own[-1:]),
    ),
    (
        "layers in pairs",
        "layers_repeated|layers_shared|weights_of_another_layer",
        _layers(lambda own: [own[n // 2 * 2] for n in range(len(own))]),
    ),
)


def _made(rows: Sequence[tuple[str, str, str, Apply]], *, in_layers: bool) -> list[PortMistake]:
    return [
        PortMistake(name=name, causes=causes, at=at, apply=apply, in_layers=in_layers)
        for name, causes, at, apply in rows
    ]


def _nothing(_model: Any, _layer: int) -> None:
    """Leave the model as it is: the ids are wrong."""


_POOLERS: Sequence[tuple[str, str, str, Apply]] = (
    ("pooler without tanh", "pooler_without_tanh", "pooler", _pool(lambda h: h[:, 0], lambda x: x)),
    ("pooler with ReLU", "pooler_activation", "pooler", _pool(lambda h: h[:, 0], torch.relu)),
    ("pooler reads the second token", "pooler_token", "pooler.dense", _pool(lambda h: h[:, 1])),
    (
        "pooler reads the mean, padding too",
        "pooler_token",
        "pooler.dense",
        _pool(lambda h: h.mean(1)),
    ),
)
_DROPPED: Sequence[tuple[str, str, str, Apply]] = (
    ("dropout left on (attention)", "dropout_on", f"{_SELF}.dropout", _train_attention),
    ("dropout left on (output)", "dropout_on", f"{_SECOND}.dropout", _dropout("output.dropout")),
    (
        "dropout's scale left on",
        "dropout_scale",
        f"{_SECOND}.dropout",
        _scaled_dropout("output.dropout", 1 / 0.9),
    ),
    (
        "dropout's scale twice",
        "dropout_scale",
        f"{_FIRST}.dropout",
        _scaled_dropout("attention.output.dropout", 1 / 0.81),
    ),
)
_TOKENIZERS = {
    "cased": "tokenizer_cased",
    "without [CLS] and [SEP]": "special_tokens_missing",
    "without the last [SEP]": "special_tokens_missing",
    "[CLS] doubled": "special_tokens_doubled",
    "[SEP] doubled between the texts": "special_tokens_doubled",
    "cut too short": "tokenizer_cut",
    "token types all 0": "segments_ignored",
}

MISTAKES: Sequence[PortMistake] = (
    *_norm_mistakes(),
    *_made(_IN_EMBEDDINGS, in_layers=False),
    PortMistake(
        name="positions restarted at padding",
        causes="positions_restart",
        at=_PLACES,
        apply=_positions(lambda i: (i["attention_mask"].cumsum(1) - 1).clamp(min=0)),
        in_layers=False,
        left=True,
    ),
    PortMistake(
        name="dropout left on (embeddings)",
        causes="dropout_on",
        at="embeddings.dropout",
        apply=_dropout("embeddings.dropout"),
        in_layers=False,
    ),
    *_made(_POOLERS, in_layers=False),
    *_made(_IN_DENSE, in_layers=True),
    PortMistake(
        name="key's bias missing",
        causes="bias_missing",
        at=f"{_SELF}.key",
        apply=_dense(_KEY, _NO_BIAS),
        hidden_in=_INNER,  # it adds the same to all scores of a query
    ),
    *(
        PortMistake(name=name, causes=causes, at=at, apply=_attention(name))
        for name, (causes, at) in _ATTENTION.items()
    ),
    *_made(_IN_RESIDUALS, in_layers=True),
    *(
        PortMistake(
            name=name, causes=causes, at=f"{_LAYER}.intermediate", apply=_activate(function)
        )
        for name, (causes, function) in _ACTIVATIONS.items()
    ),
    PortMistake(
        name="erf GELU for tanh",
        causes="gelu_erf",
        at=f"{_LAYER}.intermediate",
        apply=_activate(_GELU),
        activation="gelu_new",
    ),
    *_made(_DROPPED, in_layers=True),
    PortMistake(
        name="an extra last LayerNorm",
        causes="layer_norm_extra",
        at="encoder.layer.{last}",
        apply=_extra_norm,
        in_layers=False,
    ),
    PortMistake(
        name="a layer has the next one's weights",
        causes="weights_of_another_layer|layers_shifted",  # the latter in every layer
        at=f"{_SELF}.query",
        apply=_whole_layer_of_another,
    ),
    *_made(
        [
            (name, causes, "encoder.layer.0.attention.self.query", apply)
            for name, causes, apply in _PLANS
        ],
        in_layers=False,
    ),
    *(
        PortMistake(
            name=f"tokenizer: {how}",
            causes=cause,
            at="token_type_ids" if how.startswith("token types") else "input_ids",
            apply=_nothing,
            in_layers=False,
            tokenizer=how,
        )
        for how, cause in _TOKENIZERS.items()
    ),
)
