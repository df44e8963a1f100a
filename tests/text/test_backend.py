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
    load_backend,
    read_vocabulary,
    require_tokens,
)
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


def test_d1_either_file_gives_the_same_ids_and_the_fallback_is_said(tmp_path: Path) -> None:
    both = load(tmp_path / "1", tokenizer=tokenizer_json())
    listed = load(tmp_path / "2", vocab=vocab_txt())
    texts = ("Unaffable Hello \u4e2d\u6587.", "\u00c9T\u00c9 x\u2028y z [MASK]", "", "a\0b")
    for text in (*texts, "a" * 100, "a" * 101):
        assert ids(both, text) == ids(listed, text)
        pairs = [backend.tokenizer.encode(text, "the") for backend in (both, listed)]
        assert pairs[0].ids == pairs[1].ids
        assert pairs[0].type_ids == pairs[1].type_ids
    expected = spelt("[CLS]", "un", "##aff", "##able", "ete", "[SEP]")
    assert ids(listed, "Unaffable \u00e9t\u00e9") == expected
    assert both.notes == ()
    assert listed.notes == ("there is no tokenizer.json; the tokenizer was built from vocab.txt.",)


def test_d1_neither_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has neither tokenizer.json nor vocab.txt\."):
        load(tmp_path, tokenizer_config={})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000,
        json.dumps(tokenizer_json(version="2.0")).encode(),
        json.dumps(tokenizer_json(pre_tokenizer={"type": "Unheard"})).encode(),
        json.dumps(tokenizer_json(model={"type": "Unheard"})).encode(),
        json.dumps(tokenizer_json())[:-9].encode(),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_d2_what_the_library_cannot_read_is_one_error(tmp_path: Path, data: bytes) -> None:
    where = re.escape(f"{tmp_path / 'tokenizer.json'}: ")
    with pytest.raises(TokenizerError, match=f"^{where}is no tokenizer that the .* library reads"):
        load(tmp_path, tokenizer=data)


def test_d2_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(TokenizerError, match=r"tokenizer.json: is a folder"):
        load_backend(tmp_path)


@pytest.mark.parametrize("index", [-1, 2**32, 1.5, "7"])
def test_d3_an_id_that_is_no_number_of_a_row_is_refused(tmp_path: Path, index: object) -> None:
    document = tokenizer_json()
    document["model"]["vocab"]["the"] = index
    with pytest.raises(TokenizerError, match="is no tokenizer that"):
        load(tmp_path, tokenizer=document)


