"""SparseEncoder: texts in, weighted words out, as sentence-transformers' SPLADE models say."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array, as_dtype, memory_for
from numpy_bert.encoding.micro_batches import Batch, Plan, fill
from numpy_bert.encoding.names import CONSTRUCTOR, SAVE, SPARSE_ENCODE, SPARSE_ENCODER
from numpy_bert.encoding.prompts import prompt_of
from numpy_bert.encoding.recipe import Settings, read_settings, stated_in
from numpy_bert.encoding.saving import save_whole
from numpy_bert.encoding.sparse_recipe import SparseRecipe, read_sparse_recipe, sparse_files
from numpy_bert.encoding.sparse_vectors import (
    SparseVectors,
    Vectors,
    as_sparse,
    intersection,
    sparse_similarity,
    sparse_similarity_pairwise,
    sparsity,
    stacked,
)
from numpy_bert.encoding.text_encoder import TextEncoder, given_texts
from numpy_bert.encoding.word_weights import WordWeights
from numpy_bert.errors import ConfigError, InputError
from numpy_bert.files import as_folder
from numpy_bert.foreign import check_accepted
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import quoted
from numpy_bert.model.family import AutoModelForMaskedLM
from numpy_bert.model.task_models import BertForMaskedLM
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["SparseEncoder"]


class SparseEncoder(TextEncoder):
    """A sparse encoder (SPLADE): a masked language model that weighs its words for a text.

    A text's vector has a number for each word of the vocabulary, and for most of them it is 0. So
    what a text is found by can be read, and an index of words can search for it. Names, arguments
    and results are those of sentence-transformers' SparseEncoder, with `SparseVectors` in the place
    of sparse tensors; where one of them has no place here, the error says what has. A call changes
    nothing that another one could see, so threads can share an encoder.

    Parameters
    ----------
    model_name_or_path : str or Path
        A sparse encoder with a SpladePooling, or a plain masked language model, of which the
        largest weight of the tokens is taken: a folder, or a repository on the hub. A name without
        an owner is one of "sparse-encoder".
    dtype, mmap
        What it computes in, and whether weights are memory-mapped, as `BertModel.from_pretrained`
        takes them.
    revision, cache_folder, local_files_only, token
        Where the model comes from, as `numpy_bert.fetch` takes them; `cache_folder` is its
        `cache_dir`.
    prompts : mapping of str to str, optional
        Texts that may be put before a text, by their names, beside those of the model's files; and
        in place of those of the same name.
    default_prompt_name, similarity_fn_name, max_active_dims : optional
        The attributes of these names, where the model's files say something else.
    **options
        Other arguments of sentence-transformers' class, such as ``device="cpu"``, are taken where
        they ask for what happens anyway.

    Attributes
    ----------
    model : BertForMaskedLM, or the class of another architecture
        The masked language model; it cannot be set.
    tokenizer : BertTokenizer
        The model's tokenizer. It cannot be set, but its attributes can, and count for the encoder.
    notes : tuple of str
        What was made of the files, as sentences; they cannot be set.

    Raises
    ------
    ConfigError
        If the files name a module that is not supported, or contradict each other.
    CheckpointError, TokenizerError, HubError
        If the model or the tokenizer cannot be loaded.
    InputError
        If an argument asks for what is not done here.

    References
    ----------
    .. [1] Formal et al., "SPLADE v2", arXiv:2109.10086.

    Examples
    --------
    This one was trained to guess words, and not to weigh them; it stands for one such as
    naver/splade-cocondenser-ensembledistil.

    >>> import tempfile
    >>> from numpy_bert import BertForMaskedLM, SparseEncoder
    >>> folder = tempfile.mkdtemp()
    >>> BertForMaskedLM.from_pretrained("demo").save_pretrained(folder)
    >>> encoder = SparseEncoder(folder, max_active_dims=5)
    >>> encoder
    SparseEncoder(8000 words, pooling max of relu, max_seq_length 512, float32)
    >>> vectors = encoder.encode(["the sea", "the moon"])
    >>> vectors.shape, vectors.nnz
    ((2, 8000), 10)
    >>> words = dict(encoder.decode(vectors[0]))
    >>> len(words), "sea" in words
    (5, True)
    """

    __slots__ = ("_max_active_dims", "_recipe")
    _elsewhere = SPARSE_ENCODER
    _usual_similarity = "dot"

    model: BertForMaskedLM

    def __init__(
        self,
        model_name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        mmap: bool = True,
        revision: str | None = None,
        cache_folder: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        max_active_dims: int | None = None,
        **options: Any,
    ) -> None:
        check_accepted("SparseEncoder", options, CONSTRUCTOR)
        number = as_dtype(dtype)
        folder = find_sentence_model(
            model_name_or_path,
            revision=revision,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
            token=token,
            organization="sparse-encoder",
        )
        recipe = read_sparse_recipe(folder)
        settings = read_settings(folder, "SparseEncoder", self._usual_similarity)
        model = AutoModelForMaskedLM.from_pretrained(recipe.folder, dtype=number, mmap=mmap)
        words = len(model.decoder)
        if recipe.width not in (None, words):
            raise ConfigError(
                f"{folder}: the SpladePooling must be for {words} words, as the model has; got "
                f"{quoted(recipe.width)}."
            )
        tokenizer = BertTokenizer.from_pretrained(recipe.folder)
        with stated_in(folder):
            self._assemble(model, tokenizer, recipe, settings)
        self._set(
            prompts,
            default_prompt_name=default_prompt_name,
            similarity_fn_name=similarity_fn_name,
            max_active_dims=max_active_dims,
        )

    def _assemble(
        self,
        model: BertForMaskedLM,
        tokenizer: BertTokenizer,
        recipe: SparseRecipe,
        settings: Settings,
    ) -> None:
        """Set all attributes."""
        self._prepare(model, tokenizer, settings, lower_case=recipe.lower_case)
        self.notes = (*recipe.notes, *settings.notes)
        self._recipe = recipe
        self.max_active_dims = settings.max_active_dims
        self._limit_to(recipe.max_seq_length)

    def __repr__(self) -> str:
        recipe = self._recipe
        return (
            f"SparseEncoder({self.get_embedding_dimension()} words, pooling {recipe.strategy} of "
            f"{recipe.activation}, max_seq_length {self.max_seq_length}, {self.dtype})"
        )

    @property
    def max_active_dims(self) -> int | None:
        """How many words of a text are kept, the heaviest; None for all that weigh anything."""
        return self._max_active_dims

    @max_active_dims.setter
    def max_active_dims(self, value: int | None) -> None:
        self._max_active_dims = None if value is None else as_count("max_active_dims", value)

    @overload
    def encode(
        self,
        sentences: str | Sequence[str] | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
    ) -> SparseVectors: ...
    @overload
    def encode(
        self,
        sentences: str | Sequence[str] | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        convert_to_tensor: bool = ...,
        convert_to_sparse_tensor: bool = ...,
        save_to_cpu: bool = ...,
        device: str | None = ...,
        max_active_dims: int | None = ...,
        pool: None = ...,
        chunk_size: None = ...,
        *,
        inputs: str | Sequence[str] | None = ...,
    ) -> Any: ...
    def encode(
        self,
        sentences: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_tensor: bool = True,
        convert_to_sparse_tensor: bool = True,
        save_to_cpu: bool = False,
        device: str | None = None,
        max_active_dims: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        inputs: str | Sequence[str] | None = None,
    ) -> Any:
        """Return the vector of a text, or one of each of a list of texts.

        Equal texts are computed once. A text's vector does not depend on the others beyond
        rounding, and is the same to the bit from run to run with the same texts and settings.

        Parameters
        ----------
        sentences, inputs : str, or sequence, array, Series or other column of str
            One text, or any number in one dimension, by either name.
        prompt_name, prompt : str, optional
            What is put before each text: the name of one of `prompts`, or the text itself; by
            default the prompt that `default_prompt_name` names. ``prompt=""`` is none.
        batch_size : int, optional
            At most so many texts are computed together; their tokens bound them anyway.
        show_progress_bar : bool, optional
            Whether a bar is drawn on standard error, if that is a terminal; by default it is where
            the work takes more than 2 seconds.
        convert_to_tensor : bool
            Whether the vectors are rows of one result, or else single ones in a list.
        convert_to_sparse_tensor : bool
            Whether the result is sparse, or else an ndarray with all zeros.
        max_active_dims : int, optional
            How many words of a text are kept, the heaviest, of equal ones those of the lower ids;
            by default as many as the attribute of this name says.
        save_to_cpu, device, pool, chunk_size
            Those of sentence-transformers, which change nothing here.

        Returns
        -------
        SparseVectors of shape (V,) or (n, V), of the model's dtype
            The weights of words; or an ndarray, or a list of either.

        Raises
        ------
        InputError
            If an argument is wrong; it is named, and the place of a text. No work is done before.
        CheckpointError
            If a weight that is used, or a score, is not finite; the weight or the step is named.
        OutOfMemoryError
            If there is no memory for it; the message says for how many texts.

        Warns
        -----
        UserWarning
            Once, if texts have more than `max_seq_length` tokens and are cut.
        """
        given = {"save_to_cpu": save_to_cpu, "device": device, "pool": pool}
        check_accepted("encode", {**given, "chunk_size": chunk_size}, SPARSE_ENCODE)
        single, texts = given_texts(type(self).__name__, sentences, inputs)
        check_switches(
            convert_to_tensor=convert_to_tensor,
            convert_to_sparse_tensor=convert_to_sparse_tensor,
            show_progress_bar=show_progress_bar is not None and show_progress_bar,
        )
        most = self.max_active_dims
        if max_active_dims is not None:
            most = as_count("max_active_dims", max_active_dims)
        before = prompt_of(self.prompts, self.default_prompt_name, prompt, prompt_name)
        plan = self._plan(before, batch_size)
        advice = "Give fewer texts at a time, a smaller batch_size, or max_active_dims."
        with memory_for("encode", lambda: f"{len(texts):,} texts", advice):
            vectors = self._vectors(texts, plan, most, show_progress_bar)
            found = vectors if convert_to_sparse_tensor else vectors.toarray()
        if plan.cut:
            name = None if single else "sentences" if inputs is None else "inputs"
            warnings.warn(plan.cut_message("encode", name, len(texts)), stacklevel=2)
        if single:
            return found[0]
        return found if convert_to_tensor else list(found)

    def decode(self, embeddings: Vectors, top_k: int | None = None) -> list[Any]:
        """Return the words of a vector and their weights, the heaviest first.

        Parameters
        ----------
        embeddings : SparseVectors, list of single ones, or ndarray of shape (V,) or (n, V)
            What `encode` returned.
        top_k : int, optional
            Most words of a text; all that weigh anything by default.

        Returns
        -------
        list of (str, float), or list of such lists
            Those of a single vector, or of each of several; ``dict`` makes a dict of them. Of equal
            weights that of the lower id comes first. A word that the tokenizer does not have is
            named by its id, as ``[30523]``.

        Raises
        ------
        InputError
            If the vectors have another number of features than the model has words.
        """
        most = None if top_k is None else as_count("top_k", top_k)
        vectors = as_sparse(embeddings, "embeddings")
        words = self.get_embedding_dimension()
        if vectors.shape[-1] != words:
            raise InputError(
                f"embeddings must have {words} features, as many as the model has words; got shape "
                f"{vectors.shape}."
            )
        found = [self._words(vector, most) for vector in vectors.as_rows()]
        return found[0] if vectors.ndim == 1 else found

    def similarity(self, embeddings1: Vectors, embeddings2: Vectors) -> Array:
        """Return the similarity of each vector of one to each of the other, as the model does.

        By default it is the dot product: `similarity_fn_name` says.

        Parameters
        ----------
        embeddings1, embeddings2 : SparseVectors, list of single ones, or ndarray
            (n, V) and (m, V), or (V,) for a single vector, which counts as a row.

        Returns
        -------
        ndarray of shape (n, m)
            The similarities.
        """
        return sparse_similarity(embeddings1, embeddings2, self.similarity_fn_name)

    def similarity_pairwise(self, embeddings1: Vectors, embeddings2: Vectors) -> Array:
        """Return the similarity of each vector of one to that of the other in its place.

        Parameters
        ----------
        embeddings1, embeddings2
            They are those of `similarity`; there are as many of each.

        Returns
        -------
        ndarray of shape (n,), or () for two single vectors
            The similarities.
        """
        return sparse_similarity_pairwise(embeddings1, embeddings2, self.similarity_fn_name)

    sparsity = staticmethod(sparsity)
    intersection = staticmethod(intersection)

    def save_pretrained(self, path: str | Path, *, force: bool = False, **options: Any) -> None:
        """Save the encoder as it is now where `SparseEncoder` and sentence-transformers load it.

        Parameters
        ----------
        path : str or Path
            The folder, which is made if it is not there.
        force : bool
            Whether files that are there are replaced.
        **options
            `safe_serialization` and `create_model_card` of sentence-transformers; True and False
            are all that they can be.

        Raises
        ------
        OutputError
            If a file is there and `force` is not given, or one cannot be written whole. The
            tokenizer's own files may be there.
        """
        check_accepted("save_pretrained", options, SAVE)
        recipe = replace(self._recipe, max_seq_length=self.max_seq_length)
        settings = Settings(
            prompts=self.prompts,
            default_prompt_name=self.default_prompt_name,
            similarity_fn_name=self.similarity_fn_name,
            max_active_dims=self.max_active_dims,
        )
        tokenizer = copy(self.tokenizer)
        tokenizer.model_max_length = self._tokenizer_limit  # max_seq_length stands in another file
        files = sparse_files(recipe, settings)
        save_whole(as_folder(path, "path"), files, tokenizer, self.model, force=force)

    def get_embedding_dimension(self) -> int:
        """Return how many features a vector has: one for each word of the vocabulary."""
        return len(self.model.decoder)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the same as `get_embedding_dimension`, under sentence-transformers' old name."""
        return self.get_embedding_dimension()

    def _vectors(
        self, texts: list[str], plan: Plan, most: int | None, shown: bool | None
    ) -> SparseVectors:
        """Return the vectors of checked texts, as rows."""
        recipe = self._recipe
        weigh = WordWeights(
            model=self.model, strategy=recipe.strategy, activation=recipe.activation, most=most
        )

        def embed(batch: Batch) -> npt.NDArray[np.object_]:
            found = np.empty(len(batch.lengths), object)
            found[:] = weigh(batch.ids, batch.lengths)
            return found

        rows = np.empty(len(texts), object)
        fill(rows, texts, plan, embed, shown)
        return stacked(rows.tolist(), self.get_embedding_dimension(), self.dtype)

    def _words(self, vector: SparseVectors, most: int | None) -> list[tuple[str, float]]:
        """Return the words and weights of a single vector."""
        order = np.argsort(-vector.data, kind="stable")[:most]
        order = order[vector.data[order] != 0]
        name = self.tokenizer.backend_tokenizer.id_to_token
        ids = vector.indices[order].tolist()
        words = (name(number) or f"[{number}]" for number in ids)
        return list(zip(words, vector.data[order].tolist(), strict=True))
