"""Rows D1 to D10: the files of a tokenizer, whose ids must be the checkpoint's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from numpy_bert import BertTokenizer
from numpy_bert.cli import main
from numpy_bert.errors import NumpyBertError, TokenizerError
from numpy_bert.text.backend import load_backend
from numpy_bert.text.library import backend_errors
from numpy_bert.text.vocabularies import read_vocabulary
from tests.support.family_tokenizers import PROSE, byte_pairs, merges_txt, roberta_json
from tests.support.tokenizer_files import (
    TOKENS,
    PanicException,
    added_token,
    ids,
    load,
    spelt,
    tokenizer_json,
    vocab_txt,
    write_folder,
)

ROOT = Path(__file__).parent.parent.parent
NEW = len(TOKENS)
BERT = {"model_type": "bert"}


def written(folder: Path, data: bytes | str) -> Path:
    return write_folder(folder, {"vocab.txt": data}) / "vocab.txt"


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


def test_d4_vocab_txt_beside_tokenizer_json_must_agree(tmp_path: Path) -> None:
    tokens = (TOKENS[1], TOKENS[0], *TOKENS[2:])
    with pytest.raises(TokenizerError, match=r"\[PAD\] has the id 0, in vocab.txt it has 1"):
        load(tmp_path / "1", tokenizer=tokenizer_json(), vocab=vocab_txt(tokens))
    assert load(tmp_path / "2", tokenizer=tokenizer_json(), vocab=vocab_txt()).notes == ()


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


SCRIPT = """
import json, locale, sys
from numpy_bert import BertTokenizer
text = json.loads(sys.argv[2])
ids = [BertTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in sys.argv[3:]]
print(json.dumps([locale.getencoding(), sys.flags.utf8_mode, ids]))
"""


def test_d9_the_locale_changes_no_id(tmp_path: Path) -> None:
    stated = {"tokenizer_config.json": '{"name": "\u4e2d"}'}
    folders = [
        write_folder(tmp_path / "caf\u00e9" / "1", {"vocab.txt": vocab_txt(), **stated}),
        write_folder(
            tmp_path / "caf\u00e9" / "2",
            {
                "tokenizer.json": json.dumps(tokenizer_json(), ensure_ascii=False),
                "vocab.txt": vocab_txt(),
                **stated,
            },
        ),
    ]
    text = "\u4e2d\u6587 \u00c9T\u00c9 unaffable \u2028x"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, "", json.dumps(text), *map(str, folders)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    encoding, utf8_mode, found = json.loads(result.stdout)
    # Else the locale was not what this test is about.
    assert encoding.upper() in ("ANSI_X3.4-1968", "US-ASCII", "ASCII")
    assert utf8_mode == 0
    expected = [BertTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in folders]
    assert found == expected
    assert expected[0] == expected[1]
    assert 1 not in expected[0]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (PanicException("index out of bounds"), "here: the tokenizers library failed: index out"),
        (Exception("bare"), "here: bare"),
        (TypeError("TextInputSequence must be str"), "here: TextInputSequence must be str"),
    ],
)
def test_d10_what_the_library_raises_becomes_one_error(
    failure: BaseException, message: str
) -> None:
    with pytest.raises(TokenizerError, match=f"^{message}") as caught, backend_errors("here"):
        raise failure
    assert isinstance(caught.value, (NumpyBertError, ValueError))


def test_d10_a_real_panic_becomes_one_error() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json()))
    tokenizer.enable_truncation(3, stride=1)
    with pytest.raises(TokenizerError, match=r"^here: "), backend_errors("here"):
        tokenizer.encode("a b c d")


def test_d2_a_command_says_it_in_a_line_and_the_last_good_file_still_works(
    plain_demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(plain_demo, tmp_path / "model"))
    path, output = folder / "tokenizer.json", tmp_path / "vectors.npy"
    good = path.read_bytes()
    path.write_bytes(b"<html>")
    command = ["encode", "a test", "--model", str(folder), "-o", str(output)]
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(
        f"numpy-bert encode: error: {path}: is no tokenizer that the tokenizers library reads: "
    )
    assert not output.exists()
    path.write_bytes(good)
    assert main(command) == 0
    assert output.exists()


def test_d2_a_token_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    half = "a\ud800"
    stated: list[dict[str, Any]] = [
        {"tokenizer_config": {"cls_token": half}},
        {"tokenizer_config": {"mask_token": {"content": half}}},
        {"tokenizer_config": {"additional_special_tokens": [half]}},
        {"tokenizer_config": {"added_tokens_decoder": {"7": {"content": half}}}},
        {"tokenizer_config": {f"{half}_token": "[N]"}},
        {"special_tokens_map": {"sep_token": half}},
        {"special_tokens_map": {"mask_token": {"content": half}}},
        {"added_tokens": {half: NEW}},
    ]
    for number, files in enumerate(stated):
        name = next(iter(files))
        with pytest.raises(TokenizerError) as caught:
            load(tmp_path / str(number), vocab=vocab_txt(), **files)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / str(number) / name}.json: ")
        assert "must be text without half of a surrogate pair; got '" in message
        assert message.isprintable()


def test_d2_an_unknown_member_of_an_added_token_is_passed_over_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = tokenizer_json()
    document["added_tokens"][0]["color"] = "red"
    assert ids(load(tmp_path, tokenizer=document), "a") == spelt("[CLS]", "a", "[SEP]")
    assert capfd.readouterr() == ("", "")  # the library would print it, amid a command's output


@pytest.mark.parametrize("pair", [[], None, [{"Sequence": {"id": "A", "type_id": 0}}]])
@pytest.mark.parametrize("model_type", ["bert", None])
def test_d6_a_template_that_frames_no_pair(
    tmp_path: Path, pair: object, model_type: str | None
) -> None:
    """BERT's class frames texts by itself, whatever the file says; others go by the file."""
    document = tokenizer_json()
    document["post_processor"]["pair"] = pair
    files = {"tokenizer": document, "config": {"model_type": model_type}}
    if pair is None:
        with pytest.raises(TokenizerError, match="is no tokenizer that the tokenizers library rea"):
            load(tmp_path, **files)
    elif model_type is None:
        with pytest.raises(TokenizerError, match=r"texts are not framed by \[CLS\] and \[SEP\]"):
            load(tmp_path, **files)
    else:
        with pytest.warns(UserWarning, match="the special tokens around texts are others there"):
            backend = load(tmp_path, **files)
        assert ids(backend, "a", "b") == spelt("[CLS]", "a", "[SEP]", "b", "[SEP]")


