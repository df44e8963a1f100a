"""An index made: by a job, block by block, or of vectors that are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_array
from numpy_bert.corpora.index_files import (
    FILES,
    INDEX,
    TEXTS,
    VECTORS,
    Description,
    complete,
    read_description,
)
from numpy_bert.corpora.job import CorpusReport, encode_corpus
from numpy_bert.corpora.journal import Parts
from numpy_bert.corpora.npy import npy_start
from numpy_bert.corpora.outputs import StoredTexts, StoredVectors, text_lines
from numpy_bert.corpora.sources import Record
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.prompts import document_prompt, prompt_of
from numpy_bert.errors import InputError, NumpyBertError, OutputError
from numpy_bert.files import (
    as_folder,
    check_output,
    look,
    take_name,
    trouble,
    writing,
    writing_folder,
)
from numpy_bert.loading.cache import local_folder
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.locks import remove_folder
from numpy_bert.messages import named, quoted, shown
from numpy_bert.text.inputs import as_texts

if TYPE_CHECKING:
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder

__all__ = [
    "IndexOutput",
    "check_index",
    "describe",
    "encode_index",
    "stored_precision",
    "write_index",
]

# The folder in the job's folder that becomes the index.
_GROWING = "index"
_BLOCK = 1 << 13


class IndexOutput:
    """An index as what a job makes: its files grow in the job's folder, and are the index's own.

    Parameters
    ----------
    path : Path
        The folder of the index.
    description : Description
        What it says of itself, but for what is known at the end.
    precision : str
        "float32" or "float16".
    """

    def __init__(self, path: Path, description: Description, precision: str) -> None:
        self.path, self.precision = path, stored_precision(precision)
        self._description = description
        self._parts: Parts
        self._vectors: StoredVectors
        self._texts: StoredTexts

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what the output is."""
        return {"output": "index", "precision": self.precision}

    def check(self, *, force: bool) -> None:
        """Raise OutputError unless the folder can be made without loss."""
        check_index(self.path, force=force)

    def begin(self, parts: Parts, width: int, dtype: np.dtype[Any]) -> None:
        """Open the files that grow."""
        self._parts = parts
        self._description = replace(self._description, width=width, dtype=dtype.name)
        self._vectors = StoredVectors(parts, width, dtype, f"{_GROWING}/{VECTORS}")
        self._texts = StoredTexts(parts, f"{_GROWING}/{TEXTS}")

    def add(self, records: Sequence[Record], vectors: Array) -> None:
        """Add a block."""
        self._vectors.add(vectors)
        self._texts.add(records)

    def finish(self, sign: Callable[[Path], None]) -> None:
        """Complete the folder and give it its name; what had the name goes with the job's folder.

        A kill between the two new names leaves none there, and nothing half made that could be
        opened; the next run of the job gives it.
        """
        self._vectors.seal()
        made, old = (self._parts.folder / name for name in (_GROWING, "replaced"))
        complete(made, replace(self._description, count=self._vectors.rows))
        sign(made)
        if look(self.path) == "folder":
            remove_folder(old)
            take_name(self.path.resolve(), old)
        take_name(made, self.path)


