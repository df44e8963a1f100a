"""A model saved as transformers saves it: config.json and model.safetensors."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, widen
from numpy_bert.config import BertConfig
from numpy_bert.errors import OutputError
from numpy_bert.files import check_output, write_atomically, writing
from numpy_bert.model.state import Stateful
from numpy_bert.parameters import (
    BertEmbeddingsParameters,
    BertEncoderParameters,
    BertParameters,
    BertPoolerParameters,
    arrays_of,
    build,
)

__all__ = ["Saveable", "bert_parameters", "config_json", "write_tensors"]


class Saveable(Stateful):
    """Base of the models: their parameters by name, and how they are saved."""

    config: BertConfig

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter with its key in a checkpoint, in the model's dtype.

        A table that is stored in half precision is widened; all else is the model's own array.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> name, array = next(BertModel.from_pretrained("demo").named_parameters())
        >>> name, array.shape, array.dtype
        ('embeddings.word_embeddings.weight', (8000, 128), dtype('float32'))
        """
        for prefix, tree in self._trees().items():
            for key, array in arrays_of(tree):
                yield f"{prefix}{key}", widen(array, self.dtype)

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Save the model where `from_pretrained`, and transformers', can load it.

        Parameters
        ----------
        save_directory : str or Path
            A folder, made if it is not there. The tokenizer's files are its own affair.
        force : bool
            Whether config.json and model.safetensors there are replaced.

        Raises
        ------
        OutputError
            If they are there, or cannot be written; each is written whole or not at all.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import BertModel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     BertModel.from_pretrained("demo").save_pretrained(folder)
        ...     BertModel.from_pretrained(folder).config.hidden_size
        128
        """
        folder = Path(save_directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise OutputError(f"{folder}: cannot be made ({failure.strerror}).") from None
        paths = folder / "model.safetensors", folder / "config.json"
        for path in paths:
            check_output(path, force=force)
        write_tensors(paths[0], dict(self.named_parameters()), {"format": "pt"})
        write_atomically(paths[1], config_json(self.config, type(self).__name__).encode())


def bert_parameters(config: BertConfig, arrays: Mapping[str, Array]) -> BertParameters:
    """Put the arrays of a BertModel under a head into the parameters' classes; none is copied.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> found = bert_parameters(model.config, dict(model.named_parameters()))
    >>> found.encoder.layer[1].output.dense.weight.shape, found.pooler
    ((128, 512), None)
    """

    def get(key: str) -> Array:
        return arrays[key]

    pools = "bert.pooler.dense.weight" in arrays
    return BertParameters(
        embeddings=build(BertEmbeddingsParameters, config, get, "bert.embeddings."),
        encoder=build(BertEncoderParameters, config, get, "bert.encoder."),
        pooler=build(BertPoolerParameters, config, get, "bert.pooler.") if pools else None,
    )


def config_json(config: BertConfig, architecture: str) -> str:
    """Write a config as transformers does.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> written = json.loads(config_json(BertModel.from_pretrained("demo").config, "BertModel"))
    >>> written["architectures"], written["model_type"], written["hidden_size"]
    (['BertModel'], 'bert', 128)
    """
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "labels"}
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    head = {"architectures": [architecture], "model_type": "bert"}
    return json.dumps({**head, **values, **labels}, indent=2) + "\n"


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a safetensors file, whole or not at all."""
    from safetensors.numpy import save

    # Contiguous, because safetensors 0.8 writes a transposed array's values in the wrong order.
    ready = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with writing(path) as file:
        file.write(save(ready, dict(metadata or {})))
