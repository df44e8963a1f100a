"""SentenceEncoder: texts in, vectors out, as sentence-transformers' models say."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array, as_dtype, memory_for
from numpy_bert.encoding import MODES
from numpy_bert.encoding import similarity as likeness
from numpy_bert.encoding.micro_batches import Batch, Plan, fill
from numpy_bert.encoding.names import CONSTRUCTOR, ENCODE, SAVE, SENTENCE_ENCODER
from numpy_bert.encoding.pooling import modes_named, places_read, pool
from numpy_bert.encoding.prompts import prompt_of
from numpy_bert.encoding.quantization import (
    check_number,
    check_precision,
    quantize_embeddings,
    quantized_shape,
    ranges_of,
)
from numpy_bert.encoding.recipe import (
    Recipe,
    Settings,
    as_first_token,
    read_recipe,
    read_settings,
    stated_in,
)
from numpy_bert.encoding.saving import add_all_states, save_whole, sentence_files
from numpy_bert.encoding.sentence_modules import (
    PooledModules,
    WeightedLayerPooling,
    read_pooled_modules,
)
from numpy_bert.encoding.similarity import Hits
from numpy_bert.encoding.stream import VectorStream, check_streamed
from numpy_bert.encoding.text_encoder import TextEncoder, given_texts
from numpy_bert.errors import InputError
from numpy_bert.files import as_folder
from numpy_bert.foreign import check_accepted
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import must_be, shown
from numpy_bert.model.bert import BertModel
from numpy_bert.model.family import AutoModel
from numpy_bert.model.saving import bert_parameters, check_parameters
from numpy_bert.text.ids import Ids, Tokenized, joined
from numpy_bert.text.inputs import are_texts, as_texts, stream_of_texts
from numpy_bert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    from numpy_bert.encoding.gradients import SentenceRun

__all__ = ["SentenceEncoder"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Way:
    """How hidden states become vectors: modes, modules, how many features, and tokens skipped."""

    modes: tuple[str, ...]
    modules: PooledModules
    width: int
    skip: int

    def __call__(self, hidden: Array, batch: Batch) -> Array:
        """Return the vectors of texts from the states of all their tokens."""
        pooled = pool(hidden, batch.lengths, self.modes, skip=self.skip)
        return self.modules(pooled, self.width)

    def scaled(self) -> _Way:
        """Return the way at whose end vectors are scaled to length 1."""
        return replace(self, modules=replace(self.modules, scales_last=True))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Call:
    """The texts of a call, how they are worked off, and whether a bar is shown."""

    texts: list[str] | Sequence[Tokenized]
    single: bool
    plan: Plan
    shown: bool | None


class SentenceEncoder(TextEncoder):
    """A sentence model: a BERT or one of its family, its tokenizer, and how texts become vectors.

    A call changes nothing that another one could see, so threads can share an encoder. An attribute
    that can be set is checked when it is set, and counts from the next call on; the rest cannot be
    set, nor can an attribute that it does not have. Names, arguments and results are those of
    sentence-transformers' SentenceTransformer; where one of them has no place here, the error says
    what has.

    Parameters
    ----------
    model_name_or_path : str or Path
        A sentence model, or a plain BERT, of which the mean of the tokens is taken: a folder, or a
        repository on the hub. Its config.json says which of the family it is. A cached revision is
        used without any request.
    dtype, mmap
        What it computes in, and whether weights are memory-mapped, as
        `BertModel.from_pretrained` takes them.
    revision, cache_folder, local_files_only, token
        Where the model comes from, as `numpy_bert.fetch` takes them; `cache_folder` is its
        `cache_dir`.
    prompts : mapping of str to str, optional
        Texts that may be put before a text, by their names, beside those of the model's files; and
        in place of those of the same name.
    default_prompt_name, similarity_fn_name, truncate_dim : optional
        The attributes of these names, where the model's files say something else.
    **options
        Other arguments of SentenceTransformer, such as ``device="cpu"``, are taken where they ask
        for what happens anyway.

    Attributes
    ----------
    model : BertModel
        The BERT, or what its config.json says in place of one, such as an XLMRobertaModel; it
        cannot be set.
    tokenizer : BertTokenizer
        The BERT's tokenizer. It cannot be set, but its attributes can, and count for the encoder.
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
    .. [1] Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> encoder = SentenceEncoder("demo")
    >>> encoder
    SentenceEncoder(384 features, pooling mean, max_seq_length 512, float32)
    >>> encoder.encode(["a test", "another one"]).shape
    (2, 384)
    """

    __slots__ = ("_layers", "_modules", "_pooling", "_recipe", "_truncate_dim")
    _elsewhere = SENTENCE_ENCODER
    _shared = ("model", "_layers", "_modules")

    model: BertModel

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
        truncate_dim: int | None = None,
        **options: Any,
    ) -> None:
        check_accepted("SentenceEncoder", options, CONSTRUCTOR)
        number = as_dtype(dtype)
        folder = find_sentence_model(
            model_name_or_path,
            revision=revision,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
            token=token,
        )
        recipe = read_recipe(folder)
        model = AutoModel.from_pretrained(recipe.folder, dtype=number, mmap=mmap)
        recipe, settings = as_first_token(folder, recipe, read_settings(folder), model.config)
        modules = read_pooled_modules(recipe, model.config.hidden_size, number, mapped=mmap)
        layers = None
        if recipe.layers is not None:
            layers = WeightedLayerPooling.read(recipe.layers, model, number, mapped=mmap)
        tokenizer = BertTokenizer.from_pretrained(recipe.folder)
        with stated_in(folder):
            self._assemble(model, tokenizer, recipe, modules, settings, layers)
        self._set(
            prompts,
            default_prompt_name=default_prompt_name,
            similarity_fn_name=similarity_fn_name,
            truncate_dim=truncate_dim,
        )

    @classmethod
    def from_parts(
        cls,
        model: BertModel,
        tokenizer: BertTokenizer,
        recipe: Recipe,
        modules: PooledModules,
        settings: Settings,
        layers: WeightedLayerPooling | None = None,
    ) -> SentenceEncoder:
        """Return an encoder of a model that is not in files.

        Parameters
        ----------
        model, tokenizer
            The BERT and its tokenizer.
        recipe, settings
            What the files of a sentence model would say; no folder of the recipe is read.
        modules, layers
            What stands behind the pooling, and before it.
        """
        made = cls.__new__(cls)
        made._assemble(model, tokenizer, recipe, modules, settings, layers)
        return made

    def _assemble(
        self,
        model: BertModel,
        tokenizer: BertTokenizer,
        recipe: Recipe,
        modules: PooledModules,
        settings: Settings,
        layers: WeightedLayerPooling | None,
    ) -> None:
        """Set all attributes."""
        self._prepare(model, tokenizer, settings, lower_case=recipe.lower_case)
        self.notes = (*recipe.notes, *settings.notes)
        self._recipe = recipe
        self._modules = modules
        self._layers = layers
        self._pooling = recipe.pooling
        kept = settings.truncate_dim
        self.truncate_dim = None if kept is None else min(kept, modules.out_features)
        self._limit_to(recipe.max_seq_length)

    def __repr__(self) -> str:
        return (
            f"SentenceEncoder({self.get_embedding_dimension()} features, pooling "
            f"{' + '.join(self.pooling)}, max_seq_length {self.max_seq_length}, {self.dtype})"
        )

    @property
    def pooling(self) -> tuple[str, ...]:
        """How the tokens' hidden states become one vector; several are joined."""
        return self._pooling

    @pooling.setter
    def pooling(self, value: str | Sequence[str]) -> None:
        modes = _as_modes(value)
        self._modules = self._modules.fitted(len(modes) * self.model.config.hidden_size)
        self._pooling = modes

    @property
    def truncate_dim(self) -> int | None:
        """How many features are kept of a vector; None for all."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        most = self._modules.out_features
        self._truncate_dim = None if value is None else as_count("truncate_dim", value, most=most)

    @overload
    def encode(
        self,
        sentences: str | Sequence[str] | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        output_value: Literal["sentence_embedding"] = ...,
        precision: str | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: bool = ...,
        device: str | None = ...,
        normalize_embeddings: bool | None = ...,
        truncate_dim: int | None = ...,
        pool: None = ...,
        chunk_size: None = ...,
        *,
        pooling: str | Sequence[str] | None = ...,
        out: npt.NDArray[Any] | None = ...,
        inputs: str | Sequence[str] | None = ...,
    ) -> Array: ...
    @overload
    def encode(
        self,
        sentences: str | Sequence[str] | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: str | None,
        precision: str | None = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: bool = ...,
        device: str | None = ...,
        normalize_embeddings: bool | None = ...,
        truncate_dim: int | None = ...,
        pool: None = ...,
        chunk_size: None = ...,
        pooling: str | Sequence[str] | None = ...,
        out: npt.NDArray[Any] | None = ...,
        inputs: str | Sequence[str] | None = ...,
    ) -> Any: ...
    def encode(
        self,
        sentences: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool | None = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        pooling: str | Sequence[str] | None = None,
        out: npt.NDArray[Any] | None = None,
        inputs: str | Sequence[str] | None = None,
    ) -> Any:
        """Return the vector of a text, or one of each of a list of texts.

        Equal texts are computed once. A text's vector does not depend on the others beyond
        rounding, and is the same to the bit from run to run with the same texts and settings.

        Parameters
        ----------
        sentences, inputs : str, or sequence, array, Series or other column of str
            One text, or any number in one dimension; by either name, which sentence-transformers
            had before and since its version 6.
        prompt_name, prompt : str, optional
            What is put before each text: the name of one of `prompts`, or the text itself; by
            default the prompt that `default_prompt_name` names. ``prompt=""`` is none.
        batch_size : int, optional
            At most so many texts are computed together; their tokens bound them anyway.
        show_progress_bar : bool, optional
            Whether a bar is drawn on standard error, if that is a terminal; by default it is where
            the work takes more than 2 seconds.
        output_value : {"sentence_embedding", "token_embeddings"} or None
            What is returned of a text: its vector; its tokens' hidden states, (T, H), those of
            special tokens and of the prompt included; or with None a dict of both and of the ids,
            without padding.
        precision : {"float32", "int8", "uint8", "binary", "ubinary"}
            In what a feature is stored, as `numpy_bert.quantize_embeddings` does it with the ranges
            of all these vectors; "float32" leaves them as they are.
        normalize_embeddings : bool
            Whether vectors are scaled to length 1 after all; a Normalize among the model's modules
            does it anyway.
        truncate_dim : int, optional
            How many features are kept. The others are cut off last, as in sentence-transformers,
            and only ``normalize_embeddings=True`` scales to length 1 after that.
        pooling : {"mean", "cls", "max", "mean_sqrt_len", "weightedmean", "lasttoken"}, optional
            The pooling that takes the place of the model's own; the vectors of several, in a list,
            are joined.
        out : ndarray, optional
            The array that vectors are written to, such as a memory-mapped file, of the result's
            shape and dtype.
        convert_to_numpy, convert_to_tensor, device, pool, chunk_size
            Those of sentence-transformers; their default is all that they can be, and "cpu".

        Returns
        -------
        ndarray of shape (H,) or (n, H), of the model's dtype or the precision's
            The vectors; `out` if it is given. For another `output_value` an ndarray or a dict, or a
            list of them.

        Raises
        ------
        InputError
            If an argument is wrong; it is named, and the place of a text. No work is done before.
        CheckpointError
            If a weight that is used, or a vector, is not finite; the weight or the step is named.
        OutOfMemoryError
            If there is no memory for it; the message says for how many texts.

        Warns
        -----
        UserWarning
            Once, if texts have more than `max_seq_length` tokens and are cut; and if "int8" or
            "uint8" has the ranges of less than 100 vectors.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder("demo")
        >>> vectors = encoder.encode(["a test", "a test"], normalize_embeddings=True)
        >>> encoder.similarity(vectors[0], vectors[1]).round(4)
        array([[1.]], dtype=float32)
        >>> encoder.encode("a test", output_value="token_embeddings").shape
        (4, 128)
        >>> encoder.encode("a test", precision="binary").shape
        (48,)
        """
        given = {"convert_to_numpy": convert_to_numpy, "convert_to_tensor": convert_to_tensor}
        check_accepted(
            "encode", {**given, "device": device, "pool": pool, "chunk_size": chunk_size}, ENCODE
        )
        single, texts = given_texts(type(self).__name__, sentences, inputs)
        flags = {
            "normalize_embeddings": normalize_embeddings,
            "show_progress_bar": show_progress_bar,
        }
        check_switches(**{flag: value for flag, value in flags.items() if value is not None})
        before = prompt_of(self.prompts, self.default_prompt_name, prompt, prompt_name)
        call = _Call(
            texts=texts,
            single=single,
            plan=self._plan(before, batch_size),
            shown=show_progress_bar,
        )
        way = self._way(pooling, truncate_dim, before)
        asked = check_precision("float32" if precision is None else precision)
        found: Any
        with self._in_memory(len(texts), way):
            if isinstance(output_value, str) and output_value == "sentence_embedding":
                if normalize_embeddings:
                    way = way.scaled()
                found = self._vectors(call, way, asked, out)
            else:
                found = self._tokens(call, way, output_value, asked, out)
        if call.plan.cut:
            name = None if single else "sentences" if inputs is None else "inputs"
            warnings.warn(call.plan.cut_message("encode", name, len(texts)), stacklevel=2)
        return found

    def encode_stream(
        self,
        texts: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pooling: str | Sequence[str] | None = None,
        precision: str = "float32",
    ) -> VectorStream:
        """Encode texts that come one after another, any number of them, in bounded memory.

        The texts are cut into blocks of at most 16,384 texts and 1,000,000 characters, and of each
        block come the vectors, in order, that `encode` has of it. So equal texts are computed once
        a block. Where a block ends depends on its texts alone: whoever goes on behind a block has
        the same blocks, and to the bit the same vectors, as without the stop.

        Parameters
        ----------
        texts : iterable of str
            The texts, a generator for example. So many are read ahead as a block has.
        prompt_name, prompt, batch_size, normalize_embeddings, truncate_dim, pooling
            They are those of `encode`. They, and the encoder's attributes, count as they are now.
        precision : {"float32", "binary", "ubinary"}
            It is that of `encode`, whose "int8" and "uint8" need the ranges of all vectors.

        Returns
        -------
        VectorStream
            An iterator over the blocks, each an ndarray of shape (n, H). Its attributes `texts`
            and `cut` say how many were encoded so far, and how many of them were cut.

        Raises
        ------
        InputError
            If an argument is wrong; and from the iterator, if a text is none: ``texts[123456]``
            says which of the stream. The texts before it in its block are not encoded.

        Warns
        -----
        UserWarning
            Once, at the end, if texts were cut.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder("demo")
        >>> texts = (f"This is number {number % 5}." for number in range(20_000))
        >>> [vectors.shape for vectors in encoder.encode_stream(texts, truncate_dim=8)]
        [(16384, 8), (3616, 8)]
        """
        check_switches(normalize_embeddings=normalize_embeddings)
        check_streamed(check_precision(precision))
        before = prompt_of(self.prompts, self.default_prompt_name, prompt, prompt_name)
        way = self._way(pooling, truncate_dim, before)
        if normalize_embeddings:
            way = way.scaled()

        def encode(block: list[str], plan: Plan) -> Array:
            with self._in_memory(len(block), way):
                call = _Call(texts=block, single=False, plan=plan, shown=False)
                return self._vectors(call, way, precision, None)

        return VectorStream(stream_of_texts(texts), self._plan(before, batch_size), encode)

    def save_pretrained(self, path: str | Path, *, force: bool = False, **options: Any) -> None:
        """Save the encoder as it is now where `SentenceEncoder` and sentence-transformers load it.

        What has been set counts: pooling, prompts, max_seq_length and the rest. Weights are saved
        in the encoder's dtype, so that the vectors are the same.

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

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder("demo", truncate_dim=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder.save_pretrained(folder)
        ...     SentenceEncoder(folder).encode("a test").shape
        (8,)
        """
        check_accepted("save_pretrained", options, SAVE)
        folder, model = as_folder(path, "path"), self.model
        recipe = replace(self._recipe, pooling=self.pooling, max_seq_length=self.max_seq_length)
        settings = Settings(
            prompts=self.prompts,
            default_prompt_name=self.default_prompt_name,
            similarity_fn_name=self.similarity_fn_name,
            truncate_dim=self.truncate_dim,
        )
        files = sentence_files(recipe, settings, self._modules.modules, self._layers, model.config)
        tokenizer = copy(self.tokenizer)
        tokenizer.model_max_length = self._tokenizer_limit  # max_seq_length stands in another file
        save_whole(folder, files, tokenizer, model, force=force)
        if self._layers is not None:
            add_all_states(folder / "config.json")

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter that vectors depend on, with its name.

        Those of the BERT are named as in a model with a head; a pooler, which no vector is made
        of, is not among them. Those of the modules bear the module's number.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> names = [n for n, _ in SentenceEncoder.from_pretrained("demo").named_parameters()]
        >>> names[0], names[-1]
        ('bert.embeddings.word_embeddings.weight', '2.dense.bias')
        """
        for name, array in self.model.named_parameters():
            if not name.startswith(("pooler.", "encode_proj.")):
                yield f"bert.{name}", array
        yield from self._modules.named_parameters()

    def with_parameters(self, arrays: Mapping[str, Array]) -> SentenceEncoder:
        """Return an encoder with other arrays, not copied, and the settings of this one.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            An array for each of `named_parameters`, of its shape and dtype.

        Raises
        ------
        InputError
            If an array is missing, unknown, or of another shape or dtype.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder.from_pretrained("demo")
        >>> arrays = dict(encoder.named_parameters())
        >>> other = encoder.with_parameters({**arrays, "2.dense.bias": arrays["2.dense.bias"] + 1})
        >>> bool((other.encode("a test") == encoder.encode("a test")).all())
        False
        """
        known = {name: (array.shape, array.dtype) for name, array in self.named_parameters()}
        checked = check_parameters(type(self).__name__, arrays, known)
        own = self.model
        pooler = {f"bert.{name}": array for name, array in own.named_parameters()}
        parameters = bert_parameters(own.config, {**pooler, **checked})
        made = copy(self)
        for name, value in (
            ("model", type(own)(own.config, parameters, own.loading_info)),
            ("_modules", self._modules.with_parameters(checked)),
        ):
            object.__setattr__(made, name, value)
        return made

    def run(self, inputs: ModelInputs, rng: np.random.Generator | None = None) -> SentenceRun:
        """Make vectors in such a way that their gradient can be gone back from.

        Parameters
        ----------
        inputs : ModelInputs
            What ``encoder.model.inputs`` returned.
        rng : numpy.random.Generator, optional
            The generator that draws dropout's masks; without it dropout is off.

        Raises
        ------
        InputError
            If the model pools its layers, through which there is no way back here.
        """
        if self._layers is not None:
            raise InputError(
                "SentenceEncoder: a model that pools its layers (WeightedLayerPooling) cannot be "
                "trained here."
            )
        # Who encodes need not wait for the code of training.
        from numpy_bert.encoding.gradients import SentenceRun

        return SentenceRun(self.model, inputs, self.pooling, self._modules, rng)

    def ids(self, texts: Sequence[str], limit: int | None = None) -> Ids:
        """Return the token ids of texts as `encode` reads them without a prompt.

        Parameters
        ----------
        texts : sequence of str
            The texts, checked.
        limit : int, optional
            How many tokens of a text are read, `max_seq_length` by default and at most.
        """
        most = self.max_seq_length
        return self._ids(texts, most if limit is None else min(limit, most))

    def tokenized(self, texts: Sequence[str], prompt: str = "") -> list[Tokenized]:
        """Return the ids of checked texts, each by itself, for `encode_tokenized`.

        Whoever computes for others has to know how many tokens a text has before it is computed.

        Parameters
        ----------
        texts : sequence of str
            The texts, checked.
        prompt : str
            What is put before each.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder("demo")
        >>> items = encoder.tokenized(["a test", "a"])
        >>> [item.length for item in items]
        [4, 3]
        >>> bool((encoder.encode_tokenized(items) == encoder.encode(["a test", "a"])).all())
        True
        """
        return self._ids.apart(texts, self.max_seq_length, prompt=prompt)

    def encode_tokenized(
        self,
        items: Sequence[Tokenized],
        prompt: str = "",
        *,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Array:
        """Return the vectors of texts that `tokenized` read: to the bit those of `encode`.

        Parameters
        ----------
        items : sequence of Tokenized
            The texts; that they were cut is known, so nothing warns of it.
        prompt : str
            The prompt that `tokenized` was given, which some models do not pool.
        normalize_embeddings, truncate_dim
            They are those of `encode`.

        Returns
        -------
        ndarray of shape (n, H), of the model's dtype
            The vectors.
        """
        check_switches(normalize_embeddings=normalize_embeddings)
        way = self._way(None, truncate_dim, prompt)
        if normalize_embeddings:
            way = way.scaled()
        plan = Plan(encode_ids=joined, limit=self.max_seq_length, workers=get_num_threads())
        call = _Call(texts=items, single=False, plan=plan, shown=False)
        with self._in_memory(len(items), way):
            return self._vectors(call, way, "float32", None)

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
        """Return the similarity of each vector of `a` to each of `b`, as the model compares them.

        It is `numpy_bert.similarity` with the model's `similarity_fn_name`.
        """
        return likeness.similarity(a, b, self.similarity_fn_name)

    def similarity_pairwise(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
        """Return the similarity of each vector of `a` to the one of `b` in its place.

        It is `numpy_bert.similarity_pairwise` with the model's `similarity_fn_name`.
        """
        return likeness.similarity_pairwise(a, b, self.similarity_fn_name)

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

    def _way(
        self, pooling: str | Sequence[str] | None, truncate_dim: int | None, prompt: str
    ) -> _Way:
        """Return how a call makes vectors of hidden states; raise InputError if it cannot be."""
        modes = self.pooling if pooling is None else _as_modes(pooling)
        pooled = len(modes) * self.model.config.hidden_size
        modules = self._modules.fitted(pooled)
        most = modules.out_features
        kept = self.truncate_dim
        if truncate_dim is not None:
            kept = as_count("truncate_dim", truncate_dim, most=most)
        return _Way(
            modes=modes,
            modules=modules,
            width=most if kept is None else min(kept, most),
            skip=0 if self._recipe.include_prompt else self._prompt_length(prompt),
        )

    def _vectors(
        self, call: _Call, way: _Way, precision: str, out: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any]:
        """Return the vectors of a call's texts, at a precision."""
        shape, dtype = (len(call.texts), way.width), self.dtype
        found = _as_output(out, *quantized_shape(shape[call.single :], dtype, precision))

        def embed(batch: Batch) -> Array:
            places = places_read(batch.lengths, way.modes, way.skip)
            if self._layers is None and places is not None:
                pooled = self.model.packed(batch.ids, batch.lengths, places=places)
                return way.modules(pooled, way.width)
            return way(self._hidden(batch), batch)

        if precision == "float32":
            fill(found[None] if call.single else found, call.texts, call.plan, embed, call.shown)
            return found
        check_number(len(call.texts), precision)
        vectors = np.empty(shape, dtype)
        fill(vectors, call.texts, call.plan, embed, call.shown)
        ranges = None
        if precision in ("int8", "uint8") and len(vectors):
            ranges = ranges_of(vectors, precision, stacklevel=4)
        found[...] = quantize_embeddings(vectors, precision, ranges).reshape(found.shape)
        return found

    def _tokens(
        self,
        call: _Call,
        way: _Way,
        output_value: object,
        precision: str,
        out: npt.NDArray[Any] | None,
    ) -> Any:
        """Return what `output_value` asks for of each text of a call, beside its vector."""
        known = output_value is None or isinstance(output_value, str)
        if not known or output_value not in ("token_embeddings", None):
            wanted = "'sentence_embedding', 'token_embeddings' or None"
            raise InputError(must_be("output_value", wanted, output_value))
        if out is not None or (output_value is None and precision != "float32"):
            name = "precision" if out is None else "out"
            raise InputError(f"{name} is not for output_value={output_value!r}; leave it out.")
        rows = np.empty(len(call.texts), object)

        def embed(batch: Batch) -> npt.NDArray[np.object_]:
            hidden, ends = self._hidden(batch), np.cumsum(batch.lengths)[:-1]
            states = np.split(hidden, ends)
            if output_value == "token_embeddings":
                return _as_objects(states)
            parts = zip(np.split(batch.ids, ends), states, way(hidden, batch), strict=True)
            return _as_objects([self._features(*part) for part in parts])

        fill(rows, call.texts, call.plan, embed, call.shown)
        found = _apart(rows.tolist())
        if precision != "float32":
            found = quantize_embeddings(found, precision)
        return found[0] if call.single else found

    def _features(self, ids: Any, states: Array, vector: Array) -> dict[str, npt.NDArray[Any]]:
        """Return all that is known of a text, by the names of sentence-transformers."""
        members = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": np.ones_like(ids),
        }
        given = self.tokenizer.model_input_names
        return {
            **{name: array for name, array in members.items() if name in given},
            "token_embeddings": states,
            "sentence_embedding": vector,
        }

    def _in_memory(self, texts: int, way: _Way) -> memory_for:
        """Return a block in which a MemoryError says what the texts of a call take."""

        def what() -> str:
            size = texts * way.width * self.dtype.itemsize
            return f"{texts:,} texts, whose vectors have {size:,} bytes"

        advice = "Give fewer texts at a time, a smaller batch_size, or a mapped file as out."
        return memory_for("encode", what, advice)

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


def _as_modes(pooling: object) -> tuple[str, ...]:
    """Return the modes of a pooling: one by its name, or several in a list."""
    modes = modes_named(pooling)
    if not modes:
        raise InputError(
            f"pooling must be one of {', '.join(MODES)}, or a list of them; got {shown(pooling)}."
        )
    return modes


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


def _as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return an array whose elements are these, whatever they are."""
    found = np.empty(len(values), object)
    for row, value in enumerate(values):
        found[row] = value
    return found


def _apart(values: list[Any]) -> list[Any]:
    """Return the same with a copy in the place of each that stands there again."""
    seen: set[int] = set()
    for row, value in enumerate(values):
        if id(value) in seen:
            values[row] = deepcopy(value)
        seen.add(id(value))
    return values
