"""A BertModel as an ONNX graph: exported, run with its inner values as outputs, optimized."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime

__all__ = ["Arrays", "export", "run_graph", "with_fast_gelu", "with_inner_values"]

Arrays = dict[str, npt.NDArray[Any]]
# What ends the embedding and each layer, in the names that torch's exporter gives.
_STATES = re.compile(r".*/(embeddings|layer\.\d+/output)/LayerNorm/LayerNormalization_output_0")


def export(checkpoint: Path, path: Path, *outputs: str) -> Path:
    """Export a checkpoint by torch, in a process of its own.

    The graph's outputs are ``embeddings``, ``last_hidden_state``, ``pooler_output``, or those of
    them that are named.
    """
    given = (str(checkpoint), str(path), *outputs)
    command = [sys.executable, "-W", "ignore", "-c", _EXPORT, *given]
    subprocess.run(command, check=True, capture_output=True)
    return path


def run_graph(path: Path, inputs: Arrays, *, every: bool, optimized: bool = False) -> Arrays:
    """Run a graph and return its inputs and values: of every node, or the hidden states."""
    model = with_inner_values(path, every=every)
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return {**inputs, **dict(zip(names, session.run(names, inputs), strict=True))}


def with_inner_values(path: Path, *, every: bool) -> Any:
    """Return a graph whose outputs are the values of every node, too, or the hidden states."""
    model = onnx.load(path)
    have = {output.name for output in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name not in have]
    chosen = [name for name in inner if name and (every or _STATES.fullmatch(name))]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in chosen)
    return model


def with_fast_gelu(path: Path, to: Path) -> Path:
    """Replace every GELU by ONNX Runtime's fast one, as its transformer optimizer can."""
    model = onnx.load(path)
    graph = model.graph
    kept, inputs = [], {}
    for node in graph.node:
        if "/intermediate_act_fn/" not in node.output[0]:
            kept.append(node)
            continue
        if node.op_type == "Div":
            inputs[node.output[0].rpartition("/")[0]] = node.input[0]
        if node.output[0].endswith("Mul_1_output_0"):
            block = node.output[0].rpartition("/")[0]
            kept.append(
                onnx.helper.make_node(
                    "FastGelu", [inputs[block]], [node.output[0]], domain="com.microsoft"
                )
            )
    del graph.node[:]
    graph.node.extend(kept)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, to)
    return to


_EXPORT = """
import sys
import torch, transformers
names = ["input_ids", "attention_mask", "token_type_ids"]
outputs = sys.argv[3:] or ["embeddings", "last_hidden_state", "pooler_output"]

class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = transformers.BertModel.from_pretrained(
            sys.argv[1], attn_implementation="eager"
        ).eval()

    def forward(self, *inputs):
        every = "embeddings" in outputs
        found = self.model(**dict(zip(names, inputs)), output_hidden_states=every)
        embeddings = found.hidden_states[0] if every else None
        given = {"embeddings": embeddings, **found}
        return tuple(given[name] for name in outputs)

ids = torch.tensor([[1, 2, 3]])
axes = {name: {0: "B", 1: "T"} for name in (*names, *outputs) if name != "pooler_output"}
torch.onnx.export(
    Whole(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), sys.argv[2],
    input_names=names, output_names=outputs, opset_version=17, dynamo=False, dynamic_axes=axes,
)
"""
