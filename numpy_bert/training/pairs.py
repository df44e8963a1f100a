"""A sentence model that learns from pairs of texts, and the pairs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_array
from numpy_bert.config import BertConfig
from numpy_bert.encoding.gradients import SentenceRun
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.loading.modules import MODULES, SETTINGS, TRANSFORMER_CONFIGS
from numpy_bert.messages import listed, quoted
from numpy_bert.tasks.items import Items, items_of
from numpy_bert.text.inputs import as_texts
from numpy_bert.text.saving import SAVED
from numpy_bert.training.data import Batch, Examples, check_model, check_tokens
from numpy_bert.training.pair_losses import PairLoss, VectorGradients
from numpy_bert.training.trainable import NamedGradients

__all__ = ["PairModel", "PairedTexts"]

# The names of a column of numbers, as sentence-transformers looks for them, in this order.
_SCORES = ("label", "labels", "score", "scores")
# How many padded tokens more the columns of a batch may have together for being read at once.
_MORE = 1.25


class PairedTexts(Examples):
    """Columns of texts, whose rows belong together, for a `PairModel`.

    Parameters
    ----------
    dataset : mapping of str to sequence, sequence of mappings, or a table with column names
        The columns by their names: texts, and numbers in one that is called label, labels, score
        or scores. Their order counts and not what those of texts are called, as in
        sentence-transformers: an anchor and a positive (and negatives), or two sentences. A
        datasets.Dataset and a pandas.DataFrame are such tables.
    encoder : SentenceEncoder
        The encoder whose tokenizer reads them, without a prompt, up to its max_seq_length.
    max_length : int, optional
        How many tokens of a text are read, if fewer than that.
    name : str
        What an error calls the data.

    Raises
    ------
    InputError
        If there is no column of texts, columns differ in length, or a cell holds something else;
        it is named.

    Warns
    -----
    UserWarning
        Once, if texts are cut.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> columns = {"anchor": ["a cat", "it is warm"], "positive": ["a kitten", "the sun is up"]}
    >>> data = PairedTexts(columns, SentenceEncoder.from_pretrained("demo"))
    >>> batch = data.batch(np.array([1, 0]), np.random.default_rng(0))
    >>> batch["columns"]["positive"]["input_ids"].shape
    (2, 6)
    """

    def __init__(
        self,
        dataset: Any,
        encoder: SentenceEncoder,
        *,
        max_length: int | None = None,
        name: str = "train_dataset",
    ) -> None:
        self._name, columns = name, _columns(dataset, name)
        label = next((column for column in _SCORES if column in columns), None)
        self.scores = None if label is None else _as_scores(columns.pop(label), f"{name}: {label}")
        texts = {key: _texts(column, f"{name}: {key}") for key, column in columns.items()}
        sizes = {key: len(column) for key, column in texts.items()}
        if self.scores is not None:
            sizes[str(label)] = len(self.scores)
        if not texts or len(set(sizes.values())) > 1 or not all(sizes.values()):
            found = listed([f"{quoted(key)} of {size}" for key, size in sizes.items()])
            raise InputError(
                f"{name}: there must be columns of texts that all have as many rows, at least one; "
                f"got {found or 'none'}."
            )
        self._pad = encoder.tokenizer.pad_token_id
        rows = {key: _encoded(column, encoder, max_length) for key, column in texts.items()}
        self._rows = {key: column.rows for key, column in rows.items()}
        _warn_of_cuts(rows, name)
        self._texts = texts
        self._lengths = sum(
            (np.array([len(ids) for ids in column]) for column in self._rows.values()),
            start=np.zeros(len(self), np.intp),
        )
        self._fingerprint = self._hash()

    def __len__(self) -> int:
        return len(next(iter(self._rows.values())))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of texts, in their order."""
        return tuple(self._rows)

    def texts_of(self, number: int) -> frozenset[str]:
        """Return the texts of a row, which no other row of a batch without duplicates has."""
        return frozenset(column[number] for column in self._texts.values())

    def check(self, model: Any) -> None:
        """Raise InputError if the pairs do not fit the model or its loss."""
        check_model(self, model, PairModel)
        model.loss.check(self.columns, self.scores, self._name)
        rows = [ids for column in self._rows.values() for ids in column]
        longest = max(len(ids) for ids in rows)
        largest = max(int(ids.max()) for ids in rows if len(ids))
        check_tokens(model, ids=max(self._pad, largest), length=longest)

    def check_batches(self, size: int, loss: PairLoss) -> None:
        """Raise InputError if nothing is learnt from batches of so many rows."""
        least = loss.least_rows(len(self.columns))
        if min(size, len(self)) < least:
            raise InputError(
                f"{self._name}: {type(loss).__name__} compares the rows of a batch, of which there "
                f"must be at least {least}; got {len(self)} rows and a "
                f"per_device_train_batch_size of {size}."
            )

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these rows; nothing is drawn."""
        del rng
        columns = {
            key: _padded([rows[int(number)] for number in numbers], self._pad)
            for key, rows in self._rows.items()
        }
        if self.scores is None:
            return {"columns": columns}
        return {"columns": columns, "labels": self.scores[numbers]}

    def _hash(self) -> str:
        """Return a hash of all token ids and scores."""
        digest = hashlib.sha256(repr(self.columns).encode("utf-8", "surrogatepass"))
        for column in self._rows.values():
            for ids in column:
                digest.update(np.array([*ids, -1], np.int64).tobytes())
        if self.scores is not None:
            digest.update(self.scores.tobytes())
        return digest.hexdigest()


class PairModel:
    """A SentenceEncoder and the loss that it learns by: what a `Trainer` trains.

    Parameters
    ----------
    encoder : SentenceEncoder
        The model; it stays as it is.
    loss : PairLoss
        The loss of its vectors.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> from numpy_bert.training.pair_losses import MultipleNegativesRankingLoss
    >>> encoder = SentenceEncoder.from_pretrained("demo")
    >>> model = PairModel(encoder, MultipleNegativesRankingLoss(encoder))
    >>> data = PairedTexts({"anchor": ["a cat", "warm"], "positive": ["kitten", "sun"]}, encoder)
    >>> found = model.loss_and_gradients(data.batch(np.arange(2), np.random.default_rng(0)))
    >>> found.loss > 0.0, found.gradients["2.dense.weight"].shape
    (True, (384, 128))
    """

    def __init__(self, encoder: SentenceEncoder, loss: PairLoss) -> None:
        self.encoder, self.loss = encoder, loss

    @property
    def config(self) -> BertConfig:
        """The config of the BERT."""
        return self.encoder.model.config

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the model computes in."""
        return self.encoder.model.dtype

    @property
    def identity(self) -> dict[str, Any]:
        """What the loss depends on beside the weights and the data."""
        return {"pooling": list(self.encoder.pooling), **self.loss.identity}

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter with its name."""
        return self.encoder.named_parameters()

    def with_parameters(self, arrays: Mapping[str, Array]) -> PairModel:
        """Return a model with other arrays, not copied."""
        return PairModel(self.encoder.with_parameters(arrays), self.loss)

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """Return what a batch counts for in a step of several batches."""
        columns, _ = _parted(batch)
        rows = len(as_array(next(iter(columns.values()))["input_ids"], "input_ids"))
        return {"rows": self.loss.items(rows)}

    @np.errstate(all="ignore")
    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Items | None = None,
    ) -> NamedGradients:
        """Return the loss of a batch and the gradients of all parameters.

        Parameters
        ----------
        batch : mapping
            What `PairedTexts.batch` returns: in ``columns`` the ids and masks of each column by its
            name, and in ``labels`` a number for each row, if the loss needs one.
        rng : numpy.random.Generator, optional
            The generator that draws dropout's masks; without it dropout is off.
        num_items_in_batch : int or mapping of str to int, optional
            The sum of what the method of this name returns for the batches of a step.

        Raises
        ------
        InputError
            If an argument does not fit.
        CheckpointError
            If a hidden state is not finite because a weight is not; the weight is named.
        """
        forward = self._forward(batch, rng, num_items_in_batch)
        grad, gradients = np.concatenate(forward.found.columns), dict[str, Array]()
        ends = np.cumsum([len(run.vectors) for run in forward.runs])
        for run, part in zip(forward.runs, np.split(grad, ends[:-1]), strict=True):
            for name, array in run.gradients(part).named():
                gradients[name] = gradients[name] + array if name in gradients else array
        return NamedGradients(forward.found.loss, gradients)

    @np.errstate(all="ignore")
    def loss_of(
        self, batch: Mapping[str, Any], *, num_items_in_batch: Items | None = None
    ) -> float:
        """Return the loss of a batch, without dropout; the arguments are those above."""
        return self._forward(batch, None, num_items_in_batch).found.loss

    def _forward(
        self, batch: Mapping[str, Any], rng: np.random.Generator | None, given: Items | None
    ) -> _Forward:
        """Make the vectors of a batch and find their loss."""
        columns, scores = _parted(batch)
        items = self.num_items_in_batch(batch) if given is None else given
        inputs = list(columns.values())
        runs = [
            self.encoder.run(self.encoder.model.inputs(**group), rng) for group in _groups(inputs)
        ]
        vectors = np.split(np.concatenate([run.vectors for run in runs]), len(inputs))
        return _Forward(runs, self.loss.gradients(vectors, scores, items_of(items, "rows")))

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Save the encoder, as `SentenceEncoder.save_pretrained` does."""
        self.encoder.save_pretrained(save_directory, force=force)

    def files(self) -> tuple[str, ...]:
        """Return the names of what `save_pretrained` writes beside the BERT's files."""
        return (MODULES, TRANSFORMER_CONFIGS[0], SETTINGS, *SAVED)

    def saved_in(self, folder: Path) -> PairModel:
        """Return the model that `save_pretrained` has written to a folder."""
        return PairModel(SentenceEncoder.from_pretrained(folder, dtype=self.dtype), self.loss)


