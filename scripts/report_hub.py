"""Print how soon a fetch ends where the hub cannot be reached, and where nothing may be asked.

    python scripts/report_hub.py [--runs 3]

Each call is a process of its own, with the import of the hub's client where one is needed. A hub
that never answers stands on this machine; packets that are dropped cannot be tried on one.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence

CALL = """
import sys, time
from numpy_bert import NumpyBertError, fetch
started = time.perf_counter()
try:
    fetch(sys.argv[1], cache_dir=sys.argv[2])
    said = "the folder"
except NumpyBertError as failure:
    said = type(failure).__name__
print(time.perf_counter() - started, said)
"""


def call(name: str, cache: str, variables: dict[str, str]) -> tuple[float, str]:
    """Return the seconds that a call takes in a new process, and what comes of it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-c", CALL, name, cache]
    environment = {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **variables}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, said = result.stdout.split(maxsplit=1)
    return float(seconds), said.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of these the fastest; 3 by default")
    runs = parser.parse_args(arguments).runs
    with (
        tempfile.TemporaryDirectory() as cache,
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        hangs = f"http://127.0.0.1:{silent.getsockname()[1]}"
        impatient = {"HF_HUB_ETAG_TIMEOUT": "1", "NUMPY_BERT_FETCH_TRIES": "2"}
        rows = [
            ("offline, the built-in model", "demo", {"HF_HUB_OFFLINE": "1"}, runs),
            ("offline, a model that is not cached", "a/b", {"HF_HUB_OFFLINE": "1"}, runs),
            ("the connection is refused", "a/b", {"HF_ENDPOINT": refused}, runs),
            ("the name is unknown", "a/b", {"HF_ENDPOINT": "http://hub.invalid"}, runs),
            ("no answer; 2 tries of 1 second", "a/b", {"HF_ENDPOINT": hangs, **impatient}, 1),
        ]
        print("| a fetch where | ends with | after |\n|---|---|---|")
        for label, name, variables, times in rows:
            found = [call(name, cache, variables) for _ in range(times)]
            print(f"| {label} | {found[0][1]} | {min(seconds for seconds, _ in found):.2f} s |")


if __name__ == "__main__":
    main()
