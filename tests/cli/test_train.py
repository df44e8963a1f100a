"""``numpy-bert train``: from a file to a model that loads, and what is said of mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    SentenceEncoder,
)
from numpy_bert.cli import main
from numpy_bert.model import saving
from numpy_bert.text import saving as tokenizer_saving
from numpy_bert.training import fit
from numpy_bert.training.run_folder import alone
from tests.support.pages import random_model
from tests.support.platforms import posix

TEXTS = "the cat sat on the mat\na dog ran to the house\nthe sun is up\nalice saw a rabbit\n"
PAIRS = "text,text_pair,label\nthe cat,the cat,5\nthe cat,the sun,1\na dog,alice,2.5\n"
TABLE = (
    "text,label\n" + "the cat sat,animal\na dog ran,animal\nthe sun is up,sky\nthe moon,sky\n" * 4
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(TEXTS)
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "books.txt").write_text(f"{TEXTS}\n\nHe reads.\nShe sings to him.\n\n")
    (tmp_path / "pairs.csv").write_text(PAIRS)
    (tmp_path / "same.csv").write_text("text,text_pair,label\na,b,3\na,c,3\n")
    (tmp_path / "blank.txt").write_text("a cat\n\n\u200b\na dog\n", "utf-8")
    (tmp_path / "odd.csv").write_text("text,text_pair,label\na,b,1\na,c,much\n")
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_masked_words(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "mlm", "--data", "texts.txt", "--eval-data", "texts.txt", "-o", "run"]
    command += ["--max-steps", "3", "--batch-size", "2", "--whole-words"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.startswith("loss on texts.txt: ")
    assert "4 examples, 3 steps" in err
    assert "saved run" in err
    assert {path.name for path in (data / "run").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "finished.json",
        "log.jsonl",
    }
    model = BertForMaskedLM.from_pretrained(data / "run")
    assert len(model.fill_mask("the [MASK] is up")) == 5
    before = files_of(data / "run")
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "run: this training is finished; nothing is left to do" in err
    assert files_of(data / "run") == before


def test_labels_are_learned(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = random_model(
        data / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    command = ["train", "classify", "--data", "table.csv", "--eval-data", "table.csv"]
    command += ["--model", str(folder), "-o", "run", "--max-steps", "60", "--learning-rate", "3e-3"]
    assert main(command) == 0
    assert capsys.readouterr().out == "right of table.csv: 100.0 %\n"
    model = BertForSequenceClassification.from_pretrained(data / "run")
    assert model.config.labels == ("animal", "sky")
    assert model.classify("the sun is up")[0].label == "sky"
    assert main(["classify", "a dog ran", "--model", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["label"] == "animal"


def test_next_sentences(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "mlm", "--next-sentence", "--data", "books.txt", "--max-steps", "2"]
    assert main([*command, "--eval-data", "books.txt", "-o", "run"]) == 0
    assert re.search(
        r"loss on books.txt: \d+\.\d{4}; \d+\.\d % of \d+ masked tokens right \(always the most "
        r"frequent: \d+\.\d %\); next sentence: \d+\.\d % right",
        capsys.readouterr().out,
    )
    model = BertForPreTraining.from_pretrained(data / "run")
    assert model([[2, 5, 3]]).seq_relationship_logits.shape == (1, 2)


def test_a_student_follows_a_teacher(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = random_model(
        data / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    command = ["train", "sentence", "--data", "texts.txt", "--eval-data", "pairs.csv"]
    command += ["--teacher", "demo", "--model", str(folder), "-o", "run", "--group-by-length"]
    command += ["--max-steps", "30", "--learning-rate", "3e-3"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(
        r"Spearman on pairs.csv: -?\d\.\d{4} \(before: -?\d\.\d{4}, the teacher: -?\d\.\d{4}\)\n",
        out,
    )
    assert "the vectors of demo for 4 texts" in err
    encoder = SentenceEncoder.from_pretrained(data / "run")
    assert encoder.notes == ()
    assert (
        encoder.encode("the cat").shape == SentenceEncoder.from_pretrained("demo").encode("a").shape
    )
    assert main(command) == 0
    assert "this training is finished" in capsys.readouterr().err
    other = random_model(data / "other")
    assert main([str(other) if word == "demo" else word for word in command]) == 1
    assert "is another run's checkpoint (teacher was " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["mlm", "--data", "nothing.txt"], 2, "nothing.txt: does not exist"),
        (["classify", "--data", "texts.txt"], 2, "line 1: there must be columns text and label"),
        (["classify", "--data", "one.csv"], 2, "must be two different labels at least; got one, x"),
        (["classify", "--data", "table.csv", "--whole-words"], 2, "--whole-words: is for mlm"),
        (["classify", "--data", "table.csv", "--teacher", "demo"], 2, "--teacher: is for sentence"),
        (["sentence", "--data", "texts.txt"], 2, "--teacher: name the model"),
        (
            ["sentence", "--data", "texts.txt", "--teacher", "demo", "--eval-data", "table.csv"],
            2,
            "table.csv: line 1: there must be a column text_pair",
        ),
        (
            ["sentence", "--data", "texts.txt", "--teacher", "demo", "--eval-data", "odd.csv"],
            2,
            "odd.csv: row 2: label much must be a number",
        ),
        (
            ["sentence", "--data", "texts.txt", "--teacher", "demo", "--eval-data", "same.csv"],
            2,
            "same.csv: there must be two different scores at least",
        ),
        (["mlm", "--data", "blank.txt"], 2, "data: text 2 of 3 has no token to be guessed"),
        (
            ["mlm", "--data", "texts.txt", "--next-sentence"],
            2,
            "texts.txt: must hold at least two documents",
        ),
        (["mlm", "--data", "texts.txt", "--patience", "2"], 2, "need --eval-data"),
        (
            ["mlm", "--data", "texts.txt", "--learning-rate", "1e30"],
            1,
            r"step \d: .*; the last checkpoint stays\. A lower learning_rate",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str],
    status: int,
    message: str,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (data / "one.csv").write_text("text,label\na,x\nb,x\n")
    assert main(["train", *arguments, "-o", "run", "--max-steps", "5", "--warmup", "0"]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert re.search(f"numpy-bert train: error: .*({message})", err)
    assert not (data / "run" / "model.safetensors").exists()


@posix
def test_a_second_training_is_refused_before_its_data_are_read(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "mlm", "--data", "gone.txt", "-o", "run"]
    with alone(data / "run"):
        before = files_of(data / "run")
        assert main(command) == 1
        assert files_of(data / "run") == before
    err = capsys.readouterr().err
    assert err.startswith("numpy-bert train: error: run: another training is writing there (")
    assert err.count("\n") == 1
    assert main(command) == 2
    assert "gone.txt: does not exist" in capsys.readouterr().err


def test_an_empty_name_is_no_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(data)
    assert main(["train", "mlm", "--data", "texts.txt", "-o", ""]) == 2
    err = capsys.readouterr().err
    assert err == "numpy-bert train: error: -o must be the name of a folder; got ''.\n"
    assert files_of(data) == before


def test_a_file_is_no_folder_for_a_run(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (data / "texts.txt").read_bytes()
    assert main(["train", "mlm", "--data", "texts.txt", "-o", "texts.txt"]) == 1
    err = capsys.readouterr().err
    assert err.endswith("error: texts.txt: is no folder; name a folder, or a new one.\n")
    assert (data / "texts.txt").read_bytes() == before


def test_a_folder_with_another_model_is_left_alone(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = random_model(data / "model")
    before = (folder / "model.safetensors").read_bytes()
    assert main(["train", "mlm", "--data", "texts.txt", "-o", str(folder)]) == 1
    assert "holds model.safetensors, which no training wrote" in capsys.readouterr().err
    assert (folder / "model.safetensors").read_bytes() == before


@posix
def test_a_folder_that_cannot_be_looked_at_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "mlm", "--data", "texts.txt", "--max-steps", "1", "-o"]
    assert main([*command, "x" * 300]) == 1
    assert "cannot be looked at (File name too long)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("mlm", "config.json"),
        ("mlm", "tokenizer.json"),
        ("mlm", "tokenizer_config.json"),
        ("sentence", "modules.json"),
        ("sentence", "1_Pooling/config.json"),
        ("sentence", "sentence_bert_config.json"),
    ],
)
def test_files_of_others_are_left_alone(
    task: str, name: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = data / "own" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    command = ["train", task, "--data", "texts.txt", "-o", "own", "--max-steps", "1"]
    assert main([*command, *(["--teacher", "demo"] if task == "sentence" else [])]) == 1
    assert f"own: holds {name}, which no training wrote" in capsys.readouterr().err
    assert [path for path in (data / "own").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "mine"


def test_a_student_in_a_folder_of_its_own(data: Path) -> None:
    model = data / "model"
    random_model(model / "0_Transformer", hidden_size=36, num_attention_heads=4)
    (model / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 36, "pooling_mode_mean_tokens": True}
    (model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(
            [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling")]
        )
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    command = ["train", "sentence", "--model", "model", "--teacher", "demo", "--data", "texts.txt"]
    assert main([*command, "--eval-data", "pairs.csv", "-o", "run", "--max-steps", "2"]) == 0
    assert SentenceEncoder.from_pretrained(data / "run").encode("a cat").shape == (384,)


@pytest.mark.parametrize(
    ("command", "change", "message"),
    [
        ("classify --data table.csv", "--max-length 100", "max_length was 128, now 100"),
        ("mlm --data texts.txt", "--max-length 100", "max_length was 128, now 100"),
        ("mlm --data texts.txt", "--whole-words", "whole_words was False, now True"),
        ("mlm --data books.txt", "--next-sentence", "next_sentence was False, now True"),
        (
            "classify --data stars.csv",
            "--problem-type regression",
            "problem_type was 'single_label_classification', now 'regression'",
        ),
        ("classify --data two.csv", "--text-column other", "text_column was 'text', now 'other'"),
        (
            "sentence --data texts.txt --teacher demo",
            "--max-length 9",
            "max_length was 128, now 9",
        ),
    ],
)
def test_a_setting_that_has_changed_is_named_by_its_name(
    command: str, change: str, message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "stars.csv").write_text("text,label\ngood,10\nbad,2\n")
    (data / "two.csv").write_text("text,other,label\ngood,fine,a\nbad,poor,b\n")
    words = ["train", *command.split(), "-o", "run", "--max-steps", "1"]
    if command.startswith("classify"):
        words += ["--eval-data", command.split()[2]]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, *change.split()]) == 1
    assert f"is another run's checkpoint ({message})" in capsys.readouterr().err


def test_options_are_named_where_the_library_names_arguments(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "odd.csv").write_text("text,label\ngood,50%\nbad,10%\n")
    assert main(["train", "classify", "--data", "odd.csv", "-o", "x"]) == 2
    err = capsys.readouterr().err
    assert "label 50% is a number" in err
    assert "--problem-type single_label_classification takes each for the name of a class" in err
    assert "problem_type=" not in err


def test_another_runs_folder_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "mlm", "--data", "texts.txt", "-o", "run", "--max-steps", "1"]
    assert main(command) == 0
    assert main([*command, "--seed", "1"]) == 1
    assert "seed was 0, now 1" in capsys.readouterr().err
    assert main([*command, "--eval-data", "texts.txt"]) == 1
    assert "evaluation was None, now" in capsys.readouterr().err
    folder = random_model(data / "model", hidden_size=128, num_attention_heads=2)
    assert main([*command, "--model", str(folder)]) == 1
    assert "numpy-bert train: error:" in capsys.readouterr().err


def test_a_tables_column_is_learned_and_cuts_are_told(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "reviews.csv").write_text('id,text,label\n1,"a ""fine"" film, really",1\n2,bad,0\n')
    (data / "odd.txt").write_text("one\u2028two\x0cthree\nfour\n", "utf-8")
    command = ["train", "mlm", "--max-steps", "1", "--max-length", "5"]
    files = ["--data", "reviews.csv", "--eval-data", "odd.txt"]
    assert main([*command, *files, "-o", "run"]) == 0
    err = capsys.readouterr().err
    assert "numpy-bert: reviews.csv: 2 texts of the column text\n" in err
    assert err.count("reviews.csv: data: 1 of 2 texts have more than 5 tokens and were cut; ") == 1
    assert "odd.txt" not in err.split("steps")[1]
    assert "2 examples, 1 steps" in err
    assert main([*command, "--data", "odd.txt", "-o", "other"]) == 0
    assert "2 examples, 1 steps" in capsys.readouterr().err
    for arguments, message in (
        (
            ["mlm", "--data", "named.csv"],
            r"the columns are id, review; name the one .* \(--text-column\)",
        ),
        (["sentence", "--data", "named.csv", "--teacher", "demo"], "the columns are id, review"),
        (["mlm", "--data", "odd.txt", "--text-column", "text"], "--text-column: is for a table"),
        (
            ["mlm", "--data", "reviews.csv", "--next-sentence"],
            "must hold documents, .*; it is a table",
        ),
        (
            ["mlm", "--data", "a.parquet"],
            "a.parquet: must be .*; it is a table in binary",
        ),
        (["mlm", "--data", "odd.txt", "--problem-type", "regression"], "is for classify"),
    ):
        (data / "named.csv").write_text("id,review\n1,good\n2,bad\n")
        (data / "a.parquet").write_text("x")
        assert main(["train", *arguments, "-o", "third", "--max-steps", "1"]) == 2
        assert re.search(message, capsys.readouterr().err)
    named = ["--data", "named.csv", "--text-column", "review", "--max-steps", "1", "--teacher"]
    assert main(["train", "sentence", *named, "demo", "-o", "student"]) == 0
    assert "named.csv: 2 texts of the column review" in capsys.readouterr().err


def test_numbers_are_learned_by_a_regression(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "scores.csv").write_text("text,label\nbad,0.0\nfair,0.5\ngood,1.0\n")
    folder = random_model(
        data / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    command = ["train", "classify", "--data", "scores.csv", "--eval-data", "scores.csv"]
    command += ["--model", str(folder), "--max-steps", "60", "--learning-rate", "3e-3"]
    assert main([*command, "-o", "run"]) == 0
    out, err = capsys.readouterr()
    assert "scores.csv: the labels are numbers, which a regression learns; --problem-type" in err
    found = re.fullmatch(
        r"mean squared error on scores.csv: (\d\.\d{4}); Pearson (\S+), Spearman (\S+)\n", out
    )
    assert found is not None
    assert float(found[1]) < 0.1  # the mean alone would have 0.167
    assert float(found[2]) > 0.95
    model = BertForSequenceClassification.from_pretrained(data / "run")
    assert (model.config.problem_type, model.config.num_labels) == ("regression", 1)
    assert abs(model.classify("good")[0].score - 1.0) < 0.3
    assert main(["classify", "good", "--model", "run"]) == 0
    said = capsys.readouterr().out
    assert f"{model.classify('good')[0].score:.4f}" in said
    assert main([*command, "--problem-type", "single_label_classification", "-o", "classes"]) == 0
    out, err = capsys.readouterr()
    assert "3 classes: 0.0, 0.5, 1.0; --problem-type regression" in err
    assert out.startswith("right of scores.csv: ")
    with pytest.raises(SystemExit):
        main([*command, "--problem-type", "multi_label_classification", "-o", "x"])
    assert "multi_label_classification is not supported" in capsys.readouterr().err


def test_whole_numbers_are_classes_in_their_order(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "stars.csv").write_text("text,label\ngood,10\nbad,2\nfair,2\n")
    command = ["train", "classify", "--data", "stars.csv", "--max-steps", "1"]
    assert main([*command, "-o", "run"]) == 0
    assert "stars.csv: 2 classes: 2, 10; --problem-type regression" in capsys.readouterr().err
    model = BertForSequenceClassification.from_pretrained(data / "run")
    assert model.config.labels == ("2", "10")
    assert main([*command, "--problem-type", "regression", "-o", "other"]) == 0
    (data / "several.csv").write_text("text,label\ngood,a|b\nbad,a\nfair,b\n")
    assert main(["train", "classify", "--data", "several.csv", "-o", "x"]) == 2
    assert "row 1: label a|b is several labels of a text (multi_label" in capsys.readouterr().err
    config = json.loads((data / "run" / "config.json").read_text())
    (data / "run" / "config.json").write_text(
        json.dumps(config | {"problem_type": "multi_label_classification"})
    )
    assert main([*command, "--model", "run", "-o", "x"]) == 2
    assert "run: its problem_type is multi_label_classification" in capsys.readouterr().err


def trained_files(folder: Path) -> dict[str, bytes]:
    """Return all files but the log, in which the clock speaks."""
    return {name: data for name, data in files_of(folder).items() if name != "log.jsonl"}


PLACES = {
    "the last step is saved": (fit.Trainer, "_save"),
    "the tokenizer is written": (tokenizer_saving, "write_atomically"),
    "the weights are written": (saving, "write_tensors"),
    "the config is written": (saving, "write_atomically"),
    "the end is written": (fit, "write_finished"),
    "the checkpoint is removed": (Path, "unlink"),
}
# Of what those functions do to several files, whose turn it is.
FILES = {
    "the config is written": "config.json",
    "the checkpoint is removed": "checkpoint.safetensors",
}


SHORT = ["train", "mlm", "--data", "texts.txt", "--eval-data", "texts.txt"]
SHORT += ["--max-steps", "3", "--eval-steps", "2", "--batch-size", "2", "-o"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a short training that nobody killed."""
    with chdir(tmp_path_factory.mktemp("undisturbed")):
        Path("texts.txt").write_text(TEXTS)
        assert main([*SHORT, "whole"]) == 0
        return trained_files(Path("whole"))


