"""One tokenizer for many threads and processes, in any locale (rows D9 and K3)."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from numpy_bert import BertTokenizer
from tests.support.tokenizer_files import tokenizer_json, vocab_txt, write_folder

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


def test_d9_the_locale_changes_no_id(tmp_path: Path) -> None:
    stated = {"tokenizer_config.json": '{"name": "\u4e2d"}'}
    folders = [
        write_folder(tmp_path / "caf\u00e9" / "1", {"vocab.txt": vocab_txt(), **stated}),
        write_folder(
            tmp_path / "caf\u00e9" / "2",
            {
                "tokenizer.json": json.dumps(tokenizer_json(), ensure_ascii=False),
                "vocab.txt": vocab_txt(),
                **stated,
            },
        ),
    ]
    text = "\u4e2d\u6587 \u00c9T\u00c9 unaffable \u2028x"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, "", json.dumps(text), *map(str, folders)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    encoding, utf8_mode, found = json.loads(result.stdout)
    # Else the locale was not what this test is about.
    assert encoding.upper() in ("ANSI_X3.4-1968", "US-ASCII", "ASCII")
    assert utf8_mode == 0
    expected = [BertTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in folders]
    assert found == expected
    assert expected[0] == expected[1]
    assert 1 not in expected[0]
