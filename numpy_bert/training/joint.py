"""Several models over one BERT, trained together: the sum of their losses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from numpy_bert.arguments import is_number
from numpy_bert.arrays import Array, IntArray
from numpy_bert.errors import InputError
from numpy_bert.identity import identity_of
from numpy_bert.messages import listed, must_be
from numpy_bert.model.saving import check_parameters
from numpy_bert.tasks.items import Items
from numpy_bert.training.data import Batch, TrainingData, check_fits
from numpy_bert.training.trainable import NamedGradients, Trainable

__all__ = ["JointData", "JointModel"]


class JointModel:
    """Models that share what has the same name, such as two heads over one BERT.

    Parameters
    ----------
    models : mapping of str to a trainable model
        The models, by names of your own; what several have is taken from the first, and so is the
        dtype.
    weights : mapping of str to float, optional
        How much a model's loss counts, by the same names; 1 by default.

    Raises
    ------
    InputError
        If there is no model, dtypes differ, a weight is for no model or is no number from 0, or
        models differ in what has one name, as two new classifiers would.

    References
    ----------
    .. [1] Caruana, "Multitask Learning", Machine Learning 28 (1997), section 2.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM, BertForNextSentencePrediction
    >>> joint = JointModel({
    ...     "words": BertForMaskedLM.from_pretrained("demo"),
    ...     "order": BertForNextSentencePrediction.from_pretrained("demo")})
    >>> [name for name, _ in joint.named_parameters()][-4:-1]
    ['bert.pooler.dense.weight', 'bert.pooler.dense.bias', 'cls.seq_relationship.weight']
    >>> found = joint.loss_and_gradients({
    ...     "words": {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]},
    ...     "order": {"input_ids": [[2, 5, 3, 7, 3]], "labels": [1]}})
    >>> sorted({name for name, _ in found.named()}) == sorted(dict(joint.named_parameters()))
    True
    """

    def __init__(
        self, models: Mapping[str, Trainable], weights: Mapping[str, float] | None = None
    ) -> None:
        self._models, self._weights = dict(models), dict(weights or {})
        if not self.models:
            raise InputError("JointModel has no model; give at least one.")
        if len({model.dtype for model in self.models.values()}) > 1:
            raise InputError("JointModel: the models must have one dtype; got several.")
        if unknown := sorted(set(self.weights) - set(self.models)):
            raise InputError(
                f"JointModel: weights must be for its models; got one for {unknown[0]!r}."
            )
        for name, weight in self.weights.items():
            if not (is_number(weight) and weight >= 0.0):
                where = f"JointModel: the weight of {name!r}"
                raise InputError(must_be(where, "a number from 0", weight))
        self._check_shared()

    def _check_shared(self) -> None:
        """Check that what has one name in several models is the same."""
        seen: dict[str, tuple[str, Array]] = {}
        for owner, model in self.models.items():
            for name, array in model.named_parameters():
                first, known = seen.setdefault(name, (owner, array))
                if known is not array and not np.array_equal(known, array):
                    raise InputError(
                        f"JointModel: {name} must be the same in {first!r} and {owner!r}, which "
                        "share what has one name."
                    )

    @property
    def models(self) -> dict[str, Trainable]:
        """The models by their names."""
        return dict(self._models)

    @property
    def weights(self) -> dict[str, float]:
        """How much the loss of a model counts, for those that were given a weight."""
        return dict(self._weights)

    @property
    def identity(self) -> dict[str, Any]:
        """What the models compute beside their weights, and how much each counts."""
        found: dict[str, Any] = {"models": list(self.models)}
        for name, model in self.models.items():
            found[f"{name}.weight"] = self.weights.get(name, 1.0)
            found |= {f"{name}.{key}": value for key, value in identity_of(model).items()}
        return found

    @property
    def _first(self) -> Trainable:
        return next(iter(self.models.values()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that all models compute in."""
        return self._first.dtype

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter of every model, what they share once."""
        seen = set()
        for model in self.models.values():
            for name, array in model.named_parameters():
                if name not in seen:
                    seen.add(name)
                    yield name, array

    def with_parameters(self, arrays: Mapping[str, Array]) -> JointModel:
        """Return the same models with these arrays, shared among them and not copied.

        The arrays are those of `named_parameters`; InputError names what is missing or unknown.
        """
        expected = {name: (array.shape, self.dtype) for name, array in self.named_parameters()}
        checked = check_parameters(type(self).__name__, arrays, expected)
        models = {}
        for owner, model in self.models.items():
            own = {name: checked[name] for name, _ in model.named_parameters()}
            models[owner] = model.with_parameters(own)
        return JointModel(models, self.weights)

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> dict[str, Items]:
        """Return what each model counts in the batch of its name, by the names.

        Parameters
        ----------
        batch : mapping of str to mapping
            A batch for each model.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> joint = JointModel({"words": BertForMaskedLM.from_pretrained("demo")})
        >>> joint.num_items_in_batch(
        ...     {"words": {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}})
        {'words': {'labels': 1}}
        """
        self._check_batch(batch)
        return {name: model.num_items_in_batch(batch[name]) for name, model in self.models.items()}

    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Items | None = None,
    ) -> NamedGradients:
        """Return the weighted sum of the models' losses, each on the batch of its name.

        Parameters
        ----------
        batch : mapping of str to mapping
            A batch for each model.
        rng : numpy.random.Generator, optional
            The generator of dropout's masks, for one model after another; else dropout is off.
        num_items_in_batch : int, or mapping of str to int or mapping, optional
            What each model's loss is divided by, as its own `loss_and_gradients` takes it; an int
            is for every model. By default what counts in this batch.
        """
        self._check_batch(batch)
        given = num_items_in_batch
        items: Items = self.num_items_in_batch(batch) if given is None else given
        total, gradients = 0.0, dict[str, Array]()
        for name, model in self.models.items():
            weight = self.weights.get(name, 1.0)
            own = items.get(name) if isinstance(items, Mapping) else items
            if own is None:
                raise InputError(
                    f"num_items_in_batch must have a number for each model; got none for {name!r}."
                )
            found = model.loss_and_gradients(batch[name], rng=rng, num_items_in_batch=own)
            total += weight * found.loss
            for key, array in found.named():
                share = array if weight == 1.0 else weight * array
                gradients[key] = np.add(gradients[key], share) if key in gradients else share
        return NamedGradients(total, gradients)

    def _check_batch(self, batch: Mapping[str, Any]) -> None:
        """Raise InputError unless there is a batch for each model, and for nothing else."""
        if set(batch) != set(self.models):
            raise InputError(
                f"batch is for {listed(sorted(batch))}, but the models are "
                f"{listed(sorted(self.models))}."
            )


class JointData:
    """A batch for each of several models.

    Parameters
    ----------
    sets : mapping of str to TrainingData
        The data, by the names of the models. A pass is one over the first set, which must be the
        largest; in it each example of a smaller set comes about as often as another.
    shares : mapping of str to float, optional
        For how much of a batch a set is read, above 0 and at most 1, by the same names; 1 by
        default. At least one example of each set is read for each batch: a share of 0.1 of
        batches of 2 is a half.

    Raises
    ------
    InputError
        If there is no data, a set is larger than the first, or a share is out of range.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> from numpy_bert.training.data import LabelledTexts, MaskedTexts
    >>> tokenizer, texts = BertTokenizer.from_pretrained("demo"), ["a cat", "the dog"]
    >>> data = JointData({
    ...     "words": MaskedTexts(texts, tokenizer),
    ...     "right": LabelledTexts(texts, [0, 1], tokenizer)})
    >>> batch = data.batch(np.array([1, 0]), np.random.default_rng(0))
    >>> sorted(batch), batch["right"]["labels"]
    (['right', 'words'], array([1, 0]))
    """

    def __init__(
        self, sets: Mapping[str, TrainingData], shares: Mapping[str, float] | None = None
    ) -> None:
        self._sets, self._shares = dict(sets), dict(shares or {})
        if not self._sets:
            raise InputError("JointData has no data; give at least one set.")
        for name, share in self._shares.items():
            is_share = isinstance(share, Real) and 0.0 < share <= 1.0
            if name not in self._sets or not is_share:
                wanted = "above 0 and at most 1, for a set that is here"
                raise InputError(must_be(f"JointData: the share of {name!r}", wanted, share))
        for name, data in self._sets.items():
            if len(data) > len(self):
                raise InputError(
                    f"JointData: {name!r} has {len(data)} examples, the first set {len(self)}. A "
                    "pass is one over the first: put the largest there."
                )

    @property
    def fingerprint(self) -> str:
        """What tells these examples from others."""
        parts = [f"{name} {self._share(name)} {s.fingerprint}" for name, s in self._sets.items()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def sketch(self) -> dict[str, list[float]]:
        """The sketches of the sets that have one, by their names."""
        return {
            f"{name}.{part}": numbers
            for name, data in self._sets.items()
            for part, numbers in getattr(data, "sketch", {}).items()
        }

    @property
    def lengths(self) -> IntArray:
        """How many tokens each of the first set's examples has."""
        return next(iter(self._sets.values())).lengths

    def __len__(self) -> int:
        return len(next(iter(self._sets.values())))

    def check(self, model: Any) -> None:
        """Check each set against the model of its name; raise InputError where one does not fit."""
        names = sorted(getattr(model, "models", ()))
        if names != sorted(self._sets):
            raise InputError(
                f"JointData is for {listed(sorted(self._sets))}, but the models are "
                f"{listed(names) or 'none: it is no JointModel'}."
            )
        if not any(model.weights.get(name, 1.0) for name in names):
            raise InputError(
                "JointModel: a weight must be above 0; all are 0, so that nothing would be learnt."
            )
        for name, data in self._sets.items():
            try:
                check_fits(data, model.models[name])
            except InputError as failure:
                raise InputError(f"{name}: {failure}") from None

    def batch(self, numbers: IntArray, rng: np.random.Generator) -> Batch:
        """Return a batch of each set, by its name."""
        found = {}
        for name, data in self._sets.items():
            count = max(1, round(self._share(name) * len(numbers)))
            found[name] = data.batch(numbers[:count] * len(data) // len(self), rng)
        return found

    def _share(self, name: str) -> float:
        return self._shares.get(name, 1.0)
