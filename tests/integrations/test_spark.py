"""The recipe for Spark, run as it stands in the README."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from numpy_bert import SentenceEncoder
from tests.conftest import SKIPS
from tests.integrations.recipes import recipe


@pytest.mark.slow
def test_the_recipe_for_spark(tmp_path: Path) -> None:
    if find_spec("pyspark") is None or not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip(SKIPS["spark"])
    texts = [f"the {n}th sentence" for n in range(37)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "texts.parquet")
    done = subprocess.run(
        [sys.executable, "-c", recipe("mapInPandas")],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "NUMPY_BERT_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = pq.read_table(tmp_path / "vectors.parquet")
    vectors = np.array(found["vector"].to_pylist(), np.float32)
    assert found["text"].to_pylist() == texts
    assert np.abs(vectors - SentenceEncoder("demo").encode(texts)).max() < 1e-6
