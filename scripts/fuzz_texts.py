"""Targets of fuzz.py: the files of tokenizers, texts in files, and texts given to a tokenizer."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from fuzz_json import edited
from fuzz_target import Difference, Target, refused
from json_edits import changed
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace, Whitespace
from tokenizers.processors import TemplateProcessing

from numpy_bert import BertTokenizer
from numpy_bert.cli.options import read_lines, read_text
from numpy_bert.text.backend import load_backend
from numpy_bert.text.vocabularies import read_vocabulary
from numpy_bert.training.text_files import (
    read_documents,
    read_labelled,
    read_pairs,
    read_scored,
    read_texts,
)

__all__ = ["TARGETS"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = (
    *SPECIAL,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *("the", "un", "##aff", "##able", "hello", "Hello", "world", "ete", "[", "]", ",", "."),
    *("'", "\u00e9t\u00e9", "\u4e2d", "\u2028x", "\x0by"),
)
TEXTS = (
    "Hello hello the UN, a[MASK]a [N]",
    "\u00c9T\u00c9 \u4e2d\u6587. x\u2028y a\0b \u200b\ufffd [SEP]'s",
    "",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": 512,
        "padding_side": "right",
        "cls_token": "[CLS]",
        "mask_token": {"content": "[MASK]", "lstrip": True, "special": True},
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": ["[N]"],
        "extra_special_tokens": ["[P]"],
        "added_tokens_decoder": {
            str(index): {"content": token, "special": True, "normalized": False}
            for index, token in enumerate(SPECIAL)
        },
    },
    "special_tokens_map.json": {
        "cls_token": "[CLS]",
        "mask_token": {"content": "[MASK]", "lstrip": False},
        "additional_special_tokens": ["[N]", {"content": "[O]", "single_word": True}],
        "extra_special_tokens": ["[P]"],
    },
    "added_tokens.json": {"[N]": len(TOKENS), "Foo": len(TOKENS) + 1, "un": TOKENS.index("un")},
}
# What replaces a value: of every type of JSON, beyond every limit, and what means something here.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 4, 1.5, 10**18, 2**63, -(2**31), int("9" * 4000), 1e30),
    *("", " ", "a", "hello", "Hello", "[N]", "[CLS]", "[SEP]", "\ud800", "a\udfffb", "\0", "\x1b"),
    *("x" * 5000, "9" * 5000, "\u00e9", "$A", "A", "B", "a:b", "##s", "[mask]", "left"),
    *("BertTokenizer", True, False, True, False, 5, 61, 100, TOKENS.index("un")),
    *("PreTrainedTokenizerFast", "WordPiece", "BPE", "DistilBertTokenizer", "ConvBertTokenizer"),
    *([], {}, [[]], [{}], ["[N]"], {"content": "[N]"}, {"a": 1}, [None], [[[[]]]], float("nan")),
    *({"content": "hello", "normalized": True}, {"__type": "AddedToken", "content": "[O]"}),
)
# Under which odd members a document may be given further ones.
NAMES = (
    *("cls_token", "sep_token", "pad_token", "unk_token", "mask_token", "bos_token", "foo_token"),
    *("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "auto_map"),
    *("tokenizer_class", "do_lower_case", "strip_accents", "split_special_tokens", "max_len"),
    *("model_specific_special_tokens", "\ud800_token", "a\x1b_token", "5", "-1", "9" * 5000, ""),
)


def spoilt(document: Mapping[str, Any], rng: random.Random) -> bytes:
    """Return a document with a change or two, and now and then with broken bytes.

    Two times of three they are within one member, so that the largest does not have most of them.
    """
    document = dict(document)
    boxes = [name for name, member in document.items() if isinstance(member, (dict, list))]
    if boxes and rng.random() < 0.67:
        name = rng.choice(boxes)
        part = changed(json.dumps(document[name]), rng, ODD, NAMES, most=1)
        # Put in as it is: it may have a key twice.
        text, here = json.dumps(document | {name: "@here@"}), b'"@here@"'
        data = text.encode().replace(here, part)
    else:
        data = changed(json.dumps(document), rng, ODD, NAMES, most=2)
    return edited(data, rng, most=2) if rng.random() < 0.1 else data


def framed(model: Any, tokens: Sequence[str]) -> dict[str, Any]:
    """Return tokenizer.json's content for a model in BERT's frame."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokens.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document


