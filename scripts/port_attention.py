"""Self-attention by hand in torch, in which any part can be done in another way.

What port_mistakes.py patches into transformers' BertSelfAttention.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["WAYS", "Way", "attend_by_hand"]

Function = Callable[..., Any]


def _split(x: Any, heads: int) -> Any:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


def _plus_least(scores: Any, masked: Any) -> Any:
    return scores + masked.to(scores.dtype) * torch.finfo(scores.dtype).min


def _softmax(scores: Any) -> Any:
    return scores.softmax(-1)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How each part of self-attention is done.

    Attributes
    ----------
    split, merge : callable
        (B, T, H) and a number of heads to (B, A, T, D); and back.
    heads : callable
        The number of heads that is right to the one that is taken.
    turn : callable
        What is done to queries and keys in their heads.
    share : callable
        What is done to keys and values in their heads.
    scale : callable
        The size of a head, and what the scores are multiplied by.
    mask : callable
        Scores and the masked keys (B, 1, 1, T), and masked scores.
    weigh, after : callable
        Scores to weights; and what is done to these with the masked keys.
    read : callable
        Weights and values, and their means.
    """

    split: Function = _split
    merge: Function = _merge
    heads: Callable[[int], int] = lambda right: right
    turn: Function = lambda x: x
    share: Function = lambda x: x
    scale: Callable[[int], float] = lambda size: size**-0.5
    mask: Function = _plus_least
    weigh: Function = _softmax
    after: Function = lambda probs, _masked: probs
    read: Function = torch.matmul


def _attend(self: Any, hidden_states: Any, attention_mask: Any = None, **_: Any) -> Any:
    """Self-attention; what is seen on the way stands in `self.parts`."""
    way: Way = self.way
    heads = way.heads(self.num_attention_heads)
    query, key, value = (
        way.split(part(hidden_states), heads) for part in (self.query, self.key, self.value)
    )
    query, key, value = way.turn(query), way.share(way.turn(key)), way.share(value)
    scores = query @ key.transpose(-1, -2) * way.scale(query.shape[-1])
    masked = torch.zeros_like(scores[:, :1, :1], dtype=torch.bool)
    if attention_mask is not None:
        seen = attention_mask[:, :, :1]
        masked = seen < 0 if seen.is_floating_point() else ~seen
    scores = way.mask(scores, masked)
    probs = way.weigh(scores)
    self.parts = {"scores": scores, "probs": probs}
    probs = way.after(probs, masked)
    return way.merge(way.read(probs, value)), probs


def attend_by_hand(attention: Any, way: Way) -> None:
    """Let a BertSelfAttention do its work in this way."""
    attention.way = way
    attention.forward = types.MethodType(_attend, attention)


# How heads are split and merged.


def _interleaved(x: Any, heads: int) -> Any:
    return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


def _reshaped(x: Any, heads: int) -> Any:
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


def _merged_by_reshape(x: Any) -> Any:
    return x.reshape(x.shape[0], x.shape[2], -1)


def _merged_interleaved(x: Any) -> Any:
    return x.permute(0, 2, 3, 1).flatten(2)


# What is masked, and how.


def _hides(keys: Function) -> Function:
    """Return a mask that hides what a function makes of the masked keys."""
    return lambda scores, masked: _plus_least(scores, keys(masked))


def _ends(masked: Any, *, last: bool) -> Any:
    """Return the masked keys and the first or the last token of each row."""
    tokens = (~masked).float()
    width = masked.shape[-1]
    places = torch.arange(width)
    weighed = tokens * (places + 1 if last else width - places)
    chosen = torch.nn.functional.one_hot(weighed.argmax(-1), width).bool()
    return masked | chosen


def _shifted(masked: Any, by: int) -> Any:
    places = (torch.arange(masked.shape[-1]) - by).clamp(0, masked.shape[-1] - 1)
    return masked[..., places]


def _by_distance(hidden: Callable[[Any], Any]) -> Function:
    """Return a mask that also hides keys by their distance from the query."""

    def mask(scores: Any, masked: Any) -> Any:
        places = torch.arange(scores.shape[-1])
        return _plus_least(scores, masked | hidden(places[:, None] - places))

    return mask


def _tiled(scores: Any, masked: Any) -> Any:
    batch, heads = scores.shape[:2]
    rows = torch.arange(batch * heads).view(batch, heads) % batch
    return _plus_least(scores, masked[rows][:, :, 0])


def _added(much: float, *, to_tokens: bool = False) -> Function:
    def mask(scores: Any, masked: Any) -> Any:
        return scores + (~masked if to_tokens else masked).to(scores.dtype) * much

    return mask


def _of_tokens(scores: Any, masked: Any) -> Any:
    return scores * (~masked).to(scores.dtype)


def _times_minus(scores: Any, masked: Any) -> Any:
    return scores * (masked.to(scores.dtype) * -10000.0)


def _plain(scores: Any, _masked: Any) -> Any:
    return scores


