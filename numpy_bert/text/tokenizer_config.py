"""What the small files beside a tokenizer state: tokenizer_config.json and its older kin."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tokenizers import AddedToken

from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.errors import TokenizerError
from numpy_bert.files import is_listed, read_json
from numpy_bert.messages import must_be, quoted, shown
from numpy_bert.reprs import short_repr
from numpy_bert.text.classes import TokenizerClass, named_class

__all__ = [
    "FLAGS",
    "LARGEST_FILE",
    "LARGEST_LENGTH",
    "LARGEST_VOCABULARY",
    "SPECIAL_TOKENS",
    "Settings",
    "StatedId",
    "check_whole",
    "read_settings",
    "stated_limit",
]

# The largest tokenizer.json and vocab.txt that are read, in bytes: those of the most languages have
# 17 and 5 million.
LARGEST_FILE = 50_000_000
LARGEST_VOCABULARY = 16_000_000
# The largest of the other files. With 1 MB for 6,000 added tokens a list of all has the most, and
# Python's objects take up to 30 times the room of their text.
_LARGEST_SETTINGS = 4 << 20
# transformers writes 1e30 for "no limit".
LARGEST_LENGTH = 1_000_000_000
SPECIAL_TOKENS = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
_DEFAULTS = dict(zip(SPECIAL_TOKENS, ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"), strict=True))
# In the order in which transformers gives ids to those that are not in the vocabulary.
_NAMED = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_EXTRA, _FORMER_EXTRA = "extra_special_tokens", "additional_special_tokens"
_SPECIFIC = "model_specific_special_tokens"
_OLDER = "special_tokens_map.json"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
# With this member an object is a token to transformers, whose flags are as they stand.
_TYPE = "__type"
_SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")
_PREFIX_SPACE, _INPUT_NAMES = "add_prefix_space", "model_input_names"
_ID = re.compile(r"-?[0-9]{1,19}")
_LARGEST_ID = 10**19 - 1


class StatedId(NamedTuple):
    """The id that a file states for an added token."""

    file: str
    content: str
    number: int


_Declared: TypeAlias = tuple[dict[int, AddedToken], tuple[StatedId, ...]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Settings:
    """What a folder's files state about its tokenizer, besides the tokenizer itself.

    Attributes
    ----------
    tokenizer_class : TokenizerClass
        The class that the files name, or that transformers takes by default.
    special_tokens : mapping of str to str
        ``cls_token`` and so on; BERT's by default.
    stated_tokens : mapping of str to AddedToken
        Those of the special tokens that the files state, with their flags; not only BERT's five,
        but any ``*_token``, in the order in which new ids are given.
    plain_tokens : frozenset of str
        Those of `stated_tokens` that are stated as text, so without flags.
    null_tokens : frozenset of str
        Those of BERT's five that the files state as null.
    lists_tokens : bool
        Whether tokenizer_config.json has ``added_tokens_decoder``, which then lists all.
    declared_tokens : mapping of int to AddedToken
        Tokens that are taken whole, by the ids that are stated for them, in their order; where two
        have one id, the last.
    stated_ids : tuple of StatedId
        The ids that the files state for added tokens.
    extra_tokens : tuple of AddedToken
        Further special tokens, for which no id is stated.
    switches : mapping of str to bool or None
        The switches that are stated: do_lower_case, tokenize_chinese_chars, strip_accents.
    add_prefix_space : bool or None
        Whether a space is put before a text, where it is stated; only some classes obey it.
    trim_offsets : bool
        Whether the characters of a byte-level token leave out white space.
    input_names : tuple of str
        The members that a call makes by default, as ``model_input_names`` states them; empty as
        long as that goes by the tokenizer.
    split_special_tokens : bool
        Whether ``[SEP]`` in a text is plain characters unless a call says otherwise.
    cleans_up : bool
        Whether decoding removes the spaces before punctuation.
    model_max_length, vocab_size : int or None
        How many tokens the model takes, and rows its table has, where the files say so.
    padding_side, truncation_side : str
        ``"right"`` or ``"left"``.
    notes : tuple of str
        How settings that are oddly stated are taken, as sentences.
    """

    __repr__ = short_repr

    tokenizer_class: TokenizerClass
    special_tokens: Mapping[str, str]
    stated_tokens: Mapping[str, AddedToken]
    plain_tokens: frozenset[str]
    null_tokens: frozenset[str]
    lists_tokens: bool
    declared_tokens: Mapping[int, AddedToken]
    stated_ids: tuple[StatedId, ...]
    extra_tokens: tuple[AddedToken, ...]
    switches: Mapping[str, bool | None]
    add_prefix_space: bool | None
    trim_offsets: bool
    input_names: tuple[str, ...]
    split_special_tokens: bool
    cleans_up: bool
    model_max_length: int | None
    vocab_size: int | None
    padding_side: str
    truncation_side: str
    notes: tuple[str, ...]

    @property
    def named_tokens(self) -> dict[str, str]:
        """BERT's five and all that are stated, by their names, in transformers' order."""
        stated = {name: token.content for name, token in self.stated_tokens.items()}
        named = {**self.special_tokens, **stated}
        return {name: named[name] for name in (*_NAMED, *named) if name in named}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _StatedTokens:
    """The special tokens that the files state.

    Attributes
    ----------
    named : mapping of str to AddedToken
        By their settings, ``cls_token`` and any other ``*_token``, in transformers' order.
    plain : frozenset of str
        Those of them that are stated as text.
    null : frozenset of str
        Those of BERT's five that are stated as null.
    extra : tuple of AddedToken
        Those without a name.
    special : frozenset of str
        What of added_tokens.json is special.
    """

    named: Mapping[str, AddedToken]
    plain: frozenset[str]
    null: frozenset[str]
    extra: tuple[AddedToken, ...]
    special: frozenset[str]


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
    older = _read(folder / _OLDER) if listed is None else {}
    stated = _merged(path, config, older)
    tokens = _stated_tokens(path, stated, older)
    special = {
        name: tokens.named[name].content if name in tokens.named else default
        for name, default in _DEFAULTS.items()
    }
    if listed is None:
        declared, ids = _added_tokens(folder / "added_tokens.json", tokens.special)
    else:
        declared, ids = _declared_tokens(path, listed)
    length, notes = _max_length(path, stated)
    return Settings(
        tokenizer_class=named,
        special_tokens=special,
        stated_tokens=tokens.named,
        plain_tokens=tokens.plain,
        null_tokens=tokens.null,
        lists_tokens=listed is not None,
        declared_tokens=declared,
        stated_ids=ids,
        extra_tokens=tokens.extra,
        switches=_switches(path, stated, named),
        add_prefix_space=_prefix_space(path, stated),
        trim_offsets=bool(_switch(path, stated, "trim_offsets", default=True)),
        input_names=_input_names(path, stated),
        split_special_tokens=bool(_switch(path, stated, "split_special_tokens", default=False)),
        cleans_up=bool(stated.get("clean_up_tokenization_spaces")),
        model_max_length=length or _most_tokens(sizes),
        vocab_size=_size(sizes, "vocab_size"),
        padding_side=_side(path, stated, "padding_side"),
        truncation_side=_side(path, stated, "truncation_side"),
        notes=tuple(notes),
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not there states nothing.

    A number that is not finite stops nobody: what is read is checked.
    """
    if not is_listed(path):
        return {}
    return read_json(path, error=TokenizerError, limit=_LARGEST_SETTINGS, finite=False)


