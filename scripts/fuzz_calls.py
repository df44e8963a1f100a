"""Targets of fuzz.py: calls of models and heads, good and bad, and those of packed sequences."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from fuzz_target import Difference, Target, refused

import numpy_bert
from numpy_bert import BertConfig, BertModel

__all__ = ["TARGETS"]

Arrays = npt.NDArray[Any]
V, P, S, K, H = 31, 13, 3, 3, 24
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": H,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": P,
    "type_vocab_size": S,
    "initializer_range": 0.4,
}
CONFIG = BertConfig(**SIZES, num_labels=K)
HEADS = {
    "BertModel": (),
    "BertForPreTraining": ("labels", "next_sentence_label"),
    "BertForMaskedLM": ("labels",),
    "BertForNextSentencePrediction": ("labels",),
    "BertForSequenceClassification": ("labels",),
    "BertForTokenClassification": ("labels",),
    "BertForQuestionAnswering": ("start_positions", "end_positions"),
    "BertForMultipleChoice": ("labels",),
}
OF_TOKENS = (
    *("last_hidden_state", "hidden_states", "prediction_logits"),
    *("start_logits", "end_logits"),
)
# Of the largest number of the reference, and of 1 at least; random layers make roundings larger.
BUDGETS = {"float64": 1e-10, "float32": 2e-5}


class Call(NamedTuple):
    """The arguments of a good call, and what else is asked for."""

    inputs: dict[str, Arrays]
    labels: dict[str, Arrays]
    options: dict[str, bool]


def good_call(name: str, rng: random.Random) -> Call:
    """Return arguments that every model of this class must take."""
    draw = np.random.default_rng(rng.getrandbits(32))
    batch, length = rng.randint(1, 4), rng.randint(1, P)
    lead = (batch, rng.randint(1, 3)) if name == "BertForMultipleChoice" else (batch,)
    shape = (*lead, length)
    inputs: dict[str, Arrays] = {}
    if rng.random() < 0.15:
        inputs["inputs_embeds"] = draw.standard_normal((*shape, H))
    else:
        inputs["input_ids"] = draw.integers(0, V, shape)
    if rng.random() < 0.7:
        inputs["attention_mask"] = masked(shape, rng, draw)
    if rng.random() < 0.5:
        inputs["token_type_ids"] = draw.integers(0, S, shape)
    if rng.random() < 0.4:
        inputs["position_ids"] = draw.integers(0, P, shape if len(lead) > 1 else (batch, length))
    labels: dict[str, Arrays] = {}
    if HEADS[name] and rng.random() < 0.5:
        labels = good_labels(name, shape, draw)
    options = {
        "output_hidden_states": rng.random() < 0.3,
        "output_attentions": rng.random() < 0.3,
        "unpad_inputs": rng.random() < 0.6,
    }
    return Call(inputs, labels, options)


def masked(shape: tuple[int, ...], rng: random.Random, draw: np.random.Generator) -> Arrays:
    """Return a mask with padding behind, in front, anywhere, or of whole rows."""
    if rng.random() < 0.5:
        lengths = draw.integers(0 if rng.random() < 0.2 else 1, shape[-1] + 1, (*shape[:-1], 1))
        mask = np.arange(shape[-1]) < lengths
        mask = mask[..., ::-1] if rng.random() < 0.3 else mask
    else:
        mask = draw.random(shape) < 0.7
    return mask.astype(rng.choice(("int64", "int32", "uint8", "float32", "float64", "bool")))


def good_labels(name: str, shape: tuple[int, ...], draw: np.random.Generator) -> dict[str, Arrays]:
    """Return labels of which at least one counts."""
    batch, length = shape[0], shape[-1]
    if name == "BertForQuestionAnswering":
        return {target: draw.integers(0, length, batch) for target in HEADS[name]}
    if name == "BertForMultipleChoice":
        return {"labels": draw.integers(0, shape[1], batch)}
    if name == "BertForSequenceClassification":
        return {"labels": draw.integers(0, K, batch)}
    if name == "BertForNextSentencePrediction":
        return {"labels": draw.integers(0, 2, batch)}
    labels = draw.integers(0, K if name == "BertForTokenClassification" else V, shape)
    labels.flat[1:] = np.where(draw.random(labels.size - 1) < 0.5, -100, labels.flat[1:])
    found = {"labels": labels}
    if name == "BertForPreTraining":
        found["next_sentence_label"] = draw.integers(0, 2, batch)
    return found


def laid_out(array: Arrays, rng: random.Random) -> Any:
    """Return the same numbers in another layout or dtype, or as a list."""
    is_whole = array.dtype.kind in "iu"
    kinds: list[Callable[[], Any]] = [
        lambda: array,
        lambda: np.asfortranarray(array),
        lambda: np.repeat(array, 2, axis=-1)[..., ::2],
        lambda: array[::-1].copy()[::-1],
        lambda: array.astype(array.dtype.newbyteorder(">")),
    ]
    if array.size and is_whole:
        small = [kind for kind in ("int8", "int16", "uint8", "uint64") if (array >= 0).all()]
        kinds += [array.tolist, lambda: array.astype(rng.choice(small or ["int16"]))]
    found = rng.choice(kinds)()
    if isinstance(found, np.ndarray) and rng.random() < 0.5:
        found.flags.writeable = False
    return found


def spoilt(call: Call, rng: random.Random) -> tuple[dict[str, Any], str]:
    """Return the arguments of a good call with one that no model may take, and its name."""
    arguments = {**call.inputs, **call.labels}
    name = rng.choice([name for name, array in arguments.items() if array.size])
    array = arguments[name]
    at = tuple(rng.randrange(size) for size in array.shape)

    def with_one(value: object, dtype: Any = np.int64) -> Any:
        new = array.astype(dtype)
        new[at] = value
        return new

    ways: list[Callable[[], Any]] = [
        lambda: array.astype(object),
        lambda: array.astype(complex),
        lambda: array[np.newaxis, np.newaxis],
        lambda: "text",
        lambda: np.ma.masked_array(array),
        lambda: array.astype("U4"),
        lambda: [array.tolist(), [1]],
        lambda: 5,
    ]
    if name not in ("input_ids", "inputs_embeds", "places"):
        ways.append(lambda: np.concatenate([array, array]))
    if name == "inputs_embeds":
        ways += [lambda: array.astype("f2"), lambda: array[..., :-1], lambda: array.astype("i4")]
    elif name == "attention_mask":
        ways += [partial(with_one, value, float) for value in (2, -1, 0.5, np.nan)]
    else:
        limits = {"input_ids": V, "token_type_ids": S, "position_ids": P, "places": 5 * P}
        most = limits.get(name, max(V, P))
        least = np.iinfo(np.int64).min
        ways += [partial(with_one, value) for value in (-1, most, least, 2**40)]
        ways += [
            lambda: with_one(2**64 - 1, np.uint64),
            lambda: array.astype(float),
            lambda: array.astype(bool),
            lambda: array.astype("m8[s]"),
        ]
        if name.endswith("_positions"):  # as in transformers one outside the text does not count
            ways = ways[:8] + ways[-3:]
    return {**arguments, name: rng.choice(ways)()}, name


def prepare_models(folder: Path) -> dict[str, Any]:
    """Make every class of ours in both dtypes, and transformers' in float64."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    found = {}
    for name in HEADS:
        own = folder / name
        # transformers gives a head of answers as many outputs as config.json says.
        config = BertConfig(**SIZES, num_labels=2) if "Answering" in name else CONFIG
        getattr(numpy_bert, name)(config).save_pretrained(own)
        kind, theirs = getattr(numpy_bert, name), getattr(transformers, name)
        found[name] = (
            {dtype: kind.from_pretrained(own, dtype=dtype) for dtype in BUDGETS},
            theirs.from_pretrained(own, dtype=torch.float64, attn_implementation="eager").eval(),
        )
    return found


