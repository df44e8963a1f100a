"""transformers' names of tokenizers."""

from __future__ import annotations

import pytest

import numpy_bert
from numpy_bert import BertTokenizer
from numpy_bert.text import aliases


@pytest.mark.parametrize("name", aliases.__all__)
def test_each_name_is_the_one_class(name: str) -> None:
    assert getattr(aliases, name) is getattr(numpy_bert, name) is BertTokenizer
    assert name in dir(numpy_bert)


def test_no_name_is_forgotten() -> None:
    assert {*aliases.__all__} == numpy_bert._TOKENIZERS
