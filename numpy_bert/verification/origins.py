"""What a trace was made of, held against the model: its sizes, ids, positions and weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from numpy_bert.arrays import Array, BoolArray, IntArray, StoredArray, as_ids, place, widen
from numpy_bert.comparison.differences import EPSILONS, difference
from numpy_bert.comparison.report import StepReport, measured
from numpy_bert.config import SIZES, BertConfig
from numpy_bert.errors import TraceError
from numpy_bert.parameters import BertParameters, arrays_of
from numpy_bert.text.batch import Lengths, encode, members_of, rows_of
from numpy_bert.text.inputs import Pair
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.layout import axes_of, block_of, is_weight, layers_in
from numpy_bert.traces.reading import Trace, TraceArray, check_stacks
from numpy_bert.traces.trace_inputs import TraceInputs
from numpy_bert.verification.mistakes import (
    PROJECTIONS,
    ROUNDINGS,
    Cause,
    wrong_positions,
    wrong_segments,
)
from numpy_bert.verification.weights import whose_weight

__all__ = ["check_sizes", "compare_positions", "compare_texts", "compare_weights"]

# The letters of a step's axes that stand for a size of the model.
_LETTERS = {"H": "hidden_size", "A": "num_attention_heads", "I": "intermediate_size"}
_TABLES = {
    "embeddings.word_embeddings.weight": "vocab_size",
    "embeddings.position_embeddings.weight": "max_position_embeddings",
    "embeddings.token_type_embeddings.weight": "type_vocab_size",
}
_ALL: BoolArray = np.ones((), np.bool_)


def check_sizes(trace: Trace, config: BertConfig, model: str) -> None:
    """Raise TraceError if a trace was made with a model of other sizes.

    The sizes are those that the trace's arrays agree on or, where these do not say, those of the
    config in its metadata. Where its arrays disagree, each is compared by itself later.

    Parameters
    ----------
    trace : Trace
        The trace to verify.
    config : BertConfig
        The settings of the model.
    model : str
        What the message calls the model.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.reading import as_trace
    >>> trace = as_trace({"input_ids": np.array([[2, 5, 3]]), "embeddings": np.ones((1, 3, 24))})
    >>> check_sizes(trace, BertModel.from_pretrained("demo").config, "demo")
    Traceback (most recent call last):
    numpy_bert.errors.TraceError: the candidate was made with a BERT of hidden_size 24; demo has \
hidden_size 128. Name the model that was ported.
    """
    stated = {**_of_metadata(trace), **_of_arrays(trace, config)}
    own = {name: getattr(config, name) for name in SIZES}
    layers = layers_in(trace.arrays)
    if layers > own["num_hidden_layers"]:  # of a trace that may hold some of its steps
        stated["num_hidden_layers"] = max(layers, stated.get("num_hidden_layers", 0))
    wrong = [name for name in SIZES if name in stated and stated[name] != own[name]]
    if wrong in ([], ["num_hidden_layers"]):
        check_stacks(trace, own["num_hidden_layers"], model)
    if wrong:
        theirs, ours = (", ".join(f"{n} {sizes[n]}" for n in wrong) for sizes in (stated, own))
        raise TraceError(
            f"{trace.label} was made with a BERT of {theirs}; {model} has {ours}. Name the model "
            "that was ported."
        )


def _of_metadata(trace: Trace) -> Mapping[str, int]:
    """Return the sizes that can be read in the metadata's config."""
    try:
        config = json.loads(trace.metadata.get("config", "{}"))
    except (ValueError, RecursionError):
        return {}
    found = config if isinstance(config, dict) else {}
    return {name: found[name] for name in SIZES if type(found.get(name)) is int}


def _of_arrays(trace: Trace, config: BertConfig) -> Mapping[str, int]:
    """Return the sizes that all arrays that tell one agree on."""
    found: dict[str, set[int]] = {}
    for name, size in _each(trace, config):
        found.setdefault(name, set()).add(size)
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def _each(trace: Trace, config: BertConfig) -> Iterator[tuple[str, int]]:
    """Yield each size that the array of a table, or of a step that fits the ids, tells."""
    features, hidden = config.embedding_features, config.hidden_size
    vectors = config.projection_dim or hidden
    ids = trace.arrays.get("input_ids")
    known = dict(zip("BT", () if ids is None else ids.stored.shape, strict=False))
    for array in trace.arrays.values():
        shape = array.stored.shape
        if array.step in _TABLES and shape[1:] == (features,):  # others may be transposed
            yield _TABLES[array.step], shape[0]
        axes = None if is_weight(array.step) else axes_of(array.step)
        if axes is None or array.axes is not None or len(axes) != len(shape):
            continue  # with axes of its own, a fault in them is to be told
        sizes = list(zip(axes, shape, strict=True))
        other = {"embeddings": features, "pooler": vectors}.get(block_of(array.step), hidden)
        if other == hidden and all(known.get(letter, size) == size for letter, size in sizes):
            yield from ((_LETTERS[letter], size) for letter, size in sizes if letter in _LETTERS)


