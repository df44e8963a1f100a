"""Arrays as a page carries them: exact, or quantized for drawing; base64 of little-endian bytes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from numpy_bert.arrays import Array

__all__ = ["exact", "quantized"]

_LEVELS = 32767


def exact(array: Array) -> dict[str, Any]:
    """Pack an array to the bit, float32 or float64.

    Examples
    --------
    >>> exact(np.array([[1.0]], np.float32))
    {'dtype': 'float32', 'shape': [1, 1], 'base64': 'AACAPw=='}
    """
    return _packed(array, array.dtype.name)


def quantized(array: Array) -> dict[str, Any]:
    """Pack an array in 16 bits a value: whole numbers that are to be multiplied by ``scale``.

    A value is off by half of ``scale`` at most, which is the largest size over 32767.

    Examples
    --------
    >>> packed = quantized(np.array([0.5, -1.0]))
    >>> packed["dtype"], packed["scale"] * 32767
    ('int16', 1.0)
    """
    largest = float(np.abs(array).max(initial=0.0))
    scale = largest / _LEVELS or 1.0
    levels = np.rint(array.astype(np.float64) / scale).astype(np.int16)
    return _packed(levels, "int16") | {"scale": scale}


def _packed(array: Any, dtype: str) -> dict[str, Any]:
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {
        "dtype": dtype,
        "shape": list(array.shape),
        "base64": base64.b64encode(data).decode("ascii"),
    }
