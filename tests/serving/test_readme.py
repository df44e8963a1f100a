"""The README: its curl commands are sent to the service, its program makes one."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from numpy_bert import CrossEncoder, SentenceEncoder
from numpy_bert.cli.serve import LIMITS
from numpy_bert.serving import create_app

README = (Path(__file__).parents[2] / "numpy_bert" / "serving" / "README.md").read_text("utf-8")
FENCES = re.findall(r"^```text\n(.*?)^```$", README, flags=re.M | re.S)
COMMANDS = [
    (command, expected)
    for text in FENCES
    for command, expected in re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", text, flags=re.M | re.S)
]


@pytest.fixture(scope="module")
def clients(encoder: SentenceEncoder, reranker: CrossEncoder) -> Iterator[tuple[TestClient, ...]]:
    with (
        TestClient(create_app(encoder, name="demo")) as first,
        TestClient(create_app(reranker, name="demo")) as second,
    ):
        yield first, second


@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_command_is_answered_so(
    command: str, expected: str, clients: tuple[TestClient, ...]
) -> None:
    program, address, *options = shlex.split(command)
    assert program == "curl"
    host, slash, path = address.partition("/")
    assert (host, slash) == ("localhost:8080", "/")
    client = clients["rerank" in path]
    if options:
        flag, body = options
        assert flag == "-d"
        # What curl says that it sends, unless it is told otherwise.
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = client.post(f"/{path}", content=body, headers=kind)
    else:
        answer = client.get(f"/{path}")
    text = answer.text + "\n" if answer.text and not answer.text.endswith("\n") else answer.text
    flags = doctest.ELLIPSIS
    assert doctest.OutputChecker().check_output(expected, text, flags), text


def test_the_program_makes_an_application() -> None:
    (program,) = [text for text in FENCES if "create_app" in text]
    names: dict[str, Any] = {}
    exec(program, names)
    with TestClient(names["app"]) as client:
        assert client.post("/embed", json={"inputs": ["a"] * 257}).status_code == 413
        assert client.post("/embed", json={"inputs": ["a"] * 3}).status_code == 200


def test_the_commands_and_options_are_all_there() -> None:
    paths = {shlex.split(command)[1].partition("/")[2].partition("?")[0] for command, _ in COMMANDS}
    served = {"v1/embeddings", "v1/rerank", "v1/models", "v1/models/demo", "embed", "rerank"}
    assert paths == served | {"health", "info", "metrics"}
    for name in LIMITS:
        option = f"--{(name if '_' in name else 'max_' + name).replace('_', '-')}"
        assert f"`{option}`" in README, option
