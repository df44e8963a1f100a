"""A tokenizer's files made into a `tokenizers` backend, with what contradicts itself refused."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from numpy_bert.errors import TokenizerError
from numpy_bert.files import quoted, read_bytes
from numpy_bert.text.settings import SPECIAL_TOKENS, Settings, read_settings
from numpy_bert.text.vocabulary import (
    LARGEST_FILE,
    check_ids_of,
    check_listing,
    read_vocabulary,
    require_tokens,
)

__all__ = ["Backend", "backend_errors", "load_backend"]

# What tokenizer_config.json calls a switch of the normalizer, and what BertNormalizer does.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "strip_accents": "strip_accents",
}
_ADDED_TOKENS = re.compile(r'"added_tokens"\s*:\s*(?=\[)')


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """A tokenizer and what its files state.

    Attributes
    ----------
    tokenizer : tokenizers.Tokenizer
        Without padding and truncation. Never changed after loading, so threads can share it.
    size : int
        Number of tokens, those added to the vocabulary included. Asking the library for it costs
        some versions 10 ms.
    settings : Settings
        From the small files.
    notes : tuple of str
        What was done about the files, as sentences.
    """

    tokenizer: Tokenizer
    size: int
    settings: Settings
    notes: tuple[str, ...]


@contextmanager
def backend_errors(where: str) -> Iterator[None]:
    """Turn what the Rust library raises into TokenizerError.

    It raises bare `Exception`, and its panics are a `BaseException` of their own.
    """
    try:
        yield
    except (TokenizerError, MemoryError):
        raise
    except Exception as failure:  # noqa: BLE001
        raise TokenizerError(f"{where}: {quoted(failure)}") from None
    except BaseException as failure:
        if type(failure).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{where}: the tokenizers library failed: {quoted(failure)}") from None


def load_backend(folder: Path) -> Backend:
    """Build the tokenizer of a folder.

    From ``tokenizer.json`` of any kind that the library reads; without one, from ``vocab.txt``
    with ``tokenizer_config.json``. Where tokenizer_config.json states another lower-casing than
    tokenizer.json, it wins, as in transformers, with a warning.

    Raises
    ------
    TokenizerError
        Naming the file and what is wrong with it.
    """
    settings = read_settings(folder)
    special = settings.special_tokens
    notes: list[str] = []
    path = folder / "tokenizer.json"
    is_json = path.exists()
    if is_json:
        tokenizer = _from_json(path, notes)
        tokenizer = _obey_switches(tokenizer, settings, folder)
    elif (folder / "vocab.txt").exists():
        path = folder / "vocab.txt"
        tokenizer = _from_vocabulary(path, settings)
        notes.append("there is no tokenizer.json; the tokenizer was built from vocab.txt.")
    else:
        raise TokenizerError(f"{folder}: has neither tokenizer.json nor vocab.txt.")
    _add_tokens(path, tokenizer, settings, notes)
    if not is_json:
        tokenizer.post_processor = _frame(path, tokenizer, settings)
    size, listing = check_ids_of(path, tokenizer, settings.vocab_size)
    if is_json and isinstance(tokenizer.model, WordPiece):
        check_listing(path, listing, special)
    _check_unknown(path, tokenizer, settings)
    _check_frame(path, tokenizer, settings)
    return Backend(tokenizer, size, settings, tuple(notes))


def _from_json(path: Path, notes: list[str]) -> Tokenizer:
    """Read tokenizer.json and take away the padding and truncation that may be baked into it."""
    data = read_bytes(path, error=TokenizerError, limit=LARGEST_FILE)
    with backend_errors(f"{path}: is no tokenizer that the tokenizers library reads"):
        tokenizer = Tokenizer.from_buffer(data)
    _check_added(path, data, tokenizer)
    if tokenizer.truncation:
        limit = tokenizer.truncation["max_length"]
        notes.append(f"tokenizer.json has truncation to {limit} tokens baked in; it is not used.")
    if tokenizer.padding:
        limit = tokenizer.padding["length"]
        goal = "the longest text" if limit is None else f"{limit} tokens"
        notes.append(f"tokenizer.json has padding to {goal} baked in; it is not used.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check_added(path: Path, data: bytes, tokenizer: Tokenizer) -> None:
    """Raise TokenizerError if an added token did not get the id that tokenizer.json gives it.

    The library gives it the next free one without a word.
    """
    text = data.decode("utf-8")
    start = _ADDED_TOKENS.search(text)
    if start is None:
        return
    entries, _ = json.JSONDecoder().raw_decode(text, start.end())
    for entry in entries:
        index = tokenizer.token_to_id(entry["content"])
        if index != entry["id"]:
            raise TokenizerError(
                f"{path}: the added token {quoted(repr(entry['content']))} is to have the id "
                f"{entry['id']}, its place in the vocabulary gives it {index}."
            )


def _obey_switches(tokenizer: Tokenizer, settings: Settings, folder: Path) -> Tokenizer:
    """Let what tokenizer_config.json states win over BERT's normalizer in tokenizer.json."""
    normalizer = tokenizer.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return tokenizer
    state = {name: getattr(normalizer, name) for name in (*_NORMALIZER.values(), "clean_text")}
    differing = {
        name: value
        for name, value in settings.switches.items()
        if value is not state[_NORMALIZER[name]]
    }
    if not differing:
        return tokenizer
    values = ", ".join(
        f"{name} is {value} in the one, {state[_NORMALIZER[name]]} in the other"
        for name, value in differing.items()
    )
    winner = "tokenizer.json" if settings.is_generic else "tokenizer_config.json"
    warnings.warn(
        f"{folder}: tokenizer_config.json contradicts tokenizer.json ({values}); {winner} is "
        "used, as in transformers.",
        stacklevel=4,
    )
    if settings.is_generic:
        return tokenizer
    changed = {_NORMALIZER[name]: value for name, value in differing.items()}
    tokenizer.normalizer = BertNormalizer(**state | changed)
    # Read anew, because in tokenizers 0.22 added tokens keep the former normalizer's form.
    return Tokenizer.from_str(tokenizer.to_str())


