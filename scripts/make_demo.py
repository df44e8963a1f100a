"""Train the embedded checkpoint numpy_bert/demo, from nothing, with this package alone.

First it learns to guess masked words and which sentence follows; then its sentence vectors learn
to follow those of all-MiniLM-L6-v2, while it goes on with the first. On one machine the same seed
gives the same bytes. A run that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_card import make_card
from demo_files import CONFIG, make_files, make_weights, write_files
from demo_texts import DemoTexts, read_texts
from report_demo import Figures, measure

from numpy_bert import BertForMaskedLM, BertForPreTraining, BertTokenizer, SentenceEncoder
from numpy_bert.identity import fingerprint
from numpy_bert.parameters import LinearParameters, SentenceStudentParameters
from numpy_bert.training import (
    JointData,
    JointModel,
    MaskedTexts,
    SentencePairs,
    SentenceStudent,
    TaughtTexts,
    Trainer,
    TrainingArguments,
)

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 4 * 1000 * 1000

MAX_LENGTH = 128
FEATURES = 384  # of the teacher's vectors
PASSES = {"words": 3, "vectors": 9}
SETTINGS = TrainingArguments(
    learning_rate=1e-3,
    per_device_train_batch_size=128,
    warmup_steps=0.1,
    weight_decay=0.01,
    group_by_length=True,
    logging_steps=50,
    save_steps=200,
)
# A model of this size has nothing to spare: with dropout it learnt less from the same text.
TRAINED_AS = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Of a batch of sentences; a pair has ten times the tokens of one.
SHARES = {"words": 0.5, "pairs": 1 / 16}
WEIGHTS = {"words": 0.05, "pairs": 0.05}  # beside the sentence vectors


def main() -> None:
    """Train, measure, and write the files once all of them are there."""
    arguments = parse()
    started, texts = time.monotonic(), read_texts()
    if arguments.steps is not None:
        texts = texts.part(arguments.steps * SETTINGS.per_device_train_batch_size)
    folder = initial(arguments.work, arguments.seed)
    settings = replace(SETTINGS, seed=arguments.seed, max_steps=arguments.steps)
    words = learn_words(folder, texts, settings, arguments.work)
    trained = learn_vectors(words, arguments.teacher, texts, settings, arguments.work)
    files = {
        **make_files(dict(pretrained(trained).named_parameters()), CONFIG),
        **halved(student_of(trained)),
    }
    write_files(arguments.work / "trained", files)
    figures = measure(arguments.work / "trained", arguments.teacher, untrained=folder)
    minutes = (time.monotonic() - started) / 60
    files["README.md"] = card(files, figures, texts, settings)
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise SystemExit(f"The demo takes {total} bytes, {MAX_BYTES} are allowed.")
    write_files(arguments.output, files)
    report(files, figures, minutes)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train the embedded demo checkpoint.",
        epilog="The texts are found in NUMPY_BERT_TEST_DATA (default: ../shared/data).",
    )
    parser.add_argument("teacher", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=ROOT / "numpy_bert" / "demo",
        help="folder to write to (default: numpy_bert/demo)",
    )
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=Path,
        default=ROOT / "build" / "demo",
        help="folder of the run's checkpoints and logs (default: build/demo)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument(
        "--steps",
        type=int,
        help="only so many in each stage, and no more texts than these need, to try it out",
    )
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error("--seed must be 0 or more")
    if arguments.steps is not None and arguments.steps < 1:
        parser.error("--steps must be 1 or more")
    if not (arguments.teacher / "modules.json").is_file():
        parser.error(f"{arguments.teacher} is no folder of a sentence model")
    return arguments


def initial(work: Path, seed: int) -> Path:
    """Write the checkpoint that the training starts from."""
    write_files(work / "initial", make_files(make_weights(seed), {**CONFIG, **TRAINED_AS}))
    return work / "initial"


def learn_words(
    folder: Path, texts: DemoTexts, settings: TrainingArguments, work: Path
) -> JointModel:
    """Learn to guess masked words in all texts, and which sentence follows in the books."""
    say("masked words and next sentences")
    model = JointModel(
        {
            "words": BertForMaskedLM.from_pretrained(folder),
            "pairs": BertForPreTraining.from_pretrained(folder),
        }
    )
    data = JointData(words_of(folder, texts), {"pairs": SHARES["pairs"]})
    settings = replace(settings, num_train_epochs=PASSES["words"])
    return Trainer(model, data, settings, work / "words").train()


def learn_vectors(
    words: JointModel, teacher: Path, texts: DemoTexts, settings: TrainingArguments, work: Path
) -> JointModel:
    """Learn a teacher's sentence vectors, and do not forget the words meanwhile."""
    say("the teacher's vectors")
    encoder = SentenceEncoder.from_pretrained(teacher)
    vectors = encoder.encode(texts.texts)
    say("sentence vectors, beside masked words and next sentences")
    bert = pretrained(words).bert
    student = SentenceStudent.new(bert, FEATURES, pretrained(words).folder, seed=settings.seed)
    model = JointModel({"vectors": student, **words.models}, WEIGHTS)
    tokenizer = BertTokenizer.from_pretrained(pretrained(words).folder)
    name = fingerprint(encoder.model)
    taught = TaughtTexts(texts.texts, vectors, tokenizer, max_length=MAX_LENGTH, teacher=name)
    data = JointData({"vectors": taught, **words_of(pretrained(words).folder, texts)}, SHARES)
    settings = replace(settings, num_train_epochs=PASSES["vectors"])
    return Trainer(model, data, settings, work / "vectors").train()


