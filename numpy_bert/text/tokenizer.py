"""BertTokenizer: text to ids and back, called as in transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from numpy_bert.arrays import IntArray, as_ids, check_ids
from numpy_bert.errors import InputError
from numpy_bert.loading.cache import TOKENIZER_FILES
from numpy_bert.loading.hub import find
from numpy_bert.messages import must_be
from numpy_bert.text.backend import Backend, load_backend
from numpy_bert.text.batch import (
    MEMBERS,
    BatchEncoding,
    as_encoding,
    as_lengths,
    check_switches,
    encode,
    pad_rows,
    rows_of,
)
from numpy_bert.text.inputs import Pair, as_items, as_texts, check_text, dropped
from numpy_bert.text.library import backend_errors
from numpy_bert.text.saving import save_files
from numpy_bert.text.tokenizer_config import LARGEST_LENGTH, SPECIAL_TOKENS

__all__ = ["Attribute", "BertTokenizer", "decoded"]

T = TypeVar("T")

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
    """A BERT's tokenizer, built on the `tokenizers` library.

    It is made by `from_pretrained`. An instance is never changed by a call, so threads can share
    it. The sides and `model_max_length` can be set, as in transformers; everything else is as the
    files say.

    Attributes
    ----------
    cls_token, sep_token, pad_token, unk_token, mask_token : str
        The special tokens; ``cls_token_id`` and so on are their ids.
    model_max_length : int or None
        The number of tokens that the model can take, to which ``truncation=True`` cuts.
    padding_side, truncation_side : str
        ``"right"`` or ``"left"``, as the files say.
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
    notes = Attribute[tuple[str, ...]]()
    padding_side, truncation_side = Attribute(_as_side), Attribute(_as_side)
    model_max_length = Attribute(_as_limit)

    def __init__(self, backend: Backend) -> None:
        settings = backend.settings
        self._tokenizer = backend.tokenizer
        self._size = backend.size
        self._settings = settings
        self._notes = backend.notes
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

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
    ) -> BertTokenizer:
        """Load the tokenizer of a checkpoint: ``tokenizer.json``, or ``vocab.txt`` without one.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            They are those of `numpy_bert.fetch`. A cached revision is used without any request.

        Raises
        ------
        TokenizerError
            If the files are malformed or contradict each other.
        """
        folder = find(
            name_or_path,
            needs=TOKENIZER_FILES,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(load_backend(folder))

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
        save_files(Path(save_directory), self._tokenizer, settings, force=force)

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Pair],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        split_special_tokens: bool | None = None,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a list of either.

        Parameters
        ----------
        text : str, or sequence of str or of (str, str)
            One text, or a batch.
        text_pair : str or sequence of str, optional
            The second text of each pair.
        add_special_tokens : bool
            Whether [CLS] and [SEP] are put around the texts.
        padding : bool or {"longest", "max_length"}
            True pads to the longest row, ``"max_length"`` to `max_length`.
        truncation : bool or {"longest_first", "only_first", "only_second"}
            True is ``"longest_first"``. Nothing is cut unless asked.
        max_length : int, optional
            The most tokens of a row, special tokens included; `model_max_length` by default.
        return_tensors : "np", optional
            With ``"np"`` the members are int64 arrays of shape (B, T) in place of lists.
        split_special_tokens : bool, optional
            Whether ``[SEP]`` or ``[MASK]`` in a text is plain characters. By default they become
            the special tokens, as in transformers, unless the files say otherwise.
        return_offsets_mapping : bool
            Whether to add ``offset_mapping``: the characters ``text[start:end]`` of each token.
        return_special_tokens_mask : bool
            Whether to add ``special_tokens_mask``: 1 for what frames and pads the texts.

        Returns
        -------
        BatchEncoding
            input_ids, token_type_ids, attention_mask; ``truncated`` says which rows were cut.

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
        """
        if return_tensors is not None and not (
            isinstance(return_tensors, str) and return_tensors == "np"
        ):
            raise InputError(must_be("return_tensors", "'np', or None for lists", return_tensors))
        check_switches(
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=return_offsets_mapping,
            return_special_tokens_mask=return_special_tokens_mask,
        )
        lengths = as_lengths(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            model_max_length=self.model_max_length,
        )
        single, items = as_items(text, text_pair)
        backend = self._backend(split_special_tokens)
        encodings = encode(backend, items, add_special_tokens=bool(add_special_tokens))
        names = [*MEMBERS, *["special_tokens_mask"] * bool(return_special_tokens_mask)]
        names += ["offset_mapping"] * bool(return_offsets_mapping)
        rows, truncated = rows_of(encodings, lengths, side=self.truncation_side, names=names)
        if lengths.pads:
            left = self.padding_side == "left"
            rows = pad_rows(rows, lengths.pad, pad_id=self.pad_token_id, left=left)
        return as_encoding(rows, truncated, single=single, arrays=return_tensors == "np")

    def tokenize(self, text: str, pair: str | None = None) -> list[str]:
        """Return the tokens of a text (and a second), without special tokens.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> BertTokenizer.from_pretrained("demo").tokenize("Unbelievably so")
        ['un', '##be', '##lie', '##v', '##ably', 'so']
        """
        item = check_text(text, "text")
        items = [item if pair is None else (item, check_text(pair, "pair"))]
        return list(encode(self._backend(None), items, add_special_tokens=False)[0].tokens)

    def convert_ids_to_tokens(self, ids: int | npt.ArrayLike) -> str | list[str]:
        """Return the token of an id, or the tokens of a sequence of ids.

        Raises
        ------
        InputError
            If an id is outside the vocabulary.
        """
        checked = _checked_ids(ids, len(self))
        if checked.ndim == 0:
            return str(self._tokenizer.id_to_token(int(checked)))
        return [str(self._tokenizer.id_to_token(index)) for index in checked.tolist()]

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

    def decode(self, token_ids: int | npt.ArrayLike, *, skip_special_tokens: bool = False) -> str:
        """Return the text that ids stand for, as far as lower-casing and the like let it be known.

        Examples
        --------
        >>> from numpy_bert import BertTokenizer
        >>> tokenizer = BertTokenizer.from_pretrained("demo")
        >>> ids = tokenizer("A test, a sentence.")["input_ids"]
        >>> tokenizer.decode(ids, skip_special_tokens=True)
        'a test, a sentence.'
        """
        check_switches(skip_special_tokens=skip_special_tokens)
        ids = np.atleast_1d(_checked_ids(token_ids, len(self))).tolist()
        return decoded(
            self._tokenizer,
            ids,
            skip_special_tokens=bool(skip_special_tokens),
            cleans_up=self._settings.cleans_up,
        )

    def batch_decode(
        self, sequences: Sequence[npt.ArrayLike], *, skip_special_tokens: bool = False
    ) -> list[str]:
        """Decode each of several sequences of ids.

        Raises
        ------
        InputError
            If `sequences` is no list of sequences, or an id is outside the vocabulary.
        """
        return [
            self.decode(ids, skip_special_tokens=skip_special_tokens)
            for ids in _as_sequences(sequences)
        ]

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

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

    def _backend(self, split_special_tokens: bool | None) -> Tokenizer:
        """Return the backend that a call needs."""
        if split_special_tokens is not None:
            check_switches(split_special_tokens=split_special_tokens)
        default = self._settings.split_special_tokens
        splits = default if split_special_tokens is None else split_special_tokens
        return self._plain if splits else self._tokenizer

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
