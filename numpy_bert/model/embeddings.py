"""BertEmbeddings: the input embedding of a loaded model, by the kernels or by the readable code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, place
from numpy_bert.blocks.embeddings import (
    EmbeddingsInputs,
    EmbeddingsSteps,
    check_inputs,
    embeddings,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, InputError
from numpy_bert.kernels.embeddings import EmbeddingsKernel, fits
from numpy_bert.model.modules import Dropout, Embedding, LayerNorm
from numpy_bert.parameters import BertEmbeddingsParameters, arrays_of
from numpy_bert.trace import named_steps

__all__ = ["BertEmbeddings"]


class BertEmbeddings:
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

    def __init__(
        self, parameters: BertEmbeddingsParameters, config: BertConfig, source: str = "embeddings"
    ) -> None:
        self.parameters = parameters
        self._source = source
        dtype = parameters.LayerNorm.weight.dtype
        self.word_embeddings = Embedding(
            parameters.word_embeddings.weight, "word_embeddings", dtype
        )
        self.token_type_embeddings = Embedding(
            parameters.token_type_embeddings.weight, "token_type_embeddings", dtype
        )
        self.position_embeddings = Embedding(
            parameters.position_embeddings.weight, "position_embeddings", dtype
        )
        self.LayerNorm = LayerNorm(parameters.LayerNorm, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        eps = config.layer_norm_eps
        self._kernel = EmbeddingsKernel(parameters, eps=eps) if fits(parameters) else None

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
            self._find_non_finite(steps, check_inputs(self.parameters, *given))
        return steps

    def _find_non_finite(self, steps: EmbeddingsSteps, inputs: EmbeddingsInputs) -> None:
        """Name the first weight in use that is not finite; a caller's own rows pass through."""
        batch, length = inputs.words.shape[:2]
        given = inputs.words.ndim == 3
        zeros, order = np.zeros((batch, length), np.intp), np.arange(length)[np.newaxis]
        used = {
            "word_embeddings": None if given else inputs.words,
            "token_type_embeddings": zeros if inputs.segment_ids is None else inputs.segment_ids,
            "position_embeddings": order if inputs.position_ids is None else inputs.position_ids,
        }
        for name, ids in used.items():
            rows = getattr(steps, name)
            wrong = np.argwhere(~np.isfinite(rows))
            if ids is not None and len(wrong):
                row, feature = ids[tuple(wrong[0][:2])], wrong[0][2]
                where, value = place((int(row), int(feature))), rows[tuple(wrong[0])]
                raise self._not_finite(f"embeddings.{name}.weight{where} = {value}")
        for key, weight in arrays_of(self.parameters.LayerNorm, "embeddings.LayerNorm."):
            wrong = np.argwhere(~np.isfinite(weight))
            if len(wrong):
                feature = int(wrong[0][0])
                raise self._not_finite(f"{key}{place((feature,))} = {weight[feature]}")
        if not given:
            named = named_steps(steps, "embeddings")
            step = next(name for name, array in named if not np.isfinite(array).all())
            raise CheckpointError(
                f"{self._source}: its weights are finite, but so large that {step} overflows "
                f"{steps.output.dtype}; load with dtype='float64'."
            )

    def _not_finite(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self._source}: {what}: this weight is not finite, so neither is the result. "
            "`numpy-bert inspect --check` lists all such tensors."
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
