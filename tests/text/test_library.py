"""What the `tokenizers` library raises becomes one error (row D10)."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from numpy_bert.errors import NumpyBertError, TokenizerError
from numpy_bert.text.library import backend_errors
from tests.support.tokenizer_files import PanicException, tokenizer_json


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (PanicException("index out of bounds"), "here: the tokenizers library failed: index out"),
        (Exception("bare"), "here: bare"),
        (TypeError("TextInputSequence must be str"), "here: TextInputSequence must be str"),
    ],
)
def test_d10_what_the_library_raises_becomes_one_error(
    failure: BaseException, message: str
) -> None:
    with pytest.raises(TokenizerError, match=f"^{message}") as caught, backend_errors("here"):
        raise failure
    assert isinstance(caught.value, (NumpyBertError, ValueError))


def test_d10_a_real_panic_becomes_one_error() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json()))
    tokenizer.enable_truncation(3, stride=1)
    with pytest.raises(TokenizerError, match=r"^here: "), backend_errors("here"):
        tokenizer.encode("a b c d")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_d10_what_is_not_the_librarys_passes(failure: BaseException) -> None:
    with pytest.raises(type(failure)) as caught, backend_errors("here"):
        raise failure
    assert caught.value is failure
