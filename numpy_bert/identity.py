"""What tells a model, and work that goes on from an earlier run, from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig

__all__ = ["HasParameters", "fingerprint", "first_difference", "identity_of"]


class HasParameters(Protocol):
    """A model of any kind, whose parameters have names."""

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter with its name."""


def identity_of(model: object) -> dict[str, Any]:
    """Return the kind and the config of a model as JSON values: what it is beside its weights.

    What a model has in an attribute `identity`, a mapping, is added.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> found = identity_of(BertForMaskedLM.from_pretrained("demo"))
    >>> found["kind"], found["dtype"], found["config.hidden_act"]
    ('BertForMaskedLM', 'float32', 'gelu')
    """
    config, dtype = getattr(model, "config", None), getattr(model, "dtype", None)
    found: dict[str, Any] = {"kind": type(model).__name__, "dtype": str(dtype)}
    if isinstance(config, BertConfig):
        found |= {f"config.{name}": getattr(config, name) for name in config.field_names}
    return found | dict(getattr(model, "identity", {}))


def fingerprint(model: HasParameters) -> str:
    """Return a hash of a model's weights, and of what `identity_of` says of it.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertModel
    >>> one, other = (BertForMaskedLM.from_pretrained("demo") for _ in range(2))
    >>> fingerprint(one) == fingerprint(other), fingerprint(one) == fingerprint(one.bert)
    (True, False)
    """
    digest = hashlib.sha256(repr(sorted(identity_of(model).items())).encode())
    for name, array in model.named_parameters():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def first_difference(
    theirs: Mapping[str, Any], ours: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """Return the first name at which two identities differ, and both values; None for none.

    Names are compared in the order of `ours`, so that what says most can stand before a hash.

    Examples
    --------
    >>> first_difference({"rate": 1, "seed": 0}, {"rate": 2, "seed": 0})
    ('rate', 1, 2)
    """
    for name in [*ours, *sorted({*theirs} - {*ours})]:
        if theirs.get(name) != ours.get(name):
            return name, theirs.get(name), ours.get(name)
    return None
