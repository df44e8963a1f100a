"""What lasts of a model: in a copy, in a pickle, and on disk as transformers saves it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import numpy as np

from numpy_bert.arrays import Array, widen
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError, NumpyBertError
from numpy_bert.files import (
    as_folder,
    check_output,
    is_listed,
    make_folder,
    write_atomically,
)
from numpy_bert.foreign import no_attribute
from numpy_bert.loading.cache import ALL_TOKENIZER_FILES
from numpy_bert.loading.keys import near_miss, stored
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.messages import listed, quoted, shown
from numpy_bert.model.names import TORCH
from numpy_bert.parameters import (
    TIED,
    BertParameters,
    arrays_of,
    build,
)

if TYPE_CHECKING:
    # Not when a model is loaded: it can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = [
    "Saveable",
    "Stateful",
    "bert_parameters",
    "check_parameters",
    "config_json",
    "tensors_file",
    "write_tensors",
]

Self = TypeVar("Self", bound="Saveable")

_MOST_NAMED = 5
_DECODER_BIAS = "cls.predictions.decoder.bias"
_BIAS = TIED[_DECODER_BIAS]
# Whether no weight of a pickled object may be written to, which NumPy forgets when it pickles.
_READ_ONLY = "_read_only"


class Stateful(ABC):
    """Base of what users hold: weights and settings, and what is prepared of them.

    A copy and a pickle carry the weights, each once and by value, and the settings. Kernels, caches
    and scratch memory are views of one another's memory, which copying would part: a copy prepares
    its own. So a model that has been used is pickled as small as one that has not.

    A subclass lists in `_prepared` what `_prepare` makes, and what else is only a cache; in
    `_fixed` the attributes that other parts were made from, which therefore cannot be set.
    """

    _prepared: ClassVar[frozenset[str]] = frozenset()
    _fixed: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def _trees(self) -> Mapping[str, object]:
        """Return the parameter trees by the prefixes of their keys."""

    def _prepare(self) -> None:  # noqa: B027
        """Make what `_prepared` lists from the weights and settings; some classes make nothing."""

    def __setattr__(self, name: str, value: object) -> None:
        self._check_free(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._check_free(name)
        super().__delattr__(name)

    def _check_free(self, name: str) -> None:
        """Raise AttributeError if other parts were made from an attribute."""
        if name in self._fixed and name in vars(self):
            kind = type(self).__name__
            raise AttributeError(
                f"{kind}.{name} cannot be set, because other parts of the model were made from it; "
                f"make another {kind} instead."
            )

    def __getstate__(self) -> dict[str, Any]:
        arrays = (array for tree in self._trees().values() for _, array in arrays_of(tree))
        state = {name: value for name, value in vars(self).items() if name not in self._prepared}
        return {**state, _READ_ONLY: not any(array.flags.writeable for array in arrays)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: value for name, value in state.items() if name != _READ_ONLY})
        if state[_READ_ONLY]:
            for tree in self._trees().values():
                for _, array in arrays_of(tree):
                    array.flags.writeable = False
        self._prepare()


class Saveable(Stateful):
    """Base of the models: their parameters by name, and how they are saved."""

    config: BertConfig
    loading_info: LoadingInfo
    # Which of the encoders of its architecture a model is, where those have prefixes of their own.
    encoder_name: ClassVar[str] = ""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the model computes in."""

    def __repr__(self) -> str:
        config = self.config
        return (
            f"{type(self).__name__}(num_hidden_layers={config.num_hidden_layers}, "
            f"hidden_size={config.hidden_size}, vocab_size={config.vocab_size}, dtype={self.dtype})"
        )

    @property
    def device(self) -> str:
        """Where the model runs, in torch's words: always "cpu"."""
        return "cpu"

    def to(self: Self, *args: object, **kwargs: object) -> Self:
        """Return the model itself, if it is asked to be what it is: on the CPU, in its dtype."""
        for value in (*args, *kwargs.values()):
            if str(value).removeprefix("torch.") not in ("cpu", self.dtype.name):
                raise InputError(
                    f"{type(self).__name__}.to: is on the CPU in {self.dtype}, and stays so; got "
                    f"{shown(value)}. from_pretrained(dtype=...) takes 'float32' or "
                    "'float64'."
                )
        return self

    def eval(self: Self) -> Self:
        """Return the model itself: dropout is off in every call without `rng`."""
        return self

    if not TYPE_CHECKING:  # to which any name would be an attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name, TORCH)

    def num_parameters(self) -> int:
        """Return how many numbers the parameters are; what is tied counts once.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> BertModel.from_pretrained("demo").num_parameters()
        1503104
        """
        return sum(array.size for tree in self._trees().values() for _, array in arrays_of(tree))

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter with its key in a checkpoint, in the model's dtype.

        A table that is stored in half precision is widened; all else is the model's own array.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> name, array = next(BertModel.from_pretrained("demo").named_parameters())
        >>> name, array.shape, array.dtype
        ('embeddings.word_embeddings.weight', (8000, 128), dtype('float32'))
        """
        for prefix, tree in self._trees().items():
            for key, array in arrays_of(tree):
                yield f"{prefix}{key}", widen(array, self.dtype)

    def stored_parameters(self) -> dict[str, Array]:
        """Return the parameters by the names under which transformers stores them.

        For a BERT these are the keys of `named_parameters`.

        Examples
        --------
        >>> from numpy_bert import BertConfig
        >>> from numpy_bert.model.family import DistilBertModel
        >>> config = BertConfig(model_type="distilbert", n_layers=1, dim=24, vocab_size=9)
        >>> list(DistilBertModel(config).stored_parameters())[-1]
        'transformer.layer.0.output_layer_norm.bias'
        """
        entry, arrays = self.config.architecture, dict(self.named_parameters())
        prefix = entry.encoders.get(self.encoder_name, "")
        if prefix:
            arrays = {f"bert.{key}": array for key, array in arrays.items()}
        if _DECODER_BIAS in arrays and _BIAS in entry.lacks:  # the decoder's own is read alone
            del arrays[_BIAS]
        return {stored(key, entry, prefix): array for key, array in arrays.items()}

    def _checked(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return arrays that have been checked to be those of `named_parameters`."""
        expected = {
            f"{prefix}{key}": (array.shape, self.dtype)
            for prefix, tree in self._trees().items()
            for key, array in arrays_of(tree)
        }
        return check_parameters(type(self).__name__, arrays, expected)

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Save the model where `from_pretrained`, and transformers', can load it.

        Parameters
        ----------
        save_directory : str or Path
            The folder, which is made if it is not there. Where it has no file of a tokenizer, the
            model's own is saved too.
        force : bool
            Whether config.json and model.safetensors there are replaced.

        Raises
        ------
        OutputError
            If they are there and `force` is not given, or one cannot be written whole.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import BertModel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     BertModel.from_pretrained("demo").save_pretrained(folder)
        ...     BertModel.from_pretrained(folder).config.hidden_size
        128
        """
        folder = make_folder(as_folder(save_directory, "save_directory"))
        paths = folder / "model.safetensors", folder / "config.json"
        for path in paths:
            check_output(path, force=force)
        write_tensors(paths[0], self.stored_parameters(), {"format": "pt"})
        write_atomically(paths[1], config_json(self.config, type(self).__name__).encode())
        # One that has its settings alone is a saving that was stopped.
        names = set(ALL_TOKENIZER_FILES) - {"tokenizer_config.json"}
        if not any(is_listed(folder / name) for name in names):
            tokenizer = self._tokenizer_at_hand()
            if tokenizer is not None:
                tokenizer.save_pretrained(folder, force=force)

    def _tokenizer_at_hand(self) -> BertTokenizer | None:
        """Return the tokenizer without a request to the hub; None where no folder has one."""
        from numpy_bert.text.tokenizer import BertTokenizer

        files = self.loading_info.files
        try:
            return BertTokenizer.from_pretrained(Path(files[0]).parent) if files else None
        except NumpyBertError:  # as the tokenizer says itself when it is loaded from there
            return None


def check_parameters(
    owner: str, arrays: Mapping[str, Array], expected: Mapping[str, tuple[tuple[int, ...], Any]]
) -> dict[str, Array]:
    """Return a model's parameters, checked against its names, shapes and dtype.

    A decoder may stand beside the word table that it is tied to, as some programs name it, if both
    are the same; so may its bias. It is left out of what is returned.

    Parameters
    ----------
    owner : str
        The model's class, for messages.
    arrays : mapping of str to ndarray
        The arrays, by name.
    expected : mapping of str to (shape, dtype)
        The shape and the dtype of every parameter.

    Raises
    ------
    InputError
        If an array is missing, unknown, of another shape or dtype, or not what it is tied to.

    Examples
    --------
    >>> check_parameters("Model", {"bais": np.ones(2)}, {"bias": ((2,), np.dtype("f8"))})
    Traceback (most recent call last):
    numpy_bert.errors.InputError: with_parameters: Model: 1 array missing, 1 unknown.
      missing  bias
      unknown  bais
    """
    if not isinstance(arrays, Mapping):
        raise InputError(
            f"with_parameters: {owner} must get a mapping of names to arrays; got "
            f"{type(arrays).__name__}."
        )
    tied = {key: name for key, name in _tied_names(expected).items() if key in arrays}
    given = {name: array for name, array in arrays.items() if name not in tied}
    missing = [name for name in expected if name not in given]
    unknown = [str(name) for name in given if name not in expected]
    if missing or unknown:
        raise InputError(_complaint(owner, missing, unknown))
    for name, (shape, dtype) in expected.items():
        array = given[name]
        kind = getattr(array, "dtype", None)
        if not isinstance(array, np.ndarray) or array.shape != shape or kind != dtype:
            is_array = isinstance(array, np.ndarray)
            what = f"{kind} of shape {array.shape}" if is_array else type(array).__name__
            raise InputError(
                f"with_parameters: {owner}: {name} must be {dtype} of shape {shape}; got {what}."
            )
    for key, name in tied.items():
        if arrays[key] is not given[name] and not np.array_equal(arrays[key], given[name]):
            raise InputError(
                f"with_parameters: {owner}: {key} must be {name}, as they are tied. Leave it out."
            )
    return given


def _tied_names(expected: Collection[str]) -> dict[str, str]:
    """Return the keys of a decoder that is no parameter itself, and the parameter that each is."""
    if "cls.predictions.bias" not in expected:
        return {}
    return {
        key: name if name in expected else f"bert.{name}"
        for key, name in TIED.items()
        if key not in expected
    }


def _complaint(owner: str, missing: list[str], unknown: list[str]) -> str:
    """Write one message for all that is missing or unknown, near misses beside it."""
    counts = [
        f"{len(missing)} array{'s' * (len(missing) != 1)} missing" if missing else "",
        f"{len(unknown)} unknown" if unknown else "",
    ]
    lines = [f"with_parameters: {owner}: {', '.join(filter(None, counts))}."]
    if missing:
        lines.append(f"  missing  {listed(missing, _MOST_NAMED)}")
    for name in unknown[:_MOST_NAMED]:
        twin = near_miss(name, missing)
        lines.append(f"  unknown  {quoted(name)}" + (f"   (did you mean {twin}?)" if twin else ""))
    if len(unknown) > _MOST_NAMED:
        lines.append(f"  unknown  and {len(unknown) - _MOST_NAMED} more")
    return "\n".join(lines)


def bert_parameters(config: BertConfig, arrays: Mapping[str, Array]) -> BertParameters:
    """Put the arrays of a BertModel under a head into the parameters' classes; none is copied.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> found = bert_parameters(model.config, dict(model.named_parameters()))
    >>> found.encoder.layer[1].output.dense.weight.shape, found.pooler
    ((128, 512), None)
    """
    return build(BertParameters, config, arrays.__getitem__, "bert.", arrays)


def config_json(config: BertConfig, architecture: str) -> str:
    """Write a config as transformers does.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> written = json.loads(config_json(BertModel.from_pretrained("demo").config, "BertModel"))
    >>> written["architectures"], written["model_type"], written["hidden_size"]
    (['BertModel'], 'bert', 128)
    """
    return json.dumps({"architectures": [architecture], **config.to_dict()}, indent=2) + "\n"


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a safetensors file, whole or not at all."""
    write_atomically(path, tensors_file(tensors, metadata))


def tensors_file(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a safetensors file of arrays."""
    from safetensors.numpy import save

    # Contiguous, because safetensors 0.8 writes a transposed array's values in the wrong order.
    ready = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return save(ready, dict(metadata or {}))