def attempt_model(models: dict[str, Any], rng: random.Random) -> bool:
    """Call a model of some class, well or badly."""
    name = rng.choice(list(HEADS))
    ours, theirs = models[name]
    dtype = rng.choice(list(BUDGETS))
    call = good_call(name, rng)
    if rng.random() < 0.4:
        arguments, wrong = spoilt(call, rng)
        if wrong != "inputs_embeds" and "inputs_embeds" in arguments:
            arguments["inputs_embeds"] = arguments["inputs_embeds"].astype(dtype)
        if refused(lambda: ours[dtype](**arguments, **call.options), naming=wrong):
            return False
        raise Difference(f"{name}: {wrong} = {arguments[wrong]!r} is taken")
    arguments = {key: laid_out(array, rng) for key, array in (call.inputs | call.labels).items()}
    if "inputs_embeds" in arguments:
        arguments["inputs_embeds"] = arguments["inputs_embeds"].astype(dtype)
    found = ours[dtype](**arguments, **call.options)
    compare(found, reference(theirs, call), call, BUDGETS[dtype], name)
    return True


def reference(model: Any, call: Call) -> Any:
    """Return what transformers makes of a good call."""
    import torch

    given = {
        key: torch.from_numpy(np.array(array, order="C"))
        for key, array in (call.inputs | call.labels).items()
    }
    if "attention_mask" in given:
        given["attention_mask"] = given["attention_mask"].to(torch.int64)
    kept = {key: value for key, value in call.options.items() if key != "unpad_inputs"}
    with torch.no_grad():
        return model(**given, **kept)


