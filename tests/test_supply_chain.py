"""What is run to make and check numpy_bert is named: actions by commit, packages by version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
# The one action whose commits were never seen: its own advice is this branch.
BY_BRANCH = {"pypa/gh-action-pypi-publish@release/v1"}


def test_actions_are_named_by_commit_and_release() -> None:
    lines = [
        line.split("uses: ", 1)[1]
        for path in sorted(WORKFLOWS.glob("*.yml"))
        for line in path.read_text("utf-8").splitlines()
        if "uses: " in line
    ]
    assert len(lines) > 10
    commits: dict[str, str] = {}
    for line in set(lines) - BY_BRANCH:
        match = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line)
        assert match, line
        assert commits.setdefault(match[1], line) == line  # one release of each


def test_workflows_may_read_alone_unless_they_say_otherwise() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        text = path.read_text("utf-8")
        assert "\npermissions:\n  contents: read\n" in text, path.name
        assert "pull_request_target" not in text
        assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false")
        assert re.findall(r"(\w[\w-]*): write", text) == (
            ["id-token"] if path.name == "release.yml" else []
        )


def test_the_lock_has_a_version_for_all_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    lines = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()[1:]
    locked = dict(line.lower().replace("_", "-").split("==") for line in lines)
    for line in asked:
        wanted = Requirement(line)
        version = locked.get(wanted.name.lower().replace("_", "-"))
        assert version is not None, line
        assert wanted.specifier.contains(version), line
    assert "scripts/constraints.txt" in (ROOT / "README.md").read_text("utf-8")
