"""Weights that nobody has trained, as transformers starts them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be
from numpy_bert.parameters import BertParameters, BertPoolerParameters, build, shapes

if TYPE_CHECKING:
    from numpy_bert.model.heads import Head

__all__ = ["new_head", "new_model", "new_parameters"]

Tree = TypeVar("Tree")


def new_parameters(
    tree: type[Tree],
    config: BertConfig,
    dtype: np.dtype[Any],
    rng: np.random.Generator,
    prefix: str = "",
) -> Tree:
    """Fill a parameter class with new weights, read-only.

    Matrices are normal with the config's initializer_range, but for the padding's rows in the word
    table, and in that of positions if it has one, which are 0; scales of a LayerNorm are 1, and
    biases 0.

    References
    ----------
    .. [1] transformers, modeling_utils.py, PreTrainedModel._init_weights.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> new = new_parameters(BertPoolerParameters, BertConfig(), np.dtype("f4"), rng, "pooler.")
    >>> new.dense.weight.std().round(3), new.dense.bias.any()
    (np.float32(0.02), np.False_)
    """
    sizes = shapes(tree, config, prefix)  # type: ignore[arg-type]

    def get(key: str) -> Array:
        shape = sizes[key]
        if key.endswith("bias"):
            array: Array = np.zeros(shape, dtype)
        elif len(shape) == 1:
            array = np.ones(shape, dtype)
        else:
            array = rng.normal(0.0, config.initializer_range, shape).astype(dtype)
        row = _padding_row(key, config)
        if row is not None:
            array[row] = 0.0
        array.flags.writeable = False
        return array

    return build(tree, config, get, prefix)


def _padding_row(key: str, config: BertConfig) -> int | None:
    """Return the row of padding in a table, if it has one."""
    if key.endswith("word_embeddings.weight"):
        return config.padding_idx
    return config.position_padding_idx if key.endswith("position_embeddings.weight") else None


def _generator(seed: object) -> np.random.Generator:
    """Return the generator of a seed; raise InputError if it is none."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(must_be("seed", "an integer from 0", seed))
    return np.random.default_rng(int(seed))


def new_model(config: BertConfig, seed: int) -> BertParameters:
    """Return the weights of a new BertModel, in float32."""
    rng = _generator(seed)
    return new_parameters(BertParameters, config, np.dtype("float32"), rng)


def new_head(
    kind: Head, config: BertConfig, parameters: BertParameters, seed: int
) -> tuple[Any, BertParameters]:
    """Return a new head, and the parameters under it, with a new pooler if it needs one."""
    rng, dtype = _generator(seed), parameters.embeddings.LayerNorm.weight.dtype
    head = new_parameters(kind.parameters, config, dtype, rng)
    if "pooled" in kind.reads and parameters.pooler is None:
        pooler = new_parameters(BertPoolerParameters, config, dtype, rng, "pooler.")
        parameters = replace(parameters, pooler=pooler)
    return head, parameters
