"""``numpy-bert embed``: a text's input embedding, step by step."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import numpy_bert
from numpy_bert.cli.console import note, save_arrays, show, table
from numpy_bert.cli.options import (
    add_examples,
    add_json,
    add_output,
    add_source,
    add_text,
    add_truncate,
    given_text,
    model_name,
    model_options,
    natural,
    output_path,
    source_options,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from numpy_bert.text.encoding import BatchEncoding

__all__ = ["add_arguments", "run"]

_ENDS = (".safetensors", ".npz", ".npy")
_CAPTIONS = {
    "embeddings.word_embeddings": "the word table's row of each token id",
    "embeddings.token_type_embeddings": "the segment table's row of each segment",
    "embeddings.position_embeddings": "the position table's row of each position",
    "embeddings.task_type_embeddings": "the task table's first row",
    "embeddings.LayerNorm.mean": "the mean of each row of the sum",
    "embeddings.LayerNorm.variance": "about the mean, divided by the number of features",
    "embeddings.LayerNorm.rstd": "1 / sqrt(variance + eps)",
    "embeddings.LayerNorm.normalized": "(sum - mean) * rstd",
    "embeddings.LayerNorm": "normalized * weight + bias",
    "embeddings.dropout.keep": "True where an element is kept",
    "embeddings.dropout": "kept elements / (1 - p), the others 0; without a seed dropout is off",
}
_BERTS_SUM = "(word + segment) + position"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Print BERT's input embedding of a text, step by step: token ids, the look-ups, "
        "their sum, LayerNorm, dropout. These are input embeddings, the first thing a BERT "
        "computes; they are no sentence vectors, which are another command's."
    )
    add_examples(
        parser,
        'numpy-bert embed "The sun is shining."',
        'numpy-bert embed "The sun is shining." --step embeddings -o sun.npy',
    )
    add_text(parser)
    parser.add_argument(
        "--step", metavar="NAME", help="show only this step, such as embeddings.sum"
    )
    add_truncate(parser)
    parser.add_argument(
        "--dropout-seed", metavar="N", type=natural, help="apply dropout, its mask drawn from N"
    )
    add_output(parser, "save every step in a .safetensors or .npz file, or the last in a .npy file")
    add_json(parser)
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Embed the text, print every step, and save the steps where a file is named."""
    import numpy as np

    from numpy_bert.loading.hub import cached_part
    from numpy_bert.text.lost import encode_whole, lost
    from numpy_bert.trace import named_steps, select

    output = output_path(options, _ENDS)
    text = given_text(options.text)
    name = model_name(options)
    only = cached_part(name, revision=options.revision, cache_dir=options.cache_dir)
    model = numpy_bert.AutoModel.from_pretrained(name, only=only, **model_options(options))
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(name, **source_options(options))
    texts = [text] + ([] if options.text_pair is None else [options.text_pair])
    limit = model.config.max_tokens
    inputs = encode_whole(tokenizer, texts, limit, truncation=options.truncate)
    for sentence in lost(tokenizer, texts, inputs):
        note(sentence)
    del inputs["special_tokens_mask"]
    rng = None if options.dropout_seed is None else np.random.default_rng(options.dropout_seed)
    steps = model.embeddings.steps(inputs["input_ids"], inputs.get("token_type_ids"), rng=rng)
    named = select(dict(named_steps(steps, "embeddings")), options.step)
    if output is not None:  # with all steps the ids that they belong to
        save_arrays(output, (inputs if options.step is None else {}) | named)
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    if options.json:
        show(json.dumps(_as_json(name, tokens, inputs, named)))
    else:
        show(_as_page(name, model, tokens, inputs, named))
    return 0


def _as_page(
    name: str,
    model: numpy_bert.BertModel,
    tokens: str | list[str],
    inputs: BatchEncoding,
    named: dict[str, npt.NDArray[Any]],
) -> str:
    """Write the result for a person: the tokens, then each step's shape and corner values."""
    from numpy_bert.text.encoding import segments_of

    positions = model.inputs(inputs["input_ids"]).position_ids
    columns: dict[str, Any] = {
        "position": range(len(tokens)) if positions is None else positions[0],
        "token": tokens,
        "id": inputs["input_ids"][0],
    }
    if model.parameters.embeddings.token_type_embeddings is not None:
        columns["segment"] = segments_of(inputs)[0]
    rows = list(zip(*columns.values(), strict=True))
    blocks = [
        f"{name}: input embedding, {model.config.embedding_features} features, {model.dtype}",
        table(tuple(columns), rows, right="rlrr"[: len(columns)]),
    ]
    captions = _captions(model)
    for step, array in named.items():
        caption = captions.get(step, "")
        blocks.append(f"{step}  {array.shape}  {caption}\n{_array_text(array)}")
    return "\n\n".join(blocks)


def _captions(model: numpy_bert.BertModel) -> dict[str, str]:
    """Return what each step is, in a model that may have other tables than BERT."""
    tables = model.parameters.embeddings
    total = "word + position" if tables.token_type_embeddings is None else _BERTS_SUM
    if tables.task_type_embeddings is not None:
        total = f"({total}) + task"
    config = model.config
    gets = "what the encoder gets"
    if config.embedding_features != config.hidden_size:
        gets = f"what is projected to the encoder's {config.hidden_size} features"
    return {**_CAPTIONS, "embeddings.sum": total, "embeddings": gets}


def _array_text(array: npt.NDArray[Any]) -> str:
    """Write an array as NumPy prints it: the corners of a large one, four decimals."""
    import numpy as np

    with np.printoptions(precision=4, suppress=True, threshold=50, edgeitems=3, linewidth=100):
        return str(array)


def _as_json(
    name: str,
    tokens: str | list[str],
    inputs: BatchEncoding,
    named: dict[str, npt.NDArray[Any]],
) -> dict[str, Any]:
    """Return the result for a machine, every value in full."""
    return {
        "model": name,
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
