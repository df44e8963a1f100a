"""A new map from a student's features to its teacher's."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.parameters import LinearParameters

__all__ = ["new_projection"]


def new_projection(ins: int, outs: int, dtype: np.dtype[Any], *, seed: int = 0) -> LinearParameters:
    """Make a map: the identity where both have as many features, else one that is drawn.

    Parameters
    ----------
    ins, outs : int
        The numbers of features of the student and of the teacher.
    dtype : dtype
        The dtype of the map.
    seed : int
        The seed of what is drawn, evenly within 1 / sqrt(ins), as for torch.nn.Linear.

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
        raise InputError(f"features must be those of a teacher's vectors, from 1; got {outs}.")
    if ins == outs:
        return LinearParameters(weight=np.eye(ins, dtype=dtype), bias=np.zeros(outs, dtype))
    rng, limit = np.random.default_rng(seed), ins**-0.5
    weight: Array = rng.uniform(-limit, limit, (outs, ins)).astype(dtype)
    bias: Array = rng.uniform(-limit, limit, outs).astype(dtype)
    return LinearParameters(weight=weight, bias=bias)
