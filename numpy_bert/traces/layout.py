"""The steps of a model: their names in the order of execution, and the axes of each.

A step's name is the path of the module in transformers' BertModel (see `numpy_bert.trace`); what a
BERT does not do has the path that it has in the model that does it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import BoolArray
from numpy_bert.blocks.embeddings import EmbeddingsSteps
from numpy_bert.blocks.encoder import LayerSteps, PoolerSteps
from numpy_bert.config import BertConfig
from numpy_bert.errors import TraceError
from numpy_bert.parameters import BertParameters

__all__ = [
    "BIAS",
    "INPUTS",
    "PROJECT",
    "arranged",
    "axes_of",
    "block_of",
    "is_weight",
    "layers_in",
    "place_of",
    "same_step",
    "shape_of",
    "sizes_of",
    "step_names",
    "steps_in",
]

# What dropout has drawn: nothing in a trace.
_DROPOUT_MASK = BoolArray | None


def _names_in(steps: type, path: str) -> Iterator[str]:
    """Yield the names that `numpy_bert.trace.named_steps` gives the arrays of such a dataclass."""
    for field, kind in get_type_hints(steps).items():
        name = f"{path}.{field}" if path else field
        has_steps = isinstance(kind, type) and is_dataclass(kind)
        if has_steps:
            yield from _names_in(kind, name)
        if field == "output":
            yield path
        elif not has_steps and kind != _DROPOUT_MASK:
            yield name


# What a model is run on, in the order in which it is compared.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
# What some models have between the embedding and the first layer: a projection to H features, and
# a number for each head that is added to the scores of all layers, by the tokens' distance.
PROJECT, BIAS = "embeddings_project", "encoder.relative_attention_bias"
_FIRST = (*_names_in(EmbeddingsSteps, "embeddings"), PROJECT, BIAS)
_IN_LAYER = tuple(_names_in(LayerSteps, ""))  # what follows encoder.layer.N.
_LAST = ("encoder", *_names_in(PoolerSteps, "pooler"))
_LAYER = re.compile(r"encoder\.layer\.([0-9]{1,4})\.?(.*)")
_BLOCK = re.compile(r"(?:embeddings(?:_project)?|encoder\.layer\.[0-9]+|pooler)(?=\.|$)")
# The steps that a BERT does not have.
_BEYOND_BERT = frozenset({"embeddings.task_type_embeddings", PROJECT, BIAS})
# Names of what one array is: the end of a block, of the block around it, of the LayerNorm in it.
_SAME = (
    (re.compile(r"(encoder\.layer\.[0-9]+\.attention)(?:\.output)?"), r"\1.output.LayerNorm"),
    (re.compile(r"(encoder\.layer\.[0-9]+)(?:\.output)?"), r"\1.output.LayerNorm"),
    (re.compile(r"embeddings"), "embeddings.dropout"),
)


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
    """Return the names of the steps of a whole BERT in the order of execution.

    Examples
    --------
    >>> len(step_names(2, pools=True)), step_names(0, pools=False)[-1]
    (72, 'encoder')
    """
    return _without(_BEYOND_BERT if pools else {*_BEYOND_BERT, *_LAST[1:]}, layers)


def steps_in(config: BertConfig, parameters: BertParameters) -> list[str]:
    """Return the names of the steps of a whole model, of any architecture, in execution order.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> steps_in(model.config, model.parameters)[:2]
    ['embeddings.word_embeddings', 'embeddings.token_type_embeddings']
    """
    tables, encoder = parameters.embeddings, parameters.encoder
    pools = parameters.pooler is not None
    is_there = {
        "embeddings.token_type_embeddings": tables.token_type_embeddings is not None,
        "embeddings.task_type_embeddings": tables.task_type_embeddings is not None,
        PROJECT: parameters.embeddings_project is not None,
        BIAS: encoder is not None and encoder.relative_attention_bias is not None,
        "pooler.dense": pools or parameters.encode_proj is not None,
        "pooler": pools or config.architecture.pooling == "first",
    }
    absent = {name for name, is_one in is_there.items() if not is_one}
    return _without(absent, config.num_hidden_layers)


def _without(absent: Collection[str], layers: int) -> list[str]:
    """Return the names of all steps that a model may have, but for those that it has not."""
    inside = [
        f"encoder.layer.{number}.{part}".rstrip(".")
        for number in range(layers)
        for part in _IN_LAYER
    ]
    return [name for name in (*_FIRST, *inside, *_LAST) if name not in absent]


def place_of(name: str) -> tuple[int, int, int]:
    """Return what sorts names into the order of execution; unknown ones come last.

    Examples
    --------
    >>> sorted(["pooler", "encoder.layer.1.output", "encoder.layer.1.attention"], key=place_of)
    ['encoder.layer.1.attention', 'encoder.layer.1.output', 'pooler']
    """
    for part, names in ((0, _FIRST), (2, _LAST)):
        if name in names:
            return (part, 0, names.index(name))
    layer = _LAYER.fullmatch(name)
    if layer is not None and layer[2] in _IN_LAYER:
        return (1, int(layer[1]), _IN_LAYER.index(layer[2]))
    return (3, 0, 0)


def axes_of(name: str, rows: int = 1) -> str | None:
    """Return the letters of a step's axes, None if the name is not the name of a step.

    Parameters
    ----------
    name : str
        The name of a step, or any other name.
    rows : int
        How many rows the position embeddings have: one for the whole batch, or one for each text.

    Examples
    --------
    >>> axes_of("encoder.layer.0.attention.self.probs"), axes_of("loss")
    ('BATT', None)
    >>> axes_of("embeddings.position_embeddings"), axes_of("embeddings.position_embeddings", 8)
    ('1TH', 'BTH')
    """
    if place_of(name)[0] == 3:
        return None
    if name == BIAS:
        return "TTA"
    last = name.rpartition(".")[2]
    if last in ("scores", "probs") or name.endswith("self.dropout"):
        return "BATT"
    if name.startswith("pooler"):
        return "BH"
    if name == "embeddings.position_embeddings":
        return "1TH" if rows == 1 else "BTH"
    wide = re.search(r"\.intermediate(\.dense)?$", name)
    return "BT1" if last in ("mean", "variance", "rstd") else "BTI" if wide else "BTH"


def block_of(name: str) -> str:
    """Return the block that a step is or lies in: the embedding, a layer, the pooler; else "".

    Examples
    --------
    >>> block_of("encoder.layer.3.attention.self"), block_of("pooler"), block_of("encoder")
    ('encoder.layer.3', 'pooler', '')
    """
    found = _BLOCK.match(name)
    return found[0] if found else ""


def is_weight(name: str) -> bool:
    """Tell whether a name is a parameter's, not a step's."""
    return name.endswith((".weight", ".bias"))


def layers_in(names: Iterable[str]) -> int:
    """Return how many layers a model must have to have steps of these names."""
    numbers = [int(found[1]) for name in names if (found := _LAYER.fullmatch(name))]
    return max(numbers, default=-1) + 1


def sizes_of(config: BertConfig, batch: int, length: int) -> dict[str, int]:
    """Return the size that each letter of a shape stands for.

    H, the number of features, is another one in the blocks that are named here, too.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> sizes_of(BertModel.from_pretrained("demo").config, 2, 7)["D"]
    64
    """
    return {
        "B": batch,
        "T": length,
        "H": config.hidden_size,
        "A": config.num_attention_heads,
        "D": config.hidden_size // config.num_attention_heads,
        "I": config.intermediate_size,
        "1": 1,
        "embeddings": config.embedding_features,
        "pooler": config.projection_dim or config.hidden_size,
    }


def shape_of(name: str, axes: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of a step with these axes.

    Examples
    --------
    >>> sizes = {"1": 1, "T": 7, "H": 384, "embeddings": 128}
    >>> shape_of("embeddings.position_embeddings", "1TH", sizes)
    (1, 7, 128)
    """
    features = sizes.get(block_of(name), sizes.get("H", 0))
    return tuple(features if letter == "H" else sizes[letter] for letter in axes)


