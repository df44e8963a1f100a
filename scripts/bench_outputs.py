"""What each output of a call costs: attentions, hidden states, losses, padding; and the memory.

A padded batch of random ids goes through a checkpoint with random heads over it, every kind of call
in turn, in one process. Printed are the median milliseconds of the plain call and, as medians over
the rounds, how many times as long the others take; then how much memory `encode` takes at most in
float32 and in float64.

    python scripts/bench_outputs.py PATH_OF_MINILM
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_machine import print_machine

import numpy_bert
from numpy_bert import BertModel, SentenceEncoder
from numpy_bert.arrays import Array
from numpy_bert.parameters import (
    ClassifierParameters,
    LinearParameters,
    QuestionAnsweringParameters,
)

ROWS, TOKENS, LABELS = 8, 122, 3
TEXTS, WORDS = 64, 150


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of a checkpoint")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print_machine()
    model = BertModel.from_pretrained(options.folder)
    for threads in options.threads:
        numpy_bert.set_num_threads(threads)
        for title, calls in tables(model, options.folder).items():
            print(f"{title}, {ROWS} x {TOKENS}, {threads} thread{'s' * (threads > 1)}")
            seconds = [turn(calls) for _ in range(options.rounds + 1)][1:]
            plain = statistics.median(taken["plain"] for taken in seconds)
            print(f"  {'plain':34} {plain * 1e3:8.1f} ms")
            for name in list(calls)[1:]:
                ratio = statistics.median(taken[name] / taken["plain"] for taken in seconds)
                print(f"  {name:34} {ratio:8.2f} times")
    for dtype in ("float32", "float64"):
        encoder = SentenceEncoder.from_pretrained(options.folder, dtype=dtype)
        print(
            f"encode, {TEXTS} texts of {WORDS} words, {dtype}: {megabytes(encoder):.0f} MB at most"
        )


def turn(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Call each once; return the seconds of each."""
    seconds = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    return seconds


def tables(model: BertModel, folder: Path) -> dict[str, dict[str, Callable[[], object]]]:
    """Return the calls to be compared, the plain one first: of the model, and of each head."""
    rng = np.random.default_rng(0)
    lengths = np.linspace(TOKENS // 2, TOKENS, ROWS).astype(int)
    mask = (np.arange(TOKENS) < lengths[:, np.newaxis]).astype(int)
    ids = rng.integers(1000, 20000, (ROWS, TOKENS)) * mask
    size = model.config.hidden_size

    def dense(rows: int) -> LinearParameters:
        weight: Array = rng.normal(0.0, 0.02, (rows, size)).astype(np.float32)
        return LinearParameters(weight=weight, bias=np.zeros(rows, np.float32))

    def of(call: Callable[..., object], **options: object) -> Callable[[], object]:
        return lambda: call(ids, mask, **options)

    found = {
        "BertModel": {
            "plain": of(model),
            "output_hidden_states=True": of(model, output_hidden_states=True),
            "output_attentions=True": of(model, output_attentions=True),
            "unpad_inputs=False": of(model, unpad_inputs=False),
        }
    }
    classifier = ClassifierParameters(classifier=dense(model.config.num_labels))
    places = rng.integers(0, TOKENS // 2, ROWS)
    heads = {
        "BertForSequenceClassification": (classifier, {"labels": places % 2}),
        "BertForTokenClassification": (classifier, {"labels": np.where(mask, 1, -100)}),
        "BertForQuestionAnswering": (
            QuestionAnsweringParameters(qa_outputs=dense(2)),
            {"start_positions": places, "end_positions": places + 3},
        ),
    }
    for name, (head, labels) in heads.items():
        call = getattr(numpy_bert, name)(model, head, folder)
        found[name] = {"plain": of(call), f"{', '.join(labels)}": of(call, **labels)}
    return found


def megabytes(encoder: SentenceEncoder) -> float:
    """Return the most memory that Python's arrays take in a call, when it is warm."""
    words = numpy_bert.BertTokenizer.from_pretrained("demo")
    rng = np.random.default_rng(0)
    texts = [
        words.decode(rng.integers(1000, 7000, WORDS).tolist()).replace("##", "")
        for _ in range(TEXTS)
    ]
    encoder.encode(texts[:2])
    tracemalloc.start()
    encoder.encode(texts)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


if __name__ == "__main__":
    main()
