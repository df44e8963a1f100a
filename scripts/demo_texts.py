"""What the demo is trained on and judged by, out of the data folder's books and sentences."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from make_demo_vocab import BOOKS, SENTENCES, data_folder, read_corpora

HELD_SENTENCES = 1000  # of Tatoeba, kept out of the training
HELD_CHAPTERS = 1  # of each book, the last ones
JOINED = 10000  # texts of two sentences of Tatoeba
SEED = 0  # of which sentences are kept out and joined: the same for every training

CHAPTER = re.compile(r"^(?:CHAPTER [IVXLC]+\.?|Chapter I\.\])[ \t]*$", re.MULTILINE)
NOT_TEXT = re.compile(r"\[Illustration[^\]]*\]|\{[^}]*\}|_")  # pictures, page numbers, italics
# A sentence ends with its mark and what closes a quotation; a new one begins with a capital.
END = re.compile('(?<=[.!?])(["\u201d\u2019)]*)\\s+(?=["\u201c\u2018(]?[A-Z])')
ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Dr|St|Esq)\.$")
LEAST_LETTERS, LEAST_DOCUMENTS = 3, 2
LONGEST = 600  # letters of a text: about the 128 tokens that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTexts:
    """Texts to train on, and those that are kept out.

    Attributes
    ----------
    documents : list of list of str
        The books' chapters as sentences.
    sentences : list of str
        Of Tatoeba.
    joined : list of str
        Two sentences as one text: neighbours in a book, or any two of Tatoeba.
    held : list of str
        Sentences of both sources that are not trained on.
    held_documents : list of list of str
        The last chapters of the books, whose sentences are among `held`.
    """

    documents: list[list[str]]
    sentences: list[str]
    joined: list[str]
    held: list[str]
    held_documents: list[list[str]]

    @property
    def texts(self) -> list[str]:
        """All that is trained on but the longest, each text once."""
        books = [sentence for document in self.documents for sentence in document]
        every = dict.fromkeys([*self.sentences, *books, *self.joined])
        return [text for text in every if len(text) <= LONGEST]

    def part(self, count: int) -> DemoTexts:
        """Return about as many of the texts that are trained on; nothing else changes."""
        return replace(
            self,
            documents=[document[:count] for document in self.documents[:LEAST_DOCUMENTS]],
            sentences=self.sentences[:count],
            joined=self.joined[:count],
        )


def read_texts() -> DemoTexts:
    """Read the books and the sentences, and keep some of them out."""
    corpora = read_corpora(data_folder() / "text")
    books = [read_chapters("\n".join(corpora[name])) for name in BOOKS]
    kept = [chapter for book in books for chapter in book[:-HELD_CHAPTERS]]
    held = [chapter for book in books for chapter in book[-HELD_CHAPTERS:]]
    rng = np.random.default_rng(SEED)
    lines = [line for line in corpora[SENTENCES] if line.strip()]
    order = rng.permutation(len(lines))
    sentences = [lines[i] for i in sorted(order[HELD_SENTENCES:])]
    pairs = rng.integers(len(sentences), size=(JOINED, 2))
    neighbours = [
        f"{a} {b}" for chapter in kept for a, b in zip(chapter[::2], chapter[1::2], strict=False)
    ]
    return DemoTexts(
        documents=kept,
        sentences=sentences,
        joined=[*neighbours, *(f"{sentences[i]} {sentences[j]}" for i, j in pairs)],
        held=[lines[i] for i in sorted(order[:HELD_SENTENCES])]
        + [sentence for chapter in held for sentence in chapter],
        held_documents=held,
    )


def read_chapters(text: str) -> list[list[str]]:
    """Return each chapter of a book as its sentences."""
    parts = [NOT_TEXT.sub("", part) for part in CHAPTER.split(text)[1:]]  # before: the contents
    return [[s for block in part.split("\n\n") for s in read_sentences(block)] for part in parts]


def read_sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph, without what holds no word."""
    found: list[str] = []
    # split keeps what closes a quotation as a piece of its own, behind each sentence
    pieces = [*END.split(" ".join(paragraph.split())), ""]
    for sentence, close in zip(pieces[::2], pieces[1::2], strict=True):
        if found and ABBREVIATION.search(found[-1]):
            found[-1] += f" {sentence}{close}"
        else:
            found.append(sentence + close)
    return [s for s in found if sum(map(str.isalpha, s)) >= LEAST_LETTERS]


def read_stsb() -> tuple[list[tuple[str, str]], list[float]]:
    """Return the pairs of STS-B dev and people's scores, 0 to 5; it is never trained on."""
    path: Path = data_folder() / "sts" / "stsb-en-dev.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [(row[0], row[1]) for row in rows], [float(row[2]) for row in rows]
