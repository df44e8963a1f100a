"""Make the embedded checkpoint numpy_bert/demo from scripts/demo_vocab.txt.

A small BertForPreTraining, initialized as BERT is and not trained, so that everything in the
package can be run without a network. The same vocabulary and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from numpy_bert.config import BertConfig
from numpy_bert.files import write_atomically
from numpy_bert.parameters import pretraining_shapes

ROOT = Path(__file__).resolve().parents[1]
VOCAB_FILE = ROOT / "scripts" / "demo_vocab.txt"
MAX_BYTES = 4 * 1000 * 1000
CUT = 2  # standard deviations

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4
CONFIG: dict[str, Any] = {
    "architectures": ["BertForPreTraining"],
    "model_type": "bert",
    "vocab_size": 8000,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "_numpy_bert_demo": "initialized, not trained",
}
TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "model_max_length": CONFIG["max_position_embeddings"],
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def main() -> None:
    """Make every file in memory, check their size, then write them."""
    parser = argparse.ArgumentParser(description="Make the embedded demo checkpoint.")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=ROOT / "numpy_bert" / "demo",
        help="folder to write to (default: numpy_bert/demo)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default: 0)")
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error("--seed must be 0 or more")
    output: Path = arguments.output
    files = make_files(arguments.seed)
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise SystemExit(f"The demo takes {total} bytes, {MAX_BYTES} are allowed.")
    output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(output / name, content)
        print(f"{len(content):>9,} {name}")
    print(f"{total:>9,} in all")


def make_files(seed: int) -> dict[str, bytes]:
    """Return the content of each file of the checkpoint."""
    weights = make_weights(seed)
    files = {
        "config.json": as_json(CONFIG),
        "tokenizer.json": as_json(make_tokenizer(read_vocab(VOCAB_FILE)), compact=True),
        "tokenizer_config.json": as_json(TOKENIZER_CONFIG),
        "model.safetensors": save(weights, metadata={"format": "pt"}),
    }
    parameters = sum(weight.size for weight in weights.values())
    sizes = {name: len(content) for name, content in files.items()}
    files["README.md"] = make_card(seed, len(weights), parameters, sizes).encode()
    return files


def read_vocab(path: Path) -> list[str]:
    """Read the tokens in the order of their ids."""
    tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(tokens) != CONFIG["vocab_size"] or len(set(tokens)) != len(tokens):
        raise SystemExit(f"{path.name}: {CONFIG['vocab_size']} different tokens expected.")
    if tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
        raise SystemExit(f"{path.name}: must begin with {' '.join(SPECIAL_TOKENS)}.")
    return tokens


def make_weights(seed: int) -> dict[str, npt.NDArray[np.float16]]:
    """Initialize all tensors as Google's code does: the decoder is tied, so it is not stored."""
    weights: dict[str, npt.NDArray[np.float16]] = {}
    for name, shape in pretraining_shapes(BertConfig.from_dict(CONFIG)).items():
        # As published: the model's tensors bear a prefix that the heads' do not.
        key = name if name.startswith("cls.") else f"bert.{name}"
        if key.endswith("bias"):
            values = np.zeros(shape, np.float32)
        elif key.endswith("LayerNorm.weight"):
            values = np.ones(shape, np.float32)
        else:
            values = truncated_normal(seed, key, shape)
        # safetensors 0.8 writes wrong values for an array that is not contiguous
        weights[key] = np.ascontiguousarray(values.astype(np.float16))
    return weights


def truncated_normal(seed: int, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Draw a normal, cut at two standard deviations, from a stream of the tensor's own.

    As `tf.truncated_normal_initializer(stddev=initializer_range)`, which Google's BERT uses:
    what falls outside is drawn again, so the values' own deviation is 0.88 of the given one.
    """
    # PCG64 by name: default_rng may become another generator one day
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(key.encode())]))
    values = generator.standard_normal(math.prod(shape), dtype=np.float32)
    while (outside := np.flatnonzero(np.abs(values) > CUT)).size:
        values[outside] = generator.standard_normal(outside.size, dtype=np.float32)
    return values.reshape(shape) * np.float32(CONFIG["initializer_range"])


def make_tokenizer(tokens: list[str]) -> dict[str, Any]:
    """Return tokenizer.json: BERT's uncased WordPiece, without padding and truncation."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": tokens.index(token), "content": token, **flags, "special": True}
            for token in SPECIAL_TOKENS
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": make_template(tokens),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: index for index, token in enumerate(tokens)},
        },
    }


