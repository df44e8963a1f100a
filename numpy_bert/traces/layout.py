"""The shape of every step, and arrays with other axes brought into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.config import BertConfig
from numpy_bert.errors import TraceError

__all__ = ["arranged", "shape_of", "sizes_of"]


def sizes_of(config: BertConfig, batch: int, length: int) -> dict[str, int]:
    """Return what each letter of a shape stands for.

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
    }


def shape_of(axes: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of an array by the letters of its axes.

    Examples
    --------
    >>> shape_of("1TH", {"1": 1, "T": 7, "H": 384})
    (1, 7, 384)
    """
    return tuple(sizes[letter] for letter in axes)


def arranged(array: npt.NDArray[Any], axes: str, wanted: str, name: str) -> npt.NDArray[Any]:
    """Return an array in the order of a step's axes: heads beside each other, a batch of one added.

    Parameters
    ----------
    array : ndarray
        As a port has it.
    axes : str
        The letters of its axes; A and D together are H.
    wanted : str
        The letters of the step's axes.
    name : str
        What an error calls it.

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
            f"{name}: an array of shape {array.shape} has not the axes {axes}, or they are "
            f"not {wanted} in another order; mend the name map."
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
    """Return where the axis of a letter is; of several with that letter, the one of this number."""
    return [place for place, other in enumerate(axes) if other == letter][number]