def documents() -> list[dict[str, Any]]:
    """Return tokenizer.json's content for each kind of model, WordPiece twice."""
    numbered = {token: index for index, token in enumerate(TOKENS)}
    pieces = [(token, -float(index)) for index, token in enumerate(TOKENS)]
    wordpiece = framed(WordPiece(numbered, unk_token="[UNK]"), TOKENS)  # noqa: S106
    baked = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    words = framed(WordLevel(numbered, unk_token="[UNK]"), TOKENS)  # noqa: S106
    merges = (*TOKENS, "th", "he", "ll")
    bpe = framed(
        BPE(
            {token: index for index, token in enumerate(merges)},
            [("t", "h"), ("h", "e"), ("l", "l")],
            unk_token="[UNK]",  # noqa: S106
        ),
        TOKENS,
    )
    unigram = framed(Unigram(pieces, unk_id=1, byte_fallback=False), TOKENS)
    for document, splits in ((words, Whitespace()), (bpe, Whitespace()), (unigram, Metaspace())):
        document["pre_tokenizer"] = json.loads(splits.__getstate__())
    return [wordpiece, wordpiece | {"truncation": baked}, words, bpe, unigram]


VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt")


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """A folder for a tokenizer's files, and the good ones."""

    path: Path
    documents: list[dict[str, Any]]
    automatic: Any

    @classmethod
    def prepared(cls, path: Path) -> Folder:
        """Make it, and load what the tokenizers are held to."""
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity(logging.CRITICAL)
        return cls(path, documents(), AutoTokenizer)

    def fill(self, files: Mapping[str, bytes]) -> None:
        """Let the folder hold these files alone."""
        for name in ("tokenizer.json", *VOCABULARIES, "config.json", *SETTINGS):
            path = self.path / name
            if name in files:
                path.write_bytes(files[name])
            else:
                path.unlink(missing_ok=True)

    def is_taken(self, rng: random.Random) -> bool:
        """Load what is there, and hold it to AutoTokenizer and to itself, saved and read again."""
        found: list[BertTokenizer] = []
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if refused(
                lambda: found.append(BertTokenizer(load_backend(self.path))), naming=str(self.path)
            ):
                return False
        for warning in said:
            message = str(warning.message)
            if len(message) > 3000 or not message.isprintable():
                raise Difference(f"it warns of what cannot be read: {message[:300]!r}")
        ours = rows_of(found[0])
        check_ids(found[0], ours)
        if not said:
            self._compare(ours)
        if rng.random() < 0.75:
            return True
        saved = self.path / "saved"
        found[0].save_pretrained(saved, force=True)
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            again = rows_of(BertTokenizer(load_backend(saved)))
        if again != ours:
            raise Difference(f"saved, it gives {again}, before {ours}")
        return True

    def _compare(self, ours: list[Any]) -> None:
        """Raise Difference if AutoTokenizer, where it takes the files, gives other ids."""
        try:
            with silenced():
                theirs = rows_of(self.automatic.from_pretrained(self.path))
        except Exception:  # noqa: BLE001 it is refused there, by whatever error
            return
        if theirs != ours:
            raise Difference(f"ids are {ours}, those of transformers {theirs}")


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what the tokenizers library tells of odd files for transformers off standard output."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def rows_of(tokenizer: Any) -> list[Any]:
    """Return what a tokenizer makes of the texts, alone and in pairs."""
    return [
        tokenizer(one, other, truncation=False, padding=False)["input_ids"]
        for one, other in ((list(TEXTS), None), (list(TEXTS), list(TEXTS[::-1])))
    ]


