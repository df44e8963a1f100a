"""A tokenizer's files made into a `tokenizers` backend, with what contradicts itself refused."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, Unigram, WordPiece

from numpy_bert.errors import TokenizerError
from numpy_bert.files import is_listed, read_bytes
from numpy_bert.messages import listed, quoted, shown
from numpy_bert.reprs import short_repr
from numpy_bert.text.batch import MEMBERS
from numpy_bert.text.library import backend_errors
from numpy_bert.text.recipes import RARE, fits, frame, obey_recipe, pair_tokenizer, with_recipe
from numpy_bert.text.tokenizer_config import (
    FLAGS,
    LARGEST_FILE,
    LARGEST_VOCABULARY,
    SPECIAL_TOKENS,
    Settings,
    StatedId,
    read_settings,
)
from numpy_bert.text.vocabularies import lost_bytes, read_pairs, read_vocabulary, token_of
from numpy_bert.text.wordpiece import (
    berts_frame,
    berts_tokenizer,
    obey_class,
    state_of,
    with_special_tokens,
)

__all__ = [
    "Backend",
    "check_ids_of",
    "check_listing",
    "load_backend",
    "require_tokens",
]

# The files of other tokenizers, of which a tokenizer.json can be made.
_SENTENCEPIECE = "a SentencePiece model"
_OTHERS = {
    ("sentencepiece.bpe.model",): _SENTENCEPIECE,
    ("spiece.model",): _SENTENCEPIECE,
    ("sentencepiece.model",): _SENTENCEPIECE,
    ("spm.model",): _SENTENCEPIECE,
    ("tokenizer.model",): "a SentencePiece or tiktoken model",
    ("vocab.json", "merges.txt"): "a byte-pair tokenizer's",
}
_PAIRS = ("vocab.json", "merges.txt")
_ROBERTAS, _MPNETS = "RobertaTokenizer", "MPNetTokenizer"
# What those that are not BERT's read where there is no tokenizer.json.
_WANTED = {_ROBERTAS: "vocab.json and merges.txt", _MPNETS: "vocab.txt"}
_WAY_OUT = """ Make one where transformers is installed (and sentencepiece, for its models):
    from transformers import AutoTokenizer
    AutoTokenizer.from_pretrained("""
_ADDED_TOKENS = re.compile(r'"added_tokens"\s*:\s*(?=\[)')


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """A tokenizer and what its files state.

    Attributes
    ----------
    tokenizer : tokenizers.Tokenizer
        Without padding and truncation. Never changed after loading, so threads can share it.
    size : int
        Number of tokens, those added to the vocabulary included. Asking the library for it costs
        some versions 10 ms.
    settings : Settings
        What the small files state.
    notes : tuple of str
        What was done about the files, as sentences.
    """

    __repr__ = short_repr

    tokenizer: Tokenizer
    size: int
    settings: Settings
    notes: tuple[str, ...]


def load_backend(folder: Path) -> Backend:
    """Build the tokenizer of a folder, whose own files decide which it is.

    A ``tokenizer.json`` of any kind that the library reads is taken. Without one, a ``vocab.txt``
    is taken where the class that the files name is WordPiece as BERT's or MPNet's, ``vocab.json``
    and ``merges.txt`` where it is RoBERTa's, and either where no file names a class; the words of
    a ``vocab.txt`` then say which of the two it is of. Any other class is refused by name, and no
    code of a repository is ever run.

    Where tokenizer_config.json and tokenizer.json disagree, the ids are those of AutoTokenizer in
    transformers 5.24, and a warning says so. It goes by the class that the files name or, where
    they name none, that config.json's ``model_type`` stands for:

    - BertTokenizer and its kin take the vocabulary and the added tokens from a WordPiece
      tokenizer.json, the latter only where tokenizer_config.json has no ``added_tokens_decoder``.
      All else they make by themselves, by what tokenizer_config.json states and else by their own
      defaults, as lower-casing.
    - ConvBertTokenizer and DPR's fast ones keep tokenizer.json and make the special tokens around
      texts.
    - The classes of RoBERTa, XLM-R, CamemBERT and MPNet do as BERT's, with a tokenizer.json of the
      kind of model that each makes.
    - For all other classes tokenizer.json is kept as it is, whatever switches stand beside it, as
      transformers 4 did. Special tokens that are not stated are read from it.

    There are two exceptions, where transformers 4 is followed, and the ids may not be those of
    transformers 5. A tokenizer.json of another kind of model than the class makes is kept as it is,
    as transformers 5 would cut its words at random. And some other classes (Funnel's, T5's, GPT-2's
    and more) build a tokenizer of their own there. A warning says so where the file is seen to
    depart from what the class makes. That look is not complete: it leaves out the special tokens
    around texts for Funnel's class and its like, and sees no more than the kind of model for the
    others. With tokenizer_class 'PreTrainedTokenizerFast' both versions keep the file.

    Parameters
    ----------
    folder : Path
        The folder that holds the files.

    Returns
    -------
    Backend
        The tokenizer, and what the files say of it.

    Raises
    ------
    TokenizerError
        If the files are malformed or contradict each other; the message names the file.

    Examples
    --------
    >>> from numpy_bert.loading.cache import demo_folder
    >>> backend = load_backend(demo_folder())
    >>> backend.tokenizer.encode("a test").tokens
    ['[CLS]', 'a', 'test', '[SEP]']
    """
    settings = read_settings(folder)
    notes = list(settings.notes)
    path = folder / "tokenizer.json"
    is_json, makes_frame, known = is_listed(path), True, set[str]()
    if is_json:
        tokenizer, settings = _from_json(path, settings, notes)
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        if fits(tokenizer, settings):
            settings = with_recipe(settings, str(settings.tokenizer_class.recipe))
            tokenizer, makes_frame = obey_recipe(path, tokenizer, settings)
        else:
            settings = with_special_tokens(path, tokenizer, settings)
            tokenizer, makes_frame = obey_class(path, tokenizer, settings, notes)
            named = settings.tokenizer_class
            settings = replace(settings, tokenizer_class=replace(named, recipe=None))
    else:
        path, tokenizer, settings = _from_vocabulary(folder, settings, notes)
    _add_tokens(path, tokenizer, settings, known, notes)
    if makes_frame:
        with backend_errors(str(path)):
            make = frame if settings.tokenizer_class.recipe else berts_frame
            tokenizer.post_processor = make(tokenizer, settings)
    size, listing = check_ids_of(path, tokenizer)
    said = [*_misnumbered(tokenizer, settings), *_beyond(path, tokenizer, size, settings)]
    if said:
        warnings.warn(f"{folder}: {' '.join(said)}", stacklevel=3)  # at from_pretrained's caller
    if is_json and isinstance(tokenizer.model, WordPiece):
        check_listing(path, tokenizer, listing, settings.special_tokens)
    _check_unknown(path, tokenizer, settings)
    _check_frame(path, tokenizer, settings)
    settings = replace(settings, input_names=_input_names(tokenizer, settings))
    return Backend(tokenizer, size, settings, tuple(notes))


def _from_vocabulary(
    folder: Path, settings: Settings, notes: list[str]
) -> tuple[Path, Tokenizer, Settings]:
    """Build the tokenizer of a folder without a tokenizer.json, as yet without special tokens.

    Where no file names a class, it is the one whose files are there.
    """
    named, path = settings.tokenizer_class, folder / "vocab.txt"
    if is_listed(path) and (named.reads_vocabulary or named.recipe == _MPNETS):
        vocabulary = read_vocabulary(path)
        notes.append("there is no tokenizer.json; the tokenizer was built from vocab.txt.")
        if named.recipe == _MPNETS or (not named.is_named and _is_mpnets(vocabulary)):
            settings = with_recipe(settings, _MPNETS)
        else:
            settings = replace(settings, tokenizer_class=replace(named, makes="all"))
        return path, berts_tokenizer(vocabulary, settings), settings
    path = folder / "vocab.json"
    reads_pairs = named.recipe == _ROBERTAS or (named.reads_vocabulary and not named.is_named)
    if not reads_pairs or not any(is_listed(folder / name) for name in _PAIRS):
        raise _no_vocabulary(folder, settings)
    vocabulary, merges = read_pairs(folder)
    notes.append(
        "there is no tokenizer.json; the tokenizer was built from vocab.json and merges.txt."
    )
    declared = {token.content for token in settings.declared_tokens.values()}
    if "mask_token" not in settings.stated_tokens and "<mask>" not in declared:
        notes.append(
            "<mask> leaves the space before it in the text, as in transformers 5; in 4 it took it."
        )
    lost = lost_bytes(vocabulary)
    if lost:
        warnings.warn(
            f"{path}: {lost} of the 256 bytes have no token; characters that need them vanish.",
            stacklevel=4,
        )
    settings = with_recipe(settings, _ROBERTAS)
    with backend_errors(str(path)):
        return path, pair_tokenizer(vocabulary, merges, settings), settings


def _is_mpnets(vocabulary: Mapping[str, int]) -> bool:
    """Tell whether a vocab.txt has RoBERTa's special tokens in place of BERT's."""
    return "[CLS]" not in vocabulary and {"<s>", "</s>", "<pad>"} <= vocabulary.keys()


def _no_vocabulary(folder: Path, settings: Settings) -> TokenizerError:
    """Say what is missing where there is no file of which the class's tokenizer can be made."""
    named = settings.tokenizer_class
    others = [
        f"{' and '.join(names)} ({what})"
        for names, what in _OTHERS.items()
        if all(is_listed(folder / name) for name in names)
    ]
    if others:
        return TokenizerError(
            f"{folder}: has {', '.join(others)}, but no tokenizer.json, which is what this package "
            f"reads.{_WAY_OUT}{str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    if wanted := _WANTED.get(str(named.recipe)):
        return TokenizerError(
            f"{named.stated}, which reads {wanted}, and there is neither that nor a tokenizer.json."
        )
    if not named.reads_vocabulary:
        return TokenizerError(
            f"{named.stated}, which is not BERT's WordPiece tokenizer, and there is no "
            "tokenizer.json. Save it as one (in transformers, save_pretrained of a fast tokenizer "
            "does), or give the model ids that its own tokenizer made."
        )
    return TokenizerError(f"{folder}: has neither tokenizer.json nor vocab.txt.")


def _from_json(path: Path, settings: Settings, notes: list[str]) -> tuple[Tokenizer, Settings]:
    """Read tokenizer.json, and take away what may be baked into it.

    It is padding, truncation, and the dropout of a byte-pair model, by which it would draw the
    tokens of a text anew at each call.

    The settings that are returned have its added tokens too.
    """
    data = read_bytes(path, error=TokenizerError, limit=LARGEST_FILE)
    with backend_errors(f"{path}: is no tokenizer that the tokenizers library reads"):
        tokenizer = Tokenizer.from_buffer(data)
    if tokenizer.truncation:
        limit = tokenizer.truncation["max_length"]
        notes.append(f"tokenizer.json has truncation to {limit} tokens baked in; it is not used.")
    if tokenizer.padding:
        limit = tokenizer.padding["length"]
        goal = "the longest text" if limit is None else f"{limit} tokens"
        notes.append(f"tokenizer.json has padding to {goal} baked in; it is not used.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, BPE):
        rate = tokenizer.model.dropout
        if rate:
            notes.append(f"tokenizer.json has a dropout of {rate:.3g} baked in; it is not used.")
        tokenizer.model.dropout = None
    _check_templates(path, tokenizer)
    return tokenizer, _with_added(path, data, tokenizer, settings)


def _input_names(tokenizer: Tokenizer, settings: Settings) -> tuple[str, ...]:
    """Return the members that a call makes by default: as is stated, or as the class does.

    Of a class that is not known they have token types if the frame of a pair has any but 0.
    """
    if settings.input_names:
        return tuple(name for name in MEMBERS if name in settings.input_names)
    types = settings.tokenizer_class.gives_types
    if types is None:
        types = any(tokenizer.encode("a", "a").type_ids)
    return tuple(name for name in MEMBERS if types or name != "token_type_ids")


def _check_templates(path: Path, tokenizer: Tokenizer) -> None:
    """Raise TokenizerError if a template around texts has a token or a text that is not there.

    The library would panic, and say so by itself, at the first text.
    """
    for part in _post_processors(tokenizer):
        known = {"SpecialToken": part.get("special_tokens", ())}
        for name, texts in (("single", "A"), ("pair", "AB")):
            for piece in part.get(name, ()):
                ((kind, member),) = piece.items()
                if member["id"] not in known.get(kind, texts):
                    raise TokenizerError(
                        f"{path}: post_processor.{name} names {quoted(member['id'])}, which is "
                        f"{'not among its special_tokens' if kind in known else 'no text there'}."
                    )


def _with_added(path: Path, data: bytes, tokenizer: Tokenizer, settings: Settings) -> Settings:
    """Return settings with the tokens that tokenizer.json adds, by the ids that it states of them.

    Where tokenizer_config.json lists all added tokens, these do not count; else they do before
    those of added_tokens.json.
    """
    text = data.decode("utf-8")
    start = _ADDED_TOKENS.search(text)
    entries = [] if start is None else json.JSONDecoder().raw_decode(text, start.end())[0]
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if {entry["content"] for entry in entries} - {""} != known:
        raise TokenizerError(
            f"{path}: added_tokens must stand once, and its name without escapes; the tokenizers "
            "library reads others there."
        )
    ids = tuple(StatedId(path.name, entry["content"], entry["id"]) for entry in entries)
    settings = replace(settings, stated_ids=(*ids, *settings.stated_ids))
    if settings.lists_tokens:
        return settings
    # What else an entry has, the library would tell on standard output.
    own = {e["id"]: AddedToken(e["content"], **{f: e[f] for f in FLAGS}) for e in entries}
    merged = {**settings.declared_tokens, **own}
    return replace(settings, declared_tokens={index: merged[index] for index in sorted(merged)})


def _add_tokens(
    path: Path, tokenizer: Tokenizer, settings: Settings, known: set[str], notes: list[str]
) -> None:
    """Make all special and declared tokens known as tokens that are taken whole.

    They get their ids in the order of those that are stated, as in transformers: the one that they
    have in the vocabulary, or the next. `known` are those that tokenizer.json adds.
    """
    named = {*settings.special_tokens.values()}
    is_berts = settings.tokenizer_class.makes != "nothing"
    stated = {token.content for token in settings.stated_tokens.values()}
    declared = list(settings.declared_tokens.values())
    for token in declared:  # what the files name, or the class has by default, is special
        token.special |= token.content in (stated | named if is_berts else stated)
    tokenizer.add_tokens(declared)  # of those that are known, the flags change, as in transformers
    whole = known.union(token.content for token in declared)
    if settings.tokenizer_class.recipe or (is_berts and isinstance(tokenizer.model, WordPiece)):
        _check_null(path, settings, whole)
    require_tokens(path, tokenizer, settings.special_tokens)
    defaults = {
        name: AddedToken(token, special=True, normalized=False)
        for name, token in settings.special_tokens.items()
        if is_berts and name not in settings.stated_tokens
    }
    further_tokens = (*settings.stated_tokens.values(), *defaults.values(), *settings.extra_tokens)
    whole = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_tokens([token for token in further_tokens if token.content not in whole])
    further = (token.content for token in (*declared, *further_tokens))
    before = known | named  # once: of thousands of tokens it takes its time
    new = dict.fromkeys(token for token in further if token not in before)
    if new:
        notes.append(f"taken whole, as the files beside {path.name} say: {listed(list(new))}.")


def require_tokens(path: Path, tokenizer: Tokenizer, special: Mapping[str, str]) -> None:
    """Raise TokenizerError unless all special tokens are in the vocabulary."""
    absent = [
        f"{name} {quoted(token)}"
        for name, token in special.items()
        if tokenizer.token_to_id(token) is None
    ]
    if absent:
        raise TokenizerError(
            f"{path}: the vocabulary has no {', '.join(absent)}. If the model names them "
            "otherwise, tokenizer_config.json must say so."
        )


def check_ids_of(path: Path, tokenizer: Tokenizer) -> tuple[int, str]:
    """Return how many tokens there are, and all of them by their ids, a line each.

    The ids must be 0, 1, 2, ... One text takes a tenth of the memory of a list.

    Raises
    ------
    TokenizerError
        If an id is given twice or not at all.
    """
    # The first number counts tokens, the second a Unigram's pieces, equal ones too.
    count = max(tokenizer.get_vocab_size(with_added_tokens=added) for added in (True, False))
    token_of, chunk = tokenizer.id_to_token, 1 << 12
    try:
        # As many tokens as ids, and a token for every id: each once, at half get_vocab's cost.
        listing = "\n".join(
            "\n".join(map(token_of, range(start, min(start + chunk, count))))  # type: ignore[arg-type]
            for start in range(0, count, chunk)
        )
    except TypeError:  # an id without a token
        listing = None
    # All other models hold a table from tokens to ids, in which none can stand twice.
    twice = isinstance(tokenizer.model, Unigram) and len(set(map(token_of, range(count)))) < count
    if listing is None or twice:
        found = [token for token in map(token_of, range(count)) if token is not None]
        raise TokenizerError(f"{path}: {_what_is_wrong(tokenizer, found)}")
    return count, listing


def _what_is_wrong(tokenizer: Tokenizer, tokens: list[str]) -> str:
    """Describe the first token or id that is not one to one."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    ids = sorted(vocabulary.values())
    twice = next((a for a, b in pairwise(ids) if a == b), None)
    if twice is not None:
        names = sorted(token for token, index in vocabulary.items() if index == twice)
        return f"{' and '.join(shown(name) for name in names[:3])} share the id {twice}."
    first: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token in first:
            return f"{shown(token)} has the ids {first[token]} and {index}."
        first[token] = index
    gap = next(want for want, have in enumerate(ids) if want != have)
    return f"no token has the id {gap}, though {ids[-1]} is given out."


def _misnumbered(tokenizer: Tokenizer, settings: Settings) -> list[str]:
    """Say, in a sentence, for which added tokens a file states another id than they have.

    The library gives them ids without a word, and so does transformers.
    """
    found = []
    for stated in settings.stated_ids:
        index = tokenizer.token_to_id(stated.content)
        # A list in tokenizer_config.json does away with what it has not, which is said elsewhere.
        overridden = index is None and settings.lists_tokens and stated.file == "tokenizer.json"
        if index != stated.number and not overridden:
            given = "it has none here" if index is None else f"here it has {index}"
            token = shown(stated.content)
            found.append(f"{stated.file} gives {token} the id {stated.number}, {given}")
    if not found:
        return []
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return [
        f"{'; '.join(found[:5])}{more}. The ids are those of transformers: a token's place in the "
        "vocabulary, or the next free one. If the model was trained with the others, number the "
        "tokens in the files without gaps, after the vocabulary."
    ]


def _beyond(path: Path, tokenizer: Tokenizer, size: int, settings: Settings) -> list[str]:
    """Say, in a sentence, which added tokens have ids beyond the model's table.

    Raises
    ------
    TokenizerError
        If one of BERT's five has, without which there are no texts, or a token that is not added.
    """
    rows = settings.vocab_size
    if rows is None or size <= rows:
        return []
    five = {tokenizer.token_to_id(token) or 0 for token in settings.special_tokens.values()}
    if tokenizer.get_vocab_size(with_added_tokens=False) > rows or max(five) >= rows:
        raise TokenizerError(
            f"{path}: gives out ids up to {size - 1}, config.json says vocab_size = {rows}. Are "
            "they of one checkpoint?"
        )
    names = listed([repr(tokenizer.id_to_token(index)) for index in range(rows, size)])
    return [
        f"config.json says vocab_size = {rows}, and these added tokens have ids from {rows}: "
        f"{names}. A text that has one of them is refused by the model."
    ]


def check_listing(path: Path, tokenizer: Tokenizer, ours: str, special: Mapping[str, str]) -> None:
    """Compare the tokens with a vocab.txt that lies beside tokenizer.json.

    Parameters
    ----------
    path : Path
        The path of tokenizer.json.
    tokenizer : Tokenizer
        The tokenizer that it makes.
    ours : str
        Its tokens, a line each, as `check_ids_of` returns them.
    special : mapping of str to str
        The special tokens by their names.

    Raises
    ------
    TokenizerError
        If a special token has another id there. At other differences tokenizer.json wins with a
        warning, as in transformers, which does not look.
    """
    listing = path.with_name("vocab.txt")
    if not is_listed(listing):
        return
    data = read_bytes(listing, error=TokenizerError, limit=LARGEST_VOCABULARY)
    text = data.decode("utf-8", "replace").rstrip("\r\n").replace("\r\n", "\n")
    if f"{ours}\n".startswith(f"{text}\n"):
        return
    lines = [token_of(line) for line in text.split("\n")]
    for token in special.values():
        if token in lines and lines.index(token) != tokenizer.token_to_id(token):
            raise TokenizerError(
                f"{path}: {quoted(token)} has the id {tokenizer.token_to_id(token)}, in vocab.txt "
                f"it has {lines.index(token)}."
            )
    # By its id the library gives an added token as its normalizer leaves it, as "[mask]".
    added = {i: token.content for i, token in tokenizer.get_added_tokens_decoder().items()}
    for index, line in enumerate(lines):
        token_there = added.get(index, tokenizer.id_to_token(index))
        if token_there != line:
            warnings.warn(
                f"{path}: the id {index} is {shown(token_there)}, in vocab.txt it is "
                f"{shown(line)}; tokenizer.json is used, as in transformers.",
                stacklevel=4,
            )
            return


def _check_null(path: Path, settings: Settings, whole: set[str]) -> None:
    """Raise TokenizerError if one of BERT's five is null, so that transformers has no such token.

    Where only [PAD] or [MASK] is, and another file has it as a token, no id is another.
    """
    for name in settings.null_tokens:
        if name in ("pad_token", "mask_token") and settings.special_tokens[name] in whole:
            continue
        raise TokenizerError(
            f"{path.parent}: {name} is null in tokenizer_config.json or special_tokens_map.json, "
            f"and BERT needs it. Let it say {shown(settings.special_tokens[name])}, or "
            "leave the line out."
        )


def _check_unknown(path: Path, tokenizer: Tokenizer, settings: Settings) -> None:
    """Raise TokenizerError if unknown words become another token than [UNK].

    Were that token absent, the library would fail only at the first such word.
    """
    stated = settings.special_tokens["unk_token"]
    used = getattr(tokenizer.model, "unk_token", None)  # a Unigram's is not to be had
    if used is not None and used != stated:
        raise TokenizerError(
            f"{path}: unknown words become {quoted(used)}, but unk_token is {quoted(stated)}; "
            "tokenizer_config.json must say the same."
        )


def _check_frame(path: Path, tokenizer: Tokenizer, settings: Settings) -> None:
    """Raise TokenizerError unless [CLS] and [SEP] are put around texts and pairs, all of them."""
    names = [settings.special_tokens[name] for name in SPECIAL_TOKENS[:2]]
    frame = [tokenizer.token_to_id(name) for name in names]
    with backend_errors(f"{path}: a word that is not in the vocabulary cannot be encoded"):
        tokenizer.encode(RARE)
    with backend_errors(str(path)):
        length = len(tokenizer.encode("a", add_special_tokens=False))
        found = [tokenizer.encode(*texts).ids for texts in (("a",), ("a", ""), ("", "a"))]
        empty = [len(tokenizer.encode(*texts)) for texts in (("",), ("", ""), ("", ""))]
    if any([*ids[:1], *ids[-1:]] != frame for ids in found):
        raise TokenizerError(f"{path}: {_no_frame(tokenizer, names)}")
    if any(len(ids) - short != length for ids, short in zip(found, empty, strict=True)):
        raise TokenizerError(
            f"{path}: the post_processor must have each text once: A in single, A and B in pair; "
            "with this one a text would be lost or doubled."
        )


def _no_frame(tokenizer: Tokenizer, names: list[str]) -> str:
    """Say why texts are not framed by the two tokens of these names."""
    stale = _stale_ids(tokenizer)
    if stale:
        return (
            "the post_processor, which puts special tokens around texts, has other ids than the "
            f"vocabulary: {'; '.join(stale)}. It was written for another vocabulary: give it this "
            "one's ids, or take tokenizer.json and vocabulary from one place."
        )
    return (
        f"texts are not framed by {quoted(names[0])} and {quoted(names[1])} (there is no "
        "post_processor for them); BERT needs both."
    )


def _stale_ids(tokenizer: Tokenizer) -> list[str]:
    """Say which tokens have another id in the post_processor than in the vocabulary."""
    found = []
    for part in _post_processors(tokenizer):
        pairs = [tuple(part[name]) for name in ("cls", "sep") if name in part]
        for token in part.get("special_tokens", {}).values():
            pairs += zip(token["tokens"], token["ids"], strict=False)
        for token, index in pairs:
            known = tokenizer.token_to_id(token)
            if index != known:
                there = "the vocabulary has no such token" if known is None else f"there {known}"
                found.append(f"{quoted(token)} is {index} here, {there}")
    return found


def _post_processors(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Return the steps that put special tokens around texts, as they stand in tokenizer.json."""
    state = state_of(tokenizer.post_processor)
    return list(state.get("processors", [state]))
