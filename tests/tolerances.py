"""How far a result may be from its reference: the one place where a tolerance is written.

Against the float64 specification a float32 error of ours is at most twice torch's own, or 1e-6
where torch is nearer; look-ups and sums are equal to the bit; float64 agrees with torch's float64
to 1e-12 at this depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT32_FLOOR = 1e-6
FLOAT64_AGAINST_TORCH = 1e-12
# The notebook's parts are printed to four decimals, so sums of them are off by up to 8.8e-5.
NOTEBOOK_SUM = 1.1e-4


def float32_budget(
    reference: npt.NDArray[Any], torch_result: npt.NDArray[Any] | None = None
) -> float:
    """Return the largest error that a float32 result may have against the float64 `reference`."""
    if torch_result is None:
        return FLOAT32_FLOOR
    torch_error = float(np.abs(torch_result.astype(np.float64) - reference).max(initial=0.0))
    return max(FLOAT32_FLOOR, 2.0 * torch_error)
