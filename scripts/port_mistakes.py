"""Mistakes that ports of BERT make, made in transformers' BertModel on torch.

What report_verification.py and the tests verify: each is a patched module, a permuted weight or
another input, and knows the step at which it first shows in a dump of forward hooks, and its cause.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch

__all__ = ["MISTAKES", "Arrays", "PortMistake", "dump"]

Arrays = dict[str, npt.NDArray[Any]]
Apply = Callable[[Any, int], None]


def dump(model: Any, **inputs: Any) -> Arrays:
    """Return what every module of a BertModel returns, by its path, with the inputs."""
    trace = {name: value.numpy() for name, value in inputs.items()}

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def keep(_module: Any, _args: Any, output: Any) -> None:
            trace[name] = (output if torch.is_tensor(output) else output[0]).numpy()
            if name.endswith("attention.self") and output[1] is not None:  # no module's output
                trace[f"{name}.dropout"] = output[1].numpy()

        return keep

    hooks = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    with torch.no_grad():
        model(**inputs)
    for handle in hooks:
        handle.remove()
    return trace


@dataclass(frozen=True, kw_only=True)
class PortMistake:
    """A mistake, where it is made, and what a verification must say of it.

    Attributes
    ----------
    name : str
        For a person.
    cause : str or None
        The name that must be found; None: no error that could be told from rounding.
    first : str
        The step at which it must be found; ``{}`` is the layer's number.
    apply : callable
        Makes it in a model, in the layer of that number.
    in_layers : bool
        Whether it can be made in any layer.
    left : bool
        Whether the batch must be padded on the left.
    activation : str
        The model's ``hidden_act``.
    cased : bool
        Whether the ids are those of a tokenizer that keeps capital letters.
    """

    name: str
    cause: str | None
    first: str
    apply: Apply
    in_layers: bool = True
    left: bool = False
    activation: str = "gelu"
    cased: bool = False

    def port(self, model: Any, layer: int) -> Any:
        """Return a copy of the model in which the mistake is made."""
        made = copy.deepcopy(model)
        self.apply(made, layer)
        return made


def _layer(model: Any, number: int) -> Any:
    return model.encoder.layer[number]


def _norm_forward(self: Any, x: Any) -> Any:
    """LayerNorm by hand: `eps` inside the root, `outside` it, the variance with a `correction`."""
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, correction=self.correction)
    scale = torch.sqrt(variance + self.eps) + self.outside
    return (x - mean) / scale * self.weight + self.bias


def _hand_norm(norm: Any, *, eps: float = 1e-12, outside: float = 0.0, correction: int = 0) -> None:
    norm.eps, norm.outside, norm.correction = eps, outside, correction
    norm.forward = types.MethodType(_norm_forward, norm)


def _norm_of(place: str) -> Callable[[Any, int], Any]:
    def get(model: Any, layer: int) -> Any:
        if place == "embeddings":
            return model.embeddings.LayerNorm
        block = _layer(model, layer)
        return (block.attention.output if place == "attention" else block.output).LayerNorm

    return get


def _norm_mistakes(place: str, first: str, *, in_layers: bool) -> list[PortMistake]:
    """LayerNorm with other settings."""
    norm = _norm_of(place)
    ways: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("epsilon 1e-5", "layer_norm_epsilon", {"eps": 1e-5}),
        (
            "epsilon 1e-5 outside the root",
            "layer_norm_epsilon_outside",
            {"eps": 0.0, "outside": 1e-5},
        ),
        ("Bessel's variance", "layer_norm_bessel", {"correction": 1}),
    )

    def made(name: str, cause: str, given: dict[str, Any]) -> PortMistake:
        def apply(model: Any, layer: int) -> None:
            _hand_norm(norm(model, layer), **given)

        return PortMistake(name=name, cause=cause, first=first, apply=apply, in_layers=in_layers)

    return [made(f"LayerNorm ({place}): {what}", cause, given) for what, cause, given in ways]


def _embed_without_segments(self: Any, input_ids: Any, **_: Any) -> Any:
    words = self.word_embeddings(input_ids)
    positions = self.position_embeddings(self.position_ids[:, : input_ids.shape[1]])
    return self.dropout(self.LayerNorm(words + positions))


def _drop_segments(model: Any, _: int) -> None:
    model.embeddings.forward = types.MethodType(_embed_without_segments, model.embeddings)


def _swap_segments(model: Any, _: int) -> None:
    table = model.embeddings.token_type_embeddings.weight
    table.data = table.data.flip(0)


def _shift_positions(shift: int) -> Apply:
    def apply(model: Any, _: int) -> None:
        model.embeddings.position_ids = model.embeddings.position_ids + shift

    return apply


def _restart_positions(model: Any, _: int) -> None:
    inner = model.forward

    def forward(**inputs: Any) -> Any:
        running = inputs["attention_mask"].cumsum(1) - 1
        return inner(**inputs, position_ids=running.clamp(min=0))

    model.forward = forward


def _transpose(path: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        weight = _layer(model, layer).get_submodule(path).weight
        weight.data = weight.data.T.contiguous()

    return apply


def _drop_bias(path: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        _layer(model, layer).get_submodule(path).bias.data.zero_()

    return apply


def _swap(one: str, other: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        own = _layer(model, layer).attention.self
        first, second = getattr(own, one), getattr(own, other)
        setattr(own, one, second)
        setattr(own, other, first)

    return apply


def _attend(self: Any, hidden_states: Any, attention_mask: Any = None, **_: Any) -> Any:
    """Self-attention by hand, with what is wrong in `self.mistake`."""
    way = self.mistake
    batch, length, features = hidden_states.shape
    heads = self.num_attention_heads
    size = features // heads

    def split(x: Any) -> Any:
        if way == "interleaved":
            return x.view(batch, length, size, heads).permute(0, 3, 1, 2)
        if way == "reshaped":
            return x.reshape(batch, heads, length, size)
        return x.view(batch, length, heads, size).transpose(1, 2)

    query, key, value = (split(part(hidden_states)) for part in (self.query, self.key, self.value))
    scale = {"unscaled": 1.0, "scaled twice": 1.0 / size}.get(way, size**-0.5)
    scores = query @ key.transpose(-1, -2) * scale
    if attention_mask is not None and way != "unmasked":
        masked = attention_mask < 0 if attention_mask.is_floating_point() else ~attention_mask
        least = -10000.0 if way == "-10000" else torch.finfo(scores.dtype).min
        scores = scores + masked.to(scores.dtype) * least
    probs = scores.softmax(-2 if way == "queries" else -1)
    context = probs @ value
    if way == "interleaved":
        merged = context.permute(0, 2, 3, 1).reshape(batch, length, features)
    elif way in ("reshaped", "merged"):
        merged = context.reshape(batch, length, features)
    else:
        merged = context.transpose(1, 2).reshape(batch, length, features)
    return merged, probs


def _attention(way: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        own = _layer(model, layer).attention.self
        own.mistake = way
        own.forward = types.MethodType(_attend, own)

    return apply


class _Function(torch.nn.Module):  # type: ignore[misc]
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        """Apply it."""
        return self.function(x)


def _activate(approximate: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        gelu = torch.nn.functional.gelu
        module = _Function(lambda x: gelu(x, approximate=approximate))
        _layer(model, layer).intermediate.intermediate_act_fn = module

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


def _dropout(path: str) -> Apply:
    def apply(model: Any, layer: int) -> None:
        torch.manual_seed(layer)
        root = model if path.startswith("embeddings") else _layer(model, layer)
        root.get_submodule(path).train()

    return apply


def _round(dtype: torch.dtype) -> Apply:
    def apply(model: Any, layer: int) -> None:
        for weight in _layer(model, layer).parameters():
            weight.data = weight.data.to(dtype).to(weight.dtype)

    return apply


def _pool_without_tanh(model: Any, _: int) -> None:
    model.pooler.activation = torch.nn.Identity()


_LAYER = "encoder.layer.{}"
_SELF = f"{_LAYER}.attention.self"
_EMBEDDING_MISTAKES = (
    ("segment table dropped", "segments_dropped", "embeddings.LayerNorm", _drop_segments, False),
    (
        "segment table swapped",
        "segments_swapped",
        "embeddings.token_type_embeddings",
        _swap_segments,
        False,
    ),
    (
        "positions shifted by 1",
        "positions_shifted",
        "embeddings.position_embeddings",
        _shift_positions(1),
        False,
    ),
    (
        "positions shifted by 2",
        "positions_shifted",
        "embeddings.position_embeddings",
        _shift_positions(2),
        False,
    ),
    (
        "positions restarted at padding",
        "positions_restart",
        "embeddings.position_embeddings",
        _restart_positions,
        True,
    ),
    (
        "dropout left on (embeddings)",
        "dropout_on",
        "embeddings.dropout",
        _dropout("embeddings.dropout"),
        False,
    ),
    ("pooler without tanh", "pooler_without_tanh", "pooler", _pool_without_tanh, False),
)
_LAYER_MISTAKES: Sequence[tuple[str, str | None, str, Apply]] = (
    (
        "query's weight not transposed",
        "weight_not_transposed",
        f"{_SELF}.query",
        _transpose("attention.self.query"),
    ),
    (
        "attention.output's weight not transposed",
        "weight_not_transposed",
        f"{_LAYER}.attention.output.dense",
        _transpose("attention.output.dense"),
    ),
    ("query's bias missing", "bias_missing", f"{_SELF}.query", _drop_bias("attention.self.query")),
    (
        "intermediate's bias missing",
        "bias_missing",
        f"{_LAYER}.intermediate.dense",
        _drop_bias("intermediate.dense"),
    ),
    ("Q and K swapped", "qkv_swapped", f"{_SELF}.query", _swap("query", "key")),
    ("K and V swapped", "qkv_swapped", f"{_SELF}.key", _swap("key", "value")),
    (
        "heads split as (D, A)",
        "heads_split",
        f"{_SELF}.dropout",
        _attention("interleaved"),
    ),
    ("heads split by a reshape", "heads_split", f"{_SELF}.dropout", _attention("reshaped")),
    ("heads merged by a reshape", "heads_merge", _SELF, _attention("merged")),
    (
        "attention scale missing",
        "attention_scale_missing",
        f"{_SELF}.dropout",
        _attention("unscaled"),
    ),
    (
        "attention scale twice",
        "attention_scale_twice",
        f"{_SELF}.dropout",
        _attention("scaled twice"),
    ),
    ("mask missing", "mask_missing", f"{_SELF}.dropout", _attention("unmasked")),
    ("mask of -10000", None, f"{_SELF}.dropout", _attention("-10000")),
    ("softmax over the queries", "softmax_axis", f"{_SELF}.dropout", _attention("queries")),
    ("tanh GELU for erf", "gelu_tanh", f"{_LAYER}.intermediate", _activate("tanh")),
    ("pre-LayerNorm layer", "pre_layer_norm", f"{_SELF}.query", _pre_norm),
    (
        "LayerNorm before the residual",
        "pre_layer_norm",
        f"{_LAYER}.attention.output.LayerNorm",
        _norm_first,
    ),
    ("LayerNorm left out", "pre_layer_norm", f"{_LAYER}.output.LayerNorm", _no_norm),
    (
        "dropout left on (attention)",
        "dropout_on",
        f"{_SELF}.dropout",
        _dropout("attention.self"),
    ),
    (
        "dropout left on (output)",
        "dropout_on",
        f"{_LAYER}.output.dropout",
        _dropout("output.dropout"),
    ),
    (
        "weights rounded to float16",
        "weights_float16",
        f"{_SELF}.query",
        _round(torch.float16),
    ),
    (
        "weights rounded to bfloat16",
        "weights_bfloat16",
        f"{_SELF}.query",
        _round(torch.bfloat16),
    ),
)

MISTAKES: Sequence[PortMistake] = (
    *_norm_mistakes("embeddings", "embeddings.LayerNorm", in_layers=False),
    *(
        PortMistake(name=name, cause=cause, first=first, apply=apply, in_layers=False, left=left)
        for name, cause, first, apply, left in _EMBEDDING_MISTAKES
    ),
    *_norm_mistakes("attention", f"{_LAYER}.attention.output.LayerNorm", in_layers=True),
    *_norm_mistakes("output", f"{_LAYER}.output.LayerNorm", in_layers=True),
    *(
        PortMistake(name=name, cause=cause, first=first, apply=apply)
        for name, cause, first, apply in _LAYER_MISTAKES
    ),
    PortMistake(
        name="tokenizer cased for uncased",
        cause="tokenizer_cased",
        first="input_ids",
        apply=lambda _model, _layer: None,
        in_layers=False,
        cased=True,
    ),
    PortMistake(
        name="erf GELU for tanh",
        cause="gelu_erf",
        first=f"{_LAYER}.intermediate",
        apply=_activate("none"),
        activation="gelu_new",
    ),
)
