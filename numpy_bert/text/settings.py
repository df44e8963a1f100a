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
from numpy_bert.text.classes import TokenizerClass, named_class

__all__ = ["SPECIAL_TOKENS", "Settings", "read_settings"]

SPECIAL_TOKENS = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")

_DEFAULTS = dict(zip(SPECIAL_TOKENS, ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"), strict=True))
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")
# transformers writes 1e30 for "no limit".
_LARGEST_LENGTH = 1_000_000_000


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
        Those of the special tokens that the files state, with their flags.
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
    stated = _read(path)
    listed = stated.get("added_tokens_decoder")
    if listed is None:
        older = _read(folder / "special_tokens_map.json")
        stated |= {name: older[name] for name in (*SPECIAL_TOKENS, *_EXTRA) if older.get(name)}
    tokens = {
        name: _token(path, name, stated[name], special=True)
        for name in SPECIAL_TOKENS
        if stated.get(name)
    }
    special = _DEFAULTS | {name: token.content for name, token in tokens.items()}
    extra = tuple(_extra_tokens(path, stated))
    if listed is None:
        whole = {*special.values(), *(token.content for token in extra)}
        declared = _added_tokens(folder / "added_tokens.json", whole)
    else:
        declared = _declared_tokens(path, listed)
    sizes = _read(folder / "config.json")
    named = named_class(folder, stated, sizes)
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
        stated_tokens=tokens,
        lists_tokens=listed is not None,
        declared_tokens=declared,
        extra_tokens=extra,
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


def _bad(path: Path, name: str, value: object, wanted: str) -> TokenizerError:
    """Say that a setting cannot be meant."""
    return TokenizerError(f"{path}: {name} = {quoted(repr(value))}; {wanted} was expected.")


def _content(path: Path, name: str, token: object) -> str:
    """Return the text of a token that is written as text or as an object."""
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str) or not content:
        raise _bad(path, name, token, "a token")
    return content


def _token(path: Path, name: str, entry: object, *, special: bool) -> AddedToken:
    """Return a token with the flags that are stated of it."""
    content = _content(path, name, entry)
    stated = entry if isinstance(entry, dict) else {}
    flags = {flag: stated[flag] for flag in _FLAGS if flag in stated}
    if not all(type(value) is bool for value in flags.values()):
        raise _bad(path, name, entry, "a token with flags that are true or false")
    flags.setdefault("special", special)
    flags.setdefault("normalized", not flags["special"])
    return AddedToken(content, **flags)


def _extra_tokens(path: Path, stated: Mapping[str, Any]) -> list[AddedToken]:
    """Return the special tokens beyond BERT's five; the newer name of the setting comes first."""
    name = next((name for name in _EXTRA if stated.get(name)), None)
    entries = [] if name is None else stated[name]
    entries = list(entries.values()) if isinstance(entries, dict) else entries
    if not isinstance(entries, list):
        raise _bad(path, str(name), entries, "a list of tokens")
    return [_token(path, str(name), entry, special=True) for entry in entries]


def _declared_tokens(path: Path, listed: object) -> dict[int, AddedToken]:
    """Read added_tokens_decoder: the id, as text, and the token with its flags."""
    name = "added_tokens_decoder"
    if not isinstance(listed, dict) or not all(k.isascii() and k.isdecimal() for k in listed):
        raise _bad(path, name, listed, "an object of tokens by their ids")
    return {
        int(index): _token(path, f"{name}[{index}]", listed[index], special=False)
        for index in sorted(listed, key=int)
    }


def _added_tokens(path: Path, special: set[str]) -> dict[int, AddedToken]:
    """Read added_tokens.json, which gives ids by tokens."""
    tokens = _read(path)
    for content, index in tokens.items():
        if type(index) is not int:
            raise _bad(path, quoted(content), index, "an id")
    return {
        tokens[content]: _token(path, quoted(content), content, special=content in special)
        for content in sorted(tokens, key=tokens.__getitem__)
    }


def _switch(
    path: Path, stated: Mapping[str, Any], name: str, *, default: bool | None = None
) -> bool | None:
    """Return a setting that is true or false; strip_accents may be null, for "as lower-casing"."""
    value = stated.get(name, default)
    if type(value) is bool or (value is None and name == "strip_accents"):
        return value
    raise _bad(path, name, value, "true or false")


def _max_length(path: Path, stated: Mapping[str, Any]) -> int | None:
    """Return model_max_length; numbers beyond all models stand for no limit."""
    value = stated.get("model_max_length")
    if value is None or (type(value) in (int, float) and value >= _LARGEST_LENGTH):
        return None
    if type(value) is not int or value < 1:
        raise _bad(path, "model_max_length", value, "a number of tokens")
    return value


def _size(sizes: Mapping[str, Any], name: str) -> int | None:
    """Return one of the model's sizes; what is wrong with it is BertConfig's to say."""
    value = sizes.get(name)
    return value if type(value) is int and value > 0 else None


def _side(path: Path, stated: Mapping[str, Any], name: str) -> str:
    """Return the side of the text at which tokens are added or cut."""
    side = stated.get(name, "right")
    if side not in ("left", "right"):
        raise _bad(path, name, side, "'left' or 'right'")
    return str(side)