@pytest.mark.parametrize(
    ("name", "texts"),
    [("single", ""), ("single", "AA"), ("single", "B"), *(("pair", t) for t in ("", "A", "AAB"))],
)
def test_d6_a_template_that_loses_or_doubles_a_text(tmp_path: Path, name: str, texts: str) -> None:
    document = tokenizer_json()
    part = document["post_processor"][name]
    pieces = [{"Sequence": {"id": text, "type_id": 0}} for text in texts]
    document["post_processor"][name] = [part[0], *pieces, part[-1]]
    words = "the post_processor must have each text once|names B, which is no text there"
    with pytest.raises(TokenizerError, match=words):
        load(tmp_path / "1", tokenizer=document)
    if name == "pair":  # which BERT's class makes by itself
        with pytest.warns(UserWarning, match="the special tokens around texts are others there"):
            backend = load(tmp_path / "2", tokenizer=document, config=BERT)
        assert ids(backend, "a", "b") == spelt("[CLS]", "a", "[SEP]", "b", "[SEP]")


@pytest.mark.parametrize(
    ("name", "piece", "words"),
    [
        ("single", {"Sequence": {"id": "B", "type_id": 0}}, "names B, which is no text there"),
        (
            "pair",
            {"SpecialToken": {"id": "[\x1b]", "type_id": 0}},
            "names '[\\x1b]', which is not among its special_tokens",
        ),
    ],
)
def test_d10_a_template_at_which_the_library_would_panic_is_refused_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, piece: object, words: str
) -> None:
    document = tokenizer_json()
    document["post_processor"][name].append(piece)
    where = f"{tmp_path / 'tokenizer.json'}: post_processor.{name} {words}."
    with pytest.raises(TokenizerError, match=f"^{re.escape(where)}$"):
        load(tmp_path, tokenizer=document)
    assert capfd.readouterr().err == ""  # a panic says so by itself


