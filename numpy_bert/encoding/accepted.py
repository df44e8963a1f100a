"""The arguments of sentence-transformers that change nothing here, and what is ours instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from numpy_bert.errors import InputError
from numpy_bert.messages import quoted

__all__ = ["CONSTRUCTOR", "ENCODE", "SAVE", "Accepted", "check_accepted"]


class Accepted(NamedTuple):
    """The values of an argument that ask for what happens anyway.

    Attributes
    ----------
    values : tuple
        The values.
    ours : str
        What to do here for another one, as a sentence.
    """

    values: tuple[object, ...]
    ours: str


_THREADS = "Texts are encoded in threads; set_num_threads(n) says in how many."
_DEVICE = Accepted((None, "cpu"), f"numpy_bert computes on the processor. {_THREADS}")
_ARRAYS = "Vectors are NumPy arrays; torch.from_numpy(vectors) makes a tensor of one."
_TOKENIZER = "Set encoder.max_seq_length, or an attribute of encoder.tokenizer."
CONSTRUCTOR: Mapping[str, Accepted] = MappingProxyType(
    {
        "device": _DEVICE,
        "trust_remote_code": Accepted((False,), "Code in a repository is never run."),
        "backend": Accepted((None,), "numpy_bert computes in NumPy; leave it out."),
        "modules": Accepted((None,), "Name the folder or the repository of a sentence model."),
        "model_kwargs": Accepted((None, {}), "Give dtype='float32' or dtype='float64'."),
        "processor_kwargs": Accepted((None, {}), _TOKENIZER),
        "tokenizer_kwargs": Accepted((None, {}), _TOKENIZER),
        "config_kwargs": Accepted((None, {}), "Change the config.json in the model's folder."),
        "model_card_data": Accepted((None,), "numpy_bert writes no model cards."),
        "use_auth_token": Accepted((None,), "It is called token, as in sentence-transformers."),
    }
)
ENCODE: Mapping[str, Accepted] = MappingProxyType(
    {
        "convert_to_numpy": Accepted((True,), _ARRAYS),
        "convert_to_tensor": Accepted((False,), _ARRAYS),
        "device": _DEVICE,
        "pool": Accepted((None,), _THREADS),
        "chunk_size": Accepted((None,), _THREADS),
    }
)
SAVE: Mapping[str, Accepted] = MappingProxyType(
    {
        "create_model_card": Accepted((False,), "numpy_bert writes no model cards."),
        "safe_serialization": Accepted((True,), "Weights are saved as safetensors alone."),
    }
)


def check_accepted(owner: str, given: Mapping[str, Any], known: Mapping[str, Accepted]) -> None:
    """Raise unless all arguments are known and ask for what happens anyway.

    Parameters
    ----------
    owner : str
        Whose arguments they are, for messages.
    given : mapping of str to object
        The arguments, by name.
    known : mapping of str to Accepted
        What each of them may be.

    Raises
    ------
    TypeError
        If there is no such argument.
    InputError
        If a value asks for something else; the message says what to do here.

    Examples
    --------
    >>> check_accepted("encode", {"device": "cpu"}, ENCODE)
    >>> check_accepted("SentenceEncoder", {"backend": "onnx"}, CONSTRUCTOR)
    Traceback (most recent call last):
    numpy_bert.errors.InputError: SentenceEncoder: backend must be None; got 'onnx'. numpy_bert \
computes in NumPy; leave it out.
    """
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{owner}() got an unexpected keyword argument {name!r}")
        values, ours = known[name]
        if not any(_is(value, one) for one in values):
            wanted = " or ".join(map(repr, values))
            raise InputError(f"{owner}: {name} must be {wanted}; got {quoted(repr(value))}. {ours}")


def _is(value: object, accepted: object) -> bool:
    """Tell whether a value is an accepted one; a torch.device is written as its name."""
    if isinstance(accepted, str):
        return str(value) == accepted
    return value is accepted or (type(value) is type(accepted) and value == accepted)
