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
from safetensors.numpy import load, save

import numpy_bert
from numpy_bert import BertConfig, BertModel
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import config_class

__all__ = ["TARGETS"]

Arrays = npt.NDArray[Any]
V, P, S, K = 31, 13, 3, 3
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": P,
    "type_vocab_size": S,
    "initializer_range": 0.4,
    "embedding_size": 10,
    "projection_dim": 11,
    "use_task_id": True,
    "task_type_vocab_size": 5,
}
# The labels that a class takes, by the end of its name.
LABELS = {
    "Model": (),
    "ForPreTraining": ("labels", "next_sentence_label"),
    "ForMaskedLM": ("labels",),
    "ForNextSentencePrediction": ("labels",),
    "ForSequenceClassification": ("labels",),
    "ForTokenClassification": ("labels",),
    "ForQuestionAnswering": ("start_positions", "end_positions"),
    "ForMultipleChoice": ("labels",),
}
# The architecture of each class, and the end of its name.
CLASSES = {
    name: (kind, end)
    for kind, entry in ARCHITECTURES.items()
    for end in LABELS
    for name in entry.class_names(end)
}
# Classes that take no position_ids in transformers, or do not bring them into shape.
NO_POSITIONS = ("DPRQuestionEncoder", "DPRContextEncoder", "DistilBertForMultipleChoice")
OF_TOKENS = (
    *("last_hidden_state", "hidden_states", "prediction_logits"),
    *("start_logits", "end_logits"),
)
# Of the largest number of the reference, and of 1 at least; random layers make roundings larger.
BUDGETS = {"float64": 1e-10, "float32": 2e-5}


class Model(NamedTuple):
    """A class, a model of it in both dtypes, and transformers' in float64 where that is needed."""

    name: str
    end: str
    ours: Mapping[str, Any]
    theirs: Any = None

    @property
    def config(self) -> BertConfig:
        """The sizes."""
        config: BertConfig = self.ours["float64"].config
        return config

    @property
    def is_detector(self) -> bool:
        """Whether it says of each token if it was replaced."""
        return self.config.model_type == "electra" and self.end == "ForPreTraining"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a call may have."""
        return ("labels",) if self.is_detector else LABELS[self.end]


class Call(NamedTuple):
    """The arguments of a good call, and what else is asked for."""

    inputs: dict[str, Arrays]
    labels: dict[str, Arrays]
    options: dict[str, bool]


def good_call(model: Model, rng: random.Random) -> Call:
    """Return arguments that a model must take."""
    draw, config = np.random.default_rng(rng.getrandbits(32)), model.config
    batch, length = rng.randint(1, 4), rng.randint(1, config.max_tokens)
    lead = (batch, rng.randint(1, 3)) if model.end == "ForMultipleChoice" else (batch,)
    shape = (*lead, length)
    inputs: dict[str, Arrays] = {}
    if rng.random() < 0.15:
        inputs["inputs_embeds"] = draw.standard_normal((*shape, config.embedding_features))
    else:
        inputs["input_ids"] = words(shape, config, rng, draw)
    if rng.random() < 0.7:
        inputs["attention_mask"] = masked(shape, rng, draw)
    if rng.random() < 0.5 and config.reads_token_types:
        inputs["token_type_ids"] = draw.integers(0, S, shape)
    if rng.random() < 0.4 and model.name not in NO_POSITIONS:
        inputs["position_ids"] = draw.integers(0, P, shape if len(lead) > 1 else (batch, length))
    labels: dict[str, Arrays] = {}
    seen = inputs.get("attention_mask", np.ones(1)).any() or not model.is_detector
    if model.labels and seen and rng.random() < 0.5:  # of a detector padding's do not count
        labels = good_labels(model, shape, draw)
    options = {
        "output_hidden_states": rng.random() < 0.3,
        "output_attentions": rng.random() < 0.3,
        "unpad_inputs": rng.random() < 0.6,
    }
    return Call(inputs, labels, options)


def words(
    shape: tuple[int, ...], config: BertConfig, rng: random.Random, draw: np.random.Generator
) -> Arrays:
    """Return ids of words, with few of padding's among them, or many."""
    ids = draw.integers(0, V, shape)
    padding = draw.random(shape) < rng.choice((0, 0, 0.3, 0.9))
    return np.where(padding, config.pad_token_id or 0, ids)


def masked(shape: tuple[int, ...], rng: random.Random, draw: np.random.Generator) -> Arrays:
    """Return a mask with padding behind, in front, anywhere, or of whole rows."""
    if rng.random() < 0.5:
        lengths = draw.integers(0 if rng.random() < 0.2 else 1, shape[-1] + 1, (*shape[:-1], 1))
        mask = np.arange(shape[-1]) < lengths
        mask = mask[..., ::-1] if rng.random() < 0.3 else mask
    else:
        mask = draw.random(shape) < 0.7
    return mask.astype(rng.choice(("int64", "int32", "uint8", "float32", "float64", "bool")))


