"""BERT as an ONNX graph that torch exports, in ONNX Runtime, in the ways in which it is run.

    python scripts/port_onnxruntime.py CHECKPOINT INPUTS.npz FOLDER

As exported and optimized, fused by ONNX Runtime's own tool, in half precision, and with weights in
int8. `report_ports.py` runs this file and verifies what it saves.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from port_onnx import Arrays, export, run_graph, with_fast_gelu

__all__ = ["runs"]


def runs(checkpoint: Path, inputs: Arrays, folder: Path) -> Iterator[tuple[str, Arrays]]:
    """Yield the name of each run and what it returns; graphs are written to `folder`."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    graph = export(checkpoint, folder / "model.onnx")
    yield "ONNX Runtime, as exported", run_graph(graph, inputs, every=True)
    yield "ONNX Runtime, optimized", run_graph(graph, inputs, every=False, optimized=True)
    fast = with_fast_gelu(graph, folder / "fast.onnx")
    yield "ONNX Runtime, FastGelu", run_graph(fast, inputs, every=False, optimized=True)
    for name, dtype in (("fused", "float32"), ("fused, float16", "float16")):
        fused = _fused(graph, folder / f"{dtype}.onnx", dtype, config)
        yield f"ONNX Runtime, {name}", run_graph(fused, inputs, every=True, optimized=True)
    quantized = folder / "int8.onnx"
    quantize_dynamic(graph, quantized)
    yield "ONNX Runtime, int8", run_graph(quantized, inputs, every=False, optimized=True)


def _fused(graph: Path, to: Path, dtype: str, config: dict[str, Any]) -> Path:
    """Let ONNX Runtime's tool make one operator of each attention, LayerNorm and activation."""
    heads, features = config["num_attention_heads"], config["hidden_size"]
    optimizer = optimize_model(str(graph), "bert", num_heads=heads, hidden_size=features)
    if dtype == "float16":
        optimizer.convert_float_to_float16()
    optimizer.save_model_to_file(str(to))
    return to


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = map(Path, sys.argv[1:])
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as graphs:
        for name, trace in runs(checkpoint, dict(np.load(inputs)), Path(graphs)):
            arrays: dict[str, Any] = dict(trace)
            np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
