"""The sizes of the model that a trace is of, held against those of the model that it is held to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from numpy_bert.config import SIZES, BertConfig
from numpy_bert.errors import TraceError
from numpy_bert.traces.names import axes_of, is_weight, layers_in
from numpy_bert.traces.reading import Trace

__all__ = ["check_sizes"]

# Of the letters of a step's axes, those that are a size of the model.
_LETTERS = {"H": "hidden_size", "A": "num_attention_heads", "I": "intermediate_size"}
_TABLES = {
    "embeddings.word_embeddings.weight": "vocab_size",
    "embeddings.position_embeddings.weight": "max_position_embeddings",
    "embeddings.token_type_embeddings.weight": "type_vocab_size",
}


def check_sizes(trace: Trace, config: BertConfig, model: str) -> None:
    """Raise TraceError if a trace is of a model of other sizes.

    They are those that its arrays agree on, and, where they do not say, those of the config in its
    metadata. Where its arrays disagree, each is compared for itself.

    Parameters
    ----------
    trace : Trace
        What is to be verified.
    config : BertConfig
        Of the model.
    model : str
        What the message calls it.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert import BertModel
    >>> from numpy_bert.traces.reading import as_trace
    >>> trace = as_trace({"input_ids": np.array([[2, 5, 3]]), "embeddings": np.ones((1, 3, 24))})
    >>> check_sizes(trace, BertModel.from_pretrained("demo").config, "demo")
    Traceback (most recent call last):
    numpy_bert.errors.TraceError: the candidate: is of a BERT with hidden_size 24; demo has \
hidden_size 128. Name the model that was ported.
    """
    stated = {**_of_metadata(trace), **_of_arrays(trace, config.hidden_size)}
    own = {name: getattr(config, name) for name in SIZES}
    layers = layers_in(trace.arrays)
    if layers > own["num_hidden_layers"]:  # of a trace that may hold some of its steps
        stated["num_hidden_layers"] = max(layers, stated.get("num_hidden_layers", 0))
    wrong = [name for name in SIZES if name in stated and stated[name] != own[name]]
    if wrong:
        theirs, ours = (", ".join(f"{n} {sizes[n]}" for n in wrong) for sizes in (stated, own))
        raise TraceError(
            f"{trace.label}: is of a BERT with {theirs}; {model} has {ours}. Name the model that "
            "was ported."
        )


def _of_metadata(trace: Trace) -> Mapping[str, int]:
    """Return the sizes in the metadata's config; none where it holds none that can be read."""
    try:
        config = json.loads(trace.metadata.get("config", "{}"))
    except (ValueError, RecursionError):
        return {}
    found = config if isinstance(config, dict) else {}
    return {name: found[name] for name in SIZES if type(found.get(name)) is int}


def _of_arrays(trace: Trace, hidden: int) -> Mapping[str, int]:
    """Return the sizes that all arrays that tell one agree on."""
    found: dict[str, set[int]] = {}
    for name, size in _each(trace, hidden):
        found.setdefault(name, set()).add(size)
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def _each(trace: Trace, hidden: int) -> Iterator[tuple[str, int]]:
    """Yield each size that an array tells: of a step whose other axes are those of the ids."""
    ids = trace.arrays.get("input_ids")
    known = dict(zip("BT", () if ids is None else ids.stored.shape, strict=False))
    for array in trace.arrays.values():
        shape = array.stored.shape
        if array.step in _TABLES and shape[1:] == (hidden,):  # others may be transposed
            yield _TABLES[array.step], shape[0]
        axes = None if is_weight(array.step) else axes_of(array.step)
        if axes is None or array.axes is not None or len(axes) != len(shape):
            continue  # with axes of its own, a fault in them is to be told
        sizes = list(zip(axes, shape, strict=True))
        if all(known.get(letter, size) == size for letter, size in sizes):
            yield from ((_LETTERS[letter], size) for letter, size in sizes if letter in _LETTERS)
