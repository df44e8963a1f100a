"""A checkpoint's tensors held against a model: complete, of the right shapes, of one dtype.

Which tensor a decoder is goes by transformers 5: of two names that are tied, the one that is stored
stands for both; two that are stored and differ are not tied, whatever config.json says.

References
----------
.. [1] transformers, modeling_utils.py, PreTrainedModel.tie_weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from numpy_bert.architectures import ARCHITECTURES, Architecture
from numpy_bert.arrays import Array, StoredArray, memory_for, place
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.checkpoint import Checkpoint
from numpy_bert.loading.header import Entry
from numpy_bert.loading.keys import BUFFERS, canonical, foreign_model, near_miss, stored
from numpy_bert.loading.stored import StoredTensor
from numpy_bert.messages import listed, quoted, with_article
from numpy_bert.parameters import (
    TIED,
    BertEmbeddingsParameters,
    BertParameters,
    pretraining_shapes,
    shapes,
)
from numpy_bert.reprs import short_repr

__all__ = [
    "LoadingInfo",
    "check_head",
    "check_tensors",
    "check_weights",
    "differences",
    "embedding_shapes",
    "read_table",
    "read_weight",
    "rules_of",
    "settle",
]

_LONGEST_LIST = 20
_PARTS = ("embeddings.", "encoder.", "pooler.")
# What safetensors calls the two dtypes in which numpy_bert computes.
_CODES = {"float32": "F32", "float64": "F64"}
# Pairs of keys that are compared for a misspelling: some tenths of a second.
_MOST_COMPARED = 10_000
_DECODER, _DECODER_BIAS = TIED
# Where a decoder of its own has a bias of its own, this one is stored too, and read by nobody.
_BIAS = TIED[_DECODER_BIAS]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingInfo:
    """What a checkpoint held and what became of it.

    Attributes
    ----------
    files : tuple of str
        The safetensors files that were used.
    missing_keys : tuple of str
        Parameters that the checkpoint does not have: the model does without them (the pooler), or
        they are new, because a new head was asked for.
    unexpected_keys : tuple of str
        Tensors of the checkpoint that this model does not use, under their own names.
    cast : tuple of (key, stored dtype, dtype)
        Tensors that are not used in the dtype in which they are stored.
    notes : tuple of str
        What else is odd about the files, as sentences.
    rules : tuple of str
        By which rules the names and the numbers of another architecture were read as a BERT's, as
        sentences; a BERT needs none.
    """

    __repr__ = short_repr

    files: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    cast: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def rules_of(config: BertConfig) -> tuple[str, ...]:
    """Say by which rules an architecture is read as a BERT; a BERT needs none.

    Examples
    --------
    >>> rules = rules_of(BertConfig(model_type="mpnet", max_position_embeddings=514))
    >>> print(rules[0])
    The model is an MPNet: its tensors' names have 'mpnet.' where a BERT's have 'bert.'.
    >>> print(rules[2])
    Positions begin at 2 and count the ids other than 1, so that texts use 512 of the 514.
    >>> print(rules[3])
    These parts of a BERT are never there: token_type_embeddings.
    """
    entry = config.architecture
    if entry.model_type == "bert":
        return ()
    prefixes = " or ".join(map(repr, entry.encoders.values() or [entry.prefix]))
    found = [
        f"The model is {with_article(entry.name)}: its tensors' names have {prefixes} where a "
        f"BERT's have {ARCHITECTURES['bert'].prefix!r}."
    ]
    if entry.keys:
        names = "; ".join(f"{old} as {new}" for old, new in entry.keys.items())
        found.append(f"Parts of their names are read as BERT's: {names}.")
    if config.first_position:
        found.append(
            f"Positions begin at {config.first_position} and count the ids other than "
            f"{config.padding_idx}, so that texts use {config.max_tokens} of the "
            f"{config.max_position_embeddings}."
        )
    if entry.lacks:
        found.append(f"These parts of a BERT are never there: {listed(sorted(entry.lacks))}.")
    return tuple(found)


def settle(checkpoint: Checkpoint, config: BertConfig) -> tuple[Checkpoint, BertConfig]:
    """Return a checkpoint and a config that agree on which tensor a decoder is.

    It reads both tensors of a pair that is tied and stored twice.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint of a model that predicts words.
    config : BertConfig
        What its config.json says.

    Returns
    -------
    Checkpoint
        Without the second names of what is tied: a tensor that is stored under its second name
        alone stands under its first. Where two differ a note says so.
    BertConfig
        With ``tie_word_embeddings`` false where the decoder is a tensor of its own.
    """
    if not config.tie_word_embeddings:
        return checkpoint, config
    tensors, differing = dict(checkpoint.tensors), differences(checkpoint, config)
    if _DECODER in differing:
        config = replace(config, tie_word_embeddings=False)
        for name, other in ((_BIAS, _DECODER_BIAS), (_DECODER_BIAS, _BIAS)):
            if other in tensors:
                tensors.setdefault(name, tensors[other])
    else:
        for copy, original in TIED.items():
            if copy in tensors:  # which is the one that transformers reads
                tensors[original] = tensors.pop(copy)
    notes = (*checkpoint.notes, *differing.values())
    return replace(checkpoint, tensors=tensors, notes=notes), config


def differences(checkpoint: Checkpoint, config: BertConfig) -> dict[str, str]:
    """Describe each pair of tensors that config.json ties and that differ, by its second name."""
    tensors = checkpoint.tensors
    return {
        copy: (
            f"{quoted(tensors[copy].name)} and {quoted(tensors[original].name)} differ, though "
            "config.json ties them (tie_word_embeddings is true or not there); the former is the "
            "decoder's, as in transformers."
        )
        for copy, original in TIED.items()
        if config.tie_word_embeddings and {copy, original} <= tensors.keys()
        if not tensors[copy].has_values_of(tensors[original])
    }


def embedding_shapes(config: BertConfig) -> Mapping[str, tuple[int, ...]]:
    """Map the keys of the input embedding, the only part that can be loaded alone, to shapes."""
    return shapes(BertEmbeddingsParameters, config, "embeddings.")


def check_weights(
    checkpoint: Checkpoint,
    config: BertConfig,
    dtype: np.dtype[Any],
    *,
    only: Literal["embeddings"] | None = None,
    code: str = "",
) -> LoadingInfo:
    """Check that a checkpoint is a whole BertModel of the config's sizes, reading headers only.

    With ``only="embeddings"`` the input embedding is all that it must be: nothing else is missing,
    and what a whole model would use is not unexpected. `code` is what config.json names as the code
    of the model.

    Returns
    -------
    LoadingInfo
        What is missing (and may be), unused, and to be cast.

    Raises
    ------
    CheckpointError
        One error for all missing keys and wrong shapes, with near misses among the unknown keys;
        or the name of the other model that the keys belong to.
    """
    tensors = checkpoint.tensors
    whole = shapes(BertParameters, config)
    needed = whole if only is None else embedding_shapes(config)
    known = whole.keys() | BUFFERS
    notes = checkpoint.notes
    try:
        missing = check_tensors(tensors, needed, config, checkpoint.label)
    except CheckpointError as failure:
        if code:
            raise CheckpointError(f"{_refused_code(checkpoint, code)}\n{failure}") from None
        raise
    if code:
        odd = [key for key in tensors if key not in known and key.startswith(_PARTS)]
        if odd:
            raise CheckpointError(
                f"{_refused_code(checkpoint, code)} Not BERT's are {listed(odd)}."
            )
        named = quoted(code)
        notes += (f"config.json names code of its own (auto_map: {named}), which is never run.",)
    return LoadingInfo(
        files=tuple(str(path) for path in checkpoint.files),
        missing_keys=tuple(missing),
        unexpected_keys=tuple(tensor.name for key, tensor in tensors.items() if key not in known),
        cast=_casts(tensors, needed, dtype),
        notes=notes,
        rules=rules_of(config),
    )


def _refused_code(checkpoint: Checkpoint, code: str) -> str:
    """Say why a model that brings its own code is refused."""
    return (
        f"{checkpoint.label}: is no plain BERT's, and config.json names code of its own (auto_map: "
        f"{quoted(code)}), which is never run here. Take a model that needs no "
        "trust_remote_code."
    )


def check_head(
    checkpoint: Checkpoint,
    config: BertConfig,
    dtype: np.dtype[Any],
    head: Mapping[str, tuple[int, ...]],
    info: LoadingInfo,
    *,
    pools: bool,
    new: bool = False,
) -> LoadingInfo:
    """Check that a checkpoint whose BertModel is whole has a head too, or may get a new one.

    Parameters
    ----------
    checkpoint, config, dtype
        The arguments of `check_weights`, which comes first.
    head : mapping of str to tuple of int
        The head's keys and shapes.
    info : LoadingInfo
        What `check_weights` found.
    pools : bool
        Whether the head reads the pooler.
    new : bool
        Whether a head of which nothing is there is to be made; the keys of it are missing then.

    Returns
    -------
    LoadingInfo
        `info` with the head's tensors taken for what they are.

    Raises
    ------
    CheckpointError
        If the head or its pooler is not there, or a tensor of it is missing or of the wrong shape.
    """
    tensors, label = checkpoint.tensors, checkpoint.label
    lacked = [key for key in head if key not in tensors]
    missing = [key for key in lacked if key != _BIAS or _DECODER_BIAS not in head]
    if len(lacked) == len(head):
        entry = config.architecture
        own = list(dict.fromkeys(stored(key, entry) for key in head))
        name = _module(own) or "head"
        apart = [t.name for t in tensors.values() if canonical(t.name, entry) in head]
        if new and not apart:
            return replace(info, missing_keys=(*info.missing_keys, *lacked))
        why = (
            "it was not trained for this task. Name a checkpoint that was, or start a new head to "
            "train (num_labels=2, or seed=0)"
        )
        if apart:
            why = (
                f"{quoted(apart[0])} stands outside the prefix that the BERT's tensors have, so "
                "nobody knows what it reads. Give all tensors one prefix, or none"
            )
        raise CheckpointError(
            f"{label}: has no {name} ({', '.join(own)}): {why}; "
            f"{entry.classes}Model loads this one without a head."
        )
    misfits = _misfits(tensors, head)
    if missing or misfits:
        raise CheckpointError(_complaint(tensors, config, missing, misfits, label, head))
    if pools and info.missing_keys:
        raise CheckpointError(
            f"{label}: has no pooler ({', '.join(info.missing_keys)}), which the head of this "
            "task reads."
        )
    names = {tensors[key].name for key in head if key in tensors}
    absent = [key for key in lacked if key not in config.architecture.lacks]
    return replace(
        info,
        missing_keys=(*info.missing_keys, *absent),
        unexpected_keys=tuple(name for name in info.unexpected_keys if name not in names),
        cast=info.cast + _casts(tensors, head, dtype),
    )


def _module(keys: Collection[str]) -> str:
    """Return the path of the module that all these keys are in."""
    columns = zip(*(key.split(".") for key in keys), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, columns))


def check_tensors(
    tensors: Mapping[str, Entry],
    needed: Mapping[str, tuple[int, ...]],
    config: BertConfig,
    label: str,
) -> list[str]:
    """Check that tensors, by canonical key, are all that is needed, of the shapes and dtypes.

    Returns
    -------
    list of str
        The missing keys that may be missing: those of the pooler, if all of them are.

    Raises
    ------
    CheckpointError
        As `check_weights` does, naming the checkpoint by its `label`.
    """
    pooler = {key for key in needed if key.startswith("pooler.")}
    missing = [key for key in needed if key not in tensors]
    if len(missing) > len(needed) // 2:
        entry = config.architecture
        # A name says more than hundreds of missing keys.
        model = foreign_model(tensors, entry)
        if model is not None:
            raise CheckpointError(f"{label}: looks like {model}, {_instead(model, entry)}")
    optional = pooler if pooler.isdisjoint(tensors) else set()
    required = [key for key in missing if key not in optional]
    misfits = _misfits(tensors, needed)
    if required or misfits:
        raise CheckpointError(_complaint(tensors, config, required, misfits, label))
    return missing


def _instead(model: str, architecture: Architecture) -> str:
    """Say what to do with a checkpoint of another model than its config's."""
    kinds = {entry.name: entry.model_type for entry in ARCHITECTURES.values()}
    if model not in kinds:
        return f"which is not supported; {architecture.name} is."
    return (
        f"but config.json says {architecture.name} (model_type = {architecture.model_type!r}). "
        f"Give it the config.json that it came with, whose model_type is {kinds[model]!r}."
    )


