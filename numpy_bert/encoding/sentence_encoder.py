"""SentenceEncoder: texts in, vectors out, as sentence-transformers' models say."""

from __future__ import annotations

import warnings
from collections import UserDict
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype
from numpy_bert.encoding import MODES
from numpy_bert.encoding import similarity as likeness
from numpy_bert.encoding.micro_batches import Batch, Plan, fill
from numpy_bert.encoding.pooling import modes_named, places_read, pool
from numpy_bert.encoding.recipe import Recipe, Settings, read_recipe, read_settings
from numpy_bert.encoding.sentence_modules import (
    PooledModules,
    WeightedLayerPooling,
    read_pooled_modules,
)
from numpy_bert.encoding.similarity import Hits, check_similarity
from numpy_bert.errors import InputError
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import quoted
from numpy_bert.model.bert import BertModel
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.inputs import are_texts, as_texts, check_text
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["Prompts", "SentenceEncoder"]

# The attributes that cannot be set: why, and what to do instead.
_FIXED = {
    "model": (
        "the rest of the encoder was made from it. Load another encoder, from a folder with that "
        "model."
    ),
    "tokenizer": (
        "the rest of the encoder was made from it. Change the attributes of encoder.tokenizer, or "
        "load another encoder, from a folder with that tokenizer."
    ),
    "notes": "they say what was made of the files. Read them; nothing depends on them.",
}


class Prompts(UserDict[str, str]):
    """Texts that may be put before a text, by their names.

    Raises
    ------
    InputError
        If a name or a text that is set is not a str.

    Examples
    --------
    >>> prompts = Prompts({"query": "find: "})
    >>> prompts["document"] = "read: "
    >>> prompts
    {'query': 'find: ', 'document': 'read: '}
    >>> prompts["query"] = 3
    Traceback (most recent call last):
    numpy_bert.errors.InputError: prompts['query'] must be a str; got int.
    """

    def __setitem__(self, name: str, text: str) -> None:
        where = f"prompts[{quoted(repr(name))}]"
        super().__setitem__(check_text(name, f"the name of {where}"), check_text(text, where))

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)  # UserDict's own does not check
        return self


