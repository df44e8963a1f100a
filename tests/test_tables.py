"""numpy_bert.tables: rows of CSV one at a time, and what quotes that do not end cost."""

from __future__ import annotations

import csv
import io

import pytest

from numpy_bert import tables
from numpy_bert.tables import BadRow, Line, Row, table_rows

OPEN = "opens a quote that does not end"


def rows_of(text: str, *, tabs: bool = False) -> list[Row | BadRow]:
    lines = text.splitlines(keepends=True)
    return list(table_rows((Line(n, line) for n, line in enumerate(lines, 1)), tabs=tabs))


def test_rows_are_those_of_csv() -> None:
    text = 'id,text\r\n\r\n1,"a, ""b"""\r\n2,"two\nlines"\r\n\n3, plain \n" ",\n"",\n'
    assert [row.fields for row in rows_of(text) if isinstance(row, Row)] == list(
        filter(None, csv.reader(io.StringIO(text, newline="")))
    )
    assert [row.number for row in rows_of(text)] == [1, 3, 4, 7, 8, 9]
    assert rows_of("") == []


def test_a_stray_quote_costs_its_row_alone() -> None:
    text = "id,text\n1,a\n" + '2,"open\n' + "3,b\n4,c\nshort\n"
    assert rows_of(text)[1:] == [
        Row(2, ["1", "a"]),
        BadRow(3, OPEN, '2,"open'),
        Row(4, ["3", "b"]),
        Row(5, ["4", "c"]),
        BadRow(6, "must have 2 fields; it has 1", "short"),
    ]


def test_a_quote_must_end_within_a_reasonable_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LONGEST_ROW", 20)
    text = 'id,text\n1,"' + "x\n" * 12 + '2,b\n3,"in\ntwo"\n'
    found = rows_of(text)
    assert found[1] == BadRow(2, f"{OPEN} within 20 characters", '1,"x')
    # What it had swallowed is read again, a line at a time; what comes behind that as ever.
    assert found[-2:] == [Row(14, ["2", "b"]), Row(15, ["3", "in\ntwo"])]
    assert [row.number for row in found] == list(range(1, 16))


def test_time_goes_by_the_lines_where_every_quote_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LONGEST_ROW", 3_000)
    given: list[str] = []

    class Counting(tables._Feed):
        def __next__(self) -> str:
            given.append(line := super().__next__())
            return line

    monkeypatch.setattr(tables, "_Feed", Counting)
    found = rows_of("a,b\n" + 'x","y\n' * 2_000)  # each line opens one, and none closes it
    assert len(found) == 2_001
    assert len(given) < 2 * 2_001 + 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a,b\n"x"y,1\n', "is no row of a table (',' expected after '\"')"),
        ("a,b\nx\ry,1\n", "is no row of a table (a carriage return outside quotes)"),
        ("a,b\n1,2,3\n", "must have 2 fields; it has 3"),
        ('a,b\nx, "1"\n', "has a field that begins with a blank and a quote"),
    ],
)
def test_what_is_no_row_is_told_and_passed(text: str, why: str) -> None:
    lines = [Line(n, line) for n, line in enumerate([*text.splitlines(True)[:1], text[4:]], 1)]
    _, bad, good = table_rows([*lines, Line(3, "c,d\n")], tabs=False)
    assert isinstance(bad, BadRow)
    assert bad.why.startswith(why)
    assert (bad.number, bad.raw, good) == (2, text[4:-1], Row(3, ["c", "d"]))


def test_a_bad_line_makes_its_row_bad() -> None:
    lines = ["a,b\n", '1,"x\n', 'y"\n', "2,z\n"]
    bad = {3: "is not UTF-8", 4: "has a NUL byte"}
    found = table_rows((Line(n, t, bad.get(n, "")) for n, t in enumerate(lines, 1)), tabs=False)
    assert list(found)[1:] == [
        BadRow(2, "has a line 3 that is not UTF-8", '1,"x\ny"'),
        BadRow(4, "has a NUL byte", "2,z"),
    ]


def test_what_is_left_out_of_a_line_opens_no_quote() -> None:
    lines = [Line(1, "a,b\n"), Line(2, '1,"xx', "is long", is_whole=False), Line(3, '2,"z"\n')]
    assert list(table_rows(lines, tabs=False))[1:] == [
        BadRow(2, "is long", '1,"xx'),
        Row(3, ["2", "z"]),
    ]


def test_a_field_with_a_tab_over_lines_is_a_stray_quote() -> None:
    found = rows_of('text\tlabel\n"He said\t1\nmid\t0\nbye"\t1\n"two\nlines"\t1\n', tabs=True)
    assert isinstance(found[1], BadRow)
    assert (found[1].number, found[1].raw) == (2, '"He said\t1')
    assert found[2:] == [Row(3, ["mid", "0"]), Row(4, ['bye"', "1"]), Row(5, ["two\nlines", "1"])]
