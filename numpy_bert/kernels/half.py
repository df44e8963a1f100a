"""Half-size numbers to float32, exactly, a block at a time and without a fresh array.

NumPy converts float16 one element at a time, and has no bfloat16 at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array

__all__ = ["widen_into", "widened"]

_EXPONENT = np.array(0x7C00, np.uint16)
_LEFT_OF_FLOAT16 = np.array(13, np.int32)  # 23 bits of fraction instead of 10
_LEFT_OF_BFLOAT16 = np.array(16, np.uint32)
# A sign that was extended to 32 bits fills the upper exponent bits too; these are without them.
_SIGN_AND_VALUE = np.array(0x8FFFFFFF - (1 << 32), np.int32)
_REBIAS = np.array(2.0**112, np.float32)  # 127 - 15
_SUBNORMAL = np.array(2.0**-140, np.float32)


def widen_into(stored: npt.NDArray[Any], out: Array) -> None:
    """Write `stored` (float32, float16, or bfloat16 as uint16) into a float32 array of its shape.

    Both are contiguous. The result is exact for every value: signs, subnormals, infinities and NaN
    (which may lose its payload).

    Examples
    --------
    >>> out = np.empty(2, np.float32)
    >>> widen_into(np.array([0x3F80, 0xC000], np.uint16), out)
    >>> out
    array([ 1., -2.], dtype=float32)
    """
    if stored.dtype == np.uint16:
        bits = out.view(np.uint32)
        np.copyto(bits, stored)
        np.left_shift(bits, _LEFT_OF_BFLOAT16, out=bits)
    elif stored.dtype == np.float16 and _is_finite(stored) and np.multiply(_SUBNORMAL, _REBIAS):
        # Through float32's own subnormals, which this thread does not take for 0.
        signed = out.view(np.int32)
        np.copyto(signed, stored.view(np.int16))
        np.left_shift(signed, _LEFT_OF_FLOAT16, out=signed)
        np.bitwise_and(signed, _SIGN_AND_VALUE, out=signed)
        np.multiply(out, _REBIAS, out=out)
    else:
        np.copyto(out, stored)


def widened(stored: npt.NDArray[Any]) -> Array:
    """Return numbers as float32; an array that is float32 is returned itself."""
    if stored.itemsize == 4:
        return stored
    out = np.empty(stored.shape, np.float32)
    widen_into(np.ascontiguousarray(stored), out)
    return out


def _is_finite(stored: npt.NDArray[Any]) -> bool:
    """Tell whether no float16 has the exponent of infinity and NaN."""
    exponents = np.bitwise_and(stored.view(np.uint16), _EXPONENT).ravel()
    return not exponents.size or bool(exponents[exponents.argmax()] < _EXPONENT)
