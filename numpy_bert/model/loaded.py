"""From a name to parameters: what every ``from_pretrained`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from numpy_bert.arrays import StoredArray
from numpy_bert.config import BertConfig
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.weights import LoadingInfo, check_weights, read_table, read_weight
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    BertEncoderParameters,
    BertParameters,
    BertPoolerParameters,
    build,
)

__all__ = ["Loaded", "load"]


class Loaded(NamedTuple):
    """A checkpoint, loaded: its folder, and what a model is made of."""

    folder: Path
    config: BertConfig
    parameters: BertParameters
    info: LoadingInfo


def load(
    name_or_path: str | Path,
    *,
    dtype: np.dtype[Any],
    mmap: bool,
    only: Literal["embeddings"] | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Loaded:
    """Find, check and read a checkpoint; see `BertModel.from_pretrained`."""
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
    info = check_weights(checkpoint, config, dtype, only=only)

    def get(key: str) -> StoredArray:
        read = read_table if key.endswith("_embeddings.weight") else read_weight
        return read(checkpoint.tensors[key], dtype, mapped=mmap)

    embeddings = build(BertEmbeddingsParameters, config, get, "embeddings.")
    encoder = pooler = None
    if only is None:
        encoder = build(BertEncoderParameters, config, get, "encoder.")
        if not any(key.startswith("pooler.") for key in info.missing_keys):
            pooler = build(BertPoolerParameters, config, get, "pooler.")
    parameters = BertParameters(embeddings=embeddings, encoder=encoder, pooler=pooler)
    return Loaded(folder, config, parameters, info)