class _Forward(NamedTuple):
    """The runs that made a batch's vectors, and their loss with its gradients."""

    runs: list[SentenceRun]
    found: VectorGradients


class _Encoded(NamedTuple):
    """The ids of each text, and the lengths of those that were cut, by their numbers."""

    rows: list[IntArray]
    cut: dict[int, int]
    limit: int


def _encoded(texts: Sequence[str], encoder: SentenceEncoder, limit: int | None) -> _Encoded:
    found = encoder.ids(texts, limit)
    ends = np.cumsum(found.lengths)[:-1]
    most = encoder.max_seq_length if limit is None else min(limit, encoder.max_seq_length)
    return _Encoded(np.split(found.ids, ends), found.cut, most)


def _warn_of_cuts(columns: Mapping[str, _Encoded], name: str) -> None:
    """Tell once which texts have more tokens than are read."""
    cut = [(key, number) for key, column in columns.items() for number in column.cut]
    if cut:
        key, number = cut[0]
        first, total = columns[key], sum(len(column.rows) for column in columns.values())
        warnings.warn(
            f"{name}: {len(cut)} of {total} texts have more than {first.limit} tokens and were "
            f"cut; the first is {key}[{number}], of {first.cut[number]}.",
            stacklevel=4,
        )


def _columns(dataset: Any, name: str) -> dict[str, Any]:
    """Return the columns of whatever holds them, by their names."""
    names = getattr(dataset, "column_names", None)
    names = getattr(dataset, "columns", None) if names is None else names
    if isinstance(dataset, Mapping):
        found = dict(dataset)
    elif names is not None:
        found = {key: dataset[key] for key in names}
    elif isinstance(dataset, (list, tuple)) and all(isinstance(row, Mapping) for row in dataset):
        keys = list(dataset[0]) if dataset else []
        for number, row in enumerate(dataset):
            if set(row) != set(keys):
                raise InputError(
                    f"{name}[{number}]: must have {listed(keys)}, as the first row; it has "
                    f"{listed(list(map(str, row))) or 'nothing'}."
                )
        found = {key: [row[key] for row in dataset] for key in keys}
    else:
        raise InputError(
            f"{name} must be a dict of columns, a list of dicts, or a table with column names, "
            f"such as a datasets.Dataset; got {type(dataset).__name__}."
        )
    return {str(key): column for key, column in found.items()}


