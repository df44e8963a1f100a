"""The modules of sentence-transformers that stand before and behind the pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.recipe import (
    IN_AND_OUT,
    WIDTHS,
    Recipe,
    bad_member,
    check_in_and_out,
    check_known,
)
from numpy_bert.errors import CheckpointError, ConfigError, InputError
from numpy_bert.files import is_listed, read_json
from numpy_bert.inputs import packed_inputs, padded
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.formats import converted
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.loading.tensors import read_weight
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.model.faults import check_finite, check_weights
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.layer_norm import layer_norm, layer_norm_backward
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.ops.normalize import normalize as unit
from numpy_bert.ops.normalize import normalize_backward
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS, activation_named

__all__ = [
    "Dense",
    "LayerNorm",
    "ModuleGradients",
    "PooledModules",
    "WeightedLayerPooling",
    "read_pooled_modules",
]

_MOST_FEATURES = 1 << 24
# The modules before those: a Transformer and a Pooling.
_BEFORE_POOLED = 2
# The fields of a module that hold arrays.
_ARRAYS = ("weight", "bias", "residual")
# What an activation of a Dense is gone back through by.
_BACKWARDS = {known.forward: known.backward for known in ACTIVATIONS.values()}
# torch.nn.LayerNorm's own epsilon, which the files do not state.
_EPS = 1e-5
# What counts where a config.json does not state it.
_LAYER_DEFAULTS: Mapping[str, Any] = MappingProxyType({"num_hidden_layers": 12, "layer_start": 4})
_DENSE_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
        "use_residual": False,
    }
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WeightedLayerPooling:
    """A weighted mean of the layers' hidden states, which takes the place of the last one.

    Attributes
    ----------
    start : int
        The first of the hidden states that count; 0 is the embedding's.
    weight : ndarray of shape (n,)
        The weight of each hidden state from there to the last.
    """

    __repr__ = short_repr

    start: int
    weight: Array

    @classmethod
    def read(
        cls, folder: Path, model: BertModel, dtype: np.dtype[Any], *, mapped: bool
    ) -> WeightedLayerPooling:
        """Read the module of a folder: config.json and model.safetensors.

        Raises
        ------
        ConfigError
            If a member is unknown, or does not fit the model.
        CheckpointError
            If the weights are pickled, or do not fit the config.

        References
        ----------
        .. [1] sentence-transformers, sentence_transformer/modules/weighted_layer_pooling.py.
        """
        path = folder / "config.json"
        stated = read_json(path, error=ConfigError)
        check_known(path, stated, (*WIDTHS, *_LAYER_DEFAULTS), cls.__name__)
        config = {**_LAYER_DEFAULTS, **stated}
        layers, start = config["num_hidden_layers"], config["layer_start"]
        own = model.config.num_hidden_layers
        if type(layers) is not int or layers != own:
            raise bad_member(path, "num_hidden_layers", layers, f"{own}, as the model has")
        if type(start) is not int or not 0 <= start <= layers:
            raise bad_member(path, "layer_start", start, f"a number from 0 to {layers}")
        needed = {"layer_weights": (layers + 1 - start,)}
        weight = _read_weights(folder, needed, dtype, mapped=mapped)["layer_weights"]
        with np.errstate(all="ignore"):
            total = weight.sum()
        if total == 0.0:
            raise CheckpointError(
                f"{folder / SINGLE}: layer_weights must not add up to 0, by which their mean is "
                "divided; they do."
            )
        return cls(start=start, weight=weight)

    def __call__(self, states: Sequence[Array]) -> Array:
        """Return the mean of the states, which are the embedding's to the last layer's."""
        output = np.zeros_like(states[-1])
        for weight, state in zip(self.weight, states[self.start :], strict=True):
            output += weight * state
        output /= self.weight.sum()
        return output

    def packed(self, model: BertModel, ids: IntArray, lengths: IntArray) -> Array:
        """Return the mean for each token, (N, H), of texts that stand one after another."""
        padding = model.config.position_padding_idx
        tables = model.parameters.embeddings
        batch = padded(*packed_inputs(tables, ids, lengths, position_padding=padding))
        states = model.run(batch, output_hidden_states=True).hidden_states
        assert states is not None
        mask = ... if batch.mask is None else batch.mask
        with np.errstate(all="ignore"):
            found = self([state[mask].reshape(-1, state.shape[-1]) for state in states])
        if not np.isfinite(found).all():
            raise CheckpointError(
                "WeightedLayerPooling: layer_weights are so large, or add up to so little, that "
                f"the mean of the layers overflows {found.dtype}. Store them anew, so that they "
                "add up to 1."
            )
        return found


class ModuleGradients(NamedTuple):
    """The gradients of what a module takes, (B, in), and of its arrays by their names."""

    x: Array
    parameters: dict[str, Array]

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """A linear layer and its activation.

    Attributes
    ----------
    weight : ndarray of shape (out, in)
        The matrix, as torch stores it.
    bias : ndarray of shape (out,), or None
        What is added to the product.
    activation : callable
        What is applied to the sum.
    residual : ndarray of shape (out, in), or None
        What the input is multiplied by before it is added to the result.
    adds_input : bool
        Whether the input itself is added to the result.
    """

    __repr__ = short_repr

    weight: Array
    bias: Array | None
    activation: Callable[[Array], Array]
    residual: Array | None = None
    adds_input: bool = False

    @classmethod
    def read(cls, folder: Path, dtype: np.dtype[Any], *, mapped: bool) -> Dense:
        """Read the module of a folder: config.json and model.safetensors.

        Raises
        ------
        ConfigError
            If a member is unknown, of the wrong type, or names what is not supported.
        CheckpointError
            If the weights are pickled, or do not fit the config.
        """
        path = folder / "config.json"
        stated = read_json(path, error=ConfigError)
        known = ("in_features", "out_features", *IN_AND_OUT, *_DENSE_DEFAULTS)
        check_known(path, stated, known, cls.__name__)
        config = {**_DENSE_DEFAULTS, **stated}
        shape = outs, ins = _size(path, "out_features", config), _size(path, "in_features", config)
        for name in ("bias", "use_residual"):
            if type(config[name]) is not bool:
                raise bad_member(path, name, config[name], "true or false")
        check_in_and_out(path, config)
        activation = activation_named(config["activation_function"])
        if activation is None:
            wanted = f"one of torch.nn's {', '.join(TORCH_ACTIVATIONS)}"
            raise bad_member(path, "activation_function", config["activation_function"], wanted)
        needed: dict[str, tuple[int, ...]] = {"linear.weight": shape}
        if config["bias"]:
            needed["linear.bias"] = (outs,)
        if config["use_residual"] and outs != ins:
            needed["residual.weight"] = shape
        weights = _read_weights(folder, needed, dtype, mapped=mapped)
        return cls(
            weight=weights["linear.weight"],
            bias=weights.get("linear.bias"),
            activation=activation,
            residual=weights.get("residual.weight"),
            adds_input=config["use_residual"] and outs == ins,
        )

    @property
    def in_features(self) -> int:
        """How many features it takes."""
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        """How many features it makes."""
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

    def backward(self, grad: Array, vectors: Array) -> ModuleGradients:
        """Return the gradients of the layer's arrays and of the vectors, from the result's.

        Raises
        ------
        InputError
            If the activation is none that can be gone back through.
        """
        backward = _BACKWARDS.get(self.activation)
        if backward is None:
            raise InputError(
                f"the activation of a Dense is {self.activation.__name__.strip('_')}, of which "
                "there is no gradient here, so that the model cannot be trained."
            )
        bias = np.zeros(len(self.weight), grad.dtype) if self.bias is None else self.bias
        inner = backward(grad, linear(vectors, self.weight, bias))
        back = linear_backward(inner, vectors, self.weight)
        found = {"weight": back.weight} | ({} if self.bias is None else {"bias": back.bias})
        if self.adds_input:
            return ModuleGradients(back.x + grad, found)
        if self.residual is None:
            return ModuleGradients(back.x, found)
        beside = linear_backward(grad, vectors, self.residual)
        return ModuleGradients(back.x + beside.x, {**found, "residual": beside.weight})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNorm:
    """Vectors brought to mean 0 and variance 1, then scaled and shifted.

    Attributes
    ----------
    weight, bias : ndarray of shape (in,)
        Scale and shift of each feature.
    """

    __repr__ = short_repr

    weight: Array
    bias: Array

    @classmethod
    def read(cls, folder: Path, dtype: np.dtype[Any], *, mapped: bool) -> LayerNorm:
        """Read the module of a folder: config.json and model.safetensors.

        Raises
        ------
        ConfigError
            If config.json says anything but the number of features.
        CheckpointError
            If the weights are pickled, or do not fit the config.

        References
        ----------
        .. [1] sentence-transformers, sentence_transformer/modules/layer_norm.py.
        """
        path = folder / "config.json"
        stated = read_json(path, error=ConfigError)
        check_known(path, stated, ("dimension",), cls.__name__)
        size = _size(path, "dimension", stated)
        needed = {"norm.weight": (size,), "norm.bias": (size,)}
        weights = _read_weights(folder, needed, dtype, mapped=mapped)
        return cls(weight=weights["norm.weight"], bias=weights["norm.bias"])

    @property
    def in_features(self) -> int:
        """How many features it takes, and makes."""
        return len(self.weight)

    out_features = in_features

    def __call__(self, vectors: Array) -> Array:
        """Apply the layer to vectors of shape (B, in)."""
        return layer_norm(vectors, self.weight, self.bias, eps=_EPS).output

    def backward(self, grad: Array, vectors: Array) -> ModuleGradients:
        """Return the gradients of the layer's arrays and of the vectors, from the result's."""
        steps = layer_norm(vectors, self.weight, self.bias, eps=_EPS)
        found = layer_norm_backward(grad, steps, self.weight)
        return ModuleGradients(found.x, {"weight": found.weight, "bias": found.bias})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PooledModules:
    """The modules from a pooled vector to the result.

    Attributes
    ----------
    in_features : int
        How many features they take.
    modules : tuple of callable
        Dense layers, LayerNorms and `normalize`, in order.
    scales_last : bool
        Whether vectors are scaled to length 1 after all, truncation included.
    source : str
        The folder that they are from, for messages.
    """

    __repr__ = short_repr

    in_features: int
    modules: tuple[Callable[[Array], Array], ...] = ()
    scales_last: bool = False
    source: str = "the modules behind the pooling"

    @property
    def out_features(self) -> int:
        """How many features they make, before truncation."""
        return self._sized[-1].out_features if self._sized else self.in_features

    @property
    def _sized(self) -> list[Dense | LayerNorm]:
        """Those that have weights, and so take vectors of one length alone."""
        return [module for module in self.modules if isinstance(module, (Dense, LayerNorm))]

    def __call__(self, pooled: Array, width: int) -> Array:
        """Return the first `width` features of the result, (B, width), of pooled vectors.

        Raises
        ------
        CheckpointError
            If it is not finite; the weight or the module is named.
        """
        with np.errstate(all="ignore"):
            vectors = pooled
            for module in self.modules:
                vectors = module(vectors)
            if not np.isfinite(vectors).all():
                check_finite(
                    (vectors,),
                    {f"{name}.": array for name, array in self.named_parameters()},
                    steps=self._steps(pooled),
                    source=self.source,
                )
            cut = vectors[:, :width]
            return normalize(cut) if self.scales_last else cut

    def _steps(self, pooled: Array) -> Iterator[tuple[str, Array]]:
        """Yield what each module makes of pooled vectors, after these themselves."""
        yield "the pooling", pooled
        for prefix, module in self._named():
            pooled = module(pooled)
            yield prefix, pooled

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every array with its name: the module's number, its kind and the field.

        Modules are counted as in modules.json, where a Transformer and a Pooling stand before
        them.

        Examples
        --------
        >>> layer = LayerNorm(weight=np.ones(2), bias=np.zeros(2))
        >>> modules = PooledModules(in_features=2, modules=(normalize, layer))
        >>> [name for name, _ in modules.named_parameters()]
        ['3.LayerNorm.weight', '3.LayerNorm.bias']
        """
        for prefix, module in self._named():
            for field in _ARRAYS:
                array = getattr(module, field, None)
                if array is not None:
                    yield f"{prefix}.{field}", array

    def with_parameters(self, arrays: Mapping[str, Array]) -> PooledModules:
        """Return the same modules with other arrays, by the names of `named_parameters`."""
        given = dict(self.named_parameters())
        modules = list(self.modules)
        for number, (prefix, module) in enumerate(self._named()):
            names = [field for field in _ARRAYS if f"{prefix}.{field}" in given]
            if isinstance(module, (Dense, LayerNorm)):
                own: Any = {field: arrays[f"{prefix}.{field}"] for field in names}
                modules[number] = replace(module, **own)
        return replace(self, modules=tuple(modules))

    def backward(self, grad: Array, pooled: Array) -> ModuleGradients:
        """Return the gradients of all arrays and of the pooled vectors, from the last module's.

        Parameters
        ----------
        grad : ndarray of shape (B, out)
            The gradient of what the last module returned, before truncation.
        pooled : ndarray of shape (B, in)
            What the modules were called with.

        Raises
        ------
        InputError
            If a module is none that can be gone back through.
        """
        inputs = [pooled]
        for module in self.modules:
            inputs.append(module(inputs[-1]))
        found: dict[str, Array] = {}
        for (prefix, module), x in list(zip(self._named(), inputs[:-1], strict=True))[::-1]:
            if isinstance(module, (Dense, LayerNorm)):
                back = module.backward(grad, x)
                grad = back.x
                found |= {f"{prefix}.{field}": array for field, array in back.parameters.items()}
            else:
                wide = grad.astype(np.float64, copy=False)
                grad = normalize_backward(wide, unit(x)).astype(x.dtype, copy=False)
        return ModuleGradients(grad, found)

    def _named(self) -> list[tuple[str, Callable[[Array], Array]]]:
        """Return the modules with the starts of their parameters' names."""
        kinds = {Dense: "dense", LayerNorm: "LayerNorm"}
        return [
            (f"{number}.{kinds.get(type(module), '')}", module)
            for number, module in enumerate(self.modules, _BEFORE_POOLED)
        ]

    def fitted(self, in_features: int) -> PooledModules:
        """Return the modules for another pooling.

        Raises
        ------
        InputError
            If a module takes vectors of another width.
        """
        for module in self._sized[:1]:
            if module.in_features != in_features:
                raise InputError(
                    f"pooling must make {module.in_features} features, which the model's "
                    f"{type(module).__name__} takes; got {in_features}. Name as many modes as the "
                    "model's files do."
                )
        return replace(self, in_features=in_features)


