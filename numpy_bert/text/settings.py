"""What the small files beside a tokenizer state: tokenizer_config.json and its older kin."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from numpy_bert.errors import TokenizerError
from numpy_bert.files import quoted, read_json
from numpy_bert.text.attributes import LARGEST_LENGTH
from numpy_bert.text.classes import TokenizerClass, named_class
from numpy_bert.text.special import SPECIAL_TOKENS, as_token, bad_setting, merged, stated_tokens

__all__ = ["SPECIAL_TOKENS", "Settings", "read_settings"]

_DEFAULTS = dict(zip(SPECIAL_TOKENS, ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"), strict=True))
_SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Settings:
    """What a folder's files state about its tokenizer, besides the tokenizer itself.

    Attributes
    ----------
    tokenizer_class : TokenizerClass
        What the files name, or transformers takes by default.
    special_tokens : mapping of str to str
        ``cls_token`` and so on; BERT's by default.
    stated_tokens : mapping of str to AddedToken
        Those of the special tokens that the files state, with their flags; not only BERT's five,
        but any ``*_token``, in the order in which new ids are given.
    null_tokens : frozenset of str
        Those of BERT's five that the files state as null.
    lists_tokens : bool
        Whether tokenizer_config.json has ``added_tokens_decoder``, which then lists all.
    declared_tokens : mapping of int to AddedToken
        Tokens that are taken whole, by the ids that they must have.
    extra_tokens : tuple of AddedToken
        Further special tokens, of which no id is stated.
    switches : mapping of str to bool or None
        Those of do_lower_case, tokenize_chinese_chars and strip_accents that are stated.
    split_special_tokens : bool
        Whether ``[SEP]`` in a text is plain characters unless a call says otherwise.
    cleans_up : bool
        Whether decoding removes the spaces before punctuation.
    model_max_length, vocab_size : int or None
        Tokens that the model takes, and rows of its table, where the files say so.
    padding_side, truncation_side : str
        ``"right"`` or ``"left"``.
    """

    tokenizer_class: TokenizerClass
    special_tokens: Mapping[str, str]
    stated_tokens: Mapping[str, AddedToken]
    null_tokens: frozenset[str]
    lists_tokens: bool
    declared_tokens: Mapping[int, AddedToken]
    extra_tokens: tuple[AddedToken, ...]
    switches: Mapping[str, bool | None]
    split_special_tokens: bool
    cleans_up: bool
    model_max_length: int | None
    vocab_size: int | None
    padding_side: str
    truncation_side: str


def read_settings(folder: Path) -> Settings:
    """Read what the files state; raise TokenizerError at what cannot be meant.

    They are tokenizer_config.json; where that lists no added tokens, the older
    special_tokens_map.json and added_tokens.json, as in transformers; and the model's config.json.
    """
    path = folder / "tokenizer_config.json"
    config = _read(path)
    sizes = _read(folder / "config.json")
    named = named_class(folder, config, sizes)
    listed = config.get("added_tokens_decoder")
    older = _read(folder / "special_tokens_map.json") if listed is None else {}
    stated = merged(path, config, older)
    tokens = stated_tokens(path, stated)
    special = {
        name: tokens.named[name].content if name in tokens.named else default
        for name, default in _DEFAULTS.items()
    }
    if listed is None:
        declared = _added_tokens(folder / "added_tokens.json", tokens.special)
    else:
        declared = _declared_tokens(path, listed)
    switches = {name: _switch(path, stated, name) for name in _SWITCHES if name in stated}
    if named.lowers_always and switches.pop("do_lower_case", True) is False:
        warnings.warn(
            f"{path}: do_lower_case is False, and is not obeyed: {named.name} lower-cases, as in "
            "transformers 5; in transformers 4 it obeyed.",
            stacklevel=4,
        )
    return Settings(
        tokenizer_class=named,
        special_tokens=special,
        stated_tokens=tokens.named,
        null_tokens=tokens.null,
        lists_tokens=listed is not None,
        declared_tokens=declared,
        extra_tokens=tokens.extra,
        switches=switches,
        split_special_tokens=bool(_switch(path, stated, "split_special_tokens", default=False)),
        cleans_up=bool(stated.get("clean_up_tokenization_spaces")),
        model_max_length=_max_length(path, stated) or _size(sizes, "max_position_embeddings"),
        vocab_size=_size(sizes, "vocab_size"),
        padding_side=_side(path, stated, "padding_side"),
        truncation_side=_side(path, stated, "truncation_side"),
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not there states nothing."""
    return read_json(path, error=TokenizerError, limit=100_000_000) if path.exists() else {}


def _declared_tokens(path: Path, listed: object) -> dict[int, AddedToken]:
    """Read added_tokens_decoder: the id, as text, and the token with its flags."""
    name = "added_tokens_decoder"
    if not isinstance(listed, dict) or not all(k.isascii() and k.isdecimal() for k in listed):
        raise bad_setting(path, name, listed, "an object of tokens by their ids")
    return {
        int(index): as_token(path, f"{name}[{index}]", listed[index], special=False)
        for index in sorted(listed, key=int)
    }


def _added_tokens(path: Path, special: frozenset[str]) -> dict[int, AddedToken]:
    """Read added_tokens.json, which gives ids by tokens."""
    tokens = _read(path)
    for content, index in tokens.items():
        if type(index) is not int:
            raise bad_setting(path, quoted(content), index, "an id")
    # What is not special stays normalized, even if a setting makes it special afterwards.
    return {
        tokens[content]: AddedToken(
            as_token(path, quoted(content), content, special=True).content,
            special=content in special,
            normalized=content not in special,
        )
        for content in sorted(tokens, key=tokens.__getitem__)
    }


def _switch(
    path: Path, stated: Mapping[str, Any], name: str, *, default: bool | None = None
) -> bool | None:
    """Return a setting that is true or false; strip_accents may be null, for "as lower-casing"."""
    value = stated.get(name, default)
    if type(value) is bool or (value is None and name == "strip_accents"):
        return value
    raise bad_setting(path, name, value, "true or false")


def _max_length(path: Path, stated: Mapping[str, Any]) -> int | None:
    """Return model_max_length, formerly max_len; numbers beyond all models stand for no limit."""
    name = "model_max_length" if "model_max_length" in stated else "max_len"
    value = stated.get(name)
    if value is None or (type(value) in (int, float) and value >= LARGEST_LENGTH):
        return None
    if type(value) is not int or value < 1:
        raise bad_setting(path, name, value, "a number of tokens")
    return value


def _size(sizes: Mapping[str, Any], name: str) -> int | None:
    """Return one of the model's sizes; what is wrong with it is BertConfig's to say."""
    value = sizes.get(name)
    return value if type(value) is int and value > 0 else None


def _side(path: Path, stated: Mapping[str, Any], name: str) -> str:
    """Return the side of the text at which tokens are added or cut."""
    side = stated.get(name, "right")
    if side not in ("left", "right"):
        raise bad_setting(path, name, side, "'left' or 'right'")
    return str(side)
