"""Checkpoint keys in every published spelling, renamed in one place.

The rule: leading components ``module.`` and ``bert.`` are taken away, however many there are, and
a final ``LayerNorm.gamma`` or ``LayerNorm.beta`` becomes ``LayerNorm.weight`` or
``LayerNorm.bias``. Nothing else is renamed, unless the whole of a BERT hangs under another prefix,
as a program leaves it whose own module holds one: that prefix is then taken away first.

Of another architecture its own prefix takes the place of ``bert.``, and whole components of a name
become BERT's, as its entry in `numpy_bert.architectures` says; `stored` goes the way back. BERT's
own names for these are then unknown: the tensors are not of this architecture.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from numpy_bert.architectures import ARCHITECTURES, Architecture
from numpy_bert.errors import CheckpointError
from numpy_bert.messages import listed
from numpy_bert.parameters import TIED

__all__ = [
    "BUFFERS",
    "Naming",
    "canonical",
    "foreign_model",
    "naming",
    "near_miss",
    "renamed",
    "stored",
]

_BERT = ARCHITECTURES["bert"]
# What each tensor that is tied is called besides.
_TWINS = {original: copy for copy, original in TIED.items()}

# Constants that older versions of transformers saved with the parameters.
BUFFERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})

_OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# By two of these a BERT is known, wherever it hangs.
_TABLES = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
)
# No key of a BERT comes near; comparing takes time that grows with the length.
_LONGEST_KEY = 200
# The architectures of BERT's family by their prefixes, of several with one prefix the first; but
# for those whose encoders have prefixes of their own, under which a BERT may hang.
_FAMILY = {
    entry.prefix: entry.name
    for entry in reversed([*ARCHITECTURES.values()])
    if entry is not _BERT and not entry.encoders
}
# Models that people take for a BERT, by how their keys begin. Those of one component are known
# under any prefix.
_FOREIGN = {
    **_FAMILY,
    "albert.": "ALBERT",
    "deberta.": "DeBERTa",
    "data2vec_text.": "Data2Vec",
    "span_predictor.": "DPR's reader",
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


def canonical(key: str, architecture: Architecture = _BERT) -> str:
    """Return the key as numpy_bert and transformers' BertModel spell it.

    A name that BERT has for what another architecture calls otherwise is none of its names, and
    becomes one that no parameter has.

    Examples
    --------
    >>> canonical("bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    >>> canonical("cls.predictions.bias")
    'cls.predictions.bias'
    >>> canonical("distilbert.transformer.layer.0.ffn.lin2.bias", ARCHITECTURES["distilbert"])
    'encoder.layer.0.output.dense.bias'
    """
    bare = _bare(key, architecture)
    if renamed(bare, architecture, back=True) != bare:
        return f"not as {architecture.name} has it: {key}"
    key = renamed(bare, architecture)
    for old, new in _OLD_NORM.items():
        if key == old or key.endswith(f".{old}"):
            return key.removesuffix(old) + new
    return key


def renamed(name: str, architecture: Architecture, *, back: bool = False) -> str:
    """Return a name with the components that an architecture has for BERT's as BERT has them.

    With `back`, the other way round.

    Examples
    --------
    >>> mpnet = ARCHITECTURES["mpnet"]
    >>> renamed("encoder.layer.0.attention.attn.q", mpnet)
    'encoder.layer.0.attention.self.query'
    >>> renamed("encoder.layer.0.attention.self.query", mpnet, back=True)
    'encoder.layer.0.attention.attn.q'
    """
    if not architecture.keys:
        return name
    pattern, names = _renames(architecture, back)
    return pattern.sub(lambda match: names[match[0]], name)


@cache
def _renames(architecture: Architecture, back: bool) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """Return a pattern for the components that are renamed, and what each becomes."""
    names = {new: old for old, new in architecture.keys.items()} if back else architecture.keys
    # The longest first, as attention.output.dense ends in output.dense.
    parts = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![^.])(?:{parts})(?![^.])"), names


def stored(key: str, architecture: Architecture, prefix: str = "") -> str:
    """Return what an architecture calls a parameter, as transformers stores it.

    Parameters
    ----------
    key : str
        The parameter's key here; under a head the model's begin with ``bert.``.
    architecture : Architecture
        Whose name it is to be.
    prefix : str
        What takes the place of ``bert.``, by default the architecture's own prefix.

    Examples
    --------
    >>> stored("bert.encoder.layer.0.output.dense.bias", ARCHITECTURES["distilbert"])
    'distilbert.transformer.layer.0.ffn.lin2.bias'
    >>> stored("cls.predictions.bias", ARCHITECTURES["roberta"])
    'lm_head.bias'
    >>> stored("cls.predictions.bias", ARCHITECTURES["distilbert"])  # which has that of the decoder
    'vocab_projector.bias'
    >>> stored("bert.encode_proj.bias", ARCHITECTURES["dpr"])
    'question_encoder.encode_proj.bias'
    """
    prefix = prefix or architecture.prefix
    if key in architecture.lacks:
        key = _TWINS.get(key, key)
    if not key.startswith(_BERT.prefix):
        return renamed(key, architecture, back=True)
    inner = key[len(_BERT.prefix) :]
    if inner.split(".")[0] in architecture.beside:
        prefix = prefix[: prefix.rindex(".", 0, -1) + 1]
    return prefix + renamed(inner, architecture, back=True)


class Naming(NamedTuple):
    """How the tensors of one checkpoint are named.

    Attributes
    ----------
    prefix : str
        What the names of a whole BERT begin with, its heads' included; "" where `canonical` alone
        knows them.
    architecture : Architecture
        Whose names they are.
    """

    prefix: str = ""
    architecture: Architecture = _BERT

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
            return canonical(name[len(self.prefix) :], self.architecture)
        return f"outside {self.prefix}: {name}"


def naming(names: Iterable[str], where: str, architecture: Architecture = _BERT) -> Naming:
    """Find out how the tensors of a checkpoint are named.

    Parameters
    ----------
    names : iterable of str
        The names of all its tensors.
    where : str
        What messages call the checkpoint.
    architecture : Architecture
        What it is, as its config says.

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
    if not all(_bare(prefix, architecture) for prefix in whole):
        return Naming("", architecture)
    found = sorted(
        {
            _outer(prefix, architecture)
            for prefix in whole
            if prefix.endswith(".") and foreign_model([prefix], architecture) is None
        }
    )
    if len(found) > 1:
        raise CheckpointError(
            f"{where}: must hold one BERT; got {len(found)}, under the prefixes {listed(found)}. "
            "Save the one that is meant alone (that part's own save_pretrained)."
        )
    return Naming("".join(found), architecture)


def foreign_model(keys: Iterable[str], architecture: Architecture = _BERT) -> str | None:
    """Return the name of the model that these keys belong to, where they are plainly another's."""
    own = _own(architecture)
    for key in keys:
        for start, name in _FOREIGN.items():
            if start in own or name == architecture.name:
                continue
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


@cache
def _own(architecture: Architecture) -> tuple[str, ...]:
    """Return the components that `canonical` takes away."""
    return ("module.", *(f"{module}." for module in architecture.modules))


def _bare(key: str, architecture: Architecture) -> str:
    """Return a key without the leading components that are the architecture's own."""
    start, own = 0, _own(architecture)
    while key.startswith(own, start):
        start = key.index(".", start) + 1
    return key[start:]


def _outer(prefix: str, architecture: Architecture) -> str:
    """Return a prefix without the last components that are its own: heads hang beside those."""
    end, own = len(prefix), tuple(f".{part}" for part in _own(architecture))
    while prefix.endswith(own, 0, end):
        end = prefix.rindex(".", 0, end - 1) + 1
    return prefix[:end]