def compare_positions(trace: Trace, inputs: TraceInputs, config: BertConfig) -> StepReport | None:
    """Hold a trace's ``position_ids`` against the model's at tokens; None if it has none."""
    found = trace.get("position_ids")
    if found is None:
        return None
    ids, mask = as_ids(found, name="position_ids"), inputs.attention_mask
    width = mask.shape[1]
    row = StepReport(name="position_ids", verdict="differs", shape=ids.shape, dtype=ids.dtype.name)
    if ids.shape not in ((width,), (1, width), mask.shape):
        return replace(row, text=f"its shape must be (1, {width}); got {ids.shape}")
    wide = np.broadcast_to(ids.astype(np.int64), mask.shape)[mask]

    def is_found(positions: IntArray) -> bool:
        return np.array_equal(wide, np.broadcast_to(positions, mask.shape)[mask])

    if is_found(inputs.position_ids):
        return replace(row, verdict="pass")
    for cause, positions in wrong_positions(inputs, config):
        if is_found(positions):
            return replace(row, cause=cause.name, text=cause.text)
    first, padding = config.first_position, config.position_padding_idx
    right = f"{first}, {first + 1}, {first + 2}, ..."
    if padding is not None:
        right += f" for the ids that are not {padding}"
    text = f"they are not {right}; allowed by name, they are taken as they are"
    return replace(row, text=text)


def compare_texts(
    inputs: TraceInputs, texts: Sequence[str], tokenizer: BertTokenizer, *, pair: bool
) -> Iterator[StepReport]:
    """Hold the ids and token types of a trace against those of the texts that it is made of.

    Texts that are longer than the model can read are expected to be cut.

    Parameters
    ----------
    inputs : TraceInputs
        The checked inputs of the trace.
    texts : sequence of str
        The checked texts, one for each row, or the two of a pair.
    tokenizer : BertTokenizer
        The model's tokenizer.
    pair : bool
        Whether `texts` are the two of a pair.
    """
    mask, types = inputs.attention_mask, inputs.token_type_ids
    rows = [ids[used].tolist() for ids, used in zip(inputs.input_ids, mask, strict=True)]
    items: list[str | Pair] = [(texts[0], texts[1])] if pair and len(texts) == 2 else [*texts]
    shape = inputs.input_ids.shape
    report = StepReport(name="input_ids", verdict="differs", shape=shape, dtype="int64")
    if len(items) != len(rows):
        text = f"there must be a row for each of {len(items)} texts; got {len(rows)}"
        yield replace(report, text=text)
        return
    limit = tokenizer.model_max_length
    expected, kinds = _encoded(tokenizer.backend_tokenizer, items, limit)
    if "token_type_ids" not in tokenizer.model_input_names:
        kinds = [[0] * len(row) for row in kinds]
    if rows != expected:
        yield _wrong_ids(report, rows, expected, items, tokenizer)
        return
    yield replace(report, verdict="pass")
    found = [row[used].tolist() for row, used in zip(types, mask, strict=True)]
    if found == kinds:
        yield replace(report, name="token_type_ids", verdict="pass")
    else:
        right = np.zeros_like(types)
        right[mask] = [kind for row in kinds for kind in row]
        yield _wrong_types(replace(report, name="token_type_ids"), types, right, mask)