def compare(found: Any, expected: Any, call: Call, budget: float, name: str) -> None:
    """Raise Difference where a result is not the reference's, but at padding that is left out."""
    mask = call.inputs.get("attention_mask")
    leads = call.inputs[next(iter(call.inputs))].shape[:2]
    seen = None
    if mask is not None and call.options["unpad_inputs"]:
        seen = mask.astype(bool).reshape(-1, mask.shape[-1])
    for key, one in found.items():
        for number, (own, other) in enumerate(zip(_all(one), _all(expected[key]), strict=True)):
            where = f"{name}: {key}[{number}]"
            right = np.asarray(other.numpy() if hasattr(other, "numpy") else other)
            if np.shape(own) != right.shape:
                raise Difference(f"{where} is {np.shape(own)}, transformers' {right.shape}")
            mine = np.asarray(own)
            if seen is not None and key != "loss":
                rows = _seen(name, key, mine, seen, leads)
                mine, right = mine[rows], right[rows]
            if mine.size:
                limit = budget * max(1.0, float(np.abs(right).max()))
                off = float(np.abs(mine - right).max())
                if not off <= limit:
                    raise Difference(f"{where} is off by {off:.1e}; {limit:.1e} are allowed")


def _all(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _seen(name: str, key: str, array: Arrays, seen: Arrays, leads: tuple[int, ...]) -> Any:
    """Return which of an output's numbers mean something where padding is left out."""
    if key == "attentions":
        return np.broadcast_to(seen[:, np.newaxis], array.shape[:3])
    of_tokens = name in ("BertForMaskedLM", "BertForTokenClassification")
    if key in OF_TOKENS or (key == "logits" and of_tokens):
        return seen
    return seen[:, 0].reshape(leads) if name == "BertForMultipleChoice" else seen[:, 0]


def prepare_packed(folder: Path) -> dict[str, BertModel]:
    """Make a model in both dtypes."""
    BertModel(CONFIG).save_pretrained(folder / "model")
    return {dtype: BertModel.from_pretrained(folder / "model", dtype=dtype) for dtype in BUDGETS}


def attempt_packed(models: Mapping[str, BertModel], rng: random.Random) -> bool:
    """Run sequences one after another, and each in a batch of its own by the readable code."""
    draw = np.random.default_rng(rng.getrandbits(32))
    lengths = draw.integers(1, P + 1, rng.randint(1, 5))
    total = int(lengths.sum())
    good: dict[str, Arrays] = {"input_ids": draw.integers(0, V, total), "lengths": lengths}
    if rng.random() < 0.4:
        good["token_type_ids"] = draw.integers(0, S, total)
    if rng.random() < 0.4:
        good["places"] = draw.integers(0, total, rng.randint(0, 2 * total))
    dtype = rng.choice(list(BUDGETS))
    if rng.random() < 0.4:
        arguments, wrong = spoilt(Call(good, {}, {}), rng)
        if wrong in ("lengths", "places") and rng.random() < 0.5:
            arguments[wrong] = good[wrong] + total
        if refused(lambda: models[dtype].packed(**arguments), naming=""):
            return False
        raise Difference(f"packed: {wrong} = {arguments[wrong]!r} is taken")
    found = models[dtype].packed(**{key: laid_out(array, rng) for key, array in good.items()})
    ends = np.cumsum(lengths)[:-1]
    ids = np.split(good["input_ids"], ends)
    types = np.split(good.get("token_type_ids", np.zeros(total, np.int64)), ends)
    expected = np.concatenate(
        [
            models["float64"]
            .steps(row[np.newaxis], token_type_ids=kinds[np.newaxis])
            .encoder.output[0]
            for row, kinds in zip(ids, types, strict=True)
        ]
    )
    expected = expected[good["places"]] if "places" in good else expected
    if found.shape != expected.shape:
        raise Difference(f"packed: the shape is {found.shape}, not {expected.shape}")
    off = float(np.abs(found - expected).max(initial=0.0))
    limit = BUDGETS[dtype] * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not off <= limit:
        raise Difference(f"packed: off by {off:.1e}; {limit:.1e} are allowed")
    return True


TARGETS = [
    Target("calls", "transformers in float64", prepare_models, attempt_model, "transformers", 10),
    Target("packed", "the readable code in float64", prepare_packed, attempt_packed, cost=10),
]
