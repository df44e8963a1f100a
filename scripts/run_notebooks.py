"""Run the notebooks from top to bottom and store their outputs in them.

    python scripts/run_notebooks.py

They load sentence-transformers/all-MiniLM-L6-v2 by name, so it must be in the cache, or the hub
within reach. Needs the extra `test`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = tuple(sorted(Path(__file__).parent.glob("*.ipynb")))


def executed(path: Path) -> Any:
    """Return a notebook with the outputs of a run in a new kernel, and nothing of when it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1200,
        startup_timeout=300,
        iopub_timeout=300,  # of outputs that come later than the default nothing would be kept
        raise_on_iopub_timeout=True,
        coalesce_streams=True,  # in how many pieces a cell's words come is a matter of its time
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook


def main() -> None:
    """Run all, and write each when it has come to its end."""
    for path in NOTEBOOKS:
        notebook = executed(path)
        text = nbformat.writes(notebook)
        path.write_text(text + "\n" * (not text.endswith("\n")), "utf-8")
        print(f"{path.name}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main()
