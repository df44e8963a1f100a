"""Examples to train on: texts that are encoded once, and batches of them by number."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_array, largest
from numpy_bert.errors import InputError
from numpy_bert.model.task_models import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
)
from numpy_bert.ops.losses import IGNORED
from numpy_bert.tasks.batches import padded_rows
from numpy_bert.tasks.objectives import check_labels
from numpy_bert.text.inputs import as_items
from numpy_bert.text.lost import limit_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.masking import check_probability, drawn_from, mask_batch
from numpy_bert.training.student import SentenceStudent

__all__ = [
    "Batch",
    "EncodedTexts",
    "Examples",
    "LabelledTexts",
    "MaskedTexts",
    "TaughtTexts",
    "TrainingData",
    "as_examples",
    "batches",
    "batches_without_duplicates",
    "check_fits",
    "check_model",
    "check_tokens",
    "tokens_of",
]

# Batches that are sorted together: few enough that passes differ, enough that lengths are alike.
_TOGETHER = 50
# How many numbers a sketch of a teacher's vectors has.
_SUMS = 16

Batch = dict[str, Any]


class TrainingData(Protocol):
    """Examples by number; a batch of them is what a model's `loss_and_gradients` takes.

    Data whose last bits may differ from run to run have a `sketch` too, as `TaughtTexts` have; data
    that can be read without the same text twice in a batch have `texts_of`, as `PairedTexts` have.
    """

    @property
    def fingerprint(self) -> str:
        """A text that tells these examples from others."""

    @property
    def lengths(self) -> IntArray:
        """How many tokens each example has, about, so that like ones can be read together."""

    def __len__(self) -> int:
        """Return how many examples there are."""

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return the batch of these examples; `rng` draws what is to be drawn."""