def encode_index(
    encoder: SentenceEncoder,
    source: str | Path,
    path: str | Path,
    model_name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_folder: str | Path | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    pooling: str | Sequence[str] | None = None,
    truncate_dim: int | None = None,
    normalize_embeddings: bool = False,
    precision: str = "float32",
    **options: Any,
) -> CorpusReport:
    r"""Make an index of a corpus, whatever its size; go on where an earlier run ended.

    It is `numpy_bert.corpora.encode_corpus` with a folder for an output, which
    `numpy_bert.open_index` opens.

    Parameters
    ----------
    encoder : SentenceEncoder
        The encoder.
    source : str or Path
        The corpus.
    path : str or Path
        The folder.
    model_name_or_path, revision, cache_folder
        Where the encoder was loaded from, as `describe` takes them.
    prompt_name, prompt, pooling, truncate_dim, normalize_embeddings
        They are those of `SentenceEncoder.encode_document`. Where the model compares by "cosine",
        vectors are scaled to length 1 in any case.
    precision : {"float32", "float16"}
        In what a feature is stored.
    **options
        The others of `encode_corpus`.

    Returns
    -------
    CorpusReport
        What `encode_corpus` returns.

    Raises
    ------
    InputError, OutputError
        They are those of `encode_corpus`. An index that is there is replaced with ``force=True``,
        and nothing is ever added to it.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert import SentenceEncoder, open_index
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus, path = Path(folder) / "corpus.txt", Path(folder) / "corpus.index"
    ...     _ = corpus.write_text("a test\nthe sea\nthe moon\n")
    ...     report = encode_index(SentenceEncoder("demo"), corpus, path, "demo")
    ...     report.texts, open_index(path).search("the sea", k=1).texts
    (3, ['the sea'])
    """
    if prompt is None and prompt_name is None:
        prompt_name = document_prompt(encoder.prompts)
    asked = {
        "prompt": prompt_of(encoder.prompts, encoder.default_prompt_name, prompt, prompt_name),
        "pooling": pooling,
        "truncate_dim": truncate_dim,
        "normalize_embeddings": normalize_embeddings,
    }
    place = {"revision": revision, "cache_folder": cache_folder}
    description = describe(encoder, model_name_or_path, **place, **asked)  # type: ignore[arg-type]
    asked["normalize_embeddings"] = description.normalize_embeddings
    output = IndexOutput(as_folder(path, "path"), description, precision)
    return encode_corpus(encoder, source, output, precision=precision, **asked, **options)  # type: ignore[arg-type]


def describe(
    encoder: SentenceEncoder,
    model_name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_folder: str | Path | None = None,
    prompt: str = "",
    pooling: str | Sequence[str] | None = None,
    truncate_dim: int | None = None,
    normalize_embeddings: bool = False,
) -> Description:
    """Return what an index says of itself, whose vectors an encoder makes so.

    Parameters
    ----------
    encoder : SentenceEncoder
        The encoder.
    model_name_or_path, revision, cache_folder
        Where it was loaded from. A folder is remembered by its full path, a repository by its name
        and the commit that the cache has; no request is made.
    prompt, pooling, truncate_dim, normalize_embeddings
        How `encode` is called. For "cosine", vectors are scaled to length 1 in any case.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> said = describe(SentenceEncoder("demo"), "demo")
    >>> said.model, said.similarity_fn_name, said.normalize_embeddings
    ('demo', 'cosine', True)
    """
    folder = find_sentence_model(
        model_name_or_path, revision=revision, cache_dir=cache_folder, local_files_only=True
    )
    place = local_folder(model_name_or_path)
    is_named = place is None or str(model_name_or_path) == "demo"
    is_snapshot = folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name)
    like = copy(encoder)
    if pooling is not None:
        like.pooling = pooling
    if truncate_dim is not None:
        like.truncate_dim = truncate_dim
    return Description(
        model=str(model_name_or_path if is_named else folder.resolve()),
        revision=folder.name if is_snapshot else None,
        similarity_fn_name=like.similarity_fn_name,
        pooling=like.pooling,
        truncate_dim=like.truncate_dim,
        max_seq_length=like.max_seq_length,
        normalize_embeddings=normalize_embeddings or like.similarity_fn_name == "cosine",
        prompt=prompt,
    )


