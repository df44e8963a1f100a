"""How far numpy_bert and torch are from the float64 result, in float32, on a real checkpoint.

numpy_bert twice: the readable steps, and the kernels that a plain call runs.

    python scripts/report_accuracy.py PATH_OF_A_CHECKPOINT

Needs the `test` extra. Prints the machine, and the table of tests/README.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import transformers
from bench_machine import print_machine

from numpy_bert import BertModel
from numpy_bert.arrays import Array
from numpy_bert.kernels.layer_norm import LayerNormKernel, LayerNormWorkspace
from numpy_bert.ops.layer_norm import layer_norm


def main() -> None:
    """Compare the input embedding of random ids, then LayerNorm at growing means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path, help="a folder with a BERT checkpoint")
    folder = parser.parse_args().checkpoint
    print_machine("torch", "transformers")
    print("| float32, largest error against float64 | steps | plain call | torch |")
    print("|---|---|---|---|")
    for line in embedding_rows(folder):
        print(line)
    for mean in (0.0, 0.5, 1.0, 1e2, 1e4, 1e6):
        print(layer_norm_row(mean))


def embedding_rows(folder: Path) -> list[str]:
    """Compare the sum and the output for 8 x 512 random ids."""
    model = BertModel.from_pretrained(folder)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (8, 512))
    ours = model.embeddings.steps(ids)
    truth = BertModel.from_pretrained(folder, dtype="float64").embeddings.steps(ids)
    reference = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    sums: list[Array] = []
    reference.embeddings.LayerNorm.register_forward_pre_hook(
        lambda _, inputs: sums.append(inputs[0].numpy())
    )
    with torch.no_grad():
        output = reference.embeddings(torch.from_numpy(ids)).numpy()
    same = "the same bits" if np.array_equal(sums[0], ours.sum) else "DIFFERENT"
    plain = model.embeddings(ids)
    return [
        f"| sum of the three look-ups, 8 x 512 tokens | {worst(ours.sum, truth.sum)} | {same} "
        "| the same bits |",
        f"| input embedding, 8 x 512 tokens | {worst(ours.output, truth.output)} "
        f"| {worst(plain, truth.output)} | {worst(output, truth.output)} |",
    ]


def layer_norm_row(mean: float) -> str:
    """Compare LayerNorm of 64 rows of 768 features with unit spread about a mean."""
    x = (np.random.default_rng(1).normal(size=(64, 768)) + mean).astype(np.float32)
    one, zero = np.ones(768, np.float32), np.zeros(768, np.float32)
    truth = layer_norm(x.astype(np.float64), one.astype(float), zero.astype(float), eps=1e-12)
    ours = layer_norm(x, one, zero, eps=1e-12).output
    plain = x.copy()
    with np.errstate(all="ignore"):
        LayerNormKernel(one, zero, eps=1e-12)(plain, LayerNormWorkspace(*x.shape))
    theirs = torch.nn.functional.layer_norm(torch.from_numpy(x), (768,), eps=1e-12).numpy()
    label = f"{mean:,.1f}".removesuffix(".0")
    return (
        f"| LayerNorm, rows of mean {label} | {worst(ours, truth.output)} "
        f"| {worst(plain, truth.output)} | {worst(theirs, truth.output)} |"
    )


def worst(result: Array, truth: Array) -> str:
    """Write the largest error with two digits."""
    return f"{np.abs(result - truth).max():.1e}"


if __name__ == "__main__":
    main()