def check_ids(tokenizer: BertTokenizer, rows: list[Any]) -> None:
    """Raise Difference unless ids are those of the vocabulary, framed by [CLS] and [SEP]."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    for ids in (row for part in rows for row in part):
        if ids[0] != cls or ids[-1] != sep or not all(0 <= i < len(tokenizer) for i in ids):
            raise Difference(f"ids {ids} of {len(tokenizer)} tokens, framed by {cls} and {sep}")
        tokenizer.decode(ids)


def attempt_tokenizer(folder: Folder, rng: random.Random) -> bool:
    """Spoil a tokenizer.json, beside other files or alone."""
    document = rng.choice(folder.documents)
    files = {"tokenizer.json": spoilt(document, rng)}
    if rng.random() < 0.5:
        files["config.json"] = b'{"model_type": "bert"}'
    if rng.random() < 0.5:
        name = rng.choice(("BertTokenizer", "PreTrainedTokenizerFast", "DistilBertTokenizerFast"))
        files["tokenizer_config.json"] = json.dumps({"tokenizer_class": name}).encode()
    folder.fill(files)
    return folder.is_taken(rng)


def attempt_settings(folder: Folder, rng: random.Random) -> bool:
    """Spoil one or more of the small files beside a good vocab.txt or tokenizer.json."""
    if rng.random() < 0.5:
        files = {"vocab.txt": "\n".join(TOKENS).encode()}
    else:
        files = {"tokenizer.json": json.dumps(rng.choice(folder.documents)).encode()}
        if rng.random() < 0.3:
            files["vocab.txt"] = spoilt_lines((*TOKENS, "[N]"), rng)
    names = rng.sample(list(SETTINGS), rng.randint(1, 3))
    for name in names:
        settings = dict(SETTINGS[name])
        if name == "tokenizer_config.json" and rng.random() < 0.6:
            del settings["added_tokens_decoder"]  # beside which the others do not count
        files[name] = spoilt(settings, rng)
    folder.fill(files)
    return folder.is_taken(rng)


LINES = (
    *(b"", b" ", b"\r", b"a", b"a ", b"\ta", b"hello", b"[N]", b"##", b"\x85", b"a\rb", b"a\x0bb"),
    *("\u3000", "\u2028", "a\u00a0", "\u00e9", "e\u0301"),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"x" * 3000),
)


def spoilt_lines(lines: Sequence[str], rng: random.Random) -> bytes:
    """Return lines of which some are replaced, doubled or dropped, with one or another end."""
    rows: list[bytes] = [line.encode() for line in lines]
    for _ in range(rng.choice((0, 1, 1, 2))):
        place = rng.randrange(len(rows))
        line = rng.choice(LINES)
        new = line if isinstance(line, bytes) else line.encode()
        rows[place : place + 1] = rng.choice(([new], [rows[place]] * 2, [], [rows[place], new]))
    end = rng.choice((b"\n", b"\n", b"\r\n"))
    data = end.join(rows) + rng.choice((end, b"", b"\n"))
    return edited(data, rng, most=2) if rng.random() < 0.2 else data


def attempt_vocabulary(folder: Folder, rng: random.Random) -> bool:
    """Spoil a vocab.txt; what is taken is what the library reads of it, and AutoTokenizer."""
    data = spoilt_lines(TOKENS, rng)
    folder.fill({"vocab.txt": data})
    path, found = folder.path / "vocab.txt", list[dict[str, int]]()
    if refused(lambda: found.append(read_vocabulary(path)), naming=str(path)):
        return False
    # A token of white space alone, which no text can reach, is the empty one there.
    ours = {token: index for token, index in found[0].items() if token.strip(" \r\u2028\u3000")}
    theirs = WordPiece.read_file(str(path))
    theirs.pop("", None)
    if ours != theirs:
        one, two = set(ours.items()), set(theirs.items())
        raise Difference(f"only ours {sorted(one - two)[:3]}, only theirs {sorted(two - one)[:3]}")
    return folder.is_taken(rng)


# A RoBERTa's byte pairs, by the letters that its bytes are shown as.
PAIRS = ("h e", "l l", "he ll", "hell o", "\u0120 w", "a b", "\u00c3 \u00a9")
FRAME = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PAIR_TOKENS = (*FRAME, *sorted(ByteLevel.alphabet()), *(pair.replace(" ", "") for pair in PAIRS))


def attempt_pairs(folder: Folder, rng: random.Random) -> bool:
    """Spoil a vocab.json or a merges.txt; what is taken is what AutoTokenizer makes of it."""
    vocabulary = {token: index for index, token in enumerate(PAIR_TOKENS)}
    merges = ("#version: 0.2", *PAIRS)
    files = {
        "tokenizer_config.json": b'{"tokenizer_class": "RobertaTokenizer"}',
        "vocab.json": json.dumps(vocabulary).encode(),
        "merges.txt": "\n".join(merges).encode(),
    }
    if rng.random() < 0.5:
        files["vocab.json"] = spoilt(vocabulary, rng)
    if rng.random() < 0.6:
        files["merges.txt"] = spoilt_lines(merges, rng)
    folder.fill(files)
    return folder.is_taken(rng)


class Reader(NamedTuple):
    """A way to read a table, what it returns as columns, and the names of these."""

    read: Callable[[Path], Any]
    columns: Callable[[Any], list[Any]]
    names: tuple[str, ...]


def labelled(found: Any) -> list[Any]:
    """Return the columns of labelled or scored texts, or pairs of texts."""
    labels = found.labels if hasattr(found, "labels") else found.scores
    if isinstance(found.texts[0], str):
        return [found.texts, labels]
    return [*([pair[place] for pair in found.texts] for place in (0, 1)), labels]


_COLUMNS = ("text", "text_pair", "label")
READERS = (
    Reader(read_texts, lambda found: [found], ("text",)),
    Reader(lambda path: read_texts(path, " Label"), lambda found: [found], ("label",)),
    Reader(read_labelled, labelled, _COLUMNS),
    Reader(read_scored, labelled, _COLUMNS),
    Reader(read_pairs, lambda found: list(found.values()), ("text", "text_pair", "score")),
)
CELLS = (
    *("a", "a, b", 'say "hi"', "two\nlines", " ", "", "\t", '"', " x ", "\u00e9 \u2028", "x\ty"),
    *("a\rb", "'", "\ufeff", "1", "0.5", "nan", "1e5", "9" * 400, "\x1b[31m", "text", "x" * 200),
)
HEADERS = ("text", "text_pair", "label", "id", "Text", " TEXT ", "score", "", "negative", "\u00e9")


def attempt_table(folder: Path, rng: random.Random) -> bool:
    """Spoil a table; what is taken has the cells that Python's csv reads."""
    name = rng.choice(("a.csv", "a.tsv", "a.tab"))
    header = ["id", "text", "text_pair", "label"]
    rows = [[str(i), f"one {i}", f"two {i}", str(i / 2)] for i in range(rng.randint(1, 4))]
    for _ in range(rng.choice((0, 1, 1, 2))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    if rng.random() < 0.2:
        header[rng.randrange(4)] = rng.choice(HEADERS)
    if rng.random() < 0.1:
        rng.choice(rows).append("more")
    stream = io.StringIO(newline="")
    delimiter = "," if name == "a.csv" else "\t"
    csv.writer(
        stream,
        delimiter=delimiter,
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        lineterminator=rng.choice(("\n", "\r\n")),
    ).writerows([header, *rows])
    data = stream.getvalue().encode()
    if rng.random() < 0.3:
        data = edited(data, rng, most=2)
    (path := folder / name).write_bytes(data)
    reader, found = rng.choice(READERS), list[Any]()
    if refused(lambda: found.append(reader.read(path)), naming=str(path)):
        return False
    ours = reader.columns(found[0])
    theirs = csv_columns(data, delimiter, reader)
    if [list(map(plain, column)) for column in ours] != [[plain(c) for c in cs] for cs in theirs]:
        raise Difference(f"{name}: {data!r} is read as {ours}, by csv as {theirs}")
    return True


def csv_columns(data: bytes, delimiter: str, reader: Reader) -> list[list[str]]:
    """Return the columns of a table that a reader is to read, as Python's csv has them."""
    text = data.decode("utf-8-sig")
    rows = list(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))
    header = [title.strip().lower() for title in rows[0]]
    names = [name for name in reader.names if name in header]
    if reader.read is read_pairs:
        names = ["text", "text_pair", *(name for name in header if name.startswith("negative"))]
        names += [name for name in ("label", "score") if name in header][:1]
    for name in names:
        if header.count(name) > 1:
            raise Difference(f"two columns are called {name}, and one is taken: {data!r}")
    columns = [[row[header.index(name)] for row in rows[1:]] for name in names]
    return columns if len(reader.names) > 1 else [[cell for cell in columns[0] if cell.strip()]]


