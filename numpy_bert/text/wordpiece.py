"""What the class that a folder names makes of a tokenizer.json: the rule of `load_backend`.

BERT's class makes its own WordPiece tokenizer of the vocabulary; here is how, and in what a file
departs from that.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Normalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from numpy_bert.messages import listed, quoted, shown
from numpy_bert.text.library import backend_errors
from numpy_bert.text.tokenizer_config import SPECIAL_TOKENS, Settings

__all__ = [
    "SWITCHES",
    "adds_others",
    "berts_differences",
    "berts_frame",
    "berts_tokenizer",
    "lowers",
    "obey_class",
    "state_of",
    "unlisted",
    "with_special_tokens",
]

# How the special tokens are spelt where no file states them.
_SPELLINGS = {
    "cls_token": ("[CLS]", "<s>", "<cls>"),
    "sep_token": ("[SEP]", "</s>", "<sep>"),
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
}
# What tokenizer_config.json calls a switch, what BertNormalizer does, and BertTokenizer's default.
SWITCHES: tuple[tuple[str, str, bool | None], ...] = (
    ("do_lower_case", "lowercase", True),
    ("tokenize_chinese_chars", "handle_chinese_chars", True),
    ("strip_accents", "strip_accents", None),
)
_PREFIX, _LONGEST_WORD = "##", 100


class _Difference(NamedTuple):
    """One thing in which tokenizer.json is not what its class makes.

    Attributes
    ----------
    what : str
        A sentence about it without its full stop.
    kept_before : bool
        Whether transformers 4 kept what tokenizer.json says.
    """

    what: str
    kept_before: bool


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
            f"{named.stated}, for which transformers runs Python code. Here tokenizer.json is "
            "used, whose ids may be others."
        )
    if named.makes == "nothing" or not isinstance(tokenizer.model, WordPiece):
        said += _kept(path, tokenizer, settings, notes)
    else:
        found = _differences(path, tokenizer, settings)
        rebuilds = named.makes == "all" and bool(found or adds_others(tokenizer, settings))
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
    ignored = _switch_differences(tokenizer, settings, defaults=False)
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

    It is looked at where that is cheap: the kind of model, and all of a WordPiece but the special
    tokens around texts.
    """
    named, model = settings.tokenizer_class, tokenizer.model
    if named.recipe is not None:  # which does not fit: `recipes.fits`
        return True
    made = named.built_anew
    if made is None:
        return False
    if made != type(model).__name__:
        return True
    return made == "WordPiece" and bool(berts_differences(tokenizer, settings))


def _made(
    path: Path, tokenizer: Tokenizer, settings: Settings, found: list[_Difference]
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
        ignored := _switch_differences(tokenizer, settings, defaults=True)
    ):
        said.append(
            f"{path.parent}: {named.name} keeps tokenizer.json's normalizer "
            f"({', '.join(ignored)}), as in transformers 5; in transformers 4 the former won."
        )
    return said


def _differences(path: Path, tokenizer: Tokenizer, settings: Settings) -> list[_Difference]:
    """Return in what a tokenizer.json is not what BertTokenizer or one of its kin makes of it."""
    found = (
        [] if settings.tokenizer_class.makes == "frame" else berts_differences(tokenizer, settings)
    )
    if not _has_frame(path, tokenizer, settings):
        what = "the special tokens around texts are others there"
        found.append(_Difference(what, kept_before=True))
    return found


def adds_others(tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether tokenizer.json adds other tokens than are declared, by ids or by flags.

    They can then have other ids, in the order of those that are stated; and the library goes by the
    flags that a token had before where it decodes.
    """
    declared, given = (
        {index: token.__getstate__() for index, token in tokens.items()}
        for tokens in (settings.declared_tokens, tokenizer.get_added_tokens_decoder())
    )
    return declared != given


def _has_frame(path: Path, tokenizer: Tokenizer, settings: Settings) -> bool:
    """Tell whether BERT's frame is put around a text and a pair, with BERT's token types."""
    cls, sep = (tokenizer.token_to_id(settings.special_tokens[name]) for name in SPECIAL_TOKENS[:2])
    with backend_errors(str(path)):
        bare = tokenizer.encode("a", add_special_tokens=False).ids
        found = [tokenizer.encode("a"), tokenizer.encode("a", ""), tokenizer.encode("", "a")]
    first = [cls, *bare, sep]
    ids = [first, [*first, sep], [cls, sep, *bare, sep]]
    types = [[0] * len(first), [0] * len(first) + [1], [0, 0, *(1 for _ in bare), 1]]
    return [one.ids for one in found] == ids and [one.type_ids for one in found] == types


def berts_tokenizer(vocabulary: dict[str, int], settings: Settings) -> Tokenizer:
    """Build BERT's WordPiece tokenizer of a vocabulary, as yet without special tokens."""
    unknown = settings.special_tokens["unk_token"]
    tokenizer = Tokenizer(
        WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD)
    )
    switches: dict[str, Any] = {
        theirs: settings.switches.get(ours, value) for ours, theirs, value in SWITCHES
    }
    tokenizer.normalizer = BertNormalizer(clean_text=True, **switches)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix=_PREFIX)
    return tokenizer


def berts_frame(tokenizer: Tokenizer, settings: Settings) -> TemplateProcessing:
    """Return BERT's frame: [CLS] first [SEP], or [CLS] first [SEP] second [SEP]."""
    cls, sep = settings.special_tokens["cls_token"], settings.special_tokens["sep_token"]
    return TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (cls, sep)],
    )