def write_index(
    path: str | Path,
    texts: Sequence[str],
    vectors: npt.ArrayLike,
    encoder: SentenceEncoder,
    model_name_or_path: str | Path,
    *,
    precision: str = "float32",
    **how: Any,
) -> None:
    """Make an index of texts whose vectors are there; `numpy_bert.open_index` opens it.

    Parameters
    ----------
    path : str or Path
        The folder.
    texts : sequence of str
        The texts.
    vectors : array_like of shape (n, H)
        Their vectors, as `encoder` makes them. They may be memory-mapped.
    encoder : SentenceEncoder
        What made the vectors, with the settings that it had.
    model_name_or_path, **how
        Where the encoder was loaded from, and how it was called, as `describe` takes them.
    precision : {"float32", "float16"}
        In what the vectors are stored; "float32" leaves them as they are.

    Raises
    ------
    InputError
        If there are not as many texts as vectors, or a value is not finite, or too large.
    OutputError
        If the folder is there, or cannot be written; nothing has changed then.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_bert import SentenceEncoder, open_index
    >>> encoder, texts = SentenceEncoder("demo"), ["a test", "the sea"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vectors = encoder.encode_document(texts)
    ...     write_index(f"{folder}/index", texts, vectors, encoder, "demo", precision="float16")
    ...     open_index(f"{folder}/index")
    Index(2 texts, 384 features, float16, cosine, demo)
    """
    target = as_folder(path, "path")
    check_index(target, force=False)
    texts = as_texts(texts, "texts")[1]
    array = as_array(vectors, "vectors")
    if array.ndim != 2 or len(array) != len(texts):
        raise InputError(
            f"vectors must have a row for each of {len(texts):,} texts; got shape {array.shape}."
        )
    description = replace(
        describe(encoder, model_name_or_path, **how),
        count=len(texts),
        width=array.shape[1],
        dtype=_dtype(array.dtype, stored_precision(precision)),
    )
    with writing_folder(target) as folder:
        with writing(folder / VECTORS) as file:
            file.write(npy_start(array.shape, description.dtype))
            for start in range(0, len(array), _BLOCK):
                block = array[start : start + _BLOCK]
                file.write(_stored(block, description, start).tobytes())
        with writing(folder / TEXTS) as file:
            file.writelines(text_lines(texts))
        complete(folder, description)


def check_index(path: Path, *, force: bool) -> None:
    """Raise OutputError unless an index can be made at `path`, in place of another with `force`.

    A folder in which anything else stands is never replaced.
    """
    found = look(path)
    if found == "absent":
        check_output(path, force=force)  # of the folder that it is to stand in
        return
    if found != "folder":
        raise OutputError(f"{named(path)}: {trouble(path) or 'is no folder'}; name a new folder.")
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        return
    others = [name for name in names if name not in FILES]
    if others or INDEX not in names:
        raise OutputError(
            f"{named(path)}: holds {quoted((others or names)[0])}, and is no index; name a new "
            "folder."
        )
    if not force:
        raise OutputError(
            f"{named(path)}: is an index already, of {_texts_in(path)}, to which nothing can be "
            "added. --force, in Python force=True, makes it anew of the whole input; or name "
            "another folder."
        )


def _texts_in(path: Path) -> str:
    """Say how many texts an index has, as far as can be said."""
    try:
        return f"{read_description(path).count:,} texts"
    except NumpyBertError:
        return "another version or a damaged one"


def stored_precision(precision: object) -> str:
    """Return a precision that an index has; InputError for another."""
    if not isinstance(precision, str) or precision not in ("float32", "float16"):
        raise InputError(
            f"precision must be float32 or float16 for an index; got {shown(precision)}. "
            "encode -o FILE.npy stores others."
        )
    return precision


def _dtype(dtype: np.dtype[Any], precision: str) -> str:
    """Return the dtype in which an index stores vectors that are there."""
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise InputError(f"vectors must be floats of 16, 32 or 64 bits; got {dtype}.")
    return "float16" if precision == "float16" else dtype.name


def _stored(block: npt.NDArray[Any], description: Description, start: int) -> npt.NDArray[Any]:
    """Return vectors as they are stored; InputError, naming the row, where one cannot be."""
    if description.similarity_fn_name == "cosine":
        wide: Array = block.astype(np.result_type(block.dtype, np.float32), copy=False)
        block = normalize(wide)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(block, f"<{np.dtype(description.dtype).str[1:]}")
    wrong = np.flatnonzero(~np.isfinite(stored).all(axis=1))
    if wrong.size:
        raise InputError(
            f"vectors[{start + int(wrong[0])}] must be finite, in {description.dtype} too; it "
            "holds a NaN, an infinity, or a number that is too large."
        )
    return stored
