"""A new head over a trained model, to be fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.model.bert import BertModel
from numpy_bert.model.task_models import BertForSequenceClassification
from numpy_bert.parameters import BertPoolerParameters, ClassifierParameters, LinearParameters

__all__ = ["new_classifier"]


def new_classifier(
    model: BertModel,
    labels: Sequence[str],
    folder: Path,
    *,
    seed: int = 0,
    problem_type: str | None = None,
) -> BertForSequenceClassification:
    """Put a classifier that knows nothing over a model.

    Parameters
    ----------
    model : BertModel
        The trained model; a pooler that it lacks is made new, too.
    labels : sequence of str
        The names of the labels.
    folder : Path
        The folder of the checkpoint, for its tokenizer.
    seed : int
        The seed of the new weights: normal, of the config's initializer_range; biases are 0.
    problem_type : {"regression", "single_label_classification"}, optional
        The problem_type, as in transformers' config. Without it one label is a regression.

    References
    ----------
    .. [1] transformers, BertPreTrainedModel._init_weights.

    Examples
    --------
    >>> model = BertModel.from_pretrained("demo")
    >>> new = new_classifier(model, ["no", "yes"], Path("demo"))
    >>> new([[2, 5, 3]]).logits.shape, new.config.id2label
    ((1, 2), {0: 'no', 1: 'yes'})
    """
    config = replace(model.config, labels=tuple(labels), problem_type=problem_type)
    rng, size = np.random.default_rng(seed), config.hidden_size

    def dense(rows: int) -> LinearParameters:
        spread = config.initializer_range
        weight: npt.NDArray[Any] = rng.normal(0.0, spread, (rows, size)).astype(model.dtype)
        bias: Array = np.zeros(rows, model.dtype)
        return LinearParameters(weight=weight, bias=bias)

    parameters = model.parameters
    head = ClassifierParameters(classifier=dense(len(labels)))
    if parameters.pooler is None:
        parameters = replace(parameters, pooler=BertPoolerParameters(dense=dense(size)))
    bert = BertModel(config, parameters, model.loading_info)
    return BertForSequenceClassification(bert, head, folder)
