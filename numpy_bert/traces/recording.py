"""A model's trace, recorded into a file: what is announced, then what is computed, as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import widen
from numpy_bert.errors import TraceError
from numpy_bert.files import file_size, read_json
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.integrity import sha256
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.parameters import arrays_of
from numpy_bert.progress import progress
from numpy_bert.traces.inputs import Inputs, read_inputs
from numpy_bert.traces.layout import shape_of, sizes_of
from numpy_bert.traces.names import INPUTS, axes_of, matches, step_names
from numpy_bert.traces.reading import as_trace, open_trace
from numpy_bert.traces.writing import Tensor, metadata_of, write_trace

__all__ = ["Recorder", "inputs_of", "read_ids"]

_LARGEST_IDS = 1 << 26
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


class Recorder:
    """A model whose runs are written into trace files.

    Parameters
    ----------
    model : BertModel
        Loaded.
    name_or_path : str or Path
        What it was loaded from, for the hashes of its files; the other arguments as of `fetch`.
    """

    def __init__(self, model: BertModel, name_or_path: str | Path, **source: Any) -> None:
        self._model = model
        folder = find(name_or_path, needs=MODEL_FILES, **source)
        weights = {path.name: sha256(path) for path in open_checkpoint(folder).files}
        only = next(iter(weights.values()))
        self._weights = only if len(weights) == 1 else json.dumps(weights)
        used = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
        self._tokenizer = sha256(used[0]) if used else None

    def tensors(
        self, inputs: Inputs, names: Sequence[str] | None = None, *, weights: bool = False
    ) -> list[Tensor]:
        """Return what a trace of these inputs will hold.

        `names` are globs of the steps that are wanted; TraceError if one fits none.
        """
        model = self._model
        layers, pools = model.config.num_hidden_layers, model.parameters.pooler is not None
        steps = step_names(layers, pools=pools)
        for glob in names or ():
            if not any(matches(name, [glob]) for name in steps):
                raise TraceError(f"--names {quoted(glob)}: fits no step; there is embeddings.sum.")
        sizes = sizes_of(model.config, *inputs.input_ids.shape)
        ids = [Tensor(name, "int64", getattr(inputs, name).shape) for name in INPUTS]
        own = arrays_of(model.parameters) if weights else ()
        stored = [Tensor(key, self._weight(array).dtype.name, array.shape) for key, array in own]
        wanted = []
        for name in steps:
            axes = axes_of(name) or ""
            if axes[0] == "1" and len(inputs.position_ids) > 1:
                axes = "BTH"
            # LayerNorm's statistics are float64 whatever the rest is.
            dtype = "float64" if axes == "BT1" else model.dtype.name
            if names is None or matches(name, names):
                wanted.append(Tensor(name, dtype, shape_of(axes, sizes)))
        return [*ids, *stored, *wanted]

    def record(
        self,
        path: Path,
        inputs: Inputs,
        *,
        names: Sequence[str] | None = None,
        weights: bool = False,
        texts: Sequence[str] | None = None,
        pair: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> int:
        """Run the model and write its trace; return the number of bytes of its arrays.

        Parameters
        ----------
        path : Path
            Written in one step, when all of it is there.
        inputs : Inputs
            What to run.
        names : sequence of str, optional
            Globs of the steps to write; all by default.
        weights : bool
            Whether to write the parameters too, before the steps.
        texts, pair
            What the inputs are made of, for the metadata; `pair`: the two of one row.
        more : mapping of str to str, optional
            Further metadata.
        """
        tensors = self.tensors(inputs, names, weights=weights)
        metadata = metadata_of(
            self._model.config,
            dtype=self._model.dtype.name,
            weights=self._weights,
            tokenizer=self._tokenizer if texts is not None else None,
            texts=None if texts is None else list(texts),
            pair=pair,
        )
        metadata |= more or {}
        count = len(tensors)
        with progress(count, f"tracing {path.name}", least=2, unit="arrays", delay=2.0) as report:

            def counted() -> Iterator[tuple[str, npt.NDArray[Any]]]:
                announced = {tensor.name for tensor in tensors}
                for name, array in self._arrays(inputs, weights=weights):
                    yield name, array
                    report(name in announced)

            write_trace(path, tensors, counted(), metadata)
        return sum(tensor.nbytes for tensor in tensors)

    def _arrays(self, inputs: Inputs, *, weights: bool) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield inputs, parameters, steps."""
        for name in INPUTS:
            yield name, getattr(inputs, name).astype(np.int64)
        if weights:
            for key, array in arrays_of(self._model.parameters):
                yield key, self._weight(array)
        yield from self._model.trace(*inputs)

    def _weight(self, stored: Any) -> npt.NDArray[Any]:
        """Return a parameter in the model's dtype; look-up tables may be stored in another."""
        return widen(stored, self._model.dtype)


def inputs_of(encoding: Mapping[str, Any], model: BertModel) -> Inputs:
    """Check what a tokenizer made of texts, and add positions."""
    return read_inputs(as_trace(encoding), model.parameters, positions_given=True)


def read_ids(path: Path, model: BertModel) -> Inputs:
    """Read ids from a JSON object or a trace.

    Raises
    ------
    TraceError, InputError
        Naming the file and what is wrong with it.
    """
    with _reading(path), path.open("rb") as file:
        is_json = file.read(64).lstrip()[:1] in (b"{", b"[", b"")
    if not is_json:
        return read_inputs(open_trace(path), model.parameters, positions_given=True)
    members = read_json(path, error=TraceError, limit=_LARGEST_IDS)
    other = sorted(members.keys() - set(INPUTS))
    if other or "input_ids" not in members:
        what = f"a member {quoted(other[0])}" if other else "no input_ids"
        raise TraceError(f"{path}: has {what}; there are {', '.join(INPUTS)}.")
    return read_inputs(as_trace(members, label=str(path)), model.parameters, positions_given=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn a file that cannot be read into a TraceError."""
    file_size(path, error=TraceError)
    try:
        yield
    except OSError as failure:
        raise TraceError(f"{path}: cannot be read ({failure.strerror}).") from None