class Examples:
    """The base of data that find their hash and their lengths when they are made."""

    _fingerprint: str
    _lengths: IntArray

    @property
    def fingerprint(self) -> str:
        """A hash of all token ids, and of what else a batch depends on."""
        return self._fingerprint

    @property
    def lengths(self) -> IntArray:
        """How many tokens each example has, about."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._lengths)


class EncodedTexts(Examples):
    """Texts as token ids, which are padded when they become a batch."""

    def __init__(
        self,
        items: Sequence[Any],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        also: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        limit = limit_of(tokenizer, max_length)
        encoding = tokenizer(
            items, truncation=True, max_length=limit, return_special_tokens_mask=True
        )
        self._ids: list[list[int]] = encoding["input_ids"]
        # None where the tokenizer gives none.
        self._types: list[list[int]] | None = encoding.get("token_type_ids")
        self._special: list[list[int]] = encoding["special_tokens_mask"]
        self._lengths = np.array([len(ids) for ids in self._ids])
        _warn_of_cuts(encoding.truncated, len(items), limit)
        digest = hashlib.sha256(f"{limit} {also}".encode())
        for ids, types in zip(self._ids, self._types or [[]] * len(self._ids), strict=True):
            digest.update(np.array([*ids, -1, *types, -2], np.int64).tobytes())
        self._fingerprint = digest.hexdigest()

    def check(self, model: Any) -> None:
        """Raise InputError if the texts do not fit the model that is to read them."""
        check_tokens(
            model,
            ids=max(self._tokenizer.pad_token_id, *map(max, self._ids)),
            types=0 if self._types is None else max(map(max, self._types)),
            length=largest(self._lengths),
        )

    def _inputs(self, numbers: IntArray) -> Batch:
        """Return ids, mask and token types, if any, of these texts, padded to the longest."""
        lengths = self._lengths[numbers]
        found = {
            "input_ids": self._padded(self._ids, numbers, self._tokenizer.pad_token_id),
            "attention_mask": (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype(np.int64),
        }
        if self._types is not None:
            found["token_type_ids"] = self._padded(self._types, numbers, 0)
        return found

    def _padded(self, rows: Sequence[Sequence[int]], numbers: IntArray, fill: int) -> IntArray:
        return padded_rows([rows[int(number)] for number in numbers], fill)


class MaskedTexts(EncodedTexts):
    """Texts for a BertForMaskedLM, which guesses other tokens each time that it reads a text.

    Parameters
    ----------
    texts : sequence of str, or of (str, str)
        The texts, or pairs of texts.
    tokenizer : BertTokenizer
        The model's tokenizer.
    max_length : int
        How many tokens of a text are read; a longer one is cut.
    probability : float
        The probability with which a token is to be guessed, in (0, 1).
    whole_words : bool
        Whether words are masked whole.

    Warns
    -----
    UserWarning
        Once, if texts are cut.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = MaskedTexts(["a cat", "the dog ran"], BertTokenizer.from_pretrained("demo"))
    >>> batch = data.batch(np.array([1, 0]), np.random.default_rng(0))
    >>> batch["input_ids"].shape, batch["labels"].shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        probability: float = 0.15,
        whole_words: bool = False,
    ) -> None:
        check_probability(probability)
        also = f"{probability} {drawn_from(tokenizer, whole_words=whole_words)}"
        super().__init__(as_examples(texts), tokenizer, max_length=max_length, also=also)
        self._probability, self._whole_words = probability, whole_words
        empty = [number for number, row in enumerate(self._special) if all(row)]
        if empty:
            raise InputError(
                f"data: text {empty[0] + 1} of {len(self)} has no token to be guessed."
            )

    def check(self, model: Any) -> None:
        """Raise InputError if the texts, or what masking draws, do not fit the model."""
        check_model(self, model, BertForMaskedLM)
        super().check(model)
        drawn = max(self._tokenizer.vocab_size - 1, self._tokenizer.mask_token_id)
        check_tokens(model, ids=drawn)

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts, masked so that at least one token is to be guessed."""
        inputs = self._inputs(numbers)
        special = self._padded(self._special, numbers, 1).astype(np.bool_)
        masked = mask_batch(
            inputs["input_ids"],
            special,
            self._tokenizer,
            rng=rng,
            probability=self._probability,
            whole_words=self._whole_words,
        )
        return {**inputs, "input_ids": masked.input_ids, "labels": masked.labels}


class LabelledTexts(EncodedTexts):
    """Texts, or pairs, with a label each, for a BertForSequenceClassification.

    Parameters
    ----------
    texts, tokenizer, max_length
        The same as for `MaskedTexts`.
    labels : array_like of int, or of float, shape (len(texts),)
        The number of each text's label, or for a regression a number each, as floats. A label of
        -100 does not count where a model is judged; it is refused where one is trained.

    Raises
    ------
    InputError
        If there is not one label for each text, or one is no number, or is not finite.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = LabelledTexts(["good", "bad"], [1, 0], BertTokenizer.from_pretrained("demo"))
    >>> data.batch(np.array([1]), np.random.default_rng(0))["labels"]
    array([0])
    """

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        labels: npt.ArrayLike,
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
    ) -> None:
        texts = as_examples(texts)
        self._labels = _as_labels(labels, len(texts))
        self._labels.setflags(write=False)  # they are in the fingerprint
        also = str(self._labels.tolist())
        super().__init__(texts, tokenizer, max_length=max_length, also=also)

    def check(self, model: Any) -> None:
        """Raise InputError if the texts or their labels do not fit the model."""
        check_model(self, model, BertForSequenceClassification, BertForNextSentencePrediction)
        super().check(model)
        _check_targets(self._labels, model)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The label of each text, int64 or float64; it cannot be written to."""
        return self._labels

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and their labels; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._labels[numbers]}


