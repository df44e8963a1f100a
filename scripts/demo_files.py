"""The demo's files: config, tokenizer, and weights as BERT's are initialized."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.files import write_atomically
from numpy_bert.parameters import pretraining_shapes

VOCAB_FILE = Path(__file__).resolve().parent / "demo_vocab.txt"
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


def make_files(weights: dict[str, Array], config: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of a checkpoint by their names; weights are stored as float16."""
    # safetensors 0.8 writes wrong values for an array that is not contiguous
    halves = {key: np.ascontiguousarray(array.astype(np.float16)) for key, array in weights.items()}
    return {
        "config.json": as_json(config),
        "tokenizer.json": as_json(make_tokenizer(read_vocab(VOCAB_FILE)), compact=True),
        "tokenizer_config.json": as_json(TOKENIZER_CONFIG),
        "model.safetensors": save(halves, metadata={"format": "pt"}),
    }


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write each file whole."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, content)


def read_vocab(path: Path) -> list[str]:
    """Read the tokens in the order of their ids."""
    tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(tokens) != CONFIG["vocab_size"] or len(set(tokens)) != len(tokens):
        raise SystemExit(f"{path.name}: {CONFIG['vocab_size']} different tokens expected.")
    if tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
        raise SystemExit(f"{path.name}: must begin with {' '.join(SPECIAL_TOKENS)}.")
    return tokens


def make_weights(seed: int) -> dict[str, Array]:
    """Initialize all tensors as Google's code does: the decoder is tied, so it is not stored."""
    weights: dict[str, Array] = {}
    for name, shape in pretraining_shapes(BertConfig.from_dict(CONFIG)).items():
        # As published: the model's tensors bear a prefix that the heads' do not.
        key = name if name.startswith("cls.") else f"bert.{name}"
        if key.endswith("bias"):
            values = np.zeros(shape, np.float32)
        elif key.endswith("LayerNorm.weight"):
            values = np.ones(shape, np.float32)
        else:
            values = truncated_normal(seed, key, shape)
        weights[key] = values
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


def as_json(value: Any, *, compact: bool = False) -> bytes:
    """Encode as UTF-8 JSON with a newline at the end."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    return (json.dumps(value, ensure_ascii=False, **layout) + "\n").encode()
