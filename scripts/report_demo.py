"""Measure the demo on text that it was not trained on: masked words, next sentences, STS-B dev."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from demo_files import CONFIG, make_files, make_weights, write_files
from demo_texts import read_stsb, read_texts

from numpy_bert import BertForMaskedLM, BertForPreTraining, BertTokenizer, SentenceEncoder
from numpy_bert.training import MaskedTexts, SentencePairs, masked_scores, sentence_correlation

DEMO = Path(__file__).resolve().parents[1] / "numpy_bert" / "demo"
SEEDS = 5  # of the masks and pairs that are drawn: the figures are means


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How good the demo is; shares are of 1.

    Attributes
    ----------
    accuracy, most_frequent : float
        Masked words guessed rightly, and the share of the most frequent of them.
    next_sentence, always_random : float
        Pairs of which it says rightly whether the second text follows, and the share that is right
        if it always says no.
    spearman, untrained, teacher : float
        On STS-B dev: of the demo, of the same model before its training, and of the teacher.
    """

    accuracy: float
    most_frequent: float
    next_sentence: float
    always_random: float
    spearman: float
    untrained: float
    teacher: float

    @property
    def text(self) -> str:
        """The figures for a person."""
        return (
            f"masked words, held out   {100 * self.accuracy:.1f} % right; always the most frequent "
            f"{100 * self.most_frequent:.1f} %: {self.accuracy / self.most_frequent:.1f} times\n"
            f"next sentence, held out  {100 * self.next_sentence:.1f} % right; always no "
            f"{100 * self.always_random:.1f} %\n"
            f"STS-B dev, Spearman      {self.spearman:.4f}; untrained {self.untrained:.4f}, "
            f"all-MiniLM-L6-v2 {self.teacher:.4f}"
        )


def measure(folder: Path, teacher: Path, *, untrained: Path) -> Figures:
    """Measure a checkpoint, by its files alone."""
    texts, tokenizer = read_texts(), BertTokenizer.from_pretrained(folder)
    words, both = (
        BertForMaskedLM.from_pretrained(folder),
        BertForPreTraining.from_pretrained(folder),
    )
    masked, pairs = (
        MaskedTexts(texts.held, tokenizer),
        SentencePairs(texts.held_documents, tokenizer, max_length=64),  # some 200 sentences
    )
    guessed = [masked_scores(words, masked, seed=seed) for seed in range(SEEDS)]
    count = len(pairs)  # in one batch, so that it can be drawn again here
    follows = [
        masked_scores(both, pairs, batch_size=count, seed=seed).next_sentence
        for seed in range(SEEDS)
    ]
    random = [
        pairs.batch(np.arange(count), np.random.default_rng([seed, 0]))["next_sentence_label"]
        for seed in range(SEEDS)
    ]
    ours, before, theirs = (correlation(name) for name in (folder, untrained, teacher))
    return Figures(
        accuracy=float(np.mean([found.accuracy for found in guessed])),
        most_frequent=float(np.mean([found.most_frequent for found in guessed])),
        next_sentence=float(np.mean([share for share in follows if share is not None])),
        always_random=float(np.mean(random)),
        spearman=ours,
        untrained=before,
        teacher=theirs,
    )


def correlation(folder: Path) -> float:
    """Return Spearman's correlation on STS-B dev."""
    return sentence_correlation(SentenceEncoder.from_pretrained(folder), *read_stsb())


def main() -> None:
    """Measure the checkpoint of the package."""
    parser = argparse.ArgumentParser(
        description="Measure the demo on text that it was not trained on.",
        epilog="The texts are found in NUMPY_BERT_TEST_DATA (default: ../shared/data).",
    )
    parser.add_argument("teacher", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--seed", type=int, default=0, help="that it was made with (default: 0)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        untrained = Path(place)
        write_files(untrained, make_files(make_weights(arguments.seed), CONFIG))
        print(measure(DEMO, arguments.teacher, untrained=untrained).text)


if __name__ == "__main__":
    main()
