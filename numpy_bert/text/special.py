"""The special tokens that a folder's small files state, read as transformers 5 reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from numpy_bert.errors import TokenizerError
from numpy_bert.messages import quoted

__all__ = ["SPECIAL_TOKENS", "StatedTokens", "as_token", "bad_setting", "merged", "stated_tokens"]

SPECIAL_TOKENS = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")

# In the order in which transformers gives ids to those that are not in the vocabulary.
_NAMED = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_EXTRA, _FORMER_EXTRA = "extra_special_tokens", "additional_special_tokens"
_SPECIFIC = "model_specific_special_tokens"
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
# With this member an object is a token to transformers, whose flags are as they stand.
_TYPE = "__type"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StatedTokens:
    """The special tokens that the files state.

    Attributes
    ----------
    named : mapping of str to AddedToken
        By their settings, ``cls_token`` and any other ``*_token``, in transformers' order.
    null : frozenset of str
        Those of BERT's five that are stated as null.
    extra : tuple of AddedToken
        Those without a name.
    special : frozenset of str
        What of added_tokens.json is special.
    """

    named: Mapping[str, AddedToken]
    null: frozenset[str]
    extra: tuple[AddedToken, ...]
    special: frozenset[str]


def merged(path: Path, stated: Mapping[str, Any], older: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of tokenizer_config.json with those of special_tokens_map.json.

    The latter win, but extra_special_tokens, which join, and additional_special_tokens, which
    count only where tokenizer_config.json has neither.

    Examples
    --------
    >>> one, two = {"additional_special_tokens": ["[A]"]}, {"additional_special_tokens": ["[B]"]}
    >>> merged(Path("tokenizer_config.json"), one, two)["extra_special_tokens"]
    ['[A]']
    """
    found = dict(stated)
    if _FORMER_EXTRA in found and not found.get(_EXTRA):
        found[_EXTRA] = found.pop(_FORMER_EXTRA)
    specific = {key: value for key, value in found.items() if _is_specific(key, value)}
    found = {key: value for key, value in found.items() if key not in specific}
    if isinstance(found.get(_EXTRA), dict):
        specific |= found.pop(_EXTRA)
    if specific:  # which then are all that count, as in transformers
        found[_SPECIFIC] = specific
    found |= {key: _older(path, key, value, found) for key, value in older.items()}
    if isinstance(found.get(_EXTRA), dict):
        found[_SPECIFIC] = {**(found.get(_SPECIFIC) or {}), **found.pop(_EXTRA)}
    return found


def _older(path: Path, key: str, value: object, found: Mapping[str, Any]) -> object:
    """Return a setting of special_tokens_map.json, whose objects are tokens, and always special."""
    if key == _EXTRA and isinstance(value, list):
        known = found.get(_EXTRA) or []
        names = [token.get("content") if isinstance(token, dict) else token for token in known]
        tokens = [as_token(path, key, token, special=True) for token in value]
        return [*known, *(token for token in tokens if token.content not in names)]
    if isinstance(value, dict) and key != _EXTRA and "content" in value:
        return as_token(path, key, value | {"special": True}, special=True)
    return value


def stated_tokens(path: Path, found: Mapping[str, Any]) -> StatedTokens:
    """Return the special tokens among merged settings."""
    named = {name: found[name] for name in _NAMED if found.get(name) is not None}
    # Only now may those of special_tokens_map.json count, too late for added_tokens.json.
    extra = found[_EXTRA] if _EXTRA in found else found.get(_FORMER_EXTRA)
    if not isinstance(extra, (list, type(None))):
        raise bad_setting(path, f"{_EXTRA} or {_FORMER_EXTRA}", extra, "a list of tokens")
    specific = found.get(_SPECIFIC) or {}
    if not isinstance(specific, dict):
        raise bad_setting(path, _SPECIFIC, specific, "an object of tokens by their names")
    others = {
        name: value
        for name, value in found.items()
        if _is_specific(name, value)
        or (_is_others(name) and (isinstance(value, AddedToken) or _is_object(value)))
    }
    entries = named | {name: value for name, value in (others | specific).items() if value != ""}
    plain = [*named.values(), *(found.get(_EXTRA) or ())]
    return StatedTokens(
        named={name: _named(path, name, entry) for name, entry in entries.items()},
        null=frozenset(name for name in SPECIAL_TOKENS if name in found and found[name] is None),
        extra=tuple(as_token(path, _EXTRA, entry, special=True) for entry in extra or ()),
        special=frozenset(str(token) for token in plain if isinstance(token, (str, AddedToken))),
    )


def _is_others(key: str) -> bool:
    """Tell whether a setting names a special token of somebody's own."""
    return key.endswith("_token") and key not in _NAMED


def _is_specific(key: str, value: object) -> bool:
    """Tell whether a setting is a special token of somebody's own, given as text."""
    return _is_others(key) and isinstance(value, str)


def _is_object(value: object) -> bool:
    """Tell whether a value is a token to transformers; an object of another kind is none."""
    return isinstance(value, dict) and value.get(_TYPE) == "AddedToken"


def _named(path: Path, name: str, entry: object) -> AddedToken:
    """Return a token that a setting names, which makes it special."""
    token = as_token(path, name, entry, special=not _is_object(entry))
    token.special = True
    return token


def bad_setting(path: Path, name: str, value: object, wanted: str) -> TokenizerError:
    """Say that a setting cannot be meant."""
    return TokenizerError(f"{path}: {name} = {quoted(repr(value))}; {wanted} was expected.")


def as_token(path: Path, name: str, entry: object, *, special: bool) -> AddedToken:
    """Return a token with the flags that are stated of it.

    Parameters
    ----------
    path, name
        The file and the setting, for messages.
    entry : str, dict or AddedToken
        What is stated.
    special : bool
        Whether it is special where that is not stated.

    Raises
    ------
    TokenizerError
        If it is no token.

    Examples
    --------
    >>> as_token(Path("tokenizer_config.json"), "mask_token", "<mask>", special=True).content
    '<mask>'
    """
    if isinstance(entry, AddedToken):
        return entry
    content = entry.get("content") if isinstance(entry, dict) else entry
    if not isinstance(content, str) or not content:
        raise bad_setting(path, name, entry, "a token")
    stated = entry if isinstance(entry, dict) else {}
    flags = {flag: stated[flag] for flag in _FLAGS if flag in stated}
    if not all(type(value) is bool for value in flags.values()):
        raise bad_setting(path, name, entry, "a token with flags that are true or false")
    flags.setdefault("special", special and _TYPE not in stated)
    return AddedToken(content, **flags)  # normalized, if not stated, where it is not special