def _wrong_ids(
    report: StepReport,
    rows: list[list[int]],
    expected: list[list[int]],
    items: list[str | Pair],
    tokenizer: BertTokenizer,
) -> StepReport:
    """Return the row of ids that are not those of the texts."""
    cause, reason = None, "no known mistake gives these ids"
    pad = tokenizer.pad_token_id
    if [[i for i in ids if i != pad] for ids in rows] == expected:
        cause = "padding_unmasked"
        reason = "padding stands in them that attention_mask has as tokens"
    else:
        likely = (*_other_ids(items, tokenizer), *_other_special_tokens(expected, tokenizer))
        cuts = _other_cuts(items, max(map(len, rows)), tokenizer)
        for others in (likely, cuts):  # a cut at any length at all fits much by chance
            told = {text: other for other, text, encoded in others if encoded == rows}
            if told:
                names = set(told.values())
                cause, reason = names.pop() if len(names) == 1 else None, ", or ".join(told)
                break
    row = next(i for i, (a, b) in enumerate(zip(rows, expected, strict=True)) if a != b)
    where = _first_difference(row, rows[row], expected[row], tokenizer)
    return replace(report, cause=cause, text=f"{reason}; {where}")


def _wrong_types(
    report: StepReport, types: IntArray, right: IntArray, mask: BoolArray
) -> StepReport:
    """Return the row of token types that are not those of a pair of texts."""
    column = tuple(int(i) for i in np.argwhere((types != right) & mask)[0])
    where = f"token_type_ids{place(column)} is {types[column]}, not {right[column]}"
    swapped = (Cause("segments_swapped", "segments 0 and 1 are swapped"), 1 - right)
    for cause, other in (*wrong_segments(right, mask), swapped):
        if np.array_equal(types[mask], other[mask]):
            return replace(report, cause=cause.name, text=f"{cause.text}; {where}")
    return replace(report, text=f"no known mistake gives these token types; {where}")


