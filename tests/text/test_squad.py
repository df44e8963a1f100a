"""5,000 questions of SQuAD, against WordPieces and ids that another implementation published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from numpy_bert import BertTokenizer


@pytest.mark.parametrize(
    "name", ["vocab.txt", pytest.param("tokenizer.json", marks=pytest.mark.slow)]
)
def test_ids_and_wordpieces_are_the_published_ones(data: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(data / "vocab" / f"bert-base-uncased-{name}", tmp_path / name)
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    folder = data / "tokenization"
    questions = json.loads((folder / "squad_question_tokens_first_5000.json").read_bytes())
    ids = json.loads((folder / "squad_tokenized_questions_first_5000.json").read_bytes())
    assert len(questions) == len(ids) == 5000
    texts = [question["original"] for question in questions]
    found = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert found == ids
    pieces = [question["wordpiece"] for question in questions]
    assert [tokenizer.convert_ids_to_tokens(row) for row in found] == pieces
    assert [tokenizer.tokenize(text) for text in texts[::10]] == pieces[::10]
    assert [tokenizer.convert_tokens_to_ids(row) for row in pieces] == ids
