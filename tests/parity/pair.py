"""One checkpoint in numpy_bert and in torch, and what forward hooks see there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from numpy_bert import BertModel
from numpy_bert.arrays import Array, BoolArray
from numpy_bert.trace import named_steps


class Pair:
    """A model in numpy_bert and in torch, both in one dtype."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.ours = BertModel.from_pretrained(folder, dtype=dtype)
        self.theirs = transformers.BertModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="eager"
        ).eval()

    def steps(self, inputs: Mapping[str, Any], **options: Any) -> dict[str, Array]:
        """Return every step of ours, by trace name."""
        return dict(named_steps(self.ours.steps(**inputs, **options), ""))

    def hooked(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Return what forward hooks see of torch's whole model, by module path.

        A module that returns a tuple or an output is taken for its first member; beside it stand
        the attention's weights, which transformers computes in no module.
        """
        seen: dict[str, Array] = {}

        def hook(name: str) -> Any:
            def see(_module: Any, _inputs: Any, output: Any) -> None:
                seen[name] = (output if torch.is_tensor(output) else output[0]).numpy()
                if name.endswith("attention.self"):
                    seen[f"{name}.dropout"] = output[1].numpy()

            return see

        handles = [
            module.register_forward_hook(hook(name))
            for name, module in self.theirs.named_modules()
            if name
        ]
        self.forward(inputs)
        for handle in handles:
            handle.remove()
        return seen

    def forward(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """Run torch's model."""
        with torch.no_grad():
            return self.theirs(
                **{name: torch.from_numpy(value) for name, value in inputs.items()}, **options
            )


@contextmanager
def replayed(keeps: Iterator[BoolArray]) -> Iterator[None]:
    """Let torch's dropout apply the next of our masks at each call, in training mode."""
    original = torch.nn.functional.dropout

    def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0.0:
            return x
        keep = next(keeps)
        assert keep.shape == tuple(x.shape)
        return x * torch.from_numpy(keep).to(x.dtype).div_(1 - p)

    torch.nn.functional.dropout = dropout
    try:
        yield
    finally:
        torch.nn.functional.dropout = original