# After one of them is nearly before the next, so that most of the first are slow.
@pytest.mark.parametrize(
    ("place", "after"),
    [
        *((place, False) for place in PLACES),
        *(pytest.param(place, True, marks=pytest.mark.slow) for place in [*PLACES][:-1]),
        ([*PLACES][-1], True),
    ],
)
def test_a_kill_at_the_end_loses_nothing(
    place: str,
    after: bool,
    data: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner, name = PLACES[place]
    real, ended = getattr(owner, name), list[str]()

    def killing(*arguments: Any, **options: Any) -> Any:
        where = next((Path(a).name for a in arguments if isinstance(a, Path)), "")
        is_last = name != "_save" or arguments[1].step == 3
        if ended or not is_last or where != FILES.get(place, where):
            return real(*arguments, **options)
        ended.append(place)
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing)
        assert main([*SHORT, "run"]) == 130
    assert ended
    taken = list[int]()
    take = fit.Trainer._take

    def counting(self: Any, step: int) -> Any:
        taken.append(step)
        return take(self, step)

    monkeypatch.setattr(fit.Trainer, "_take", counting)
    assert main([*SHORT, "run"]) == 0
    # Nothing but the step that was not saved is taken again.
    assert taken == ([2] if place == "the last step is saved" and not after else [])
    assert trained_files(data / "run") == undisturbed
    assert main([*SHORT, "run"]) == 0
    assert "this training is finished" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from numpy_bert.cli import main
