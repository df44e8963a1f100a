"""transformers' names of tokenizers."""

from __future__ import annotations

import pytest

from numpy_bert import BertTokenizer
from numpy_bert.text import aliases


@pytest.mark.parametrize("name", aliases.__all__)
def test_each_name_is_the_one_class(name: str) -> None:
    assert getattr(aliases, name) is BertTokenizer
    assert getattr(aliases, name).from_pretrained("demo").tokenize("a test") == ["a", "test"]
