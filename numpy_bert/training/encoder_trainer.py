"""The training of a SentenceEncoder on pairs, in the hands of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.messages import shown
from numpy_bert.tasks.items import added_items
from numpy_bert.training.fit import Trainer
from numpy_bert.training.pair_losses import CoSENTLoss, PairLoss
from numpy_bert.training.pairs import PairedTexts, PairModel
from numpy_bert.training.run_folder import check_free
from numpy_bert.training.training_args import TrainingArguments

__all__ = ["SentenceEncoderTrainer", "pair_loss"]

# Where sentence-transformers trains if it is not told.
_FOLDER, _FOLDER_WITHOUT_ARGUMENTS = "trainer_output", "tmp_trainer"


class SentenceEncoderTrainer:
    """A run that trains a SentenceEncoder on pairs of texts.

    The names are those of sentence-transformers' SentenceTransformerTrainer.

    Parameters
    ----------
    model : SentenceEncoder
        The model that the run starts from; it stays as it is.
    args : TrainingArguments, optional
        The settings. The run is in the folder `output_dir`, which gets the trained model in the
        end, its log, and until then the checkpoints.
    train_dataset : mapping of columns, list of mappings, or a table with column names
        The rows, as `numpy_bert.training.pairs.PairedTexts` takes them: anchors and positives (and
        negatives), or two sentences and a number. The order of the columns counts.
    eval_dataset : the same, optional
        The rows whose loss says how good the model is.
    loss : PairLoss, or callable, optional
        The loss, or a function that makes one for a model; CoSENTLoss by default.
    evaluator : callable, optional
        A function that takes a SentenceEncoder and returns a number, the larger the better, in
        place of an `eval_dataset`.

    Attributes
    ----------
    model : SentenceEncoder
        The model; after `train` the trained one. Where something evaluates, that is the best of
        those that were evaluated, after every `eval_steps` and at the end.
    args : TrainingArguments
        The settings.

    Raises
    ------
    InputError
        If an argument does not fit; it is named.
    OutputError
        If the folder holds a model that no run has put there.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert import SentenceEncoder
    >>> from numpy_bert.training import MultipleNegativesRankingLoss
    >>> model = SentenceEncoder.from_pretrained("demo")
    >>> pairs = {"anchor": ["a cat", "it is warm"], "positive": ["a kitten", "the sun is up"]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trainer = SentenceEncoderTrainer(
    ...         model=model,
    ...         args=TrainingArguments(output_dir=folder, learning_rate=1e-3, num_train_epochs=2),
    ...         train_dataset=pairs,
    ...         loss=MultipleNegativesRankingLoss(model),
    ...     )
    ...     trained = trainer.train()
    >>> trained is trainer.model, trained is model
    (True, False)
    """

    def __init__(
        self,
        model: SentenceEncoder | None = None,
        args: TrainingArguments | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        loss: PairLoss | Callable[[SentenceEncoder], PairLoss] | None = None,
        evaluator: Callable[[SentenceEncoder], float] | None = None,
    ) -> None:
        if not isinstance(model, SentenceEncoder):
            raise InputError(f"model must be a SentenceEncoder; got {type(model).__name__}.")
        if train_dataset is None:
            raise InputError("train_dataset must be given; got None.")
        if eval_dataset is not None and evaluator is not None:
            raise InputError("eval_dataset, evaluator: give one of the two, which judges.")
        if args is None:
            args = TrainingArguments(output_dir=_FOLDER_WITHOUT_ARGUMENTS)
        if not isinstance(args, TrainingArguments):
            raise InputError(f"args must be TrainingArguments; got {type(args).__name__}.")
        self.args, self.model = args, model
        self._start = start = PairModel(model, pair_loss(loss, model))
        data = PairedTexts(train_dataset, model)
        judge: Callable[[PairModel], float] | None = None
        data.check_batches(args.per_device_train_batch_size, start.loss)
        if evaluator is not None:
            judge = partial(_evaluated, evaluator)
        elif eval_dataset is not None:
            held = PairedTexts(eval_dataset, model, name="eval_dataset")
            held.check(start)
            judge = partial(_held_out, held, args.per_device_eval_batch_size)
        self._folder = Path(_FOLDER if args.output_dir is None else args.output_dir)
        self._trainer = Trainer(start, data, args, self._folder, evaluate=judge)

    def train(self, resume_from_checkpoint: bool | None = None) -> SentenceEncoder:
        """Train, from the checkpoint if the folder holds one, and save the model in the folder.

        Parameters
        ----------
        resume_from_checkpoint : bool, optional
            An argument of transformers, True or None: a checkpoint in the folder is gone on from.

        Returns
        -------
        SentenceEncoder
            The trained model, which is `model` from now on. A run that has ended returns it again
            and trains nothing.

        Raises
        ------
        TrainingError, OutputError
            As `Trainer.train` does.
        """
        if resume_from_checkpoint not in (None, True):
            raise InputError(
                "resume_from_checkpoint must be True: a checkpoint in output_dir is gone on from; "
                f"got {shown(resume_from_checkpoint)}. Train into another folder to begin "
                "anew."
            )
        if not self._trainer.is_finished():
            check_free(self._folder, self._start.files())
        trained = self._trainer.train()
        self._trainer.save_model()
        self.model = trained.encoder
        return self.model

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Save the model as it is now, in `output_dir` of the settings if no folder is named.

        `train` has saved the trained model there already.

        Raises
        ------
        OutputError
            If another folder holds a model, or the model cannot be written.
        """
        if output_dir is not None and Path(output_dir).resolve() != self._folder.resolve():
            self.model.save_pretrained(output_dir)
        else:
            self._trainer.save_model()


def pair_loss(
    loss: PairLoss | Callable[[SentenceEncoder], PairLoss] | None, model: SentenceEncoder
) -> PairLoss:
    """Return a loss: the one that is given, the one that a function makes, or CoSENTLoss."""
    made = CoSENTLoss(model) if loss is None else loss
    if not isinstance(made, PairLoss) and callable(made):
        made = made(model)
    if not isinstance(made, PairLoss):
        raise InputError(
            "loss must be a MultipleNegativesRankingLoss, a CoSENTLoss or a CosineSimilarityLoss; "
            f"got {type(made).__name__}."
        )
    return made


def _evaluated(evaluator: Callable[[SentenceEncoder], float], model: PairModel) -> float:
    """Have the encoder of a model judged."""
    return evaluator(model.encoder)


def _held_out(data: PairedTexts, batch_size: int, model: PairModel) -> float:
    """Judge a model by its loss on rows that it does not learn."""
    rng = np.random.default_rng(0)  # nothing is drawn from it
    numbers = np.arange(len(data))
    starts = range(0, len(data), batch_size)
    read = [data.batch(numbers[start : start + batch_size], rng) for start in starts]
    items = added_items(model.num_items_in_batch(batch) for batch in read)
    return -sum(model.loss_of(batch, num_items_in_batch=items) for batch in read)
