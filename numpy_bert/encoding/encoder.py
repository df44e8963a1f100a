"""SentenceEncoder: texts in, vectors out, as sentence-transformers' models say."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype
from numpy_bert.encoding import similarity as likeness
from numpy_bert.encoding.arguments import (
    as_count,
    as_modes,
    as_output,
    as_prompt,
    check_flag,
    check_prompt_name,
)
from numpy_bert.encoding.fill import cut_message, fill
from numpy_bert.encoding.head import Head, read_head
from numpy_bert.encoding.layers import WeightedLayerPooling, read_layer_pooling
from numpy_bert.encoding.plan import Batch, Plan
from numpy_bert.encoding.pooling import pool
from numpy_bert.encoding.prompts import Prompts, as_prompts
from numpy_bert.encoding.recipe import Recipe, read_recipe
from numpy_bert.encoding.settings import Settings, read_settings
from numpy_bert.encoding.similarity import Hits, check_similarity
from numpy_bert.errors import InputError
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.model.bert import BertModel
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.inputs import are_texts, as_texts
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["SentenceEncoder"]

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


class SentenceEncoder:
    """A sentence model, loaded: a BERT, its tokenizer, and how a text becomes one vector.

    Made by `from_pretrained`. A call changes nothing that another one could see, so threads can
    share an encoder. What of it can be set is checked when it is set, and counts from the next call
    on; the rest cannot be set, nor can an attribute that it does not have.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> encoder = SentenceEncoder.from_pretrained("demo")
    >>> encoder.encode(["a test", "another one"]).shape
    (2, 384)
    >>> encoder.pooling, encoder.max_seq_length
    (('mean',), 512)
    """

    # Each attribute is a property: what can be set is checked when it is set, what cannot stands in
    # `_FIXED`. The slots keep others out, such as a misspelt one, that nothing would read.
    __slots__ = (
        "__weakref__",
        "_default_prompt_name",
        "_head",
        "_ids",
        "_include_prompt",
        "_layers",
        "_model",
        "_notes",
        "_pooling",
        "_prompts",
        "_similarity_fn_name",
        "_tokenizer",
        "_truncate_dim",
    )

    def __init__(
        self,
        model: BertModel,
        tokenizer: BertTokenizer,
        recipe: Recipe,
        head: Head,
        settings: Settings,
        layers: WeightedLayerPooling | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = copy(tokenizer)  # of which max_seq_length is set
        self._ids = IdEncoder(self._tokenizer, lower_case=recipe.lower_case)
        self._notes = (*recipe.notes, *settings.notes)
        self._include_prompt = recipe.include_prompt
        self._head = head
        self._layers = layers
        self._pooling = recipe.pooling
        self._default_prompt_name: str | None = None
        self.prompts = settings.prompts
        self.default_prompt_name = settings.default_prompt_name
        self.similarity_fn_name = settings.similarity_fn_name
        kept = settings.truncate_dim
        self.truncate_dim = None if kept is None else min(kept, head.width)
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
            As in `numpy_bert.fetch`. A cached revision is used without any request.
        dtype, mmap
            As in `BertModel.from_pretrained`.

        Raises
        ------
        ConfigError
            If the files name a module that is not supported, or contradict each other.
        CheckpointError, TokenizerError, HubError
            As of the model and the tokenizer.

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
        head = read_head(recipe, model.config.hidden_size, number, mapped=mmap)
        layers = None
        if recipe.layers is not None:
            layers = read_layer_pooling(recipe.layers, model, number, mapped=mmap)
        tokenizer = BertTokenizer.from_pretrained(recipe.folder)
        return cls(model, tokenizer, recipe, head, settings, layers)

    def __setattr__(self, name: str, value: object) -> None:
        _check_free(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _check_free(name)
        super().__delattr__(name)

    def __copy__(self) -> SentenceEncoder:
        """Return an encoder with the same weights, whose attributes are its own.

        A tokenizer that two encoders shared would be one limit for both.
        """
        shared = (self._model, self._layers, self._head, self._tokenizer.backend_tokenizer)
        return deepcopy(self, {id(part): part for part in shared})

    @property
    def model(self) -> BertModel:
        """The BERT."""
        return self._model

    @property
    def tokenizer(self) -> BertTokenizer:
        """The BERT's tokenizer; what can be set of it counts for the encoder too."""
        return self._tokenizer

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made of the files, as sentences."""
        return self._notes

    @property
    def prompts(self) -> Prompts:
        """Texts that may be put before a text, by their names; a dict that can be changed."""
        return self._prompts

    @prompts.setter
    def prompts(self, value: Mapping[str, str]) -> None:
        prompts = as_prompts(value)
        if self._default_prompt_name is not None and self._default_prompt_name not in prompts:
            raise InputError(
                f"prompts: has no {self._default_prompt_name!r}, which default_prompt_name names; "
                "set that to None first."
            )
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt that is used where none is named; None for none."""
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, value: str | None) -> None:
        if value is not None:
            check_prompt_name(value, self._prompts, "default_prompt_name")
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
        modes = as_modes(value)
        self._head = self._head.fitted(len(modes) * self.model.config.hidden_size, None)
        self._pooling = modes

    @property
    def truncate_dim(self) -> int | None:
        """How many features are kept of a vector; None for all."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        self._truncate_dim = as_count(value, "truncate_dim", most=self._head.width)

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text that are read, special ones included; the rest is cut off.

        As in sentence-transformers it is the `model_max_length` of the encoder's tokenizer. It can
        be set from the special tokens and one more on, up to the model's positions.
        """
        positions = self.model.config.max_position_embeddings
        return min(self._tokenizer.model_max_length or positions, positions)

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        least, most = self._ids.frame + 1, self.model.config.max_position_embeddings
        number = as_count(value, "max_seq_length", least=least, most=most)
        if number is None:
            raise InputError(f"max_seq_length: None; a number from {least} to {most} was expected.")
        self._tokenizer.model_max_length = number

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
            At most as many texts are computed together; their tokens bound them anyway.
        normalize_embeddings : bool, optional
            Scale vectors to length 1. By default what the model's files say. False leaves out a
            last Normalize of theirs, which sentence-transformers does not.
        pooling : {"mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken"}, optional
            In place of the model's own; the vectors of several, in a list, are joined.
        truncate_dim : int, optional
            Features that are kept. As in sentence-transformers they are cut off last, and only
            ``normalize_embeddings=True`` scales to length 1 after that.
        show_progress_bar : bool, optional
            On standard error, if that is a terminal; by default if it takes more than 2 seconds.
        out : ndarray, optional
            Where to write, such as a memory-mapped file: of the result's shape and dtype.

        Returns
        -------
        ndarray of shape (H,) or (n, H), of the model's dtype
            `out` if it is given.

        Raises
        ------
        InputError
            Naming the argument, and of a text its place; before any work.

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
        before = as_prompt(prompt, prompt_name, self.prompts, self.default_prompt_name)
        for value, name in (
            (normalize_embeddings, "normalize_embeddings"),
            (show_progress_bar, "show_progress_bar"),
        ):
            check_flag(value, name)
        modes = self.pooling if pooling is None else as_modes(pooling)
        head = self._head.fitted(len(modes) * self.model.config.hidden_size, normalize_embeddings)
        kept = as_count(truncate_dim, "truncate_dim", most=head.width) or self.truncate_dim
        width = head.width if kept is None else min(kept, head.width)
        shape = (width,) if single else (len(texts), width)
        vectors = as_output(out, shape, self.model.dtype)
        plan = Plan(
            encode_ids=self._ids,
            limit=self.max_seq_length,
            prompt=before,
            most_texts=as_count(batch_size, "batch_size"),
            workers=get_num_threads(),
        )
        skip = 0 if self._include_prompt else self._prompt_length(before)

        def embed(batch: Batch) -> Array:
            hidden = self._hidden(batch)
            return head(pool(hidden, batch.lengths, modes, skip=skip), width)

        rows = vectors[None] if single else vectors
        cut = fill(rows, texts, plan, embed, show_progress_bar)
        if cut:
            warnings.warn(cut_message(cut, single, len(texts), plan.limit), stacklevel=2)
        return vectors

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
        """Return the similarity of each vector of `a` to each of `b`, as the model compares them.

        As `numpy_bert.similarity` with the model's `similarity_fn_name`.
        """
        return likeness.similarity(a, b, self.similarity_fn_name)

    def search(
        self, query: str | Sequence[str] | npt.ArrayLike, corpus_vectors: npt.ArrayLike, k: int = 10
    ) -> Hits:
        """Return the `k` vectors of a corpus that are most like a query, a text or a vector.

        As `numpy_bert.search` with the model's `similarity_fn_name`; texts, in whatever `encode`
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
        """Return the features of a vector that `encode` makes."""
        return min(self._head.width, self.truncate_dim or self._head.width)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the features of a vector that `encode` makes, by sentence-transformers' name."""
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


def _check_free(name: str) -> None:
    """Raise AttributeError if an attribute cannot be set."""
    if name in _FIXED:
        raise AttributeError(
            f"SentenceEncoder.{name} cannot be set or deleted, because {_FIXED[name]}"
        )
