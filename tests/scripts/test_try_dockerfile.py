"""The Dockerfile says what the package needs, and its steps are understood without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import try_dockerfile
from try_dockerfile import DOCKERFILE, ROOT, Builder, Stage, instructions

from tests.support.platforms import linux

pytestmark = linux
STEPS = list(instructions(DOCKERFILE.read_text("utf-8")))


def build(text: str, tmp_path: Path) -> tuple[Stage, Builder]:
    (tmp_path / "base" / "etc").mkdir(parents=True)
    (tmp_path / "stages").mkdir()
    builder = Builder(tmp_path / "base", tmp_path / "stages", {"LENT": "1"})
    return builder.build(text), builder


def test_each_step_of_the_dockerfile_is_understood() -> None:
    known = {name[1:].upper() for name in vars(Builder) if name.startswith("_")}
    assert {name for name, _ in STEPS} <= known
    assert [name for name, _ in STEPS].count("FROM") == 2
    assert STEPS[-1][0] == "ENTRYPOINT"


def test_what_it_copies_is_there_and_what_it_installs_is_an_extra() -> None:
    copied = [rest.split()[:-1] for name, rest in STEPS if name == "COPY" and "--from" not in rest]
    names = [name for group in copied for name in group]
    assert names
    assert all((ROOT / name).exists() for name in names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= set(names)
    (install,) = [rest for name, rest in STEPS if name == "RUN" and "install" in rest]
    (extra,) = re.findall(r"\.\[(\w+)\]", install)
    assert extra in project["optional-dependencies"]


def test_it_serves_as_nobody_in_particular_on_the_port_that_is_asked_for_health() -> None:
    last = dict(STEPS)
    assert int(last["USER"]) > 0
    (port,) = re.findall(r"127\.0\.0\.1', (\d+)", last["HEALTHCHECK"])
    assert last["EXPOSE"] == port


def test_what_stands_behind_the_image_are_options_of_serve(tmp_path: Path) -> None:
    stand_in = tmp_path / "numpy-bert"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    words = json.loads(dict(STEPS)["ENTRYPOINT"])
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MODEL": "a model"}
    given = ["--name", "two words"]
    done = subprocess.run([*words, *given], env=variables, capture_output=True, text=True)
    expected = ["serve", "--model", "a model", "--host", "0.0.0.0", *given]
    assert done.stdout.splitlines() == expected, done.stderr


def test_stages_variables_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_dockerfile, "ROOT", tmp_path / "context")
    for name in ("folder/inner.txt", "folder/__pycache__/inner.pyc", "one.txt"):
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    stage, builder = build(
        """
# ARG OUT=of a comment
ARG BASE=python:slim
ARG WHICH=first
FROM ${BASE} AS build
ARG WHICH
ENV A=/a B="two words" C=$WHICH:${MISSING}
WORKDIR /made
COPY one.txt \\
  ./
COPY folder /copied
FROM $BASE
COPY --from=build /made /made/again
COPY --from=build /made/one.txt /etc/other.txt
ENV PATH=/venv:$PATH
USER 7
EXPOSE 80
HEALTHCHECK --interval=3s CMD ["ask", "it"]
ENTRYPOINT ["serve", "it"]
""",
        tmp_path,
    )
    first = builder.stages["build"]
    assert {key: first.environment[key] for key in "ABC"} == {
        "A": "/a",
        "B": "two words",
        "C": "first:",
    }
    inside = {path.relative_to(first.root).as_posix() for path in first.root.rglob("*.*")}
    assert inside == {"made/one.txt", "copied/inner.txt"}
    assert {path.relative_to(stage.root).as_posix() for path in stage.root.rglob("*.*")} == {
        "made/again/one.txt",
        "etc/other.txt",
    }
    assert stage.environment == {"PATH": f"/venv:{try_dockerfile.PATH}"}
    assert (stage.user, stage.health) == ("7", ["ask", "it"])
    assert stage.command == ["serve", "it"]


@pytest.mark.parametrize("step", ["VOLUME /x", "ADD a b"])
def test_another_step_is_refused_by_name(step: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=rf"{step.split()[0]} is not understood"):
        build(f"FROM base\n{step}", tmp_path)


def test_what_is_lent_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CERT", str(DOCKERFILE))
    for name in ("etc", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "hosts").write_text("its own")
    with try_dockerfile.lent_files(tmp_path):
        assert (tmp_path / try_dockerfile.CERTIFICATES).read_bytes() == DOCKERFILE.read_bytes()
        assert (tmp_path / "etc" / "hosts").read_text() == Path("/etc/hosts").read_text()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["hosts"]
    assert (tmp_path / "etc" / "hosts").read_text() == "its own"
