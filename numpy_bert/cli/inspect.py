"""``numpy-bert inspect``: what a checkpoint holds."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, Literal

from numpy_bert.cli.console import megabytes, show, table
from numpy_bert.cli.options import NAME_OR_PATH, add_examples, add_json, add_source, source_options
from numpy_bert.messages import quoted
from numpy_bert.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from numpy_bert.config import BertConfig, StatedConfig
    from numpy_bert.loading.checkpoint import Checkpoint

__all__ = ["add_arguments", "run"]

# What only cross-encoders state, whose long name would push all values of others aside.
_SCORES = "sbert_ce_default_activation_function"
# What a tensor of the model is for, by the first word of its key.
_PARTS = {
    "embeddings": "input embedding",
    "embeddings_project": "projection",
    "encoder": "encoder",
    "pooler": "pooler",
    "encode_proj": "projection",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "List a checkpoint's config and tensors (dtype, shape, size, what is used and what is not) "
        "without loading the data."
    )
    add_examples(
        parser,
        "numpy-bert inspect demo",
        "numpy-bert inspect ./my-model --check",
    )
    parser.add_argument("model", metavar="NAME_OR_PATH", help=NAME_OR_PATH)
    parser.add_argument(
        "--check",
        action="store_true",
        help="read all tensors, look for NaN and infinity, and compare tied tensors; exit with 1 "
        "if any is wrong",
    )
    add_json(parser)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Print config and tensors; with --check also what is wrong with the values."""
    import numpy as np

    from numpy_bert.config import read_config
    from numpy_bert.loading.cache import MODEL_FILES, is_part
    from numpy_bert.loading.checkpoint import open_checkpoint
    from numpy_bert.loading.hub import find
    from numpy_bert.loading.tensors import check_weights

    folder = find(options.model, needs=MODEL_FILES, **source_options(options))
    stated = read_config(folder / "config.json")
    checkpoint = open_checkpoint(folder, stated.config.architecture)
    problems = _problems(checkpoint, stated.config) if options.check else None
    report = _report(folder, stated, checkpoint, problems)
    show(json.dumps(report) if options.json else _as_page(report))
    # Last, so that a checkpoint that does not fit its config is still listed.
    only: Literal["embeddings"] | None = "embeddings" if is_part(folder) else None
    check_weights(checkpoint, stated.config, np.dtype("float32"), only=only, code=stated.code)
    return 1 if problems else 0


def _problems(checkpoint: Checkpoint, config: BertConfig) -> list[str]:
    """Read all tensors; describe what is not finite, not tied as it must be, or odd."""
    from numpy_bert.arrays import place
    from numpy_bert.loading.tensors import differences

    found = list(checkpoint.notes)
    tensors = checkpoint.tensors.values()
    with progress(sum(tensor.nbytes for tensor in tensors), "checking") as report:
        for tensor in tensors:
            index = tensor.scan() if tensor.is_float else None
            if index is not None:
                found.append(f"{quoted(tensor.name)}{place(index)} is not finite")
            report(tensor.nbytes)
    return [*found, *differences(checkpoint, config).values()]


def _report(
    folder: Path, stated: StatedConfig, checkpoint: Checkpoint, problems: list[str] | None
) -> dict[str, Any]:
    """Return all that is to be printed."""
    from numpy_bert.loading.keys import BUFFERS
    from numpy_bert.loading.tensors import rules_of
    from numpy_bert.model.family_heads import head_of
    from numpy_bert.parameters import TIED, BertParameters, shapes

    config = stated.config
    of_model = shapes(BertParameters, config)
    trees: list[Any] = [
        head_of(config.model_type, end).parameters for end in config.architecture.heads
    ]
    of_heads = {key for tree in trees for key in shapes(tree, config)} | {*TIED}

    def use(key: str) -> str:
        if key in of_model:
            return _PARTS[key.split(".")[0]]
        if key in of_heads:
            return "head"
        return "buffer" if key in BUFFERS else "not used"

    return {
        "folder": str(folder),
        "files": [str(path) for path in checkpoint.files],
        "architecture": config.architecture.name,
        "rules": list(rules_of(config)),
        "config": {name: getattr(config, name) for name in ("model_type", *config.field_names)},
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "bytes": tensor.nbytes,
                "use": use(key),
            }
            for key, tensor in checkpoint.tensors.items()
        ],
        "notes": [*stated.notes, *checkpoint.notes],
        "problems": problems,
    }


def _as_page(report: dict[str, Any]) -> str:
    """Write the report for a person."""
    tensors = report["tensors"]
    rows = [
        (
            quoted(tensor["name"]),
            quoted(tensor["dtype"]),
            " x ".join(map(str, tensor["shape"])) or "scalar",
            megabytes(tensor["bytes"]),
            tensor["use"],
        )
        for tensor in tensors
    ]
    totals = dict.fromkeys((*_PARTS.values(), "head", "buffer", "not used"), 0)
    for tensor in tensors:
        totals[tensor["use"]] += tensor["bytes"]
    config = [pair for pair in report["config"].items() if pair != (_SCORES, None)]
    blocks = [
        "\n".join(report["files"]),
        "\n".join([f"architecture: {report['architecture']}", *report["rules"]]),
        table(("config", ""), config),
        table(("tensor", "dtype", "shape", "size", "use"), rows, right="llrrl"),
        table(
            ("total", f"{len(tensors)} tensors"),
            [(megabytes(size), use) for use, size in totals.items() if size],
        ),
    ]
    blocks += [f"note: {sentence}" for sentence in report["notes"]]
    if report["problems"] is not None:
        found = report["problems"]
        blocks.append("\n".join(["problems:", *found]) if found else "checked: no problem found")
    return "\n\n".join(blocks)
