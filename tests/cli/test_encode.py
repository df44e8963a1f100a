"""``numpy-bert encode``: what is printed, what is saved, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import SentenceEncoder
from numpy_bert.cli import main
from numpy_bert.corpora import outputs
from numpy_bert.corpora.sources import FORMS
from numpy_bert.encoding import stream
from tests.support.streams import Stdin

TEXTS = ["this is a test sentence", "another", ""]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo")


def test_a_person_sees_the_first_values(
    capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder
) -> None:
    assert main(["encode", *TEXTS, "line\nend \x1b[31m"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "numpy-bert: model 'demo' (built in, small); name another with --model NAME_OR_PATH.",
    ]
    lines = out.splitlines()
    assert lines[0] == "demo: vectors (4, 384), float32"
    first = [f"{value:.4f}" for value in encoder.encode(TEXTS)[0, :4]]
    assert lines[3].split() == ["0", *first, *TEXTS[0].split()]
    assert lines[6].endswith(r"line\nend \x1b[31m")
    assert "\x1b" not in out  # H8


def test_of_many_texts_the_first_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", *(f"text {i}" for i in range(23)), "--truncate-dim", "2"]) == 0
    out = capsys.readouterr().out
    assert "text 19" in out
    assert "text 20" not in out
    assert "... and 3 more" in out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_machine_gets_json(capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    assert main(["encode", *TEXTS, "--model", "demo", "--json", "--dtype", dtype]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = SentenceEncoder.from_pretrained("demo", dtype=dtype).encode(TEXTS)
    assert (result["model"], result["shape"], result["dtype"]) == ("demo", [3, 384], dtype)
    assert np.array_equal(np.array(result["vectors"], dtype), expected)


def test_options_reach_the_encoder(
    capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder
) -> None:
    options = ["--normalize", "--pooling", "max", "--prompt", "say: ", "--truncate-dim", "5"]
    assert main(["encode", *TEXTS, *options, "--batch-size", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = encoder.encode(
        TEXTS,
        normalize_embeddings=True,
        pooling="max",
        prompt="say: ",
        truncate_dim=5,
        batch_size=2,
    )
    assert np.array_equal(np.array(result["vectors"], np.float32), expected)
    assert np.allclose(np.linalg.norm(expected, axis=1), 1)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary", "float32"])
def test_a_precision(
    precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder
) -> None:
    path, texts = tmp_path / "x.npy", [f"text {number}" for number in range(100)]
    options = ["--precision", precision]
    assert main(["encode", *texts, *options, "-o", str(path)]) == 0
    expected = encoder.encode(texts, precision=precision)
    assert np.load(path).dtype == expected.dtype
    assert np.array_equal(np.load(path), expected)
    capsys.readouterr()
    assert main(["encode", *texts, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"demo: vectors {expected.shape}, {expected.dtype}"
    shown = f"{expected[0, 0]:.4f}" if precision == "float32" else str(expected[0, 0])
    assert lines[3].split()[1] == shown


def test_bytes_of_few_texts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "a", "b", "--precision", "int8"]) == 0
    assert "int8: the ranges of the features come from 2 vectors alone" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["-"]])
def test_lines_of_standard_input(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoder: SentenceEncoder,
) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b"a test\nanother\n"))
    assert main(["encode", *words, "--json"]) == 0
    found = np.array(json.loads(capsys.readouterr().out)["vectors"], np.float32)
    assert np.array_equal(found, encoder.encode(["a test", "another"]))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_vectors_are_saved(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder
) -> None:
    path = tmp_path / f"vectors{suffix}"
    assert main(["encode", *TEXTS, "-o", str(path), "--truncate-dim", "7"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"wrote {path}" in err
    read: Any = load_file if suffix == ".safetensors" else np.load
    saved = read(path) if suffix == ".npy" else read(path)["vectors"]
    assert np.array_equal(saved, encoder.encode(TEXTS)[:, :7])
    assert list(tmp_path.iterdir()) == [path]
    # H6: what is there is left as it is.
    assert main(["encode", "other", "-o", str(path)]) == 1
    assert "already exists and was left as it is" in capsys.readouterr().err
    assert main(["encode", "other", "-o", str(path), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"] is None


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\n\r\ntwo", ["one", "", "two"]),
        ("\ufeffГдe\n中文".encode(), ["Гдe", "中文"]),
        (b"a\x0bb\rc\xc2\x85d\n", ["a\x0bb\rc\x85d"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_text_a_line(
    data: bytes,
    texts: list[str],
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: SentenceEncoder,
) -> None:  # E13
    path, output = tmp_path / "texts.txt", tmp_path / "x.npy"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", Stdin(data))
    name = str(path) if source == "file" else "-"
    assert main(["encode", "--input", name, "-o", str(output)]) == 0
    saved = np.load(output)
    assert saved.shape == (len(texts), 384)
    assert np.array_equal(saved, encoder.encode(texts))


def test_an_input_that_is_not_there_is_named_where_the_output_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.npy"
    output.write_bytes(b"before")
    assert main(["encode", "--input", "nowhere.txt", "-o", str(output), "--force"]) == 2
    assert "nowhere.txt: does not exist" in capsys.readouterr().err
    assert main(["encode", "--input", str(output), "-o", str(output), "--force"]) == 2
    assert "is the file that --input reads; name another" in capsys.readouterr().err
    assert output.read_bytes() == b"before"


def test_a_line_that_is_not_utf8_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"fine\ncaf\xe9\n")
    assert main(["encode", "--input", str(path), "-o", str(tmp_path / "x.npy")]) == 2
    assert "texts.txt: line 2: is not UTF-8 (byte 3, 0xe9)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "standard input: is closed; give the text as an argument"),
        (["a", "--precision", "int8"], 2, "int8 needs the ranges of the features"),
        (["a", "--input", "b"], 2, "TEXT and --input: give one of the two"),
        (["--input", "nowhere.txt"], 2, "nowhere.txt: does not exist"),
        (["--input", "."], 2, "is a folder"),
        (["--input", "-"], 2, "standard input: is closed"),
        (["a", "-o", "x.txt"], 2, "the name must end in one of .npy, .npz, .safetensors"),
        (["a", "-o", "no/such/x.npy"], 1, "the folder no/such does not exist"),
        (["a", "--prompt-name", "other"], 2, "must be the name of a prompt; got other"),
        (
            ["a", "--truncate-dim", "385"],
            2,
            "truncate_dim must be a whole number from 1 to 384; got 385",
        ),
        (["caf\udce9"], 2, "sentences[0]: character 3 is U+DCE9"),
        (["a", "--model", "./nowhere"], 2, "there is no folder ./nowhere"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(
    arguments: list[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert main(["encode", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("numpy-bert encode: error: ")
    assert words in last.replace("'", "")


def test_an_input_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "texts.npy"
    path.write_bytes(b"precious\n")
    assert main(["encode", "--input", str(path), "-o", str(path), "--force"]) == 2
    assert "is the file that --input reads" in capsys.readouterr().err
    assert path.read_bytes() == b"precious\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "0"],
        ["--truncate-dim", "x"],
        ["--pooling", "sum"],
        ["--prompt", "a", "--prompt-name", "b"],
        ["--dtype", "float16"],
        ["--precision", "int4"],
        ["--no-normalize"],
    ],
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", "a", *arguments])
    assert stop.value.code == 2
    assert "usage: numpy-bert" in capsys.readouterr().err


def test_a_text_that_is_cut_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "a", "word " * 600, "--json"]) == 0
    err = capsys.readouterr().err
    assert "1 of 2 texts have more tokens than max_seq_length = 512" in err
    assert "sentences[1], of 602" in err


def test_a_corpus_is_encoded_and_its_lines_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: SentenceEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.csv").write_bytes(b"id,note\n1,a test\n2\n3,the sea\n")
    words = ["encode", "--input", "c.csv", "--text-column", "note", "--model", "demo"]
    assert main([*words, "-o", "v.jsonl"]) == 2
    assert "c.csv: line 3: must have 2 fields; it has 1; mend it, or put" in capsys.readouterr().err
    assert main([*words, "-o", "v.jsonl", "--bad-lines", "bad.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        r"numpy-bert: wrote v\.jsonl: 2 texts; \d.* s, \d.* texts/s\. 1 bad lines are in "
        r"bad\.jsonl\.\n",
        err,
    )
    lines = [json.loads(line) for line in Path("v.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["a test", "the sea"]
    found = np.array([line["vector"] for line in lines], np.float32)
    assert np.array_equal(found, encoder.encode(["a test", "the sea"]))
    assert json.loads(Path("bad.jsonl").read_text())["line"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "c.csv", "v.jsonl"]


def test_a_report_for_machines_and_texts_without_an_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder
) -> None:
    corpus, path = tmp_path / "c", tmp_path / "v.npy"
    corpus.write_text('"a test"\n{"text": "the sea"}\n')
    words = ["encode", "--input", str(corpus), "--input-format", "jsonl", "--json"]
    assert main([*words, "-o", str(path), "--precision", "float16", "--truncate-dim", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"seconds", "texts_per_second"} <= {*said}
    whole = (said["model"], said["output"], said["texts"], said["bad"], said["features"])
    assert whole == ("demo", str(path), 2, 0, 3)
    expected = encoder.encode(["a test", "the sea"], truncate_dim=3)
    assert np.array_equal(np.load(path), expected.astype(np.float16))
    assert main([*words, "--truncate-dim", "3"]) == 0
    found = json.loads(capsys.readouterr().out)["vectors"]
    assert np.array_equal(np.array(found, np.float32), expected)


def test_a_job_that_is_stopped_says_that_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, path = tmp_path / "c.txt", tmp_path / "v.npy"
    corpus.write_text("".join(f"{n}\n" for n in range(25)))
    monkeypatch.setattr(stream, "_MOST_TEXTS", 10)
    words = ["encode", "--input", str(corpus), "-o", str(path), "--model", "demo"]
    with monkeypatch.context() as patch:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(outputs, "take_name", stop)
        assert main(words) == 130
    assert (
        "stopped; the same command goes on behind the last whole block." in capsys.readouterr().err
    )
    other = main([*words, "--truncate-dim", "5"])
    assert (other, "(truncate_dim was None, now 5)" in capsys.readouterr().err) == (1, True)
    assert main(words) == 0
    assert "goes on after 25 texts of an earlier run." in capsys.readouterr().err
    assert main([*words, "--truncate-dim", "5", "--force", "--restart"]) == 0
    assert np.load(path).shape == (25, 5)


def test_the_help_has_all_kinds_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["encode", "--help"])
    assert f"--input-format {{{','.join(FORMS)}}}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "--input-format", "csv"], "--input-format: says how --input FILE is read"),
        (["a", "--text-column", "b"], "--text-column: says how --input FILE is read"),
        (["--input", "c.txt", "--restart"], "--restart: is for --input FILE with -o"),
        (["a", "-o", "x.npy", "--bad-lines", "b"], "--bad-lines: is for --input FILE with -o"),
        (["a", "-o", "x.jsonl"], "the name must end in one of .npy, .npz, .safetensors."),
        (["--input", "c.txt", "--index", ""], "path must be the name of a folder; got ''."),
        (["--input", "c.txt", "-o", "x.txt"], ".safetensors, .jsonl, .parquet."),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", *words]) == 2
    assert said in capsys.readouterr().err


def test_float16_of_few_texts(capsys: pytest.CaptureFixture[str], encoder: SentenceEncoder) -> None:
    assert main(["encode", "a test", "--precision", "float16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dtype"] == "float16"
    expected = encoder.encode(["a test"]).astype(np.float16)
    assert np.array_equal(np.array(said["vectors"], np.float16), expected)


@pytest.mark.parametrize("words", [[], ["-o", "v.npy"]])
def test_whoever_sits_at_the_input_of_a_corpus_is_told_what_is_waited_for(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    stdin = Stdin(b"a test\n")
    monkeypatch.setattr(stdin.buffer, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["encode", "--input", "-", "--model", "demo", *words]) == 0
    assert "type texts, one a line, and end with Ctrl-D" in capsys.readouterr().err
