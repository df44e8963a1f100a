"""Vectors of a Dask dataframe's column, or of a bag of texts, on as many machines as there are.

Dask is the engine: it sends partitions to workers, and those of a worker that has died to others.
Each worker's process loads the model once, by its name and commit, and each task computes in one
thread, so a worker of N threads, which runs N tasks at a time, keeps N processors busy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.extras import optional
from numpy_bert.integrations.frames import (
    Settings,
    add_vectors,
    encode_texts,
    in_every_process,
    naming,
)

if TYPE_CHECKING:
    import dask.bag
    import dask.dataframe
    import pandas as pd

__all__ = ["encode_bag", "encode_dataframe"]


def encode_dataframe(
    df: dask.dataframe.DataFrame,
    column: str,
    model: str | Path,
    *,
    output: str = "vector",
    **settings: Unpack[Settings],
) -> dask.dataframe.DataFrame:
    """Return a Dask dataframe with one more column, the vectors of the texts in another.

    Nothing is computed before the result is. The arguments are checked here, and the commit of a
    model on the hub is looked up here, once for all workers; for that and for the number of
    features the model is loaded here, too, which reads no weights but maps them.

    Parameters
    ----------
    df : dask.dataframe.DataFrame
        The dataframe. Give it several partitions for each thread of the workers.
    column : str
        The column that holds the texts.
    model : str or Path
        A sentence model or a plain BERT: a repository on the hub, which workers fetch where their
        cache does not have it, or a folder, which they must have at the same path.
    output : str
        The name of the new column.
    **settings
        They are those of `numpy_bert.integrations.frames.Settings`: what
        `SentenceEncoder.from_pretrained` and `encode` take.

    Returns
    -------
    dask.dataframe.DataFrame
        The dataframe with a column of lists of one size: ``ArrowDtype(pyarrow.list_(float32, H))``.

    Raises
    ------
    InputError
        If an argument is wrong; when it is computed, if a row has no text: partition and row are
        named, both counted from 0.
    ConfigError, CheckpointError, TokenizerError, HubError
        If the model cannot be loaded, here or, when it is computed, by a worker.
    """
    frames = optional("dask.dataframe", "dask", "encode_dataframe")
    if not isinstance(df, frames.DataFrame):
        raise InputError(
            f"encode_dataframe: df must be a Dask dataframe; got {type(df).__name__}. Make one, "
            "with dask.dataframe.from_pandas, or give the column to SentenceEncoder.encode."
        )
    model, settings = in_every_process(model, settings)
    meta = add_vectors(df._meta, column, model, output, settings, "encode_dataframe")
    return df.map_partitions(_encode_partition, column, model, output, settings, meta=meta)


def encode_bag(bag: dask.bag.Bag, model: str | Path, **settings: Unpack[Settings]) -> dask.bag.Bag:
    """Return a bag of the vectors of a bag's texts, in its order and partitions.

    Parameters
    ----------
    bag : dask.bag.Bag
        The bag, whose items are texts.
    model, **settings
        They are those of `encode_dataframe`.

    Returns
    -------
    dask.bag.Bag
        For each text an ndarray of shape (H,), of the model's dtype.

    Raises
    ------
    InputError, ConfigError, CheckpointError, TokenizerError, HubError
        They are raised as by `encode_dataframe`.
    """
    bags = optional("dask.bag", "dask", "encode_bag")
    if not isinstance(bag, bags.Bag):
        raise InputError(
            f"encode_bag: bag must be a Dask bag; got {type(bag).__name__}. Make one, with "
            "dask.bag.from_sequence, or give the texts to SentenceEncoder.encode."
        )
    model, settings = in_every_process(model, settings)
    with naming("encode_bag"):
        encode_texts([], model, **settings)  # checks the settings
    numbers = bags.from_sequence(range(bag.npartitions), npartitions=bag.npartitions)
    return bag.map_partitions(_encode_items, numbers, model, settings)


def _encode_partition(
    frame: pd.DataFrame,
    column: str,
    model: str,
    output: str,
    settings: Settings,
    partition_info: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Encode a partition of a dataframe; Dask says which one it is."""
    number = "" if partition_info is None else f" {partition_info['number']}"
    return add_vectors(frame, column, model, output, settings, f"partition{number}")


def _encode_items(
    items: Iterable[Any], numbers: Iterable[int], model: str, settings: Settings
) -> list[Array]:
    """Encode a partition of a bag, of which `numbers` has the number alone."""
    (number,) = numbers
    with naming(f"partition {number}"):
        return list(encode_texts(list(items), model, name="bag", **settings))
