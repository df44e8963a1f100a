"""What each output of a call costs: attentions, hidden states, losses, padding; and the memory.

A padded batch of random ids goes through a checkpoint with random heads over it, every kind of call
in turn, in one process. Printed is first how much memory `encode` takes at most in float32 and in
float64; then the median milliseconds of the plain call and, as medians over the rounds, how many
times as long the others take; and the same for reading one token of each text, and for the scores
of words, in models of random numbers.

    python scripts/bench_outputs.py PATH_OF_MINILM
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from bench_machine import print_machine

import numpy_bert
from numpy_bert import BertConfig, BertModel, SentenceEncoder
from numpy_bert.arrays import Array
from numpy_bert.blocks.heads import Product, lm_prediction
from numpy_bert.kernels.decoder import decode
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
    BertParameters,
    ClassifierParameters,
    LinearParameters,
    QuestionAnsweringParameters,
    build,
    pretraining_shapes,
)

ROWS, TOKENS, LABELS = 8, 122, 3
TEXTS, WORDS = 64, 150


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of a checkpoint")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layers", nargs="*", type=int, default=(2, 6, 12))
    parser.add_argument("--memory", choices=("float32", "float64"), help="print that alone")
    options = parser.parse_args()
    if options.memory:
        print(f"{megabytes(options.folder, options.memory):.0f}")
        return
    print_machine()
    # First, since a process begins with the peak of the one that starts it.
    for dtype in ("float32", "float64"):
        command = [sys.executable, __file__, str(options.folder), "--memory", dtype]
        most = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"encode, {TEXTS} texts of {WORDS} words, {dtype}: {most} MB at most")
    model = BertModel.from_pretrained(options.folder)
    found = tables(model, options.folder) | words(options.layers)
    for layers in options.layers:
        found |= one_token(layers)
    for threads in options.threads:
        numpy_bert.set_num_threads(threads)
        print(f"{threads} thread{'s' * (threads > 1)}")
        for title, calls in found.items():
            print(title)
            seconds = [turn(calls) for _ in range(options.rounds + 1)][1:]
            first = next(iter(calls))
            plain = statistics.median(taken[first] for taken in seconds)
            print(f"  {first:34} {plain * 1e3:8.1f} ms")
            for name in list(calls)[1:]:
                ratio = statistics.median(taken[name] / taken[first] for taken in seconds)
                print(f"  {name:34} {ratio:8.2f} times")


def random_model(layers: int) -> tuple[BertModel, BertLMPredictionHeadParameters]:
    """Return a BERT of so many layers and base's width, of random numbers, and a head for words."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        type_vocab_size=2,
    )
    rng = np.random.default_rng(0)
    table = pretraining_shapes(config)

    def get(key: str) -> Array:
        array = rng.normal(1.0 if key.endswith("LayerNorm.weight") else 0.0, 0.02, table[key])
        return array.astype(np.float32)

    parameters = build(BertParameters, config, get, "")
    info = LoadingInfo(missing_keys=(), unexpected_keys=(), cast=(), files=("random",), notes=())
    head = build(BertLMPredictionHeadParameters, config, get, "cls.predictions.")
    return BertModel(config, parameters, info), head


def one_token(layers: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Return calls that read all tokens of packed texts, and one of each."""
    model, _ = random_model(layers)
    lengths = np.full(ROWS, TOKENS // 2)
    ids = np.random.default_rng(0).integers(1000, 20000, int(lengths.sum()))
    starts = np.cumsum(lengths) - lengths
    title = f"{layers} layers of base's width, {ROWS} texts of {TOKENS // 2} tokens"
    return {
        title: {
            "all tokens": lambda: model.packed(ids, lengths),
            "one token of each": lambda: model.packed(ids, lengths, places=starts),
        }
    }


def words(layers: Sequence[int]) -> dict[str, dict[str, Callable[[], object]]]:
    """Return calls that score all words for 128 tokens: by the readable product, by the kernel."""
    if not layers:
        return {}
    model, head = random_model(1)
    table = model.embeddings.word_embeddings.weight
    hidden = np.random.default_rng(0).standard_normal((128, 768)).astype(np.float32)

    def of(product: Product) -> Callable[[], object]:
        return lambda: lm_prediction(head, table, hidden, config=model.config, product=product)

    return {"scores of 30,522 words for 128 tokens": {"linear": of(linear), "decode": of(decode)}}


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

    size_of = f"{ROWS} x {TOKENS} padded"
    found = {
        f"BertModel, {size_of}": {
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
        found[f"{name}, {size_of}"] = {
            "plain": of(call),
            f"{', '.join(labels)}": of(call, **labels),
        }
    return found


def megabytes(folder: Path, dtype: str) -> float:
    """Return by how much the first large call of `encode` in this process raises its peak."""
    encoder = SentenceEncoder.from_pretrained(folder, dtype=dtype)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained("demo")
    rng = np.random.default_rng(0)
    texts = [
        tokenizer.decode(rng.integers(1000, 7000, WORDS).tolist()).replace("##", "")
        for _ in range(TEXTS)
    ]
    encoder.encode(texts[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    encoder.encode(texts)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


if __name__ == "__main__":
    main()
