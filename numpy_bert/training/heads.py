"""A new head over a trained model, to be fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from numpy_bert.model.bert import BertModel
from numpy_bert.model.family import model_class
from numpy_bert.model.task_models import BertForSequenceClassification

__all__ = ["new_classifier"]


def new_classifier(
    model: BertModel,
    labels: Sequence[str],
    folder: str | Path,
    *,
    seed: int = 0,
    problem_type: str | None = None,
) -> BertForSequenceClassification:
    """Put a classifier that knows nothing over a model, whatever its checkpoint has.

    It is what ``BertForSequenceClassification.from_pretrained(name, id2label=..., seed=...)`` loads
    where the checkpoint has no classifier.

    Parameters
    ----------
    model : BertModel
        The trained model; a pooler that it lacks is made new, too.
    labels : sequence of str
        The names of the labels.
    folder : str or Path
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
    bert = type(model)(config, model.parameters, model.loading_info)
    kind: type[BertForSequenceClassification] = model_class(config, "ForSequenceClassification")
    return kind(bert, folder=Path(folder), seed=seed)
