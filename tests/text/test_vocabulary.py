"""vocab.txt read line by line, and what must hold of every vocabulary (rows D3, D4, D7)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from numpy_bert.errors import TokenizerError
from numpy_bert.text.vocabulary import (
    check_ids_of,
    check_listing,
    read_vocabulary,
    require_tokens,
)
from tests.support.tokenizer_files import TOKENS, tokenizer_json, vocab_txt, write_folder

LISTING = "\n".join(TOKENS)
FIVE = {"cls_token": "[CLS]", "sep_token": "[SEP]"}


def written(folder: Path, data: bytes | str) -> Path:
    return write_folder(folder, {"vocab.txt": data}) / "vocab.txt"


def tokenizer_of(document: dict[str, Any]) -> Tokenizer:
    import json

    return Tokenizer.from_str(json.dumps(document))


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        ("a\u2028b\nc\n", ["a\u2028b", "c"]),
        ("a\u2029b\nc\n", ["a\u2029b", "c"]),
        (b"a\x0bb\nc\n", ["a\x0bb", "c"]),
        (b"a\x0cb\nc\x1cd\n", ["a\x0cb", "c\x1cd"]),
        ("a\x85b\nc\n", ["a\x85b", "c"]),
        (b"a\rb\nc\n", ["a\rb", "c"]),
        (b" a\na \nb\t \r\n", [" a", "a", "b"]),
        ("a\u3000\nb\u00a0\u2028\nc\x1c\n", ["a", "b", "c\x1c"]),
        ("a\n\u2028\n \r\n", ["a", "\u2028", " "]),
        ("\u4e2d\n##\u00e9\n\U0001f600\n", ["\u4e2d", "##\u00e9", "\U0001f600"]),
        ("e\u0301\n\u00e9\n", ["e\u0301", "\u00e9"]),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_d7_only_a_line_feed_ends_a_line(
    tmp_path: Path, data: bytes | str, tokens: list[str]
) -> None:
    found = read_vocabulary(written(tmp_path, data))
    assert found == {token: index for index, token in enumerate(tokens)}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbfa\nb\n", "starts with a byte order mark"),
        (b"a\n\nb\n", "line 2 is blank"),
        (b"a\r\n\r\nb\r\n", "line 2 is blank"),
        (b"a\nb\n\n", "line 3 is blank"),
        (b"", "line 1 is blank"),
        (b"a\nb\nc\nb\n", "'b' stands on line 2 and again on line 4"),
        (
            b"a\nb\nb \n",
            "'b' stands on line 2 and again on line 3; one token has one id, and white",
        ),
        (b"a\nb\r\nb\n", "'b' stands on line 2 and again on line 3"),
        ("a\nb\ncaf\u00e9\n".encode("latin-1"), "line 3 is not UTF-8"),
        ("a\nb\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b"a\nb\n\xed\xa0\x80\n", "line 3 is not UTF-8"),
    ],
)
def test_d7_what_is_no_vocabulary_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(TokenizerError, match=f"^{re.escape(f'{path}: ')}.*{re.escape(words)}"):
        read_vocabulary(path)


def test_d7_the_published_vocabularies_have_every_line(data: Path) -> None:
    for name, size in (("uncased", 30522), ("cased", 28996), ("chinese", 21128)):
        vocabulary = read_vocabulary(data / "vocab" / f"bert-base-{name}-vocab.txt")
        assert (len(vocabulary), vocabulary["[PAD]"], vocabulary["[MASK]"]) == (size, 0, 103)


def test_ids_are_returned_as_tokens_in_order() -> None:
    expected = len(TOKENS), LISTING
    assert check_ids_of(Path("x"), tokenizer_of(tokenizer_json())) == expected


@pytest.mark.parametrize(
    ("token", "index", "words"),
    [
        ("the", TOKENS.index("un"), f"'the' and 'un' share the id {TOKENS.index('un')}"),
        ("the", len(TOKENS) + 4, f"no token has the id {TOKENS.index('the')}, though"),
        (TOKENS[-1], len(TOKENS), f"no token has the id {len(TOKENS) - 1}, though {len(TOKENS)}"),
        ("the", 2**32 - 1, "though 4294967295 is given out"),
    ],
    ids=["duplicate", "gap", "gap at the end", "gap of billions"],
)
def test_d3_ids_that_are_not_one_to_one_are_refused(token: str, index: int, words: str) -> None:
    document = tokenizer_json()
    document["model"]["vocab"][token] = index
    with pytest.raises(TokenizerError, match=f"^x.json: .*{re.escape(words)}"):
        check_ids_of(Path("x.json"), tokenizer_of(document))


def test_d3_a_piece_that_stands_twice_in_a_unigram_is_refused() -> None:
    from tokenizers.models import Unigram

    pieces = [("<unk>", 0.0), ("a", -1.0), ("b", -2.0), ("a", -3.0)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=0, byte_fallback=False))
    with pytest.raises(TokenizerError, match="'a' has the ids 1 and 3"):
        check_ids_of(Path("x"), tokenizer)


def test_a_piece_that_stands_twice_is_found_without_comparing_all_to_all() -> None:
    from tokenizers.models import Unigram

    compared = [0]

    class Piece(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            compared[0] += 1
            return str.__eq__(self, other)

    count = 2_000
    pieces = [Piece(f"p{number}") for number in range(count - 1)]
    pieces.append(Piece(f"p{count - 2}"))

    class StandIn:
        model = Unigram([("<unk>", 0.0)], unk_id=0, byte_fallback=False)
        id_to_token = pieces.__getitem__

        def get_vocab_size(self, *, with_added_tokens: bool) -> int:
            return count

        def get_vocab(self, *, with_added_tokens: bool) -> dict[str, int]:
            return {piece: index for index, piece in enumerate(pieces)}

    words = f"'p{count - 2}' has the ids {count - 2} and {count - 1}"
    with pytest.raises(TokenizerError, match=words):
        check_ids_of(Path("x"), StandIn())  # type: ignore[arg-type]
    assert compared[0] < 4 * count


def test_d4_all_absent_special_tokens_are_named_at_once() -> None:
    tokenizer = tokenizer_of(tokenizer_json())
    require_tokens(Path("x"), tokenizer, FIVE)
    special = FIVE | {"pad_token": "<pad>", "mask_token": "\x1b[31m"}
    with pytest.raises(TokenizerError) as caught:
        require_tokens(Path("x"), tokenizer, special)
    message = str(caught.value)
    assert "the vocabulary has no pad_token <pad>, mask_token '\\x1b[31m'." in message
    assert "tokenizer_config.json must say so" in message


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_d4_a_listing_that_agrees_is_silent(tmp_path: Path, end: str) -> None:
    written(tmp_path, end.join(TOKENS) + end)
    check_listing(tmp_path / "tokenizer.json", tokenizer_of(tokenizer_json()), LISTING, FIVE)
    check_listing(
        tmp_path / "tokenizer.json", tokenizer_of(tokenizer_json()), f"{LISTING}\n[NEW]", FIVE
    )
    check_listing(
        tmp_path / "elsewhere" / "tokenizer.json", tokenizer_of(tokenizer_json()), "other", FIVE
    )


@pytest.mark.parametrize("end", ["\n", " \n"])
def test_d4_an_added_token_is_compared_as_it_is_written(tmp_path: Path, end: str) -> None:
    document = tokenizer_json()
    document["added_tokens"][4]["normalized"] = True
    tokenizer = tokenizer_of(document)
    assert str(tokenizer.id_to_token(4)).upper() == "[MASK]"  # in lower case since some version
    _, listing = check_ids_of(Path("x"), tokenizer)
    written(tmp_path, end.join(TOKENS) + end)
    special = FIVE | {"mask_token": "[MASK]"}
    check_listing(tmp_path / "tokenizer.json", tokenizer, listing, special)
    other = [*TOKENS[:4], *TOKENS[5:], "[MASK]"]
    written(tmp_path, end.join(other) + end)
    with pytest.raises(TokenizerError, match=r"\[MASK\] has the id 4, in vocab.txt it has"):
        check_listing(tmp_path / "tokenizer.json", tokenizer, listing, special)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_d4_a_listing_with_another_special_id_is_refused(tmp_path: Path, end: str) -> None:
    other = list(TOKENS)
    other[2], other[30] = other[30], other[2]
    written(tmp_path, end.join(other))
    with pytest.raises(TokenizerError, match=r"\[CLS\] has the id 2, in vocab.txt it has 30"):
        check_listing(tmp_path / "tokenizer.json", tokenizer_of(tokenizer_json()), LISTING, FIVE)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ((*TOKENS[:40], "other", *TOKENS[41:]), f"the id 40 is '{TOKENS[40]}', .* it is 'other'"),
        ((*TOKENS, "more"), f"the id {len(TOKENS)} is None, in vocab.txt it is 'more'"),
        (("caf\udcff", *TOKENS[1:]), r"the id 0 is '\[PAD\]'"),
    ],
    ids=["another word", "longer", "not UTF-8"],
)
def test_d4_a_listing_with_another_word_loses_with_a_warning(
    tmp_path: Path, tokens: tuple[str, ...], words: str
) -> None:
    written(tmp_path, vocab_txt(tokens).encode("utf-8", "surrogateescape"))
    with pytest.warns(UserWarning, match=f"{words}.*tokenizer.json is used"):
        check_listing(tmp_path / "tokenizer.json", tokenizer_of(tokenizer_json()), LISTING, FIVE)
