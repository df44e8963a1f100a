r"""Texts by the million: read from files, encoded block by block, gone on with, searched.

>>> import tempfile
>>> from pathlib import Path
>>> from numpy_bert import SentenceEncoder
>>> from numpy_bert.corpora import encode_index, open_index
>>> with tempfile.TemporaryDirectory() as folder:
...     corpus, path = Path(folder) / "corpus.txt", Path(folder) / "corpus.index"
...     _ = corpus.write_text("a test\nthe sea\nthe moon\n")
...     report = encode_index(SentenceEncoder("demo"), corpus, path, "demo")
...     report.texts, open_index(path).search("the sea", k=1).texts
(3, ['the sea'])

The names below are imported when they are first used: reading a corpus loads no model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy_bert.corpora.index import Index as Index
    from numpy_bert.corpora.index import IndexHits as IndexHits
    from numpy_bert.corpora.index import open_index as open_index
    from numpy_bert.corpora.index_output import encode_index as encode_index
    from numpy_bert.corpora.index_output import write_index as write_index
    from numpy_bert.corpora.job import CorpusReport as CorpusReport
    from numpy_bert.corpora.job import encode_corpus as encode_corpus
    from numpy_bert.corpora.sources import BadRecord as BadRecord
    from numpy_bert.corpora.sources import Record as Record
    from numpy_bert.corpora.sources import open_source as open_source

_HOMES = {
    "BadRecord": "sources",
    "CorpusReport": "job",
    "Index": "index",
    "IndexHits": "index",
    "Record": "sources",
    "encode_corpus": "job",
    "encode_index": "index_output",
    "open_index": "index",
    "open_source": "sources",
    "write_index": "index_output",
}

__all__ = [
    "BadRecord",
    "CorpusReport",
    "Index",
    "IndexHits",
    "Record",
    "encode_corpus",
    "encode_index",
    "open_index",
    "open_source",
    "write_index",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not yet."""
    return sorted({*globals(), *__all__})
