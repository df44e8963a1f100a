"""Fine-tune MiniLM beside torch, with the same batches and dropout masks, and compare the losses.

    python scripts/report_training.py PATH_OF_MINILM STSB_CSV [--steps 100] [--dtype float64]
                                      [--svg curves.svg]

PATH_OF_MINILM is a folder with sentence-transformers/all-MiniLM-L6-v2; STSB_CSV has rows of two
sentences and a score from 0 to 5. The task is a regression of the score, the settings are AdamW,
clipping at 1, a warm-up of a tenth of the steps and a linear decay. Needs the extra `test`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from numpy_bert import AutoModelForSequenceClassification, BertTokenizer
from numpy_bert.trace import named_steps
from numpy_bert.training.data import LabelledTexts
from numpy_bert.training.optimizer import AdamW, clip_grad_norm, linear_schedule
from numpy_bert.training.trainable import trainable
from numpy_bert.training.training_args import TrainingArguments

RATE, DECAY = 1e-4, 0.01


def main() -> None:
    """Train both, print the losses side by side, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", metavar="PATH_OF_MINILM")
    parser.add_argument("stsb", metavar="STSB_CSV")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--svg", metavar="FILE", help="draw the two curves")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        name = "BertForSequenceClassification"
        model = getattr(transformers, name).from_pretrained(options.minilm, num_labels=1)
        model.save_pretrained(folder)
        data = stsb(options.stsb, BertTokenizer.from_pretrained(options.minilm))
        losses = np.array(list(curves(folder, data, options)))
    for step, (ours, theirs) in enumerate(losses, 1):
        if step == 1 or step % 10 == 0:
            print(f"step {step:>4}  numpy_bert {ours:.10f}  torch {theirs:.10f}")
    apart = np.abs(losses[:, 0] - losses[:, 1])
    print(f"{options.dtype}: {len(losses)} steps, losses at most {apart.max():.1e} apart")
    if options.svg:
        Path(options.svg).write_text(drawing(losses), "utf-8")


def stsb(path: str, tokenizer: BertTokenizer) -> LabelledTexts:
    """Read pairs of sentences and their scores, from 0 to 1."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    pairs = [(row[0], row[1]) for row in rows]
    return LabelledTexts(pairs, [float(row[2]) / 5 for row in rows], tokenizer)


def curves(folder: str, data: LabelledTexts, options: argparse.Namespace) -> Iterator[Any]:
    """Yield the losses of both at each step."""
    model, arrays = trainable(
        AutoModelForSequenceClassification.from_pretrained(folder, dtype=options.dtype)
    )
    arguments = TrainingArguments(
        max_steps=options.steps, per_device_train_batch_size=options.batch_size
    )
    optimizer = AdamW(arrays, lr=RATE, weight_decay=DECAY)
    theirs = Theirs(folder, options.dtype, arguments)
    for step in range(options.steps):
        rng = np.random.default_rng([0, step])
        numbers = rng.integers(0, len(data), options.batch_size)
        batch = data.batch(numbers, rng)
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        steps = named_steps(model.steps(**inputs, rng=np.random.default_rng(step)), "")
        keep = [array for name, array in steps if name.endswith("keep")]
        found = model.loss_and_gradients(batch, rng=np.random.default_rng(step))
        gradients = {name: array for name, array in found.named() if name in arrays}
        clip_grad_norm(gradients, arguments.max_grad_norm)
        rate = linear_schedule(step, warmup=options.steps // 10, total=options.steps)
        optimizer.step(gradients, lr=RATE * rate)
        yield found.loss, theirs.step(batch, keep)


class Theirs:
    """The same in torch, whose dropout takes its masks from a list."""

    def __init__(self, folder: str, dtype: str, arguments: TrainingArguments) -> None:
        self._dtype = getattr(torch, dtype)
        self._model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=self._dtype, attn_implementation="eager"
        ).train()
        decaying = transformers.Trainer.get_decay_parameter_names(None, self._model)
        groups: dict[bool, list[Any]] = {True: [], False: []}
        for name, parameter in self._model.named_parameters():
            groups[name in decaying].append(parameter)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": DECAY},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            lr=RATE,
        )
        total = arguments.steps_of(1)
        self._schedule = transformers.get_linear_schedule_with_warmup(
            self._optimizer, total // 10, total
        )
        self._keep: list[Any] = []
        torch.nn.functional.dropout = self._dropout

    def _dropout(
        self, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Any:
        del inplace
        if not training or p == 0.0:
            return input
        return input * torch.from_numpy(self._keep.pop(0)) / (1.0 - p)

    def step(self, batch: dict[str, Any], keep: list[Any]) -> float:
        """Take a step, and return the loss before it."""
        self._keep = keep
        tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in batch.items()}
        tensors["labels"] = tensors["labels"].to(self._dtype)
        self._optimizer.zero_grad()
        loss = self._model(**tensors).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())


def drawing(losses: Any) -> str:
    """Draw both curves, one over the other."""
    width, height, top = 800, 300, float(losses.max())
    lines = []
    for column, (colour, size) in enumerate((("#d9541e", 5), ("#1b1f24", 1.5))):
        points = " ".join(
            f"{10 + step * (width - 20) / max(len(losses) - 1, 1):.1f},"
            f"{height - 30 - (height - 60) * value / top:.1f}"
            for step, value in enumerate(losses[:, column])
        )
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{size}"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12"><rect width="100%" '
        f'height="100%" fill="#fff"/>{"".join(lines)}<text x="10" y="16">loss of {len(losses)} '
        f"steps: numpy_bert (orange, wide), torch (black, thin); highest {top:.3f}</text></svg>"
    )


if __name__ == "__main__":
    main()
