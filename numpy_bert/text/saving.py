"""A tokenizer as it is now, written so that this package and transformers load the same one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from numpy_bert.errors import OutputError
from numpy_bert.files import (
    check_output,
    is_listed,
    look,
    make_folder,
    read_bytes,
    write_atomically,
)
from numpy_bert.text.backend import check_ids_of, check_listing
from numpy_bert.text.recipes import own_settings
from numpy_bert.text.tokenizer_config import LARGEST_FILE, Settings
from numpy_bert.text.wordpiece import SWITCHES

__all__ = ["SAVED", "files_of", "save_files"]

# The files that are written: the two that transformers writes.
SAVED = ("tokenizer.json", "tokenizer_config.json")
# What transformers writes for "no limit".
_NO_LIMIT = int(1e30)


def files_of(tokenizer: Tokenizer, settings: Settings) -> dict[str, bytes]:
    """Return, by their names, the files of which transformers and we make this tokenizer.

    What is baked into a tokenizer.json is gone: padding, truncation, dropout. tokenizer_config.json
    lists all added tokens, so that older files that lie beside it, special_tokens_map.json and
    added_tokens.json, have no say.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        A tokenizer as `load_backend` makes it.
    settings : Settings
        What is stated of it, as it is now.

    Examples
    --------
    >>> from numpy_bert.loading.cache import demo_folder
    >>> from numpy_bert.text.backend import load_backend
    >>> backend = load_backend(demo_folder())
    >>> found = files_of(backend.tokenizer, backend.settings)
    >>> json.loads(found["tokenizer_config.json"])["tokenizer_class"]
    'BertTokenizer'
    """
    config = _config(tokenizer, settings)
    stated = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    contents = tokenizer.to_str(pretty=True).encode(), f"{stated}\n".encode()
    return dict(zip(SAVED, contents, strict=True))


def _config(tokenizer: Tokenizer, settings: Settings) -> dict[str, Any]:
    """Return the content of tokenizer_config.json.

    BERT's class, or that of a recipe, is named where it would make this tokenizer, else the one
    that keeps tokenizer.json as it is. What a call's members are is stated for all.
    """
    limit, added = settings.model_max_length, tokenizer.get_added_tokens_decoder()
    special = {token.content for token in added.values() if token.special}
    five = {name: token for name, token in settings.special_tokens.items() if token in special}
    found: dict[str, Any] = {
        **five,  # others would become special by being named
        **{name: token.content for name, token in settings.stated_tokens.items()},
        "model_max_length": _NO_LIMIT if limit is None else limit,
        "padding_side": settings.padding_side,
        "truncation_side": settings.truncation_side,
        "clean_up_tokenization_spaces": settings.cleans_up,
        "split_special_tokens": settings.split_special_tokens,
        "model_input_names": list(settings.input_names),
        "added_tokens_decoder": {
            str(index): token.__getstate__() for index, token in added.items()
        },
    }
    if settings.extra_tokens:  # by the name that every version of transformers reads
        found["additional_special_tokens"] = [token.content for token in settings.extra_tokens]
    return {**found, **_class(tokenizer, settings)}


def _class(tokenizer: Tokenizer, settings: Settings) -> dict[str, Any]:
    """Return the class that would make this tokenizer, and the settings that only it has."""
    named = settings.tokenizer_class
    switches = {ours: settings.switches.get(ours, value) for ours, _, value in SWITCHES}
    if named.recipe is not None:
        return {"tokenizer_class": named.recipe} | own_settings(settings, switches)
    if named.makes == "all" and isinstance(tokenizer.model, WordPiece):
        return {"tokenizer_class": "BertTokenizer"} | switches
    return {"tokenizer_class": "PreTrainedTokenizerFast"}


def save_files(folder: Path, tokenizer: Tokenizer, settings: Settings, *, force: bool) -> None:
    """Write the files of a tokenizer into a folder, which is made if it is not there.

    A file that has the same bytes already is left as it is.

    Raises
    ------
    OutputError
        If another file is there and `force` is not given, or one cannot be written whole.
    TokenizerError
        If a vocab.txt is there that gives other ids to the special tokens.
    """
    files = files_of(tokenizer, settings)
    make_folder(folder)
    new = {name: data for name, data in files.items() if not _is_there(folder / name, data)}
    for name in new:
        check_output(folder / name, force=force)
    if is_listed(folder / "vocab.txt") and isinstance(tokenizer.model, WordPiece):
        path = folder / "tokenizer.json"
        _, listing = check_ids_of(path, tokenizer)
        check_listing(path, tokenizer, listing, settings.special_tokens)
    # tokenizer.json last: what is stopped before it is no tokenizer, not one with other settings.
    for name in reversed(new):
        write_atomically(folder / name, new[name])


def _is_there(path: Path, data: bytes) -> bool:
    """Tell whether a file with these bytes is there."""
    if look(path) != "file" or path.stat().st_size != len(data):
        return False
    return read_bytes(path, error=OutputError, limit=LARGEST_FILE) == data