def read_pooled_modules(
    recipe: Recipe, hidden_size: int, dtype: np.dtype[Any], *, mapped: bool
) -> PooledModules:
    """Read the modules behind the pooling.

    Raises
    ------
    ConfigError, CheckpointError
        If a module is malformed, or does not take what the one before it makes.
    """
    if recipe.width not in (None, hidden_size):
        raise ConfigError(
            f"{recipe.folder}: the pooling must be for {hidden_size} features, as the model has; "
            f"got {quoted(recipe.width)}."
        )
    width = in_features = len(recipe.pooling) * hidden_size
    modules: list[Callable[[Array], Array]] = []
    for kind, folder in recipe.behind:
        if kind == "Normalize":
            modules.append(normalize)
            continue
        reader, name = (Dense, "in_features") if kind == "Dense" else (LayerNorm, "dimension")
        module: Dense | LayerNorm = reader.read(folder, dtype, mapped=mapped)
        if module.in_features != width:
            wanted = f"{width}, which the module before makes"
            raise bad_member(folder / "config.json", name, module.in_features, wanted)
        width = module.out_features
        modules.append(module)
    source = str(recipe.folder)
    return PooledModules(in_features=in_features, modules=tuple(modules), source=source)


def _size(path: Path, name: str, config: Mapping[str, Any]) -> int:
    """Return the number of features that a member states; raise ConfigError if no layer has it."""
    value = config.get(name)
    if type(value) is not int or not 1 <= value <= _MOST_FEATURES:
        raise bad_member(path, name, value, "a whole number from 1")
    return value


