"""The model card of the demo."""

from __future__ import annotations

from demo_files import CONFIG
from demo_texts import DemoTexts
from report_demo import Figures
from safetensors.numpy import load

CARD = """\
---
license: apache-2.0
language: en
library_name: numpy_bert
pipeline_tag: sentence-similarity
tags:
  - bert
  - numpy
  - demo
  - fill-mask
---

# The demo checkpoint of numpy_bert

A small BERT that comes inside the package, so that everything in it runs with no network:

```python
from numpy_bert import BertForMaskedLM, SentenceEncoder

vectors = SentenceEncoder.from_pretrained("demo").encode(["The sun is up.", "It is warm."])
words = BertForMaskedLM.from_pretrained("demo").fill_mask("The [MASK] is shining.")
```

It was trained from nothing by this package itself, on a CPU, with no other framework. It is real
and it is tiny: good for trying things out, for tests and for study. For use, load a larger model.

## How good it is

| on text that it was not trained on | demo | beside it |
|---|---|---|
| masked words guessed | {accuracy:.1f} % | {most_frequent:.1f} %: always the most frequent |
| next sentence, right | {next_sentence:.1f} % | {always_random:.1f} %: always "does not follow" |
| STS-B dev (English), Spearman of cosines | {spearman:.3f} | {untrained:.3f}: the same model, \
untrained; {teacher:.3f}: all-MiniLM-L6-v2, its teacher |

`python scripts/report_demo.py PATH_OF_MINILM` prints these figures.

## The model

| | |
|---|---|
| architecture | BertForPreTraining: encoder, pooler, both pre-training heads |
| layers, hidden size, heads, intermediate size | {layers}, {hidden}, {heads}, {inner} |
| vocabulary, positions, token types | {vocab:,}, {positions}, {types} |
| parameters | {parameters:,} in {tensors} tensors, stored as float16 |
| decoder of the masked-word head | tied to the word embeddings, not stored again |
| sentence vectors | {features} features: the mean of the tokens through a linear map, length 1 |
| model.safetensors | {model_bytes:,} bytes |
| tokenizer.json | {tokenizer_bytes:,} bytes |

## How it was trained

| | |
|---|---|
| start | normal with standard deviation {deviation}, cut at two of them; biases 0, LayerNorm 1 |
| texts | {texts:,}: sentences, and two sentences as one text |
| first | {word_passes} passes ({word_steps:,} steps): masked words (15 %), next sentences |
| then | {vector_passes} passes ({vector_steps:,} steps): sentence vectors follow those of \
[all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0), \
and are as like each other as its are; masked words and next sentences count {beside:g} beside |
| optimizer | AdamW, learning rate {rate:g}, up for a tenth of the steps, then down to 0; weight \
decay {decay}, gradients at most {norm:g} long |
| batch | {batch} texts of about one length; then {masked} of them masked; {pairs} pairs |
| dropout | none: a model of this size learnt less with it; config.json says 0.1, BERT's own |
| seed | {seed} |

## The data

- *Alice's Adventures in Wonderland* by Lewis Carroll and *Pride and Prejudice* by Jane Austen, in
  the editions of Project Gutenberg: public domain. The last chapter of each was held out.
- The English sentences of [Tatoeba](https://tatoeba.org), by its contributors, under
  [CC BY 2.0 FR](https://creativecommons.org/licenses/by/2.0/fr/), as published in
  facebookresearch/LASER. {held:,} of them were held out.
- STS-B was never trained on.

The vocabulary is {vocab:,} lower-case WordPieces, learnt from the same texts with the `tokenizers`
library. The weights are under the package's licence, Apache-2.0.

## Make it again

From the root of the repository:

```
python scripts/make_demo.py PATH_OF_MINILM --seed {seed}
```

It takes some 35 minutes on two cores, goes on where it was stopped, and on one machine gives the
same bytes each time. `tokenizer.json` holds the whole tokenizer; there is no `vocab.txt`.

## Limits

- {layers} layers of {hidden} features, short sentences of everyday English and two old novels: it
  knows little else, and says things that are wrong. What its texts take for granted, it does too.
- It has seen texts of at most {length} tokens; positions beyond were never trained, though
  {positions} are there, [CLS] and [SEP] included.
- English only; capitals and accents are dropped. A word with any other letter than a to z is
  [UNK], and so is a symbol that is not in the vocabulary.
- Next sentences are learnt from two books: take that head's word for nothing.
"""


def make_card(
    files: dict[str, bytes],
    figures: Figures,
    texts: DemoTexts,
    *,
    seed: int,
    steps: dict[str, int],
    passes: dict[str, int],
    settings: dict[str, float],
) -> str:
    """Return the model card with the figures filled in."""
    weights = load(files["model.safetensors"])
    shares = {
        name: 100 * getattr(figures, name)
        for name in ("accuracy", "most_frequent", "next_sentence", "always_random")
    }
    return CARD.format(
        **shares,
        spearman=figures.spearman,
        untrained=figures.untrained,
        teacher=figures.teacher,
        layers=CONFIG["num_hidden_layers"],
        hidden=CONFIG["hidden_size"],
        heads=CONFIG["num_attention_heads"],
        inner=CONFIG["intermediate_size"],
        vocab=CONFIG["vocab_size"],
        positions=CONFIG["max_position_embeddings"],
        types=CONFIG["type_vocab_size"],
        deviation=CONFIG["initializer_range"],
        parameters=sum(weight.size for weight in weights.values()),
        tensors=len(weights),
        model_bytes=len(files["model.safetensors"]),
        tokenizer_bytes=len(files["tokenizer.json"]),
        texts=len(texts.texts),
        held=len(texts.held) - sum(map(len, texts.held_documents)),
        seed=seed,
        word_passes=passes["words"],
        vector_passes=passes["vectors"],
        word_steps=steps["words"],
        vector_steps=steps["vectors"],
        **settings,
    )
