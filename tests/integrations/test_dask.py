"""Vectors by Dask, on a cluster of real processes, of which one is killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from numpy_bert import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.integrations import frames
from numpy_bert.integrations.dask import encode_bag, encode_dataframe
from numpy_bert.integrations.frames import to_numpy
from numpy_bert.kernels.threads import one_thread
from numpy_bert.loading.cache import demo_folder
from tests.integrations.recipes import recipe

TEXTS = [f"the {n}th sentence of {'many ' * (n % 5)}others" for n in range(37)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two processes that run two tasks each at a time."""
    before = set(multiprocessing.active_children())
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
    assert set(multiprocessing.active_children()) == before


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture
def given() -> dd.DataFrame:
    """A dataframe of five partitions, of which the second is empty."""
    frame = pd.DataFrame({"id": range(len(TEXTS)), "text": TEXTS})
    parts = [frame[:9], frame[9:9], frame[9:17], frame[17:30], frame[30:]]
    return dd.from_map(lambda part: part, parts, meta=frame[:0])


def in_blocks(encoder: SentenceEncoder, df: dd.DataFrame, **settings: Any) -> np.ndarray:
    """Return the vectors as one process makes them, a partition at a time."""
    with one_thread():
        parts = df.partitions
        texts = [parts[n].compute(scheduler="sync")["text"] for n in range(df.npartitions)]
        return np.concatenate([encoder.encode(column, **settings) for column in texts])


def loads() -> int:
    """Return how many encoders the process has loaded that asks."""
    return frames._loaded.cache_info().misses


def test_the_vectors_are_those_of_one_machine(
    client: Client, encoder: SentenceEncoder, given: dd.DataFrame
) -> None:
    settings: dict[str, Any] = {
        "prompt": "find: ",
        "normalize_embeddings": True,
        "truncate_dim": 31,
        "pooling": "max",
        "batch_size": 3,
    }
    lazy = encode_dataframe(given, "text", "demo", output="v", **settings)
    kind = pd.ArrowDtype(pa.list_(pa.float32(), 31))
    assert lazy.dtypes["v"] == kind
    assert lazy.npartitions == 5
    found = client.compute(lazy, sync=True)
    assert found.dtypes["v"] == kind
    assert found["id"].tolist() == list(range(len(TEXTS)))
    vectors = to_numpy(found["v"])
    np.testing.assert_array_equal(vectors, in_blocks(encoder, given, **settings))
    assert np.abs(vectors - encoder.encode(TEXTS, **settings)).max() < 1e-6


def test_each_worker_loads_the_model_once(client: Client, given: dd.DataFrame) -> None:
    client.run(frames._loaded.cache_clear)
    many = given.repartition(npartitions=1).repartition(npartitions=12)
    found = client.compute(encode_dataframe(many, "text", "demo"), sync=True)
    assert len(found) == len(TEXTS)
    counts = client.run(loads).values()
    assert set(counts) <= {0, 1}
    assert any(counts)


def test_a_bag_of_texts_becomes_a_bag_of_vectors(client: Client, encoder: SentenceEncoder) -> None:
    bag = dask.bag.from_sequence(TEXTS, npartitions=4).filter(lambda text: "1" in text)
    texts = [text for text in TEXTS if "1" in text]
    found = client.compute(encode_bag(bag, "demo", truncate_dim=7), sync=True)
    assert {(vector.shape, vector.dtype.name) for vector in found} == {((7,), "float32")}
    expected = encoder.encode(texts, truncate_dim=7)
    assert np.abs(np.array(found) - expected).max() < 1e-6


def test_errors_name_the_partition_and_the_row(client: Client) -> None:
    missing = "must be a str; got {}. It is a missing value: leave it out, or fill it with a text."
    frame = pd.DataFrame({"text": [*TEXTS[:8], None, *TEXTS[:3]]})
    df = dd.from_pandas(frame, npartitions=3)
    with pytest.raises(InputError) as caught:
        client.compute(encode_dataframe(df, "text", "demo"), sync=True)
    assert str(caught.value) == f"partition 2: text[0] {missing.format('NAType')}"
    bag = dask.bag.from_sequence(["a", "b", "c", None], npartitions=2)
    with pytest.raises(InputError) as caught:
        client.compute(encode_bag(bag, "demo"), sync=True)
    assert str(caught.value) == f"partition 1: bag[1] {missing.format('NoneType')}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_folder_must_be_where_the_workers_are(
    client: Client, given: dd.DataFrame, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo_folder(), tmp_path / "model")
    lazy = encode_dataframe(given, "text", folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError) as caught:
        client.compute(lazy, sync=True)
    where, _, message = str(caught.value).partition(": ")
    assert where in {f"partition {n}" for n in range(5)}
    assert message == f"model: there is no folder {folder}."


