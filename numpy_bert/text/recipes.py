"""What RoBERTa's, XLM-R's, CamemBERT's and MPNet's classes make of a vocabulary.

As `wordpiece` does for BERT's class: here is how, and in what a tokenizer.json departs from it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import Normalizer
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from numpy_bert.messages import listed, quoted
from numpy_bert.text.tokenizer_config import SPECIAL_TOKENS, Settings
from numpy_bert.text.wordpiece import (
    adds_others,
    berts_differences,
    berts_tokenizer,
    state_of,
    unlisted,
)

__all__ = [
    "RARE",
    "RECIPES",
    "TokenizerRecipe",
    "fits",
    "frame",
    "obey_recipe",
    "own_settings",
    "pair_tokenizer",
    "with_recipe",
]

_SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_MARK = "\u2581"
# A letter, of Linear B, that is hardly in a vocabulary.
RARE = "\U00010080"


class TokenizerRecipe(NamedTuple):
    """What a class of transformers 5 makes by itself.

    Attributes
    ----------
    model : str
        The kind of model that it makes of the vocabulary.
    special_tokens : mapping of str to str
        The special tokens where no file states them, in the order in which they get new ids.
    extra : tuple of str
        The special tokens without a name where no file states any.
    strips_mask : bool
        Whether the mask takes the white space before it, unless a file states its flags.
    add_prefix_space : bool
        Whether a space is put before a text, unless tokenizer_config.json states it.
    unknown_id : int or None
        The id of unknown pieces; None for the id of ``unk_token``.

    Examples
    --------
    >>> RECIPES["MPNetTokenizer"].special_tokens["unk_token"]
    '[UNK]'
    """

    model: str
    special_tokens: Mapping[str, str] = _SPECIAL
    extra: tuple[str, ...] = ()
    strips_mask: bool = False
    add_prefix_space: bool = False
    unknown_id: int | None = None


RECIPES: Mapping[str, TokenizerRecipe] = {
    "RobertaTokenizer": TokenizerRecipe(model="BPE"),
    "XLMRobertaTokenizer": TokenizerRecipe(model="Unigram", add_prefix_space=True, unknown_id=3),
    "CamembertTokenizer": TokenizerRecipe(
        model="Unigram",
        add_prefix_space=True,
        strips_mask=True,
        extra=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    "MPNetTokenizer": TokenizerRecipe(
        model="WordPiece", special_tokens=_SPECIAL | {"unk_token": "[UNK]"}, strips_mask=True
    ),
}


def _recipe(settings: Settings) -> TokenizerRecipe:
    """Return the recipe of the class that is named, which has one."""
    return RECIPES[str(settings.tokenizer_class.recipe)]


def with_recipe(settings: Settings, name: str) -> Settings:
    """Return settings that go by a recipe, with its special tokens where no file states them."""
    recipe = RECIPES[name]
    named = replace(settings.tokenizer_class, recipe=name, makes="nothing", gives_types=False)
    tokens = {setting: _token(content) for setting, content in recipe.special_tokens.items()}
    tokens |= settings.stated_tokens
    if recipe.strips_mask and "mask_token" not in set(settings.stated_tokens) - {
        *settings.plain_tokens
    }:
        tokens["mask_token"] = _token(tokens["mask_token"].content, lstrip=True)
    return replace(
        settings,
        tokenizer_class=named,
        stated_tokens=tokens,
        special_tokens={setting: tokens[setting].content for setting in SPECIAL_TOKENS},
        extra_tokens=settings.extra_tokens or tuple(map(_token, recipe.extra)),
    )


def _token(content: str, *, lstrip: bool = False) -> AddedToken:
    """Return a special token."""
    return AddedToken(content, special=True, normalized=False, lstrip=lstrip)


def fits(tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether a tokenizer.json is of the kind of model that its class makes.

    Its special tokens must be there too, and a Unigram or byte-pair model must do with unknown
    pieces what the class's does.
    """
    name = settings.tokenizer_class.recipe
    if name is None or type(tokenizer.model).__name__ != RECIPES[name].model:
        return False
    made = with_recipe(settings, name)
    if any(tokenizer.token_to_id(token) is None for token in made.special_tokens.values()):
        return False
    if isinstance(tokenizer.model, Unigram):
        unknown = RECIPES[name].unknown_id
        wanted = tokenizer.token_to_id(made.special_tokens["unk_token"])
        return [wanted if unknown is None else unknown] == _unknown_ids(tokenizer)
    model = tokenizer.model
    return not (
        isinstance(model, BPE) and (model.continuing_subword_prefix or model.end_of_word_suffix)
    )


def _unknown_ids(tokenizer: Tokenizer) -> list[int]:
    """Return what a Unigram makes of a letter that it does not know."""
    try:
        return [token.id for token in tokenizer.model.tokenize(RARE)]
    except Exception:  # noqa: BLE001  # it has no unk_id
        return []


def obey_recipe(path: Path, tokenizer: Tokenizer, settings: Settings) -> tuple[Tokenizer, bool]:
    """Return what the class makes of tokenizer.json, and whether the frame is still to be made.

    A tokenizer that is made anew is yet without added tokens. What is done against the file is
    warned of, once.
    """
    found = list(_differences(tokenizer, settings))
    if found:
        warnings.warn(
            f"{path.parent}: tokenizer.json is not what {settings.tokenizer_class.name} makes by "
            f"itself ({', '.join(found)}); the latter is used, as in transformers 5. If the file "
            "is right, let tokenizer_config.json say tokenizer_class = 'PreTrainedTokenizerFast'.",
            stacklevel=4,
        )
    if not found and not adds_others(tokenizer, settings):
        return tokenizer, False
    if _recipe(settings).model == "WordPiece":
        return berts_tokenizer(tokenizer.get_vocab(with_added_tokens=False), settings), True
    made = Tokenizer(tokenizer.model)
    _set_parts(made, _parts(tokenizer.normalizer, settings))
    return made, True


