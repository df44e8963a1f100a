"""``numpy-bert fill-mask``, ``classify``, ``tag`` and ``answer``."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import numpy_bert
from numpy_bert.cli import main
from tests.support.family_tokenizers import roberta_json
from tests.support.heads import CONFIG, TREES, write_head
from tests.support.tokenizer_files import write_folder

NOTE = "numpy-bert: model 'demo' (built in, small)"
CONTEXT = "hello unaffable world"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("heads")
    return {name.removeprefix("BertFor"): str(write_head(root / name, name)) for name in TREES}


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_fill_mask_has_the_demo_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask", "this is a [MASK] sentence", "--top-k", "3"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(NOTE)
    lines = out.splitlines()
    assert lines[0].split() == ["score", "word", "id", "text"]
    assert len(lines) == 4
    model = numpy_bert.BertForMaskedLM.from_pretrained("demo")
    for line, fill in zip(lines[1:], model.fill_mask("this is a [MASK] sentence", 3), strict=True):
        assert line.split()[2:4] == [fill.token_str, str(fill.token)]
        assert line.endswith(f"  {fill.sequence}")


def test_fill_mask_of_several_masks(
    capsys: pytest.CaptureFixture[str], folders: dict[str, str]
) -> None:
    assert main(["fill-mask", "[MASK] [MASK]", "--model", folders["MaskedLM"]]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["mask 1", "mask 2"]
    model = numpy_bert.BertForMaskedLM.from_pretrained(folders["MaskedLM"])
    words = [fills[0].token_str for fills in model.fill_mask("[MASK] [MASK]")]
    assert lines[2].endswith(f"  {words[0]} [MASK]")  # without [CLS] and [SEP]
    assert lines[9].endswith(f"  [MASK] {words[1]}")
    found = result(capsys, "fill-mask", "[MASK] [MASK]", "--model", folders["MaskedLM"])
    assert [len(fills) for fills in found["results"]] == [5, 5]
    assert set(found["results"][0][0]) == {"score", "token", "token_str", "sequence"}


def test_fill_mask_of_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["i drink a cup of [MASK].", "she sat on the [MASK] and [MASK]."]
    model = numpy_bert.BertForMaskedLM.from_pretrained("demo")
    one, two = (model.fill_mask(text, 2) for text in texts)
    command = ["fill-mask", "--model", "demo", "--top-k", "2", "--json"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    assert main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == texts
    close = pytest.approx(one[0].score, rel=1e-5)  # a text is computed with others here
    assert [fill["token"] for fill in lines[0]["results"][0]] == [fill.token for fill in one]
    assert lines[0]["results"][0][0]["score"] == close
    assert [[fill["token"] for fill in fills] for fills in lines[1]["results"]] == [
        [fill.token for fill in fills] for fills in two
    ]


def test_classify(capsys: pytest.CaptureFixture[str], folders: dict[str, str]) -> None:
    folder = folders["SequenceClassification"]
    model = numpy_bert.BertForSequenceClassification.from_pretrained(folder, dtype="float64")
    expected = model.classify("hello", "world")
    command = ["classify", "hello", "world", "--model", folder, "--dtype", "float64"]
    assert result(capsys, *command)["results"] == [asdict(label) for label in expected]
    assert main([*command, "--top-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["score", "label"],
        *([f"{best.score:.4f}", best.label] for best in expected[:2]),
    ]


def test_classify_reads_standard_input(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folders: dict[str, str],
) -> None:
    command = ["classify", "--model", folders["SequenceClassification"], "--top-k", "1"]
    texts, single = ["hello", "", "world"], []
    for text in texts:
        assert main([*command, text]) == 0
        single.append(capsys.readouterr().out)
    for words in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
        assert main([*command, *words]) == 0
        expected = [f"{text}\n{table}" for text, table in zip(texts, single, strict=True)]
        assert capsys.readouterr().out == "".join(expected)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    assert main([*command, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == texts
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    assert result(capsys, *command, "-", "world") == result(capsys, *command, "hello", "world")


@pytest.fixture
def reranker(tmp_path: Path) -> str:
    name, config = "BertForSequenceClassification", CONFIG | {"num_labels": 1}
    return str(write_head(tmp_path / "reranker", name, config=config))


def test_rerank(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    reranker: str,
    tmp_path: Path,
) -> None:
    documents = ["hello", "unaffable world", "a"]
    model = numpy_bert.CrossEncoder(reranker, dtype="float64")
    expected = model.rank("hello", documents, return_documents=True)
    command = ["rerank", "--model", reranker, "--dtype", "float64", "hello"]
    assert result(capsys, *command, *documents) == {
        "model": reranker,
        "query": "hello",
        "results": expected,
    }
    assert main([*command, *documents, "-k", "2"]) == 0
    table = capsys.readouterr().out
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    assert rows == [
        ["score", "number", "text"],
        *([f"{e['score']:.4f}", str(e["corpus_id"]), e["text"]] for e in expected[:2]),
    ]
    file = tmp_path / "documents.txt"
    file.write_text("\n".join(documents), "utf-8")
    assert main([*command, "--input", str(file), "-k", "2"]) == 0
    assert capsys.readouterr().out == table
    for words in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(documents)))
        assert main([*command, *words, "--top-k", "2"]) == 0
        assert capsys.readouterr().out == table
    assert main([*command, "a", "--input", str(file)]) == 2
    assert "TEXT and --input: give one of the two" in capsys.readouterr().err


def test_tag(capsys: pytest.CaptureFixture[str], folders: dict[str, str]) -> None:
    folder = folders["TokenClassification"]
    model = numpy_bert.BertForTokenClassification.from_pretrained(folder)
    command = ["tag", CONTEXT, "--model", folder]
    for aggregation in ("simple", "none"):
        expected = [asdict(tag) for tag in model.tag(CONTEXT, aggregation)]
        assert result(capsys, *command, "--aggregation", aggregation)["results"] == expected
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["start", "end", "entity", "score", "word"]
    assert len(lines) == 1 + len(model.tag(CONTEXT))
    assert main(["tag", "", "--model", folder]) == 0
    assert capsys.readouterr().out == "  no entity\n"


def test_answer_reads_its_context_from_standard_input(
    capsys: pytest.CaptureFixture[str], folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["answer", "--model", folders["QuestionAnswering"], "the un"]
    expected = result(capsys, *command, CONTEXT)
    for dash in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(CONTEXT + "\n"))
        assert result(capsys, *command, *dash) == expected


def test_answer(
    capsys: pytest.CaptureFixture[str], folders: dict[str, str], tmp_path: Path
) -> None:
    folder = folders["QuestionAnswering"]
    model = numpy_bert.BertForQuestionAnswering.from_pretrained(folder)
    expected = model.answer("the un", CONTEXT, top_k=2)
    command = ["answer", "--model", folder, "--top-k", "2", "the un"]
    assert result(capsys, *command, CONTEXT)["results"] == [asdict(best) for best in expected]
    file = tmp_path / "context.txt"
    file.write_bytes(b"\xef\xbb\xbf" + CONTEXT.encode())
    assert main([*command, "--context-file", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["start", "end", "score", "answer"]
    for line, best in zip(lines[1:], expected, strict=True):
        assert line.split()[:2] == [str(best.start), str(best.end)]
        assert line.endswith(f"  {best.answer}")
    assert main([*command, "hello un\r\n\r\naffable\nworld", "--top-k", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()  # an answer is a line, whatever breaks it there
    assert [line for line in lines[1:] if not re.match(r" +\d+ +\d+ +[\d.e-]+ % ", line)] == []
    assert any(line.endswith("  un affable world") for line in lines)
    assert main([*command, CONTEXT, "--impossible", "--top-k", "20"]) == 0
    assert "(there is no answer)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "a"],
        ["tag", "a"],
        ["answer", "q", "c"],
        ["answer", "q", "c", "--context-file", "f", "--model", "demo"],
        ["fill-mask", "[MASK]", "--top-k", "0"],
        ["fill-mask", "[MASK]", "--top-k", "many"],
        ["tag", "a", "--model", "demo", "--aggregation", "last"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (["fill-mask", "no mask", "--model", "demo"], 2, "text[0] has no [MASK]; write it"),
        (["fill-mask", "a [mask]", "--model", "demo"], 2, "has no [MASK] ([mask] is none); write"),
        (["fill-mask", "a <mask>", "--model", "demo"], 2, "has no [MASK] (<mask> is none); write"),
        (["fill-mask", "a ____ .", "--model", "demo"], 2, "has no [MASK] (____ is none); write"),
        (["classify", "a", "--model", "demo"], 1, "has no classifier ("),
        (["tag", "a", "--model", "demo"], 1, "has no classifier ("),
        (["answer", "q", "c", "--model", "demo"], 1, "has no qa_outputs ("),
        (["answer", "q", "--context-file", "/nowhere", "--model", "demo"], 2, "does not exist"),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], status: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"numpy-bert {arguments[0]}: error: ")
    assert what in err
    assert len(err.splitlines()) == 1


def test_a_context_that_is_not_utf8_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # E13
    file = tmp_path / "context.txt"
    file.write_bytes(b"one\ntwo \xff")
    assert main(["answer", "q", "--context-file", str(file), "--model", "demo"]) == 2
    assert (
        f"{file}: line 2 is not UTF-8 (byte 8, 0xff); convert the file" in capsys.readouterr().err
    )


def test_a_roberta_has_a_mask_and_a_frame_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document = roberta_json()
    write_folder(tmp_path, {"tokenizer.json": document})
    words = len({*document["model"]["vocab"], "<mask>"})
    sizes = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = numpy_bert.RobertaConfig(vocab_size=words, max_position_embeddings=40, **sizes)
    numpy_bert.RobertaForMaskedLM(config, seed=3).save_pretrained(tmp_path)
    assert main(["fill-mask", "Alice <mask> the<mask>", "--model", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["mask 1", "mask 2"]
    texts = [line.split("  ")[-1] for line in lines]
    assert texts[2].startswith("Alice")  # without <s> and </s>
    assert texts[2].endswith("the<mask>")
    assert texts[9].startswith("Alice<mask> the")
    model = numpy_bert.RobertaForMaskedLM.from_pretrained(tmp_path)
    assert [len(fills) for fills in model.fill_mask("Alice <mask> the<mask>")] == [5, 5]
    assert main(["fill-mask", "Alice [MASK]", "--model", str(tmp_path)]) == 2
    assert "text[0] has no <mask> ([MASK] is none)" in capsys.readouterr().err