def _misfits(tensors: Mapping[str, Entry], needed: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Describe every tensor that is needed and whose shape or dtype does not fit."""
    found = []
    for key, shape in needed.items():
        tensor = tensors.get(key)
        if tensor is None:
            continue
        if tensor.shape != shape:
            found.append(
                f"{quoted(tensor.name)} is {tensor.shape}, config.json says {shape}"
                f"{_reason(tensor.shape, shape)}"
            )
        elif not tensor.is_float:
            found.append(
                f"{quoted(tensor.name)} has dtype {quoted(tensor.dtype)}, "
                "which is not supported for weights (F32, F16, BF16, F64)"
            )
    return found


def _reason(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Guess why a shape is wrong."""
    if 0 in found or len(found) != len(expected):
        return ""
    if found == expected[::-1] and len(found) == 2:
        return "  (transposed, as TensorFlow stores it?)"
    if len(found) == 2 and found[1] == expected[1]:
        padded = -(-expected[0] // 8) * 8 == found[0]
        return "  (rows padded to a multiple of 8?)" if padded else "  (another model's config?)"
    return "  (another model's config?)"


def _casts(
    tensors: Mapping[str, Entry], keys: Iterable[str], dtype: np.dtype[Any]
) -> tuple[tuple[str, str, str], ...]:
    """Return which tensors are not used in the dtype in which they are stored, and both dtypes."""
    return tuple(
        (key, tensors[key].dtype, dtype.name)
        for key in keys
        if key in tensors and tensors[key].dtype != _CODES[dtype.name]
    )


def _complaint(
    tensors: Mapping[str, Entry],
    config: BertConfig,
    missing: list[str],
    misfits: list[str],
    label: str,
    head: Collection[str] = (),
) -> str:
    """Write one message for everything that is wrong, unknown near misses beside it.

    The keys of a `head` are known too.
    """
    known = {*pretraining_shapes(config), *BUFFERS, *TIED, *head}
    unknown = [key for key in tensors if key not in known] if missing else []
    counts = [
        f"{len(missing)} key{'s' * (len(missing) != 1)} missing" if missing else "",
        f"{len(unknown)} unknown" if unknown else "",
        f"{len(misfits)} of the wrong shape or dtype" if misfits else "",
    ]
    lines = [f"{label}: {', '.join(filter(None, counts))}."]
    entry = config.architecture
    lines += _listed("missing  ", [stored(key, entry) for key in missing])
    hints = []
    for number, key in enumerate(unknown):
        twin = near_miss(key, missing) if number * len(missing) < _MOST_COMPARED else None
        name = quoted(tensors[key].name)
        hints.append(f"{name}   (did you mean {stored(twin, entry)}?)" if twin else name)
    hints.sort(key=lambda line: "did you mean" not in line)
    lines += _listed("unknown  ", hints)
    lines += _listed("misfit   ", misfits)
    lines += [f"  {hint}" for hint in _tied_hints(tensors, missing)]
    return "\n".join(lines)


def _tied_hints(tensors: Mapping[str, Entry], missing: Collection[str]) -> Iterator[str]:
    """Say where a tensor that is missing stands under the other name that BERT ties it to."""
    for copy, original in TIED.items():
        if original in missing and copy in tensors:
            yield (
                f"{original} stands as {quoted(tensors[copy].name)} alone, which only models that "
                "predict words read: BertForMaskedLM.from_pretrained(...).bert is this model where "
                "the two are tied; save it (save_pretrained)."
            )
        if copy in missing and original in tensors:
            yield (
                f"config.json unties {copy} from {quoted(tensors[original].name)} "
                "(tie_word_embeddings is false), and transformers 5 would start it anew. Store it "
                "too, or set tie_word_embeddings to true if they are one."
            )


def _listed(label: str, items: list[str]) -> list[str]:
    """Write items one to a line, the first `_LONGEST_LIST` of them."""
    lines = [f"  {label}{item}" for item in items[:_LONGEST_LIST]]
    if len(items) > _LONGEST_LIST:
        lines.append(f"  {label}... and {len(items) - _LONGEST_LIST} more")
    return lines


def read_weight(tensor: StoredTensor, dtype: np.dtype[Any], *, mapped: bool) -> Array:
    """Return a weight in `dtype`, read-only; mapped where it is stored so.

    Raises
    ------
    CheckpointError
        If a float64 value does not fit into float32. F16, BF16 and F32 widen exactly.
    OutOfMemoryError
        If there is no memory for a copy.
    """
    try:
        with np.errstate(all="ignore"):  # also where the caller's own settings would raise
            stored = tensor.read(mapped=mapped)
            weight = stored.astype(dtype, copy=False)
    except MemoryError:
        with _memory_for(tensor):
            raise
    if tensor.dtype == "F64" and dtype == np.float32:
        lost = np.argwhere(np.isfinite(stored) & ~np.isfinite(weight))
        if len(lost):
            first = tuple(int(i) for i in lost[0])
            raise CheckpointError(
                f"{tensor.file.path}: {quoted(tensor.name)}{place(first)} = {stored[first]} does "
                "not fit into float32; load with dtype='float64'."
            )
    weight.flags.writeable = False
    return weight


def read_table(tensor: StoredTensor, dtype: np.dtype[Any], *, mapped: bool) -> StoredArray:
    """Return a look-up table for a model that computes in `dtype`, read-only.

    It stays as it is stored where every value fits into `dtype`, for its rows to be widened when
    they are used; nothing is read then, if it is mapped. Otherwise it is as `read_weight` returns
    it.
    """
    if tensor.dtype == "F64" and dtype == np.float32:
        return read_weight(tensor, dtype, mapped=mapped)
    try:
        return tensor.as_stored(mapped=mapped)
    except MemoryError:
        with _memory_for(tensor):
            raise


def _memory_for(tensor: StoredTensor) -> memory_for:
    """Return a block in which a MemoryError names the tensor that was read.

    It is made where there is one: a hundred of them take a twentieth of the time of loading.
    """
    return memory_for(
        str(tensor.file.path),
        lambda: f"{quoted(tensor.name)}, {tensor.nbytes:,} bytes of shape {tensor.shape}",
        "A file of float32 that is mapped (mmap=True, dtype='float32') takes the least.",
    )