def _declared_tokens(path: Path, listed: object) -> _Declared:
    """Read added_tokens_decoder: the id, as text, and the token with its flags."""
    name = "added_tokens_decoder"
    if not isinstance(listed, dict) or not all(map(_ID.fullmatch, listed)):
        raise _bad_setting(path, name, listed, "an object of tokens by their ids")
    tokens = {
        int(index): _as_token(path, f"{name}[{index}]", entry, special=False)
        for index, entry in sorted(listed.items(), key=lambda item: int(item[0]))
    }
    return tokens, tuple(StatedId(path.name, t.content, index) for index, t in tokens.items())


def _added_tokens(path: Path, special: frozenset[str]) -> _Declared:
    """Read added_tokens.json, which gives ids by tokens."""
    stated = _read(path)
    for content, index in stated.items():
        if type(index) is not int or abs(index) > _LARGEST_ID:
            raise _bad_setting(path, content, index, "an id")
    # What is not special stays normalized, even if a setting makes it special afterwards.
    tokens = {
        stated[content]: AddedToken(
            _as_token(path, content, content, special=True).content,
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
    raise _bad_setting(path, name, value, "true or false")


def _switches(
    path: Path, stated: Mapping[str, Any], named: TokenizerClass
) -> dict[str, bool | None]:
    """Return BERT's switches, as far as they are stated and the class obeys them."""
    switches = {name: _switch(path, stated, name) for name in _SWITCHES if name in stated}
    lowers = switches.pop("do_lower_case", True) if named.lowers_always else True
    # transformers 5 writes False there whatever it does, and the name of its backend.
    if lowers is False and "backend" not in stated:
        warnings.warn(
            f"{path}: do_lower_case is False, and is not obeyed: {named.name} lower-cases, as in "
            "transformers 5; in transformers 4 it obeyed.",
            stacklevel=5,
        )
    return switches


def _prefix_space(path: Path, stated: Mapping[str, Any]) -> bool | None:
    """Return whether a space is put before a text, None where it is not stated."""
    return _switch(path, stated, _PREFIX_SPACE) if stated.get(_PREFIX_SPACE) is not None else None


def _input_names(path: Path, stated: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members that model_input_names states, none where it is not stated."""
    names = stated.get(_INPUT_NAMES)
    if names is None:
        return ()
    if not isinstance(names, list) or "input_ids" not in names:
        raise _bad_setting(path, _INPUT_NAMES, names, "a list of names with 'input_ids' among them")
    return tuple(str(name) for name in names)


def _max_length(path: Path, stated: Mapping[str, Any]) -> tuple[int | None, list[str]]:
    """Return model_max_length, formerly max_len, and what is to be said of how it is stated."""
    name = "model_max_length" if "model_max_length" in stated else "max_len"
    value = stated.get(name)
    try:
        found = stated_limit(value)
    except ValueError:
        raise _bad_setting(path, name, value, "a number of tokens") from None
    is_number = type(value) in (int, float)
    if value is None or (is_number and value >= LARGEST_LENGTH) or repr(found) == repr(value):
        return found, []
    taken = "no limit" if found is None else f"{found} tokens"
    return found, [f"{name} = {shown(value)} in {path.name} is taken for {taken}."]


def stated_limit(value: object) -> int | None:
    """Return the number of tokens that a file states as a limit, None where it states none.

    transformers takes anything, and fails when it is used, or cuts nothing. Here null, a number
    that no model reaches and one below 1, such as the -1 that some write, mean that there is no
    limit. A whole number may be a float or text.

    Raises
    ------
    ValueError
        If it is no such number.

    Examples
    --------
    >>> stated_limit(512), stated_limit("512"), stated_limit(-1), stated_limit(1e30)
    (512, 512, None, None)
    """
    number = float(value) if isinstance(value, str) else value
    if number is None:
        return None
    if not isinstance(number, (int, float)) or isinstance(number, bool) or number != number:
        raise ValueError(value)
    if not 1 <= number < LARGEST_LENGTH:
        return None
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _most_tokens(sizes: Mapping[str, Any]) -> int | None:
    """Return how many tokens the model reads, of which some rows of its table may be none.

    Examples
    --------
    >>> _most_tokens({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1})
    512
    """
    rows = _size(sizes, "max_position_embeddings")
    entry = ARCHITECTURES.get(str(sizes.get("model_type")))
    if rows is None or entry is None:
        return rows
    stated = sizes.get("pad_token_id", entry.defaults.get("pad_token_id"))
    padding = entry.position_padding_row(stated)
    return rows - padding - 1 if type(padding) is int and 0 <= padding < rows - 1 else rows


def _size(sizes: Mapping[str, Any], name: str) -> int | None:
    """Return one of the model's sizes; what is wrong with it is BertConfig's to say."""
    value = sizes.get(name)
    return value if type(value) is int and value > 0 else None


def _side(path: Path, stated: Mapping[str, Any], name: str) -> str:
    """Return the side of the text at which tokens are added or cut."""
    side = stated.get(name, "right")
    if side not in ("left", "right"):
        raise _bad_setting(path, name, side, "'left' or 'right'")
    return str(side)


def _merged(path: Path, stated: Mapping[str, Any], older: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of tokenizer_config.json with those of special_tokens_map.json.

    The latter win, but extra_special_tokens, which join, and additional_special_tokens, which
    count only where tokenizer_config.json has neither.

    Examples
    --------
    >>> one, two = {"additional_special_tokens": ["[A]"]}, {"additional_special_tokens": ["[B]"]}
    >>> _merged(Path("tokenizer_config.json"), one, two)["extra_special_tokens"]
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
        if not isinstance(known, list):
            raise _bad_setting(path, _EXTRA, known, "a list of tokens")
        names = {str(token.get("content") if isinstance(token, dict) else token) for token in known}
        tokens = [_as_token(path.with_name(_OLDER), key, token, special=True) for token in value]
        return [*known, *(token for token in tokens if token.content not in names)]
    if isinstance(value, dict) and key != _EXTRA and "content" in value:
        return _as_token(path.with_name(_OLDER), key, value | {"special": True}, special=True)
    return value


def _stated_tokens(path: Path, found: Mapping[str, Any], older: Mapping[str, Any]) -> _StatedTokens:
    """Return the special tokens among merged settings, those of special_tokens_map.json too."""

    def where(name: str) -> Path:
        return path.with_name(_OLDER) if name in older else path

    named = {name: found[name] for name in _NAMED if found.get(name) is not None}
    # Only now may those of special_tokens_map.json count, too late for added_tokens.json.
    extra = found[_EXTRA] if _EXTRA in found else found.get(_FORMER_EXTRA)
    if not isinstance(extra, (list, type(None))):
        name = f"{_EXTRA} or {_FORMER_EXTRA}"
        raise _bad_setting(where(_EXTRA), name, extra, "a list of tokens")
    specific = found.get(_SPECIFIC) or {}
    if not isinstance(specific, dict):
        raise _bad_setting(
            where(_SPECIFIC), _SPECIFIC, specific, "an object of tokens by their names"
        )
    others = {
        name: value
        for name, value in found.items()
        if _is_specific(name, value)
        or (_is_others(name) and (isinstance(value, AddedToken) or _is_object(value)))
    }
    entries = named | {name: value for name, value in (others | specific).items() if value != ""}
    plain = [*named.values(), *(found.get(_EXTRA) or ())]
    return _StatedTokens(
        named={name: _named(where(name), name, entry) for name, entry in entries.items()},
        plain=frozenset(name for name, entry in entries.items() if isinstance(entry, str)),
        null=frozenset(name for name in SPECIAL_TOKENS if name in found and found[name] is None),
        extra=tuple(_as_token(where(_EXTRA), _EXTRA, e, special=True) for e in extra or ()),
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
    check_whole(path, "the name of a token", name)
    token = _as_token(path, name, entry, special=not _is_object(entry))
    token.special = True
    return token


def _as_token(path: Path, name: str, entry: object, *, special: bool) -> AddedToken:
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
    >>> _as_token(Path("tokenizer_config.json"), "mask_token", "<mask>", special=True).content
    '<mask>'
    """
    if isinstance(entry, AddedToken):
        return entry
    content = entry.get("content") if isinstance(entry, dict) else entry
    if not isinstance(content, str) or not content:
        raise _bad_setting(path, name, entry, "a token")
    check_whole(path, name, content)
    stated = entry if isinstance(entry, dict) else {}
    flags = {flag: stated[flag] for flag in FLAGS if flag in stated}
    if not all(type(value) is bool for value in flags.values()):
        raise _bad_setting(path, name, entry, "a token with flags that are true or false")
    flags.setdefault("special", special and _TYPE not in stated)
    return AddedToken(content, **flags)  # normalized, if not stated, where it is not special


def check_whole(path: Path, name: str, text: str) -> None:
    """Raise TokenizerError if a text, as JSON can state it, is none that a file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _bad_setting(path, name, text, "text without half of a surrogate pair") from None


def _bad_setting(path: Path, name: str, value: object, wanted: str) -> TokenizerError:
    """Say that a setting cannot be meant."""
    return TokenizerError(must_be(f"{path}: {quoted(name)}", wanted, value))
