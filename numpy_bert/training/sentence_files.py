"""The files that make a BERT a sentence model, as sentence-transformers stores them."""

from __future__ import annotations

import json

import numpy as np

from numpy_bert.parameters import LinearParameters

__all__ = ["sentence_files"]

_MODULES = (
    ("", "Transformer"),
    ("1_Pooling", "Pooling"),
    ("2_Dense", "Dense"),
    ("3_Normalize", "Normalize"),
)
_LINEAR = "torch.nn.modules.linear.Identity"


def sentence_files(projection: LinearParameters) -> dict[str, bytes]:
    """Return what makes a BERT a sentence model, as sentence-transformers stores it.

    Parameters
    ----------
    projection : LinearParameters
        The map from the mean of the tokens to the vector, in the dtype that is to be stored.

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
        for n, (path, kind) in enumerate(_MODULES)
    ]
    pooling = {"word_embedding_dimension": ins, "pooling_mode_mean_tokens": True}
    pooling |= {f"pooling_mode_{mode}": False for mode in ("cls_token", "max_tokens")}
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


def _as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