def pretrained(joint: JointModel) -> BertForPreTraining:
    """Return the model with both pre-training heads out of several."""
    found = joint.models["pairs"]
    assert isinstance(found, BertForPreTraining)
    return found


def student_of(joint: JointModel) -> SentenceStudent:
    """Return the model of the sentence vectors out of several."""
    found = joint.models["vectors"]
    assert isinstance(found, SentenceStudent)
    return found


def halved(student: SentenceStudent) -> dict[str, bytes]:
    """Return the files of a student's modules in float16, as all of the demo is stored."""
    weight, bias = (
        array.astype(np.float16)
        for array in (student.head.projection.weight, student.head.projection.bias)
    )
    head = SentenceStudentParameters(projection=LinearParameters(weight=weight, bias=bias))
    files = SentenceStudent(student.bert, head, student.folder).files()
    # The other two files would say what holds without them.
    return {name: files[name] for name in files if name == "modules.json" or "/" in name}


def words_of(folder: Path, texts: DemoTexts) -> dict[str, MaskedTexts | SentencePairs]:
    """Return texts with masked words, and pairs from the books."""
    tokenizer = BertTokenizer.from_pretrained(folder)
    return {
        "words": MaskedTexts(texts.texts, tokenizer, max_length=MAX_LENGTH),
        "pairs": SentencePairs(texts.documents, tokenizer, max_length=MAX_LENGTH),
    }


def card(
    files: dict[str, bytes], figures: Figures, texts: DemoTexts, settings: TrainingArguments
) -> bytes:
    """Return the model card."""
    steps = {
        stage: replace(settings, num_train_epochs=passes).steps_of(len(texts.texts))
        for stage, passes in PASSES.items()
    }
    stated = {
        "rate": settings.learning_rate,
        "decay": settings.weight_decay,
        "norm": settings.max_grad_norm,
        "batch": settings.per_device_train_batch_size,
        "masked": round(SHARES["words"] * settings.per_device_train_batch_size),
        "pairs": round(SHARES["pairs"] * settings.per_device_train_batch_size),
        "length": MAX_LENGTH,
        "beside": WEIGHTS["words"],
        "features": FEATURES,
    }
    made = make_card(
        files, figures, texts, seed=settings.seed, steps=steps, passes=PASSES, settings=stated
    )
    return made.encode()


def say(what: str) -> None:
    """Say on standard error what comes now."""
    print(what, file=sys.stderr, flush=True)


def report(files: dict[str, bytes], figures: Figures, minutes: float) -> None:
    """Print sizes and figures."""
    for name, content in files.items():
        print(f"{len(content):>9,} {name}")
    print(f"{sum(map(len, files.values())):>9,} in all, after {minutes:.0f} minutes")
    print(figures.text)


if __name__ == "__main__":
    main()