def good_labels(
    model: Model, shape: tuple[int, ...], draw: np.random.Generator
) -> dict[str, Arrays]:
    """Return labels of which at least one counts."""
    batch, length = shape[0], shape[-1]
    if model.end == "ForQuestionAnswering":
        return {target: draw.integers(0, length, batch) for target in model.labels}
    if model.is_detector:
        return {"labels": draw.integers(0, 2, shape)}
    of_texts = {
        "ForMultipleChoice": shape[1],
        "ForSequenceClassification": K,
        "ForNextSentencePrediction": 2,
    }
    if model.end in of_texts:
        return {"labels": draw.integers(0, of_texts[model.end], batch)}
    labels = draw.integers(0, K if model.end == "ForTokenClassification" else V, shape)
    labels.flat[1:] = np.where(draw.random(labels.size - 1) < 0.5, -100, labels.flat[1:])
    found = {"labels": labels}
    if model.end == "ForPreTraining":
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


def spoilt(
    call: Call, rng: random.Random, *, is_detector: bool = False
) -> tuple[dict[str, Any], str]:
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
    elif is_detector and name == "labels":  # shares are taken, and anything at padding
        ways += [partial(np.full_like, array, value) for value in (-1, 2, V, 2**40)]
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


def saved(name: str, folder: Path) -> Path:
    """Save a model of a class, whose biases and norms are random, too; return where."""
    kind, end = CLASSES[name]
    known = {*config_class(kind)().field_names}
    sizes = {field: size for field, size in SIZES.items() if field in known}
    # transformers gives a head of answers as many outputs as config.json says.
    config = config_class(kind)(**sizes, num_labels=2 if end == "ForQuestionAnswering" else K)
    own = folder / name
    getattr(numpy_bert, name)(config).save_pretrained(own)
    draw, path = np.random.default_rng(1), own / "model.safetensors"
    tensors = {
        key: array + draw.normal(0, 0.1, array.shape).astype(array.dtype)
        for key, array in load(path.read_bytes()).items()
    }
    path.write_bytes(save(tensors, {"format": "pt"}))
    return own


def loaded(name: str, folder: Path) -> Model:
    """Return a model of a class of ours in both dtypes."""
    kind = getattr(numpy_bert, name)
    ours = {dtype: kind.from_pretrained(folder, dtype=dtype) for dtype in BUDGETS}
    return Model(name, CLASSES[name][1], ours)


class Models:
    """Every class of ours, each made when it is first called."""

    def __init__(self, folder: Path, theirs: Callable[[str, Path], Any] | None = None) -> None:
        self._folder, self._theirs = folder, theirs
        self._found: dict[str, Model] = {}

    def __getitem__(self, name: str) -> Model:
        if name not in self._found:
            folder = saved(name, self._folder)
            model = loaded(name, folder)
            theirs = self._theirs and self._theirs(name, folder)
            self._found[name] = model._replace(theirs=theirs)
        return self._found[name]


def prepare_models(folder: Path) -> Models:
    """Have transformers load what it is compared with in float64."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    def theirs(name: str, folder: Path) -> Any:
        kind = getattr(transformers, name)
        return kind.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()

    return Models(folder, theirs)


def attempt_model(models: Models, rng: random.Random) -> bool:
    """Call a model of some class, well or badly."""
    kind = rng.choice(list(ARCHITECTURES))
    model = models[rng.choice([name for name, (own, _) in CLASSES.items() if own == kind])]
    dtype = rng.choice(list(BUDGETS))
    call, ours = good_call(model, rng), model.ours[dtype]
    if rng.random() < 0.4:
        arguments, wrong = spoilt(call, rng, is_detector=model.is_detector)
        if wrong != "inputs_embeds" and "inputs_embeds" in arguments:
            arguments["inputs_embeds"] = arguments["inputs_embeds"].astype(dtype)
        if refused(lambda: ours(**arguments, **call.options), naming=wrong):
            return False
        raise Difference(f"{model.name}: {wrong} = {arguments[wrong]!r} is taken")
    arguments = {key: laid_out(array, rng) for key, array in (call.inputs | call.labels).items()}
    if "inputs_embeds" in arguments:
        arguments["inputs_embeds"] = arguments["inputs_embeds"].astype(dtype)
    found = ours(**arguments, **call.options)
    compare(found, reference(model, call), call, BUDGETS[dtype], model)
    return True


def reference(model: Model, call: Call) -> dict[str, Any]:
    """Return what transformers makes of a good call."""
    import torch

    given = {
        key: torch.from_numpy(np.array(array, order="C"))
        for key, array in (call.inputs | call.labels).items()
    }
    if "attention_mask" in given:
        given["attention_mask"] = given["attention_mask"].to(torch.int64)
    kept = {key: value for key, value in call.options.items() if key != "unpad_inputs"}
    is_dpr = model.config.model_type == "dpr"  # which returns the last state among all alone
    with torch.no_grad():
        found = dict(
            model.theirs(**given, **kept | ({"output_hidden_states": True} if is_dpr else {}))
        )
        if is_dpr:
            found["last_hidden_state"] = found["hidden_states"][-1]
        if model.is_detector and "loss" in found:  # which they compute in float32
            seen = given.get("attention_mask", torch.ones_like(given["labels"])) == 1
            found["loss"] = torch.nn.functional.binary_cross_entropy_with_logits(
                found["logits"][seen], given["labels"][seen].double()
            )
    return found


def compare(
    found: Any, expected: Mapping[str, Any], call: Call, budget: float, model: Model
) -> None:
    """Raise Difference where a result is not the reference's, but at padding that is left out."""
    leads = call.inputs[next(iter(call.inputs))].shape[:2]
    seen = tokens(call, model.config) if call.options["unpad_inputs"] else None
    for key, one in found.items():
        for number, (own, other) in enumerate(zip(_all(one), _all(expected[key]), strict=True)):
            where = f"{model.name}: {key}[{number}]"
            right = np.asarray(other.numpy() if hasattr(other, "numpy") else other)
            if np.shape(own) != right.shape:
                raise Difference(f"{where} is {np.shape(own)}, transformers' {right.shape}")
            mine = np.asarray(own)
            if seen is not None and key != "loss":
                rows = _seen(model, key, mine, seen, leads)
                mine, right = mine[rows], right[rows]
            if mine.size:
                limit = budget * max(1.0, float(np.abs(right).max()))
                off = float(np.abs(mine - right).max())
                if not off <= limit:
                    raise Difference(f"{where} is off by {off:.1e}; {limit:.1e} are allowed")


