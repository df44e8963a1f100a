"""How a model is trained: the settings of a run, named as transformers names them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy_bert.arguments import is_number
from numpy_bert.errors import InputError
from numpy_bert.foreign import Accepted, check_accepted
from numpy_bert.messages import must_be, written
from numpy_bert.training.optimizer import linear_schedule

__all__ = ["TrainingArguments"]

_COUNTS = (
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "logging_steps",
)
_SAMPLERS = ("batch_sampler", "no_duplicates")
_DTYPE = Accepted((False,), "Load the model with dtype='float32' or 'float64'.")
# Arguments of transformers that change nothing.
_THEIRS: Mapping[str, Accepted] = MappingProxyType(
    {
        "bf16": _DTYPE,
        "fp16": _DTYPE,
        "dataloader_drop_last": Accepted(
            (False,), "The last batch of a pass is read, however small."
        ),
        "eval_strategy": Accepted(("no", "steps"), "eval_steps says when the model is evaluated."),
        "load_best_model_at_end": Accepted(
            (True,), "Without something to evaluate on the last is kept."
        ),
        "logging_strategy": Accepted(("steps",), "logging_steps says how often a line is logged."),
        "lr_scheduler_type": Accepted(("linear",), "The learning rate falls in a line."),
        "optim": Accepted(("adamw_torch", "adamw_torch_fused"), "The optimizer is AdamW."),
        "report_to": Accepted(("none", []), "What is logged stands in log.jsonl in output_dir."),
        "save_strategy": Accepted(
            ("steps",), "save_steps says how often; save_steps=None is for the end."
        ),
        "use_cpu": Accepted((True, False), "There is no other device."),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingArguments:
    """The settings of a run.

    Attributes
    ----------
    output_dir : str or Path, optional
        The folder of the run, for a trainer that is given none.
    learning_rate : float
        The learning rate at its highest; see `linear_schedule`.
    per_device_train_batch_size, per_device_eval_batch_size : int
        How many examples are read together: in training, and where a loss is evaluated.
    gradient_accumulation_steps : int
        How many batches a step of the optimizer is taken from, as if they were one: its loss is the
        mean over the labels of all. The last step of a pass has the batches that are left.
    num_train_epochs : float
        How many passes over the data there are, unless `max_steps` is given.
    max_steps : int, optional
        How many steps the optimizer takes; -1 is None.
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
    batch_sampler : {"batch_sampler", "no_duplicates"}
        Whether the batches are any, or none has a text twice, as in-batch negatives want it; see
        `batches_without_duplicates`.
    seed : int
        The seed of the order of the examples, of dropout, and of what the data draw.

    Raises
    ------
    InputError
        If a setting is out of range; what it must be and what came are named.

    Notes
    -----
    Names and defaults are those of transformers and sentence-transformers, but for `logging_steps`,
    which is 500 there, and `seed`, which is 42 and draws other numbers. Of their arguments bf16,
    fp16, dataloader_drop_last, eval_strategy, load_best_model_at_end, logging_strategy,
    lr_scheduler_type, optim, report_to, run_name, save_strategy, save_total_limit and use_cpu what
    happens here anyway is accepted; warmup_ratio is the old name of a share in `warmup_steps`.

    References
    ----------
    .. [1] transformers, training_args.py, TrainingArguments; trainer_callback.py,
       EarlyStoppingCallback, which needs evaluations after steps, too.
    """

    output_dir: str | Path | None = field(default=None, kw_only=False)
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_train_epochs: float = 3.0
    max_steps: int | None = None
    warmup_steps: float = 0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    save_steps: int | None = 500
    eval_steps: int | None = None
    group_by_length: bool = False
    logging_steps: int = 10
    early_stopping_patience: int | None = None
    batch_sampler: str = "batch_sampler"
    seed: int = 0
    bf16: InitVar[object] = None
    dataloader_drop_last: InitVar[object] = None
    eval_strategy: InitVar[object] = None
    fp16: InitVar[object] = None
    load_best_model_at_end: InitVar[object] = None
    logging_strategy: InitVar[object] = None
    lr_scheduler_type: InitVar[object] = None
    optim: InitVar[object] = None
    report_to: InitVar[object] = None
    run_name: InitVar[object] = None
    save_strategy: InitVar[object] = None
    save_total_limit: InitVar[object] = None
    use_cpu: InitVar[object] = None
    warmup_ratio: InitVar[float | None] = None

    def __post_init__(self, *theirs: Any) -> None:
        given = dict(zip(_init_only(type(self)), theirs, strict=True))
        theirs_given = {n: v for n, v in given.items() if n in _THEIRS and v is not None}
        check_accepted(type(self).__name__, theirs_given, _THEIRS)
        if given["warmup_ratio"] is not None and not self.warmup_steps:
            object.__setattr__(self, "warmup_steps", given["warmup_ratio"])
        if isinstance(self.max_steps, int) and self.max_steps == -1:
            object.__setattr__(self, "max_steps", None)
        sampler = getattr(self.batch_sampler, "value", self.batch_sampler)
        # Both give the same batches there.
        sampler = "no_duplicates" if written(sampler) == "no_duplicates_hashed" else sampler
        object.__setattr__(self, "batch_sampler", sampler)
        self._check()
        if given["eval_strategy"] == "steps" and self.eval_steps is None:
            raise InputError("eval_steps must be given with eval_strategy='steps'; got None.")

    def _check(self) -> None:
        optional = ("max_steps", "save_steps", "eval_steps", "early_stopping_patience")
        given = [name for name in optional if getattr(self, name) is not None]
        for name in (*_COUNTS, *given):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(must_be(name, "a whole number from 1", value))
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(must_be("seed", "a whole number from 0", self.seed))
        for own in fields(self):
            value = getattr(self, own.name)
            if own.type == "float" and not (is_number(value) and value >= 0):
                raise InputError(must_be(own.name, "a number from 0", value))
        for name in ("adam_beta1", "adam_beta2"):
            if getattr(self, name) >= 1:
                raise InputError(must_be(name, "below 1", getattr(self, name)))
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
        if not isinstance(self.batch_sampler, str) or self.batch_sampler not in _SAMPLERS:
            wanted = f"one of {', '.join(_SAMPLERS)}"
            raise InputError(must_be("batch_sampler", wanted, self.batch_sampler))
        if self.batch_sampler == "no_duplicates" and self.group_by_length:
            raise InputError("batch_sampler='no_duplicates', group_by_length: give one of the two.")
        if self.max_steps is None and self.num_train_epochs == 0:
            raise InputError(
                "num_train_epochs must be above 0; got 0. Raise it, or give max_steps."
            )

    def steps_of(self, examples: int) -> int:
        """Return how many steps the optimizer takes over so many examples.

        Examples
        --------
        >>> TrainingArguments(num_train_epochs=3).steps_of(20)
        9
        """
        if self.max_steps is not None:
            return self.max_steps
        return max(1, math.ceil(self.num_train_epochs * self.steps_of_pass(examples)))

    def steps_of_pass(self, examples: int) -> int:
        """Return how many steps one pass has; the last may be of fewer batches.

        Examples
        --------
        >>> settings = TrainingArguments(gradient_accumulation_steps=2)
        >>> settings.batches_of(20), settings.steps_of_pass(20)
        (3, 2)
        """
        return math.ceil(self.batches_of(examples) / self.gradient_accumulation_steps)

    def batches_of(self, examples: int) -> int:
        """Return how many batches one pass has; the last may be smaller."""
        return math.ceil(examples / self.per_device_train_batch_size)

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


def _init_only(kind: type[Any]) -> list[str]:
    """Return the names of what is given and not kept, in the order in which it is handed on."""
    own = {one.name for one in fields(kind)}
    return [name for name in kind.__annotations__ if name not in own]
