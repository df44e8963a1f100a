"""BERT as keras-hub has it, on JAX, in an environment of its own.

    python scripts/port_keras.py CHECKPOINT INPUTS.npz FOLDER

What every layer returns, run step by step, and the hidden states, compiled. `report_ports.py` makes
the environment, runs this file in it and verifies what it saves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import keras
import keras_hub
import numpy as np

# What keras-hub's layers are called in a trace; those of each layer, by their attributes.
_EMBEDDINGS = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "segment_embedding": "embeddings.token_type_embeddings",
    "embeddings_add": "embeddings.sum",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}
_LAYER = {
    "_self_attention_layer._query_dense": "attention.self.query",
    "_self_attention_layer._key_dense": "attention.self.key",
    "_self_attention_layer._value_dense": "attention.self.value",
    "_self_attention_layer._softmax": "attention.self.probs",
    "_self_attention_layer._output_dense": "attention.output.dense",
    "_self_attention_layer_norm": "attention.output",
    "_feedforward_intermediate_dense": "intermediate",
    "_feedforward_output_dense": "output.dense",
    "": "output",
}


def steps(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what every layer returns, by the names of a trace."""
    trace: dict[str, Any] = {}
    for own, name in _EMBEDDINGS.items():
        _keep(model.get_layer(own), name, trace)
    for number, layer in enumerate(model.transformer_layers):
        for path, name in _LAYER.items():
            part = layer
            for attribute in filter(None, path.split(".")):
                part = getattr(part, attribute)
            _keep(part, f"encoder.layer.{number}.{name}", trace)
    trace["pooler"] = model(inputs)["pooled_output"]
    return {name: _merged(name, array) for name, array in trace.items()}


def _keep(layer: Any, name: str, trace: dict[str, Any]) -> None:
    """Let a layer keep what it returns."""
    call: Callable[..., Any] = layer.call

    def kept(*arguments: Any, **options: Any) -> Any:
        trace[name] = call(*arguments, **options)
        return trace[name]

    layer.call = kept


def _merged(name: str, array: Any) -> Any:
    """Return an array with its heads side by side, where they are a dimension of their own."""
    found = np.asarray(array)
    heads = name.endswith((".query", ".key", ".value"))
    return found.reshape(*found.shape[:2], -1) if heads else found


def states(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the hidden states, compiled."""
    layers = [model.embeddings_dropout, *model.transformer_layers]
    outputs = {f"hidden_states.{n}": layer.output for n, layer in enumerate(layers)}
    whole = keras.Model(model.inputs, {**outputs, "pooler_output": model.output["pooled_output"]})
    found: dict[str, Any] = whole.predict(inputs, verbose=0)
    return found


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = sys.argv[1:]
    model = keras_hub.models.BertBackbone.from_preset(checkpoint)
    ids = np.load(inputs)
    given = {
        "token_ids": ids["input_ids"],
        "padding_mask": ids["attention_mask"],
        "segment_ids": ids["token_type_ids"],
    }
    runs = {
        "keras-hub, compiled, states": states(model, given),
        "keras-hub, step by step": steps(model, given),
    }
    for name, trace in runs.items():
        np.savez(Path(folder) / f"{name}.npz", **ids, **trace)


if __name__ == "__main__":
    main()