class TaughtTexts(EncodedTexts):
    """Texts with a teacher's vector each, for a `SentenceStudent`.

    Parameters
    ----------
    texts, tokenizer, max_length
        The same as for `MaskedTexts`. The tokenizer is the student's, and so is the limit: a
        student that has a max_seq_length learns no longer texts. If it has a prompt or lower-cases
        texts, give ``[student.setup.prepared(text) for text in texts]``, which is what it reads.
    vectors : array_like of shape (len(texts), E)
        The teacher's vectors, such as `SentenceEncoder.encode` returns.
    teacher : str
        A text that tells this teacher from others: a run does not go on with another's vectors.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> data = TaughtTexts(["good", "bad"], np.eye(2), BertTokenizer.from_pretrained("demo"))
    >>> data.batch(np.array([1]), np.random.default_rng(0))["labels"]
    array([[0., 1.]])
    """

    def __init__(
        self,
        texts: Sequence[str],
        vectors: npt.ArrayLike,
        tokenizer: BertTokenizer,
        *,
        max_length: int = 128,
        teacher: str = "",
    ) -> None:
        texts = as_examples(texts)
        rows: Array = as_array(vectors, "vectors")
        if rows.dtype.kind not in "fiu":
            raise InputError(
                f"vectors must be numbers, a teacher's vectors; got dtype {rows.dtype}."
            )
        if rows.ndim != 2 or len(rows) != len(texts):
            raise InputError(
                f"data: there must be one vector for each text; got {len(texts)} texts and vectors "
                f"of shape {rows.shape}."
            )
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            raise InputError(f"data: the vector of text {wrong[0] + 1} is not finite.")
        # The vectors themselves are in the sketch.
        also = f"{rows.shape[1]} features of {teacher}"
        super().__init__(texts, tokenizer, max_length=max_length, also=also)
        self._vectors = rows.copy()  # what the caller has may change

    @property
    def sketch(self) -> dict[str, list[float]]:
        """Sums of the vectors' numbers under random signs, which are near for near vectors.

        The last bits of a teacher's vectors may differ with the number of threads, so a hash would
        take them for others.

        References
        ----------
        .. [1] Alon, Matias and Szegedy, "The space complexity of approximating the frequency
           moments", STOC 1996: the mean of the squares of such sums of a difference is about the
           square of its length.
        """
        rng = np.random.default_rng(0)
        rows, columns = (
            2.0 * rng.integers(0, 2, (_SUMS, count)) - 1.0 for count in self._vectors.shape
        )
        sums = np.einsum("ke,ke->k", rows @ self._vectors, columns)
        return {"vectors": [float(np.linalg.norm(self._vectors)), *sums.tolist()]}

    def check(self, model: Any) -> None:
        """Raise InputError if the texts or the teacher's vectors do not fit the student."""
        check_model(self, model, SentenceStudent)
        super().check(model)
        most = model.setup.max_seq_length
        if most is not None and self._lengths.max() > most:
            raise InputError(
                f"data: has a text of {self._lengths.max()} tokens; the student's max_seq_length "
                f"is {most}. Give it as max_length, so that no more is learned than is read later."
            )
        _check_vectors(self._vectors, model)

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return these texts and the teacher's vectors; nothing is drawn."""
        del rng
        return {**self._inputs(numbers), "labels": self._vectors[numbers]}


def batches(
    examples: int, size: int, rng: np.random.Generator, lengths: IntArray | None = None
) -> list[IntArray]:
    """Return the numbers of the examples of each batch of a pass.

    Parameters
    ----------
    examples : int
        How many examples there are.
    size : int
        How many examples a batch has; the last may have fewer.
    rng : numpy.random.Generator
        It draws the order.
    lengths : ndarray of shape (examples,), int, optional
        The lengths of the examples. If given, those of a batch are of about one length.

    References
    ----------
    .. [1] transformers, trainer_pt_utils.py, get_length_grouped_indices; there batches stand in the
       order of their lengths within each group, here in a random one.

    Examples
    --------
    >>> [b.tolist() for b in batches(5, 2, np.random.default_rng(0))]
    [[2, 4], [3, 0], [1]]
    >>> lengths = np.array([9, 1, 8, 2, 5])
    >>> [b.tolist() for b in batches(5, 2, np.random.default_rng(0), lengths)]
    [[2, 4], [0], [1, 3]]
    """
    order = rng.permutation(examples)
    if lengths is None:
        return [order[start : start + size] for start in range(0, examples, size)]
    found: list[IntArray] = []
    for start in range(0, examples, _TOGETHER * size):
        group = order[start : start + _TOGETHER * size]
        group = group[np.argsort(lengths[group], kind="stable")]
        # In a random order again: who reads a part of a batch must not read the shortest.
        found += [rng.permutation(group[s : s + size]) for s in range(0, len(group), size)]
    return [found[place] for place in rng.permutation(len(found))]


