"""BertModel: a config, its parameters and the code that runs them, spelled as in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype, as_floats, place
from numpy_bert.blocks.embeddings import EmbeddingsSteps, embeddings
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.weights import LoadingInfo, check_weights, read_weight
from numpy_bert.ops.dropout import dropout
from numpy_bert.ops.embedding import embedding
from numpy_bert.ops.layer_norm import layer_norm
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    LayerNormParameters,
    arrays_of,
    build,
)
from numpy_bert.trace import named_steps

__all__ = ["BertEmbeddings", "BertModel", "Dropout", "Embedding", "LayerNorm"]


class Embedding:
    """A look-up table that is called with ids, as ``torch.nn.Embedding`` is."""

    def __init__(self, weight: Array, name: str) -> None:
        self.weight = weight
        self._name = name

    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the rows (*input.shape, H) of the ids; InputError names one out of range."""
        return embedding(input, self.weight, ids_name=f"{self._name}: ids", table_name=self._name)


class LayerNorm:
    """Layer normalization that is called with rows, as ``torch.nn.LayerNorm`` is."""

    def __init__(self, parameters: LayerNormParameters, eps: float) -> None:
        self.weight = parameters.weight
        self.bias = parameters.bias
        self.eps = eps

    @np.errstate(all="ignore")  # also where the caller's own settings would raise
    def __call__(self, input: npt.ArrayLike) -> Array:
        """Return the normalized rows, of the shape and dtype of `input`."""
        rows = as_floats(input, name="LayerNorm: input")
        return layer_norm(rows, self.weight, self.bias, eps=self.eps).output


class Dropout:
    """Inverted dropout: the identity, unless an `rng` or a `keep` mask is given."""

    def __init__(self, p: float) -> None:
        self.p = p

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
        self.word_embeddings = Embedding(parameters.word_embeddings.weight, "word_embeddings")
        self.token_type_embeddings = Embedding(
            parameters.token_type_embeddings.weight, "token_type_embeddings"
        )
        self.position_embeddings = Embedding(
            parameters.position_embeddings.weight, "position_embeddings"
        )
        self.LayerNorm = LayerNorm(parameters.LayerNorm, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def __call__(
        self,
        input_ids: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
        keep: npt.ArrayLike | None = None,
    ) -> Array:
        """Return the input embedding (B, T, H); arguments and errors as in `steps`."""
        return self.steps(
            input_ids, token_type_ids, position_ids, inputs_embeds, rng=rng, keep=keep
        ).output

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
            self._find_non_finite(steps)
        return steps

    def _find_non_finite(self, steps: EmbeddingsSteps) -> None:
        """Name the first weight that is not finite; a caller's own NaN passes through."""
        for key, array in arrays_of(self.parameters, "embeddings."):
            wrong = np.argwhere(~np.isfinite(array))
            if len(wrong):
                first = tuple(int(i) for i in wrong[0])
                raise CheckpointError(
                    f"{self._source}: {key}{place(first)} = {array[first]}: this weight is not "
                    "finite, so neither is the result. `numpy-bert inspect --check` lists all "
                    "such tensors."
                )
        if np.isfinite(steps.word_embeddings).all():
            named = named_steps(steps, "embeddings")
            step = next(name for name, array in named if not np.isfinite(array).all())
            raise CheckpointError(
                f"{self._source}: its weights are finite, but so large that {step} overflows "
                f"{steps.output.dtype}; load with dtype='float64'."
            )


class BertModel:
    """BERT, loaded. So far its input embedding; the encoder is the next floor.

    Stateless: a call changes nothing, so threads can share a model.

    Attributes
    ----------
    config : BertConfig
        Sizes and settings.
    embeddings : BertEmbeddings
        The input embedding.
    loading_info : LoadingInfo
        What the checkpoint held, lacked, and what was cast.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> model.config.hidden_size
    128
    >>> model.loading_info.unexpected_keys[0]
    'cls.predictions.bias'
    """

    def __init__(
        self,
        config: BertConfig,
        embeddings_parameters: BertEmbeddingsParameters,
        loading_info: LoadingInfo,
    ) -> None:
        self.config = config
        self.loading_info = loading_info
        source = ", ".join(loading_info.files)
        self.embeddings = BertEmbeddings(embeddings_parameters, config, source)

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
            As in `numpy_bert.fetch`. A cached revision is used without any request.
        only : {"embeddings"}, optional
            Load, and where the cache has nothing fetch, the input embedding alone; that the rest is
            absent is no error. To be asked for, since a part of a file cannot be checked against
            the whole file's hash.
        dtype : {"float32", "float64"}
            What to compute in. Tensors stored otherwise are cast and listed in
            ``loading_info.cast``; F16 and BF16 widen exactly.
        mmap : bool
            Map the file into memory where its dtype allows (the default): only the rows that are
            used are read, and processes share them. A file that is shortened while it is mapped
            ends the process; with False the weights are copied, and a change is an error.

        Raises
        ------
        ConfigError, CheckpointError
            Naming the file, the field or the tensors.
        """
        wanted = as_dtype(dtype)
        folder = find(
            name_or_path,
            needs=MODEL_FILES,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            only=only,
        )
        config = BertConfig.from_json_file(folder / "config.json")
        checkpoint = open_checkpoint(folder)
        info = check_weights(checkpoint, config, wanted, only=only)

        def get(key: str) -> Array:
            return read_weight(checkpoint.tensors[key], wanted, mapped=mmap)

        parameters = build(BertEmbeddingsParameters, config, get, "embeddings.")
        return cls(config, parameters, info)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.embeddings.word_embeddings.weight.dtype

    def eval(self) -> BertModel:
        """Return the model itself: dropout is off in every call without `rng` or `keep`."""
        return self
