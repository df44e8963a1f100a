"""The worked example that the project grew from, and Google's own bert-base-uncased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.trace import named_steps
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import NOTEBOOK_SUM

TEXT = "this is a test sentence"
TABLES = {
    "embeddings.word_embeddings": "input_ids",
    "embeddings.token_type_embeddings": "token_type_ids",
    "embeddings.position_embeddings": "position_ids",
}


@pytest.fixture(scope="module")
def notebook(data: Path) -> Any:
    return json.loads((data / "notebook_values.json").read_text("utf-8"))


def test_the_notebooks_rows_give_its_sum(notebook: Any, tmp_path: Path) -> None:
    """The printed rows, put into tables at those ids, go through our block to the printed sum."""
    columns = len(notebook["columns"])
    config = TINY | {
        "vocab_size": 30522,
        "hidden_size": columns,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    tensors = random_tensors(config)
    rows = notebook["rows"]
    for step, name in TABLES.items():
        ids = np.array(notebook[name]).reshape(-1)[rows]
        tensors[f"{step}.weight"][ids] = notebook["steps"][step]["values"]
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "notebook", tensors, config))
    inputs = [np.array(notebook[name]) for name in TABLES.values()]
    total = model.embeddings.steps(*inputs).sum[0, rows]
    printed = np.array(notebook["steps"]["embeddings.sum"]["values"])
    assert total.shape == printed.shape == (6, 6)
    assert np.abs(total - printed).max() <= NOTEBOOK_SUM


def test_its_ids(notebook: Any, data: Path, tmp_path: Path) -> None:
    vocabulary = data / "vocab" / "bert-base-uncased-vocab.txt"
    (tmp_path / "vocab.txt").write_bytes(vocabulary.read_bytes())
    inputs = BertTokenizer.from_pretrained(tmp_path)(notebook["text"], return_tensors="np")
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert inputs[name].tolist() == notebook[name]


def digits(value: float, printed: str) -> float:
    """Return half a unit of the last digit that torch printed."""
    if printed == "4 decimals":
        return 0.5e-4
    return float(0.5 * 10.0 ** (np.floor(np.log10(abs(value))) - 4))


@pytest.mark.network
def test_every_printed_number(notebook: Any) -> None:
    tokenizer = BertTokenizer.from_pretrained("bert-base-uncased")
    model = BertModel.from_pretrained("bert-base-uncased")
    inputs = tokenizer(TEXT, return_tensors="np")
    assert inputs["input_ids"].tolist() == notebook["input_ids"]
    steps = dict(
        named_steps(
            model.embeddings.steps(inputs["input_ids"], inputs["token_type_ids"]), "embeddings"
        )
    )
    for name, printed in notebook["steps"].items():
        corner = steps[name][0][np.ix_(notebook["rows"], notebook["columns"])]
        values = np.array(printed["values"])
        budget = np.vectorize(lambda v, p=printed["printed_digits"]: digits(v, p))(values)
        assert (np.abs(corner - values) <= budget * 1.001).all(), name


@pytest.mark.network
def test_googles_embedding_output(data: Path) -> None:
    folder = data / "bert_base_uncased_golden"
    golden = json.loads((folder / "rbert_golden.json").read_text("utf-8"))["sequences"]
    arrays = np.load(folder / "rbert_golden.npz")
    model = BertModel.from_pretrained("bert-base-uncased")
    checked = 0
    for number, sequence in golden.items():
        ids = np.array([sequence["input_ids"]])
        output = model.embeddings(ids, np.array([sequence["token_type_ids"]]))
        assert np.abs(output[0] - arrays[f"seq{number}_hidden_0"]).max() < 1e-5
        checked += 1
    assert checked == 2