def _alibi(scores: Any, masked: Any) -> Any:
    heads, width = scores.shape[1], scores.shape[-1]
    even = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * n / even) for n in range(1, even + 1)]
    slopes += [2.0 ** (-4.0 * n / even) for n in range(1, 2 * even, 2)]
    places = torch.arange(width)
    apart = (places[:, None] - places).abs()
    bias = torch.tensor(slopes[:heads])[:, None, None] * apart
    return _plus_least(scores - bias.to(scores.dtype), masked)


def _capped(scores: Any, masked: Any) -> Any:
    return _plus_least(5.0 * torch.tanh(scores / 5.0), masked)


# What is no softmax over the keys.


def _softmax_one(scores: Any) -> Any:
    powers = scores.exp()
    return powers / (1.0 + powers.sum(-1, keepdim=True))


def _unnormalized(scores: Any) -> Any:
    return (scores - scores.amax(-1, keepdim=True)).exp()


def _after_softmax(probs: Any, masked: Any) -> Any:
    return probs * (~masked).to(probs.dtype)


# What other models do to queries, keys and values.


def _rotated(x: Any) -> Any:
    size = x.shape[-1]
    turns = 10000.0 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(x.shape[-2])[:, None] * turns
    cosine, sine = (f(angles).to(x.dtype).repeat(1, 2) for f in (torch.cos, torch.sin))
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


def _normalized(x: Any) -> Any:
    return torch.nn.functional.normalize(x, dim=-1)


def _grouped(groups: int) -> Function:
    return lambda x: x[:, :groups].repeat_interleave(x.shape[1] // groups, 1)


WAYS: dict[str, Way] = {
    "right": Way(),
    "heads split as (D, A)": Way(split=_interleaved, merge=_merged_interleaved),
    "heads split by a reshape": Way(split=_reshaped, merge=_merged_by_reshape),
    "heads merged by a reshape": Way(merge=_merged_by_reshape),
    "heads merged as (D, A)": Way(merge=_merged_interleaved),
    "half as many heads": Way(heads=lambda right: right // 2),
    "attention scale missing": Way(scale=lambda _: 1.0),
    "attention scale twice": Way(scale=lambda size: 1.0 / size),
    "scores divided by 8 for D = 32": Way(scale=lambda _: 0.125),
    "scores multiplied by the root of D": Way(scale=math.sqrt),
    "scores halved (temperature 2)": Way(scale=lambda size: 0.5 * size**-0.5),
    "softmax to the base of 2": Way(scale=lambda size: size**-0.5 * math.log(2.0)),
    "mask missing": Way(mask=_plain),
    "mask of -10000": Way(mask=_added(-10000.0)),
    "mask of -10 only": Way(mask=_added(-10.0)),
    "mask inverted": Way(mask=_hides(lambda masked: ~masked)),
    "mask added to the tokens": Way(mask=_added(-10000.0, to_tokens=True)),
    "mask over the queries": Way(mask=lambda s, m: _plus_least(s, m.transpose(-1, -2))),
    "mask over keys and queries": Way(mask=lambda s, m: _plus_least(s, m | m.transpose(-1, -2))),
    "mask as 0 and 1, added": Way(mask=_added(1.0, to_tokens=True)),
    "scores times the mask": Way(mask=_of_tokens),
    "scores times the mask of -10000": Way(mask=_times_minus),
    "mask shifted by 1": Way(mask=_hides(lambda masked: _shifted(masked, 1))),
    "mask shifted by -1": Way(mask=_hides(lambda masked: _shifted(masked, -1))),
    "mask hides [SEP]": Way(mask=_hides(lambda masked: _ends(masked, last=True))),
    "mask hides [CLS]": Way(mask=_hides(lambda masked: _ends(masked, last=False))),
    "mask of the first row": Way(mask=_hides(lambda masked: masked[:1].expand_as(masked))),
    "mask of the row before": Way(mask=_hides(lambda masked: masked.roll(1, 0))),
    "mask tiled over heads": Way(mask=_tiled),
    "causal mask": Way(mask=_by_distance(lambda apart: apart < 0)),
    "causal mask, reversed": Way(mask=_by_distance(lambda apart: apart > 0)),
    "local window of 2": Way(mask=_by_distance(lambda apart: apart.abs() > 2)),
    "no attention to oneself": Way(mask=_by_distance(lambda apart: apart == 0)),
    "mask after softmax": Way(mask=_plain, after=_after_softmax),
    "softmax over the queries": Way(weigh=lambda scores: scores.softmax(-2)),
    "softmax over the heads": Way(weigh=lambda scores: scores.softmax(1)),
    "softmax missing": Way(weigh=lambda scores: scores),
    "softmax twice": Way(weigh=lambda scores: scores.softmax(-1).softmax(-1)),
    "softmax with 1 more": Way(weigh=_softmax_one),
    "softmax not divided": Way(weigh=_unnormalized),
    "sigmoid for softmax": Way(weigh=torch.sigmoid),
    "weights transposed": Way(read=lambda probs, value: probs.transpose(-1, -2) @ value),
    "rotary positions": Way(turn=_rotated),
    "ALiBi": Way(mask=_alibi),
    "scores capped at 5": Way(mask=_capped),
    "queries and keys of length 1": Way(turn=_normalized),
    "grouped keys": Way(share=_grouped(4)),
    "one key for all heads": Way(share=_grouped(1)),
}