def test_d3_an_id_of_thousands_of_digits_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Python reads a number of up to 4,300 digits; no message is to have them."""
    number = "9" * 4000
    for name, text in (
        ("added_tokens", f'{{"[N]": {number}}}'),
        ("tokenizer_config", f'{{"added_tokens_decoder": {{"{number}": "[N]"}}}}'),
        ("tokenizer_config", f'{{"added_tokens_decoder": {{"{number}9999": "[N]"}}}}'),
        ("added_tokens", f'{{"[N]": {number * 2}}}'),
    ):
        where = re.escape(f"{tmp_path / name}.json: ")
        with pytest.raises(TokenizerError, match=f"^{where}.*") as caught:
            load(tmp_path, vocab=vocab_txt(), **{name: text})
        assert len(str(caught.value)) < 600
        (tmp_path / f"{name}.json").unlink()


def test_d4_a_model_without_unk_is_refused_though_unk_is_added(tmp_path: Path) -> None:
    """It would fail only at the first unknown word."""
    document = tokenizer_json([token for token in TOKENS if token != "[UNK]"])
    document["added_tokens"].append(added_token(NEW - 1, "[UNK]"))
    words = "tokenizer.json: a word that is not in the vocabulary cannot be encoded: .*UNK"
    with pytest.raises(TokenizerError, match=words):
        load(tmp_path, tokenizer=document)


@pytest.mark.parametrize("name", ['"added_tokens": [], "added_tokens"', r'"added\u005ftokens"'])
def test_d4_added_tokens_that_are_read_in_two_ways_are_refused(tmp_path: Path, name: str) -> None:
    text = json.dumps(tokenizer_json()).replace('"added_tokens"', name)
    with pytest.raises(TokenizerError, match="added_tokens must stand once, and its name without"):
        load(tmp_path, tokenizer=text)


@pytest.mark.parametrize("normalized", [True, False])
def test_d3_an_added_token_that_is_in_the_vocabulary_keeps_its_id(
    tmp_path: Path, normalized: bool
) -> None:
    added = {"un": TOKENS.index("un"), "Hello": TOKENS.index("Hello")}
    listed = {
        str(index): {"content": token, "normalized": normalized} for token, index in added.items()
    }
    stated: list[dict[str, Any]] = [
        {"added_tokens": added},
        {"tokenizer_config": {"added_tokens_decoder": listed}},
    ]
    for number, files in enumerate(stated):
        for name, content in (("vocab", vocab_txt()), ("tokenizer", tokenizer_json())):
            folder = tmp_path / f"{number}{name}"
            backend = load(folder, **files, **{name: content})
            assert backend.size == NEW
            assert ids(backend, "un the")[1] == TOKENS.index("un")
            BertTokenizer(backend).save_pretrained(folder / "saved")
            assert load_backend(folder / "saved").size == NEW


LEVEL, MERGES = byte_pairs()
ROBERTA = {"model_type": "roberta"}


def two_files(folder: Path, vocabulary: Any = LEVEL, merges: Any = None) -> Path:
    text = merges_txt() if merges is None else merges
    return write_folder(
        folder, {"vocab.json": vocabulary, "merges.txt": text, "config.json": ROBERTA}
    )


def test_d1_the_two_files_of_pairs_give_the_ids_of_tokenizer_json(tmp_path: Path) -> None:
    both = load(tmp_path / "1", tokenizer=roberta_json(), config=ROBERTA)
    listed = load_backend(two_files(tmp_path / "2"))
    for text in ("Alice was  tired.", "\U0001f642 \u4e2d\u6587 \0 \n x", "", " a\u2028b</s>"):
        assert ids(both, text, "her sister") == ids(listed, text, "her sister")
    assert both.notes == ()
    # The one difference, that of transformers 4 and 5, is said.
    assert (len(ids(both, "a <mask>")), len(ids(listed, "a <mask>"))) == (4, 5)
    assert listed.notes == (
        "there is no tokenizer.json; the tokenizer was built from vocab.json and merges.txt.",
        "<mask> leaves the space before it in the text, as in transformers 5; in 4 it took it.",
    )


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_d1_one_of_the_two_files_is_not_enough(tmp_path: Path, name: str) -> None:
    folder = two_files(tmp_path)
    (folder / name).unlink()
    with pytest.raises(TokenizerError, match=f"but not the {name} that belongs to it, nor a tok"):
        load_backend(folder)


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        (b"", "must be a JSON object; got an empty file"),
        (b"<html>", "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON (Unexpected UTF-8 BOM"),
        (b'{"a": 0, "a": 1}', "the key a stands twice"),
        (b'["a"]', "must be a JSON object"),
        (b"{}", "merges.txt: line 2 names "),
        (LEVEL | {"!": "5"}, "'!' must be an id; got '5'"),
        (LEVEL | {"!": 1.0}, "'!' must be an id; got 1.0"),
        (LEVEL | {"!": True}, "'!' must be an id; got True"),
        (LEVEL | {"!": -1}, "'!' must be an id; got -1"),
        (LEVEL | {"!": 2**32}, "'!' must be an id; got 4294967296"),
        (LEVEL | {"!": LEVEL["a"]}, "share the id"),
        (LEVEL | {"!": len(LEVEL)}, "no token has the id"),
        ({k: v for k, v in LEVEL.items() if k != "<s>"}, "the vocabulary has no cls_token <s>"),
        ({("<x>" if k == "<s>" else k): v for k, v in LEVEL.items()}, "has no cls_token <s>"),
    ],
)
def test_d3_a_vocab_json_that_is_not_one_to_one_is_refused(
    tmp_path: Path, vocabulary: Any, words: str
) -> None:
    folder = two_files(tmp_path, vocabulary)
    with pytest.raises(TokenizerError, match=f"^{re.escape(str(folder))}.*{re.escape(words)}"):
        load_backend(folder)


@pytest.mark.parametrize(
    ("merges", "words"),
    [
        (b"\xef\xbb\xbfa b\n", "starts with a byte order mark"),
        ("a b\n\xe9 c\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("a b\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("", "line 1 must be two tokens with a space between; got ''"),
        ("#version: 0.2\ni n\n\nt h\n", "line 3 must be two tokens with a space between; got ''"),
        ("#version: 0.2\nin\n", "line 2 must be two tokens with a space between; got 'in'"),
        ("i n g\n", "line 1 must be two tokens with a space between; got 'i n g'"),
        ("i  n\n", "line 1 must be two tokens with a space between; got 'i  n'"),
        (" n\n", "line 1 must be two tokens with a space between; got ' n'"),
        ("i n\nxx n\n", "line 2 names 'xx', which vocab.json does not have. Are both of one"),
        ("i n\nx q\n", "line 2 makes 'xq', which vocab.json does not have. Are both of one"),
        ("<html>\n", "line 1 must be two tokens"),
    ],
)
def test_d7_what_is_no_merges_txt_is_refused(
    tmp_path: Path, merges: bytes | str, words: str
) -> None:
    folder = two_files(tmp_path, merges=merges)
    path = re.escape(str(folder / "merges.txt"))
    with pytest.raises(TokenizerError, match=f"^{path}: {re.escape(words)}"):
        load_backend(folder)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_d7_lines_of_merges_txt_end_as_they_may(tmp_path: Path, end: str) -> None:
    text = merges_txt().replace("\n", end)
    one = load_backend(two_files(tmp_path / "1", merges=text))
    two = load_backend(two_files(tmp_path / "2", merges=text.removesuffix(end)))
    expected = load_backend(two_files(tmp_path / "3"))
    for found in (one, two):
        assert ids(found, PROSE[0]) == ids(expected, PROSE[0])


def test_d7_a_merge_of_hashes_is_no_comment(tmp_path: Path) -> None:
    vocabulary = LEVEL | {"##": len(LEVEL)}
    folder = two_files(tmp_path, vocabulary, merges_txt() + "# #\n")
    assert ids(load_backend(folder), "##")[1:-1] == [len(LEVEL)]


def test_d4_bytes_without_a_token_are_warned_of(tmp_path: Path) -> None:
    vocabulary = {("absent" if token == "!" else token): i for token, i in LEVEL.items()}
    with pytest.warns(UserWarning, match="vocab.json: 1 of the 256 bytes have no token"):
        found = load_backend(two_files(tmp_path, vocabulary))
    assert ids(found, "!") == ids(found, "")


def test_d2_a_pointer_of_git_lfs_and_a_file_that_is_too_large_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
    for number, files in enumerate(({"vocabulary": pointer}, {"merges": pointer})):
        with pytest.raises(TokenizerError, match="is a Git LFS pointer: the file itself was not"):
            load_backend(two_files(tmp_path / str(number), **files))
    monkeypatch.setattr("numpy_bert.text.vocabularies.LARGEST_VOCABULARY", 1000)
    with pytest.raises(
        TokenizerError, match=r"vocab.json: has [\d,]+ bytes; at most 1,000 are read"
    ):
        load_backend(two_files(tmp_path / "large"))


@pytest.mark.parametrize("names", ["input_ids", ["attention_mask"], {}, 5])
def test_d8_names_of_members_that_are_none_are_refused(tmp_path: Path, names: object) -> None:
    with pytest.raises(TokenizerError, match="model_input_names must be a list of names with 'inp"):
        load(tmp_path, tokenizer=tokenizer_json(), tokenizer_config={"model_input_names": names})


@pytest.mark.parametrize("name", ["add_prefix_space", "trim_offsets"])
def test_d8_switches_of_byte_level_tokens_are_true_or_false(tmp_path: Path, name: str) -> None:
    folder = write_folder(two_files(tmp_path), {"tokenizer_config.json": {name: "yes"}})
    with pytest.raises(TokenizerError, match=f"{name} must be true or false; got 'yes'"):
        load_backend(folder)
