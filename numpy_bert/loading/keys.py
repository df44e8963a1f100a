"""Checkpoint keys in every published spelling, renamed in one place.

The rule: leading components ``module.`` and ``bert.`` are taken away, however many there are, and
a final ``LayerNorm.gamma`` or ``LayerNorm.beta`` becomes ``LayerNorm.weight`` or
``LayerNorm.bias``. Nothing else is renamed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["BUFFERS", "canonical", "foreign_model", "near_miss"]

# Constants that older versions of transformers saved with the parameters.
BUFFERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})

_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# No key of a BERT comes near; comparing takes time that grows with the length.
_LONGEST_KEY = 200
# Models that people take for a BERT, by how their keys begin or by what they contain.
_FOREIGN = {
    "roberta.": "RoBERTa",
    "distilbert.": "DistilBERT",
    "electra.": "ELECTRA",
    "albert.": "ALBERT",
    "deberta.": "DeBERTa",
    "mpnet.": "MPNet",
    "transformer.layer.": "DistilBERT",
    "transformer.h.": "GPT-2",
    "h.0.": "GPT-2",
    "wte.": "GPT-2",
    "gpt_neox.": "GPT-NeoX",
    "model.layers.": "a decoder such as Llama",
    "encoder.block.": "T5",
    "vision_model.": "CLIP",
    "layers.0.attn.": "ModernBERT",
}


def canonical(key: str) -> str:
    """Return the key as numpy_bert and transformers' BertModel spell it.

    Examples
    --------
    >>> canonical("bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    >>> canonical("cls.predictions.bias")
    'cls.predictions.bias'
    """
    start = 0
    while key.startswith(("module.", "bert."), start):
        start = key.index(".", start) + 1
    key = key[start:]
    for old, new in _OLD_NORM.items():
        if key == old or key.endswith(f".{old}"):
            return key.removesuffix(old) + new
    return key


def foreign_model(keys: Iterable[str]) -> str | None:
    """Return the name of the model that these keys belong to, where they are plainly not BERT's."""
    for key in keys:
        for start, name in _FOREIGN.items():
            if key.startswith(start):
                return name
    return None


def near_miss(key: str, candidates: Collection[str]) -> str | None:
    """Return the candidate that is most likely a misspelling of `key`, if there is one."""
    if len(key) > _LONGEST_KEY:
        return None
    import difflib  # only a complaint needs it

    close = difflib.get_close_matches(key, candidates, n=1, cutoff=0.9)
    return close[0] if close else None
