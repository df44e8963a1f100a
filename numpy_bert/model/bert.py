"""BertModel: a config, its parameters and the code that runs them, spelled as in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import StoredArray, as_dtype
from numpy_bert.config import BertConfig
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.weights import LoadingInfo, check_weights, read_table, read_weight
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.parameters import BertEmbeddingsParameters, build

__all__ = ["BertModel"]


class BertModel:
    """BERT, loaded. So far its input embedding; the encoder is the next floor.

    A call changes nothing that another one could see, so threads can share a model.

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

        def get(key: str) -> StoredArray:
            read = read_table if key.endswith("_embeddings.weight") else read_weight
            return read(checkpoint.tensors[key], wanted, mapped=mmap)

        parameters = build(BertEmbeddingsParameters, config, get, "embeddings.")
        return cls(config, parameters, info)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.embeddings.parameters.LayerNorm.weight.dtype

    def eval(self) -> BertModel:
        """Return the model itself: dropout is off in every call without `rng` or `keep`."""
        return self
