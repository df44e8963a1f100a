"""modules.json: the folders of which a sentence-transformers model is made, as they are listed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from numpy_bert.errors import CheckpointError, NumpyBertError
from numpy_bert.files import decode_json, is_listed, read_bytes, read_json
from numpy_bert.loading.checkpoint import SINGLE

__all__ = [
    "MODULES",
    "SETTINGS",
    "TRANSFORMER_CONFIGS",
    "WITH_WEIGHTS",
    "ModuleEntry",
    "bert_folder",
    "cross_encoder_settings",
    "read_modules",
    "read_transformer_config",
    "transformer_folder",
]

MODULES = "modules.json"
# The settings of the whole model.
SETTINGS = "config_sentence_transformers.json"
# The settings of the Transformer, under the name of today and six older ones, in the order in which
# sentence-transformers looks for them: the first that states anything is the one that counts.
TRANSFORMER_CONFIGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)

# The modules, beside the Transformer, that have weights of their own.
WITH_WEIGHTS = ("Dense", "LayerNorm", "WeightedLayerPooling")
# The modules that are a BERT: older sparse encoders have a class of their own for theirs.
_TRANSFORMERS = ("Transformer", "MLMTransformer")
# The most bytes that the systems of today take for the name of a folder.
_LONGEST_NAME = 255


class ModuleEntry(NamedTuple):
    """One line of modules.json: the dotted name of a class, and the folder of its files.

    A path that leads into one folder of the model's own is written as that folder's name.
    """

    type: str
    path: str

    @property
    def kind(self) -> str:
        """The last part of the class's name."""
        return self.type.rpartition(".")[2]

    @property
    def is_plain(self) -> bool:
        """Whether the folder is the model's own, or one directly in it: nothing can escape."""
        name = self.path
        good = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\:")
        return good and len(name.encode()) <= _LONGEST_NAME

    @property
    def files(self) -> list[str]:
        """The files of the folder that are read, weights included, by their names in the model."""
        if not self.path or not self.is_plain:
            return []
        names = ["config.json", SINGLE] if self.kind in WITH_WEIGHTS else ["config.json"]
        return [f"{self.path}/{name}" for name in names]


def read_modules(path: Path, *, error: type[NumpyBertError]) -> list[ModuleEntry]:
    """Read modules.json; a missing type is an empty one, to be refused by whoever runs it.

    Raises
    ------
    NumpyBertError
        If the file is malformed; the error is of the type `error` and names it.
    """
    # A list, where all other files are objects: wrapped, it is read as strictly as they are.
    data = b'{"modules": ' + read_bytes(path, error=error, limit=1 << 20) + b"}"
    modules = decode_json(data, where=str(path), error=error)["modules"]
    try:
        return [ModuleEntry(str(m.get("type", "")), _named(m["path"])) for m in modules]
    except (TypeError, KeyError, AttributeError):
        raise error(f"{path}: is not a list of modules with a path each.") from None


def cross_encoder_settings(folder: Path, *, error: type[NumpyBertError]) -> dict[str, Any] | None:
    """Return the settings of a cross-encoder that sentence-transformers 6 saved.

    None for any other model, whose settings that library does not read for a cross-encoder either.

    Raises
    ------
    NumpyBertError
        If the file is malformed; the error is of the type `error` and names it.
    """
    path = folder / SETTINGS
    if not is_listed(path) or not is_listed(folder / MODULES):
        return None
    stated = read_json(path, error=error, finite=False)
    return stated if stated.get("model_type") == "CrossEncoder" else None


def bert_folder(folder: Path) -> str:
    """Return the name of the folder in which modules.json has the Transformer, "" for none.

    "" too where modules.json is not there, or no list of modules, which its reader says.
    """
    path = folder / MODULES
    if not is_listed(path):
        return ""
    try:
        return transformer_folder(read_modules(path, error=CheckpointError))
    except CheckpointError:
        return ""


def transformer_folder(entries: Iterable[ModuleEntry]) -> str:
    """Return the name of the folder in which a list of modules has the Transformer, "" for none."""
    first = next((entry for entry in entries if entry.kind in _TRANSFORMERS), None)
    return first.path if first is not None and first.is_plain else ""


def _named(path: str) -> str:
    """Take away what does not change where a path leads: ``./`` before it, ``/`` behind it."""
    name = path.rstrip("/\\") or path
    while name.startswith(("./", ".\\")):
        name = name[2:]
    return "" if name == "." else name


def read_transformer_config(
    folder: Path, *, error: type[NumpyBertError]
) -> tuple[str, dict[str, Any]]:
    """Return the name and the content of that file of `TRANSFORMER_CONFIGS` which counts.

    It is the first that states anything, else the last that is there; "" where none is.

    Raises
    ------
    NumpyBertError
        If the file is malformed; the error is of the type `error` and names it.

    References
    ----------
    .. [1] sentence-transformers, base/modules/transformer.py, Transformer.load_config.
    """
    read, stated = "", dict[str, Any]()
    for name in TRANSFORMER_CONFIGS:
        if is_listed(folder / name):
            read, stated = name, read_json(folder / name, error=error)
            if stated:
                break
    return read, stated
