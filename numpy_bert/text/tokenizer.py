"""BertTokenizer: text to ids and back, called as in transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import BPE

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import IntArray, as_ids, check_ids
from numpy_bert.errors import InputError
from numpy_bert.files import as_folder
from numpy_bert.foreign import Accepted, check_accepted, no_attribute
from numpy_bert.loading.cache import TOKENIZER_FILES
from numpy_bert.loading.hub import find
from numpy_bert.messages import must_be, shown
from numpy_bert.text.backend import Backend, load_backend
from numpy_bert.text.batch import (
    Lengths,
    as_encoding,
    as_lengths,
    encode,
    gives_arrays,
    member_names,
    padded,
    rows_of,
)
from numpy_bert.text.encoding import BatchEncoding
from numpy_bert.text.inputs import Pair, as_items, as_texts, as_word_items, check_text, dropped
from numpy_bert.text.library import backend_errors
from numpy_bert.text.padding import Padding, pad_encoded
from numpy_bert.text.saving import save_files
from numpy_bert.text.tokenizer_config import LARGEST_LENGTH, SPECIAL_TOKENS
from numpy_bert.text.wordpiece import lowers

__all__ = ["Attribute", "BertTokenizer", "decoded"]

T = TypeVar("T")

_LOADING = {"use_fast": Accepted((True,), "The tokenizers library does the work.")}
_CALL = "Call the tokenizer itself, which takes the same: tokenizer(text, text_pair, ...)."
_FILES = (
    "It is what its files say: add the tokens to tokenizer.json, and rows to the model's table."
)
# What transformers has, or its version 4 had, and what to do here.
_ELSEWHERE = {
    **dict.fromkeys(("encode_plus", "batch_encode_plus", "prepare_for_model"), _CALL),
    "build_inputs_with_special_tokens": _CALL,
    **dict.fromkeys(("add_tokens", "add_special_tokens"), _FILES),
    "additional_special_tokens": "See all_special_tokens and special_tokens_map.",
}

# What transformers joins, in its order.
_JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class Attribute(Generic[T]):
    """An attribute that is checked when it is set; without a check, it cannot be set.

    Parameters
    ----------
    check : callable, optional
        Takes the attribute's name and a value, and returns what is kept of it.

    Examples
    --------
    >>> class Tokenizer:
    ...     side = Attribute(_as_side)
    >>> tokenizer = Tokenizer()
    >>> tokenizer.side = "left"
    >>> tokenizer.side
    'left'
    >>> tokenizer.side = "up"
    Traceback (most recent call last):
    numpy_bert.errors.InputError: side must be 'left' or 'right'; got 'up'.
    """

    def __init__(self, check: Callable[[str, object], T] | None = None) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]  # on the class, as a property does
        value: T = instance.__dict__[f"_{self._name}"]
        return value

    def __set__(self, instance: object, value: Any) -> None:
        if self._check is None:
            raise AttributeError(
                f"{self._name} cannot be set: it is what the tokenizer's files say. Change "
                "tokenizer_config.json or tokenizer.json and load it again."
            )
        instance.__dict__[f"_{self._name}"] = self._check(self._name, value)


def _as_side(name: str, value: object) -> str:
    """Return ``"left"`` or ``"right"``; raise InputError for anything else."""
    if not isinstance(value, str) or value not in ("left", "right"):
        raise InputError(must_be(name, "'left' or 'right'", value))
    return value


def _as_limit(name: str, value: object) -> int | None:
    """Return a number of tokens, None for no limit, which transformers writes as 1e30."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float, np.integer)) and not isinstance(value, bool)
    if is_number and value >= LARGEST_LENGTH:  # type: ignore[operator]
        return None
    if not is_number or isinstance(value, float) or value < 1:  # type: ignore[operator]
        raise InputError(must_be(name, "a number of tokens, or None", value))
    return int(value)  # type: ignore[call-overload,no-any-return]