def _from_vocabulary(path: Path, settings: Settings) -> Tokenizer:
    """Build BERT's WordPiece tokenizer from vocab.txt, as yet without special tokens."""
    tokenizer = Tokenizer(
        WordPiece(
            read_vocabulary(path),
            unk_token=settings.special_tokens["unk_token"],
            max_input_chars_per_word=100,
        )
    )
    tokenizer.normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.switches.get("tokenize_chinese_chars") is not False,
        strip_accents=settings.switches.get("strip_accents"),
        lowercase=settings.switches.get("do_lower_case") is not False,
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix="##")
    return tokenizer


def _add_tokens(path: Path, tokenizer: Tokenizer, settings: Settings, notes: list[str]) -> None:
    """Make all special and declared tokens known as tokens that are taken whole."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    declared = list(settings.declared_tokens.values())
    tokenizer.add_tokens(declared)  # of those that are known, the flags change, as in transformers
    for index, token in settings.declared_tokens.items():
        given = tokenizer.token_to_id(token.content)
        if given != index:
            raise TokenizerError(
                f"{path}: {quoted(repr(token.content))} has the id {given}; tokenizer_config.json "
                f"or added_tokens.json says {index}."
            )
    require_tokens(path, tokenizer, settings.special_tokens)
    special = settings.special_tokens.values()
    five = [AddedToken(token, special=True, normalized=False) for token in special]
    whole = known.union(token.content for token in declared)
    tokenizer.add_tokens([t for t in (*five, *settings.extra_tokens) if t.content not in whole])
    further = (token.content for token in (*declared, *settings.extra_tokens))
    new = dict.fromkeys(token for token in further if token not in known.union(special))
    if new:
        names = ", ".join(quoted(token) for token in list(new)[:5])
        notes.append(f"taken whole, as the files beside {path.name} say: {names}.")


def _frame(path: Path, tokenizer: Tokenizer, settings: Settings) -> TemplateProcessing:
    """Return BERT's frame: [CLS] first [SEP], or [CLS] first [SEP] second [SEP]."""
    cls, sep = settings.special_tokens["cls_token"], settings.special_tokens["sep_token"]
    with backend_errors(str(path)):
        return TemplateProcessing(
            single=[f"{cls}:0", "$A:0", f"{sep}:0"],
            pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in (cls, sep)],
        )


def _check_unknown(path: Path, tokenizer: Tokenizer, settings: Settings) -> None:
    """Raise TokenizerError if unknown words become another token than [UNK].

    Were that token absent, the library would fail only at the first such word.
    """
    stated = settings.special_tokens["unk_token"]
    used = tokenizer.model.unk_token if isinstance(tokenizer.model, WordPiece) else stated
    if used != stated:
        raise TokenizerError(
            f"{path}: unknown words become {quoted(used)}, but unk_token is {quoted(stated)}; "
            "tokenizer_config.json must say the same."
        )


def _check_frame(path: Path, tokenizer: Tokenizer, settings: Settings) -> None:
    """Raise TokenizerError unless [CLS] and [SEP] are put around texts and pairs."""
    names = [settings.special_tokens[name] for name in SPECIAL_TOKENS[:2]]
    frame = [tokenizer.token_to_id(name) for name in names]
    with backend_errors(str(path)):
        ends = [tokenizer.encode("a").ids, tokenizer.encode("a", "a").ids]
    if any([ids[0], ids[-1]] != frame for ids in ends):
        raise TokenizerError(
            f"{path}: texts are not framed by {quoted(names[0])} and {quoted(names[1])} (there is "
            "no post_processor for them); BERT needs both."
        )