def _read_weights(
    folder: Path, needed: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], *, mapped: bool
) -> dict[str, Array]:
    """Read the tensors that are needed, all finite, from a folder in which no others may be."""
    path = folder / SINGLE
    if not is_listed(path):
        pickle = path.with_name("pytorch_model.bin")
        what = (
            f"has only pickled weights ({pickle.name}); they are refused, since opening a pickle "
            "runs whatever code is in it. " + converted(str(folder.parent), sentence=True)
            if is_listed(pickle)
            else f"has no {path.name}; `numpy-bert fetch` gets it."
        )
        raise CheckpointError(f"{folder}: {what}")
    tensors = SafetensorsFile(path).tensors
    if set(tensors) != set(needed):
        raise CheckpointError(
            f"{path}: must hold {', '.join(needed)}, as its config.json says; got "
            f"{quoted(', '.join(sorted(tensors)))}."
        )
    for key, shape in needed.items():
        if tensors[key].shape != shape or not tensors[key].is_float:
            raise CheckpointError(
                f"{path}: {key} must be floats of shape {shape}, as its config.json says; got "
                f"{quoted(tensors[key].dtype)} of shape {tensors[key].shape}."
            )
    weights = {key: read_weight(tensors[key], dtype, mapped=mapped) for key in needed}
    check_weights({f"{key}.": weight for key, weight in weights.items()}, source=str(path))
    return weights
