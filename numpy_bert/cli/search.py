"""``numpy-bert search``: the texts of an index that are most like a query."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.console import note, show, table
from numpy_bert.cli.options import (
    LINES_FROM_STDIN,
    NAME_OR_PATH,
    add_examples,
    add_json,
    add_source,
    count,
    given_texts,
    model_options,
    text,
)

if TYPE_CHECKING:
    from numpy_bert.corpora.index import Index, IndexHits

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print the texts of an index that are most like a query, the best first. All of them are "
        "compared, in blocks that are read from the disk."
    )
    add_examples(
        parser,
        'numpy-bert search texts.index "a sunny day"',
        'numpy-bert search texts.index "a sunny day" "a car" -k 3 --json',
    )
    parser.add_argument(
        "index", metavar="DIR", help="the folder that numpy-bert encode --index has made"
    )
    parser.add_argument(
        "queries", metavar="QUERY", nargs="*", type=text, help=f"a query; {LINES_FROM_STDIN}"
    )
    parser.add_argument(
        "-k", "--top-k", metavar="N", type=count, default=10, help="show N texts; 10 by default"
    )
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument(
        "--prompt",
        metavar="TEXT",
        type=text,
        help="put TEXT before each query, in place of the model's own prompt for queries",
    )
    prompt.add_argument(
        "--prompt-name", metavar="NAME", type=text, help="put this prompt of the model there"
    )
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help=f"where the model of the index is now, {NAME_OR_PATH}; where it was by default",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="what the model computes in; float32 by default",
    )
    add_json(parser)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Open the index, encode the queries and print what is found."""
    source = model_options(options)
    source["cache_folder"] = source.pop("cache_dir")
    index = numpy_bert.open_index(options.index, model_name_or_path=options.model, **source)
    queries = given_texts(options.queries)
    for line in index.encoder.notes:
        note(line)
    found = index.search(
        queries, options.top_k, prompt=options.prompt, prompt_name=options.prompt_name
    )
    if options.json:
        show(json.dumps(_as_report(index, queries, found)))
    else:
        show("\n\n".join(_as_page(queries, found)))
    return 0


def _rows(found: IndexHits) -> list[list[tuple[int, float, int, str]]]:
    """Return rank, score, row and text of all that was found, query by query."""
    ranks = range(1, found.indices.shape[1] + 1)
    each = zip(found.scores.tolist(), found.indices.tolist(), found.texts, strict=True)
    return [list(zip(ranks, *columns, strict=True)) for columns in each]


def _as_report(index: Index, queries: list[str], found: IndexHits) -> dict[str, object]:
    """Return what a machine gets."""
    results = [
        {
            "query": query,
            "hits": [dict(zip(("rank", "score", "row", "text"), row, strict=True)) for row in rows],
        }
        for query, rows in zip(queries, _rows(found), strict=True)
    ]
    return {
        "model": index.model,
        "revision": index.revision,
        "similarity_fn_name": index.similarity_fn_name,
        "texts": len(index),
        "results": results,
    }


def _as_page(queries: list[str], found: IndexHits) -> list[str]:
    """Return a table for each query, under the query where there are several."""
    header = ("rank", "score", "row", "text")
    tables = [
        table(
            header,
            [(rank, f"{score:.4f}", row, text) for rank, score, row, text in rows],
            right="rrrl",
            nothing="no text",
        )
        for rows in _rows(found)
    ]
    if len(queries) == 1:
        return tables
    return [f"{query}\n{page}" for query, page in zip(queries, tables, strict=True)]
