"""A model's trace, recorded into a file: what is announced, then what is computed, as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from numpy_bert.arrays import widen
from numpy_bert.errors import TraceError
from numpy_bert.files import is_listed
from numpy_bert.loading.cache import MODEL_FILES
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.loading.hub import find
from numpy_bert.loading.integrity import sha256
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.parameters import arrays_of
from numpy_bert.progress import PATIENCE, progress
from numpy_bert.traces.layout import axes_of, shape_of, sizes_of, steps_in
from numpy_bert.traces.names import matches
from numpy_bert.traces.trace_inputs import TraceInputs, taken_by
from numpy_bert.traces.writing import Tensor, metadata_of, write_trace

__all__ = ["Recorder"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")


class Recorder:
    """A model whose runs are written into trace files.

    Parameters
    ----------
    model : BertModel
        The loaded model.
    name_or_path : str or Path
        What the model was loaded from, for the hashes of its files.
    **source
        The arguments of `from_pretrained` that say where to look: ``revision`` and the like.
    """

    def __init__(self, model: BertModel, name_or_path: str | Path, **source: Any) -> None:
        self._model = model
        folder = find(name_or_path, needs=MODEL_FILES, **source)
        weights = {path.name: sha256(path) for path in open_checkpoint(folder).files}
        only = next(iter(weights.values()))
        self._weights = only if len(weights) == 1 else json.dumps(weights)
        used = [folder / name for name in _TOKENIZER_FILES if is_listed(folder / name)]
        self._tokenizer = sha256(used[0]) if used else None

    def tensors(
        self, inputs: TraceInputs, names: Sequence[str] | None = None, *, weights: bool = False
    ) -> list[Tensor]:
        """Return what a trace of these inputs will hold; the parameters are those of `record`.

        Raises
        ------
        TraceError
            If one of the `names` fits no step.
        """
        model = self._model
        steps = steps_in(model.config, model.parameters)
        for glob in names or ():
            if not any(matches(name, [glob]) for name in steps):
                raise TraceError(f"--names {quoted(glob)} fits no step. One is embeddings.sum.")
        sizes = sizes_of(model.config, *inputs.input_ids.shape)
        taken = taken_by(model, inputs)
        ids = [Tensor(name, "int64", array.shape) for name, array in taken.items()]
        own = arrays_of(model.parameters) if weights else ()
        stored = [Tensor(key, self._weight(array).dtype.name, array.shape) for key, array in own]
        wanted = []
        for name in steps:
            axes = axes_of(name, len(inputs.position_ids)) or ""
            # LayerNorm's statistics are float64 whatever the rest is.
            dtype = "float64" if axes == "BT1" else model.dtype.name
            if names is None or matches(name, names):
                wanted.append(Tensor(name, dtype, shape_of(name, axes, sizes)))
        return [*ids, *stored, *wanted]

    def record(
        self,
        path: Path,
        inputs: TraceInputs,
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
            The file, which takes this name when all of it is there.
        inputs : TraceInputs
            What the model is run on.
        names : sequence of str, optional
            Globs of the steps to write; all by default.
        weights : bool
            Whether to write the parameters, too, before the steps.
        texts : sequence of str, optional
            The texts that the inputs are made of, for the metadata.
        pair : bool
            Whether `texts` are the two of one row.
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
        with progress(
            count, f"tracing {path.name}", least=2, unit="arrays", delay=PATIENCE
        ) as report:

            def counted() -> Iterator[tuple[str, npt.NDArray[Any]]]:
                announced = {tensor.name for tensor in tensors}
                for name, array in self._arrays(inputs, weights=weights):
                    yield name, array
                    report(name in announced)

            write_trace(path, tensors, counted(), metadata)
        return sum(tensor.nbytes for tensor in tensors)

    def _arrays(
        self, inputs: TraceInputs, *, weights: bool
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the inputs, the parameters if wanted, and the steps."""
        taken = taken_by(self._model, inputs)
        yield from taken.items()
        if weights:
            for key, array in arrays_of(self._model.parameters):
                yield key, self._weight(array)
        yield from self._model.trace(**taken)

    def _weight(self, stored: Any) -> npt.NDArray[Any]:
        """Return a parameter in the model's dtype; a look-up table may be stored in another."""
        return widen(stored, self._model.dtype)
