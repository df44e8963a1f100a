"""From the gradient of sentence vectors back to every parameter of a sentence model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.sentence_modules import PooledModules
from numpy_bert.inputs import ModelInputs
from numpy_bert.model.bert import BertModel
from numpy_bert.model.gradients import BertRun
from numpy_bert.ops.pooling import pooling, pooling_backward
from numpy_bert.parameters import BertParameters, arrays_of
from numpy_bert.reprs import short_repr

__all__ = ["SentenceGradients", "SentenceRun"]


class SentenceGradients(NamedTuple):
    """The gradients of a BERT, and of the modules behind the pooling by their names."""

    bert: BertParameters
    modules: dict[str, Array]

    def __repr__(self) -> str:
        return short_repr(self)

    def named(self) -> Iterator[tuple[str, Array]]:
        """Yield every gradient with its parameter's name, those of the BERT first."""
        for key, array in arrays_of(self.bert):
            yield f"bert.{key}", array  # type: ignore[misc]  # gradients are never halves
        yield from self.modules.items()


class SentenceRun:
    """Texts made into vectors in such a way that the vectors' gradient can be gone back from.

    Parameters
    ----------
    bert : BertModel
        The model; a pooler of it would not be read.
    inputs : ModelInputs
        The checked inputs.
    modes : sequence of str
        How the tokens are pooled, some of `numpy_bert.encoding.MODES`; several are joined.
    modules : PooledModules
        What stands behind the pooling. Vectors are not truncated, as in training in
        sentence-transformers.
    rng : numpy.random.Generator, optional
        The generator that draws dropout's masks; without it dropout is off.

    Attributes
    ----------
    vectors : ndarray of shape (B, E)
        The vectors.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> modules = PooledModules(in_features=128)
    >>> run = SentenceRun(model, model.inputs([[2, 5, 3]]), ("mean",), modules)
    >>> run.gradients(np.ones_like(run.vectors)).bert.encoder.layer[0].output.dense.bias.shape
    (128,)
    """

    def __init__(
        self,
        bert: BertModel,
        inputs: ModelInputs,
        modes: Sequence[str],
        modules: PooledModules,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._run, self._modules = BertRun(bert, inputs, rng), modules
        self._steps = [pooling(self._run.hidden, self._run.mask, mode=mode) for mode in modes]
        self._pooled: Array = np.concatenate([steps.output for steps in self._steps], axis=1)
        self.vectors = modules(self._pooled, modules.out_features)

    def gradients(self, grad: Array) -> SentenceGradients:
        """Return the gradients of all parameters from that of the vectors; call it once."""
        back = self._modules.backward(grad, self._pooled)
        parts = np.split(back.x, len(self._steps), axis=1)
        hidden = [
            pooling_backward(part, steps) for part, steps in zip(parts, self._steps, strict=True)
        ]
        total: Array = hidden[0]
        for more in hidden[1:]:
            total = total + more
        return SentenceGradients(self._run.gradients(hidden=total), back.parameters)
