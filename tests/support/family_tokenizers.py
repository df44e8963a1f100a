"""Folders of RoBERTa's, XLM-R's, CamemBERT's and MPNet's tokenizers, trained on a little text."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.support.hard_texts import HARD_TEXTS
from tests.support.tokenizer_files import ROBERTAS, added_token, tokenizer_json

STARTS = ("<s>", "<pad>", "</s>", "<unk>")
# What a small vocabulary is trained on: words that recur, in three languages.
PROSE = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book her sister was reading.",
    "Es war einmal ein Mann, der hatte eine Tochter, die hie\u00df die kluge Else.",
    "Il \u00e9tait une fois une petite fille de village, la plus jolie qu'on e\u00fbt su voir.",
)
TRAINED = (*PROSE * 3, *(text for text in HARD_TEXTS if len(text) < 300))


@cache
def byte_pairs() -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Return the vocabulary and the merges of a byte-level byte-pair tokenizer, as RoBERTa's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[*STARTS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINED, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = model["vocab"] | {"<mask>": len(model["vocab"])}
    return vocabulary, tuple((first, second) for first, second in model["merges"])


@cache
def pieces(starts: Sequence[str] = STARTS) -> tuple[tuple[str, float], ...]:
    """Return the pieces of a Unigram, as XLM-R's, the mask's last."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=[*starts], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TRAINED, trainer)
    found = json.loads(tokenizer.to_str())["model"]["vocab"]
    return tuple((piece, score) for piece, score in [*found, ("<mask>", 0.0)])


# CamemBERT's first pieces, some of which are of no use.
CAMEMBERTS = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")


@cache
def words() -> tuple[str, ...]:
    """Return a vocabulary of WordPiece in RoBERTa's frame, as MPNet's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=[*STARTS], show_progress=False
    )
    tokenizer.train_from_iterator([*TRAINED, *(text.lower() for text in TRAINED)], trainer)
    vocabulary = tokenizer.get_vocab()
    return (*sorted(vocabulary, key=vocabulary.__getitem__), "[UNK]", "<mask>")


def merges_txt() -> str:
    """Return merges.txt's content."""
    lines = [" ".join(pair) for pair in byte_pairs()[1]]
    return "\n".join(("#version: 0.2", *lines, ""))


def _framed(ids: dict[str, int]) -> dict[str, Any]:
    """Return RoBERTa's frame, as tokenizer.json has it."""
    return {
        "type": "RobertaProcessing",
        "sep": ["</s>", ids["</s>"]],
        "cls": ["<s>", ids["<s>"]],
        "trim_offsets": True,
        "add_prefix_space": False,
    }


def _added(ids: dict[str, int], names: Sequence[str] = ROBERTAS) -> list[dict[str, Any]]:
    """Return the added tokens, as published ones have them: the mask takes the space before it."""
    return [
        added_token(ids[name], name, lstrip=name == "<mask>")
        for name in sorted(names, key=ids.__getitem__)
    ]


def roberta_json(**changes: Any) -> dict[str, Any]:
    """Return tokenizer.json's content as roberta-base's is published."""
    ids, merges = byte_pairs()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(ids),
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": _framed(ids),
        "decoder": level | {"add_prefix_space": True},
        "model": {
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "vocab": ids,
            "merges": [" ".join(pair) for pair in merges],
        },
    }
    return document | changes


def mpnet_json(**changes: Any) -> dict[str, Any]:
    """Return tokenizer.json's content as all-mpnet-base-v2's is published."""
    ids = {word: index for index, word in enumerate(words())}
    document = tokenizer_json(words()) | {
        "added_tokens": _added(ids, ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")),
        "post_processor": _framed(ids),
    }
    return document | changes


def xlm_roberta_json(starts: Sequence[str] = STARTS, **changes: Any) -> dict[str, Any]:
    """Return tokenizer.json's content as xlm-roberta-base's or camembert-base's is published."""
    found = pieces(starts)
    ids = {piece: index for index, (piece, _) in enumerate(found)}
    space = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(ids, (*starts, "<mask>")),
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, space],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]}
                for token in ("<s>", "</s>")
            },
        },
        "decoder": space,
        "model": {"unk_id": ids["<unk>"], "vocab": [list(piece) for piece in found]},
    }
    return document | changes


def charsmap(source: str, target: str) -> bytes:
    """Return a table as SentencePiece compiles it, of one entry: a double array and its texts."""
    units = np.zeros(1024, np.uint32)
    place = 0
    for number, byte in enumerate(source.encode()):
        offset = 256 * (number + 1)
        units[place] |= np.uint32(offset << 10)
        place = place ^ offset ^ byte
        units[place] = byte
    units[place] |= np.uint32((1 << 8) | (768 << 10))  # it has a value, 768 places from it
    units[place ^ 768] = np.uint32((1 << 31) | 0)
    table = units.astype("<u4").tobytes()
    return len(table).to_bytes(4, "little") + table + target.encode() + b"\0"


def charsmap_text(source: str, target: str) -> str:
    """Return such a table as tokenizer.json has it."""
    return b64encode(charsmap(source, target)).decode()