def tokens(call: Call, config: BertConfig) -> Arrays | None:
    """Return which places are no padding, of all texts one below another; None where all are."""
    mask = call.inputs.get("attention_mask")
    if mask is None and config.masked_id is not None and "input_ids" in call.inputs:
        mask = call.inputs["input_ids"] != config.masked_id
    return None if mask is None else mask.astype(bool).reshape(-1, mask.shape[-1])


def _all(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _seen(model: Model, key: str, array: Arrays, seen: Arrays, leads: tuple[int, ...]) -> Any:
    """Return which of an output's numbers mean something where padding is left out."""
    if key == "attentions":
        return np.broadcast_to(seen[:, np.newaxis], array.shape[:3])
    of_tokens = model.end in ("ForMaskedLM", "ForTokenClassification") or model.is_detector
    if key in OF_TOKENS or (key == "logits" and of_tokens):
        return seen
    return seen[:, 0].reshape(leads) if model.end == "ForMultipleChoice" else seen[:, 0]


def attempt_packed(models: Models, rng: random.Random) -> bool:
    """Run sequences one after another, and each in a batch of its own by the readable code."""
    draw = np.random.default_rng(rng.getrandbits(32))
    model = models[rng.choice([name for name, (_, end) in CLASSES.items() if end == "Model"])]
    config = model.config
    lengths = draw.integers(1, config.max_tokens + 1, rng.randint(1, 5))
    total = int(lengths.sum())
    good = {"input_ids": words((total,), config, rng, draw), "lengths": lengths}
    if rng.random() < 0.4 and config.reads_token_types:
        good["token_type_ids"] = draw.integers(0, S, total)
    if rng.random() < 0.4:
        good["places"] = draw.integers(0, total, rng.randint(0, 2 * total))
    dtype = rng.choice(list(BUDGETS))
    if rng.random() < 0.4:
        arguments, wrong = spoilt(Call(good, {}, {}), rng)
        if wrong in ("lengths", "places") and rng.random() < 0.5:
            arguments[wrong] = good[wrong] + total
        if refused(lambda: model.ours[dtype].packed(**arguments), naming=""):
            return False
        raise Difference(f"packed: {wrong} = {arguments[wrong]!r} is taken")
    found = model.ours[dtype].packed(**{key: laid_out(array, rng) for key, array in good.items()})
    expected = one_by_one(model.ours["float64"], good)
    where = f"{model.name}.packed"
    if found.shape != expected.shape:
        raise Difference(f"{where}: the shape is {found.shape}, not {expected.shape}")
    off = float(np.abs(found - expected).max(initial=0.0))
    limit = BUDGETS[dtype] * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not off <= limit:
        raise Difference(f"{where}: off by {off:.1e}; {limit:.1e} are allowed")
    return True


def one_by_one(model: BertModel, packed: Mapping[str, Arrays]) -> Arrays:
    """Return the last state of packed tokens, of each sequence by the readable code."""
    ends = np.cumsum(packed["lengths"])[:-1]
    ids = np.split(packed["input_ids"], ends)
    types = np.split(packed.get("token_type_ids", np.zeros_like(packed["input_ids"])), ends)
    states = [
        model.steps(
            row[np.newaxis],
            np.ones((1, len(row)), np.int64),
            kinds[np.newaxis] if model.config.reads_token_types else None,
        ).encoder.output[0]
        for row, kinds in zip(ids, types, strict=True)
    ]
    expected = np.concatenate(states)
    return expected[packed["places"]] if "places" in packed else expected


TARGETS = [
    Target("calls", "transformers in float64", prepare_models, attempt_model, "transformers", 10),
    Target("packed", "the readable code in float64", Models, attempt_packed, cost=10),
]
