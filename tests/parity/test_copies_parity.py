"""A model that was used, carried to other processes by those who carry models: the same vectors."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest

from numpy_bert import BertForMaskedLM, SentenceEncoder
from numpy_bert.arrays import Array
from tests.support.memory import own_bytes
from tests.tolerances import ACROSS_BATCHES

TEXTS = ["warm up", "this is a test sentence", "A man is playing a guitar. " * 9, "the sea"]


class Used:
    """An encoder after use, what it gave, and the size of a pickle of an unused one."""

    def __init__(self, folder: Path) -> None:
        self.encoder = SentenceEncoder.from_pretrained(folder)
        self.unused = len(pickle.dumps(self.encoder))
        self.vectors = self.encoder.encode(TEXTS)
        self.encoder.encode([f"{number} {text}" for number in range(60) for text in TEXTS])


@pytest.fixture(scope="module")
def used(minilm: Path) -> Used:
    return Used(minilm)


def close(found: Array, expected: Array) -> None:
    """Other processes may have other numbers of threads, on which roundings depend."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=ACROSS_BATCHES)


def test_a_used_encoder_pickles_as_small_as_its_weights_and_tokenizer(used: Used) -> None:
    data = pickle.dumps(used.encoder)
    weights = sum(array.nbytes for _, array in used.encoder.model.named_parameters())
    tokenizer = len(pickle.dumps(used.encoder.tokenizer))
    assert len(data) <= 1.05 * (weights + tokenizer)
    assert len(data) == used.unused
    found = pickle.loads(data)
    np.testing.assert_array_equal(found.encode(TEXTS), used.vectors)
    assert own_bytes(copy.deepcopy(used.encoder)) <= 1.001 * weights


def test_a_pickle_loads_in_a_fresh_process_to_the_same_bits(used: Used, tmp_path: Path) -> None:
    (tmp_path / "encoder.pickle").write_bytes(pickle.dumps(used.encoder))
    program = (
        "import pickle, sys, numpy as np\n"
        "encoder = pickle.load(open('encoder.pickle', 'rb'))\n"
        f"np.save('vectors.npy', encoder.encode({TEXTS!r}))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), used.vectors)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12's
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_used_encoder_works_in_processes(method: Any, used: Used) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        close(pool.apply(used.encoder.encode, (TEXTS,)), used.vectors)
        back = pool.apply(copy.deepcopy, (used.encoder,))  # there, and here again
    np.testing.assert_array_equal(back.encode(TEXTS), used.vectors)


def test_a_used_encoder_works_under_joblib(used: Used) -> None:
    jobs = [joblib.delayed(used.encoder.encode)(text) for text in TEXTS]
    found = joblib.Parallel(n_jobs=2, backend="loky")(jobs)
    joblib.externals.loky.get_reusable_executor().shutdown()
    close(np.stack(found), used.vectors)


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_a_file_of_joblib_may_be_mapped(mode: str | None, used: Used, tmp_path: Path) -> None:
    joblib.dump(used.encoder, tmp_path / "encoder.joblib")
    size = (tmp_path / "encoder.joblib").stat().st_size
    assert size <= 1.001 * used.unused  # each weight once, though joblib knows no array again
    found = joblib.load(tmp_path / "encoder.joblib", mmap_mode=mode)
    np.testing.assert_array_equal(found.encode(TEXTS), used.vectors)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).encode(TEXTS), used.vectors)


def test_a_used_encoder_survives_cloudpickle(used: Used) -> None:
    data = cloudpickle.dumps(used.encoder)
    assert len(data) <= 1.001 * used.unused
    np.testing.assert_array_equal(pickle.loads(data).encode(TEXTS), used.vectors)


def test_a_head_that_shares_the_word_table_carries_it_once(tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained("demo")
    expected = model.fill_mask("The sun is [MASK].")
    joblib.dump(model, tmp_path / "model.joblib")
    weights = sum(array.nbytes for _, array in model.named_parameters())
    assert (tmp_path / "model.joblib").stat().st_size <= weights + 1_000_000  # the tokenizer
    assert (
        joblib.load(tmp_path / "model.joblib", mmap_mode="r").fill_mask("The sun is [MASK].")
        == expected
    )
