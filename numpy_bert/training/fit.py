"""The loop: batches in, steps of the optimizer, a log and checkpoints out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import CheckpointError, InputError, OutputError, TrainingError
from numpy_bert.files import write_atomically
from numpy_bert.progress import progress
from numpy_bert.training.arguments import TrainingArguments
from numpy_bert.training.data import TrainingData, tokens_of
from numpy_bert.training.optimizer import AdamW, clip_grads_with_norm, global_norm, linear_schedule
from numpy_bert.training.order import batches
from numpy_bert.training.state import Progress, read_best, read_state, write_best, write_state
from numpy_bert.training.weights import Model, fingerprint, trainable

__all__ = ["BEST", "CHECKPOINT", "LOG", "Trainer"]

# In the folder of a run: what it goes on from, and what it said.
CHECKPOINT, BEST, LOG = "checkpoint.safetensors", "best.safetensors", "log.jsonl"
# What the generators are seeded by, beside the run's seed and a number.
_ORDER, _BATCH = 0, 1

Evaluate = Callable[[Any], float]


class _Step(NamedTuple):
    """The mean loss of a step, and how many tokens it read."""

    loss: float
    tokens: int


class Trainer(Generic[Model]):
    """A run: a model, what it is trained on, how, and where its checkpoints go.

    Parameters
    ----------
    model : a model with a head, a SentenceStudent, or a JointModel of several
        What the run starts from; it stays as it is.
    data : TrainingData
        The examples.
    arguments : TrainingArguments
        The settings.
    folder : str or Path
        Gets ``checkpoint.safetensors``, ``log.jsonl`` and, with `evaluate`, ``best.safetensors``;
        made if it is not there.
    evaluate : callable, optional
        Takes the model and returns a number of which more is better; the run keeps the weights of
        the best.
    also : mapping, optional
        What else a run that goes on must have in common with this one, such as what it is evaluated
        on; JSON values.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert import BertForMaskedLM, BertTokenizer
    >>> from numpy_bert.training.data import MaskedTexts
    >>> texts = ["the cat sat on the mat", "the dog ran to the cat"]
    >>> data = MaskedTexts(texts, BertTokenizer.from_pretrained("demo"))
    >>> model, settings = BertForMaskedLM.from_pretrained("demo"), TrainingArguments(max_steps=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = Trainer(model, data, settings, folder).train()
    >>> type(trained).__name__
    'BertForMaskedLM'
    """

    def __init__(
        self,
        model: Model,
        data: TrainingData,
        arguments: TrainingArguments,
        folder: str | Path,
        *,
        evaluate: Evaluate | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> None:
        if evaluate is None and (arguments.eval_steps or arguments.early_stopping_patience):
            raise InputError("eval_steps, early_stopping_patience: need something to evaluate on.")
        self._model, self._arrays = trainable(model)
        self._data, self._arguments, self._evaluate = data, arguments, evaluate
        self._folder, self._also = Path(folder), dict(also or {})
        self._start = fingerprint(model)
        self._total = arguments.steps_of(len(data))
        self._order: tuple[int, list[IntArray]] = (-1, [])
        self._optimizer = AdamW(
            self._arrays,
            lr=arguments.learning_rate,
            betas=(arguments.adam_beta1, arguments.adam_beta2),
            eps=arguments.adam_epsilon,
            weight_decay=arguments.weight_decay,
        )

    def train(self) -> Model:
        """Run to the end, from the checkpoint if the folder holds one; return the trained model.

        A run that was stopped, by whatever, and goes on ends in the same bits as one that was not,
        on one machine with one number of threads.

        Raises
        ------
        TrainingError
            If a loss or a gradient is not finite: the step and the examples are named, and the last
            checkpoint stays. If the folder holds another run's checkpoint.
        OutputError
            If the folder cannot be written to; the last checkpoint stays.
        """
        self._prepare()
        done = self._resume()
        with progress(self._total, "training", least=1, unit="steps", delay=1) as tick:
            tick(done.step)
            while done.step < self._total and not self._is_stopped(done):
                started = time.perf_counter()
                taken = self._take(done.step)
                seconds = time.perf_counter() - started
                done = replace(done, step=done.step + 1)
                tick(1, f"loss {taken.loss:.3f}, {taken.tokens / seconds:,.0f} tokens/s")
                done = self._after(done, taken, seconds)
        self._save(done)
        return self._result(done)

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise OutputError(f"{self._folder}: cannot be made ({failure.strerror}).") from None

    @property
    def _identity(self) -> dict[str, Any]:
        """What a run that goes on must have in common with this one."""
        data = self._data.fingerprint
        return {**asdict(self._arguments), "data": data, "model": self._start, **self._also}

    def _resume(self) -> Progress:
        """Go back to the checkpoint, and the log to where it was then."""
        path = self._folder / CHECKPOINT
        if not path.exists():
            self._rewind_log(0)
            return Progress()
        done = read_state(path, self._optimizer, self._identity)
        self._rewind_log(done.step)
        return done

    def _rewind_log(self, step: int) -> None:
        """Drop what the log says of steps that are to be taken again."""
        path = self._folder / LOG
        if not path.exists():
            return
        kept = []
        for line in path.read_bytes().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):  # a line that was being written
                continue
        write_atomically(path, b"".join(line + b"\n" for line in kept))

    def _take(self, step: int) -> _Step:
        """Take a step of the optimizer, of the mean of some batches."""
        arguments = self._arguments
        count = arguments.gradient_accumulation_steps
        total, gradients, tokens = 0.0, dict[str, Array](), 0
        for number in range(step * count, (step + 1) * count):
            examples, rng = self._examples(number), self._rng(_BATCH, number)
            batch = self._data.batch(examples, rng)
            try:
                found = self._model.loss_and_gradients(batch, rng=rng)
            except CheckpointError as failure:  # weights that have grown until a step overflows
                raise self._end(step, str(failure).rstrip("."), examples) from None
            if not math.isfinite(found.loss):
                raise self._end(step, f"the loss is {found.loss}", examples)
            total += found.loss / count
            tokens += tokens_of(batch)
            for name, array in found.named():
                if name in self._arrays:  # not a pooler that the head does not read
                    share = array / count if count > 1 else array
                    gradients[name] = gradients[name] + share if name in gradients else share
        norm = global_norm(gradients)
        if not math.isfinite(norm):
            raise self._end(step, "a gradient is not finite", self._examples(step * count))
        if arguments.max_grad_norm > 0:
            clip_grads_with_norm(gradients, arguments.max_grad_norm, norm)
        self._optimizer.step(gradients, lr=self._rate(step))
        return _Step(total, tokens)

    def _end(self, step: int, what: str, examples: Array) -> TrainingError:
        """Return the error that ends a run which has gone astray."""
        return TrainingError(
            f"step {step + 1}: {what}, on the examples {examples.tolist()}; the last checkpoint "
            f"stays. A lower learning_rate (now {self._rate(step):g}) may help."
        )

    def _rate(self, step: int) -> float:
        warmup = math.ceil(self._arguments.warmup_ratio * self._total)
        return self._arguments.learning_rate * linear_schedule(
            step, warmup=warmup, total=self._total
        )

    def _rng(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._arguments.seed, kind, number])

    def _examples(self, number: int) -> Any:
        """Return which examples the batch of this number has: each once a pass, in an own order."""
        epoch, place = divmod(number, self._arguments.batches_of(len(self._data)))
        if self._order[0] != epoch:
            rng, size = self._rng(_ORDER, epoch), self._arguments.train_batch_size
            lengths = self._data.lengths if self._arguments.group_by_length else None
            self._order = epoch, batches(len(self._data), size, rng, lengths)
        return self._order[1][place]

    def _after(self, done: Progress, taken: _Step, seconds: float) -> Progress:
        """Log, evaluate and save, as often as the settings say."""
        arguments = self._arguments
        is_last = done.step == self._total
        if is_last or done.step % arguments.logging_steps == 0:
            self._log(
                {
                    "step": done.step,
                    "loss": taken.loss,
                    "learning_rate": self._rate(done.step - 1),
                    "tokens_per_second": round(taken.tokens / seconds, 1),
                }
            )
        every = arguments.eval_steps
        if self._evaluate is not None and (is_last or (every and done.step % every == 0)):
            done = self._judge(done)
        if arguments.save_steps and done.step % arguments.save_steps == 0:
            self._save(done)
        return done

    def _judge(self, done: Progress) -> Progress:
        """Evaluate the model as it is, and keep its weights if none was better."""
        assert self._evaluate is not None
        score = float(self._evaluate(self._model.with_parameters(self._arrays)))
        self._log({"step": done.step, "evaluation": score})
        if done.best is not None and not score > done.best:
            return replace(done, worse=done.worse + 1)
        write_best(self._folder / BEST, self._arrays)
        return replace(done, best=score, worse=0)

    def _is_stopped(self, done: Progress) -> bool:
        patience = self._arguments.early_stopping_patience
        return patience is not None and done.worse >= patience

    def _log(self, entry: Mapping[str, Any]) -> None:
        try:
            with (self._folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as failure:
            raise OutputError(f"{self._folder / LOG}: {failure.strerror}.") from None

    def _save(self, done: Progress) -> None:
        write_state(self._folder / CHECKPOINT, self._optimizer, done, self._identity)

    def _result(self, done: Progress) -> Model:
        """Return the model with the best weights, or the last."""
        if done.best is None:
            return self._model.with_parameters(self._arrays)
        return self._model.with_parameters(read_best(self._folder / BEST, self._arrays))