def make_template(tokens: list[str]) -> dict[str, Any]:
    """Return the post-processor: [CLS] A [SEP], and for a pair B [SEP] with type 1."""
    cls = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    first, second = (
        [
            {"Sequence": {"id": name, "type_id": type_id}},
            {"SpecialToken": {"id": "[SEP]", "type_id": type_id}},
        ]
        for name, type_id in (("A", 0), ("B", 1))
    )
    return {
        "type": "TemplateProcessing",
        "single": [cls, *first],
        "pair": [cls, *first, *second],
        "special_tokens": {
            token: {"id": token, "ids": [tokens.index(token)], "tokens": [token]}
            for token in ("[CLS]", "[SEP]")
        },
    }


CARD = """\
---
license: apache-2.0
language: en
library_name: numpy_bert
tags:
  - bert
  - numpy
  - demo
  - not-trained
---

# The demo checkpoint of numpy_bert

A small BERT that comes inside the package, so that everything in it runs with no network:

```python
from numpy_bert import BertModel, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("demo")
model = BertModel.from_pretrained("demo")
```

**Its weights are initialized as BERT's are and NOT trained. Its vectors and its predictions mean
nothing.** It shows shapes, names, files and speed; for meaning, load a trained checkpoint.

## The model

| | |
|---|---|
| architecture | BertForPreTraining: encoder, pooler, both pre-training heads |
| layers, hidden size, heads, intermediate size | {layers}, {hidden}, {heads}, {inner} |
| vocabulary, positions, token types | {vocab:,}, {positions}, {types} |
| parameters | {parameters:,} in {tensors} tensors, stored as float16 |
| decoder of the masked-word head | tied to the word embeddings, not stored again |
| model.safetensors | {model_bytes:,} bytes |
| tokenizer.json | {tokenizer_bytes:,} bytes |

Weights are drawn from a normal with standard deviation {deviation}, truncated at two standard
deviations (`truncated_normal_initializer` in Google's code); biases are zero, LayerNorm weights
one. The row of [PAD] is drawn like any other. Seed: {seed}.

## The vocabulary

{vocab:,} lower-case WordPieces, learnt with the `tokenizers` library from

- *Alice's Adventures in Wonderland* by Lewis Carroll and *Pride and Prejudice* by Jane Austen, in
  the editions of Project Gutenberg: public domain;
- the English sentences of [Tatoeba](https://tatoeba.org), by its contributors, under
  [CC BY 2.0 FR](https://creativecommons.org/licenses/by/2.0/fr/), as published in
  facebookresearch/LASER; changed: only their words and pieces of words are here.

## Make it again

From the root of the repository:

```
python scripts/make_demo.py --seed {seed}
```

It reads `scripts/demo_vocab.txt`, which `scripts/make_demo_vocab.py` wrote, and gives the same
bytes each time. `tokenizer.json` holds the whole tokenizer; there is no `vocab.txt`.

## Limits

- Not trained: not for search, similarity, classification or any other real use.
- English only; capitals and accents are dropped. A word with any other letter than a to z is
  [UNK], and so is a symbol that is not in the vocabulary.
- At most {positions} tokens, [CLS] and [SEP] included.
"""


def make_card(seed: int, tensors: int, parameters: int, sizes: dict[str, int]) -> str:
    """Return the model card with the figures filled in."""
    return CARD.format(
        layers=CONFIG["num_hidden_layers"],
        hidden=CONFIG["hidden_size"],
        heads=CONFIG["num_attention_heads"],
        inner=CONFIG["intermediate_size"],
        vocab=CONFIG["vocab_size"],
        positions=CONFIG["max_position_embeddings"],
        types=CONFIG["type_vocab_size"],
        deviation=CONFIG["initializer_range"],
        parameters=parameters,
        tensors=tensors,
        model_bytes=sizes["model.safetensors"],
        tokenizer_bytes=sizes["tokenizer.json"],
        seed=seed,
    )


def as_json(value: dict[str, Any], *, compact: bool = False) -> bytes:
    """Encode as UTF-8 JSON with a newline at the end."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    return (json.dumps(value, ensure_ascii=False, **layout) + "\n").encode()


if __name__ == "__main__":
    main()
