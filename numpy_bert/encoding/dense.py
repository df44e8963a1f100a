"""A dense layer behind the pooling, as sentence-transformers stores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.activations import TORCH_ACTIVATIONS, activation_named
from numpy_bert.encoding.members import as_features, bad_member, check_known
from numpy_bert.errors import CheckpointError, ConfigError
from numpy_bert.files import read_json
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.formats import converted
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.loading.tensors import read_weight
from numpy_bert.messages import quoted

__all__ = ["Dense", "read_dense", "read_weights"]

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
        "module_input_name": "sentence_embedding",
        "module_output_name": "sentence_embedding",
        "use_residual": False,
    }
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """A linear layer and its activation.

    Attributes
    ----------
    weight : ndarray of shape (out, in)
        As torch stores it.
    bias : ndarray of shape (out,), or None
        Added to the product.
    activation : callable
        Element by element.
    residual : ndarray of shape (out, in), or None
        What the input is multiplied by before it is added to the result.
    adds_input : bool
        Whether the input itself is added to the result.
    """

    weight: Array
    bias: Array | None
    activation: Callable[[Array], Array]
    residual: Array | None = None
    adds_input: bool = False

    @property
    def in_features(self) -> int:
        """Length of the vectors that it takes."""
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        """Length of the vectors that it makes."""
        return int(self.weight.shape[0])

    def __call__(self, vectors: Array) -> Array:
        """Apply the layer to vectors of shape (B, in)."""
        output: Array = vectors @ self.weight.T
        if self.bias is not None:
            output += self.bias
        output = self.activation(output)
        if self.adds_input:
            return output + vectors
        return output if self.residual is None else output + vectors @ self.residual.T


def read_dense(folder: Path, dtype: np.dtype[Any], *, mapped: bool) -> Dense:
    """Read the dense layer of a folder: config.json and model.safetensors.

    Raises
    ------
    ConfigError
        If a member is unknown, of the wrong type, or names what is not supported.
    CheckpointError
        If the weights are pickled, or do not fit the config.
    """
    path = folder / "config.json"
    stated = read_json(path, error=ConfigError)
    known = {"in_features", "out_features", *_DEFAULTS}
    check_known(path, stated, known, "Dense")
    config = {**_DEFAULTS, **stated}
    sizes = [as_features(path, name, config.get(name)) for name in ("out_features", "in_features")]
    for name in ("bias", "use_residual"):
        if type(config[name]) is not bool:
            raise bad_member(path, name, config[name], "true or false")
    for name in ("module_input_name", "module_output_name"):
        if config[name] not in ("sentence_embedding", None):
            raise bad_member(path, name, config[name], "'sentence_embedding'")
    residual = config["use_residual"] and sizes[0] != sizes[1]
    shapes = {"linear.weight": tuple(sizes), "linear.bias": (sizes[0],)}
    shapes |= {"residual.weight": tuple(sizes)}
    present = {"linear.weight": True, "linear.bias": config["bias"], "residual.weight": residual}
    needed = {key: shape for key, shape in shapes.items() if present[key]}
    weights = read_weights(folder / SINGLE, needed, dtype, mapped=mapped)
    return Dense(
        weight=weights["linear.weight"],
        bias=weights.get("linear.bias"),
        activation=_activation(path, config["activation_function"]),
        residual=weights.get("residual.weight"),
        adds_input=config["use_residual"] and not residual,
    )


def read_weights(
    path: Path, needed: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], *, mapped: bool
) -> dict[str, Array]:
    """Read the tensors that are needed, and no others may be there."""
    if not path.exists():
        pickle = path.with_name("pytorch_model.bin")
        what = (
            f"has only pickled weights ({pickle.name}); they are refused, since opening a pickle "
            "runs whatever code is in it. " + converted(str(path.parent.parent), sentence=True)
            if pickle.exists()
            else f"has no {path.name}; `numpy-bert fetch` gets it."
        )
        raise CheckpointError(f"{path.parent}: {what}")
    tensors = SafetensorsFile(path).tensors
    if set(tensors) != set(needed):
        raise CheckpointError(
            f"{path}: holds {quoted(', '.join(sorted(tensors)))}; its config.json asks for "
            f"{', '.join(needed)}."
        )
    for key, shape in needed.items():
        if tensors[key].shape != shape or not tensors[key].is_float:
            raise CheckpointError(
                f"{path}: {key} is {tensors[key].shape}, {quoted(tensors[key].dtype)}; floats of "
                f"the shape {shape} were expected, as its config.json says."
            )
    return {key: read_weight(tensors[key], dtype, mapped=mapped) for key in needed}


def _activation(path: Path, name: object) -> Callable[[Array], Array]:
    """Return the activation that torch's dotted name stands for."""
    found = activation_named(name)
    if found is None:
        wanted = f"torch.nn's {', '.join(TORCH_ACTIVATIONS)}"
        raise bad_member(path, "activation_function", name, f"one of {wanted}")
    return found