class BertTokenizer:
    """A BERT's tokenizer, or one of its family's, built on the `tokenizers` library.

    Which it is its own files say: WordPiece as BERT's or MPNet's, byte-level pairs as RoBERTa's, or
    a Unigram as XLM-R's. It is made by `from_pretrained`. An instance is never changed by a call,
    so threads can share it. The sides and `model_max_length` can be set, as in transformers;
    everything else is as the files say.

    Attributes
    ----------
    cls_token, sep_token, pad_token, unk_token, mask_token : str
        The special tokens; ``cls_token_id`` and so on are their ids.
    model_max_length : int or None
        The number of tokens that the model can take, to which ``truncation=True`` cuts.
    padding_side, truncation_side : str
        ``"right"`` or ``"left"``, as the files say.
    model_input_names : tuple of str
        The members that a call makes by default; RoBERTa's have no token types.
    notes : tuple of str
        What was done about the files, as sentences.

    Examples
    --------
    >>> from numpy_bert import BertTokenizer
    >>> tokenizer = BertTokenizer.from_pretrained("demo")
    >>> tokenizer.tokenize("this is a test sentence")
    ['this', 'is', 'a', 'test', 'sentence']
    >>> tokenizer("a test", "a sentence", return_tensors="np")["token_type_ids"]
    array([[0, 0, 0, 0, 1, 1, 1]])
    """

    cls_token, sep_token, pad_token = Attribute[str](), Attribute[str](), Attribute[str]()
    unk_token, mask_token = Attribute[str](), Attribute[str]()
    cls_token_id, sep_token_id, pad_token_id = Attribute[int](), Attribute[int](), Attribute[int]()
    unk_token_id, mask_token_id = Attribute[int](), Attribute[int]()
    notes, model_input_names = Attribute[tuple[str, ...]](), Attribute[tuple[str, ...]]()
    padding_side, truncation_side = Attribute(_as_side), Attribute(_as_side)
    model_max_length = Attribute(_as_limit)

    def __init__(self, backend: Backend) -> None:
        if not isinstance(backend, Backend):
            raise InputError(
                "BertTokenizer must be made by from_pretrained; got "
                f"{shown(backend)}. Write BertTokenizer.from_pretrained(name_or_path)."
            )
        settings = backend.settings
        self._tokenizer = backend.tokenizer
        self._size = backend.size
        self._settings = settings
        self._notes, self._model_input_names = backend.notes, settings.input_names
        self.padding_side = settings.padding_side
        self.truncation_side = settings.truncation_side
        self.model_max_length = settings.model_max_length
        for name in SPECIAL_TOKENS:
            token = settings.special_tokens[name]
            vars(self).update(
                {f"_{name}": token, f"_{name}_id": self._tokenizer.token_to_id(token)}
            )

    def __setattr__(self, name: str, value: Any) -> None:
        attribute = getattr(type(self), name, None)
        if not name.startswith("_") and (attribute is None or callable(attribute)):
            raise AttributeError(f"a tokenizer has no {name!r} that could be set.")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker knows by itself what there is not

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name, _ELSEWHERE)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        do_lower_case: bool | None = None,
        use_fast: bool = True,
    ) -> BertTokenizer:
        """Load the tokenizer of a checkpoint.

        It is read from ``tokenizer.json`` or, without one, from ``vocab.txt`` or from
        ``vocab.json`` and ``merges.txt``.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            They are those of `numpy_bert.fetch`. A cached revision is used without any request.
        model_max_length, padding_side, truncation_side : optional
            The attributes, where they are to be other than the files say.
        do_lower_case : bool, optional
            Whether texts are lower-cased, which must be what the files say.
        use_fast : bool
            It must be True: the `tokenizers` library does the work.

        Raises
        ------
        TokenizerError
            If the files are malformed or contradict each other.
        """
        check_accepted(f"{cls.__name__}.from_pretrained", {"use_fast": use_fast}, _LOADING)
        folder = find(
            name_or_path,
            needs=TOKENIZER_FILES,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        found = cls(load_backend(folder))
        if do_lower_case is not None:
            check_switches(do_lower_case=do_lower_case)
            found._check_case(bool(do_lower_case))
        stated = {"padding_side": padding_side, "truncation_side": truncation_side}
        for name, value in {**stated, "model_max_length": model_max_length}.items():
            if value is not None:
                setattr(found, name, value)
        return found

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Save the tokenizer as it is now, where `from_pretrained`, and transformers', can load it.

        Parameters
        ----------
        save_directory : str or Path
            The folder, which is made if it is not there.
        force : bool
            Whether another tokenizer.json and tokenizer_config.json there are replaced.

        Raises
        ------
        OutputError
            If others are there and `force` is not given, or one cannot be written whole.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> tokenizer.model_max_length = 64
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokenizer.save_pretrained(folder)
        ...     BertTokenizer.from_pretrained(folder).model_max_length
        64
        """
        settings = replace(
            self._settings,
            model_max_length=self.model_max_length,
            padding_side=self.padding_side,
            truncation_side=self.truncation_side,
        )
        folder = as_folder(save_directory, "save_directory")
        save_files(folder, self._tokenizer, settings, force=force)

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Pair] | Sequence[Sequence[str]],
        text_pair: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        split_special_tokens: bool | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a list of either.

        Parameters
        ----------
        text : str, or sequence of str or of (str, str)
            One text, or a batch. With `is_split_into_words` a text is a sequence of words.
        text_pair : str or sequence of str, optional
            The second text of each pair.
        add_special_tokens : bool
            Whether [CLS] and [SEP] are put around the texts.
        padding : bool or {"longest", "max_length"}
            True pads to the longest row, ``"max_length"`` to `max_length`.
        truncation : bool or {"longest_first", "only_first", "only_second"}, optional
            True is ``"longest_first"``. Nothing is cut unless this or `max_length` asks for it.
        max_length : int, optional
            The most tokens of a row, special tokens included; `model_max_length` by default.
        stride : int
            How many tokens of a text neighbouring windows share, with `return_overflowing_tokens`.
        is_split_into_words : bool
            Whether each text is given as its words, as ``["Ada", "Lovelace"]``.
        pad_to_multiple_of : int, optional
            What the length of padded rows is a multiple of.
        padding_side : {"right", "left"}, optional
            Where padding stands in this call.
        return_tensors : "np", optional
            With ``"np"`` the members are int64 arrays of shape (B, T) in place of lists.
        return_token_type_ids, return_attention_mask : bool, optional
            Whether they are among the members; by default, if `model_input_names` has them.
        return_overflowing_tokens : bool
            Whether what is cut goes into further rows, the next windows over the text, in place of
            being lost; ``overflow_to_sample_mapping`` says which text each row is of.
        return_special_tokens_mask : bool
            Whether to add ``special_tokens_mask``: 1 for what frames and pads the texts.
        return_offsets_mapping : bool
            Whether to add ``offset_mapping``: the characters ``text[start:end]`` of each token.
        return_length : bool
            Whether to add ``length``, the number of tokens of each row.
        split_special_tokens : bool, optional
            Whether ``[SEP]`` or ``[MASK]`` in a text is plain characters. By default they become
            the special tokens, as in transformers, unless the files say otherwise.
        verbose : bool
            It changes nothing here, where a model refuses what is too long for it.

        Returns
        -------
        BatchEncoding
            input_ids, attention_mask and, unless `model_input_names` lacks them, token_type_ids;
            ``truncated`` says which rows were cut, and ``tokens(i)``, ``word_ids(i)``,
            ``sequence_ids(i)`` what the tokens of row i are.

        Raises
        ------
        InputError
            If a text or an argument cannot be used; the message names the text's place.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> tokenizer(["a", "a test"], padding=True)["attention_mask"]
        [[1, 1, 1, 0], [1, 1, 1, 1]]
        >>> words = tokenizer([["Ada", "Lovelace"]], is_split_into_words=True)
        >>> words.word_ids(0)
        [None, 0, 0, 1, 1, None]
        >>> tokenizer("a b c", max_length=4, stride=1, return_overflowing_tokens=True).input_ids
        [[2, 43, 44, 3], [2, 44, 45, 3]]
        """
        names = member_names(
            return_token_type_ids=self._gives("token_type_ids", return_token_type_ids),
            return_attention_mask=self._gives("attention_mask", return_attention_mask),
            return_special_tokens_mask=return_special_tokens_mask,
            return_offsets_mapping=return_offsets_mapping,
            return_length=return_length,
            return_overflowing_tokens=return_overflowing_tokens,
        )
        check_switches(
            add_special_tokens=add_special_tokens,
            is_split_into_words=is_split_into_words,
            verbose=verbose,
        )
        arrays = gives_arrays(return_tensors)
        overlap = min(as_count("stride", stride, least=0), sys.maxsize)
        lengths = as_lengths(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            model_max_length=self.model_max_length,
            pad_to_multiple_of=pad_to_multiple_of,
        )
        as_checked = as_word_items if is_split_into_words else as_items
        single, items = as_checked(text, text_pair)
        encodings = encode(
            self._backend(split_special_tokens),
            items,
            add_special_tokens=bool(add_special_tokens),
            is_split_into_words=bool(is_split_into_words),
        )
        rows, truncated = rows_of(
            encodings,
            lengths,
            side=self.truncation_side,
            stride=overlap if return_overflowing_tokens else None,
        )
        padded_rows, members = padded(rows, names, self._padding(lengths, padding_side))
        single = single and not return_overflowing_tokens
        return as_encoding(members, padded_rows, truncated, single=single, arrays=arrays)

    def encode(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any
    ) -> Any:
        """Return the ids of a text or a pair: ``input_ids`` of what a call returns.

        Parameters
        ----------
        text, text_pair, add_special_tokens, **options
            They are those of a call.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> BertTokenizer.from_pretrained("demo").encode("a test")
        [2, 43, 2444, 3]
        """
        called = self(text, text_pair, add_special_tokens=add_special_tokens, **options)
        return called["input_ids"]

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad what is encoded already, such as the examples of a batch.

        Parameters
        ----------
        encoded_inputs : mapping, or list of mappings
            What a call returns, or a list of what it returns for one text each. ``input_ids``,
            ``token_type_ids``, ``attention_mask`` and ``special_tokens_mask`` are padded; labels
            and all else are left as they are.
        padding, max_length, pad_to_multiple_of, padding_side, return_tensors, verbose
            They are those of a call. Arrays come back as arrays.
        return_attention_mask : bool, optional
            Whether there is an ``attention_mask``; by default there is, made if none is given.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> examples = [{"input_ids": [2, 43, 3], "labels": 1}, {"input_ids": [2, 3], "labels": 0}]
        >>> tokenizer.pad(examples, return_tensors="np")["input_ids"]
        array([[ 2, 43,  3],
               [ 2,  3,  0]])
        """
        check_switches(verbose=verbose)
        if return_attention_mask is not None:
            check_switches(return_attention_mask=return_attention_mask)
        lengths = as_lengths(
            padding=padding,
            truncation=False,
            max_length=max_length,
            model_max_length=self.model_max_length,
            pad_to_multiple_of=pad_to_multiple_of,
        )
        found = pad_encoded(
            encoded_inputs,
            self._padding(lengths, padding_side),
            masks=return_attention_mask,
            arrays=gives_arrays(return_tensors),
        )
        return BatchEncoding(found)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """Return the tokens of a text (and a second), without special tokens unless asked for.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> BertTokenizer.from_pretrained("demo").tokenize("Unbelievably so")
        ['un', '##be', '##lie', '##v', '##ably', 'so']
        """
        check_switches(add_special_tokens=add_special_tokens)
        item = check_text(text, "text")
        items = [item if pair is None else (item, check_text(pair, "pair"))]
        special = bool(add_special_tokens)
        return list(encode(self._backend(None), items, add_special_tokens=special)[0].tokens)

    def convert_ids_to_tokens(
        self, ids: int | npt.ArrayLike, skip_special_tokens: bool = False
    ) -> str | list[str]:
        """Return the token of an id, or the tokens of a sequence of ids.

        With `skip_special_tokens`, those of a sequence that are special are left out.

        Raises
        ------
        InputError
            If an id is outside the vocabulary.
        """
        checked = _checked_ids(ids, len(self))
        if checked.ndim == 0:
            return str(self._tokenizer.id_to_token(int(checked)))
        check_switches(skip_special_tokens=skip_special_tokens)
        skipped = {*self.all_special_ids} if skip_special_tokens else set[int]()
        kept = (index for index in checked.tolist() if index not in skipped)
        return [str(self._tokenizer.id_to_token(index)) for index in kept]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or the ids of a sequence; unknown ones get [UNK]'s id."""
        single, items = as_texts(tokens, "tokens")
        found = [self._id_of(token) for token in items]
        return found[0] if single else found

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens, pieces joined: ``["un", "##able"]`` is ``"unable"``."""
        single, items = as_texts(tokens, "tokens")
        if single:
            raise InputError("tokens must be a list of tokens; got str.")
        if self._tokenizer.decoder is None:
            return " ".join(items)
        with backend_errors("convert_tokens_to_string"):
            return str(self._tokenizer.decoder.decode(items))

    def decode(
        self,
        token_ids: int | npt.ArrayLike | Sequence[npt.ArrayLike],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """Return the text that ids stand for, as far as lower-casing and the like let it be known.

        Parameters
        ----------
        token_ids : int, sequence of int, or sequence of such sequences
            An id, the ids of a text, or those of several, for which a list is returned.
        skip_special_tokens : bool
            Whether [CLS], [SEP] and the like are left out.
        clean_up_tokenization_spaces : bool, optional
            Whether the spaces before punctuation are removed; by default, as the files say. Those
            of a byte-pair tokenizer, whose tokens hold the spaces of the text, always stay.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> ids = tokenizer("A test, a sentence.")["input_ids"]
        >>> tokenizer.decode(ids, skip_special_tokens=True)
        'a test, a sentence.'
        """
        check_switches(skip_special_tokens=skip_special_tokens)
        cleans_up = self._settings.cleans_up
        if clean_up_tokenization_spaces is not None:
            check_switches(clean_up_tokenization_spaces=clean_up_tokenization_spaces)
            cleans_up = bool(clean_up_tokenization_spaces)
        cleans_up = cleans_up and not isinstance(self._tokenizer.model, BPE)
        rows: list[Any] = list(token_ids) if _are_rows(token_ids) else [token_ids]  # type: ignore[arg-type]
        texts = [
            decoded(
                self._tokenizer,
                np.atleast_1d(_checked_ids(ids, len(self))).tolist(),
                skip_special_tokens=bool(skip_special_tokens),
                cleans_up=cleans_up,
            )
            for ids in rows
        ]
        return texts if _are_rows(token_ids) else texts[0]

    def batch_decode(
        self,
        sequences: Sequence[npt.ArrayLike],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Decode each of several sequences of ids.

        Raises
        ------
        InputError
            If `sequences` is no list of sequences, or an id is outside the vocabulary.
        """
        return [
            self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces)
            for ids in _as_sequences(sequences)
        ]

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.get_vocab()

    def get_added_vocab(self) -> dict[str, int]:
        """Return every token that is taken whole with its id, in their order."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {added[index].content: index for index in sorted(added)}

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens that have a name, such as ``cls_token``, by their names."""
        return self._settings.named_tokens

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, with a name or without."""
        extra = (token.content for token in self._settings.extra_tokens)
        return list(dict.fromkeys((*self.special_tokens_map.values(), *extra)))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return [self._id_of(token) for token in self.all_special_tokens]

    def get_special_tokens_mask(
        self,
        token_ids_0: npt.ArrayLike,
        token_ids_1: None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each id that is a special token's, else 0.

        As in transformers, of ids that a call returned (`already_has_special_tokens`).

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> tokenizer.get_special_tokens_mask([2, 43, 3, 0], already_has_special_tokens=True)
        [1, 0, 1, 1]
        """
        if already_has_special_tokens is not True or token_ids_1 is not None:
            raise InputError(
                "get_special_tokens_mask needs already_has_special_tokens=True and no second text; "
                "for a text, call the tokenizer with return_special_tokens_mask=True."
            )
        special = {*self.all_special_ids}
        return [int(index in special) for index in _checked_ids(token_ids_0, len(self)).tolist()]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens are put around a text, or a pair."""
        check_switches(pair=pair)
        return int(self._tokenizer.num_special_tokens_to_add(bool(pair)))

    @property
    def is_fast(self) -> bool:
        """Whether the `tokenizers` library does the work, as it always does here."""
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens in the vocabulary, without those added to it later."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer of the `tokenizers` library behind this one, which must not be changed."""
        return self._tokenizer

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        stated = ("vocab_size", "model_max_length", "padding_side", "truncation_side")
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in stated)
        return f"{type(self).__name__}({members})"

    def dropped_characters(self, text: str) -> list[str]:
        """Return the characters that vanish before tokenization: controls, zero-width, U+FFFD.

        Some controls are white space to others, such as U+000B: the words around it are joined.
        Combining marks that lower-casing strips are not counted.
        """
        normalizer = self._tokenizer.normalizer
        text = check_text(text, "text")
        return [] if normalizer is None else dropped(text, normalizer.normalize_str)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the second backend: what makes it differ is lost when it is pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_plain"}

    @cached_property
    def _plain(self) -> Tokenizer:
        """A second backend that takes special tokens in a text for plain characters."""
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _gives(self, member: str, asked: bool | None) -> bool | None:
        """Return whether a call makes a member: as it asks, or as the files say."""
        return asked if asked is not None or member in self.model_input_names else False

    def _backend(self, split_special_tokens: bool | None) -> Tokenizer:
        """Return the backend that a call needs."""
        if split_special_tokens is not None:
            check_switches(split_special_tokens=split_special_tokens)
        default = self._settings.split_special_tokens
        splits = default if split_special_tokens is None else split_special_tokens
        return self._plain if splits else self._tokenizer

    def _check_case(self, lower: bool) -> None:
        """Raise InputError unless texts are lower-cased, or not, as is wanted."""
        if lowers(self._tokenizer) is not lower:
            raise InputError(
                f"do_lower_case={lower}: the files say {not lower}, and the model was trained so. "
                "Leave it out; or state it in tokenizer_config.json, if the files are wrong."
            )

    def _padding(self, lengths: Lengths, side: str | None) -> Padding | None:
        """Return how rows are lengthened, None if they are not."""
        side = self.padding_side if side is None else _as_side("padding_side", side)
        if not lengths.pads:
            return None
        return Padding(
            token=self.pad_token,
            token_id=self.pad_token_id,
            left=side == "left",
            length=lengths.pad,
            multiple=lengths.multiple,
        )

    def _id_of(self, token: str) -> int:
        """Return the id of a token, or [UNK]'s."""
        found = self._tokenizer.token_to_id(token)
        return self.unk_token_id if found is None else int(found)


