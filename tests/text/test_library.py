"""What the `tokenizers` library raises becomes one error (row D10)."""

from __future__ import annotations

import pytest

from numpy_bert.text.library import backend_errors


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_d10_what_is_not_the_librarys_passes(failure: BaseException) -> None:
    with pytest.raises(type(failure)) as caught, backend_errors("here"):
        raise failure
    assert caught.value is failure
