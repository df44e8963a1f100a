"""What the `tokenizers` library raises, as this package's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from numpy_bert.errors import TokenizerError
from numpy_bert.messages import quoted

__all__ = ["backend_errors"]


@contextmanager
def backend_errors(where: str) -> Iterator[None]:
    """Turn what the Rust library raises into TokenizerError.

    It raises bare `Exception`, and its panics are a `BaseException` of their own.
    """
    try:
        yield
    except (TokenizerError, MemoryError):
        raise
    except Exception as failure:  # noqa: BLE001
        raise TokenizerError(f"{where}: {quoted(failure)}") from None
    except BaseException as failure:
        if type(failure).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{where}: the tokenizers library failed: {quoted(failure)}") from None
