"""Readings for tests, models to read with, and the numbers that a page carries."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert import BertForMaskedLM, BertModel, BertTokenizer, explain
from numpy_bert.explain import measures
from tests.support.checkpoints import TINY
from tests.support.traces import trained_like

DEMO = Path(explain.__file__).parent.parent / "demo"
# What a BERT adds up, of what there may be.
PARTS = tuple(measures.PARTS)[:3]
SENTENCE = "this is a test sentence"
# Thirty tokens with [CLS] and [SEP].
LONG_SENTENCE = "the cat sat on the mat and " * 4
HOSTILE = (
    "1 < 2 & </script><script>document.title='x'</script> <!-- ${data} $title "
    "\u05e9\u05dc\u05d5\u05dd"
)


def random_model(folder: Path, *, only_config: bool = False, **changes: Any) -> Path:
    """Write a random model of the demo's vocabulary, with the demo's tokenizer."""
    sizes = {
        "vocab_size": 8000,
        "num_hidden_layers": 12,
        "hidden_size": 36,
        "num_attention_heads": 12,
        "max_position_embeddings": 64,
        **changes,
    }
    if only_config:
        (folder / "config.json").write_text(json.dumps({**TINY, "type_vocab_size": 2, **sizes}))
    else:
        trained_like(folder, **sizes)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder / name)
    return folder


def load(folder: str | Path, dtype: str = "float32") -> tuple[BertModel, BertTokenizer]:
    """Load a model and its tokenizer."""
    return BertModel.from_pretrained(folder, dtype=dtype), BertTokenizer.from_pretrained(folder)


def read(
    folder: str | Path, *texts: str, dtype: str = "float32", **options: Any
) -> explain.Reading:
    """Let a model read a text or a pair."""
    model, tokenizer = load(folder, dtype)
    return explain.read(*texts, model=model, tokenizer=tokenizer, **options)


def masked(*texts: str, **options: Any) -> explain.Reading:
    """Let the demo read a text with masks."""
    model = BertForMaskedLM.from_pretrained("demo")
    return explain.read(*texts, model=model, tokenizer=model.tokenizer, **options)


def trace_of(folder: str | Path, *texts: str, dtype: str = "float32") -> dict[str, Any]:
    """Return every step of the same run, by name."""
    model, tokenizer = load(folder, dtype)
    return dict(model.trace(**tokenizer(*texts, return_tensors="np")))


def data_of(page: str) -> dict[str, Any]:
    """Return what the page carries for its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def unpacked(packed: dict[str, Any]) -> npt.NDArray[Any]:
    """Return a packed array; a quantized one in float64."""
    code = {"float32": "<f4", "float64": "<f8", "int16": "<i2"}[packed["dtype"]]
    flat = np.frombuffer(base64.b64decode(packed["base64"]), code)
    array = flat.reshape(packed["shape"])
    return array * packed["scale"] if "scale" in packed else array
