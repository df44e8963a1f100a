"""BERT as transformers has it in torch, in the ways in which it is run.

    python scripts/port_torch.py CHECKPOINT INPUTS.npz FOLDER

Eager and with torch's own attention, compiled, in half precision, by autocast, and with weights in
int8. `report_ports.py` runs this file and verifies what it saves.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

__all__ = ["runs"]

Tensors = dict[str, Any]


def runs(checkpoint: Path, inputs: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Yield the name of each run and what it returns."""
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    eager, sdpa = _load(checkpoint, "eager"), _load(checkpoint, "sdpa")
    yield "torch, eager", _modules(eager, inputs)
    yield "torch, SDPA", _modules(sdpa, inputs)
    yield "torch, SDPA, states", _states(sdpa, inputs)
    for name, dtype in half.items():
        yield f"torch, eager, {name}", _modules(_load(checkpoint, "eager").to(dtype), inputs)
        yield f"torch, SDPA, {name}", _states(_load(checkpoint, "sdpa").to(dtype), inputs)
    for name, dtype in half.items():
        autocast = torch.autocast("cpu", dtype)
        yield f"torch, eager, autocast {name}", _modules(eager, inputs, autocast)
        yield f"torch, SDPA, autocast {name}", _states(sdpa, inputs, autocast)
    yield "torch, int8 weights", _states(_in_int8(_load(checkpoint, "sdpa")), inputs)
    if shutil.which("c++"):
        yield "torch, compiled", _states(torch.compile(sdpa), inputs)


def _load(checkpoint: Path, attention: str) -> Any:
    return transformers.BertModel.from_pretrained(checkpoint, attn_implementation=attention).eval()


def _in_int8(model: Any) -> Any:
    """Return a model whose dense layers have weights in int8; what goes in is quantized, too."""
    return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)


def _modules(
    model: Any, inputs: Tensors, context: AbstractContextManager[Any] | None = None
) -> Tensors:
    """Return what every module returns, by its path."""
    trace: Tensors = {}

    def hook(name: str) -> Any:
        def keep(_module: Any, _args: Any, output: Any) -> None:
            trace[name] = output if torch.is_tensor(output) else output[0]
            if name.endswith("attention.self") and output[1] is not None:
                trace[f"{name}.dropout"] = output[1]  # the attention's weights

        return keep

    hooks = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    with torch.inference_mode(), context or nullcontext():
        model(**inputs)
    for handle in hooks:
        handle.remove()
    return trace


def _states(
    model: Any, inputs: Tensors, context: AbstractContextManager[Any] | None = None
) -> Tensors:
    """Return the hidden states and the pooled vector."""
    with torch.inference_mode(), context or nullcontext():
        found = model(**inputs, output_hidden_states=True)
    states = {f"hidden_states.{n}": state for n, state in enumerate(found.hidden_states)}
    return {**states, "pooler_output": found.pooler_output}


def main() -> None:
    """Save the runs."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    checkpoint, inputs, folder = map(Path, sys.argv[1:])
    ids = {name: torch.from_numpy(rows) for name, rows in np.load(inputs).items()}
    for name, trace in runs(checkpoint, ids):
        # A module that returns what it is given shares its memory.
        saved = {key: value.contiguous().clone() for key, value in {**ids, **trace}.items()}
        save_file(saved, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
