"""transformers' names of tokenizers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import numpy_bert
from numpy_bert import BertTokenizer

# What type checkers are told of these names.
TYPED = {
    target.id
    for node in ast.walk(ast.parse(Path(numpy_bert.__file__).read_text("utf-8")))
    if isinstance(node, ast.Assign) and getattr(node.value, "id", None) == "BertTokenizer"
    for target in node.targets
    if isinstance(target, ast.Name)
}


@pytest.mark.parametrize("name", sorted(TYPED))
def test_each_name_is_the_one_class(name: str) -> None:
    assert getattr(numpy_bert, name) is BertTokenizer
    assert name in dir(numpy_bert)


def test_no_name_is_forgotten() -> None:
    assert numpy_bert._TOKENIZERS == TYPED
    assert len(TYPED) == 18
