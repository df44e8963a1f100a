"""A report for a terminal: a table of at most 100 columns, the worst places, one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from numpy_bert.arrays import place
from numpy_bert.comparison.report import Report, StepReport
from numpy_bert.messages import quoted

__all__ = ["as_text"]

_WIDTH = 100
_SHORT = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
}
_LONGEST_LIST = 12
_BLOCK = re.compile(r"(embeddings|encoder\.layer\.\d+|pooler)(?=\.|$)")


def as_text(report: Report, *, verbose: bool = False) -> str:
    """Return a report as lines of at most 100 columns.

    Parameters
    ----------
    report : Report
        What `compare` or `verify` found.
    verbose : bool
        Show the worst place of every step, not of those that differ only, and every mistake that
        could not have been seen.

    Examples
    --------
    >>> row = StepReport(name="pooler", verdict="pass", shape=(1, 4), dtype="float32",
    ...                  max_abs=1e-7, max_rel=1e-6, ulp=2.0, budget=1e-5)
    >>> print(as_text(Report(candidate="a", against="b", steps=[row])))
    a against b
    <BLANKLINE>
    step      shape  dtype  max abs  max rel  ULP   budget
    pooler
      pooler  1x4    f32    1.0e-07  1.0e-06    2  1.0e-05  pass
    <BLANKLINE>
    The same: all 1 are within their budgets.
    """
    lines = [*_wrapped(f"{quoted(report.candidate)} against {quoted(report.against)}"), ""]
    lines += _table(report.steps, verbose=verbose)
    lines += ["", *(line for note in report.notes for line in _wrapped(f"note: {note}"))]
    lines += _hidden(report.hidden, verbose=verbose)
    if lines[-1]:
        lines.append("")
    lines += _wrapped(report.sentence)
    return "\n".join(lines)


def _table(rows: Sequence[StepReport], *, verbose: bool) -> list[str]:
    """Return the table; a step's worst place stands under it."""
    is_split = any(row.own is not None for row in rows)
    has_reference = any(row.reference is not None for row in rows)
    head = ["step", "shape", "dtype", "max abs"]
    head += ["own", "inherited"] if is_split else ["max rel", "ULP"]
    head += ["budget", *["reference"] * has_reference, ""]
    cells = [head]
    for row in rows:
        numbers = [row.max_abs]
        numbers += [row.own, row.inherited] if is_split else [row.max_rel, row.ulp]
        numbers += [row.budget, *[row.reference] * has_reference]
        texts = [_number(number) for number in numbers]
        if not is_split:
            texts[2] = _units(row.ulp)
        shape = "x".join(str(n) for n in row.shape)
        name = _shown(row.name)
        cells.append([name, shape, _SHORT.get(row.dtype, row.dtype), *texts, row.verdict])
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    spare = _WIDTH - sum(widths[1:]) - 2 * (len(head) - 1)
    widths[0] = min(widths[0], max(spare, 20))
    lines, block = [_line(cells[0], widths)], ""
    for row, line in zip(rows, cells[1:], strict=True):
        if _block_of(row.name) != block:
            block = _block_of(row.name)
            lines += [block] * bool(block)
        lines.append(_line(line, widths))
        if row.verdict != "pass" or verbose:
            lines += _details(row)
    return lines


def _block_of(name: str) -> str:
    """Return the block under whose heading a step stands."""
    found = _BLOCK.match(name)
    return found[1] if found else ""


def _shown(name: str) -> str:
    """Return a step's name under its block's heading; that of the block itself whole."""
    name = quoted(name)
    block = _block_of(name)
    return f"  {name[len(block) + 1 :] or name}" if block else name


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align a row: names and shapes to the left, numbers to the right."""
    name = cells[0]
    if len(name) > widths[0]:  # the end of a name says more than its middle
        name = f"  ..{name[len(name) - widths[0] + 4 :]}"
    left = [name.ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].ljust(widths[2])]
    right = [cell.rjust(width) for cell, width in zip(cells[3:-1], widths[3:-1], strict=True)]
    return "  ".join([*left, *right, cells[-1]]).rstrip()


def _details(row: StepReport) -> Iterator[str]:
    """Yield what is to be said under a row."""
    if row.worst is not None and row.value is not None and row.expected is not None:
        yield f"    worst at {place(row.worst)}: {row.value:.9g}, not {row.expected:.9g}"
    if row.text:
        yield from _wrapped(row.text, "    ")


def _hidden(hidden: Sequence[str], *, verbose: bool) -> list[str]:
    """List the mistakes that could not have been seen."""
    never = [text for text in hidden if " steps)" not in text]
    shown = list(hidden) if verbose else never
    if not shown:
        return []
    lines = ["This trace could not have shown:"]
    limit = len(shown) if verbose else _LONGEST_LIST
    lines += [line for text in shown[:limit] for line in _wrapped(text, "  - ")]
    left = len(hidden) - min(len(shown), limit)
    if left and not verbose:
        lines.append(f"  - and {left} that show at some steps only (--verbose lists them)")
    return lines


def _wrapped(text: str, start: str = "") -> list[str]:
    """Break a sentence into lines."""
    import textwrap

    blank = " " * len(start)
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=blank) or [start]


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0.0 else f"{value:.1e}"


def _units(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value < 1e5 else f"{value:.0e}"
