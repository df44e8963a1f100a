"""How a model is trained: the settings of a run, named as transformers names them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from numpy_bert.errors import InputError

__all__ = ["TrainingArguments"]

_COUNTS = (
    "train_batch_size",
    "gradient_accumulation_steps",
    "logging_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingArguments:
    """The settings of a run.

    Attributes
    ----------
    learning_rate : float
        At its highest; see `linear_schedule`.
    train_batch_size : int
        Examples that the loss of a step is a mean of, for each step of accumulation.
    gradient_accumulation_steps : int
        Batches whose gradients are averaged before the optimizer takes a step.
    num_train_epochs : float
        Passes over the data, unless `max_steps` says how many steps there are.
    max_steps : int, optional
        Steps of the optimizer.
    warmup_ratio : float
        The share of the steps on which the learning rate rises.
    weight_decay, adam_beta1, adam_beta2, adam_epsilon
        Of `AdamW`.
    max_grad_norm : float
        How long all gradients together may be; 0 for any length.
    save_steps, eval_steps : int, optional
        After how many steps a checkpoint is written, the model is evaluated; at the end, always.
    group_by_length : bool
        Whether a batch holds examples of about one length, so that there is little padding: 50
        batches at a time are sorted, and then taken in an order of chance.
    logging_steps : int
        After how many steps a line is logged.
    early_stopping_patience : int, optional
        After how many evaluations without a better one the run ends.
    seed : int
        Of the order of the examples, of dropout, and of what the data draw.

    Raises
    ------
    InputError
        Naming the setting, what came and what was expected.
    """

    learning_rate: float = 5e-5
    train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_train_epochs: float = 3.0
    max_steps: int | None = None
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    save_steps: int | None = 500
    eval_steps: int | None = None
    group_by_length: bool = False
    logging_steps: int = 10
    early_stopping_patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        optional = ("max_steps", "save_steps", "eval_steps", "early_stopping_patience")
        given = [name for name in optional if getattr(self, name) is not None]
        for name in (*_COUNTS, *given):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name} = {value!r}; a whole number from 1 was expected.")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"seed = {self.seed!r}; a whole number from 0 was expected.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not (
                isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
            ):
                raise InputError(f"{field.name} = {value!r}; a number from 0 was expected.")
        if self.warmup_ratio > 1:
            raise InputError(f"warmup_ratio = {self.warmup_ratio!r}; a share of 1 was expected.")
        if self.max_steps is None and self.num_train_epochs == 0:
            raise InputError("num_train_epochs = 0; some of a pass was expected, or max_steps.")

    def steps_of(self, examples: int) -> int:
        """Return how many steps the optimizer takes over so many examples.

        Examples
        --------
        >>> TrainingArguments(train_batch_size=8, num_train_epochs=3).steps_of(20)
        9
        """
        if self.max_steps is not None:
            return self.max_steps
        batches = self.batches_of(examples)
        return max(1, math.ceil(self.num_train_epochs * batches / self.gradient_accumulation_steps))

    def batches_of(self, examples: int) -> int:
        """Return how many batches one pass has; the last may be smaller."""
        return math.ceil(examples / self.train_batch_size)
