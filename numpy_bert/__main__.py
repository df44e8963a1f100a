"""``python -m numpy_bert``: the command line."""

from numpy_bert.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
