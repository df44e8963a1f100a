"""How far a result may be from its reference: the one place where a tolerance is written.

The policy (scikit-learn's and design's): against the float64 specification an error of ours is at
most ``max(1e-6, 2 * torch's own error, 2 * eps(float32) * max|reference|)``; look-ups and sums are
equal to the bit; float64 agrees with torch's float64 to 1e-12 at this depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT64_AGAINST_TORCH = 1e-12
# The notebook's parts are printed to four decimals, so sums of them are off by up to 8.8e-5.
NOTEBOOK_SUM = 1.1e-4


def float32_budget(
    reference: npt.NDArray[Any], torch_result: npt.NDArray[Any] | None = None
) -> float:
    """Return the largest error that a float32 result may have against `reference`."""
    scale = 2.0 * float(np.finfo(np.float32).eps) * float(np.abs(reference).max(initial=0.0))
    torch_error = (
        0.0
        if torch_result is None
        else float(np.abs(torch_result.astype(np.float64) - reference).max(initial=0.0))
    )
    return max(1e-6, 2.0 * torch_error, scale)
