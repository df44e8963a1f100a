"""Train the demo's vocabulary: scripts/demo_vocab.txt, 8,000 uncased WordPieces.

The texts are two books of Project Gutenberg (public domain; its header and licence are cut off)
and the English sentences of Tatoeba (CC BY 2.0 FR, as published in facebookresearch/LASER).

The library's trainer gives another set on each run: a few tokens differ, and thousands of ids. So
this script's result is committed, and make_demo.py starts from that file. Run this one only to
change the vocabulary, then run make_demo.py.
"""

from __future__ import annotations

import argparse
import os
import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from numpy_bert.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
BOOKS = ("alice.txt", "pride_and_prejudice.txt")
SENTENCES = "tatoeba_english.txt"

VOCAB_SIZE = 8000
MIN_FREQUENCY = 5  # a pair seen less often is no word of this English; 8,000 are reached with it
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNK = "[UNK]"
PREFIX = "##"
INSIDE = string.digits + string.ascii_lowercase  # what may stand inside a word
ASCII = sorted(INSIDE + string.punctuation)
TYPOGRAPHIC = list("\u2013\u2014\u2018\u2019\u201c\u201d\u2026")  # dashes, quotes, ellipsis
ALPHABET = [*ASCII, *TYPOGRAPHIC]  # other characters are too rare here: [UNK]


def main() -> None:
    """Train, write and report."""
    parser = argparse.ArgumentParser(
        description="Train the demo's WordPiece vocabulary.",
        epilog="The texts are found in NUMPY_BERT_TEST_DATA (default: ../shared/data).",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=ROOT / "scripts" / "demo_vocab.txt",
        help="file to write, one token a line (default: scripts/demo_vocab.txt)",
    )
    output: Path = parser.parse_args().output
    corpora = read_corpora(data_folder() / "text")
    tokens = train([line for lines in corpora.values() for line in lines])
    write_atomically(output, "".join(f"{token}\n" for token in tokens).encode())
    print(f"{output.name}: {len(tokens)} tokens")
    for name, lines in corpora.items():
        print(f"{name}: {describe(tokens, lines)}")


def data_folder() -> Path:
    """Folder of the third-party data."""
    default = ROOT.parent / "shared" / "data"
    return Path(os.environ.get("NUMPY_BERT_TEST_DATA") or default)


def read_corpora(folder: Path) -> dict[str, list[str]]:
    """Lines of each text, by file name; the books without Project Gutenberg's own words."""
    if missing := [name for name in (*BOOKS, SENTENCES) if not (folder / name).is_file()]:
        raise SystemExit(
            f"{folder}: {', '.join(missing)} not found. "
            "Set NUMPY_BERT_TEST_DATA to the data folder."
        )
    texts = {name: (folder / name).read_text(encoding="utf-8-sig") for name in (*BOOKS, SENTENCES)}
    return {
        name: (book_body(text, name) if name in BOOKS else text).removesuffix("\n").split("\n")
        for name, text in texts.items()
    }


def book_body(text: str, name: str) -> str:
    """Text between the START and END lines of a Project Gutenberg book."""
    _, start, rest = text.partition("*** START OF THE PROJECT GUTENBERG EBOOK")
    body, end, _ = rest.partition("*** END OF THE PROJECT GUTENBERG EBOOK")
    if not start or not end:
        raise SystemExit(f"{name}: no START and END lines of Project Gutenberg.")
    return body.partition("\n")[2]


def train(lines: Iterable[str]) -> list[str]:
    """Tokens in the order of their ids: special, single characters, then as learnt."""
    tokenizer = make_tokenizer(SPECIAL_TOKENS)
    trainer = WordPieceTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=MIN_FREQUENCY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=ALPHABET,
        limit_alphabet=len(ALPHABET),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    learnt = tokenizer.get_vocab()
    inside = [PREFIX + character for character in INSIDE]  # the trainer knows only those it met
    wanted = [*SPECIAL_TOKENS, *ALPHABET, *inside, *sorted(learnt, key=lambda t: learnt[t])]
    tokens = list(dict.fromkeys(wanted))[:VOCAB_SIZE]
    if len(tokens) < VOCAB_SIZE:
        raise SystemExit(f"{len(tokens)} tokens, {VOCAB_SIZE} wanted: lower MIN_FREQUENCY.")
    return tokens


def make_tokenizer(tokens: list[str]) -> Tokenizer:
    """Make an uncased BERT tokenizer of these tokens, without special tokens around the text."""
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def describe(tokens: list[str], lines: Iterable[str]) -> str:
    """How well the vocabulary covers a text."""
    tokenizer = make_tokenizer(tokens)
    words: Counter[str] = Counter()
    for line in lines:
        normalized = tokenizer.normalizer.normalize_str(line)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized))
    encodings = zip(words.items(), tokenizer.encode_batch(list(words)), strict=True)
    total = whole = pieces = unknown = 0
    for (word, count), encoding in encodings:
        unknown += count * encoding.tokens.count(UNK)
        if word[0].isalnum():  # punctuation is always one piece: not counted as a word
            total += count
            pieces += count * len(encoding.tokens)
            whole += count * (len(encoding.tokens) == 1)
    return (
        f"{total} words, {pieces / total:.3f} pieces a word, {whole / total:.1%} in one piece; "
        f"{unknown} of {words.total()} words and marks are {UNK} ({unknown / words.total():.4%})"
    )


if __name__ == "__main__":
    main()
