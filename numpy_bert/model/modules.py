"""The smallest parts of a model, called as torch's modules are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, StoredArray, as_floats, widen
from numpy_bert.ops.dropout import dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm

__all__ = ["Dropout", "Embedding", "LayerNorm"]


class Embedding:
    """A look-up table that is called with ids, as ``torch.nn.Embedding`` is."""

    def __init__(self, table: StoredArray, name: str, dtype: np.dtype[Any]) -> None:
        self._table = table
        self._name = name
        self._dtype = dtype

    @property
    def weight(self) -> Array:
        """The whole table in the model's dtype; a fresh copy where it is stored in another."""
        return widen(self._table, self._dtype)

    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the rows (*input.shape, H) of the ids; InputError names one out of range."""
        return embedding(
            input,
            self._table,
            dtype=self._dtype,
            ids_name=f"{self._name}: ids",
            table_name=self._name,
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNorm:
    """Layer normalization that is called with rows, as ``torch.nn.LayerNorm`` is.

    Attributes
    ----------
    weight, bias : ndarray of shape (H,)
        Scale and shift per feature.
    eps : float
        Added to the variance under the root.
    """

    weight: Array
    bias: Array
    eps: float

    @np.errstate(all="ignore")  # also where the caller's own settings would raise
    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the normalized rows, of the shape and dtype of `input`."""
        rows = as_floats(input, name="LayerNorm: input")
        return layer_norm(rows, self.weight, self.bias, eps=self.eps).output


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Inverted dropout: the identity, unless an `rng` or a `keep` mask is given.

    Attributes
    ----------
    p : float
        How likely an element is dropped; the model's config says it.
    """

    p: float

    @np.errstate(all="ignore")
    def __call__(
        self,
        input: npt.ArrayLike,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
    ) -> Array:
        """Return `input` with elements dropped; see `numpy_bert.ops.dropout.dropout`."""
        return dropout(as_floats(input, name="dropout: input"), self.p, rng=rng, keep=keep).output
