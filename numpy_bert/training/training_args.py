"""How a model is trained: the settings of a run, named as transformers names them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from numpy_bert.errors import InputError
from numpy_bert.training.optimizer import linear_schedule

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
        The learning rate at its highest; see `linear_schedule`.
    train_batch_size : int
        How many examples are read together.
    gradient_accumulation_steps : int
        How many batches a step of the optimizer is taken from, as if they were one: its loss is the
        mean over the labels of all. The last step of a pass has the batches that are left.
    num_train_epochs : float
        How many passes over the data there are, unless `max_steps` is given.
    max_steps : int, optional
        How many steps the optimizer takes.
    warmup_steps : int or float
        The number of steps on which the learning rate rises from 0; below 1 their share of all
        steps, rounded up. The first of them is taken at the rate 0, as in transformers.
    weight_decay, adam_beta1, adam_beta2, adam_epsilon : float
        The settings of `AdamW`.
    max_grad_norm : float
        How long all gradients together may be; 0 for any length.
    save_steps, eval_steps : int, optional
        After how many steps a checkpoint is written, or the model is evaluated. Both are done at
        the end, too; None is for the end alone.
    group_by_length : bool
        Whether a batch holds examples of about one length, so that there is little padding: 50
        batches at a time are sorted, and then taken in a random order.
    logging_steps : int
        After how many steps a line is logged.
    early_stopping_patience : int, optional
        After how many evaluations without a better one the run ends; needs `eval_steps`. An
        evaluation that is NaN or infinite is no better than any.
    seed : int
        The seed of the order of the examples, of dropout, and of what the data draw.

    Raises
    ------
    InputError
        If a setting is out of range; what it must be and what came are named.

    References
    ----------
    .. [1] transformers, training_args.py, TrainingArguments; trainer_callback.py,
       EarlyStoppingCallback, which needs evaluations after steps, too.
    """

    learning_rate: float = 5e-5
    train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_train_epochs: float = 3.0
    max_steps: int | None = None
    warmup_steps: float = 0
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
                raise InputError(f"{name} must be a whole number from 1; got {value!r}.")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"seed must be a whole number from 0; got {self.seed!r}.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not (
                isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
            ):
                raise InputError(f"{field.name} must be a number from 0; got {value!r}.")
        for name in ("adam_beta1", "adam_beta2"):
            if getattr(self, name) >= 1:
                raise InputError(f"{name} must be below 1; got {getattr(self, name)!r}.")
        if self.warmup_steps >= 1 and self.warmup_steps != int(self.warmup_steps):
            raise InputError(
                "warmup_steps must be a whole number of steps, or below 1 a share of all; got "
                f"{self.warmup_steps!r}."
            )
        if self.early_stopping_patience is not None and self.eval_steps is None:
            raise InputError(
                "eval_steps must be given with early_stopping_patience; got None, with which the "
                "model is evaluated once, at the end."
            )
        if self.max_steps is None and self.num_train_epochs == 0:
            raise InputError(
                "num_train_epochs must be above 0; got 0. Raise it, or give max_steps."
            )

    def steps_of(self, examples: int) -> int:
        """Return how many steps the optimizer takes over so many examples.

        Examples
        --------
        >>> TrainingArguments(train_batch_size=8, num_train_epochs=3).steps_of(20)
        9
        """
        if self.max_steps is not None:
            return self.max_steps
        return max(1, math.ceil(self.num_train_epochs * self.steps_of_pass(examples)))

    def steps_of_pass(self, examples: int) -> int:
        """Return how many steps one pass has; the last may be of fewer batches.

        Examples
        --------
        >>> settings = TrainingArguments(train_batch_size=8, gradient_accumulation_steps=2)
        >>> settings.batches_of(20), settings.steps_of_pass(20)
        (3, 2)
        """
        return math.ceil(self.batches_of(examples) / self.gradient_accumulation_steps)

    def batches_of(self, examples: int) -> int:
        """Return how many batches one pass has; the last may be smaller."""
        return math.ceil(examples / self.train_batch_size)

    def warmup_of(self, steps: int) -> int:
        """Return on how many of so many steps the learning rate rises.

        Examples
        --------
        >>> TrainingArguments(warmup_steps=0.1).warmup_of(25), TrainingArguments().warmup_of(25)
        (3, 0)
        """
        warmup = self.warmup_steps
        return int(warmup) if warmup >= 1 else math.ceil(steps * warmup)

    def rate_of(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, of so many."""
        warmup = self.warmup_of(steps)
        return self.learning_rate * linear_schedule(step, warmup=warmup, total=steps)

    def check_rates(self, steps: int) -> None:
        """Raise InputError if the learning rate of each of so many steps is 0."""
        if not any(self.rate_of(step, steps) for step in (0, steps - 1)):
            raise InputError(
                f"learning_rate = {self.learning_rate:g}, warmup_steps = {self.warmup_steps:g}: "
                f"the learning rate of every step ({steps} in all) is 0, so nothing would be "
                "learnt. Take more steps or a shorter warm-up."
            )