class SentenceEncoder:
    """A sentence model, loaded: a BERT, its tokenizer, and how a text becomes one vector.

    It is made by `from_pretrained`. A call changes nothing that another one could see, so threads
    can share an encoder. An attribute that can be set is checked when it is set, and counts from
    the next call on; the rest cannot be set, nor can an attribute that it does not have.

    Attributes
    ----------
    model : BertModel
        The BERT; it cannot be set.
    tokenizer : BertTokenizer
        The BERT's tokenizer. It cannot be set, but its attributes can, and count for the encoder.
    notes : tuple of str
        What was made of the files, as sentences; they cannot be set.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> encoder = SentenceEncoder.from_pretrained("demo")
    >>> encoder.encode(["a test", "another one"]).shape
    (2, 384)
    >>> encoder.pooling, encoder.max_seq_length
    (('mean',), 512)
    """

    # What can be set is a property that checks it; what cannot stands in `_FIXED`. The slots keep
    # others out, such as a misspelt one, that nothing would read.
    __slots__ = (
        "__weakref__",
        "_default_prompt_name",
        "_ids",
        "_include_prompt",
        "_layers",
        "_modules",
        "_pooling",
        "_prompts",
        "_similarity_fn_name",
        "_truncate_dim",
        "model",
        "notes",
        "tokenizer",
    )

    def __init__(
        self,
        model: BertModel,
        tokenizer: BertTokenizer,
        recipe: Recipe,
        modules: PooledModules,
        settings: Settings,
        layers: WeightedLayerPooling | None = None,
    ) -> None:
        self.model: Final = model
        self.tokenizer: Final = copy(tokenizer)  # of which max_seq_length is set
        self.notes: Final = (*recipe.notes, *settings.notes)
        self._ids = IdEncoder(self.tokenizer, lower_case=recipe.lower_case)
        self._include_prompt = recipe.include_prompt
        self._modules = modules
        self._layers = layers
        self._pooling = recipe.pooling
        self._default_prompt_name: str | None = None
        self.prompts = settings.prompts
        self.default_prompt_name = settings.default_prompt_name
        self.similarity_fn_name = settings.similarity_fn_name
        kept = settings.truncate_dim
        self.truncate_dim = None if kept is None else min(kept, modules.out_features)
        positions = model.config.max_position_embeddings
        stated = recipe.max_seq_length or tokenizer.model_max_length or positions
        self.max_seq_length = min(stated, positions)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        mmap: bool = True,
    ) -> SentenceEncoder:
        """Load a sentence model, or a plain BERT, of which it takes the mean of the tokens.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            Which model, and where it comes from, as `numpy_bert.fetch` takes them. A cached
            revision is used without any request.
        dtype, mmap
            What it computes in, and whether weights are memory-mapped, as
            `BertModel.from_pretrained` takes them.

        Raises
        ------
        ConfigError
            If the files name a module that is not supported, or contradict each other.
        CheckpointError, TokenizerError, HubError
            If the model or the tokenizer cannot be loaded.

        References
        ----------
        .. [1] Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084.
        """
        number = as_dtype(dtype)
        folder = find_sentence_model(
            name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        recipe = read_recipe(folder)
        settings = read_settings(folder)
        model = BertModel.from_pretrained(recipe.folder, dtype=number, mmap=mmap)
        modules = read_pooled_modules(recipe, model.config.hidden_size, number, mapped=mmap)
        layers = None
        if recipe.layers is not None:
            layers = WeightedLayerPooling.read(recipe.layers, model, number, mapped=mmap)
        tokenizer = BertTokenizer.from_pretrained(recipe.folder)
        return cls(model, tokenizer, recipe, modules, settings, layers)

    def __setattr__(self, name: str, value: object) -> None:
        self._check_free(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._check_free(name)
        super().__delattr__(name)

    def _check_free(self, name: str) -> None:
        """Raise AttributeError if an attribute is there and cannot be set."""
        if name in _FIXED and hasattr(self, name):
            raise AttributeError(
                f"SentenceEncoder.{name} cannot be set or deleted, because {_FIXED[name]}"
            )

    def __copy__(self) -> SentenceEncoder:
        """Return an encoder with the same weights, whose attributes are its own.

        A tokenizer that two encoders shared would be one limit for both.
        """
        shared = (self.model, self._layers, self._modules, self.tokenizer.backend_tokenizer)
        return deepcopy(self, {id(part): part for part in shared})

    @property
    def prompts(self) -> Prompts:
        """Texts that may be put before a text, by their names; a dict that can be changed."""
        return self._prompts

    @prompts.setter
    def prompts(self, value: Mapping[str, str]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(
                f"prompts must be a dict of texts by their names; got {type(value).__name__}."
            )
        prompts = Prompts(value)
        if self._default_prompt_name is not None and self._default_prompt_name not in prompts:
            raise InputError(
                f"prompts must have {self._default_prompt_name!r}, which default_prompt_name "
                "names; set default_prompt_name to None first."
            )
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt that is used where none is named; None for none."""
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, value: str | None) -> None:
        if value is not None:
            self._check_prompt_name(value, "default_prompt_name")
        self._default_prompt_name = value

    @property
    def similarity_fn_name(self) -> str:
        """How the model's vectors are compared; None sets "cosine"."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | None) -> None:
        self._similarity_fn_name = check_similarity("cosine" if value is None else value)

    @property
    def pooling(self) -> tuple[str, ...]:
        """How the tokens' hidden states become one vector; several are joined."""
        return self._pooling

    @pooling.setter
    def pooling(self, value: str | Sequence[str]) -> None:
        modes = _as_modes(value)
        self._modules = self._modules.fitted(len(modes) * self.model.config.hidden_size, None)
        self._pooling = modes

    @property
    def truncate_dim(self) -> int | None:
        """How many features are kept of a vector; None for all."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        most = self._modules.out_features
        self._truncate_dim = _as_count(value, "truncate_dim", most=most)

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text are read, special ones included; the rest is cut off.

        It is the `model_max_length` of the encoder's tokenizer, as in sentence-transformers. It can
        be set to any number that leaves room for one token, up to the model's positions.
        """
        positions = self.model.config.max_position_embeddings
        return min(self.tokenizer.model_max_length or positions, positions)

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        least, most = self._ids.frame + 1, self.model.config.max_position_embeddings
        number = _as_count(value, "max_seq_length", least=least, most=most)
        if number is None:
            raise InputError(
                f"max_seq_length must be a whole number from {least} to {most}; got None."
            )
        self.tokenizer.model_max_length = number

    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        pooling: str | Sequence[str] | None = None,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> Array:
        """Return the vector of a text, or one of each of a list of texts.

        Equal texts are computed once. A text's vector does not depend on the others beyond
        rounding, and is the same to the bit from run to run with the same texts and settings.

        Parameters
        ----------
        sentences : str, or sequence, array, Series or other column of str
            One text, or any number in one dimension.
        prompt, prompt_name : str, optional
            What is put before each text, or its name in `prompts`; by default the prompt that
            `default_prompt_name` names. ``prompt=""`` is none.
        batch_size : int, optional
            At most so many texts are computed together; their tokens bound them anyway.
        normalize_embeddings : bool, optional
            Whether vectors are scaled to length 1; by default the model's files say so. False
            leaves out a last Normalize of theirs, which sentence-transformers does not.
        pooling : {"mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken"}, optional
            The pooling that takes the place of the model's own; the vectors of several, in a list,
            are joined.
        truncate_dim : int, optional
            How many features are kept. The others are cut off last, as in sentence-transformers,
            and only ``normalize_embeddings=True`` scales to length 1 after that.
        show_progress_bar : bool, optional
            Whether a bar is drawn on standard error, if that is a terminal; by default it is where
            the work takes more than 2 seconds.
        out : ndarray, optional
            The array that vectors are written to, such as a memory-mapped file, of the result's
            shape and dtype.

        Returns
        -------
        ndarray of shape (H,) or (n, H), of the model's dtype
            The vectors; `out` if it is given.

        Raises
        ------
        InputError
            If an argument is wrong; it is named, and the place of a text. No work is done before.

        Warns
        -----
        UserWarning
            Once, if texts have more than `max_seq_length` tokens and are cut.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder.from_pretrained("demo")
        >>> vectors = encoder.encode(["a test", "a test"], normalize_embeddings=True)
        >>> encoder.similarity(vectors[0], vectors[1]).round(4)
        array([[1.]], dtype=float32)
        """
        single, texts = as_texts(sentences, "sentences")
        before = self._prompt(prompt, prompt_name)
        _check_flag(normalize_embeddings, "normalize_embeddings")
        _check_flag(show_progress_bar, "show_progress_bar")
        modes = self.pooling if pooling is None else _as_modes(pooling)
        pooled = len(modes) * self.model.config.hidden_size
        modules = self._modules.fitted(pooled, normalize_embeddings)
        most = modules.out_features
        kept = _as_count(truncate_dim, "truncate_dim", most=most) or self.truncate_dim
        width = most if kept is None else min(kept, most)
        shape = (width,) if single else (len(texts), width)
        vectors = _as_output(out, shape, self.model.dtype)
        plan = Plan(
            encode_ids=self._ids,
            limit=self.max_seq_length,
            prompt=before,
            most_texts=_as_count(batch_size, "batch_size"),
            workers=get_num_threads(),
        )
        skip = 0 if self._include_prompt else self._prompt_length(before)

        def embed(batch: Batch) -> Array:
            places = places_read(batch.lengths, modes, skip)
            if self._layers is None and places is not None:
                pooled = self.model.packed(batch.ids, batch.lengths, places=places)
            else:
                pooled = pool(self._hidden(batch), batch.lengths, modes, skip=skip)
            return modules(pooled, width)

        rows = vectors[None] if single else vectors
        cut = fill(rows, texts, plan, embed, show_progress_bar)
        if cut:
            warnings.warn(_cut_message(cut, single, len(texts), plan.limit), stacklevel=2)
        return vectors

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
        """Return the similarity of each vector of `a` to each of `b`, as the model compares them.

        It is `numpy_bert.similarity` with the model's `similarity_fn_name`.
        """
        return likeness.similarity(a, b, self.similarity_fn_name)

    def search(
        self, query: str | Sequence[str] | npt.ArrayLike, corpus_vectors: npt.ArrayLike, k: int = 10
    ) -> Hits:
        """Return the `k` vectors of a corpus that are most like a query, a text or a vector.

        It is `numpy_bert.search` with the model's `similarity_fn_name`; texts, in whatever `encode`
        takes them, are encoded first.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder.from_pretrained("demo")
        >>> corpus = encoder.encode(["a test", "the sea", "the moon"])
        >>> encoder.search("the sea", corpus, k=1).indices
        array([1])
        """
        if are_texts(query):
            single, texts = as_texts(query, "query")
            query = self.encode(texts[0] if single else texts)
        return likeness.search(query, corpus_vectors, k, self.similarity_fn_name)

    def get_embedding_dimension(self) -> int:
        """Return how many features a vector of `encode` has."""
        most = self._modules.out_features
        return min(most, self.truncate_dim or most)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the same as `get_embedding_dimension`, under sentence-transformers' name."""
        return self.get_embedding_dimension()

    def _hidden(self, batch: Batch) -> Array:
        """Return what is pooled of each token, (N, H)."""
        if self._layers is None:
            return self.model.packed(batch.ids, batch.lengths)
        return self._layers.packed(self.model, batch.ids, batch.lengths)

    def _prompt_length(self, prompt: str) -> int:
        """Return how many tokens of a text are its prompt's, the first special one included."""
        if not prompt:
            return 0
        return int(self._ids([prompt], self.max_seq_length).lengths[0]) - 1

    def _prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        """Return what is put before each text: a prompt, or one of `prompts` by its name."""
        if prompt is not None:
            if prompt_name is not None:
                raise InputError("prompt and prompt_name are both given; give one of the two.")
            return check_text(prompt, "prompt")
        name = self.default_prompt_name if prompt_name is None else prompt_name
        if name is None:
            return ""
        self._check_prompt_name(name, "prompt_name")
        return self.prompts[name]

    def _check_prompt_name(self, name: object, argument: str) -> None:
        """Raise InputError unless a name is that of one of the prompts."""
        if not isinstance(name, str) or name not in self.prompts:
            known = ", ".join(quoted(repr(key)) for key in self.prompts) or "none"
            raise InputError(
                f"{argument} must be the name of a prompt; got {quoted(repr(name))}. The model "
                f"has: {known}."
            )


def _as_modes(pooling: object) -> tuple[str, ...]:
    """Return the modes of a pooling: one by its name, or several in a list."""
    modes = modes_named(pooling)
    if not modes:
        raise InputError(
            f"pooling must be one of {', '.join(MODES)}, or a list of them; got "
            f"{quoted(repr(pooling))}."
        )
    return modes


def _as_count(value: object, name: str, *, least: int = 1, most: int | None = None) -> int | None:
    """Return a whole number from `least`, up to `most`, or None."""
    if value is None:
        return None
    good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    number = int(value) if good else 0  # type: ignore[call-overload]
    if number < least or (most is not None and number > most):
        bound = "" if most is None else f" to {most}"
        raise InputError(
            f"{name} must be a whole number from {least}{bound}; got {quoted(repr(value))}."
        )
    return number


def _check_flag(value: object, name: str) -> None:
    """Raise InputError unless a value is True, False or None."""
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be True, False or None; got {quoted(repr(value))}.")


def _as_output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the array that vectors are written to, a new one unless one is given."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise InputError(f"out must be an ndarray; got {type(out).__name__}.")
    if out.shape != shape or out.dtype != dtype:
        raise InputError(
            f"out must be of shape {shape} and dtype {dtype}; got {out.shape} and {out.dtype}."
        )
    if not out.flags.writeable:
        raise InputError("out must be writable; it is not. Open a mapped file with 'r+'.")
    return out


def _cut_message(cut: Mapping[int, int], single: bool, total: int, limit: int) -> str:
    """Say how many texts were cut, and which was the first."""
    first = min(cut)
    what = (
        f"the text has {cut[first]} tokens and was cut to max_seq_length = {limit}."
        if single
        else f"{len(cut)} of {total} texts have more tokens than max_seq_length = {limit} and were "
        f"cut; the first is sentences[{first}], of {cut[first]}."
    )
    return f"encode: {what}"
