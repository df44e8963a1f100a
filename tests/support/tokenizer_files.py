"""Small tokenizer folders for tests, in both spellings and with whatever is wrong wanted."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy_bert import BertTokenizer
from numpy_bert.text.backend import Backend, load_backend

# Every letter, so that any lower-case word can be spelt, and some words, marks and scripts.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = (
    *SPECIAL,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *("the", "un", "##aff", "##able", "hello", "Hello", "world", "\u00e9t\u00e9", "ete"),
    *("[", "]", ",", ".", "'", "\u4e2d", "\u6587", "\u2028x", "\x0by"),
)


class PanicException(BaseException):
    """Named as the one that a Rust panic raises, which cannot be imported."""


def tokenizer_json(tokens: Sequence[str] = TOKENS, **changes: Any) -> dict[str, Any]:
    """Return tokenizer.json's content for BERT's WordPiece, with some members replaced."""
    cls, sep = ({"SpecialToken": {"id": t, "type_id": i}} for t, i in (("[CLS]", 0), ("[SEP]", 0)))
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    last = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(tokens.index(t), t) for t in SPECIAL if t in tokens],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, last],
            "special_tokens": {
                t: {"id": t, "ids": [tokens.index(t)], "tokens": [t]}
                for t in ("[CLS]", "[SEP]")
                if t in tokens
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: index for index, token in enumerate(tokens)},
        },
    }
    return copy.deepcopy(document | changes)


def added_token(index: int, content: str, **flags: bool) -> dict[str, Any]:
    """Return an entry of tokenizer.json's added_tokens."""
    default = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, "special": True} | default | flags


def write_folder(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write files by name: bytes as they are, text as UTF-8, a Path's content, else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, Path):
            data = content.read_bytes()
        elif isinstance(content, bytes):
            data = content
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            data = text.encode("utf-8")
        (folder / name).write_bytes(data)
    return folder


def vocab_txt(tokens: Sequence[str] = TOKENS) -> str:
    """Return vocab.txt's content."""
    return "".join(f"{token}\n" for token in tokens)


def load(folder: Path, **files: Any) -> Backend:
    """Load a backend from files named by their stems; vocab is vocab.txt, all others are JSON."""
    endings = {"vocab": ".txt"}
    named = {f"{name}{endings.get(name, '.json')}": content for name, content in files.items()}
    return load_backend(write_folder(folder, named))


def ids(backend: Backend, text: str, pair: str | None = None) -> list[int]:
    """Return what a backend makes of a text or pair."""
    return list(backend.tokenizer.encode(text, pair).ids)


def spelt(*tokens: str) -> list[int]:
    """Return the ids of TOKENS."""
    return [TOKENS.index(token) for token in tokens]


ROBERTAS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
WORDS = ("\u2581the", "\u2581", "t", "h", "e", "l", "o", "\u2581world", "\u2581H", "\u4e2d", "a")


def unigram_json(special: Sequence[str] = ROBERTAS, **changes: Any) -> dict[str, Any]:
    """Return tokenizer.json's content for a Unigram as XLM-R's, whose pairs have two ends between.

    Parameters
    ----------
    special : sequence of str
        The names of [CLS], [PAD], [SEP], [UNK] and [MASK].
    changes : object
        Members that are replaced.
    """
    cls, _, sep, _, mask = special
    pieces = [[token, 0.0] for token in special[:4]]
    pieces += [[word, -float(rank)] for rank, word in enumerate(WORDS, 1)] + [[mask, 0.0]]
    ids = {token: index for index, (token, _) in enumerate(pieces)}
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in (cls, sep))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(ids[token], token, lstrip=token == mask)
            for token in sorted(special, key=ids.__getitem__)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, space | {"split": True}],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (cls, sep)
            },
        },
        "decoder": space | {"split": True},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False},
    }
    return copy.deepcopy(document | changes)


def bpe_json() -> dict[str, Any]:
    """Return tokenizer.json's content for byte-pair encoding in BERT's frame."""
    words = ("th", "the", "he", "wo")
    tokens = (*SPECIAL, *LETTERS, *words)
    model = {
        "type": "BPE",
        "unk_token": "[UNK]",
        "vocab": {token: index for index, token in enumerate(tokens)},
        "merges": [["t", "h"], ["th", "e"], ["h", "e"], ["w", "o"]],
    }
    whitespace = {"type": "Whitespace"}
    return tokenizer_json(tokens, model=model, pre_tokenizer=whitespace, decoder=None)


def wordlevel_json() -> dict[str, Any]:
    """Return tokenizer.json's content for a tokenizer of whole words in BERT's frame."""
    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary}
    whitespace = {"type": "Whitespace"}
    return tokenizer_json(model=model, pre_tokenizer=whitespace, decoder=None)


def small(folder: Path, **config: Any) -> BertTokenizer:
    """Return a tokenizer of few words, with these settings."""
    files = {"tokenizer.json": tokenizer_json(), "tokenizer_config.json": config}
    return BertTokenizer.from_pretrained(write_folder(folder, files))


def tokens_of(tokenizer: BertTokenizer, text: str, **options: Any) -> list[str]:
    """Return the tokens of a text in a call with these options."""
    ids = tokenizer(text, **options)["input_ids"]
    return list(tokenizer.convert_ids_to_tokens(ids))
