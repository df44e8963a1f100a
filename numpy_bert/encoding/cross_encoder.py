"""CrossEncoder: pairs of texts in, scores out, as sentence-transformers' models say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array, memory_for
from numpy_bert.config import BertConfig
from numpy_bert.encoding.micro_batches import Batch, Plan, Texts, fill
from numpy_bert.encoding.names import CONSTRUCTOR, CROSS_ENCODER, ENCODE
from numpy_bert.encoding.prompts import Prompts, check_prompt_name, prompt_of
from numpy_bert.encoding.recipe import (
    Settings,
    TransformerFile,
    read_settings,
    read_transformer,
    stated_in,
)
from numpy_bert.encoding.saving import save_whole
from numpy_bert.errors import ConfigError, InputError
from numpy_bert.files import as_folder, encode_json
from numpy_bert.foreign import check_accepted, no_attribute
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.loading.modules import (
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    cross_encoder_settings,
    read_modules,
)
from numpy_bert.loading.sentence import find_sentence_model
from numpy_bert.messages import must_be, quoted
from numpy_bert.model.family import AutoModelForSequenceClassification
from numpy_bert.model.task_models import BertForSequenceClassification
from numpy_bert.ops.softmax import softmax
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS, activation_of_scores, name_of_activation
from numpy_bert.text.ids import IdEncoder, Tokenized, joined
from numpy_bert.text.inputs import Pair, as_texts, check_text, given_pairs
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["CrossEncoder"]

# What turns logits (n, K) into scores: a class of torch.nn's by its name, or any function.
Activation: TypeAlias = str | Callable[[Array], Any]

_TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
_TASK = "sequence-classification"


class CrossEncoder:
    """A cross-encoder: a BERT, or one of its family, that reads two texts at once and scores them.

    It is more exact than vectors that are compared, and slower: search by a `SentenceEncoder`, and
    let a CrossEncoder rank what was found. A call changes nothing that another one could see, so
    threads can share it.

    Parameters
    ----------
    model_name_or_path : str or Path
        A folder, or a repository on the hub; a name without an owner is one of "cross-encoder".
    num_labels : int, optional
        How many labels the model has. Where a checkpoint has no classifier, this asks for a new
        one, as in `BertForSequenceClassification.from_pretrained`; it is to be trained.
    max_length : int, optional
        How many tokens of a pair are read, special ones included; by default what the files say.
        The longer text of a pair is cut first.
    activation_fn : str or callable, optional
        What turns logits into scores: a class of torch.nn's by its name, such as "sigmoid" or
        "identity" (an object of the class will do), or a function that takes the logits of all
        pairs, (n, K), and returns scores for each. By default what the files name, else the sigmoid
        for one label, and nothing for several.
    prompts : mapping of str to str, optional
        Texts that may be put before the first text of a pair, beside those of the files.
    default_prompt_name : str, optional
        Which of them is put there where none is named; by default what the files say.
    cache_folder, revision, local_files_only, token
        Where the model comes from, as `numpy_bert.fetch` takes them; `cache_folder` is its
        `cache_dir`.
    dtype, mmap
        What it computes in, and whether weights are memory-mapped, as `BertModel.from_pretrained`
        takes them.
    device, trust_remote_code, backend, model_kwargs, processor_kwargs, tokenizer_kwargs, \
    config_kwargs
        They are sentence-transformers', and may ask for what happens anyway.

    Attributes
    ----------
    model : BertForSequenceClassification
        The BERT and its head, or what its config.json says in place of them, such as an
        XLMRobertaForSequenceClassification.
    prompts : Prompts
        Texts that may be put before the first text of a pair, by their names; they can be changed.
    default_prompt_name : str or None
        Which of them is put there where none is named.
    notes : tuple of str
        What was made of the files, as sentences.

    Raises
    ------
    InputError
        If an argument is wrong, or asks for what there is not; it is named.
    ConfigError
        If the files name a module or an activation that is not supported.
    CheckpointError, TokenizerError, HubError
        If the model or the tokenizer cannot be loaded, or has no classifier.

    References
    ----------
    .. [1] Nogueira and Cho, "Passage Re-ranking with BERT", arXiv:1901.04085.

    Examples
    --------
    This one has learnt nothing, and stands for one such as cross-encoder/ms-marco-MiniLM-L6-v2.

    >>> import tempfile
    >>> from numpy_bert import BertModel, CrossEncoder
    >>> from numpy_bert.loading.cache import demo_folder
    >>> from numpy_bert.training import new_classifier
    >>> new = new_classifier(BertModel.from_pretrained("demo"), ["score"], demo_folder())
    >>> folder = tempfile.mkdtemp()
    >>> new.save_pretrained(folder)
    >>> encoder = CrossEncoder(folder, activation_fn="identity")
    >>> encoder
    CrossEncoder(1 label, activation_fn=Identity, max_seq_length=512, float32)
    >>> encoder.predict([("who?", "a man"), ("who?", "the sea")]).shape
    (2,)
    >>> sorted(encoder.rank("who?", ["a man", "the sea"], top_k=1)[0])
    ['corpus_id', 'score']
    """

    # What can be set is a property that checks it. The slots keep others out, such as a misspelt
    # one, that nothing would read.
    __slots__ = (
        "__weakref__",
        "_activation",
        "_default_prompt_name",
        "_ids",
        "_lower_case",
        "_max_seq_length",
        "_model",
        "_prompts",
        "_tokenizer",
        "notes",
    )

    def __init__(
        self,
        model_name_or_path: str | Path,
        *,
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Activation | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: str | Path | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        dtype: npt.DTypeLike = "float32",
        mmap: bool = True,
        device: str | None = None,
        trust_remote_code: bool = False,
        backend: str = "torch",
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        asked = {
            "device": device,
            "trust_remote_code": trust_remote_code,
            "backend": backend,
            "model_kwargs": model_kwargs,
            "processor_kwargs": processor_kwargs,
            "tokenizer_kwargs": tokenizer_kwargs,
            "config_kwargs": config_kwargs,
        }
        check_accepted("CrossEncoder", asked, CONSTRUCTOR)
        activation = None if activation_fn is None else _as_activation(activation_fn)
        folder = find_sentence_model(
            model_name_or_path,
            revision=revision,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
            token=token,
            organization="cross-encoder",
        )
        file, settings = _read_files(folder)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, mmap=mmap, num_labels=num_labels
        )
        self._model = model
        self._activation = activation or _stated_activation(model.config)
        self._lower_case = file.lower_case
        self._tokenizer = model.tokenizer  # another one that the model is given does not count here
        self._ids = IdEncoder(self._tokenizer, lower_case=file.lower_case)
        self.notes = (*file.notes, *model.loading_info.notes)
        self._prompts = Prompts({**settings.prompts, **(prompts or {})})
        name = settings.default_prompt_name if default_prompt_name is None else default_prompt_name
        if name is not None:
            check_prompt_name(self._prompts, name, "default_prompt_name")
        self._default_prompt_name = name
        if max_length is not None:
            self.max_seq_length = max_length
            return
        limit, most = file.max_seq_length or model.max_length, model.config.max_tokens
        with stated_in(folder):
            self.max_seq_length = min(limit, most)

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, CROSS_ENCODER)

    def __repr__(self) -> str:
        kind = self._activation
        name = kind if isinstance(kind, str) else getattr(kind, "__name__", type(kind).__name__)
        return (
            f"CrossEncoder({self.num_labels} label{'s' * (self.num_labels > 1)}, "
            f"activation_fn={name}, max_seq_length={self.max_seq_length}, {self.model.dtype})"
        )

    @property
    def model(self) -> BertForSequenceClassification:
        """The BERT and its head."""
        return self._model

    @property
    def tokenizer(self) -> BertTokenizer:
        """The model's tokenizer, as it was loaded."""
        return self._tokenizer

    @property
    def config(self) -> BertConfig:
        """The model's sizes and settings."""
        return self._model.config

    @property
    def device(self) -> str:
        """Where the model is computed, in torch's words: always "cpu"."""
        return "cpu"

    @property
    def num_labels(self) -> int:
        """How many scores a pair gets."""
        return self._model.config.num_labels

    @property
    def prompts(self) -> Prompts:
        """Texts that may be put before the first text of a pair, by their names."""
        return self._prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Which of the prompts is put there where none is named."""
        return self._default_prompt_name

    @property
    def activation_fn(self) -> Activation:
        """What turns logits into scores: the name of a class of torch.nn's, or a function."""
        return self._activation

    @activation_fn.setter
    def activation_fn(self, value: Activation) -> None:
        self._activation = _as_activation(value)

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a pair are read, special ones included; the rest is cut off."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        least = int(self._ids([("", "")]).lengths[0]) + 1
        most = self.config.max_tokens
        self._max_seq_length = as_count("max_length", value, least=least, most=most)

    @property
    def max_length(self) -> int:
        """It is `max_seq_length`, under sentence-transformers' former name."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        self.max_seq_length = value

    def predict(
        self,
        inputs: Pair | Sequence[Pair] | Sequence[Sequence[str]] | npt.NDArray[Any],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        pool: None = None,
        chunk_size: None = None,
    ) -> Any:
        """Return the scores of a pair of texts, or of each of a list of pairs.

        Equal pairs are computed once. A pair's scores do not depend on the others beyond rounding.

        Parameters
        ----------
        inputs : (str, str), or sequence or array of (str, str)
            One pair, or any number of them.
        prompt_name, prompt : str, optional
            The name in `prompts` of what is put before the first text of each pair, or that text
            itself; by default the prompt that `default_prompt_name` names. ``prompt=""`` is none.
        batch_size : int, optional
            At most so many pairs are computed together; their tokens bound them anyway.
        show_progress_bar : bool, optional
            Whether a bar is drawn on standard error, if that is a terminal; by default it is where
            the work takes more than 2 seconds.
        activation_fn : str or callable, optional
            What turns logits into scores in this call, as the class takes it.
        apply_softmax : bool
            Whether the scores of a pair are made to add up to 1 after that, if there are several.
        convert_to_numpy, convert_to_tensor, device, pool, chunk_size
            They are sentence-transformers', and may ask for what happens anyway.

        Returns
        -------
        ndarray of shape (n,), or (n, K) for K labels, of the model's dtype
            The scores of each pair. Those of one pair are a number, or (K,).

        Raises
        ------
        InputError
            If an argument is wrong; it is named, and the place of a text. No work is done before.
        CheckpointError
            If a weight that is used, or a score, is not finite; the weight or the step is named.

        Warns
        -----
        UserWarning
            Once, if pairs have more than `max_seq_length` tokens and are cut.
        """
        asked = {
            "convert_to_numpy": convert_to_numpy,
            "convert_to_tensor": convert_to_tensor,
            "device": device,
            "pool": pool,
            "chunk_size": chunk_size,
        }
        check_accepted("predict", asked, ENCODE)
        activation = self._activation if activation_fn is None else _as_activation(activation_fn)
        single, pairs = given_pairs(inputs, "inputs")
        before = prompt_of(self._prompts, self._default_prompt_name, prompt, prompt_name)
        where = "predict", None if single else "inputs"
        logits = self._logits(pairs, before, batch_size, show_progress_bar, where)
        scores = self._scores(logits, activation, softmaxed=bool(apply_softmax))
        return scores[0] if single else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        device: str | None = None,
        pool: None = None,
        chunk_size: None = None,
    ) -> list[dict[str, Any]]:
        """Rank documents by the scores that they get beside a query.

        Parameters
        ----------
        query : str
            The first text of each pair.
        documents : sequence, array, Series or other column of str
            The second texts.
        top_k : int, optional
            Most results; all by default.
        return_documents : bool
            Whether each result has the document's text.
        prompt_name, prompt, batch_size, show_progress_bar, activation_fn, device, pool, chunk_size
            They are those of `predict`.

        Returns
        -------
        list of dict
            The best first: ``"corpus_id"``, the document's place, ``"score"``, and ``"text"`` where
            documents are returned. Of equal ones the first comes first.

        Raises
        ------
        InputError
            If an argument is wrong, or the model has several labels, none of which is the score.

        Warns
        -----
        UserWarning
            Once, if pairs have more than `max_seq_length` tokens and are cut.
        """
        asked = {"device": device, "pool": pool, "chunk_size": chunk_size}
        check_accepted("rank", asked, ENCODE)
        activation = self._activation if activation_fn is None else _as_activation(activation_fn)
        most = None if top_k is None else as_count("top_k", top_k)
        if self.num_labels != 1:
            raise InputError(
                f"rank: the model has {self.num_labels} labels, none of which is the score to rank "
                "by. Call predict with pairs, and sort by one of their scores."
            )
        check_switches(return_documents=return_documents)
        first = check_text(query, "query")
        single, texts = as_texts(documents, "documents")
        if single:
            raise InputError("documents must be a list of texts; got one text. Put it into a list.")
        pairs = [(first, text) for text in texts]
        before = prompt_of(self._prompts, self._default_prompt_name, prompt, prompt_name)
        where = "rank", "documents"
        logits = self._logits(pairs, before, batch_size, show_progress_bar, where)
        scores = self._scores(logits, activation).tolist()
        order = sorted(range(len(texts)), key=scores.__getitem__, reverse=True)[:most]
        found: list[dict[str, Any]] = [{"corpus_id": i, "score": scores[i]} for i in order]
        if return_documents:
            for result in found:
                result["text"] = texts[result["corpus_id"]]
        return found

    def tokenized(self, pairs: Sequence[Pair], prompt: str = "") -> list[Tokenized]:
        """Return the ids of checked pairs, each by itself, for `predict_tokenized`.

        Parameters
        ----------
        pairs : sequence of (str, str)
            The pairs, checked.
        prompt : str
            What is put before the first text of each.
        """
        return self._ids.apart(pairs, self._max_seq_length, prompt=prompt)

    def predict_tokenized(
        self, items: Sequence[Tokenized], activation_fn: Activation | None = None
    ) -> Array:
        """Return the scores of pairs that `tokenized` read: to the bit those of `predict`.

        Parameters
        ----------
        items : sequence of Tokenized
            The pairs; that they were cut is known, so nothing warns of it.
        activation_fn : str or callable, optional
            It is that of `predict`.

        Returns
        -------
        ndarray of shape (n,), or (n, K) for K labels, of the model's dtype
            The scores.
        """
        activation = self._activation if activation_fn is None else _as_activation(activation_fn)
        plan = Plan(encode_ids=joined, limit=self._max_seq_length, workers=get_num_threads())
        return self._scores(self._filled(items, plan, shown=False, where="predict"), activation)

    def save_pretrained(self, path: str | Path, *, force: bool = False) -> None:
        """Save the cross-encoder as it is now, where it and sentence-transformers' can load it.

        Parameters
        ----------
        path : str or Path
            The folder, which is made if it is not there. It gets the model as transformers saves
            it, the tokenizer's files, which have `max_seq_length`, and what sentence-transformers
            adds: `activation_fn` and the prompts.
        force : bool
            Whether files that are there are replaced.

        Raises
        ------
        InputError
            If `activation_fn` is a function of yours, which no file can name.
        OutputError
            If a file is there and `force` is not given, or cannot be written whole.
        """
        kind = self._activation
        if not isinstance(kind, str):
            raise InputError(
                "activation_fn is a function, which no file can name; set it to one of torch.nn's "
                f"by its name, {', '.join(TORCH_ACTIVATIONS)}, and save then."
            )
        name, bert = name_of_activation(TORCH_ACTIVATIONS[kind]), self._model.bert
        tokenizer = copy(self.tokenizer)
        tokenizer.model_max_length = self._max_seq_length
        config = replace(self.config, sbert_ce_default_activation_function=name)
        model = type(self._model)(
            type(bert)(config, bert.parameters, bert.loading_info),
            self._model.head,
            self._model.folder,
        )
        files = {file: encode_json(value) for file, value in self._settings(name).items()}
        save_whole(as_folder(path, "path"), files, tokenizer, model, force=force)

    def _settings(self, activation: str) -> dict[str, Any]:
        """Return the files that sentence-transformers adds, by their names."""
        return {
            MODULES: [{"idx": 0, "name": "0", "path": "", "type": _TRANSFORMER}],
            SETTINGS: {
                "model_type": "CrossEncoder",
                "prompts": dict(self._prompts),
                "default_prompt_name": self._default_prompt_name,
                "activation_fn": activation,
            },
            TRANSFORMER_CONFIGS[0]: {
                "transformer_task": _TASK,
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "scores",
                "do_lower_case": self._lower_case,
            },
        }

    def _logits(
        self,
        pairs: Sequence[Pair],
        prompt: str,
        batch_size: int | None,
        shown: bool | None,
        where: tuple[str, str | None],
    ) -> Array:
        """Return the logits (n, K) of checked pairs; `where` has the call and their argument."""
        check_switches(show_progress_bar=shown is not None and shown)
        plan = Plan(
            encode_ids=self._ids,
            limit=self._max_seq_length,
            prompt=prompt,
            most_texts=None if batch_size is None else as_count("batch_size", batch_size),
            workers=get_num_threads(),
        )

        logits = self._filled(pairs, plan, shown, where[0])
        if plan.cut:
            warnings.warn(plan.cut_message(*where, len(pairs), unit="pair"), stacklevel=3)
        return logits

    def _filled(self, pairs: Texts, plan: Plan, shown: bool | None, where: str) -> Array:
        """Return the logits (n, K) of pairs, worked off as a plan says."""

        def scored(batch: Batch) -> Array:
            return self._model.packed(batch.ids, batch.lengths, batch.types)

        advice = "Give fewer pairs at a time, or a smaller batch_size."
        with memory_for(where, lambda: f"{len(pairs):,} pairs", advice):
            logits = np.empty((len(pairs), self.num_labels), self._model.dtype)
            fill(logits, pairs, plan, scored, shown, label="scoring", unit="pairs")
        return logits

    def _scores(self, logits: Array, activation: Activation, *, softmaxed: bool = False) -> Array:
        """Return the scores (n,) or (n, K) that logits (n, K) stand for."""
        if not len(logits):
            return np.empty(0, logits.dtype)  # as in sentence-transformers, whatever K is
        function = TORCH_ACTIVATIONS[activation] if isinstance(activation, str) else activation
        with np.errstate(all="ignore"):
            scores: Array = np.asarray(function(logits))
        if scores.shape[:1] != logits.shape[:1]:
            raise InputError(
                f"activation_fn must return scores for each of {len(logits)} pairs, of whose "
                f"logits it gets an array of shape {logits.shape}; got shape {scores.shape}."
            )
        if self.num_labels == 1 and scores.shape[1:] == (1,):
            scores = scores[:, 0]
        return softmax(scores) if softmaxed and scores.ndim > 1 else scores


def _read_files(folder: Path) -> tuple[TransformerFile, Settings]:
    """Return what the files that sentence-transformers adds to a model say of it.

    Only version 6 adds any; where they are another model's, none of them counts, as there.
    """
    if cross_encoder_settings(folder, error=ConfigError) is None:
        return TransformerFile(None, lower_case=False), Settings()
    path = folder / MODULES
    entries = read_modules(path, error=ConfigError)
    if [_module(entry) for entry in entries] != ["Transformer"]:
        types = ", ".join(quoted(entry.type) for entry in entries)
        raise ConfigError(
            f"{path}: the cross-encoder must be a Transformer of sentence_transformers' alone, in "
            f"the model's own folder; got {types or 'none'}."
        )
    return read_transformer(folder, _TASK), read_settings(folder, "CrossEncoder")


def _module(entry: ModuleEntry) -> str:
    """Return the class of a module of sentence-transformers' that is in the model's own folder."""
    is_own = entry.type.startswith("sentence_transformers.") and entry.path == ""
    return entry.kind if is_own else ""


def _stated_activation(config: BertConfig) -> str:
    """Return the activation that the files name, else sentence-transformers' own choice."""
    stated = activation_of_scores(config, stacklevel=4)
    return stated or ("Sigmoid" if config.num_labels == 1 else "Identity")


def _as_activation(value: object) -> Activation:
    """Return a function of logits, or one of `TORCH_ACTIVATIONS` by its name, as it stands there.

    torch's own objects cannot take arrays; one that was made without arguments goes by its class.
    """
    name, kind = value, type(value)
    if kind.__module__.startswith("torch.nn."):
        has_arguments = kind.__name__ in TORCH_ACTIVATIONS and repr(value) != repr(kind())
        name = "" if has_arguments else kind.__name__
    elif callable(value):
        return value
    if isinstance(name, str):
        home, _, last = name.rpartition(".")
        known = {key.lower(): key for key in TORCH_ACTIVATIONS}
        if (not home or home.startswith("torch.nn")) and last.lower() in known:
            return known[last.lower()]
    wanted = (
        f"a class of torch.nn's without arguments by its name ({', '.join(TORCH_ACTIVATIONS)}), "
        "or a function of arrays"
    )
    raise InputError(must_be("activation_fn", wanted, value))
