"""The loop: batches in, steps of the optimizer, a log and checkpoints out."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import CheckpointError, InputError, OutputError, TrainingError
from numpy_bert.files import as_folder, is_listed
from numpy_bert.messages import shown
from numpy_bert.progress import progress
from numpy_bert.tasks.items import added_items
from numpy_bert.training.data import (
    Batch,
    TrainingData,
    batches,
    batches_without_duplicates,
    check_fits,
    tokens_of,
)
from numpy_bert.training.identity import identify
from numpy_bert.training.optimizer import AdamW, clip_grads_with_norm, global_norm
from numpy_bert.training.run_folder import (
    BEST,
    CHECKPOINT,
    FINISHED,
    LOG,
    Best,
    Log,
    Progress,
    alone,
    check_writable,
    read_best,
    read_finished,
    read_state,
    score_of,
    write_best,
    write_finished,
    write_state,
)
from numpy_bert.training.trainable import Model, trainable
from numpy_bert.training.training_args import TrainingArguments

__all__ = ["BEST", "CHECKPOINT", "FINISHED", "LOG", "Trainer"]

# The generators are seeded by one of these, the run's seed and a number.
_ORDER, _BATCH = 0, 1
_WORKED_ON = frozenset({"_identity", "_model", "_arrays", "_optimizer", "_order", "_trained"})

Evaluate = Callable[[Any], float]


class _Step(NamedTuple):
    """The loss of a step, and how many tokens it read."""

    loss: float
    tokens: int


class _Read(NamedTuple):
    """A batch, the numbers of its examples, and what else is to be drawn for it."""

    batch: Batch
    examples: IntArray
    rng: np.random.Generator


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
    folder : str or Path, optional
        The folder of ``checkpoint.safetensors``, ``log.jsonl`` and, with `evaluate`,
        ``best.safetensors``; it is made if it is not there. By default it is the arguments'
        `output_dir`.
    evaluate : callable, optional
        A function that takes a model with the weights of a step and returns a number, the larger
        the better; the run keeps the weights of the best. What is NaN or infinite is no better than
        anything: it is logged as null, and if there is nothing else the last weights are kept, with
        a warning. The state is saved before each evaluation, so that nothing is lost where one
        fails. A run that has been evaluated goes on with the same `evaluate` alone: one is told
        from another by its qualified name, its own code, and the texts, booleans and data sets
        that it closes over or has as defaults or as arguments of a `functools.partial`. Numbers
        and everything else are not compared, since counters and histories change: `also` is for
        those.
    also : mapping, optional
        What a run that goes on must have in common with this one beside its settings, such as what
        it is evaluated on; JSON values, by names that no setting of the run has.

    Raises
    ------
    InputError
        If there is nothing to evaluate or to train on, if `also` does not fit, or if the learning
        rate of every step is 0, which would return the model as it is.

    Notes
    -----
    A run that goes on must have the settings, the data, the model with its config, and `also` of
    the one that it goes on with, and be judged in the same way.

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

    # What a run ended with.
    _trained: Any = None
    # The number of a pass, and its batches.
    _order: tuple[int, Sequence[IntArray]] = (-1, ())

    def __init__(
        self,
        model: Model,
        data: TrainingData,
        arguments: TrainingArguments,
        folder: str | Path | None = None,
        *,
        evaluate: Evaluate | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> None:
        if evaluate is None and (arguments.eval_steps or arguments.early_stopping_patience):
            raise InputError(
                "eval_steps and early_stopping_patience need something to evaluate on."
            )
        if not len(data):
            raise InputError("data must hold at least one example; got none.")
        also = {} if also is None else also
        if not isinstance(also, Mapping) or not all(isinstance(name, str) for name in also):
            raise InputError(f"also must be a mapping of names, which are str; got {shown(also)}.")
        if arguments.batch_sampler == "no_duplicates" and not hasattr(data, "texts_of"):
            raise InputError(
                "batch_sampler='no_duplicates' is for pairs of texts, of which none is to be twice "
                f"in a batch; the data are {type(data).__name__}."
            )
        check_fits(data, model)
        folder = arguments.output_dir if folder is None else folder
        if folder is None:
            raise InputError("folder must be given, or output_dir of the arguments; got neither.")
        self._source, self._data, self._arguments = model, data, arguments
        self._folder, self._evaluate = as_folder(folder, "folder"), evaluate
        self._also = dict(also)
        self._log = Log(self._folder / LOG)
        self._total = arguments.steps_of(len(data))
        arguments.check_rates(self._total)

    def is_finished(self) -> bool:
        """Tell whether the folder holds the model that this run ended with, saved by `save_model`.

        What the saving may have left of the checkpoint, where it was stopped, is removed.

        Raises
        ------
        TrainingError
            If the folder holds another run's model.
        OutputError
            If the model was changed since, or what is left cannot be removed.
        """
        path = self._folder / FINISHED
        identity = identify(self._source, self._data, self._arguments, self._evaluate, self._also)
        if not read_finished(path, identity):
            return False
        self._remove(CHECKPOINT, BEST)
        return True

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Save the trained model; in the run's own folder, leave no checkpoint behind.

        A run that is stopped before its model is saved whole goes on from its checkpoint. After
        that `train` returns the saved model, and nothing is trained again.

        Parameters
        ----------
        output_dir : str or Path, optional
            The folder; that of the run by default. In another one the checkpoint stays, since the
            run does not know of what becomes of that folder.

        Raises
        ------
        InputError
            If nothing was trained yet, or the model is one that has no files of its own.
        OutputError
            If the model cannot be saved; the checkpoint stays.
        """
        if self._trained is None:
            raise InputError("save_model: nothing was trained yet; call train() first.")
        save = getattr(self._trained, "save_pretrained", None)
        if save is None:
            kind = type(self._trained).__name__
            raise InputError(f"save_model: a {kind} has no files of its own; save its models.")
        folder = self._folder if output_dir is None else Path(output_dir)
        if folder.resolve() != self._folder.resolve():
            save(folder)
            return
        with alone(folder):
            if self.is_finished():
                return
            save(folder, force=True)
            write_finished(folder / FINISHED, self._identity)
            self._remove(CHECKPOINT, BEST)

    def _remove(self, *names: str) -> None:
        """Remove files from the folder, whether they are there or not."""
        for path in (self._folder / name for name in names):
            try:
                path.unlink(missing_ok=True)
            except OSError as failure:
                raise OutputError(f"{path}: cannot be removed ({failure.strerror}).") from None

    def train(self) -> Model:
        """Run to the end, from the checkpoint if the folder holds one; return the trained model.

        A run that was stopped, by whatever, and goes on ends in the same bits as one that was not,
        on one machine with one number of threads. Without a checkpoint each call starts from the
        model that the run was made with. A run that has ended returns its model again, also where
        `save_model` has put it in the place of the checkpoint.

        Raises
        ------
        TrainingError
            If a loss or a gradient is not finite: the step and the examples are named, and the last
            checkpoint stays. Or if the folder holds another run's checkpoint, or another training
            is writing there.
        OutputError
            If the folder cannot be written to; the last checkpoint stays.
        """
        with alone(self._folder):
            trained = self._trained = self._saved() if self.is_finished() else self._run()
        return trained

    def _run(self) -> Model:
        """Run to the end, from the checkpoint if there is one."""
        check_writable(self._folder)
        self._remove(FINISHED)  # whose model is gone
        self._start()
        done = self._resume()
        if self._is_due(done):  # the state was saved before the model was judged
            done = self._judge(done)
        with progress(self._total, "training", least=1, unit="steps", delay=1) as tick:
            tick(done.step)
            while done.step < self._total and not self._is_stopped(done):
                started = time.perf_counter()
                taken = self._take(done.step)
                seconds = max(time.perf_counter() - started, 1e-9)
                done = replace(done, step=done.step + 1)
                tick(1, f"loss {taken.loss:.3f}, {taken.tokens / seconds:,.0f} tokens/s")
                done = self._after(done, taken, seconds)
        self._save(done)
        return self._result(done)

    def _saved(self) -> Model:
        """Return the model that stands in the folder."""
        read: Any = getattr(self._source, "saved_in", None)
        if read is None:
            read = partial(type(self._source).from_pretrained, dtype=self._source.dtype)  # type: ignore[attr-defined]
        model: Model = read(self._folder)
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Carry what the run was made with: what `train` works on is taken anew by each call."""
        return {name: value for name, value in vars(self).items() if name not in _WORKED_ON}

    def _start(self) -> None:
        """Take the model as it was given: an earlier call may have ended anywhere."""
        arguments = self._arguments
        self._identity = identify(self._source, self._data, arguments, self._evaluate, self._also)
        self._model, self._arrays = trainable(self._source)
        self._optimizer = AdamW(
            self._arrays,
            lr=arguments.learning_rate,
            betas=(arguments.adam_beta1, arguments.adam_beta2),
            eps=arguments.adam_epsilon,
            weight_decay=arguments.weight_decay,
        )

    def _resume(self) -> Progress:
        """Go back to the checkpoint, and the log to where it was then."""
        path, best, done = self._folder / CHECKPOINT, self._folder / BEST, Progress()
        if is_listed(path):
            done = read_state(path, self._optimizer, self._identity)
        elif score_of(best) is not None:  # an earlier run's, whose checkpoint is gone
            with suppress(OSError):  # an evaluation replaces it, or says why it cannot
                best.unlink()
        elif self._evaluate is not None and is_listed(best):
            raise OutputError(
                f"{best}: no run wrote it, and this one would replace it. Train into another "
                "folder, or move it."
            )
        self._log.rewind(done.step, done.judged)
        return done

    def _take(self, step: int) -> _Step:
        """Take a step of the optimizer, of some batches as if they were one."""
        arguments, read = self._arguments, [self._read(number) for number in self._batches(step)]
        items = added_items(self._model.num_items_in_batch(part.batch) for part in read)
        total, gradients = 0.0, dict[str, Array]()
        for batch, examples, rng in read:
            try:
                found = self._model.loss_and_gradients(batch, rng=rng, num_items_in_batch=items)
            except CheckpointError as failure:  # weights that have grown until a step overflows
                raise self._end(step, str(failure).rstrip("."), examples) from None
            if not math.isfinite(found.loss):
                raise self._end(step, f"the loss is {found.loss}", examples)
            total += found.loss
            for name, array in found.named():
                if name in self._arrays:  # not a pooler that the head does not read
                    gradients[name] = gradients[name] + array if name in gradients else array
        norm = global_norm(gradients)
        if not math.isfinite(norm):
            every = np.concatenate([part.examples for part in read])
            raise self._end(step, "a gradient is not finite", every)
        if arguments.max_grad_norm > 0:
            clip_grads_with_norm(gradients, arguments.max_grad_norm, norm)
        self._optimizer.step(gradients, lr=self._rate(step))
        return _Step(total, sum(tokens_of(part.batch) for part in read))

    def _batches(self, step: int) -> range:
        """Return the numbers of a step's batches, counted over all passes."""
        examples, count = len(self._data), self._arguments.gradient_accumulation_steps
        epoch, place = divmod(step, self._arguments.steps_of_pass(examples))
        batches = self._arguments.batches_of(examples)
        first = epoch * batches
        return range(first + place * count, first + min((place + 1) * count, batches))

    def _read(self, number: int) -> _Read:
        examples, rng = self._examples(number), self._rng(_BATCH, number)
        return _Read(self._data.batch(examples, rng), examples, rng)

    def _end(self, step: int, what: str, examples: IntArray) -> TrainingError:
        """Return the error that ends a run whose numbers are not finite."""
        return TrainingError(
            f"step {step + 1}: {what}, on the examples {examples.tolist()}; the last checkpoint "
            f"stays. A lower learning_rate (now {self._rate(step):g}) may help."
        )

    def _rate(self, step: int) -> float:
        return self._arguments.rate_of(step, self._total)

    def _rng(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._arguments.seed, kind, number])

    def _examples(self, number: int) -> Any:
        """Return which examples the batch of this number has: each once a pass, in an own order."""
        epoch, place = divmod(number, self._arguments.batches_of(len(self._data)))
        if self._order[0] != epoch:
            self._order = epoch, self._pass(self._rng(_ORDER, epoch))
        return self._order[1][place]

    def _pass(self, rng: np.random.Generator) -> list[IntArray]:
        """Return the batches of a pass over the data."""
        arguments, data = self._arguments, self._data
        size = arguments.per_device_train_batch_size
        if arguments.batch_sampler == "no_duplicates":
            texts_of = data.texts_of  # type: ignore[attr-defined]  # looked for at the start
            return batches_without_duplicates(len(data), size, rng, texts_of)
        lengths = data.lengths if arguments.group_by_length else None
        return batches(len(data), size, rng, lengths)

    def _after(self, done: Progress, taken: _Step, seconds: float) -> Progress:
        """Log, evaluate and save, as often as the settings say."""
        arguments = self._arguments
        is_last = done.step == self._total
        if is_last or done.step % arguments.logging_steps == 0:
            self._log.write(
                {
                    "step": done.step,
                    "loss": taken.loss,
                    "learning_rate": self._rate(done.step - 1),
                    "tokens_per_second": round(taken.tokens / seconds, 1),
                }
            )
        is_due = self._is_due(done)
        if is_due or (arguments.save_steps and done.step % arguments.save_steps == 0):
            self._save(done)
        return self._judge(done) if is_due else done

    def _is_due(self, done: Progress) -> bool:
        """Tell whether the model is to be evaluated at this step, and has not been."""
        if self._evaluate is None or done.judged == done.step:
            return False
        every = self._arguments.eval_steps
        return done.step == self._total or bool(every and done.step % every == 0)

    def _judge(self, done: Progress) -> Progress:
        """Evaluate the model as it is, and keep its weights if none was better.

        The state of this step has been saved: if `evaluate` fails, or the run ends here, it goes
        on with this evaluation. Weights that it has kept as the best are not evaluated again.
        """
        path, judge = self._folder / BEST, self._identity.exact["evaluate"]
        known = score_of(path)
        is_known = known is not None and (known.step, known.evaluate) == (done.step, judge)
        score = known.score if known is not None and is_known else self._score()
        is_number, done = math.isfinite(score), replace(done, judged=done.step)
        self._log.write({"step": done.step, "evaluation": score if is_number else None})
        if not is_number or (done.best is not None and not score > done.best):
            return replace(done, worse=done.worse + 1)
        if not is_known:
            write_best(path, self._arrays, Best(step=done.step, score=score, evaluate=judge))
        return replace(done, best=score, worse=0)

    def _score(self) -> float:
        """Return what `evaluate` says of the model as it is; what is beyond float64 is infinite."""
        assert self._evaluate is not None
        # A copy: who keeps the model that is judged best must not see it move on.
        arrays = {name: array.copy() for name, array in self._arrays.items()}
        found: Any = self._evaluate(self._model.with_parameters(arrays))
        try:
            if isinstance(found, (str, bytes, bytearray)):  # of which float makes a number too
                raise TypeError
            return float(found)
        except OverflowError:
            return math.inf if found > 0 else -math.inf
        except (TypeError, ValueError):
            raise InputError(
                "evaluate must return a number, the larger the better; got a "
                f"{type(found).__name__}."
            ) from None

    def _is_stopped(self, done: Progress) -> bool:
        patience = self._arguments.early_stopping_patience
        return patience is not None and done.worse >= patience

    def _save(self, done: Progress) -> None:
        write_state(self._folder / CHECKPOINT, self._optimizer, done, self._identity)

    def _result(self, done: Progress) -> Model:
        """Return the model with the best weights, or the last."""
        if done.best is not None:
            return self._model.with_parameters(read_best(self._folder / BEST, self._arrays))
        if self._evaluate is not None:
            warnings.warn(
                "evaluate: returned no finite number in the whole run; the model has its last "
                "weights.",
                stacklevel=4,
            )
        return self._model.with_parameters(self._arrays)
