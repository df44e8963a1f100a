"""From a sentence model's name to a folder that also holds what modules.json names."""

from __future__ import annotations

import os
from pathlib import Path

from numpy_bert.errors import CheckpointError, ConfigError, InputError
from numpy_bert.files import is_listed, look, permissions
from numpy_bert.loading.cache import (
    MODEL_FILES,
    TOKENIZER_FILES,
    CachedRepository,
    absent,
    is_offline,
    local_folder,
    missing_files,
)
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.formats import converted
from numpy_bert.loading.hub import fetch, find
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    WITH_WEIGHTS,
    read_modules,
    read_transformer_config,
    transformer_folder,
)
from numpy_bert.messages import quoted

__all__ = ["find_sentence_model"]

# Models that the hub has under a name without an owner; other such names are the organization's.
_NAMES = """
albert-base-v1 albert-base-v2 albert-large-v1 albert-large-v2 albert-xlarge-v1 albert-xlarge-v2
albert-xxlarge-v1 albert-xxlarge-v2 bert-base-cased bert-base-cased-finetuned-mrpc
bert-base-chinese bert-base-german-cased bert-base-german-dbmdz-cased
bert-base-german-dbmdz-uncased bert-base-multilingual-cased bert-base-multilingual-uncased
bert-base-uncased bert-large-cased bert-large-cased-whole-word-masking
bert-large-cased-whole-word-masking-finetuned-squad bert-large-uncased
bert-large-uncased-whole-word-masking bert-large-uncased-whole-word-masking-finetuned-squad
camembert-base ctrl distilbert-base-cased distilbert-base-cased-distilled-squad
distilbert-base-german-cased distilbert-base-multilingual-cased distilbert-base-uncased
distilbert-base-uncased-distilled-squad distilbert-base-uncased-finetuned-sst-2-english
distilgpt2 distilroberta-base gpt2 gpt2-large gpt2-medium gpt2-xl openai-gpt roberta-base
roberta-base-openai-detector roberta-large roberta-large-mnli roberta-large-openai-detector
t5-11b t5-3b t5-base t5-large t5-small transfo-xl-wt103 xlm-clm-ende-1024 xlm-clm-enfr-1024
xlm-mlm-100-1280 xlm-mlm-17-1280 xlm-mlm-en-2048 xlm-mlm-ende-1024 xlm-mlm-enfr-1024
xlm-mlm-enro-1024 xlm-mlm-tlm-xnli15-1024 xlm-mlm-xnli15-1024 xlm-roberta-base
xlm-roberta-large xlm-roberta-large-finetuned-conll02-dutch
xlm-roberta-large-finetuned-conll02-spanish xlm-roberta-large-finetuned-conll03-english
xlm-roberta-large-finetuned-conll03-german xlnet-base-cased xlnet-large-cased
"""
_PLAIN = frozenset(_NAMES.split())
# The modules that are read from files of their own; Normalize and Dropout may have no config.json.
_READ = ("Pooling", "SpladePooling", *WITH_WEIGHTS)


@permissions(InputError)
def find_sentence_model(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
    organization: str = "sentence-transformers",
) -> Path:
    """Return the folder of a sentence model, without a request where the cache has all of it.

    A snapshot that another program took, or an older version of this one, may lack modules.json or
    a file that is read beside it, though the hub has it: encoding with the mean of the tokens, or
    of all tokens, would then be wrong without a word. So unless the cache knows that there is none,
    the hub is asked once.

    As in sentence-transformers a name without an owner is looked for under an `organization` of
    theirs, unless the cache has it or it is one of the hub's old names, such as
    ``"bert-base-uncased"``; and the cache is the environment variable SENTENCE_TRANSFORMERS_HOME
    where `cache_dir` is not given.

    Raises
    ------
    HubError, IntegrityError, CheckpointError
        As in `numpy_bert.fetch`; also if a module's weights are pickled.
    """
    if cache_dir is None:
        cache_dir = os.environ.get("SENTENCE_TRANSFORMERS_HOME") or None
    if local_folder(name_or_path) is None:
        name_or_path = _full_name(str(name_or_path), organization, revision, cache_dir)
    folder = find(
        name_or_path,
        needs=(*MODEL_FILES, *TOKENIZER_FILES),
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
    )
    is_local = local_folder(name_or_path) is not None
    if not (is_local or local_files_only or is_offline() or _is_settled(folder)):
        folder = fetch(name_or_path, revision=folder.name, cache_dir=cache_dir, token=token)
    if not is_local:
        _check_modules(folder, str(name_or_path))
    return folder


def _full_name(
    name: str, organization: str, revision: str | None, cache_dir: str | Path | None
) -> str:
    """Return the name of a sentence model's repository, the owner's included."""
    if "/" in name or name.lower() in _PLAIN:
        return name
    cached = CachedRepository(name, cache_dir)
    if cached.snapshot(revision) is not None or cached.only_snapshot(revision) is not None:
        return name
    return f"{organization}/{name}"


def _check_modules(snapshot: Path, name: str) -> None:
    """Raise CheckpointError at a module whose weights the hub does not have as safetensors."""
    if not is_listed(snapshot / MODULES):
        return
    for entry in read_modules(snapshot / MODULES, error=CheckpointError):
        weights = (file for file in entry.files if file.endswith(SINGLE))
        lacked = [file for file in weights if is_listed(absent(snapshot, file))]
        if lacked and not is_listed(snapshot / lacked[0]):
            raise CheckpointError(
                f"{name}: has no {quoted(lacked[0])}. A module's pickled weights are refused, "
                "since opening a pickle runs whatever code is in it. "
                f"{converted(name, sentence=True)}"
            )


def _is_settled(snapshot: Path) -> bool:
    """Tell whether a snapshot holds all that a sentence model is read from and the hub has."""
    if not is_listed(snapshot / MODULES):
        return is_listed(absent(snapshot, MODULES))
    entries = read_modules(snapshot / MODULES, error=CheckpointError)
    inner = transformer_folder(entries)
    if inner and missing_files(snapshot / inner, (*MODEL_FILES, *TOKENIZER_FILES)):
        return False
    read = [name for e in entries if e.kind in _READ for name in e.files]
    # Of the Transformer's files those up to the one that counts; later ones are not read.
    counts, stated = read_transformer_config(snapshot / inner, error=ConfigError)
    end = TRANSFORMER_CONFIGS.index(counts) + 1 if stated else None
    read += [SETTINGS, *(str(Path(inner, name)) for name in TRANSFORMER_CONFIGS[:end])]
    return all(look(snapshot / n) == "file" or is_listed(absent(snapshot, n)) for n in read)
