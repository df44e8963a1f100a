"""Tell from a sentence which of two books it is from: linear probes and fine-tuning, compared.

A probe is a ridge regression on frozen sentence vectors; fine-tuning changes all weights, under a
new classifier. There are as many sentences of each book; a part is kept out to judge by.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bench_machine import print_machine
from demo_texts import read_chapters
from make_demo_vocab import BOOKS, data_folder, read_corpora

from numpy_bert import BertModel, BertTokenizer, SentenceEncoder
from numpy_bert.training import (
    LabelledTexts,
    Trainer,
    TrainingArguments,
    accuracy,
    new_classifier,
)

LEAST = 40  # letters: a shorter sentence may be from any book
OF_EACH, HELD = 750, 250  # of each book; of all of them, kept out
RIDGE = 1.0
SETTINGS = TrainingArguments(
    learning_rate=2e-4,
    per_device_train_batch_size=32,
    num_train_epochs=2,
    warmup_steps=0.1,
    weight_decay=0.01,
    group_by_length=True,
)


def main() -> None:
    """Print a line for each model and method."""
    parser = argparse.ArgumentParser(
        description="Compare linear probes and fine-tuning.",
        epilog="The texts are found in NUMPY_BERT_TEST_DATA (default: ../shared/data).",
    )
    parser.add_argument("minilm", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--steps", type=int, help="only so many of the training, to try it out")
    arguments = parser.parse_args()
    print_machine()
    texts, labels = read_sentences()
    print(f"{len(texts) - HELD} sentences to learn from, {HELD} to judge by")
    for name, model in (("demo", "demo"), ("MiniLM", arguments.minilm)):
        for what in ("probe", "fine-tuned"):
            started = time.perf_counter()
            if what == "probe":
                share = probe(model, texts, labels)
            else:
                share = tune(model, texts, labels, arguments.steps)
            seconds = time.perf_counter() - started
            print(f"{name:<7}{what:<11}{100 * share:5.1f} % right  {seconds:5.1f} s", flush=True)


def read_sentences() -> tuple[list[str], list[int]]:
    """Return sentences in an order of chance, and the number of each one's book."""
    corpora = read_corpora(data_folder() / "text")
    rng, rows = np.random.default_rng(0), list[tuple[str, int]]()
    for number, name in enumerate(BOOKS):
        chapters = read_chapters("\n".join(corpora[name]))
        found = [text for chapter in chapters for text in chapter if len(text) >= LEAST]
        rows += [(found[place], number) for place in rng.permutation(len(found))[:OF_EACH]]
    mixed = [rows[place] for place in rng.permutation(len(rows))]
    return [text for text, _ in mixed], [number for _, number in mixed]


def probe(model: Path | str, texts: list[str], labels: list[int]) -> float:
    """Return how many a ridge regression on frozen vectors has right."""
    vectors = SentenceEncoder.from_pretrained(model).encode(texts).astype(np.float64)
    signs = 2.0 * np.array(labels) - 1.0
    x, y = vectors[HELD:], signs[HELD:]
    middle: npt.NDArray[np.float64] = x.mean(axis=0)
    x = x - middle
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    return float(np.mean(((vectors[:HELD] - middle) @ weights > 0) == (signs[:HELD] > 0)))


def tune(model: Path | str, texts: list[str], labels: list[int], steps: int | None) -> float:
    """Return how many a fine-tuned classifier has right."""
    tokenizer = BertTokenizer.from_pretrained(model)
    start = new_classifier(BertModel.from_pretrained(model), BOOKS, Path(model))
    data = LabelledTexts(texts[HELD:], labels[HELD:], tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        trained = Trainer(start, data, replace(SETTINGS, max_steps=steps), folder).train()
    return accuracy(trained, LabelledTexts(texts[:HELD], labels[:HELD], tokenizer))


if __name__ == "__main__":
    main()
