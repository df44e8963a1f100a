"""One tokenizer for many threads and processes (row K3)."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from tests.support.tokenizer_files import tokenizer_json, write_folder

ROOT = Path(__file__).parent.parent.parent
THREADS = 8

# Each thread wants something else of the same tokenizer.
CALLS: list[dict[str, Any]] = [
    {"truncation": True, "max_length": 7, "padding": True},
    {"truncation": "only_first", "max_length": 100},
    {"truncation": True, "max_length": 23, "split_special_tokens": True},
    {"padding": "max_length", "max_length": 40},
    {"split_special_tokens": True},
    {"add_special_tokens": False, "truncation": True, "max_length": 5},
    {},
    {"truncation": True, "max_length": 7, "padding": "max_length"},
]
TEXTS = ["a test [SEP] of a sentence. " * count for count in range(1, 20)]


def test_k3_threads_that_share_a_tokenizer_get_the_serial_result() -> None:
    serial = [BertTokenizer.from_pretrained("demo")(TEXTS, **options) for options in CALLS]
    shared = BertTokenizer.from_pretrained("demo")
    barrier = Barrier(THREADS)

    def work(number: int) -> list[Any]:
        barrier.wait()
        order = [(number + step) % len(CALLS) for step in range(3 * len(CALLS))]
        return [(call, shared(TEXTS, **CALLS[call])) for call in order]

    with ThreadPoolExecutor(THREADS) as pool:
        for results in pool.map(work, range(THREADS)):
            for call, found in results:
                assert found == serial[call]
                assert found.truncated == serial[call].truncated


@pytest.mark.parametrize("method", ["copy", "deepcopy", "pickle"])
def test_a_copy_does_the_same(tmp_path: Path, method: str) -> None:
    config = {"padding_side": "left", "truncation_side": "left", "model_max_length": 6}
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": config}
    tokenizer = BertTokenizer.from_pretrained(write_folder(tmp_path, files))
    calls: list[dict[str, Any]] = [
        {"truncation": True, "padding": True},
        {"split_special_tokens": True},
        {"return_tensors": "np", "padding": "max_length", "truncation": True},
    ]
    texts = ["a [SEP] b", "hello world the the the the"]
    expected = [repr(tokenizer(texts, **options)) for options in calls]
    if method == "pickle":
        found = pickle.loads(pickle.dumps(tokenizer))
    else:
        found = getattr(copy, method)(tokenizer)
    assert [repr(found(texts, **options)) for options in calls] == expected
    assert {k: v for k, v in vars(found).items() if k.endswith(("_id", "_token", "notes"))} == {
        k: v for k, v in vars(tokenizer).items() if k.endswith(("_id", "_token", "notes"))
    }


SCRIPT = """
import json, locale, sys
from numpy_bert import BertTokenizer
text = json.loads(sys.argv[2])
ids = [BertTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in sys.argv[3:]]
print(json.dumps([locale.getencoding(), sys.flags.utf8_mode, ids]))
"""
