"""The programs of the README that only these tests run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy_bert.integrations

README = Path(numpy_bert.integrations.__file__).with_name("README.md")


def recipe(word: str) -> str:
    """Return the one program in which a word stands."""
    (found,) = (
        text
        for text in re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
        if word in text and ">>> " not in text
    )
    return str(found)
