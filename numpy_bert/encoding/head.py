"""What comes behind the pooling: dense layers, LayerNorm, normalization, truncation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.dense import Dense, read_dense
from numpy_bert.encoding.norm import LayerNorm, read_layer_norm
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.recipe import Recipe
from numpy_bert.errors import ConfigError, InputError

__all__ = ["Head", "read_head"]

# What has weights, and so takes vectors of one length alone.
_LAYERS = (Dense, LayerNorm)
_READERS: Mapping[str, Callable[..., Dense | LayerNorm]] = MappingProxyType(
    {"Dense": read_dense, "LayerNorm": read_layer_norm}
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Head:
    """The steps from a pooled vector to the result.

    Attributes
    ----------
    pooled : int
        Features that it takes.
    steps : tuple of callable
        Dense layers, LayerNorms and `normalize`, in order.
    scales_last : bool
        Whether vectors are scaled to length 1 after all, truncation included.
    """

    pooled: int
    steps: tuple[Callable[[Array], Array], ...] = ()
    scales_last: bool = False

    @property
    def width(self) -> int:
        """Features that it makes, before truncation."""
        widths = [step.out_features for step in self.steps if isinstance(step, _LAYERS)]
        return widths[-1] if widths else self.pooled

    def __call__(self, pooled: Array, width: int) -> Array:
        """Return the result, (B, width), of pooled vectors."""
        with np.errstate(all="ignore"):
            for step in self.steps:
                pooled = step(pooled)
            cut = pooled[:, :width]
            return normalize(cut) if self.scales_last else cut

    def fitted(self, pooled: int, scales: bool | None) -> Head:
        """Return the head for another pooling's width, and with normalization as it is asked for.

        False leaves out what normalizes last; True normalizes once more, after truncation.

        Raises
        ------
        InputError
            If a layer takes vectors of another width.
        """
        first = next((step for step in self.steps if isinstance(step, _LAYERS)), None)
        if first is not None and first.in_features != pooled:
            raise InputError(
                f"pooling: makes vectors of {pooled} features; the model's "
                f"{'dense layer' if isinstance(first, Dense) else 'LayerNorm'} takes "
                f"{first.in_features}."
            )
        steps = self.steps
        while scales is not None and not scales and steps and steps[-1] is normalize:
            steps = steps[:-1]
        return Head(pooled=pooled, steps=steps, scales_last=bool(scales))


def read_head(recipe: Recipe, hidden_size: int, dtype: np.dtype[Any], *, mapped: bool) -> Head:
    """Read the layers behind the pooling.

    Raises
    ------
    ConfigError, CheckpointError
        If a layer is malformed, or does not take what the one before it makes.
    """
    if recipe.width not in (None, hidden_size):
        raise ConfigError(
            f"{recipe.folder}: the pooling is for {recipe.width} features, the model has "
            f"{hidden_size}."
        )
    width = pooled = len(recipe.pooling) * hidden_size
    steps: list[Callable[[Array], Array]] = []
    for kind, folder in recipe.behind:
        if kind == "Normalize":
            steps.append(normalize)
            continue
        layer = _READERS[kind](folder, dtype, mapped=mapped)
        if layer.in_features != width:
            name = "in_features" if kind == "Dense" else "dimension"
            raise ConfigError(
                f"{folder / 'config.json'}: {name} = {layer.in_features}; {width}, which "
                "comes from the module before, was expected."
            )
        width = layer.out_features
        steps.append(layer)
    return Head(pooled=pooled, steps=tuple(steps))
