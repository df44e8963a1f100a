"""Download a published BERT checkpoint, verified; the same as ``numpy-bert fetch``.

    python scripts/fetch_weights.py bert-base-uncased

From Python: ``numpy_bert.fetch("bert-base-uncased")``.
"""

from __future__ import annotations

import sys

from numpy_bert.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["fetch", *sys.argv[1:]]))
