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
    members : mapping of str to tuple of str, or None
        What may stand in a dict, if one is taken as well: its members' values, as they are written.
    """

    values: tuple[object, ...]
    ours: str
    members: Mapping[str, tuple[str, ...]] | None = None


_THREADS = "Texts are encoded in threads; set_num_threads(n) says in how many."
_DEVICE = Accepted((None, "cpu"), f"numpy_bert computes on the processor. {_THREADS}")
_ARRAYS = "Vectors are NumPy arrays; torch.from_numpy(vectors) makes a tensor of one."
_FLOAT32 = ("float32", "torch.float32")
_MODEL = Accepted(
    (None,),
    "Give dtype='float32' or dtype='float64'.",
    {"dtype": _FLOAT32, "torch_dtype": _FLOAT32, "attn_implementation": ("eager", "sdpa")},
)
_TOKENIZER = Accepted(
    (None,),
    "Set encoder.max_seq_length, or an attribute of encoder.tokenizer.",
    {"use_fast": ("True",)},
)
CONSTRUCTOR: Mapping[str, Accepted] = MappingProxyType(
    {
        "device": _DEVICE,
        "trust_remote_code": Accepted((False, None), "Code in a repository is never run."),
        "backend": Accepted((None, "torch"), "numpy_bert computes in NumPy; leave it out."),
        "modules": Accepted((None,), "Name the folder or the repository of a sentence model."),
        "model_kwargs": _MODEL,
        "processor_kwargs": _TOKENIZER,
        "tokenizer_kwargs": _TOKENIZER,
        "config_kwargs": Accepted((None,), "Change the config.json in the model's folder.", {}),
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
    numpy_bert.errors.InputError: SentenceEncoder: backend must be None or 'torch'; got 'onnx'. \
numpy_bert computes in NumPy; leave it out.
    """
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{owner}() got an unexpected keyword argument {name!r}")
        accepted = known[name]
        if isinstance(value, dict) and accepted.members is not None:
            asks = all(str(v) in accepted.members.get(k, ()) for k, v in value.items())
        else:
            asks = any(_is(value, one) for one in accepted.values)
        if not asks:
            wanted = " or ".join(map(repr, accepted.values))
            raise InputError(
                f"{owner}: {name} must be {wanted}; got {quoted(repr(value))}. {accepted.ours}"
            )


def _is(value: object, accepted: object) -> bool:
    """Tell whether a value is an accepted one; a torch.device is written as its name."""
    return str(value) == accepted if isinstance(accepted, str) else value is accepted