def batches_without_duplicates(
    examples: int, size: int, rng: np.random.Generator, texts_of: Callable[[int], frozenset[str]]
) -> list[IntArray]:
    """Return the numbers of the examples of each batch of a pass, in none of which a text is twice.

    There are as many batches as without the condition. Each takes, in a random order, what has no
    text of another example in it; an example for which no batch has room waits for another pass.

    Parameters
    ----------
    examples, size, rng
        The same as for `batches`.
    texts_of : callable
        A function that returns the texts of an example by its number.

    References
    ----------
    .. [1] sentence-transformers, base/sampler.py, NoDuplicatesBatchSampler, which adds batches of
       what is left; then a pass is longer than was known when the learning rate's course was set.

    Examples
    --------
    >>> texts = [{"a", "b"}, {"a", "c"}, {"d", "e"}, {"f", "g"}]
    >>> made = batches_without_duplicates(4, 2, np.random.default_rng(0), lambda n: texts[n])
    >>> [batch.tolist() for batch in made]
    [[2, 0], [1, 3]]
    """
    waiting, found = deque(rng.permutation(examples).tolist()), list[IntArray]()
    for _ in range(math.ceil(examples / size)):
        batch, seen, later = list[int](), set[str](), list[int]()
        while waiting and len(batch) < size:
            number = waiting.popleft()
            texts = texts_of(number)
            if seen.isdisjoint(texts):
                batch.append(number)
                seen |= texts
            else:
                later.append(number)
        waiting.extendleft(reversed(later))
        found.append(np.array(batch))
    return found


def as_examples(texts: object) -> list[Any]:
    """Return checked texts, or pairs, of which there must be one at least.

    Examples
    --------
    >>> as_examples("a cat")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: texts must be a list of texts, or of pairs; got one text.
    """
    single, items = as_items(texts, None, ("texts", "texts"))
    if single:
        raise InputError("texts must be a list of texts, or of pairs; got one text.")
    if not items:
        raise InputError("data: holds no text; give at least one.")
    return items


def _warn_of_cuts(cut: Mapping[int, tuple[int, int]], total: int, limit: int) -> None:
    """Tell once which texts have more tokens than are read."""
    if cut:
        first = min(cut)
        warnings.warn(
            f"data: {len(cut)} of {total} texts have more than {limit} tokens and were cut; the "
            f"first is texts[{first}], of {cut[first][0]}.",
            stacklevel=4,
        )


def tokens_of(batch: Mapping[str, Any]) -> int:
    """Return how many tokens a batch has, or the batches in it together; padding is none.

    Examples
    --------
    >>> tokens_of({"one": {"attention_mask": [[1, 1, 0]]}, "other": {"attention_mask": [[1]]}})
    3
    """
    if "attention_mask" in batch:
        return int(np.sum(batch["attention_mask"]))
    return sum([tokens_of(part) for part in batch.values() if isinstance(part, Mapping)])


def check_fits(data: object, model: Any) -> None:
    """Raise InputError if examples do not fit the model that is to learn them.

    This calls the `check` of the data with the model, if they have one, before the first step.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertTokenizer
    >>> from numpy_bert.training import LabelledTexts
    >>> data = LabelledTexts(["good"], [0], BertTokenizer.from_pretrained("demo"))
    >>> check_fits(data, BertForMaskedLM.from_pretrained("demo"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.InputError: data: LabelledTexts are for a BertForSequenceClassification or ...
    """
    check = getattr(data, "check", None)
    if check is not None:
        check(model)


def check_model(data: object, model: Any, *kinds: type[Any]) -> None:
    """Raise InputError unless a model is of one of the kinds that the data are for."""
    if not isinstance(model, kinds):
        names = " or ".join(f"a {kind.__name__}" for kind in kinds)
        raise InputError(
            f"data: {type(data).__name__} are for {names}; the model is a {type(model).__name__}."
        )


