"""Standard input for tests of what reads texts from it."""

from __future__ import annotations

import io

__all__ = ["Stdin"]


class Stdin:
    """A standard input of these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)
        self.closed = False
