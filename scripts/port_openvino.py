"""BERT as an ONNX graph that torch exports, in OpenVINO.

    python scripts/port_openvino.py CHECKPOINT INPUTS.npz FOLDER

Every node's value, the hidden states of the graph as OpenVINO fuses it, and those in bfloat16 where
the processor has it. `report_ports.py` runs this file and verifies what it saves.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from port_onnx import Arrays, export, with_inner_values


def runs(graph: Path, inputs: Arrays) -> Iterator[tuple[str, Arrays]]:
    """Yield the name of each run and what it returns."""
    yield "OpenVINO, every node", run(graph, inputs, "f32", every=True)
    yield "OpenVINO", run(graph, inputs, "f32", every=False)
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        yield "OpenVINO, bfloat16", run(graph, inputs, "bf16", every=False)


def run(graph: Path, inputs: Arrays, precision: str, *, every: bool) -> Arrays:
    """Run a graph and return its inputs and values: of every node, or the hidden states."""
    core = openvino.Core()
    model = core.read_model(with_inner_values(graph, every=every).SerializeToString())
    found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})(inputs)
    return {**inputs, **{output.get_any_name(): array for output, array in found.items()}}


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as graphs:
        graph = export(checkpoint, Path(graphs) / "model.onnx")
        for name, trace in runs(graph, dict(np.load(inputs))):
            arrays: dict[str, Any] = dict(trace)
            np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
