"""What two traces were made of: an input that one of them leaves out stands for its usual value."""

from __future__ import annotations

from numpy_bert.traces.inputs import usual_input
from numpy_bert.traces.reading import Trace, TraceArray
from numpy_bert.traces.stored_arrays import StoredArray

__all__ = ["OPTIONAL", "completed"]

# The inputs that a trace need not hold, and what it then says.
OPTIONAL = {
    "attention_mask": "all 1",
    "token_type_ids": "all 0",
    "position_ids": "0, 1, 2, ...",
}


def completed(trace: Trace, other: Trace) -> Trace:
    """Return a trace with the inputs that it leaves out and another one holds.

    A trace without ids says nothing of the others, and stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_bert.traces.reading import as_trace
    >>> ids = {"input_ids": np.array([[2, 5, 3]])}
    >>> other = as_trace({**ids, "position_ids": np.arange(3)})
    >>> completed(as_trace(ids), other).get("position_ids")
    array([[0, 1, 2]])
    """
    ids = trace.arrays.get("input_ids")
    if ids is None or len(ids.stored.shape) != 2:
        return trace
    arrays = dict(trace.arrays)
    for name in OPTIONAL:
        if name in other.arrays and name not in arrays:
            array = usual_input(name, ids.stored.shape)
            stored = StoredArray(name, array.dtype.name, array.shape, array.view)
            arrays[name] = TraceArray(stored, name, None)
    return Trace(trace.label, arrays, trace.twins, trace.metadata)
