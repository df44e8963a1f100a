"""The dense layer between an embedding and an encoder of other widths, in float32."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy import add

from numpy_bert.arrays import Array
from numpy_bert.kernels.dense import Dense
from numpy_bert.kernels.threads import blas_threads, free_threads, share
from numpy_bert.parameters import LinearParameters

__all__ = ["Projection"]

# Rows for each thread from which ours are worth waking: a layer does some hundred times as much.
_LEAST_ROWS = 512
# NumPy's warnings off, also where the caller's own settings would raise.
_SILENT = np.errstate(all="ignore")


class Projection:
    """A dense layer, prepared. Calls share it, threads too.

    The twin of `numpy_bert.ops.linear`.

    Parameters
    ----------
    parameters : LinearParameters
        The weight (H, E) and the bias, float32, which are not to be changed afterwards.
    """

    def __init__(self, parameters: LinearParameters) -> None:
        self._dense, self._bias = Dense(parameters.weight), parameters.bias

    def __call__(self, x: Array) -> Array:
        """Return what becomes of rows (N, E), C-contiguous: (N, H)."""
        out = np.empty((len(x), len(self._bias)), np.float32)
        count = max(1, min(free_threads(), len(x) // _LEAST_ROWS))
        cuts = [slice(len(x) * n // count, len(x) * (n + 1) // count) for n in range(count)]
        with blas_threads(1):
            share(partial(self._project, x, out), cuts)
        return out

    @_SILENT
    def _project(self, x: Array, out: Array, rows: slice) -> None:
        """Write some rows."""
        own = out[rows]
        self._dense(x[rows], own)
        add(own, self._bias, own)
