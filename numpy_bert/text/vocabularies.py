"""The vocabularies of tokenizers without a tokenizer.json: vocab.txt, vocab.json and merges.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from numpy_bert.errors import TokenizerError
from numpy_bert.files import is_listed, read_bytes, read_json
from numpy_bert.messages import must_be, shown
from numpy_bert.text.tokenizer_config import LARGEST_VOCABULARY, check_whole

__all__ = ["lost_bytes", "read_merges", "read_pairs", "read_vocabulary", "token_of"]

# What the tokenizers library, and transformers with it, strips from the end of a line: Unicode's
# White_Space, which is not quite what Python strips.
_WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_LARGEST_ID = (1 << 32) - 1
# How the first line of a merges.txt begins, which is no merge; "# #" is one.
_VERSION = "#version"


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read one token a line; only LF ends a line, since tokens hold rarer separators.

    White space at the end of a line is no part of its token, as in the tokenizers library.
    """
    vocabulary: dict[str, int] = {}
    for number, line in enumerate(_lines(path)):
        token = token_of(line)
        if not token:
            raise TokenizerError(f"{path}: line {number + 1} is blank; every line is a token.")
        if token in vocabulary:
            raise TokenizerError(
                f"{path}: {shown(token)} stands on line {vocabulary[token] + 1} and again on "
                f"line {number + 1}; one token has one id, and white space at the end of a line is "
                "no part of it."
            )
        vocabulary[token] = number
    return vocabulary


def token_of(line: str) -> str:
    """Return the token on a line; white space alone, which no text can reach, stays itself."""
    return line.rstrip(_WHITE) or line.removesuffix("\r")


def _lines(path: Path) -> list[str]:
    """Return the lines of a file, without the LF at their ends."""
    data = read_bytes(path, error=TokenizerError, limit=LARGEST_VOCABULARY)
    if data.startswith(b"\xef\xbb\xbf"):
        raise TokenizerError(f"{path}: starts with a byte order mark; save it without one.")
    try:
        return data.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as failure:
        number = data.count(b"\n", 0, failure.start) + 1
        raise TokenizerError(f"{path}: line {number} is not UTF-8.") from None


def read_pairs(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read the vocab.json and the merges.txt of a byte-pair tokenizer.

    Raises
    ------
    TokenizerError
        If one of them is not there, is malformed, or names a token that the other has not.
    """
    path = folder / "vocab.json"
    for name, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")):
        if not is_listed(folder / name):
            raise TokenizerError(
                f"{folder}: has {other}, but not the {name} that belongs to it, nor a "
                "tokenizer.json. Take the folder's files from one place."
            )
    vocabulary = read_json(path, error=TokenizerError, limit=LARGEST_VOCABULARY)
    for token, index in vocabulary.items():
        if type(index) is not int or not 0 <= index <= _LARGEST_ID:
            raise TokenizerError(must_be(f"{path}: {shown(token)}", "an id", index))
        check_whole(path, "the name of a token", token)
    return vocabulary, read_merges(folder / "merges.txt", vocabulary)


def read_merges(path: Path, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Read one merge a line, the first before the others: two tokens with a space between.

    Raises
    ------
    TokenizerError
        If a line is no merge, or one of the tokens that it names is not in the vocabulary.
    """
    merges = []
    for number, line in enumerate(_lines(path), 1):
        if line.startswith(_VERSION):
            continue
        first, _, second = line.removesuffix("\r").partition(" ")
        if not first or not second or " " in second:
            wanted = "two tokens with a space between"
            raise TokenizerError(must_be(f"{path}: line {number}", wanted, line))
        for token in (first, second, first + second):
            if token not in vocabulary:
                verb = "makes" if token == first + second else "names"
                raise TokenizerError(
                    f"{path}: line {number} {verb} {shown(token)}, which vocab.json does not "
                    "have. Are both of one checkpoint?"
                )
        merges.append((first, second))
    return merges


def lost_bytes(vocabulary: Mapping[str, int]) -> int:
    """Return how many of the 256 bytes have no token of their own.

    Examples
    --------
    >>> lost_bytes({"a": 0, "b": 1})
    254
    """
    return len(set(ByteLevel.alphabet()) - set(vocabulary))
