"""What the small files beside a tokenizer state: tokenizer_config.json and its older kin."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tokenizers import AddedToken

from numpy_bert.errors import TokenizerError
from numpy_bert.files import read_json
from numpy_bert.messages import quoted
from numpy_bert.text.attributes import LARGEST_LENGTH, stated_limit
from numpy_bert.text.classes import TokenizerClass, named_class
from numpy_bert.text.special import SPECIAL_TOKENS, as_token, bad_setting, merged, stated_tokens

__all__ = ["SPECIAL_TOKENS", "Settings", "StatedId", "read_settings"]

_DEFAULTS = dict(zip(SPECIAL_TOKENS, ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"), strict=True))
_ID = re.compile(r"-?[0-9]{1,19}")
_SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")


class StatedId(NamedTuple):
    """The id that a file states of an added token."""

    file: str
    content: str
    number: int


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
        Tokens that are taken whole, by the ids that are stated of them, in their order; of two of
        one id the last.
    stated_ids : tuple of StatedId
        What is stated of their ids.
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
    notes : tuple of str
        How settings that are oddly stated are taken, as sentences.
    """

    tokenizer_class: TokenizerClass
    special_tokens: Mapping[str, str]
    stated_tokens: Mapping[str, AddedToken]
    null_tokens: frozenset[str]
    lists_tokens: bool
    declared_tokens: Mapping[int, AddedToken]
    stated_ids: tuple[StatedId, ...]
    extra_tokens: tuple[AddedToken, ...]
    switches: Mapping[str, bool | None]
    split_special_tokens: bool
    cleans_up: bool
    model_max_length: int | None
    vocab_size: int | None
    padding_side: str
    truncation_side: str
    notes: tuple[str, ...]


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
        declared, ids = _added_tokens(folder / "added_tokens.json", tokens.special)
    else:
        declared, ids = _declared_tokens(path, listed)
    length, notes = _max_length(path, stated)
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
        stated_ids=ids,
        extra_tokens=tokens.extra,
        switches=switches,
        split_special_tokens=bool(_switch(path, stated, "split_special_tokens", default=False)),
        cleans_up=bool(stated.get("clean_up_tokenization_spaces")),
        model_max_length=length or _size(sizes, "max_position_embeddings"),
        vocab_size=_size(sizes, "vocab_size"),
        padding_side=_side(path, stated, "padding_side"),
        truncation_side=_side(path, stated, "truncation_side"),
        notes=tuple(notes),
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not there states nothing.

    A number that is not finite stops nobody: what is read is checked.
    """
    if not path.exists():
        return {}
    return read_json(path, error=TokenizerError, limit=100_000_000, finite=False)


_Declared: TypeAlias = tuple[dict[int, AddedToken], tuple[StatedId, ...]]


def _declared_tokens(path: Path, listed: object) -> _Declared:
    """Read added_tokens_decoder: the id, as text, and the token with its flags."""
    name = "added_tokens_decoder"
    if not isinstance(listed, dict) or not all(map(_ID.fullmatch, listed)):
        raise bad_setting(path, name, listed, "an object of tokens by their ids")
    tokens = {
        int(index): as_token(path, f"{name}[{index}]", entry, special=False)
        for index, entry in sorted(listed.items(), key=lambda item: int(item[0]))
    }
    return tokens, tuple(StatedId(path.name, t.content, index) for index, t in tokens.items())


def _added_tokens(path: Path, special: frozenset[str]) -> _Declared:
    """Read added_tokens.json, which gives ids by tokens."""
    stated = _read(path)
    for content, index in stated.items():
        if type(index) is not int:
            raise bad_setting(path, quoted(content), index, "an id")
    # What is not special stays normalized, even if a setting makes it special afterwards.
    tokens = {
        stated[content]: AddedToken(
            as_token(path, quoted(content), content, special=True).content,
            special=content in special,
            normalized=content not in special,
        )
        for content in sorted(stated, key=stated.__getitem__)
    }
    return tokens, tuple(StatedId(path.name, content, stated[content]) for content in stated)


def _switch(
    path: Path, stated: Mapping[str, Any], name: str, *, default: bool | None = None
) -> bool | None:
    """Return a setting that is true or false; strip_accents may be null, for "as lower-casing"."""
    value = stated.get(name, default)
    if type(value) is bool or (value is None and name == "strip_accents"):
        return value
    raise bad_setting(path, name, value, "true or false")


def _max_length(path: Path, stated: Mapping[str, Any]) -> tuple[int | None, list[str]]:
    """Return model_max_length, formerly max_len, and what is to be said of how it is stated."""
    name = "model_max_length" if "model_max_length" in stated else "max_len"
    value = stated.get(name)
    try:
        found = stated_limit(value)
    except ValueError:
        raise bad_setting(path, name, value, "a number of tokens") from None
    is_number = type(value) in (int, float)
    if value is None or (is_number and value >= LARGEST_LENGTH) or repr(found) == repr(value):
        return found, []
    taken = "no limit" if found is None else f"{found} tokens"
    return found, [f"{name} = {quoted(repr(value))} in {path.name} is taken for {taken}."]


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
