"""A script as a user of transformers has it, with its import lines changed: it prints the same."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

pytestmark = pytest.mark.usefixtures("no_requests")

DEMO = Path(__file__).parent.parent.parent / "numpy_bert" / "demo"
# All in which the two differ: where the classes come from, and what kind of arrays they take.
CLASSES = (
    "BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification, BertTokenizer"
)
FIRST_LINES = {
    "transformers": f'from transformers import {CLASSES}; tensors = "pt"',
    "numpy_bert": f'from numpy_bert import {CLASSES}; tensors = "np"',
}
SCRIPT = """
tokenizer = BertTokenizer.from_pretrained(base)
print(tokenizer.encode("Alice saw a rabbit."), tokenizer.tokenize("Unbelievably so"))
print(tokenizer.all_special_tokens, tokenizer.num_special_tokens_to_add(pair=True))

story = "Alice saw a rabbit. It ran away very fast, and nobody knew where it went that day. " * 5
windows = tokenizer(
    "Who ran away?", story, truncation="only_second", max_length=48, stride=12,
    return_overflowing_tokens=True, return_offsets_mapping=True, padding="max_length",
)
for row, offsets in enumerate(windows["offset_mapping"]):
    inside = [i for i, text in enumerate(windows.sequence_ids(row)) if text == 1]
    print(windows["overflow_to_sample_mapping"][row], offsets[inside[0]], offsets[inside[-1]])
print(windows.char_to_token(1, story.index("fast", 150), 1), windows.tokens(1)[:8])

tagger = BertForTokenClassification.from_pretrained(tagger_folder).eval()
words = ["Ada", "Lovelace", "lived", "unbelievably", "long", "ago", "in", "London", "."]
inputs = tokenizer(words, is_split_into_words=True, return_tensors=tensors)
best = tagger(**inputs).logits[0].argmax(-1).tolist()
owners = inputs.word_ids(0)
for place, owner in enumerate(owners):
    if owner is not None and owner != owners[place - 1]:
        print(words[owner], tagger.config.id2label[best[place]])

classifier = BertForSequenceClassification.from_pretrained(classifier_folder).eval()
lines = ["The sun is shining.", "It rains, and the street is wet.", "No."]
examples = [dict(tokenizer(line), labels=number % 2) for number, line in enumerate(lines)]
batch = tokenizer.pad(examples, pad_to_multiple_of=8, return_tensors=tensors)
output = classifier(**batch)
print(list(batch["input_ids"].shape), f"{output.loss:.4f}")
print(output.logits.argmax(-1).tolist())

mlm = BertForMaskedLM.from_pretrained(base).eval()
inputs = tokenizer("I drink a cup of [MASK].", return_tensors=tensors)
place = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
print(tokenizer.decode([int(mlm(**inputs).logits[0, place].argmax())]))

tokenizer.model_max_length = 16
classifier.save_pretrained(new_folder)
tokenizer.save_pretrained(new_folder)
tokenizer = BertTokenizer.from_pretrained(new_folder)
classifier = BertForSequenceClassification.from_pretrained(new_folder).eval()
batch = tokenizer(lines + [story], padding=True, truncation=True, return_tensors=tensors)
print(classifier(**batch).logits.argmax(-1).tolist(), list(batch["input_ids"].shape))
print(tokenizer.decode(batch["input_ids"].tolist(), skip_special_tokens=True))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tagger and a classifier on top of the built-in model, whose heads are random."""
    torch.manual_seed(2)
    found = {}
    options: dict[str, Any] = {"dtype": torch.float32}
    heads = {"base": "MaskedLM", "tagger": "TokenClassification"}
    for name, kind in {**heads, "classifier": "SequenceClassification"}.items():
        if name != "base":
            labels = ["O", "PER", "LOC"] if name == "tagger" else ["no", "yes"]
            options["id2label"] = dict(enumerate(labels))
            options["label2id"] = {label: index for index, label in enumerate(labels)}
        model = getattr(transformers, f"BertFor{kind}").from_pretrained(DEMO, **options)
        if name != "base":
            torch.nn.init.normal_(model.classifier.weight)
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
    transformers.BertTokenizer.from_pretrained(DEMO).save_pretrained(found["base"])
    return {name if name == "base" else f"{name}_folder": path for name, path in found.items()}


def printed(library: str, **names: Any) -> str:
    """Run the script with the first line of a library, and return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(f"{FIRST_LINES[library]}\n{SCRIPT}", dict(names))
    return out.getvalue()


def test_it_prints_the_same_with_both_imports(folders: dict[str, Path], tmp_path: Path) -> None:
    found = {
        library: printed(library, **folders, new_folder=tmp_path / library)
        for library in FIRST_LINES
    }
    assert found["numpy_bert"] == found["transformers"]
    assert len(found["numpy_bert"].splitlines()) > 20
    # And what one has saved, the other runs.
    for library, other in (("numpy_bert", "transformers"), ("transformers", "numpy_bert")):
        names = {**folders, "classifier_folder": tmp_path / other}
        again = printed(library, **names, new_folder=tmp_path / f"{library} of {other}")
        assert again == found[library]