def _encoded(
    backend: Tokenizer, items: list[str | Pair], limit: int | None, *, special: bool = True
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ids and the token types of texts, of at most so many tokens each."""
    encoded = encode(backend, items, add_special_tokens=special)
    lengths = Lengths("longest_first", limit, None, pads=False)
    rows, _ = rows_of(encoded, lengths, side="right")
    members = members_of(rows, ("input_ids", "token_type_ids"))
    return members["input_ids"], members["token_type_ids"]


def _other_special_tokens(
    expected: list[list[int]], tokenizer: BertTokenizer
) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Yield the ids that have a [CLS] or a [SEP], or what stands for them, too many or too few."""
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    first, last = tokenizer.cls_token, tokenizer.sep_token
    missing, doubled = "special_tokens_missing", "special_tokens_doubled"
    middles = [ids.index(end) if ids.count(end) > 1 else None for ids in expected]
    pairs = list(zip(expected, middles, strict=True))
    # A RoBERTa has two between the texts.
    has_two = any(n is not None and ids[n + 1] == end for ids, n in pairs)
    yield missing, f"there is no {first}", [ids[1:] for ids in expected]
    yield missing, f"there is no {last} at the end", [ids[:-1] for ids in expected]
    what = f"is one {last}, not two," if has_two else f"is no {last}"
    text = f"there {what} between the two texts"
    yield missing, text, [ids if n is None else ids[:n] + ids[n + 1 :] for ids, n in pairs]
    yield doubled, f"{first} stands there twice", [[start, *ids] for ids in expected]
    yield doubled, f"{last} stands at the end twice", [[*ids, end] for ids in expected]
    yield doubled, f"{first} and {last} are added twice", [[start, *ids, end] for ids in expected]
    text = f"{last} stands {'three times' if has_two else 'twice'} between the two texts"
    yield doubled, text, [ids if n is None else [*ids[:n], end, *ids[n:]] for ids, n in pairs]


def _other_cuts(
    items: list[str | Pair], longest: int, tokenizer: BertTokenizer
) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Yield the ids of texts that are cut at another length, as long as the longest row found."""
    backend, limit = tokenizer.backend_tokenizer, tokenizer.model_max_length
    whole, _ = _encoded(backend, items, None)
    length = max(map(len, whole))
    if longest >= length:
        yield "tokenizer_cut", f"the texts are not cut; the model reads {limit} tokens", whole
        return
    right = "not at all" if limit is None or length <= limit else f"not at {limit}"
    text = f"the texts are cut at {longest} tokens, {right}"
    if longest > 3:
        yield "tokenizer_cut", text, _encoded(backend, items, longest)[0]
    yield "tokenizer_cut", f"{text}, and their [SEP] with them", [ids[:longest] for ids in whole]


def _other_ids(
    items: list[str | Pair], tokenizer: BertTokenizer
) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Yield the ids that tokenizers which are often taken for this one make of the texts."""
    backend, limit = tokenizer.backend_tokenizer, tokenizer.model_max_length
    normalizer = backend.normalizer
    if isinstance(normalizer, BertNormalizer):
        state: dict[str, Any] = {
            "clean_text": normalizer.clean_text,
            "handle_chinese_chars": normalizer.handle_chinese_chars,
            "strip_accents": normalizer.strip_accents,
            "lowercase": normalizer.lowercase,
        }
        lower = not normalizer.lowercase
        kinds = ("uncased", "cased") if lower else ("cased", "uncased")
        others = [
            (
                f"tokenizer_{kinds[0]}",
                f"the tokenizer is {kinds[0]}, the model's is {kinds[1]}",
                {"lowercase": lower},
            ),
            (
                "tokenizer_accents",
                "the tokenizer treats accents otherwise",
                {"strip_accents": not (state["strip_accents"] or normalizer.lowercase)},
            ),
            (
                "tokenizer_chinese",
                "Chinese characters are not set apart",
                {"handle_chinese_chars": not state["handle_chinese_chars"]},
            ),
        ]
        for cause, text, other in others:
            changed = Tokenizer.from_str(backend.to_str())
            changed.normalizer = BertNormalizer(**state | other)
            yield cause, text, _encoded(changed, items, limit)[0]
    plain, _ = _encoded(backend, items, limit, special=False)
    text = f"there are no {tokenizer.cls_token} and {tokenizer.sep_token}"
    yield "special_tokens_missing", text, plain


def _first_difference(
    row: int, found: list[int], expected: list[int], tokenizer: BertTokenizer
) -> str:
    """Say where two rows of ids part."""
    both = min(len(found), len(expected))
    column = next((i for i in range(both) if found[i] != expected[i]), both)
    ends = [ids[column] if column < len(ids) else None for ids in (found, expected)]
    words = [
        "nothing" if i is None else f"{i} ({tokenizer.convert_ids_to_tokens([i])[0]})" for i in ends
    ]
    return f"input_ids{place((row, column))} is {words[0]}, not {words[1]}"


def compare_weights(trace: Trace, parameters: BertParameters, heads: int) -> Iterator[StepReport]:
    """Yield a row for each weight that a trace and a model of so many heads have, equal or not."""
    own = dict(arrays_of(parameters))
    for array in (*trace.arrays.values(), *trace.twins):
        if array.step in own:
            yield _weight_row(array.step, array, own, heads)


def _weight_row(
    name: str, array: TraceArray, own: Mapping[str, StoredArray], heads: int
) -> StepReport:
    """Return the row of one weight."""
    found, expected = array.stored.load(), _wide(own[name])
    row = StepReport.of(name, array)
    if found.dtype.kind != "f":
        return replace(row, text=f"its dtype must be a float; got {array.dtype}")
    if found.shape != expected.shape:
        transposed = found.shape == expected.shape[::-1] and np.array_equal(found.T, expected)
        cause = "weight_not_transposed" if transposed else None
        text = "; it is transposed" if transposed else ""
        text = f"its shape must be {expected.shape}; got {found.shape}{text}"
        return replace(row, text=text, cause=cause)
    dtype = array.dtype if array.dtype in EPSILONS else "float32"
    apart = difference(found, expected, _ALL, dtype)
    numbers = {**measured(apart), "budget": 0.0}
    if apart.max_abs == 0.0:
        return replace(row, verdict="pass", **numbers)
    for cause, text, other in _other_weights(name, own):
        if other.shape == found.shape and np.array_equal(found, other):
            return replace(row, cause=cause, text=text, **numbers)
    whose = whose_weight(name, found, own, heads)
    if whose is not None:
        return replace(row, cause=whose.name, text=whose.text, **numbers)
    return replace(row, text="the weights are others", **numbers)


def _other_weights(
    name: str, own: Mapping[str, StoredArray]
) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield what a weight becomes by known mistakes."""
    right = _wide(own[name])
    yield "weight_not_transposed", "it is transposed", right.T
    with np.errstate(all="ignore"):
        for cause, how, narrow in ROUNDINGS:
            yield cause, f"it is {how}", narrow(right)
    yield "bias_missing", "it is 0", np.zeros_like(right)
    path, _, kind = name.rpartition(".")
    block, _, last = path.rpartition(".")
    for other in PROJECTIONS:
        if last in PROJECTIONS and other != last:
            yield "qkv_swapped", f"it is the {other}'s", _wide(own[f"{block}.{other}.{kind}"])


def _wide(stored: StoredArray) -> Array:
    return widen(stored, np.float32 if stored.dtype == np.uint16 else stored.dtype)