def berts_differences(tokenizer: Tokenizer, settings: Settings) -> list[_Difference]:
    """Return in what a WordPiece tokenizer.json is not what BertTokenizer makes of its vocabulary.

    The frame is left out: `_has_frame` looks at it.
    """
    found = []
    normalizer = _unwrapped(tokenizer.normalizer)
    if isinstance(normalizer, BertNormalizer):
        switches = _switch_differences(tokenizer, settings, defaults=True)
        found += [_Difference(what, kept_before=False) for what in switches]
        if not normalizer.clean_text:
            found.append(_Difference("clean_text is False there", kept_before=True))
    else:
        found.append(_Difference(f"the normalizer there is {_kind(normalizer)}", kept_before=True))
    found += [_Difference(what, kept_before=True) for what in _other_differences(tokenizer)]
    model, unknown = tokenizer.model, settings.special_tokens["unk_token"]
    if model.unk_token != unknown:
        what = f"unknown words become {quoted(model.unk_token)} there, {quoted(unknown)} here"
        found.append(_Difference(what, kept_before=True))
    absent = unlisted(tokenizer, settings)
    if absent:
        names = listed(absent)
        what = f"tokenizer_config.json does not list the added tokens {names}, which stand there"
        found.append(_Difference(what, kept_before=True))
    return found


def unlisted(tokenizer: Tokenizer, settings: Settings) -> list[str]:
    """Return the added tokens that an ``added_tokens_decoder`` does away with, or their flags."""
    if not settings.lists_tokens:
        return []
    listed = {token.content for token in settings.declared_tokens.values()}
    special = settings.special_tokens.values()
    return [
        token.content
        for token in tokenizer.get_added_tokens_decoder().values()
        if token.content not in listed
        and not (
            token.content in special
            and token.special
            and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        )
    ]


def _other_differences(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield what differs of the parts that no setting has a say in."""
    model = tokenizer.model
    if _kind(tokenizer.pre_tokenizer) != "BertPreTokenizer":
        yield f"the pre_tokenizer there is {_kind(tokenizer.pre_tokenizer)}"
    if state_of(tokenizer.decoder) != {"type": "WordPiece", "prefix": _PREFIX, "cleanup": True}:
        yield f"the decoder there is {quoted(json.dumps(state_of(tokenizer.decoder)))}"
    if model.continuing_subword_prefix != _PREFIX:
        yield f"continuing_subword_prefix there is {shown(model.continuing_subword_prefix)}"
    if model.max_input_chars_per_word != _LONGEST_WORD:
        yield f"max_input_chars_per_word there is {model.max_input_chars_per_word}"


def _switch_differences(tokenizer: Tokenizer, settings: Settings, *, defaults: bool) -> list[str]:
    """Return, as sentences, which switches are not what tokenizer.json's normalizer does.

    Parameters
    ----------
    tokenizer : Tokenizer
        The tokenizer of tokenizer.json.
    settings : Settings
        The settings, with the switches that are stated.
    defaults : bool
        Whether a switch that is not stated has BertTokenizer's default, or is not looked at.
    """
    stated = settings.switches
    if not (stated or defaults):
        return []
    done = _done(_unwrapped(tokenizer.normalizer))
    wanted = {name: stated.get(name, value) for name, _, value in SWITCHES}
    found = []
    for name, does, _ in SWITCHES:
        if not defaults and name not in stated:
            continue
        value, other = wanted[name], done[does]
        same = value is other
        if name == "strip_accents" and not same:  # null strips accents where letters are lowered
            effects = [
                lowers if strips is None else strips
                for strips, lowers in (
                    (value, wanted["do_lower_case"]),
                    (other, done["lowercase"]),
                )
            ]
            same = effects[0] is effects[1]
        if not same:
            where = "in tokenizer_config.json" if name in stated else "by default"
            found.append(f"{name} is {value} {where}, {other} in tokenizer.json")
    return found


def _done(normalizer: Normalizer | None) -> Mapping[str, bool | None]:
    """Return what a normalizer does, in BertNormalizer's words."""
    if isinstance(normalizer, BertNormalizer):
        return {name: getattr(normalizer, name) for _, name, _ in SWITCHES}
    normalize = (lambda text: text) if normalizer is None else normalizer.normalize_str
    return {
        "lowercase": normalize("A").strip() == "a",
        "handle_chinese_chars": normalize("\u4e2d\u4e2d").strip() != "\u4e2d\u4e2d",
        "strip_accents": normalize("\u00e9").strip() == "e",
    }


def lowers(tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer lower-cases texts.

    Examples
    --------
    >>> lowers(Tokenizer(WordPiece({}, unk_token="[UNK]")))
    False
    """
    return bool(_done(_unwrapped(tokenizer.normalizer))["lowercase"])


def _unwrapped(normalizer: Normalizer | None) -> Normalizer | None:
    """Return the one step of a sequence of one, anything else as it is."""
    steps = state_of(normalizer).get("normalizers", ())
    return normalizer[0] if len(steps) == 1 else normalizer  # type: ignore[index]


def _kind(part: object) -> str:
    """Return what tokenizer.json calls a part's type."""
    return str(state_of(part).get("type", "absent"))


def state_of(part: Any) -> dict[str, Any]:
    """Return a part as it stands in tokenizer.json; an absent one has no members.

    Examples
    --------
    >>> state_of(BertPreTokenizer())
    {'type': 'BertPreTokenizer'}
    """
    return {} if part is None else dict(json.loads(part.__getstate__()))
