"""``numpy-bert embed``: a text's input embedding, step by step."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.cli.console import note, show, table
from numpy_bert.cli.source import model_name, source_options
from numpy_bert.errors import InputError
from numpy_bert.files import check_output, write_atomically
from numpy_bert.loading.hub import cached_part
from numpy_bert.model.bert import BertModel
from numpy_bert.text.batch import BatchEncoding
from numpy_bert.text.lost import encode_whole, lost
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.trace import named_steps, select

__all__ = ["run"]

Arrays = dict[str, npt.NDArray[Any]]

_FORMATS = (".safetensors", ".npz", ".npy")
_CAPTIONS = {
    "embeddings.word_embeddings": "the word table's row of each token id",
    "embeddings.token_type_embeddings": "the segment table's row of each segment",
    "embeddings.position_embeddings": "the position table's row of each position",
    "embeddings.sum": "(word + segment) + position",
    "embeddings.LayerNorm.mean": "of each row of the sum",
    "embeddings.LayerNorm.variance": "about the mean, divided by the hidden size",
    "embeddings.LayerNorm.rstd": "1 / sqrt(variance + eps)",
    "embeddings.LayerNorm.normalized": "(sum - mean) * rstd",
    "embeddings.LayerNorm": "normalized * weight + bias",
    "embeddings.dropout.keep": "True where an element is kept",
    "embeddings.dropout": "kept elements / (1 - p), the others 0; without a seed dropout is off",
    "embeddings": "what the encoder gets",
}


def run(options: argparse.Namespace) -> int:
    """Embed the text, print every step, and save the steps where a file is named."""
    output = _output(options)
    name = model_name(options)
    only = cached_part(name, revision=options.revision, cache_dir=options.cache_dir)
    model = BertModel.from_pretrained(
        name, dtype=options.dtype, only=only, **source_options(options)
    )
    tokenizer = BertTokenizer.from_pretrained(name, **source_options(options))
    texts = [options.text] + ([] if options.text_pair is None else [options.text_pair])
    limit = model.config.max_position_embeddings
    inputs = encode_whole(tokenizer, texts, limit, truncation=options.truncate)
    for sentence in lost(tokenizer, texts, inputs):
        note(sentence)
    del inputs["special_tokens_mask"]
    rng = None if options.dropout_seed is None else np.random.default_rng(options.dropout_seed)
    steps = model.embeddings.steps(inputs["input_ids"], inputs["token_type_ids"], rng=rng)
    named = select(dict(named_steps(steps, "embeddings")), options.step)
    if output is not None:
        _save(output, named, inputs if options.step is None else {})
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    if options.json:
        show(json.dumps(_as_json(name, tokens, inputs, named)))
    else:
        show(_as_page(name, model, tokens, inputs, named))
    return 0


def _output(options: argparse.Namespace) -> Path | None:
    """Check where the result is to go before anything is computed."""
    if options.output is None:
        return None
    path = Path(options.output)
    if path.suffix not in _FORMATS:
        raise InputError(f"-o {path}: the name must end in one of {', '.join(_FORMATS)}.")
    check_output(path, force=options.force)
    return path


def _as_page(
    name: str,
    model: BertModel,
    tokens: str | list[str],
    inputs: BatchEncoding,
    named: Arrays,
) -> str:
    """Write the result for a person: the tokens, then each step's shape and corner values."""
    rows = zip(
        range(len(tokens)), tokens, inputs["input_ids"][0], inputs["token_type_ids"][0], strict=True
    )
    blocks = [
        f"{name}: input embedding, {model.config.hidden_size} features, {model.dtype}",
        table(("position", "token", "id", "segment"), list(rows), right="rlrr"),
    ]
    for step, array in named.items():
        caption = _CAPTIONS.get(step, "")
        blocks.append(f"{step}  {array.shape}  {caption}\n{_array_text(array)}")
    return "\n\n".join(blocks)


def _array_text(array: npt.NDArray[Any]) -> str:
    """Write an array as NumPy prints it: the corners of a large one, four decimals."""
    with np.printoptions(precision=4, suppress=True, threshold=50, edgeitems=3, linewidth=100):
        return str(array)


def _as_json(
    name: str, tokens: str | list[str], inputs: BatchEncoding, named: Arrays
) -> dict[str, Any]:
    """Return the result for a machine, every value in full."""
    return {
        "model": str(name),
        "tokens": tokens,
        **{key: value.tolist() for key, value in inputs.items()},
        "steps": [
            {
                "name": step,
                "shape": list(array.shape),
                "dtype": array.dtype.name,
                "values": array.tolist(),
            }
            for step, array in named.items()
        ],
    }


def _save(path: Path, named: Arrays, inputs: BatchEncoding | dict[str, Any]) -> None:
    """Write the steps, and with all of them the ids that they belong to."""
    # Contiguous, because safetensors 0.8 writes a transposed array's values in the wrong order.
    arrays = {name: np.ascontiguousarray(a) for name, a in (inputs | named).items()}
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, list(arrays.values())[-1], allow_pickle=False)
    elif path.suffix == ".npz":
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
    else:
        from safetensors.numpy import save

        buffer.write(save(arrays))
    write_atomically(path, buffer.getvalue())
    note(f"wrote {path}")