def plain(cell: object) -> object:
    """Return a cell without blanks around it, a number as what it is."""
    text = str(cell).strip()
    try:
        return str(float(text))
    except ValueError:
        return text


SENTENCES = (
    *("one sentence", "", "two, more", "", "\u00e9t\u00e9 \u2028 x", "three", '{"text": "a"}'),
)


def attempt_lines(folder: Path, rng: random.Random) -> bool:
    """Spoil a file of lines; each way of reading takes the same lines of it."""
    data = spoilt_lines(SENTENCES, rng)
    path = folder / rng.choice(("a.txt", "a.txt", "a", "a.md", "a.jsonl", "a.json"))
    path.write_bytes(data)
    found: list[Any] = []
    lines = expected_lines(data)
    stripped = [line.strip() for line in lines]
    reader, wanted = rng.choice(
        (
            (read_texts, [line for line in stripped if line]),
            (lambda path: list(chain(*read_documents(path))), [line for line in stripped if line]),
            (lambda path: read_lines(str(path)), lines),
            (
                lambda path: read_text(str(path)),
                data.decode("utf-8", "replace").removeprefix("\ufeff").removesuffix("\n"),
            ),
        )
    )
    if refused(lambda: found.append(reader(path)), naming=path.name):
        return False
    if found[0] != wanted:
        raise Difference(f"{data!r} is read as {found[0]!r}, and not {wanted!r}")
    return True


