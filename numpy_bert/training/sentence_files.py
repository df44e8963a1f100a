"""The files that make a BERT a sentence model, as sentence-transformers stores them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from numpy_bert.errors import OutputError
from numpy_bert.files import check_output
from numpy_bert.parameters import LinearParameters

__all__ = ["check_places", "sentence_files"]

_MODULES = (
    ("", "Transformer"),
    ("1_Pooling", "Pooling"),
    ("2_Dense", "Dense"),
    ("3_Normalize", "Normalize"),
)
_LINEAR = "torch.nn.modules.linear.Identity"


def sentence_files(
    projection: LinearParameters, *, normalizes: bool = True, include_prompt: bool = True
) -> dict[str, bytes]:
    """Return what makes a BERT a sentence model, as sentence-transformers stores it.

    Parameters
    ----------
    projection : LinearParameters
        The map from the mean of the tokens to the vector, in the dtype that is to be stored.
    normalizes : bool
        Whether the vector is scaled to length 1 after it.
    include_prompt : bool
        Whether the tokens of a prompt are in the mean.

    Returns
    -------
    dict of str to bytes
        By the files' names in the model's folder.

    Examples
    --------
    >>> sorted(sentence_files(LinearParameters(weight=np.eye(2), bias=np.zeros(2))))
    ['1_Pooling/config.json', '2_Dense/config.json', '2_Dense/model.safetensors', 'modules.json']
    """
    from safetensors.numpy import save

    outs, ins = projection.weight.shape
    listed = [
        {"idx": n, "name": f"{n}", "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(_MODULES if normalizes else _MODULES[:-1])
    ]
    pooling = {"word_embedding_dimension": ins, "pooling_mode_mean_tokens": True}
    pooling |= {f"pooling_mode_{mode}": False for mode in ("cls_token", "max_tokens")}
    pooling |= {} if include_prompt else {"include_prompt": False}
    dense = {"in_features": ins, "out_features": outs, "bias": True, "activation_function": _LINEAR}
    tensors = {"linear.weight": projection.weight, "linear.bias": projection.bias}
    # safetensors 0.8 writes wrong values for an array that is not contiguous
    ready = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return {
        "modules.json": _as_json(listed),
        "1_Pooling/config.json": _as_json(pooling),
        "2_Dense/config.json": _as_json(dense),
        "2_Dense/model.safetensors": save(ready, {"format": "pt"}),
    }


def check_places(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Make the folders of files that are to be written; raise OutputError if one cannot be."""
    try:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        place = failure.filename or folder
        raise OutputError(f"{place}: cannot be made ({failure.strerror}).") from None
    for name in files:
        check_output(folder / name, force=force)


def _as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
