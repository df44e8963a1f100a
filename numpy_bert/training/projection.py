"""The map from a student's features to its teacher's: drawn anew, or what the student has."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.dense import Dense, identity
from numpy_bert.encoding.head import read_head
from numpy_bert.encoding.recipe import Recipe
from numpy_bert.errors import InputError
from numpy_bert.parameters import LinearParameters

__all__ = ["new_projection", "stored_projection"]


def new_projection(ins: int, outs: int, dtype: np.dtype[Any], *, seed: int = 0) -> LinearParameters:
    """Make a map: the identity where both have as many features, else one that is drawn.

    Parameters
    ----------
    ins, outs : int
        Features of the student and of the teacher.
    dtype : dtype
        Of the map.
    seed : int
        Of what is drawn, evenly within 1 / sqrt(ins), as torch.nn.Linear is.

    Raises
    ------
    InputError
        If the teacher has no feature.

    Examples
    --------
    >>> new_projection(2, 2, np.dtype("f4")).weight
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> new_projection(4, 3, np.dtype("f4")).weight.shape
    (3, 4)
    """
    if outs < 1:
        raise InputError(f"features = {outs}; those of a teacher's vectors were expected.")
    if ins == outs:
        return LinearParameters(weight=np.eye(ins, dtype=dtype), bias=np.zeros(outs, dtype))
    rng, limit = np.random.default_rng(seed), ins**-0.5
    weight: Array = rng.uniform(-limit, limit, (outs, ins)).astype(dtype)
    bias: Array = rng.uniform(-limit, limit, outs).astype(dtype)
    return LinearParameters(weight=weight, bias=bias)


def stored_projection(
    recipe: Recipe, ins: int, outs: int, dtype: np.dtype[Any]
) -> LinearParameters | None:
    """Return the map that a sentence model has, if it is one from the mean to so many features.

    Parameters
    ----------
    recipe : Recipe
        What the model's files say.
    ins, outs, dtype
        As of `new_projection`.

    Examples
    --------
    >>> from numpy_bert.encoding.recipe import read_recipe
    >>> from numpy_bert.loading.cache import demo_folder
    >>> found = stored_projection(read_recipe(demo_folder()), 128, 384, np.dtype("f4"))
    >>> found.weight.shape
    (384, 128)
    """
    if recipe.pooling != ("mean",):
        return None
    steps = read_head(recipe, ins, dtype, mapped=False).steps
    layers = [step for step in steps if isinstance(step, Dense)]
    if len(layers) != 1 or layers[0].weight.shape != (outs, ins):
        return None
    layer = layers[0]
    if layer.activation is not identity or layer.residual is not None or layer.adds_input:
        return None
    bias: Array = np.zeros(outs, dtype) if layer.bias is None else layer.bias
    return LinearParameters(weight=layer.weight, bias=bias)