def check_tokens(model: Any, *, ids: int, types: int = 0, length: int = 0) -> None:
    """Raise InputError if a token id, a token type or a text's length is beyond a model's table."""
    config = model.config
    if not config.reads_token_types:
        types = 0
    for what, value, table, rows in (
        (f"has the token id {ids}", ids, "vocab_size", config.vocab_size),
        (f"has the token type {types}", types, "type_vocab_size", max(config.type_vocab_size, 1)),
    ):
        if value >= rows:
            raise InputError(
                f"data: {what}; the model's {table} is {rows}. Is the tokenizer from another "
                "checkpoint?"
            )
    if length > config.max_tokens:
        rows, most = config.max_position_embeddings, config.max_tokens
        used = "" if rows == most else f", of which texts use {most}"
        raise InputError(
            f"data: has a text of {length} tokens; the model's max_position_embeddings is "
            f"{rows}{used}. Give a max_length that it can read."
        )


def _as_labels(labels: npt.ArrayLike, texts: int) -> npt.NDArray[Any]:
    """Return a label for each of some texts, as int64 or as finite float64.

    Examples
    --------
    >>> _as_labels([0.5, 1], 2)
    array([0.5, 1. ])
    """
    given = as_array(labels, "labels")
    if given.shape != (texts,):
        several = "; several labels a text are not trained here" if given.ndim > 1 else ""
        raise InputError(
            f"data: there must be one label for each text; got {texts} texts and labels of shape "
            f"{given.shape}{several}."
        )
    if given.dtype.kind in "iu":
        return given.astype(np.int64)
    if given.dtype.kind != "f":
        raise InputError(
            f"labels must be integers, the numbers of classes, or floats; got dtype {given.dtype}."
        )
    wrong = np.flatnonzero(~np.isfinite(given))
    if len(wrong):
        raise InputError(f"labels[{wrong[0]}] must be finite; got {given[wrong[0]]}.")
    return given.astype(np.float64)


def _check_targets(labels: npt.NDArray[Any], model: Any) -> None:
    """Raise InputError if labels are floats for classes, integers for a regression, or no class."""
    config = model.config
    is_next = isinstance(model, BertForNextSentencePrediction)
    classes = 2 if is_next else config.num_labels
    problem = None if is_next else config.problem_type
    if problem == "multi_label_classification":
        raise InputError(
            "data: LabelledTexts have one label each; the model's problem_type is "
            "multi_label_classification, which has several."
        )
    if problem == "regression" or (problem is None and classes == 1):
        _check_numbers(labels, classes, model.dtype)
    elif labels.dtype.kind == "f":
        raise InputError(
            f"labels must be integers, the numbers of the model's {classes} classes; got dtype "
            f"{labels.dtype}. Floats are for a regression (num_labels = 1)."
        )
    elif (labels == IGNORED).any():
        first = int(np.flatnonzero(labels == IGNORED)[0])
        raise InputError(
            f"labels[{first}] = {IGNORED}, which is no label; leave the text out, since nothing is "
            "learned from it."
        )
    else:
        check_labels(labels, labels.shape, classes)


def _check_vectors(vectors: Array, model: SentenceStudent) -> None:
    """Raise InputError if a teacher's vectors have other features or no room in the dtype."""
    features = len(model.head.projection.weight)
    if vectors.shape[1] != features:
        raise InputError(
            f"data: the teacher's vectors have {vectors.shape[1]} features, the student's map "
            f"makes {features}; make a student for as many."
        )
    over = np.flatnonzero((np.abs(vectors) > np.finfo(model.dtype).max).any(axis=1))
    if len(over):
        raise InputError(f"data: the vector of text {over[0] + 1} does not fit into {model.dtype}.")


def _check_numbers(labels: npt.NDArray[Any], outputs: int, dtype: np.dtype[Any]) -> None:
    """Raise InputError unless labels are one number each that the model's dtype has room for."""
    if outputs != 1:
        raise InputError(f"data: LabelledTexts have one number each; the model has {outputs}.")
    if labels.dtype.kind != "f":
        raise InputError(
            f"labels must be floats, since the model is a regression (num_labels = 1); got dtype "
            f"{labels.dtype}. Give floats, or a model with a label for each class."
        )
    wrong = np.flatnonzero(np.abs(labels) > np.finfo(dtype).max)
    if len(wrong):
        raise InputError(f"labels[{wrong[0]}] = {labels[wrong[0]]:g} does not fit into {dtype}.")
