"""A run's log: rewound to a checkpoint; a file that no run wrote is never cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from numpy_bert import OutputError
from numpy_bert.training.run_folder import Log

LOSS = '{"step": %d, "loss": 2.5, "learning_rate": 0.001, "tokens_per_second": 10.0}\n'
JUDGED = '{"step": %d, "evaluation": null}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.mark.parametrize(
    "rest", ["", "{", '{"step": 4, "lo', '{"step": 1, "evaluation": null}', "\0"]
)
def test_what_is_to_be_done_again_is_dropped(path: Path, rest: str) -> None:
    text = LOSS % 1 + JUDGED % 1 + LOSS % 2 + LOSS % 3 + JUDGED % 3
    path.write_text(text + rest, "utf-8")
    Log(path).rewind(3)
    assert path.read_text("utf-8") == text
    Log(path).rewind(2, judged=1)
    assert path.read_text("utf-8") == LOSS % 1 + JUDGED % 1 + LOSS % 2
    Log(path).rewind(0)
    assert path.read_text("utf-8") == ""


def test_no_log_is_no_fault(path: Path) -> None:
    Log(path).rewind(3)
    assert not path.exists()


@pytest.mark.parametrize(
    "foreign",
    [
        b"epoch 1: loss 2.5\n",
        b'{"time": 1, "message": "started"}\n',
        b'{"step": 1, "loss": 2.5, "epoch": 0.1}\n',  # as transformers' Trainer says it
        b'{"step": "1", "evaluation": 2.5}\n',
        b'[{"step": 1}]\n',
        b"\n",
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b"no end of a line",
        b'{"time": 1',
    ],
)
def test_a_file_that_no_run_wrote_is_left_as_it_is(path: Path, foreign: bytes) -> None:
    for number, before in enumerate((b"", (LOSS % 9).encode()), 1):
        path.write_bytes(before + foreign)
        with pytest.raises(OutputError, match=rf"log\.jsonl: no run wrote its line {number}, "):
            Log(path).rewind(0)
        assert path.read_bytes() == before + foreign


def test_what_cannot_be_read_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be read"):
        Log(path).rewind(0)
