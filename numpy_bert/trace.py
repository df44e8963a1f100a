"""Names for every intermediate: a block's steps become a stream of (name, array).

A name is the path of the module in transformers' BertModel, so that a forward hook there needs no
mapping (``embeddings.word_embeddings``); a step that is no module there is the path and a noun
(``embeddings.sum``, ``embeddings.LayerNorm.mean``). The names are stable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy.typing as npt

from numpy_bert.errors import TraceError
from numpy_bert.messages import quoted

__all__ = ["named_steps", "select"]


def named_steps(steps: object, prefix: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield every array of a steps dataclass under its trace name, in execution order.

    Parameters
    ----------
    steps : dataclass
        What a readable forward returns; nested steps are walked.
    prefix : str
        The block's own name; "" for a whole model. A field called ``output`` is what the block's
        module returns, so it bears the prefix alone (and its own name first, where it is a part
        with steps). A field that is None (a mask that was not drawn) is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert.ops.layer_norm import layer_norm
    >>> steps = layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), eps=0.0)
    >>> [name for name, _ in named_steps(steps, "LayerNorm")][-2:]
    ['LayerNorm.normalized', 'LayerNorm']
    """
    for field in fields(steps):  # type: ignore[arg-type]
        value = getattr(steps, field.name)
        name = f"{prefix}.{field.name}" if prefix else field.name
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                yield from named_steps(item, f"{name}.{index}")
        elif is_dataclass(value):
            yield from named_steps(value, name)
            if field.name == "output":
                yield prefix, value.output  # type: ignore[union-attr]
        elif field.name == "output":
            yield prefix, value
        elif value is not None:
            yield name, value


def select(steps: dict[str, npt.NDArray[Any]], name: str | None) -> dict[str, npt.NDArray[Any]]:
    """Return all steps, or the one of that name; raise TraceError listing the names there are."""
    if name is None:
        return steps
    if name not in steps:
        raise TraceError(f"no step is named {quoted(name)}; there are {', '.join(steps)}.")
    return {name: steps[name]}
