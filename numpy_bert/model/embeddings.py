"""BertEmbeddings: the input embedding of a loaded model, by the kernels or by the readable code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import (
    EmbeddingsInputs,
    EmbeddingsSteps,
    check_inputs,
    embeddings,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.kernels.embeddings import EmbeddingsKernel, fits
from numpy_bert.model.faults import check_finite
from numpy_bert.model.modules import Dropout, Embedding, LayerNorm
from numpy_bert.model.state import Stateful
from numpy_bert.parameters import BertEmbeddingsParameters
from numpy_bert.trace import named_steps

__all__ = ["BertEmbeddings"]


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
            As in `numpy_bert.blocks.embeddings.embeddings`.
        out : ndarray of shape (B, T, H) in the model's dtype, C-contiguous, optional
            Where to write the result: a buffer that is used again saves the time in which the
            system finds memory. It may overlap no other argument. After an error its content is
            undefined.

        Returns
        -------
        ndarray of shape (B, T, H)
            `out` if it was given.

        Raises
        ------
        InputError, CheckpointError
            As `steps`.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> buffer = np.empty((1, 2, 128), np.float32)
        >>> model.embeddings([[2, 3]], out=buffer) is buffer
        True
        """
        arguments = (input_ids, token_type_ids, position_ids, inputs_embeds)
        inputs = check_inputs(self.parameters, *arguments)
        shape = inputs.words.shape[:2] + self.LayerNorm.weight.shape
        if out is not None:
            self._check_out(out, shape, inputs)
        if self._kernel is None or rng is not None or keep is not None:
            output = self.steps(*arguments, rng=rng, keep=keep).output
            if out is None:
                return output
            np.copyto(out, output)
            return out
        if out is None:
            out = np.empty(shape, np.float32)
        if not self._kernel(*inputs, out):
            self.steps(*arguments)  # raises where it is a weight's fault
        return out

    @np.errstate(all="ignore")
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
            As in `numpy_bert.blocks.embeddings.embeddings`.

        Raises
        ------
        InputError
            Naming the argument, the place, the value and the limit.
        CheckpointError
            If the result is not finite because a weight is not; the weight is named.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.embeddings.steps([[2, 3]]).LayerNorm.variance.shape
        (1, 2, 1)
        """
        steps = embeddings(
            self.parameters,
            input_ids,
            token_type_ids,
            position_ids,
            inputs_embeds,
            eps=self.LayerNorm.eps,
            p=self.dropout.p,
            rng=rng,
            keep=keep,
        )
        if not np.isfinite(steps.output).all():
            given = (input_ids, token_type_ids, position_ids, inputs_embeds)
            self._check_finite(steps, check_inputs(self.parameters, *given))
        return steps

    def _trees(self) -> dict[str, object]:
        return {"": self.parameters}

    def _prepare(self) -> None:
        parameters, eps = self.parameters, self._config.layer_norm_eps
        words, segments = parameters.word_embeddings, parameters.token_type_embeddings
        positions, norm = parameters.position_embeddings, parameters.LayerNorm
        dtype = norm.weight.dtype
        self.word_embeddings = Embedding(words.weight, "word_embeddings", dtype)
        self.token_type_embeddings = Embedding(segments.weight, "token_type_embeddings", dtype)
        self.position_embeddings = Embedding(positions.weight, "position_embeddings", dtype)
        self.LayerNorm = LayerNorm(weight=norm.weight, bias=norm.bias, eps=eps)
        self.dropout = Dropout(self._config.hidden_dropout_prob)
        self._kernel = EmbeddingsKernel(parameters, eps=eps) if fits(parameters) else None

    def _check_finite(self, steps: EmbeddingsSteps, inputs: EmbeddingsInputs) -> None:
        """Blame the first weight in use that is not finite; a caller's own rows pass through."""
        length = inputs.words.shape[1]
        given = inputs.words.ndim == 3
        first, order = np.zeros(1, np.intp), np.arange(length)
        segments, positions = inputs.segment_ids, inputs.position_ids
        rows = {
            "word_embeddings": first[:0] if given else inputs.words.astype(np.intp),
            "token_type_embeddings": first if segments is None else segments,
            "position_embeddings": order if positions is None else positions,
        }
        check_finite(
            (steps.output,),
            {"embeddings.": self.parameters},
            steps=named_steps(steps, "embeddings"),
            source=self._source,
            rows={f"embeddings.{name}.weight": ids for name, ids in rows.items()},
            given=given,
        )

    def _check_out(self, out: Array, shape: tuple[int, ...], inputs: EmbeddingsInputs) -> None:
        """Raise InputError unless a result can be written into `out`."""
        dtype = self.LayerNorm.weight.dtype
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
            is_array = isinstance(out, np.ndarray)
            what = f"{out.dtype} of shape {out.shape}" if is_array else type(out).__name__
            raise InputError(f"embeddings: out is {what}; {dtype} of shape {shape} was expected.")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise InputError("embeddings: out must be C-contiguous and writeable.")
        if any(array is not None and np.may_share_memory(out, array) for array in inputs):
            raise InputError(
                "embeddings: out shares memory with another argument; give another array."
            )