def _texts(column: Any, where: str) -> list[str]:
    if isinstance(column, Mapping) or hasattr(column, "column_names"):
        raise InputError(f"{where} must be a column of texts; it is a table. Give it alone.")
    column = column if isinstance(column, (str, list, tuple)) else list(column)
    single, texts = as_texts(column, where)
    if single:
        raise InputError(f"{where} must be a column of texts; got one text.")
    return list(texts)


def _as_scores(column: Any, where: str) -> Array:
    """Return finite numbers, as float64."""
    given = as_array(column if isinstance(column, np.ndarray) else list(column), where)
    if given.ndim != 1 or given.dtype.kind not in "fiub":
        raise InputError(
            f"{where} must be a number for each row; got {given.dtype} of shape {given.shape}."
        )
    scores: Array = given.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise InputError(f"{where}[{wrong[0]}] must be finite; got {scores[wrong[0]]}.")
    scores.setflags(write=False)  # they are in the fingerprint
    return scores


def _padded(rows: Sequence[IntArray], fill: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return ids and mask of texts, padded to the longest."""
    lengths = np.array([len(ids) for ids in rows])
    mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
    ids = np.full(mask.shape, fill, np.int64)
    ids[mask] = np.concatenate(rows)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def _parted(batch: Mapping[str, Any]) -> tuple[Mapping[str, Any], Array | None]:
    """Return the columns of a batch and its scores."""
    columns = batch.get("columns") if isinstance(batch, Mapping) else None
    if not isinstance(columns, Mapping) or not columns or not set(batch) <= {"columns", "labels"}:
        raise InputError(
            "batch must have columns, and may have labels, as PairedTexts.batch gives."
        )
    return columns, batch.get("labels")


def _groups(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is read at once: all columns, unless that adds much padding.

    Fewer and larger products are faster; but short questions beside long answers would be padded to
    the length of those.
    """
    widths = [column["input_ids"].shape[1] for column in columns]
    most = max(widths)
    if most * len(columns) > _MORE * sum(widths):
        return [dict(column) for column in columns]
    # What is added has mask 0, so that its id does not matter.
    return [
        {
            key: np.concatenate(
                [
                    np.pad(column[key], ((0, 0), (0, most - width)))
                    for column, width in zip(columns, widths, strict=True)
                ]
            )
            for key in ("input_ids", "attention_mask")
        }
    ]
