"""What the class that the files name makes of a tokenizer.json: the rule of `load_backend`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from numpy_bert.text.library import backend_errors
from numpy_bert.text.settings import SPECIAL_TOKENS, Settings
from numpy_bert.text.wordpiece import (
    Difference,
    berts_tokenizer,
    differences,
    is_xlm_rs,
    switch_differences,
)

__all__ = ["obey_class", "with_special_tokens"]

# How the special tokens are spelt where no file states them.
_SPELLINGS = {
    "cls_token": ("[CLS]", "<s>", "<cls>"),
    "sep_token": ("[SEP]", "</s>", "<sep>"),
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def with_special_tokens(path: Path, tokenizer: Tokenizer, settings: Settings) -> Settings:
    """Return settings with special tokens that no file states as tokenizer.json spells them."""
    is_berts = settings.tokenizer_class.makes != "nothing"
    if is_berts and isinstance(tokenizer.model, WordPiece):
        return settings
    with backend_errors(str(path)):
        frame = tokenizer.encode("").tokens or [""]
    used = {
        "cls_token": frame[0],
        "sep_token": frame[-1],
        "unk_token": str(getattr(tokenizer.model, "unk_token", None)),
    }
    found = dict(settings.special_tokens)
    for name, spellings in _SPELLINGS.items():
        present = [token for token in spellings if tokenizer.token_to_id(token) is not None]
        if name not in settings.stated_tokens and present:
            found[name] = used[name] if used.get(name) in present else present[0]
    return replace(settings, special_tokens=found)


def obey_class(
    path: Path, tokenizer: Tokenizer, settings: Settings, notes: list[str]
) -> tuple[Tokenizer, bool]:
    """Return what the class makes of tokenizer.json, and whether it still has to make the frame.

    A tokenizer that is made anew is yet without added tokens. What is done against one of the files
    is warned of, once.
    """
    named = settings.tokenizer_class
    said = []
    makes_frame = False
    if named.has_own_code:
        said.append(
            f"{named.stated}, of which transformers runs Python code. Here tokenizer.json is used, "
            "whose ids may be others."
        )
    if named.makes == "nothing" or not isinstance(tokenizer.model, WordPiece):
        said += _kept(path, tokenizer, settings, notes)
    else:
        found = _differences(tokenizer, settings)
        rebuilds = named.makes == "all" and bool(found or _adds_others(tokenizer, settings))
        makes_frame = bool(found) or rebuilds
        said += _made(path, tokenizer, settings, found)
        if rebuilds:
            with backend_errors(str(path)):
                vocabulary = tokenizer.get_vocab(with_added_tokens=False)
                tokenizer = berts_tokenizer(vocabulary, settings)
    if said:
        warnings.warn(" ".join(said), stacklevel=4)  # at the caller of BertTokenizer's
    return tokenizer, makes_frame


def _kept(path: Path, tokenizer: Tokenizer, settings: Settings, notes: list[str]) -> list[str]:
    """Say what of the files is of no effect where tokenizer.json is kept as it is."""
    named = settings.tokenizer_class
    if named.makes != "nothing":
        return [
            f"{path}: is {type(tokenizer.model).__name__}, and is used as it is, as in "
            f"transformers 4; {named.name} of transformers 5 takes its tokens for WordPiece. If it "
            "is right, let tokenizer_config.json say tokenizer_class = 'PreTrainedTokenizerFast'."
        ]
    if _is_built_otherwise(tokenizer, settings):
        return [
            f"{path}: is used as it is, as in transformers 4; {named.name} of transformers 5 makes "
            "a tokenizer of its own of its tokens, whose ids may be others. If it is right, let "
            "tokenizer_config.json say tokenizer_class = 'PreTrainedTokenizerFast'."
        ]
    ignored = switch_differences(tokenizer, settings, defaults=False)
    if not ignored:
        return []
    message = (
        f"tokenizer_config.json contradicts tokenizer.json ({', '.join(ignored)}); tokenizer.json "
        "is used, as in transformers."
    )
    if isinstance(tokenizer.model, WordPiece):
        return [f"{path.parent}: {message}"]
    notes.append(message)  # the switches are BERT's: other kinds are published with them
    return []


def _is_built_otherwise(tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether a file departs from what a class makes that transformers 5 builds anew.

    It is looked at where that is cheap: the kind of model, all of a WordPiece but the special
    tokens around texts, and what XLM-R's class does to a text before its model.
    """
    made, model = settings.tokenizer_class.built_anew, tokenizer.model
    if made is None:
        return False
    if made != type(model).__name__:
        return True
    if made == "WordPiece":
        return bool(differences(tokenizer, settings))
    if str(settings.tokenizer_class.name).startswith("XLMRoberta"):
        return not is_xlm_rs(tokenizer)
    return False


def _differences(tokenizer: Tokenizer, settings: Settings) -> list[Difference]:
    """Return in what a tokenizer.json is not what BertTokenizer or one of its kin makes of it."""
    found = [] if settings.tokenizer_class.makes == "frame" else differences(tokenizer, settings)
    if not _has_frame(tokenizer, settings):
        what = "the special tokens around texts are others there"
        found.append(Difference(what, kept_before=True))
    return found


def _made(
    path: Path, tokenizer: Tokenizer, settings: Settings, found: list[Difference]
) -> list[str]:
    """Say in what a class of BERT's kin overrides tokenizer.json, or does so no more."""
    named, said = settings.tokenizer_class, []
    if found:
        before = ", ".join(difference.what for difference in found if difference.kept_before)
        said.append(
            f"{path.parent}: tokenizer.json is not what {named.name} makes by itself "
            f"({', '.join(difference.what for difference in found)}); the latter is used, as in "
            f"transformers 5{f'. Transformers 4 kept this: {before}' if before else ' and 4'}."
        )
    if named.makes == "frame" and (
        ignored := switch_differences(tokenizer, settings, defaults=True)
    ):
        said.append(
            f"{path.parent}: {named.name} keeps tokenizer.json's normalizer "
            f"({', '.join(ignored)}), as in transformers 5; in transformers 4 the former won."
        )
    return said


def _adds_others(tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether tokenizer.json adds other tokens than are declared, by ids or by flags.

    They can then have other ids, in the order of those that are stated; and the library goes by the
    flags that a token had before where it decodes.
    """
    declared, given = (
        {index: token.__getstate__() for index, token in tokens.items()}
        for tokens in (settings.declared_tokens, tokenizer.get_added_tokens_decoder())
    )
    return declared != given


def _has_frame(tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether BERT's frame is put around a text and a pair, with BERT's token types."""
    cls, sep = (tokenizer.token_to_id(settings.special_tokens[name]) for name in SPECIAL_TOKENS[:2])
    with backend_errors("tokenizer.json"):
        one, two = tokenizer.encode(""), tokenizer.encode("", "")
    ids, types = [one.ids, two.ids], [one.type_ids, two.type_ids]
    return ids == [[cls, sep], [cls, sep, sep]] and types == [[0, 0], [0, 0, 1]]
