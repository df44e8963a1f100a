"""What the tests of a port of BERT need: one line, and no framework.

>>> import numpy as np
>>> from numpy_bert import BertModel
>>> from numpy_bert.testing import assert_matches_bert
>>> ids = np.array([[2, 5, 3]])
>>> trace = {"input_ids": ids, **dict(BertModel.from_pretrained("demo").trace(ids))}
>>> assert_matches_bert(trace, model="demo")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy_bert.comparison.report import Report, as_text
from numpy_bert.errors import InputError, NumpyBertError
from numpy_bert.loading.cache import MODEL_FILES, used_files
from numpy_bert.loading.hub import find
from numpy_bert.model.bert import BertModel
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.names import NameMap, Rule
from numpy_bert.traces.reading import Trace, as_trace, open_trace
from numpy_bert.traces.trace_inputs import inputs_of
from numpy_bert.verification.bisect import Bisection, Port, bisect
from numpy_bert.verification.verify import load_exactly, verify

__all__ = ["assert_matches_bert", "bisect_port", "verify_trace"]


def assert_matches_bert(
    trace: str | Path | Mapping[str, Any],
    *,
    model: str | Path | BertModel,
    texts: Sequence[str] | None = None,
    pair: bool = False,
    names: Mapping[str, Rule | None] | None = None,
    allow: Sequence[str] = (),
    all_positions: bool = False,
    precision: str | None = None,
    strict: bool = False,
) -> None:
    """Raise AssertionError unless a trace is what BERT's arithmetic gives, but for rounding.

    Parameters
    ----------
    trace : str, Path, or mapping of str to array
        A file or folder, or arrays by name: ``input_ids`` (with ``attention_mask`` and
        ``token_type_ids`` where they are not all 1 and all 0) and whatever steps there are.
    model : str, Path or BertModel
        The model that was ported: a folder, a name on the hub, or a model that was loaded.
    texts : sequence of str, optional
        The texts that the ids are made of, one for each row. Then the tokenizer is verified, too;
        it needs a `model` that is a folder or a name.
    pair : bool
        Whether `texts` are the two of one row.
    names : mapping, optional
        What the port calls the steps; see `numpy_bert.traces.names.NameMap`.
    allow : sequence of str
        Globs of what may differ.
    all_positions : bool
        Whether padding counts, too.
    precision : {"float16", "bfloat16", "tf32"}, optional
        What the port is meant to compute in, where its arrays do not say so.
    strict : bool
        Whether an array that is nothing that the model has, and so was not looked at, is wrong.

    Raises
    ------
    AssertionError
        If the trace is wrong. The message is the whole report: the first step that is wrong, by
        how much, and why.
    TraceError, InputError
        If the trace cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert import BertModel
    >>> ids = np.array([[2, 5, 3]])
    >>> trace = {"input_ids": ids, **dict(BertModel.from_pretrained("demo").trace(ids))}
    >>> trace["pooler"] = trace["pooler.dense"]
    >>> assert_matches_bert(trace, model="demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: ...
    The first to differ is pooler, ...: the pooler is without its tanh; ...
    """
    report = verify_trace(
        trace,
        model=model,
        texts=texts,
        pair=pair,
        names=names,
        allow=allow,
        all_positions=all_positions,
        precision=precision,
        strict=strict,
    )
    if report.verdict != "pass":
        raise AssertionError(as_text(report))


def verify_trace(
    trace: str | Path | Mapping[str, Any],
    *,
    model: str | Path | BertModel,
    texts: Sequence[str] | None = None,
    pair: bool = False,
    names: Mapping[str, Rule | None] | None = None,
    reference: str | Path | Mapping[str, Any] | None = None,
    allow: Sequence[str] = (),
    all_positions: bool = False,
    precision: str | None = None,
    strict: bool = False,
) -> Report:
    """Return the report of a trace, by which `assert_matches_bert` decides.

    Parameters
    ----------
    trace, model, texts, pair, names, allow, all_positions, precision, strict
        The same parameters as those of `assert_matches_bert`.
    reference : str, Path or mapping, optional
        A second trace of the same ids; the report says which of the two is nearer to float64.

    Returns
    -------
    Report
        The rows, the verdict, the first step that differs, and its cause.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert import BertModel
    >>> ids = np.array([[2, 5, 3]])
    >>> output = BertModel.from_pretrained("demo")(ids)
    >>> found = {"input_ids": ids, "last_hidden_state": output.last_hidden_state}
    >>> verify_trace(found, model="demo").verdict
    'pass'
    """
    loaded, tokenizer = (model, None) if isinstance(model, BertModel) else _load(model)
    if texts is not None and not isinstance(tokenizer, BertTokenizer):
        raise tokenizer or InputError(
            "texts cannot be verified with a loaded model, which comes without a tokenizer. Give "
            "the name or the folder of the model."
        )
    report = verify(
        _opened(trace, names),
        loaded,
        tokenizer=tokenizer if isinstance(tokenizer, BertTokenizer) else None,
        texts=texts,
        pair=pair,
        reference=None if reference is None else _opened(reference, None),
        allow=allow,
        all_positions=all_positions,
        precision=precision,
    )
    return replace(report, strict=strict)


def bisect_port(
    port: Port,
    *,
    model: str | Path | BertModel,
    inputs: Mapping[str, Any],
    names: Mapping[str, Rule | None] | None = None,
    arrays: int = 1,
    until: str | None = None,
    only: Sequence[str] = ("*",),
    precision: str | None = None,
    all_positions: bool = False,
) -> Bisection:
    """Run a port again and again, and return what is wrong with it: for ports that save little.

    Parameters
    ----------
    port : callable
        Takes the names of steps, runs the port on the inputs, and returns these arrays by name. It
        may return others too, and may lack some.
    model, names, precision, all_positions
        The same parameters as those of `assert_matches_bert`.
    inputs : mapping of str to array
        What the port is run on: ``input_ids``, with ``attention_mask`` and ``token_type_ids`` where
        they are not all 1 and all 0.
    arrays : int
        How many arrays to ask for at once, until one half of a layer is left.
    until : str, optional
        The step that is asked for first; by default the last hidden state, ``"encoder"``.
    only : sequence of str
        Globs of the arrays that the port can save.

    Returns
    -------
    Bisection
        The verdict, a sentence about it, the runs, and the report of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert import BertModel
    >>> batch = {"input_ids": np.array([[2, 5, 3]])}
    >>> steps = dict(BertModel.from_pretrained("demo").trace(**batch))
    >>> found = bisect_port(lambda names: {n: steps[n] for n in names}, model="demo", inputs=batch)
    >>> found.verdict, [len(run.asked) for run in found.runs]
    ('pass', [1, 4])
    """
    loaded = model if isinstance(model, BertModel) else _load(model)[0]
    *_, found = bisect(
        port,
        loaded,
        inputs_of(inputs, loaded),
        arrays=arrays,
        until=until,
        only=only,
        names=NameMap(names),
        precision=precision,
        all_positions=all_positions,
    )
    return found


def _load(model: str | Path) -> tuple[BertModel, BertTokenizer | NumpyBertError]:
    """Load a model, once for all tests as long as its files are the same."""
    folder = find(model, needs=MODEL_FILES)
    stamps = tuple(_stamp(path) for path in used_files(folder))
    return _loaded(model, folder.resolve(), stamps)


@lru_cache(maxsize=2)
def _loaded(
    model: str | Path, folder: Path, stamps: tuple[tuple[str, ...], ...]
) -> tuple[BertModel, BertTokenizer | NumpyBertError]:
    """Load a model that is told from others by what its files are, not by its name alone.

    Where there is no tokenizer, the reason comes in its place; only a call with texts raises it.
    """
    del stamps
    tokenizer: BertTokenizer | NumpyBertError
    try:
        tokenizer = BertTokenizer.from_pretrained(model)
    except NumpyBertError as failure:
        tokenizer = failure
    return load_exactly(folder), tokenizer


def _stamp(path: Path) -> tuple[str, ...]:
    """Return what changes when a file does, or a link to it leads elsewhere."""
    status = path.stat()
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return (path.name, str(path.resolve()), *map(str, numbers))


def _opened(
    trace: str | Path | Mapping[str, Any], names: Mapping[str, Rule | None] | None
) -> Trace:
    """Open a file, or take arrays for a trace."""
    if isinstance(trace, (str, Path)):
        return open_trace(trace, NameMap(names))
    return as_trace(trace, NameMap(names))
