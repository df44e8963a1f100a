"""A model whose weights can be changed: a copy with arrays of its own."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.model.bert import BertModel
from numpy_bert.model.gradients import LossAndGradients
from numpy_bert.model.head import BertWithHead
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    BertEncoderParameters,
    BertParameters,
    BertPoolerParameters,
    arrays_of,
    build,
)

__all__ = ["Model", "named_gradients", "trainable", "with_arrays"]

Model = TypeVar("Model", bound=BertWithHead[Any, Any, Any, Any])


def trainable(model: Model) -> tuple[Model, dict[str, Array]]:
    """Return a copy of a model that nothing else shares, and its arrays, which may be changed.

    What has changed counts for `loss_and_gradients` at once. A plain call may still use what a
    kernel has made of the old weights: make the model anew by `with_arrays` for that.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> copy, arrays = trainable(BertForMaskedLM.from_pretrained("demo"))
    >>> arrays["cls.predictions.bias"][7] = 100.0
    >>> float(copy.head.cls.predictions.bias[7])
    100.0
    """
    arrays = {name: np.array(array, order="C") for name, array in model.named_parameters()}
    return with_arrays(model, arrays), arrays


def with_arrays(model: Model, arrays: dict[str, Array]) -> Model:
    """Return a model of the same kind with these arrays, by their keys, not copied."""

    def get(key: str) -> Array:
        return arrays[key]

    config = model.config
    pools = "bert.pooler.dense.weight" in arrays
    parameters = BertParameters(
        embeddings=build(BertEmbeddingsParameters, config, get, "bert.embeddings."),
        encoder=build(BertEncoderParameters, config, get, "bert.encoder."),
        pooler=build(BertPoolerParameters, config, get, "bert.pooler.") if pools else None,
    )
    head = build(type(model.head), config, get, "")
    bert = BertModel(config, parameters, model.loading_info)
    return type(model)(bert, head, model.folder)


def named_gradients(
    model: BertWithHead[Any, Any, Any, Any], found: LossAndGradients[Any]
) -> dict[str, Array]:
    """Return gradients by the keys of `named_parameters`, writeable."""
    trees = {**dict(_named("bert.", found.bert)), **dict(_named("", found.head))}
    return {name: trees[name] for name, _ in model.named_parameters()}


def _named(prefix: str, tree: object) -> dict[str, Array]:
    found: dict[str, Any] = {f"{prefix}{key}": array for key, array in arrays_of(tree)}
    return found
