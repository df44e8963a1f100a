"""A real process under hostile requests, more than it can compute, and a mixture for a time."""

from __future__ import annotations

from collections.abc import Iterator

import bench_serve
import pytest
from bench_clients import embedding_request
from bench_servers import Server, ours
from hostile_requests import ATTACKS, Attack

from tests.support.platforms import linux

TEXTS = ["a test", "The sun is shining, and the birds sing.", "He drives a car. " * 20]
QUICK = [attack for attack in ATTACKS if not attack.is_slow]
SLOW = [attack for attack in ATTACKS if attack.is_slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A service whose patience ends soon, and its room; after all tests it has no fault."""
    with Server(ours("demo", *bench_serve.IMPATIENT, *bench_serve.SMALL)) as running:
        yield running
    assert "Traceback" not in "".join(running.lines)


@pytest.mark.parametrize("attack", QUICK, ids=lambda attack: attack.name)
def test_a_hostile_request_is_refused(attack: Attack, server: Server) -> None:
    assert attack.send(server.port, bench_serve.LONGEST) in attack.allowed


@pytest.mark.slow
@pytest.mark.parametrize("attack", SLOW, ids=lambda attack: attack.name)
def test_a_slow_client_is_not_waited_for(attack: Attack, server: Server) -> None:
    assert attack.send(server.port, bench_serve.LONGEST) in attack.allowed


@linux
def test_hostile_requests_leave_nothing_behind(server: Server) -> None:
    """What is announced, or sent without end, is not kept."""
    before = server.memory("VmHWM")
    for attack in QUICK:
        attack.send(server.port, bench_serve.LONGEST)
    assert server.memory("VmHWM") - before < 32


@pytest.mark.parametrize("seconds", [0.5, pytest.param(10.0, marks=pytest.mark.slow)])
def test_more_than_can_be_computed(seconds: float, server: Server) -> None:
    """Each request has its answer, those that are refused are told when to come again."""
    requests = [embedding_request([text] * 8, "demo") for text in TEXTS]
    found = bench_serve.overload(server.port, requests, seconds=seconds, clients=50)
    assert set(found.load.statuses) == {200, 429}
    assert not found.load.wrong
    assert not found.without_retry_after
    assert set(found.health.statuses) == {"200"}
    # The promise is 0.1 s; here others use the machine, too.
    assert max(found.health.seconds) < 1


@linux
@pytest.mark.slow
def test_memory_stays_where_it_is() -> None:
    requests = bench_serve.mixture(TEXTS * 12, "demo")
    with Server(ours("demo")) as server:
        first, middle, last = bench_serve.soak(server, requests, seconds=20, clients=8)
    assert last - first < 16
    assert last - middle < 8