from numpy_bert.model import saving
from numpy_bert.training import fit

def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

place = sys.argv.pop(1)
if place == "saving":
    saving.write_tensors = kill
elif place == "ending":
    fit.write_finished = kill
else:
    real = fit.Trainer._remove
    fit.Trainer._remove = lambda self, *names: (kill if len(names) > 1 else real)(self, *names)
main(sys.argv[1:])
"""


@posix
@pytest.mark.parametrize("place", ["saving", "ending", "removing"])
def test_pairs_that_are_killed_at_the_end_are_not_lost(
    place: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "together.csv").write_text(TOGETHER)
    command = ["train", "pairs", "--data", "together.csv", "--max-steps", "2", "-o"]
    assert main([*command, "whole"]) == 0
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, place, *command, "run"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (data / "run" / "checkpoint.safetensors").exists()
    capsys.readouterr()
    assert main([*command, "run"]) == 0
    finished = "this training is finished" in capsys.readouterr().err
    assert finished == (place == "removing")
    assert trained_files(data / "run") == trained_files(data / "whole")


def test_a_finished_run_whose_model_has_gone_or_changed(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "mlm", "--data", "texts.txt", "--max-steps", "1", "-o", "run"]
    assert main(command) == 0
    model = data / "run" / "model.safetensors"
    before = model.read_bytes()
    model.unlink()
    assert main(command) == 0  # it is trained again
    assert model.read_bytes() == before
    model.write_bytes(before + b" ")
    assert main(command) == 1
    assert "is not the model that the run ended with" in capsys.readouterr().err
    assert model.read_bytes() == before + b" "
    model.unlink()

    def stopping(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # what is known of the old run is of no model
        patch.setattr(fit, "write_finished", stopping)
        assert main([*command, "--seed", "3"]) == 130
    assert main([*command, "--seed", "3"]) == 0
    assert model.read_bytes() != before


TOGETHER = "text,text_pair\n" + "".join(
    f"{text},{pair}\n"
    for text, pair in [
        ("the cat sat", "a cat"),
        ("a dog ran", "the dog"),
        ("the sun is up", "the sky"),
        ("alice saw a rabbit", "a rabbit"),
        ("the cat sat", "the mat"),
    ]
)


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ("", "MultipleNegativesRankingLoss"),
        ("--scale 10", "MultipleNegativesRankingLoss"),
        ("--scored", "CoSENTLoss"),
        ("--scored --loss cosine_similarity", "CosineSimilarityLoss"),
    ],
)
def test_pairs_are_learned(
    options: str, loss: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "together.csv").write_text(TOGETHER)
    folder = random_model(
        data / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    words = [word for word in options.split() if word != "--scored"]
    (data / "scored.csv").write_text(PAIRS.replace("5", "1").replace("2.1", "0.5"))
    table = "scored.csv" if "--scored" in options else "together.csv"
    command = ["train", "pairs", "--data", table, "--eval-data", "pairs.csv", "--model"]
    command += [str(folder), "-o", "run", "--epochs", "20", "--batch-size", "3", *words]
    command += ["--learning-rate", "3e-3"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"Spearman on pairs.csv: -?\d\.\d{4} \(before: -?\d\.\d{4}\)\n", out)
    assert "learnt by" in err
    identity = json.loads((data / "run" / "finished.json").read_text())["identity"]
    assert identity["loss"] == loss
    sampler = "batch_sampler" if "--scored" in options else "no_duplicates"
    assert identity["batch_sampler"] == sampler
    encoder = SentenceEncoder.from_pretrained(data / "run")
    assert encoder.encode("the cat").shape == (36,)
    assert not (data / "run" / "checkpoint.safetensors").exists()
    before = SentenceEncoder.from_pretrained(folder).encode("the cat")
    assert not np.allclose(before, encoder.encode("the cat"))
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert (out, "this training is finished" in err) == ("", True)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("text,label\na,1\nb,2\n", "", r"must be columns text and text_pair .*; got text, label"),
        ("text,text_pair\na,b\nc,\n", "", "line 3: has nothing in the column text_pair"),
        ("text,text_pair,score\na,b,1\nc,d,much\n", "", "line 3: score must be a number .* 'much'"),
        (
            "text,text_pair,label\na,b,1\nc,d,\n",
            "",
            "line 3: label must be a number .* got ''",
        ),
        ("text,text_pair\na,b\nc,d\n", "--loss cosent", "CoSENTLoss needs a column of numbers"),
        (
            "text,text_pair,score\na,b,1\nc,d,2\n",
            "--loss cosine_similarity --scale 3",
            "--scale: is for multiple_negatives_ranking and cosent",
        ),
        ("text,text_pair\na,b\nc,d\n", "--scale 0", "scale must be a number above 0; got 0.0"),
        (
            "text,text_pair\na,b\nc,d\n",
            "--batch-size 1",
            "MultipleNegativesRankingLoss compares the rows of a batch, of which .* at least 2",
        ),
        (
            "text,text_pair,score\na,b,5\nc,d,2\n",
            "--loss cosine_similarity",
            "CosineSimilarityLoss makes a cosine of a score, from -1 to 1; row 1 has 5.",
        ),
        ("text,text_pair,negative\na,b,\nc,d,e\n", "", "line 2: has nothing .* negative"),
    ],
)
def test_mistakes_in_pairs_are_told_in_a_line(
    table: str, options: str, message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "odd.csv").write_text(table)
    command = ["train", "pairs", "--data", "odd.csv", "-o", "run", *options.split()]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert re.search(f"numpy-bert train: error: .*{message}", err)
    assert not (data / "run").exists()


def test_negatives_of_pairs_are_read(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "three.csv").write_text(
        "Query,text_pair,id,negative_1,negative_2\na cat,cats,1,a dog,the sun\nup,it,2,he,she\n"
    )
    command = ["train", "pairs", "--data", "three.csv", "--text-column", "query", "-o", "run"]
    assert main([*command, "--max-steps", "1", "--batch-size", "1"]) == 0
    assert SentenceEncoder.from_pretrained(data / "run").encode("a").shape == (384,)
    other = (data / "three.csv").read_text().replace("she", "they")
    (data / "three.csv").write_text(other)
    assert main([*command, "--max-steps", "1", "--batch-size", "1"]) == 1
    assert "is another run's checkpoint (data was" in capsys.readouterr().err
