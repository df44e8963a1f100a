"""Checkpoint keys in every published spelling, renamed in one place.

The rule: leading components ``module.`` and ``bert.`` are taken away, however many there are, and
a final ``LayerNorm.gamma`` or ``LayerNorm.beta`` becomes ``LayerNorm.weight`` or
``LayerNorm.bias``. Nothing else is renamed, unless the whole of a BERT hangs under another prefix,
as a program leaves it whose own module holds one: that prefix is then taken away first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from numpy_bert.errors import CheckpointError
from numpy_bert.messages import listed

__all__ = ["BUFFERS", "Naming", "canonical", "foreign_model", "naming", "near_miss"]

# Constants that older versions of transformers saved with the parameters.
BUFFERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})

_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# By two of these a BERT is known, wherever it hangs.
_TABLES = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
)
# Components that `canonical` takes away.
_OWN = ("module.", "bert.")
# No key of a BERT comes near; comparing takes time that grows with the length.
_LONGEST_KEY = 200
# Models that people take for a BERT, by how their keys begin. Those of one component are known
# under any prefix.
_FOREIGN = {
    "roberta.": "RoBERTa",
    "distilbert.": "DistilBERT",
    "electra.": "ELECTRA",
    "albert.": "ALBERT",
    "deberta.": "DeBERTa",
    "mpnet.": "MPNet",
    "data2vec_text.": "Data2Vec",
    "ernie.": "ERNIE",
    "esm.": "ESM",
    "layoutlm.": "LayoutLM",
    "lilt.": "LiLT",
    "luke.": "LUKE",
    "markuplm.": "MarkupLM",
    "nezha.": "NEZHA",
    "tapas.": "TAPAS",
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
    key = _bare(key)
    for old, new in _OLD_NORM.items():
        if key == old or key.endswith(f".{old}"):
            return key.removesuffix(old) + new
    return key


class Naming(NamedTuple):
    """How the tensors of one checkpoint are named.

    Attributes
    ----------
    prefix : str
        What the names of a whole BERT begin with, its heads' included; "" where `canonical` alone
        knows them.
    """

    prefix: str = ""

    def canonical(self, name: str) -> str:
        """Return a name's canonical key; one that no parameter has where it lacks the prefix.

        Examples
        --------
        >>> Naming("model.").canonical("model.bert.embeddings.LayerNorm.gamma")
        'embeddings.LayerNorm.weight'
        >>> Naming("model.").canonical("classifier.weight")
        'outside model.: classifier.weight'
        """
        if name.startswith(self.prefix):
            return canonical(name[len(self.prefix) :])
        return f"outside {self.prefix}: {name}"


def naming(names: Iterable[str], where: str) -> Naming:
    """Find out how the tensors of a checkpoint are named.

    Parameters
    ----------
    names : iterable of str
        The names of all its tensors.
    where : str
        What messages call the checkpoint.

    Raises
    ------
    CheckpointError
        If several BERTs hang under several prefixes, and none under the usual ones.

    Examples
    --------
    >>> tables = ["word_embeddings.weight", "position_embeddings.weight"]
    >>> naming([f"0.auto_model.embeddings.{table}" for table in tables], "a file").prefix
    '0.auto_model.'
    """
    seen: dict[str, set[str]] = {}
    for name in names:
        for table in _TABLES:
            if name.endswith(table):
                seen.setdefault(name.removesuffix(table), set()).add(table)
    whole = [prefix for prefix, tables in seen.items() if len(tables) > 1]
    if not all(map(_bare, whole)):
        return Naming()
    found = sorted({_outer(p) for p in whole if p.endswith(".") and foreign_model([p]) is None})
    if len(found) > 1:
        raise CheckpointError(
            f"{where}: must hold one BERT; got {len(found)}, under the prefixes {listed(found)}. "
            "Save the one that is meant alone (that part's own save_pretrained)."
        )
    return Naming(*found)


def foreign_model(keys: Iterable[str]) -> str | None:
    """Return the name of the model that these keys belong to, where they are plainly not BERT's."""
    for key in keys:
        for start, name in _FOREIGN.items():
            if key.startswith(start) or (start.count(".") == 1 and f".{start}" in key):
                return name
    return None


def near_miss(key: str, candidates: Collection[str]) -> str | None:
    """Return the candidate that is most likely a misspelling of `key`, if there is one."""
    if len(key) > _LONGEST_KEY:
        return None
    import difflib  # only a complaint needs it

    close = difflib.get_close_matches(key, candidates, n=1, cutoff=0.9)
    return close[0] if close else None


def _bare(key: str) -> str:
    """Return a key without the leading components that are BERT's own."""
    start = 0
    while key.startswith(_OWN, start):
        start = key.index(".", start) + 1
    return key[start:]


def _outer(prefix: str) -> str:
    """Return a prefix without the last components that are BERT's own: heads hang beside those."""
    end = len(prefix)
    while prefix.endswith(tuple(f".{own}" for own in _OWN), 0, end):
        end = prefix.rindex(".", 0, end - 1) + 1
    return prefix[:end]
