"""``numpy-bert serve``: its options; what it does is tested in tests/serving/."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from numpy_bert.cli import main
from numpy_bert.cli.serve import LIMITS
from numpy_bert.serving.batching import Limits
from numpy_bert.serving.server import Settings


def test_the_help_has_the_limits_defaults() -> None:
    limits = Limits()
    assert {name: default for name, (default, _) in LIMITS.items()} == {
        name: getattr(limits, name) for name in LIMITS
    }
    assert {*LIMITS, "timeout"} == set(Limits.__slots__)
    assert limits.timeout == 60


def settings(monkeypatch: pytest.MonkeyPatch, *options: str) -> Settings:
    """Return what the server is told."""
    told: list[Settings] = []

    def serve(given: Settings, _: object) -> int:
        told.append(given)
        return 0

    monkeypatch.setattr("numpy_bert.serving.server.serve", serve)
    assert main(["serve", *options]) == 0
    return told[0]


def test_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = settings(monkeypatch, "--model", "demo")
    source = {"revision": None, "cache_dir": None, "local_files_only": False, "token": False}
    assert plain == Settings(model="demo", source=source)
    assert (plain.host, plain.port) == ("127.0.0.1", 8080)
    words = "--name a --host ::1 --port 0 --threads 3 --workers 2 --truncate --token-ids --offline"
    limits = "--max-body 1 --max-texts 2 --max-tokens 3 --batch-tokens 4 --queue-tokens 5"
    more = "--queue-requests 6 --timeout 7.5 --dtype float64"
    found = settings(monkeypatch, "--model", "demo", *f"{words} {limits} {more}".split())
    assert found == Settings(
        model="demo",
        name="a",
        dtype="float64",
        source={**source, "local_files_only": True},
        host="::1",
        port=0,
        threads=3,
        workers=2,
        limits=Limits(
            body=1,
            texts=2,
            tokens=3,
            batch_tokens=4,
            queue_tokens=5,
            queue_requests=6,
            timeout=7.5,
        ),
        truncate=True,
        token_ids=True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "65536"], "'65536' is no port, from 0 to 65535"),
        (["--port", "9" * 5000], "is no port, from 0 to 65535"),
        (["--timeout", "nan"], "'nan' is no number of seconds above 0"),
        (["--timeout", "soon"], "'soon' is no number of seconds above 0"),
        (["--workers", "0"], "'0' is not a whole number from 1"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_limits_that_contradict_each_other_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", "demo", "--max-tokens", "9", "--queue-tokens", "8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("numpy-bert serve: error: tokens must be at most queue_tokens")
    assert line.endswith("got 9 and 8.")


def test_the_extra_is_named_where_it_misses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "uvicorn", missing)
    assert main(["serve", "--model", "demo", "--port", "0"]) == 2
    assert "pip install 'numpy_bert[serve]' brings" in capsys.readouterr().err
