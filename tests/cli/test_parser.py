"""What is said of a wrong word on the command line: the nearest right one."""

from __future__ import annotations

import pytest

from numpy_bert.cli import COMMANDS, main
from numpy_bert.cli.parser import Parser


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line of the error, which is the last one, behind the usage."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: numpy-bert")
    return err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("fillmask x", "numpy-bert: error: 'fillmask' is no command; did you mean fill-mask?"),
        ("FILL_MASK x", "numpy-bert: error: 'FILL_MASK' is no command; did you mean fill-mask?"),
        ("frob", "numpy-bert: error: 'frob' is no command; numpy-bert --help lists them."),
        ("--vresion", "numpy-bert: error: '--vresion' is no option; did you mean --version?"),
        # What else is wrong, such as that --model is missing, is not said first.
        (
            "classify a --modle demo",
            "numpy-bert classify: error: '--modle' is no option; did you mean --model?",
        ),
        (
            "fill-mask a --topk=3",
            "numpy-bert fill-mask: error: '--topk' is no option; did you mean --top-k?",
        ),
        (
            "similarity a b --frob",
            "numpy-bert similarity: error: '--frob' is no option; numpy-bert similarity --help "
            "lists them. Put -- before a text that begins with -.",
        ),
        (
            "encode -frob",
            "numpy-bert encode: error: '-frob' is no option; numpy-bert encode --help lists them. "
            "Put -- before a text that begins with -.",
        ),
        (
            "encode a --pooling maen",
            "numpy-bert encode: error: argument --pooling: 'maen' is not one of cls, max, mean, "
            "mean_sqrt_len, weightedmean, lasttoken; did you mean mean?",
        ),
        (
            "encode a --dtype float16",  # which is not float64, misspelled
            "numpy-bert encode: error: argument --dtype: 'float16' is not one of float32, float64",
        ),
        ("similarity a b c", "numpy-bert similarity: error: 'c' is one argument too many."),
        (
            "embed a --model demo b",
            "numpy-bert embed: error: 'b' is one argument too many; give all arguments before the "
            "options, or all behind them.",
        ),
    ],
)
def test_a_wrong_word_is_answered_by_the_nearest_right_one(
    arguments: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *arguments.split()) == line


def test_what_argparse_repeats_is_escaped_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--t=a\n\x1b[31mb", f"--t={'x' * 100_000}", f"--token={'x' * 100_000}"):
        line = refused(capsys, "encode", "a", word)
        assert line.startswith("numpy-bert encode: error: ")
        assert line.isprintable()
        assert len(line) < 1200


def test_of_what_is_missing_an_example_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "tag", "Ada Lovelace lived in London.")
    assert line.startswith('such as in: numpy-bert tag "Ada Lovelace')
    assert "--model " in line


def test_what_the_parser_takes_is_not_refused_before() -> None:
    parser = Parser(prog="test")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("-o", "--output")
    parser.add_argument("--top-k")
    for words in (
        ["--outp", "a", "--top-k=3", "b"],
        ["-ofile", "-5", "-", "-a text with blanks"],
        ["a", "--", "--frob", "-frob"],
    ):
        parser.check_options(words)
        parser.parse_args(words)


def test_no_argument_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(name in err for name in COMMANDS)


@pytest.mark.parametrize("words", [["help"], ["help", "fill-mask"]])
def test_help_is_a_word_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for arguments in (words, [*words[1:], "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_lines_of_examples_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    example = "  numpy-bert encode 'a text that is wider than the terminal is'"
    parser = Parser(prog="test", description="long words " * 10, epilog=f"Example:\n{example}")
    lines = parser.format_help().splitlines()
    assert lines[-2:] == ["Example:", example]
    assert max(map(len, lines[:-1])) <= 40