def decoded(
    tokenizer: Tokenizer, ids: list[int], *, skip_special_tokens: bool, cleans_up: bool
) -> str:
    """Return the text of checked ids, without the spaces around punctuation if `cleans_up`."""
    with backend_errors("decode"):
        text = str(tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))
    for spaced in _JOINED if cleans_up else ():
        text = text.replace(spaced, spaced.strip())
    return text


def _are_rows(ids: object) -> bool:
    """Tell several sequences of ids from one."""
    if isinstance(ids, (list, tuple)):
        return len(ids) > 0 and (
            isinstance(ids[0], (list, tuple)) or getattr(ids[0], "ndim", 0) > 0
        )
    return getattr(ids, "ndim", 0) == 2


def _as_sequences(sequences: object) -> list[Any]:
    """Return what several sequences of ids stand in as a list; they are checked later."""
    loose = isinstance(sequences, (str, bytes, Mapping, Set))  # nothing in the order of a list
    if isinstance(sequences, Iterable) and not loose and getattr(sequences, "ndim", None) != 0:
        return list(sequences)
    raise InputError(
        f"sequences must be a list of sequences of ids; got {type(sequences).__name__}."
    )


def _checked_ids(ids: int | npt.ArrayLike, size: int) -> IntArray:
    """Return one id or a sequence of ids, all within a vocabulary of `size`."""
    if isinstance(ids, (list, tuple)) and not ids:
        return np.empty(0, dtype=np.intp)
    checked = as_ids(ids, name="ids")
    if checked.ndim > 1:
        raise InputError(f"ids must be one sequence; got an array of shape {checked.shape}.")
    return check_ids(checked, size, name="ids", table="the vocabulary")
