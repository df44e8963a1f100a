"""BertModel: a config, its parameters and the code that runs them, spelled as in transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype
from numpy_bert.blocks.embeddings import check_inputs
from numpy_bert.blocks.encoder import pooler
from numpy_bert.config import BertConfig
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.model.loaded import load
from numpy_bert.model.outputs import BertModelOutput, BertSteps
from numpy_bert.model.packed import PackedModel, as_packed, used_mask
from numpy_bert.model.readable import Arguments, ReadableModel
from numpy_bert.model.saving import Saveable
from numpy_bert.parameters import BertParameters

__all__ = ["BertModel"]


class BertModel(Saveable):
    """BERT, loaded: embedding, encoder and pooler.

    A call changes nothing that another one could see, so threads can share a model. A copy or a
    pickle of it carries the weights and the config alone, whatever it was used for.

    Attributes
    ----------
    config : BertConfig
        Sizes and settings.
    parameters : BertParameters
        The weights, named as in transformers.
    embeddings : BertEmbeddings
        The input embedding.
    loading_info : LoadingInfo
        What the checkpoint held, lacked, and what was cast.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> model([[2, 5, 3]]).last_hidden_state.shape
    (1, 3, 128)
    >>> model.loading_info.unexpected_keys[0]
    'cls.predictions.bias'
    """

    _fixed = frozenset({"config", "parameters", "loading_info", "embeddings"})
    _prepared = frozenset({"embeddings", "_readable", "_packed"})

    def __init__(
        self, config: BertConfig, parameters: BertParameters, loading_info: LoadingInfo
    ) -> None:
        self.config = config
        self.parameters = parameters
        self.loading_info = loading_info
        self._prepare()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        only: Literal["embeddings"] | None = None,
        mmap: bool = True,
    ) -> BertModel:
        """Load a published checkpoint.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            As in `numpy_bert.fetch`.
        only : {"embeddings"}, optional
            Load, and where the cache has nothing fetch, the input embedding alone; that the rest is
            absent is no error. To be asked for, since a part of a file cannot be checked against
            the whole file's hash.
        dtype : {"float32", "float64"}
            What to compute in. Tensors stored otherwise are listed in ``loading_info.cast``. F16
            and BF16 widen exactly; the look-up tables stay as they are stored, and only the rows
            that are used are widened.
        mmap : bool
            Map the file into memory where its dtype allows (the default): only the rows that are
            used are read, and processes share them. A file that is shortened while it is mapped
            ends the process; with False the weights are copied, and a change is an error.

        Raises
        ------
        ConfigError, CheckpointError
            Naming the file, the field or the tensors.
        """
        loaded = load(
            name_or_path,
            dtype=as_dtype(dtype),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            only=only,
            mmap=mmap,
        )
        return cls(loaded.config, loaded.parameters, loaded.info)

    def __call__(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        rng: np.random.Generator | None = None,
    ) -> BertModelOutput:
        """Run the model.

        In float32, without `output_attentions` and `rng`, the kernels compute it, on tokens
        only: then zeros stand in every state where `attention_mask` is 0, and a `pooler_output`
        whose first token is masked means nothing. Otherwise all is as in transformers, which
        computes padding like any token.

        Parameters
        ----------
        input_ids, token_type_ids, position_ids, inputs_embeds
            As in `numpy_bert.blocks.embeddings.embeddings`.
        attention_mask : array_like of int, float or bool, shape (B, T), optional
            1 where a token is, 0 where padding is, anywhere in a row; all 1 by default.
        output_hidden_states, output_attentions : bool
            Whether to return every layer's output, and the weights of its attention: what the
            values are multiplied by, after dropout where that is on.
        rng : numpy.random.Generator, optional
            Turns dropout on, wherever BERT has it, and draws its masks.

        Returns
        -------
        BertModelOutput
            last_hidden_state, pooler_output, hidden_states, attentions.

        Raises
        ------
        InputError
            Naming the argument, the place, the value and the limit.
        CheckpointError
            If the result is not finite because a weight is not; the weight is named.
        """
        arguments = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        fast = self._packed if rng is None and not output_attentions else None
        if fast is not None and fast.fits:
            return self._fast(fast, arguments, every=output_hidden_states)
        steps = self.steps(*arguments, rng=rng)
        layers = steps.encoder.layer
        states = (steps.embeddings.output, *(layer.output.output for layer in layers))
        weights = tuple(layer.attention.self.dropout.output for layer in layers)
        return BertModelOutput(
            last_hidden_state=steps.encoder.output,
            pooler_output=None if steps.pooler is None else steps.pooler.output,
            hidden_states=states if output_hidden_states else None,
            attentions=weights if output_attentions else None,
        )

    def steps(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> BertSteps:
        """Return every intermediate of the model, computed by the readable code.

        Parameters and errors as of a call.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.steps([[2, 5, 3]]).encoder.layer[1].attention.self.probs.shape
        (1, 2, 3, 3)
        """
        arguments = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        return self._readable.steps(Arguments(*arguments, rng))

    def trace(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the name and the array of every intermediate, in execution order.

        What `steps` returns, one layer alive at a time. Parameters and errors as of a call.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> name, array = next(model.trace([[2, 5, 3]]))
        >>> name, array.shape
        ('embeddings.word_embeddings', (1, 3, 128))
        """
        arguments = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        return self._readable.trace(Arguments(*arguments, rng))

    @np.errstate(all="ignore")
    def packed(
        self,
        input_ids: npt.ArrayLike,
        lengths: npt.ArrayLike,
        token_type_ids: npt.ArrayLike | None = None,
    ) -> Array:
        """Run embedding and encoder over sequences that stand one after another, without padding.

        Parameters
        ----------
        input_ids : array_like of int, shape (N,)
            The token ids of all sequences.
        lengths : array_like of int, shape (B,)
            Tokens of each sequence, from 1; their sum is N. Best sorted: neighbours of one length
            are faster.
        token_type_ids : array_like of int, shape (N,), optional
            All 0 by default.

        Returns
        -------
        ndarray of shape (N, H)
            The last hidden state of every token.

        Raises
        ------
        InputError
            Naming the argument, and what does not fit.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.packed([2, 3, 2, 5, 3], [2, 3]).shape
        (5, 128)
        """
        tokens, sizes, segments = as_packed(
            input_ids, lengths, token_type_ids, positions=self.config.max_position_embeddings
        )
        if self._packed is not None and self._packed.fits:
            rows, finite = self._packed.rows(tokens, sizes, segments)
            if finite:
                return rows
        mask = np.arange(sizes.max(initial=0)) < sizes[:, np.newaxis]  # (B, T)
        ids = np.zeros(mask.shape, tokens.dtype)
        ids[mask] = tokens
        types = None if segments is None else np.zeros(mask.shape, segments.dtype)
        if types is not None and segments is not None:
            types[mask] = segments
        return self.steps(ids, mask, types).encoder.output[mask]

    def release(self) -> None:
        """Give back the memory of the kernels' own weights, which the next call makes anew."""
        if self._packed is not None:
            self._packed.release()

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.embeddings.parameters.LayerNorm.weight.dtype

    def eval(self) -> BertModel:
        """Return the model itself: dropout is off in every call without `rng` or `keep`."""
        return self

    def _trees(self) -> dict[str, object]:
        return {"": self.parameters}

    def _prepare(self) -> None:
        config, parameters = self.config, self.parameters
        source = ", ".join(self.loading_info.files)
        self.embeddings = BertEmbeddings(parameters.embeddings, config, source)
        self._readable = ReadableModel(config, parameters, self.embeddings, source)
        self._packed: PackedModel | None = None
        if parameters.encoder is not None and self.dtype == np.float32:
            self._packed = PackedModel(self.embeddings, parameters.encoder, config)

    @np.errstate(all="ignore")
    def _fast(
        self, packed: PackedModel, arguments: Sequence[npt.ArrayLike | None], *, every: bool
    ) -> BertModelOutput:
        """Run the model by the kernels."""
        ids, attention_mask, *others = arguments
        inputs = check_inputs(self.parameters.embeddings, ids, *others)
        mask = used_mask(attention_mask, inputs.words.shape[:2])
        states, finite = packed.states(inputs, mask, every=every)
        head, last = self.parameters.pooler, states[-1]
        has_tokens = last.shape[1] > 0
        pooled = pooler(head, last).output if head is not None and has_tokens else None
        if not (finite and (pooled is None or np.isfinite(pooled).all())):
            self.steps(*arguments)  # raises where it is a weight's fault
        return BertModelOutput(
            last_hidden_state=last,
            pooler_output=pooled,
            hidden_states=tuple(states) if every else None,
        )