def arranged(array: npt.NDArray[Any], axes: str, wanted: str, name: str) -> npt.NDArray[Any]:
    """Return an array in the order of a step's axes.

    Heads are laid beside each other, and a batch of one is added where there is none.

    Parameters
    ----------
    array : ndarray
        The array as a port has it.
    axes : str
        The letters of its axes; A and D together are H.
    wanted : str
        The letters of the step's axes.
    name : str
        What an error calls the array.

    Raises
    ------
    TraceError
        If the letters do not fit the array or the step.

    Examples
    --------
    >>> arranged(np.zeros((1, 12, 7, 32)), "BATD", "BTH", "q").shape
    (1, 7, 384)
    """
    apart = wanted.replace("H", "AD") if "D" in axes else wanted
    if "B" in apart and "B" not in axes:
        array, axes = array[np.newaxis], "B" + axes
    if array.ndim != len(axes) or sorted(axes) != sorted(apart):
        raise TraceError(
            f"{name}: the axes {axes} must fit shape {array.shape} and be {wanted} in another "
            "order; they do not. Mend the name map."
        )
    order = [
        _place(axes, letter, apart[:number].count(letter)) for number, letter in enumerate(apart)
    ]
    array = array.transpose(order)
    if apart == wanted:
        return array
    heads = apart.index("A")
    merged = array.shape[heads] * array.shape[heads + 1]
    return array.reshape(*array.shape[:heads], merged, *array.shape[heads + 2 :])


def _place(axes: str, letter: str, number: int) -> int:
    """Return where the axis of a letter is, or the one of this number if there are several."""
    return [place for place, other in enumerate(axes) if other == letter][number]