def expected_lines(data: bytes) -> list[str]:
    """Return the lines of a file by the rule that LF or CRLF ends one."""
    rows = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if rows[-1] == b"":
        rows.pop()
    return [row.removesuffix(b"\r").decode("utf-8", "replace") for row in rows]


class Tokenizers(NamedTuple):
    """One tokenizer as it is here and in transformers."""

    ours: BertTokenizer
    theirs: Any


PIECES = (
    *("hello", "Hello", "un", "affable", " ", "  ", "\n", "\t", "\r", "\0", "\ufffd", "\u200b"),
    *(
        "\u202e",
        "\u00ad",
        "\ufeff",
        "\u00e9",
        "e\u0301",
        "\u4e2d",
        "\u6587",
        "\U0001f600",
        "\u05d0",
    ),
    *("\ufb01", "\u0130", "\u00df", "\u03a3", "[MASK]", "[SEP]", "[CLS]", "[mask]", "[PAD]", "##a"),
    *("\u0301" * 30, "x" * 99, "x" * 100, "x" * 101, ",", ".", "'", "don't", "\u2019", "\uff0c"),
    *("\u1e9e", "\u3000", "\u2028", "\x85", "\x0b", "\x1c", "\u0345", "\ud55c\uae00", "\u30d0"),
)
BAD_TEXTS: tuple[Any, ...] = (None, b"a", 3, 1.5, float("nan"), "\ud800", "a\udcff", {"a": 1}, [])