def test_all_workers_use_the_commit_that_was_looked_up(
    client: Client, given: dd.DataFrame, tmp_path: Path
) -> None:
    repository, commit = tmp_path / "models--owner--demo", "c" * 40
    for folder in ("refs", "snapshots"):
        (repository / folder).mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(demo_folder(), target_is_directory=True)
    (repository / "refs" / "main").write_text(commit)
    lazy = encode_dataframe(given, "text", "owner/demo", cache_dir=tmp_path, local_files_only=True)
    (repository / "refs" / "main").write_text("d" * 40)
    assert len(client.compute(lazy, sync=True)) == len(TEXTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "body"}, "column: there is no 'body'; there is id, text."),
        ({"output": 3}, "output must be the name of a column; got 3."),
        ({"output": "id"}, "output: there is a column 'id' already; name another."),
        ({"truncate_dim": 999}, "truncate_dim must be a whole number from 1 to 384; got 999."),
    ],
)
def test_arguments_are_checked_before_anything_is_computed(
    given: dd.DataFrame, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        encode_dataframe(given, **{"column": "text", "model": "demo", **options})
    assert str(caught.value) == f"encode_dataframe: {message}"


def test_what_is_not_dasks_is_refused() -> None:
    with pytest.raises(InputError, match=r"^encode_dataframe: df must be .* got DataFrame\. Make"):
        encode_dataframe(pd.DataFrame({"text": TEXTS}), "text", "demo")
    with pytest.raises(InputError, match=r"^encode_bag: bag must be a Dask bag; got list\. Make"):
        encode_bag(TEXTS, "demo")


def test_a_bags_arguments_too() -> None:
    bag = dask.bag.from_sequence(TEXTS)
    with pytest.raises(InputError, match=r"^encode_bag: batch_size must be"):
        encode_bag(bag, "demo", batch_size=0)


# Dask calls pandas 3.1 in a way that is deprecated.
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
def test_the_recipe_from_parquet_to_parquet(
    client: Client, encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"text": TEXTS}), "texts.parquet", row_group_size=10)
    with client.as_current():
        exec(recipe("to_parquet"), {})
    expected = encoder.encode(TEXTS)
    table = pq.read_table("vectors.parquet")
    assert table.column_names == ["text", "vector"]
    assert table["vector"].type == pa.list_(pa.field("element", pa.float32()), 384)
    back = dd.read_parquet("vectors.parquet", dtype_backend="pyarrow").compute(scheduler="sync")
    assert back["text"].tolist() == TEXTS
    assert np.abs(to_numpy(back["vector"]) - expected).max() < 1e-6


def die_once(frame: pd.DataFrame, mark: str, partition_info: Any = None) -> pd.DataFrame:
    """Kill the process at the fourth partition, unless one has been killed."""
    if partition_info is not None and partition_info["number"] == 3:
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            return frame
        os.kill(os.getpid(), signal.SIGKILL)
    return frame


def test_a_worker_that_is_killed_changes_nothing(
    client: Client, encoder: SentenceEncoder, given: dd.DataFrame, tmp_path: Path
) -> None:
    lazy = encode_dataframe(given, "text", "demo")
    workers = set(client.run(os.getpid).values())
    killed = lazy.map_partitions(die_once, str(tmp_path / "killed"), meta=lazy._meta)
    found = client.compute(killed, sync=True)
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(to_numpy(found["vector"]), in_blocks(encoder, given))
    assert found["text"].tolist() == TEXTS
    client.wait_for_workers(2, timeout=60)
    assert len(workers & set(client.run(os.getpid).values())) == 1


@pytest.mark.slow
def test_the_benchmark_holds_all_ways_to_one_process(minilm: Path, data: Path) -> None:
    few = ("--texts", "60", "--partitions", "2", "--rounds", "1", "--data", str(data))
    script = Path(__file__).parents[2] / "scripts" / "bench_dask.py"
    command = [sys.executable, str(script), str(minilm), *few]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    differences = re.findall(r"largest difference (\S+)$", done.stdout, flags=re.M)
    assert len(differences) == 6
    assert max(map(float, differences)) < 1e-6
    found = re.findall(r"at ([\d,]+) texts/s.*\n +([\d,]+) core-hours", done.stdout)
    rate, hours = (int(number.replace(",", "")) for number in found[0])
    texts = [(hours + d) * 3600 * (rate + d) for d in (-0.5, 0.5)]  # both are rounded
    assert texts[0] < 1e9 < texts[1]
