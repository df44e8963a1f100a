"""numpy_bert.messages: foreign text in a message."""

from __future__ import annotations

import pytest

from numpy_bert.messages import quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("encoder.layer.0", "encoder.layer.0"),
        ("Größe, 日本", "Größe, 日本"),
        ("", "''"),
        (" a ", "' a '"),
        ("a\nb", r"'a\nb'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        ("a\0", r"'a\x00'"),
        ("\u202eabc", r"'\u202eabc'"),
        ("\ud800", r"'\ud800'"),
        (3.5, "3.5"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        ("\n" * 1_000_000, "'" + r"\n" * 99 + "\\..."),
    ],
)
def test_foreign_text_is_shown_safely(text: object, shown: str) -> None:  # A17
    assert quoted(text) == shown
    assert shown.isprintable()