def prepare_texts(folder: Path) -> Tokenizers:
    """Load the vocabulary of the built-in model in both libraries."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity(logging.CRITICAL)
    ours = BertTokenizer.from_pretrained("demo")
    ours.save_pretrained(folder / "demo")
    return Tokenizers(ours, AutoTokenizer.from_pretrained(folder / "demo"))


def any_text(rng: random.Random) -> str:
    """Return a text of odd pieces and of characters from everywhere."""
    parts = []
    for _ in range(rng.choice((0, 1, 3, 8, 20))):
        if rng.random() < 0.85:
            parts.append(rng.choice(PIECES))
        else:
            code = rng.choice((rng.randrange(0x3000), rng.randrange(0x20000)))
            parts.append("" if 0xD800 <= code < 0xE000 else chr(code))
    return "".join(parts)


def attempt_text(both: Tokenizers, rng: random.Random) -> bool:
    """Give texts and options to both; what is not taken must not be a text or an option."""
    count = rng.choice((0, 1, 1, 2, 3))
    texts: Any = [any_text(rng) for _ in range(count)] if count else any_text(rng)
    pairs: Any = None
    if rng.random() < 0.4:
        # An empty second text by itself is none there.
        pairs = [any_text(rng) for _ in range(count)] if count else any_text(rng) or "b"
    bad = rng.random() < 0.1
    if bad:
        wrong = rng.choice(BAD_TEXTS)
        if isinstance(texts, str):
            texts = wrong if wrong != [] else 5
        else:
            texts[rng.randrange(len(texts))] = wrong
    options: dict[str, Any] = {"truncation": False, "padding": rng.choice((False, True))}
    if rng.random() < 0.5:
        options |= {
            "truncation": rng.choice((True, "longest_first", "only_first", "only_second")),
            "max_length": rng.choice((0, 1, 2, 3, 4, 5, 8, 16, 40)),
        }
    if rng.random() < 0.3:
        options["split_special_tokens"] = True
    if rng.random() < 0.2:
        options["add_special_tokens"] = False
    found: list[Any] = []
    if refused(lambda: found.append(both.ours(texts, pairs, **options)), naming=""):
        return False
    if bad:
        raise Difference(f"{texts!r} is taken for texts")
    check_rows(found[0], options)
    try:
        theirs = both.theirs(texts, pairs, **options)
    except Exception as failure:  # noqa: BLE001
        raise Difference(
            f"transformers refuses {texts!r}, {pairs!r}, {options}: {failure}"
        ) from None
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        if found[0][name] != theirs[name]:
            raise Difference(
                f"{texts!r}, {pairs!r}, {options}: {name} {found[0][name]}, there {theirs[name]}"
            )
    return True


def check_rows(found: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raise Difference if a row is longer than asked."""
    ids = found["input_ids"]
    rows = ids if ids and isinstance(ids[0], list) else [ids]
    longest = max(map(len, rows), default=0)
    if options["truncation"] is not False and longest > options["max_length"]:
        raise Difference(f"a row has {longest} tokens: {options}")


_FOLDER: Callable[[Path], Any] = Folder.prepared
TARGETS = [
    Target(
        "tokenizer", "transformers' AutoTokenizer", _FOLDER, attempt_tokenizer, "transformers", 4
    ),
    Target("settings", "transformers' AutoTokenizer", _FOLDER, attempt_settings, "transformers", 4),
    Target(
        "vocabulary", "tokenizers, transformers", _FOLDER, attempt_vocabulary, "transformers", 4
    ),
    Target("pairs", "transformers' AutoTokenizer", _FOLDER, attempt_pairs, "transformers", 4),
    Target("tables", "Python's csv", lambda folder: folder, attempt_table),
    Target("lines", "the rule of lines", lambda folder: folder, attempt_lines),
    Target("texts", "transformers' tokenizer", prepare_texts, attempt_text, "transformers"),
]
