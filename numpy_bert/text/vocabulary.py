"""Vocabularies: read from vocab.txt, and what must hold of every one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import Unigram

from numpy_bert.errors import TokenizerError
from numpy_bert.files import read_bytes
from numpy_bert.messages import quoted

__all__ = ["LARGEST_FILE", "check_ids_of", "check_listing", "read_vocabulary", "require_tokens"]

LARGEST_FILE = 100_000_000
# What the tokenizers library, and transformers with it, strips from the end of a line: Unicode's
# White_Space, which is not quite what Python strips.
_WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read one token a line; only LF ends a line, since tokens hold rarer separators.

    White space at the end of a line is no part of its token, as in the tokenizers library.
    """
    data = read_bytes(path, error=TokenizerError, limit=LARGEST_FILE)
    if data.startswith(b"\xef\xbb\xbf"):
        raise TokenizerError(f"{path}: starts with a byte order mark; save it without one.")
    try:
        lines = data.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as failure:
        number = data.count(b"\n", 0, failure.start) + 1
        raise TokenizerError(f"{path}: line {number} is not UTF-8.") from None
    vocabulary: dict[str, int] = {}
    for number, line in enumerate(lines):
        token = _token_of(line)
        if not token:
            raise TokenizerError(f"{path}: line {number + 1} is blank; every line is a token.")
        if token in vocabulary:
            raise TokenizerError(
                f"{path}: {_shown(token)} stands on line {vocabulary[token] + 1} and again on "
                f"line {number + 1}; one token has one id, and white space at the end of a line is "
                "no part of it."
            )
        vocabulary[token] = number
    return vocabulary


def _token_of(line: str) -> str:
    """Return the token on a line; white space alone, which no text can reach, stays itself."""
    return line.rstrip(_WHITE) or line.removesuffix("\r")


def check_ids_of(path: Path, tokenizer: Tokenizer) -> tuple[int, str]:
    """Return how many tokens there are, and all of them by their ids, a line each.

    The ids must be 0, 1, 2, ... One text takes a tenth of the memory of a list.

    Raises
    ------
    TokenizerError
        If an id is given twice or not at all.
    """
    # The first number counts tokens, the second a Unigram's pieces, equal ones too.
    count = max(tokenizer.get_vocab_size(with_added_tokens=added) for added in (True, False))
    token_of, chunk = tokenizer.id_to_token, 1 << 12
    try:
        # As many tokens as ids, and a token for every id: each once, at half get_vocab's cost.
        listing = "\n".join(
            "\n".join(map(token_of, range(start, min(start + chunk, count))))  # type: ignore[arg-type]
            for start in range(0, count, chunk)
        )
    except TypeError:  # an id without a token
        listing = None
    # All other models hold a table from tokens to ids, in which none can stand twice.
    twice = isinstance(tokenizer.model, Unigram) and len(set(map(token_of, range(count)))) < count
    if listing is None or twice:
        found = [token for token in map(token_of, range(count)) if token is not None]
        raise TokenizerError(f"{path}: {_what_is_wrong(tokenizer, found)}")
    return count, listing


def _what_is_wrong(tokenizer: Tokenizer, tokens: list[str]) -> str:
    """Describe the first token or id that is not one to one."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    ids = sorted(vocabulary.values())
    twice = next((a for a, b in pairwise(ids) if a == b), None)
    if twice is not None:
        names = sorted(token for token, index in vocabulary.items() if index == twice)
        return f"{' and '.join(_shown(name) for name in names[:3])} share the id {twice}."
    first: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token in first:
            return f"{_shown(token)} has the ids {first[token]} and {index}."
        first[token] = index
    gap = next(want for want, have in enumerate(ids) if want != have)
    return f"no token has the id {gap}, though {ids[-1]} is given out."


def _shown(token: str | None) -> str:
    """Return a token for a message, in quotes, since it may be a word like any other."""
    return quoted(repr(token))


def require_tokens(path: Path, tokenizer: Tokenizer, special: Mapping[str, str]) -> None:
    """Raise TokenizerError unless all special tokens are in the vocabulary."""
    absent = [
        f"{name} {quoted(token)}"
        for name, token in special.items()
        if tokenizer.token_to_id(token) is None
    ]
    if absent:
        raise TokenizerError(
            f"{path}: the vocabulary has no {', '.join(absent)}. If the model names them "
            "otherwise, tokenizer_config.json must say so."
        )


def check_listing(path: Path, tokenizer: Tokenizer, ours: str, special: Mapping[str, str]) -> None:
    """Compare the tokens with a vocab.txt that lies beside tokenizer.json.

    Parameters
    ----------
    path : Path
        Of tokenizer.json.
    tokenizer : Tokenizer
        What it makes.
    ours : str
        Its tokens, a line each, as `check_ids_of` returns them.
    special : mapping of str to str
        The special tokens by their names.

    Raises
    ------
    TokenizerError
        If a special token has another id there. At other differences tokenizer.json wins with a
        warning, as in transformers, which does not look.
    """
    listing = path.with_name("vocab.txt")
    if not listing.exists():
        return
    data = read_bytes(listing, error=TokenizerError, limit=LARGEST_FILE)
    text = data.decode("utf-8", "replace").rstrip("\r\n").replace("\r\n", "\n")
    if f"{ours}\n".startswith(f"{text}\n"):
        return
    lines = [_token_of(line) for line in text.split("\n")]
    for token in special.values():
        if token in lines and lines.index(token) != tokenizer.token_to_id(token):
            raise TokenizerError(
                f"{path}: {quoted(token)} has the id {tokenizer.token_to_id(token)}, in vocab.txt "
                f"it has {lines.index(token)}."
            )
    # By its id the library gives an added token as its normalizer leaves it, as "[mask]".
    added = {i: token.content for i, token in tokenizer.get_added_tokens_decoder().items()}
    for index, line in enumerate(lines):
        token_there = added.get(index, tokenizer.id_to_token(index))
        if token_there != line:
            warnings.warn(
                f"{path}: the id {index} is {_shown(token_there)}, in vocab.txt it is "
                f"{_shown(line)}; tokenizer.json is used, as in transformers.",
                stacklevel=4,
            )
            return
