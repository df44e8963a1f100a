"""What hands used to other libraries type: taken where it asks for what happens anyway.

Anything else is one line that says what to use here. Each room has its own tables of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy_bert.errors import InputError
from numpy_bert.messages import must_be, shown, written

__all__ = ["Accepted", "check_accepted", "no_attribute"]


class Accepted(NamedTuple):
    """The values of an argument that ask for what happens anyway.

    Attributes
    ----------
    values : tuple
        The values. A str also stands for what is written so, such as a torch.device; for a member
        of an enumeration that has this value; and for a function of this name, or an object of a
        class of this name.
    ours : str
        What to do here for another one, as a sentence.
    members : mapping of str to tuple of str, or None
        What may stand in a dict, if one is taken as well: its members' values, as they are written.
    """

    values: tuple[object, ...]
    ours: str
    members: Mapping[str, tuple[str, ...]] | None = None

    def has(self, value: object) -> bool:
        """Tell whether a value is one of these."""
        if isinstance(value, dict) and self.members is not None:
            return all(written(v) in self.members.get(k, ()) for k, v in value.items())
        named = (getattr(value, "value", None), getattr(value, "__name__", None))
        names = {written(value), type(value).__name__, *(n for n in named if isinstance(n, str))}
        return any(
            one in names
            if isinstance(one, str)
            else value is one or (type(value) is type(one) and value == one)
            for one in self.values
        )


def check_accepted(where: str, given: Mapping[str, Any], known: Mapping[str, Accepted]) -> None:
    """Raise unless all arguments are known and ask for what happens anyway.

    Parameters
    ----------
    where : str
        What takes the arguments, for messages.
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
    >>> known = {"backend": Accepted((None, "torch"), "It computes in NumPy; leave it out.")}
    >>> check_accepted("encode", {"backend": "torch"}, known)
    >>> check_accepted("encode", {"backend": "onnx"}, known)
    Traceback (most recent call last):
    numpy_bert.errors.InputError: encode: backend must be None or 'torch'; got 'onnx'. It computes \
in NumPy; leave it out.
    """
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{where}() got an unexpected keyword argument {shown(name)}")
        accepted = known[name]
        if not accepted.has(value):
            *first, last = map(repr, accepted.values)
            wanted = f"{', '.join(first)} or {last}" if first else last
            raise InputError(f"{must_be(f'{where}: {name}', wanted, value)} {accepted.ours}")


def no_attribute(owner: object, name: str, ours: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that is not there, which says what to use in its place.

    Parameters
    ----------
    owner : object
        The object that is asked for it.
    name : str
        The attribute.
    ours : mapping of str to str
        Attributes that classes of other libraries have, and what to do here, as sentences.

    Examples
    --------
    >>> no_attribute(None, "cuda", {"cuda": "It computes on the CPU."})
    AttributeError("NoneType has no 'cuda'. It computes on the CPU.")
    """
    message = f"{type(owner).__name__} has no {name!r}."
    if name in ours:
        return AttributeError(f"{message} {ours[name]}")
    return AttributeError(message, name=name, obj=owner)
