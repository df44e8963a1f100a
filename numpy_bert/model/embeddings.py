"""BertEmbeddings: the input embedding of a loaded model, by the kernels or by the readable code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, StoredArray, as_floats, memory_for, widen
from numpy_bert.blocks.embeddings import EmbeddingsSteps, embeddings
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.inputs import ModelInputs, model_inputs
from numpy_bert.kernels.embeddings import EmbeddingsKernel, fits
from numpy_bert.model.faults import check_finite
from numpy_bert.model.saving import Stateful
from numpy_bert.ops.dropout import dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.parameters import BertEmbeddingsParameters
from numpy_bert.reprs import short_repr
from numpy_bert.trace import named_steps

__all__ = ["FEWER", "BertEmbeddings", "Dropout", "Embedding", "LayerNorm"]

# What to do where the memory for a batch is not there.
FEWER = "Give fewer sequences at a time (a smaller batch), or shorter ones."


class Embedding:
    """A look-up table that is called with ids, as ``torch.nn.Embedding`` is."""

    def __init__(self, table: StoredArray, name: str, dtype: np.dtype[Any]) -> None:
        self._table = table
        self._name = name
        self._dtype = dtype

    @property
    def weight(self) -> Array:
        """The whole table in the model's dtype; a fresh copy where it is stored in another."""
        return widen(self._table, self._dtype)

    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the rows (*input.shape, H) of the ids; raise InputError if one is out of range."""
        return embedding(
            input,
            self._table,
            dtype=self._dtype,
            ids_name=f"{self._name}: ids",
            table_name=self._name,
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerNorm:
    """Layer normalization that is called with rows, as ``torch.nn.LayerNorm`` is.

    Attributes
    ----------
    weight, bias : ndarray of shape (H,)
        The scale and the shift of each feature.
    eps : float
        What is added to the variance under the root.
    """

    __repr__ = short_repr

    weight: Array
    bias: Array
    eps: float

    @np.errstate(all="ignore")  # also where the caller's own settings would raise
    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the normalized rows, of the shape and dtype of `input`."""
        rows = as_floats(input, name="LayerNorm: input")
        return layer_norm(rows, self.weight, self.bias, eps=self.eps).output


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Inverted dropout: the identity, unless an `rng` or a `keep` mask is given.

    Attributes
    ----------
    p : float
        The probability to drop an element, which the model's config says.
    """

    p: float

    @np.errstate(all="ignore")
    def __call__(
        self,
        input: npt.ArrayLike,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
    ) -> Array:
        """Return `input` with elements dropped; see `numpy_bert.ops.dropout.dropout`."""
        return dropout(as_floats(input, name="dropout: input"), self.p, rng=rng, keep=keep).output


class BertEmbeddings(Stateful):
    """The input embedding of a loaded model; its parts are called as transformers' are.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> model.embeddings.word_embeddings([[2, 3]]).shape
    (1, 2, 128)
    >>> model.embeddings([[2, 3]]).dtype
    dtype('float32')
    """

    _parts = frozenset(
        {
            "word_embeddings",
            "token_type_embeddings",
            "position_embeddings",
            "task_type_embeddings",
            "LayerNorm",
            "dropout",
        }
    )
    _fixed = _parts | {"parameters"}
    _prepared = _parts | {"_kernel"}

    def __init__(
        self, parameters: BertEmbeddingsParameters, config: BertConfig, source: str = "embeddings"
    ) -> None:
        self.parameters = parameters
        self._config = config
        self._source = source
        self._prepare()

    def __call__(
        self,
        input_ids: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return the input embedding.

        In float32 without dropout the kernels compute it; a row's result then does not depend on
        what else is in the batch, on padding or on the number of threads, to the bit.

        Parameters
        ----------
        input_ids, token_type_ids, position_ids, inputs_embeds, rng, keep
            The ids, or the words' rows, as for `numpy_bert.BertModel`; dropout's source or mask.
        out : ndarray of shape (B, T, H) in the model's dtype, C-contiguous, optional
            Where to write the result: a buffer that is used again saves the time in which the
            system finds memory. It may overlap no other argument. After an error its content is
            undefined.

        Returns
        -------
        ndarray of shape (B, T, H)
            The embedding; it is `out` if that was given.

        Raises
        ------
        InputError, CheckpointError
            The same errors as those of `steps`.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> buffer = np.empty((1, 2, 128), np.float32)
        >>> model.embeddings([[2, 3]], out=buffer) is buffer
        True
        """
        inputs = self._inputs(input_ids, token_type_ids, position_ids, inputs_embeds)
        if out is not None:
            self._check_out(out, inputs)
        with self._in_memory(inputs):
            if rng is None and keep is None:
                return self.embed(inputs, out)
            output = self.all_steps(inputs, rng=rng, keep=keep).output
        if out is None:
            return output
        np.copyto(out, output)
        return out

    def steps(
        self,
        input_ids: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
    ) -> EmbeddingsSteps:
        """Return every intermediate of the input embedding.

        Parameters
        ----------
        input_ids, token_type_ids, position_ids, inputs_embeds, rng, keep
            The ids, or the words' rows, as for `numpy_bert.BertModel`; dropout's source or mask.

        Raises
        ------
        InputError
            If an argument does not fit; the message names it, the place, the value and the limit.
        CheckpointError
            If the result is not finite because a weight is not; the weight is named.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.embeddings.steps([[2, 3]]).LayerNorm.variance.shape
        (1, 2, 1)
        """
        inputs = self._inputs(input_ids, token_type_ids, position_ids, inputs_embeds)
        with self._in_memory(inputs):
            return self.all_steps(inputs, rng=rng, keep=keep)

    def _inputs(
        self,
        input_ids: npt.ArrayLike | None,
        token_type_ids: npt.ArrayLike | None,
        position_ids: npt.ArrayLike | None,
        inputs_embeds: npt.ArrayLike | None,
    ) -> ModelInputs:
        """Check what the embedding is called with."""
        return model_inputs(
            self.parameters,
            input_ids,
            None,
            token_type_ids if self._config.reads_token_types else None,
            position_ids,
            inputs_embeds,
            position_padding=self._config.position_padding_idx,
        )

    def _in_memory(self, inputs: ModelInputs) -> memory_for:
        """Return a block in which a MemoryError says what checked inputs take."""

        def what() -> str:
            batch, length = inputs.shape
            size = batch * length * self.LayerNorm.weight.nbytes
            return f"{batch} x {length} tokens, whose embedding has {size:,} bytes"

        return memory_for("embeddings", what, FEWER)

    def embed(self, inputs: ModelInputs, out: Array | None = None) -> Array:
        """Return the input embedding of checked inputs, by the kernels where they can stand in."""
        if self._kernel is None:
            output = self.all_steps(inputs).output
            if out is None:
                return output
            np.copyto(out, output)
            return out
        if out is None:
            out = np.empty((*inputs.shape, len(self.LayerNorm.weight)), np.float32)
        if not self._kernel(inputs, out):
            self.all_steps(inputs)  # raises where it is a weight's fault
        return out

    @np.errstate(all="ignore")
    def all_steps(
        self,
        inputs: ModelInputs,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
    ) -> EmbeddingsSteps:
        """Return every intermediate of the embedding of checked inputs, as `steps` does."""
        eps, p = self.LayerNorm.eps, self.dropout.p
        steps = embeddings(self.parameters, inputs, eps=eps, p=p, rng=rng, keep=keep)
        if not np.isfinite(steps.output).all():
            self._check_finite(steps, inputs)
        return steps

    def _trees(self) -> dict[str, object]:
        return {"": self.parameters}

    def _prepare(self) -> None:
        parameters, eps = self.parameters, self._config.layer_norm_eps
        words, positions = parameters.word_embeddings, parameters.position_embeddings
        types, norm = parameters.token_type_embeddings, parameters.LayerNorm
        dtype = norm.weight.dtype
        self.word_embeddings = Embedding(words.weight, "word_embeddings", dtype)
        if types is not None:  # as in transformers, a model without them has no such attribute
            self.token_type_embeddings = Embedding(types.weight, "token_type_embeddings", dtype)
        self.position_embeddings = Embedding(positions.weight, "position_embeddings", dtype)
        tasks = parameters.task_type_embeddings
        if tasks is not None:
            self.task_type_embeddings = Embedding(tasks.weight, "task_type_embeddings", dtype)
        self.LayerNorm = LayerNorm(weight=norm.weight, bias=norm.bias, eps=eps)
        self.dropout = Dropout(self._config.hidden_dropout_prob)
        self._kernel = EmbeddingsKernel(parameters, eps=eps) if fits(parameters) else None

    def _check_finite(self, steps: EmbeddingsSteps, inputs: ModelInputs) -> None:
        """Blame the first weight in use that is not finite; a caller's own rows pass through."""
        length = inputs.words.shape[1]
        given = inputs.words.ndim == 3
        first, order = np.zeros(1, np.intp), np.arange(length)
        segments, positions = inputs.segment_ids, inputs.position_ids
        rows = {
            "word_embeddings": first[:0] if given else inputs.words.astype(np.intp),
            "token_type_embeddings": first if segments is None else segments,
            "position_embeddings": order if positions is None else positions,
            "task_type_embeddings": first,
        }
        check_finite(
            (steps.output,),
            {"embeddings.": self.parameters},
            steps=named_steps(steps, "embeddings"),
            source=self._source,
            rows={f"embeddings.{name}.weight": ids for name, ids in rows.items()},
            given=given,
        )

    def _check_out(self, out: Array, inputs: ModelInputs) -> None:
        """Raise InputError unless a result can be written into `out`."""
        weight = self.LayerNorm.weight
        dtype, shape = weight.dtype, (*inputs.shape, len(weight))
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
            is_array = isinstance(out, np.ndarray)
            what = f"{out.dtype} of shape {out.shape}" if is_array else type(out).__name__
            raise InputError(f"embeddings: out must be {dtype} of shape {shape}; got {what}.")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise InputError("embeddings: out must be C-contiguous and writeable.")
        given = (inputs.words, inputs.segment_ids, inputs.position_ids)
        if any(array is not None and np.may_share_memory(out, array) for array in given):
            raise InputError(
                "embeddings: out must not share memory with another argument. Give another array."
            )
