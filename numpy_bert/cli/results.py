"""How the tasks' commands print what they found: a table, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from numpy_bert.cli.console import show, table

__all__ = ["percent", "show_json", "show_table"]


def show_json(model: object, given: dict[str, Any], results: Sequence[Any]) -> None:
    """Print what was asked and the results, dataclasses or lists of them, each field in full."""

    def plain(result: Any) -> Any:
        return [plain(item) for item in result] if isinstance(result, list) else asdict(result)

    show(json.dumps({"model": str(model), **given, "results": plain(list(results))}))


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], right: str, nothing: str
) -> None:
    """Print rows under a header, or `nothing` where there is none."""
    show(table(header, rows, right=right) if rows else f"  {nothing}")


def percent(score: float) -> str:
    """Write a probability for a person.

    Examples
    --------
    >>> percent(0.98765), percent(0.00002)
    ('98.8 %', '0.002 %')
    """
    return f"{100 * score:.1f} %" if score >= 0.001 else f"{100 * score:.1g} %"
