"""BERT's WordPiece tokenizer: what its class makes, and where a tokenizer.json is not that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Normalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from numpy_bert.messages import quoted
from numpy_bert.text.settings import Settings

__all__ = [
    "Difference",
    "berts_frame",
    "berts_tokenizer",
    "differences",
    "is_xlm_rs",
    "state_of",
    "switch_differences",
]

# What tokenizer_config.json calls a switch, what BertNormalizer does, and BertTokenizer's default.
_SWITCHES: tuple[tuple[str, str, bool | None], ...] = (
    ("do_lower_case", "lowercase", True),
    ("tokenize_chinese_chars", "handle_chinese_chars", True),
    ("strip_accents", "strip_accents", None),
)
_PREFIX, _LONGEST_WORD = "##", 100


class Difference(NamedTuple):
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


def berts_tokenizer(vocabulary: dict[str, int], settings: Settings) -> Tokenizer:
    """Build BERT's WordPiece tokenizer of a vocabulary, as yet without special tokens."""
    unknown = settings.special_tokens["unk_token"]
    tokenizer = Tokenizer(
        WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD)
    )
    switches: dict[str, Any] = {
        theirs: settings.switches.get(ours, value) for ours, theirs, value in _SWITCHES
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


def differences(tokenizer: Tokenizer, settings: Settings) -> list[Difference]:
    """Return in what a WordPiece tokenizer.json is not what BertTokenizer makes of its vocabulary.

    The frame is left out: `numpy_bert.text.obeying` looks at it.
    """
    found = []
    normalizer = _unwrapped(tokenizer.normalizer)
    if isinstance(normalizer, BertNormalizer):
        switches = switch_differences(tokenizer, settings, defaults=True)
        found += [Difference(what, kept_before=False) for what in switches]
        if not normalizer.clean_text:
            found.append(Difference("clean_text is False there", kept_before=True))
    else:
        found.append(Difference(f"the normalizer there is {_kind(normalizer)}", kept_before=True))
    found += [Difference(what, kept_before=True) for what in _other_differences(tokenizer)]
    model, unknown = tokenizer.model, settings.special_tokens["unk_token"]
    if model.unk_token != unknown:
        what = f"unknown words become {quoted(model.unk_token)} there, {quoted(unknown)} here"
        found.append(Difference(what, kept_before=True))
    unlisted = ", ".join(map(quoted, _unlisted(tokenizer, settings)[:5]))
    if unlisted:
        what = f"tokenizer_config.json does not list the added tokens {unlisted}, which stand there"
        found.append(Difference(what, kept_before=True))
    return found


def _unlisted(tokenizer: Tokenizer, settings: Settings) -> list[str]:
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
        yield f"continuing_subword_prefix there is {quoted(repr(model.continuing_subword_prefix))}"
    if model.max_input_chars_per_word != _LONGEST_WORD:
        yield f"max_input_chars_per_word there is {model.max_input_chars_per_word}"


def switch_differences(tokenizer: Tokenizer, settings: Settings, *, defaults: bool) -> list[str]:
    """Return, as sentences, which switches are not what tokenizer.json's normalizer does.

    Parameters
    ----------
    tokenizer : Tokenizer
        Of tokenizer.json.
    settings : Settings
        With the switches that are stated.
    defaults : bool
        Whether a switch that is not stated has BertTokenizer's default, or is not looked at.
    """
    stated = settings.switches
    if not (stated or defaults):
        return []
    done = _done(_unwrapped(tokenizer.normalizer))
    wanted = {name: stated.get(name, value) for name, _, value in _SWITCHES}
    found = []
    for name, does, _ in _SWITCHES:
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


def is_xlm_rs(tokenizer: Tokenizer) -> bool:
    """Tell whether a text is made pieces as XLM-R's class of transformers 5 does it.

    Its normalizer is SentencePiece's table or none; it splits at white space, and marks the start
    of each word.
    """
    normalizer = _unwrapped(tokenizer.normalizer)
    steps = state_of(tokenizer.pre_tokenizer).get("pretokenizers", [{}])
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    return (
        type(normalizer).__name__ in ("NoneType", "Precompiled")
        and len(steps) == 2
        and steps[0]["type"] == "WhitespaceSplit"
        and {**steps[1], "split": True} == {**space, "split": True}
        and tokenizer.token_to_id("<unk>") == 3  # the one it takes for unknown, whatever is stated
    )


def _done(normalizer: Normalizer | None) -> Mapping[str, bool | None]:
    """Return what a normalizer does, in BertNormalizer's words."""
    if isinstance(normalizer, BertNormalizer):
        return {name: getattr(normalizer, name) for _, name, _ in _SWITCHES}
    normalize = (lambda text: text) if normalizer is None else normalizer.normalize_str
    return {
        "lowercase": normalize("A").strip() == "a",
        "handle_chinese_chars": normalize("\u4e2d\u4e2d").strip() != "\u4e2d\u4e2d",
        "strip_accents": normalize("\u00e9").strip() == "e",
    }


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
