"""numpy_bert.text.backend and .wordpiece: a tokenizer's files, and what contradicts itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from numpy_bert.errors import TokenizerError
from numpy_bert.text.backend import (
    check_ids_of,
    check_listing,
    require_tokens,
)
from numpy_bert.text.vocabularies import read_vocabulary
from tests.support.limits import within
from tests.support.tokenizer_files import (
    TOKENS,
    added_token,
    ids,
    load,
    spelt,
    tokenizer_json,
    vocab_txt,
    write_folder,
)

NEW = len(TOKENS)


@pytest.mark.parametrize("index", [5, NEW + 1])
def test_d3_an_added_token_gets_the_id_that_the_file_gives_it(tmp_path: Path, index: int) -> None:
    added = tokenizer_json()["added_tokens"]
    kept = load(tmp_path / "1", tokenizer=tokenizer_json(added_tokens=[added_token(NEW, "[N]")]))
    assert ids(kept, "[N]") == [*spelt("[CLS]"), NEW, *spelt("[SEP]")]
    wrong = tokenizer_json(added_tokens=[*added, added_token(index, "[N]")])
    words = rf"tokenizer.json gives '\[N\]' the id {index}, here it has {NEW}\. The ids are those"
    with pytest.warns(UserWarning, match=words):
        given = load(tmp_path / "2", tokenizer=wrong)
    assert ids(given, "[N]") == [*spelt("[CLS]"), NEW, *spelt("[SEP]")]


def test_of_many_misnumbered_tokens_the_first_are_named(tmp_path: Path) -> None:
    added = [added_token(NEW + 1 + n, f"[N{n}]") for n in range(9)]
    words = rf"'\[N4\]' the id {NEW + 5}, here it has {NEW + 4}; and 4 more\. The ids"
    with pytest.warns(UserWarning, match=words):
        load(tmp_path, tokenizer=tokenizer_json(added_tokens=added))


@pytest.mark.parametrize("token", ["cls_token", "pad_token"])
def test_one_of_the_five_beyond_the_model_is_refused(tmp_path: Path, token: str) -> None:
    stated = {"tokenizer_config": {token: "[N]"}, "config": {"vocab_size": NEW}}
    stated["added_tokens"] = {"[N]": NEW}
    for files in ({"tokenizer": tokenizer_json()}, {"vocab": vocab_txt()}):
        with pytest.raises(TokenizerError, match=f"gives out ids up to {NEW}, config.json says"):
            load(tmp_path / next(iter(files)), **stated, **files)


def test_an_added_token_beyond_the_model_is_warned_of(tmp_path: Path) -> None:
    added = [*tokenizer_json()["added_tokens"], added_token(NEW, "[N]")]
    files = {"tokenizer": tokenizer_json(added_tokens=added), "config": {"vocab_size": NEW}}
    with pytest.warns(UserWarning, match=rf"vocab_size = {NEW}, .* ids from {NEW}: '\[N\]'\. A"):
        assert ids(load(tmp_path, **files), "[N]")[1] == NEW


def test_d6_stale_ids_of_other_kinds_of_post_processor(tmp_path: Path) -> None:
    document = tokenizer_json()
    berts = {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[OLD]", 101]}
    words = (
        r": \[OLD\] is 101 here, the vocabulary has no such token; \[SEP\] is 102 here, there 3\."
    )
    for number, part in enumerate((berts, {"type": "Sequence", "processors": [berts]})):
        document["post_processor"] = part
        with pytest.raises(TokenizerError, match=words):
            load(tmp_path / str(number), tokenizer=document)


@pytest.mark.parametrize(
    ("names", "stated", "words"),
    [
        (
            ["spiece.model"],
            {},
            r"has spiece.model \(a SentencePiece model\), but no tokenizer.json",
        ),
        (
            ["sentencepiece.bpe.model"],
            {"tokenizer_class": "XLMRobertaTokenizer"},
            r"has sentencepiece.bpe.model \(a SentencePiece model\), but no tokenizer.json",
        ),
        (
            ["vocab.json", "merges.txt"],
            {"tokenizer_class": "CLIPTokenizer"},
            r"has vocab.json and merges.txt \(a byte-pair token",
        ),
        (["vocab.json"], {}, r"has vocab.json, but not the merges.txt that belongs to it"),
        (["merges.txt"], {}, r"has merges.txt, but not the vocab.json that belongs to it"),
        ([], {}, r"has neither tokenizer.json nor vocab.txt\."),
        (
            [],
            {"tokenizer_class": "MPNetTokenizer"},
            r"is MPNetTokenizer, which reads vocab.txt, and",
        ),
        (
            [],
            {"tokenizer_class": "RobertaTokenizer"},
            r"reads vocab.json and merges.txt, and there is neither that nor",
        ),
    ],
)
def test_the_files_of_other_tokenizers_are_named(
    tmp_path: Path, names: list[str], stated: dict[str, str], words: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(TokenizerError, match=words) as caught:
        load(tmp_path, tokenizer_config=stated)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == (2 if "but no tokenizer.json" in str(caught.value) else 0)
    for line in lines:  # which can be typed as they stand
        compile(line.strip(), "message", "exec")


@pytest.mark.parametrize("name", ["tokenizer", "vocab", "tokenizer_config", "added_tokens"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
    files: dict[str, Any] = {} if name == "vocab" else {"tokenizer": tokenizer_json()}
    with pytest.raises(TokenizerError, match="is a Git LFS pointer: the file itself was not"):
        load(tmp_path, **files | {name: pointer})


def test_a_unigram_tokenizer_is_read(tmp_path: Path) -> None:
    words = ("\u2581the", "\u2581", "t", "h", "e", "world")
    pieces = [(token, 0.0) for token in TOKENS[:5]] + [(word, -1.0) for word in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = {"do_lower_case": True, "model_max_length": 9, "mask_token": "[MASK]"}
    backend = load(tmp_path, tokenizer=tokenizer.to_str(), tokenizer_config=config)
    assert ids(backend, "the world", "[MASK]q") == [2, 5, 6, 10, 3, 4, 6, 1, 3]
    assert backend.notes[-1].startswith("tokenizer_config.json contradicts tokenizer.json (do_lo")
    assert backend.settings.model_max_length == 9
    with pytest.raises(TokenizerError, match="vocab_size = 10"):
        load(tmp_path, config={"vocab_size": 10})


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("<s>", None),
        ("[C L S]", None),
        ("x$A", None),
        ("$A", "texts are not framed by"),
        ("a:b", "Cannot build Piece"),
    ],
)
def test_a_special_token_of_any_spelling_frames_texts_or_is_refused(
    tmp_path: Path, name: str, refused: str | None
) -> None:
    tokens = [token if token != "[CLS]" else name for token in TOKENS]
    files = {"vocab": vocab_txt(tokens), "tokenizer_config": {"cls_token": name}}
    if refused is None:
        assert ids(load(tmp_path, **files), "a") == spelt("[CLS]", "a", "[SEP]")
    else:
        with pytest.raises(TokenizerError, match=f"vocab.txt: {refused}"):
            load(tmp_path, **files)


BERT = {"model_type": "bert"}


def test_d8_other_switches_win_too(tmp_path: Path) -> None:
    config = {"strip_accents": False, "tokenize_chinese_chars": False}
    with pytest.warns(UserWarning, match=r"strip_accents is False in .*, None in"):
        backend = load(
            tmp_path / "1", tokenizer=tokenizer_json(), tokenizer_config=config, config=BERT
        )
    listed = load(tmp_path / "2", vocab=vocab_txt(), tokenizer_config=config)
    for found in (backend, listed):
        expected = spelt("[CLS]", "\u00e9t\u00e9", "[UNK]", "[SEP]")
        assert ids(found, "\u00c9t\u00e9 \u4e2d\u6587") == expected


@pytest.mark.parametrize("value", [True, False])
def test_d8_chinese_characters_are_parted_where_that_is_stated(tmp_path: Path, value: bool) -> None:
    config = {"tokenize_chinese_chars": value}
    found = load(tmp_path, vocab=vocab_txt(), tokenizer_config=config)
    parted = spelt("[CLS]", "\u4e2d", "\u6587", "[SEP]")
    assert ids(found, "\u4e2d\u6587") == (parted if value else spelt("[CLS]", "[UNK]", "[SEP]"))


def test_d8_a_class_that_reads_no_switches_leaves_tokenizer_json_as_it_is(tmp_path: Path) -> None:
    config = {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}
    with pytest.warns(UserWarning, match="tokenizer.json is used"):
        backend = load(tmp_path, tokenizer=tokenizer_json(), tokenizer_config=config)
    assert ids(backend, "Hello") == spelt("[CLS]", "hello", "[SEP]")


def test_d8_added_words_are_normalized_as_texts_are(tmp_path: Path) -> None:
    word = added_token(NEW, "Foo", special=False, normalized=True)
    document = tokenizer_json(added_tokens=[*tokenizer_json()["added_tokens"], word])
    lowered = load(tmp_path / "1", tokenizer=document)
    assert ids(lowered, "Foo foo") == [*spelt("[CLS]"), NEW, NEW, *spelt("[SEP]")]
    stated = {"do_lower_case": False}
    with pytest.warns(UserWarning, match=r"do_lower_case is False in tokenizer_config\.json"):
        kept = load(tmp_path / "2", tokenizer=document, tokenizer_config=stated, config=BERT)
    assert ids(kept, "Foo foo") == [
        *spelt("[CLS]"),
        NEW,
        *spelt("f", "##o", "##o", "[SEP]"),
    ]


@pytest.mark.parametrize("name", ["tokenizer", "vocab"])
@pytest.mark.parametrize(
    ("file", "stated"),
    [
        ("tokenizer_config", {"added_tokens_decoder": {str(NEW): {"content": "[N]"}}}),
        ("added_tokens", {"[N]": NEW}),
        ("tokenizer_config", {"additional_special_tokens": ["[N]"]}),
        ("special_tokens_map", {"additional_special_tokens": ["[N]"]}),
    ],
)
def test_tokens_that_other_files_declare_are_taken_whole(
    tmp_path: Path, name: str, file: str, stated: dict[str, Any]
) -> None:
    files = {name: {"tokenizer": tokenizer_json(), "vocab": vocab_txt()}[name], file: stated}
    backend = load(tmp_path, **files)
    assert ids(backend, "a[N]") == [*spelt("[CLS]", "a"), NEW, *spelt("[SEP]")]
    assert backend.notes[-1].startswith("taken whole, as the files beside ")
    assert backend.notes[-1].endswith(": [N].")


def test_special_tokens_that_tokenizer_json_does_not_list_are_taken_whole(tmp_path: Path) -> None:
    backend = load(tmp_path, tokenizer=tokenizer_json(added_tokens=[]), config=BERT)
    assert ids(backend, "a[MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert backend.notes == ()


def test_thousands_of_added_tokens_are_not_compared_with_all(tmp_path: Path) -> None:
    """Time that went by the square of their number: 32,000 took 33 s."""
    added = tokenizer_json()["added_tokens"]
    added += [added_token(NEW + n, f"<{n}>", special=False) for n in range(16_000)]
    with within(4):
        backend = load(tmp_path, tokenizer=tokenizer_json(added_tokens=added))
    assert backend.size == NEW + 16_000


def test_flags_of_tokenizer_json_stay(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["added_tokens"][4]["single_word"] = True
    backend = load(tmp_path, tokenizer=document)
    assert ids(backend, "a [MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert spelt("[MASK]")[0] not in ids(backend, "a[MASK]")


def test_flags_that_are_declared_win(tmp_path: Path) -> None:
    listed = {"4": {"content": "[MASK]", "single_word": True, "special": True}}
    config = {"added_tokens_decoder": listed}
    backend = load(tmp_path, tokenizer=tokenizer_json(), tokenizer_config=config)
    assert ids(backend, "a [MASK]") == spelt("[CLS]", "a", "[MASK]", "[SEP]")
    assert spelt("[MASK]")[0] not in ids(backend, "a[MASK]")
    assert backend.notes == ()


def test_berts_own_tokens_are_no_news(tmp_path: Path) -> None:
    listed = {str(index): {"content": token} for index, token in enumerate(TOKENS[:5])}
    config = {"added_tokens_decoder": listed}
    backend = load(tmp_path, vocab=vocab_txt(), tokenizer_config=config)
    assert backend.notes == ("there is no tokenizer.json; the tokenizer was built from vocab.txt.",)


LISTING = "\n".join(TOKENS)
FIVE = {"cls_token": "[CLS]", "sep_token": "[SEP]"}


def written(folder: Path, data: bytes | str) -> Path:
    return write_folder(folder, {"vocab.txt": data}) / "vocab.txt"


def tokenizer_of(document: dict[str, Any]) -> Tokenizer:

    return Tokenizer.from_str(json.dumps(document))


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