def test_d3_duplicates_gaps_and_ids_beyond_the_model_are_refused(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["model"]["vocab"]["the"] += 1
    with pytest.raises(TokenizerError, match="'the' and 'un' share the id"):
        load(tmp_path, tokenizer=document)
    document["model"]["vocab"]["the"] = NEW
    with pytest.raises(TokenizerError, match=r"no token has the id \d+"):
        load(tmp_path, tokenizer=document)
    for files in ({"tokenizer": tokenizer_json()}, {"vocab": vocab_txt()}):
        with pytest.raises(TokenizerError, match=f"config.json says vocab_size = {NEW - 1}"):
            load(tmp_path / "small", config={"vocab_size": NEW - 1}, **files)
        padded = load(tmp_path / "padded", config={"vocab_size": NEW + 3}, **files)
        assert padded.settings.vocab_size == NEW + 3


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


@pytest.mark.parametrize("absent", ["[CLS]", "[SEP]", "[PAD]", "[MASK]"])
def test_d4_an_absent_special_token_is_named(tmp_path: Path, absent: str) -> None:
    tokens = [token if token != absent else "[other]" for token in TOKENS]
    document = tokenizer_json(tokens, post_processor=None)
    for files in ({"tokenizer": document}, {"vocab": vocab_txt(tokens)}):
        name = f"{absent[1:-1].lower()}_token"
        with pytest.raises(TokenizerError, match=rf"has no {name} {re.escape(absent)}\. If"):
            load(tmp_path / next(iter(files)), **files)


def test_d4_an_absent_unk_is_found_before_the_first_unknown_word(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["model"]["unk_token"] = "[NONE]"
    with pytest.raises(TokenizerError, match=r"unknown words become \[NONE\], but unk_token is"):
        load(tmp_path / "1", tokenizer=document)
    tokens = [token if token != "[UNK]" else "[other]" for token in TOKENS]
    with pytest.raises(TokenizerError, match=r"has no unk_token \[UNK\]"):
        load(tmp_path / "2", vocab=vocab_txt(tokens))


@pytest.mark.parametrize("name", ["tokenizer", "vocab"])
def test_d4_an_id_declared_elsewhere_that_does_not_agree_is_warned_of_once(
    tmp_path: Path, name: str
) -> None:
    files = {name: {"tokenizer": tokenizer_json(), "vocab": vocab_txt()}[name]}
    declared = {"3": {"content": "[CLS]"}}
    words = r"tokenizer_config.json gives '\[CLS\]' the id 3, here it has 2\."
    with pytest.warns(UserWarning, match=words) as caught:
        one = load(tmp_path / "1", tokenizer_config={"added_tokens_decoder": declared}, **files)
    assert (len(caught), ids(one, "a")) == (1, spelt("[CLS]", "a", "[SEP]"))
    words = rf"added_tokens.json gives '\[N\]' the id {NEW + 7}, here it has {NEW}\."
    with pytest.warns(UserWarning, match=words) as caught:
        two = load(tmp_path / "2", added_tokens={"[N]": NEW + 7}, **files)
    assert (len(caught), ids(two, "[N]")[1]) == (1, NEW)


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


def test_d4_vocab_txt_beside_tokenizer_json_must_agree(tmp_path: Path) -> None:
    tokens = (TOKENS[1], TOKENS[0], *TOKENS[2:])
    with pytest.raises(TokenizerError, match=r"\[PAD\] has the id 0, in vocab.txt it has 1"):
        load(tmp_path / "1", tokenizer=tokenizer_json(), vocab=vocab_txt(tokens))
    assert load(tmp_path / "2", tokenizer=tokenizer_json(), vocab=vocab_txt()).notes == ()


@pytest.mark.parametrize(
    ("length", "goal"), [({"Fixed": 9}, "9 tokens"), ("BatchLongest", "the longest text")]
)
def test_d5_baked_padding_and_truncation_are_undone_and_reported(
    tmp_path: Path, length: object, goal: str
) -> None:
    truncation = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    pad = {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]", "pad_to_multiple_of": None}
    padding = {"strategy": length, "direction": "Right"} | pad
    backend = load(tmp_path, tokenizer=tokenizer_json(truncation=truncation, padding=padding))
    assert ids(backend, "a b c d") == spelt("[CLS]", "a", "b", "c", "d", "[SEP]")
    assert ids(backend, "a") == spelt("[CLS]", "a", "[SEP]")
    assert backend.notes == (
        "tokenizer.json has truncation to 4 tokens baked in; it is not used.",
        f"tokenizer.json has padding to {goal} baked in; it is not used.",
    )


@pytest.mark.parametrize("kind", ["none", "ids of other tokens", "cls only", "only singles"])
def test_d6_texts_must_be_framed(tmp_path: Path, kind: str) -> None:
    document = tokenizer_json()
    frame = document["post_processor"]
    if kind == "none":
        document["post_processor"] = None
    elif kind == "ids of other tokens":
        frame["special_tokens"]["[CLS]"]["ids"] = [0]
    elif kind == "cls only":
        frame["single"] = frame["single"][:2]
    else:
        frame["pair"] = frame["pair"][1:]
    words = r"not framed by \[CLS\] and \[SEP\] .*post_processor"
    if kind == "ids of other tokens":
        words = (
            r"post_processor, .* than the vocabulary: \[CLS\] is 0 here, there 2\. It was written"
        )
    with pytest.raises(TokenizerError, match=words):
        load(tmp_path, tokenizer=document)


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
        (["vocab.json", "merges.txt"], {}, r"has vocab.json and merges.txt \(a byte-pair token"),
        (["vocab.json"], {}, r"has neither tokenizer.json nor vocab.txt\."),
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
    assert len(lines) == (0 if names == ["vocab.json"] else 2)
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


@pytest.mark.parametrize("lowercase", [True, False])
def test_d8_stated_switches_win_with_both_values_named(tmp_path: Path, lowercase: bool) -> None:
    document = tokenizer_json()
    document["normalizer"]["lowercase"] = not lowercase
    message = (
        rf"\(do_lower_case is {lowercase} in tokenizer_config.json, {not lowercase} in "
        r"tokenizer.json\); the latter is used, as in transformers 5 and 4\."
    )
    stated = {"do_lower_case": lowercase}
    with pytest.warns(UserWarning, match=message):
        backend = load(tmp_path, tokenizer=document, tokenizer_config=stated, config=BERT)
    listed = load(
        tmp_path / "listed", vocab=vocab_txt(), tokenizer_config={"do_lower_case": lowercase}
    )
    hello = "hello" if lowercase else "Hello"
    for found in (backend, listed):
        assert ids(found, "Hello") == spelt("[CLS]", hello, "[SEP]")


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
