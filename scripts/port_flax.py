"""BERT as transformers has it in Flax, in an environment of its own (transformers below 5).

    python scripts/port_flax.py CHECKPOINT INPUTS.npz FOLDER

What every module returns, run step by step and compiled, and the hidden states alone, compiled.
`report_ports.py` makes the environment, runs this file in it and verifies what it saves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from transformers import FlaxBertModel, logging


def run(model: Any, inputs: dict[str, Any], *, compiled: bool) -> dict[str, Any]:
    """Return what every module of the model returns, by its path."""
    shape = inputs["input_ids"].shape
    positions = np.broadcast_to(np.arange(shape[1]), shape)

    def apply(params: Any, inputs: dict[str, Any]) -> Any:
        return model.module.apply(
            {"params": params},
            **inputs,
            position_ids=positions,
            output_attentions=True,
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    _, state = (jax.jit(apply) if compiled else apply)(model.params, inputs)
    trace = {}
    for path, (output,) in flatten_dict(state["intermediates"]).items():
        name = ".".join(path[:-1])
        if not name or path[:-1] == ("encoder", "layer"):
            continue
        first, *others = jax.tree.leaves(output)
        trace[name] = first
        if name.endswith("attention.self"):
            trace[f"{name}.dropout"] = others[0]  # the attention's weights
    return trace


def states(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the hidden states, compiled."""
    found = jax.jit(lambda params: model(**inputs, params=params, output_hidden_states=True))(
        model.params
    )
    every = {f"hidden_states.{n}": state for n, state in enumerate(found.hidden_states)}
    return {**every, "pooler_output": found.pooler_output}


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = sys.argv[1:]
    logging.set_verbosity_error()
    model = FlaxBertModel.from_pretrained(checkpoint)
    ids = {name: rows.astype(np.int32) for name, rows in np.load(inputs).items()}
    runs = {
        "Flax, step by step": run(model, ids, compiled=False),
        "Flax, compiled": run(model, ids, compiled=True),
        "Flax, compiled, states": states(model, ids),
    }
    for name, trace in runs.items():
        arrays: dict[str, Any] = {**ids, **trace}
        np.savez(Path(folder) / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