def pair_tokenizer(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], settings: Settings
) -> Tokenizer:
    """Build RoBERTa's byte-level tokenizer of a vocabulary and merges, without special tokens."""
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="")
    )
    _set_parts(tokenizer, _parts(None, settings))
    return tokenizer


def frame(tokenizer: Tokenizer, settings: Settings) -> RobertaProcessing | TemplateProcessing:
    """Return RoBERTa's frame: <s> first </s>, or <s> first </s></s> second </s>."""
    recipe = _recipe(settings)
    tokens = {name: token.content for name, token in settings.stated_tokens.items()}
    ids = {name: tokenizer.token_to_id(token) or 0 for name, token in tokens.items()}
    if recipe.model == "Unigram":
        start, end = tokens["bos_token"], tokens["eos_token"]
        return TemplateProcessing(
            single=[start, "$A", end],
            pair=[start, "$A", end, end, "$B", end],
            special_tokens=[(start, ids["bos_token"]), (end, ids["eos_token"])],
        )
    is_bytes = recipe.model == "BPE"
    return RobertaProcessing(
        (tokens["sep_token"], ids["sep_token"]),
        (tokens["cls_token"], ids["cls_token"]),
        trim_offsets=settings.trim_offsets if is_bytes else True,
        add_prefix_space=_adds_space(settings) if is_bytes else False,
    )


def own_settings(settings: Settings, switches: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tokenizer_config.json must say for the class to make the same tokenizer."""
    recipe = _recipe(settings)
    if recipe.model == "WordPiece":
        return dict(switches)
    spaces = {"add_prefix_space": _adds_space(settings)}
    return spaces | ({"trim_offsets": settings.trim_offsets} if recipe.model == "BPE" else {})


def _adds_space(settings: Settings) -> bool:
    """Tell whether a space is put before a text."""
    stated = settings.add_prefix_space
    return _recipe(settings).add_prefix_space if stated is None else stated


def _parts(normalizer: Normalizer | None, settings: Settings) -> dict[str, Any]:
    """Return what is done to a text before and after the model; `normalizer` is the file's."""
    adds = _adds_space(settings)
    if _recipe(settings).model == "BPE":
        return {
            "normalizer": None,
            "pre_tokenizer": ByteLevel(add_prefix_space=adds),
            "decoder": ByteLevelDecoder(),
        }
    scheme = "always" if adds else "never"
    split = Metaspace(replacement=_MARK, prepend_scheme=scheme)
    return {
        "normalizer": _precompiled(normalizer),
        "pre_tokenizer": PreTokenizers([WhitespaceSplit(), split]),
        "decoder": MetaspaceDecoder(replacement=_MARK, prepend_scheme=scheme),
    }


def _precompiled(normalizer: Normalizer | None) -> Normalizer | None:
    """Return SentencePiece's table among the steps of a normalizer, None if it has none."""
    steps: list[Any] = [normalizer]
    if isinstance(normalizer, Normalizers):
        steps = list(normalizer)  # type: ignore[call-overload]
    return next((step for step in steps if type(step).__name__ == "Precompiled"), None)


def _set_parts(tokenizer: Tokenizer, parts: Mapping[str, Any]) -> None:
    """Give a tokenizer its parts, and its byte-pair model the settings of the class."""
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    if isinstance(tokenizer.model, BPE):
        for name, value in _BYTE_PAIR.items():
            setattr(tokenizer.model, name, value)


# What RoBERTa's class sets of a byte-pair model.
_BYTE_PAIR: Mapping[str, Any] = {
    "unk_token": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def _differences(tokenizer: Tokenizer, settings: Settings) -> Iterator[str]:
    """Yield in what a tokenizer.json is not what its class makes of its vocabulary."""
    if _recipe(settings).model == "WordPiece":
        yield from (difference.what for difference in berts_differences(tokenizer, settings))
    else:
        yield from _other_differences(tokenizer, settings)
    if state_of(tokenizer.post_processor) != state_of(frame(tokenizer, settings)):
        yield "the special tokens around texts, or the offsets beside them, are others there"


def _other_differences(tokenizer: Tokenizer, settings: Settings) -> Iterator[str]:
    """Yield in what the parts of a byte-pair or Unigram tokenizer are others."""
    for name, part in _parts(tokenizer.normalizer, settings).items():
        there = _told(name, getattr(tokenizer, name))
        if there != _told(name, part):
            yield f"the {name} there is {quoted(json.dumps(there)) if there else 'absent'}"
    if isinstance(tokenizer.model, BPE):
        for name, value in _BYTE_PAIR.items():
            there = getattr(tokenizer.model, name)
            if there != value:
                yield f"{name} there is {there}"
    absent = unlisted(tokenizer, settings)
    if absent:
        yield (
            f"tokenizer_config.json does not list the added tokens {listed(absent)}, which stand "
            "there"
        )


def _told(name: str, part: Any) -> dict[str, Any]:
    """Return of a part what has an effect, and of SentencePiece's table only that it is one."""
    state = state_of(part)
    if name == "normalizer":
        steps = state.get("normalizers", [state] if state else [])
        types = [step["type"] for step in steps]
        return {"steps": types} if types else {}
    if name == "decoder" and state.get("type") == "ByteLevel":
        return {"type": "ByteLevel"}
    if state.get("type") == "ByteLevel":
        state.pop("trim_offsets")  # which is the frame's work
    return state
