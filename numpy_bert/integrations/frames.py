"""Frames of texts in, the same frames with vectors out: what the workers of every engine call.

An engine (Dask, Spark) cuts a corpus into frames and sends them to its workers. What is here runs
there: it loads the model once a process, and computes in the thread that it is called in, because
an engine runs as many tasks at a time as it has processors for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError, NumpyBertError
from numpy_bert.extras import optional
from numpy_bert.kernels.threads import one_thread
from numpy_bert.loading.cache import demo_folder, local_folder
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import listed, must_be, shown
from numpy_bert.text.inputs import as_texts

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Settings",
    "add_vectors",
    "encode_frames",
    "encode_texts",
    "in_every_process",
    "load",
    "naming",
    "to_numpy",
]

# So many encoders are kept in a process, the last used ones.
_KEPT = 4
# What of the settings says which model is loaded, rather than what is done with it.
_MODEL = ("revision", "cache_dir", "local_files_only", "token")


class _Turn:
    """One thread at a time loads a model."""

    lock = threading.Lock()


class Settings(TypedDict, total=False):
    """What may be said of a model and of its vectors, each by its name; all have a default.

    Attributes
    ----------
    revision, cache_dir, local_files_only, token, dtype
        They are those of `SentenceEncoder.from_pretrained`. A token that is given as a text goes to
        the workers with the tasks; ``token=True`` is each worker's own.
    prompt_name, prompt, batch_size, normalize_embeddings, truncate_dim, pooling
        They are those of `SentenceEncoder.encode`.
    """

    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    token: bool | str | None
    dtype: npt.DTypeLike
    prompt_name: str | None
    prompt: str | None
    batch_size: int | None
    normalize_embeddings: bool
    truncate_dim: int | None
    pooling: str | Sequence[str] | None


def encode_frames(
    frames: Iterable[pd.DataFrame],
    column: str,
    model: str | Path,
    *,
    output: str = "vector",
    **settings: Unpack[Settings],
) -> Iterator[pd.DataFrame]:
    """Yield each frame with one more column, the vectors of the texts in another.

    The model is loaded for the first frame, once a process. A frame is encoded by one thread, as
    one call of `SentenceEncoder.encode` would do it.

    Parameters
    ----------
    frames : iterable of pandas.DataFrame
        The frames; an empty one is fine.
    column : str
        The column that holds the texts.
    model : str or Path
        A sentence model or a plain BERT: a folder, or a repository on the hub.
    output : str
        The name of the new column.
    **settings
        They are those of `Settings`: what `SentenceEncoder.from_pretrained` and `encode` take.

    Yields
    ------
    pandas.DataFrame
        The frame with a column of lists of one size: ``ArrowDtype(pyarrow.list_(float32, H))``.

    Raises
    ------
    InputError
        If a column is missing, or there already, or if a row has no text: frame and row are named,
        both counted from 0.
    ConfigError, CheckpointError, TokenizerError, HubError
        If the model cannot be loaded.

    See Also
    --------
    to_numpy : The vectors of such a column as one array.
    """
    for number, frame in enumerate(frames):
        yield add_vectors(frame, column, model, output, settings, f"frame {number}")


def add_vectors(
    frame: pd.DataFrame,
    column: str,
    model: str | Path,
    output: str,
    settings: Settings,
    where: str,
) -> pd.DataFrame:
    """Return a frame with a column of vectors; `where` is what errors call it."""
    with naming(where):
        if not hasattr(frame, "columns"):
            raise InputError(must_be("frames", "pandas DataFrames, such as a list of one", frame))
        if not isinstance(column, Hashable):
            raise InputError(must_be("column", "the name of a column", column))
        if column not in frame.columns:
            names = [str(name) for name in frame.columns]
            raise InputError(f"column: there is no {shown(column)}; there is {listed(names)}.")
        if not isinstance(output, str):
            raise InputError(must_be("output", "the name of a column", output))
        if output in frame.columns:
            raise InputError(f"output: there is a column {shown(output)} already; name another.")
        vectors = encode_texts(frame[column], model, name=str(column), **settings)
        return frame.assign(**{output: _as_lists(vectors)})


def to_numpy(column: pd.Series) -> Array:
    """Return a column of vectors as one array.

    Parameters
    ----------
    column : pandas.Series
        A column as `encode_frames` makes it, or as it is read from Parquet with
        ``dtype_backend="pyarrow"``.

    Returns
    -------
    ndarray of shape (n, H)
        The vectors, which are not copied if the column is in one piece.

    Raises
    ------
    InputError
        If it is another column, or a row has no vector.
    """
    pyarrow = optional("pyarrow", "dask", "A column of vectors")
    kind = getattr(column.dtype, "pyarrow_dtype", None)
    if not (
        isinstance(kind, pyarrow.FixedSizeListType) and pyarrow.types.is_floating(kind.value_type)
    ):
        wanted = "a column of vectors, as encode_frames makes it"
        raise InputError(
            f"{must_be('column', wanted, column.dtype)} Of arrays or lists of one length "
            "np.stack(column) makes one array."
        )
    lists = pyarrow.array(column)
    if isinstance(lists, pyarrow.ChunkedArray):
        lists = lists.combine_chunks()
    if lists.null_count:
        raise InputError(f"column: {lists.null_count:,} rows have no vector; leave them out.")
    found: Array = lists.flatten().to_numpy(zero_copy_only=False)
    return found.reshape(len(column), kind.list_size)


def encode_texts(
    texts: object,
    model: str | Path,
    *,
    name: str = "texts",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
    dtype: npt.DTypeLike = "float32",
    prompt_name: str | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
    normalize_embeddings: bool = False,
    truncate_dim: int | None = None,
    pooling: str | Sequence[str] | None = None,
) -> Array:
    """Return the vectors of texts, by a model that this process keeps, in this thread alone.

    Parameters
    ----------
    texts : sequence, array, Series or other column of str
        Any number of texts.
    model : str or Path
        The model, as `load` takes it.
    name : str
        What errors call the texts.
    revision, cache_dir, local_files_only, token, dtype
        They are those of `load`.
    prompt_name, prompt, batch_size, normalize_embeddings, truncate_dim, pooling
        They are those of `SentenceEncoder.encode`.

    Returns
    -------
    ndarray of shape (n, H), of the model's dtype
        The vectors.

    Examples
    --------
    >>> encode_texts(["a test", "the sea"], "demo", truncate_dim=8).shape
    (2, 8)
    """
    is_one, checked = as_texts(texts, name)
    if is_one:
        raise InputError(f"{name} must be a list or column of texts; got one text.")
    encoder = load(
        model,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
        dtype=dtype,
    )
    with one_thread():
        return encoder.encode(
            checked,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=False,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pooling=pooling,
        )


def load(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
    dtype: npt.DTypeLike = "float32",
) -> SentenceEncoder:
    """Return an encoder that this process keeps: threads that ask for the same get the same.

    It is loaded when it is first asked for, and fetched where the cache does not have it; a thread
    that asks meanwhile waits. The last four are kept. Do not set its attributes: others use it.

    Parameters
    ----------
    name_or_path, revision, cache_dir, local_files_only, token, dtype
        They are those of `SentenceEncoder.from_pretrained`.

    Examples
    --------
    >>> load("demo") is load("demo", dtype=np.float32)
    True
    """
    with _Turn.lock:
        return _loaded(name_or_path, revision, cache_dir, local_files_only, token, as_dtype(dtype))


@lru_cache(maxsize=_KEPT)
def _loaded(
    name_or_path: str | Path,
    revision: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    token: bool | str | None,
    dtype: np.dtype[Any],
) -> SentenceEncoder:
    """Load an encoder."""
    return SentenceEncoder.from_pretrained(
        name_or_path,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
        dtype=dtype,
    )


def in_every_process(model: str | Path, settings: Settings) -> tuple[str, Settings]:
    """Return a name and settings that mean the same model in every process and on every machine.

    A branch or tag becomes the commit that it is here and now, for which the model is fetched if
    it is not in the cache; a folder becomes an absolute path, which workers must have, too.

    Examples
    --------
    >>> in_every_process("demo", {"truncate_dim": 8})
    ('demo', {'truncate_dim': 8})
    """
    chosen: Any = {name: settings[name] for name in _MODEL if name in settings}  # type: ignore[literal-required]
    folder = find_sentence_model(model, **chosen)
    local = local_folder(model)
    if local is None:
        name = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        return name, {**settings, "revision": folder.name}
    return ("demo" if local == demo_folder() else str(local.absolute())), settings


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Raise numpy_bert's own errors as they are, with the place before the message.

    Examples
    --------
    >>> with naming("partition 3"):
    ...     encode_texts([None], "demo", name="text")
    Traceback (most recent call last):
    numpy_bert.errors.InputError: partition 3: text[0] must be a str; got NoneType. It is a missing
    value: leave it out, or fill it with a text.
    """
    try:
        yield
    except NumpyBertError as failure:
        raise type(failure)(f"{where}: {failure}") from None


def _as_lists(vectors: Array) -> Any:
    """Return vectors (n, H) as an array of pandas whose items are lists of one size."""
    pyarrow = optional("pyarrow", "dask", "A column of vectors")
    pandas = optional("pandas", "dask", "A column of vectors")
    items = pyarrow.array(vectors.ravel())
    lists = pyarrow.FixedSizeListArray.from_arrays(items, vectors.shape[1])
    return pandas.arrays.ArrowExtensionArray(lists)


def _forget() -> None:
    """Let a forked child load models, whatever its parent was loading meanwhile."""
    _Turn.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
