"""BertWithHead: a BertModel with a head over it, which can be called, judged and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.arrays import Array, BoolArray, IntArray, as_array, as_dtype, memory_for
from numpy_bert.blocks.heads import HeadCall
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError, NumpyBertError
from numpy_bert.files import look
from numpy_bert.foreign import check_accepted
from numpy_bert.inputs import ModelInputs, check_outputs
from numpy_bert.kernels.decoder import decode, decode_backward
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.model.bert import BertModel
from numpy_bert.model.embeddings import FEWER
from numpy_bert.model.faults import check_finite, check_weights
from numpy_bert.model.fresh import new_head
from numpy_bert.model.gradients import INPUTS, BertRun, LossAndGradients, split_batch
from numpy_bert.model.heads import Head
from numpy_bert.model.loaded import AskedHead, load_head
from numpy_bert.model.names import CALL, LOADING, check_config, check_type
from numpy_bert.model.outputs import BertModelOutput, HeadOutput
from numpy_bert.model.saving import Saveable, bert_parameters
from numpy_bert.parameters import build
from numpy_bert.tasks.items import Items
from numpy_bert.tasks.objectives import places_that_count
from numpy_bert.text.lost import limit_of

if TYPE_CHECKING:
    # Not when a model is loaded: it can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["BertWithDecoder", "BertWithHead", "BertWithWords"]

Output = TypeVar("Output", bound=HeadOutput)
Steps = TypeVar("Steps")
Self = TypeVar("Self", bound="BertWithHead[Any, Any]")


class BertWithHead(Saveable, Generic[Output, Steps]):
    """Base of all tasks' models; a subclass says which head it has.

    A call changes nothing that another one could see, so threads can share a model. A copy or a
    pickle of it carries weights, config and tokenizer, so that it works where there is no folder.

    Parameters
    ----------
    bert : BertModel or BertConfig
        The model under the head. Of a config all is new, model and head, in float32.
    head : one of the classes of `numpy_bert.parameters`, optional
        The head's weights; by default new ones.
    folder : Path, optional
        The checkpoint's folder, for its tokenizer.
    seed : int
        The seed of new weights.

    Attributes
    ----------
    kind : Head
        What the head is, of the class.
    bert : BertModel
        The model under the head.
    head : one of the classes of `numpy_bert.parameters`
        The head's weights, named as in transformers.
    config : BertConfig
        Sizes and settings.
    loading_info : LoadingInfo
        What the checkpoint held, lacked, and what was cast.
    folder : Path
        The checkpoint's folder; an InputError where there is none.
    tokenizer : BertTokenizer
        The checkpoint's tokenizer, loaded from its folder at its first use. It can be set to
        another.
    """

    _fixed = frozenset({"bert", "head", "config", "loading_info"})
    _prepared = frozenset({"_is_sound"})
    # Whether the head's weights have been looked at, which is done when they are used first.
    _is_sound: bool = False
    kind: ClassVar[Head]
    # The architecture that the class is for, and the class of the model under its head.
    model_type: ClassVar[str] = "bert"
    model_class: ClassVar[type[BertModel]] = BertModel

    def __init__(
        self,
        bert: BertModel | BertConfig,
        head: Any = None,
        folder: Path | None = None,
        *,
        seed: int = 0,
    ) -> None:
        name, given = type(self).__name__, bert
        config = given.config if isinstance(given, BertModel) else check_config(name, given)
        check_type(name, self.model_type, config, f"{name}(...)")
        bert = given if isinstance(given, BertModel) else self.model_class(config, seed=seed)
        if head is None:
            head, parameters = new_head(self.kind, config, bert.parameters, seed)
            bert = type(bert)(config, parameters, bert.loading_info)
        self.bert = bert
        self.head = head
        self.config: BertConfig = config
        self.loading_info: LoadingInfo = bert.loading_info
        self._folder = folder
        self._tokenizer: BertTokenizer | None = None

    @classmethod
    def from_pretrained(
        cls: type[Self],
        name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        mmap: bool = True,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        problem_type: str | None = None,
        seed: int | None = None,
        **others: Any,
    ) -> Self:
        """Load a published checkpoint of this task, or put a new head over one of another.

        Parameters
        ----------
        name_or_path, dtype, revision, cache_dir, local_files_only, token, mmap, **others
            They are those of `BertModel.from_pretrained`.
        num_labels, id2label, label2id, problem_type : optional
            How many labels there are, their names by their numbers, their numbers by their names,
            and what kind they are of, in place of what config.json says.
        seed : int, optional
            The seed of a new head's weights, 0 by default. If this, or anything about the labels,
            is given and the checkpoint has nothing of the head, it is new, as is a pooler that it
            needs and that is not there: a warning names them, and ``loading_info.missing_keys``
            lists them. A head that is there is read all the same.

        Raises
        ------
        ConfigError, CheckpointError
            If the files do not fit, or have no such head; the message names the file, the field or
            the tensors.
        """
        check_accepted(f"{cls.__name__}.from_pretrained", others, LOADING)
        model, head = load_head(
            name_or_path,
            lambda config, where: cls.class_for(config, where).kind,
            AskedHead(num_labels, id2label, label2id, problem_type, seed),
            dtype=as_dtype(dtype),
            mmap=mmap,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        kind = cls.class_for(model.config, str(model.folder))
        bert = kind.model_class(model.config, model.parameters, model.info)
        return kind(bert, head, model.folder)

    @classmethod
    def class_for(cls: type[Self], config: BertConfig, where: str) -> type[Self]:
        """Return the class of what `from_pretrained` has found: this one, if it is for that.

        The parameters and the errors are those of `BertModel.class_for`.
        """
        check_type(cls.__name__, cls.model_type, config, where)
        return cls

    def __call__(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        unpad_inputs: bool = True,
        rng: np.random.Generator | None = None,
        return_dict: Literal[True] | None = True,
        **targets: npt.ArrayLike | None,
    ) -> Output:
        """Run the model and its head.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
            As `BertModel` is called with them. A BertForMultipleChoice takes an axis more, for the
            choices: (B, C, T).
        output_hidden_states, output_attentions : bool
            Whether to return every layer's output, and the weights of its attention.
        unpad_inputs : bool
            Whether padding is left out, as in a call of `BertModel`.
        rng : numpy.random.Generator, optional
            It turns dropout on, the head's too, and draws its masks.
        return_dict : True, optional
            It is always so; an output's `to_tuple` makes a tuple of it.
        labels : array_like, optional
            What the scores should be, as `numpy_bert.tasks.objectives` has it for each task; the
            output then has a loss, which is transformers' whatever `unpad_inputs` says. A
            BertForPreTraining takes next_sentence_label too; a BertForQuestionAnswering takes
            start_positions and end_positions instead. Without all of them there is no loss.

        Returns
        -------
        ModelOutput
            The class and its fields are transformers' of this task. Labels add a loss and change
            nothing else. Where padding is left out, the scores there are those of a row of zeros.
            In float32 a head that reads the first token alone differs by roundings where hidden
            states or attentions are asked for, since the last layer then computes all tokens.

        Raises
        ------
        InputError
            If an argument does not fit; the message names it, the place, the value and the limit.
        CheckpointError
            If a weight that is used, or the result, is not finite; the weight or the step is named.
        OutOfMemoryError
            If there is no memory for it; the message says how much was asked for, and what for.
        """
        check_accepted(type(self).__name__, {"return_dict": return_dict}, CALL)
        check_outputs(output_hidden_states, output_attentions, unpad_inputs=unpad_inputs)
        labels = self._labels(targets)
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        inputs, choices = self._inputs(dict(zip(INPUTS, given, strict=True)))
        if len(labels) < len(self.kind.targets):
            labels = {}
        options: dict[str, Any] = {
            "every": output_hidden_states,
            "weights": output_attentions,
            "rng": rng,
        }
        judges = unpad_inputs and rng is None and self._judges_padding(inputs, labels)
        judged = self._bert(inputs, unpad=unpad_inputs and not judges, **options)
        # A loss may depend on what stands at padding; what is returned beside it does not.
        cleared = self._without_padding(judged, inputs) if judges else judged
        bert = self._bert(inputs, unpad=True, **options) if cleared is None else cleared
        call = self._call(bert, inputs, choices=choices, rng=rng)
        steps = self._run(call)
        scores = self.kind.scores(call, steps)
        self._check(call, steps, scores)
        found: Output = self.kind.returned(scores, bert.hidden_states, bert.attentions)
        if not labels:
            return found
        if judges:
            call = self._call(judged, inputs, choices=choices)
            steps = self._run(call)
        return replace(found, loss=self._judge(call, steps, labels))

    def steps(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> Steps:
        """Return every intermediate of the model and its head, computed by the readable code.

        The parameters and the errors are those of a call. Padding is computed like any token.
        """
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        inputs, choices = self._inputs(dict(zip(INPUTS, given, strict=True)))
        bert = self.bert.all_steps(inputs, rng)
        call = self._head_call(
            bert.encoder.output,
            None if bert.pooler is None else bert.pooler.output,
            inputs.mask,
            rng=rng,
            choices=choices,
            fast=False,
        )
        found: Steps = self.kind.named(bert, self._run(call))
        return found

    @np.errstate(all="ignore")
    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Items | None = None,
    ) -> LossAndGradients:
        """Return the loss of a batch and the gradients of all parameters.

        Parameters
        ----------
        batch : mapping
            What the model is called with, by name, the labels among it.
        rng : numpy.random.Generator, optional
            It turns dropout on, and draws its masks; the gradients are those under these masks.
        num_items_in_batch : int or mapping of str to int, optional
            What a loss is divided by: how many labels count in all batches that one step of the
            optimizer is taken from, which the method of this name counts in each. The losses and
            gradients of these batches are then to be added, and are those of one batch of all their
            examples. An int is for every loss of the model, as in transformers; a mapping has one
            for each by the name of its labels. By default what counts in this batch.

        Returns
        -------
        LossAndGradients
            loss, bert and head, the gradients in the parameters' own classes.

        Raises
        ------
        InputError
            If an argument does not fit, or no label counts, in this batch or in all; the message
            names the argument, the place, the value and the limit.
        CheckpointError
            If the loss is not finite because a weight is not; the weight is named.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batch = {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}
        >>> found = model.loss_and_gradients(batch)
        >>> round(found.loss), found.bert.encoder.layer[0].output.dense.weight.shape
        (19, (128, 512))
        """
        given, labels = split_batch(batch, self.kind.targets)
        inputs, choices = self._inputs(given)
        items = num_items_in_batch
        if items is None:
            items = self.kind.items(labels, given, self.config)
        with self.bert.in_memory(inputs, every=True, weights=True):
            run = BertRun(self.bert, inputs, rng)
            places = self._labelled(labels, inputs.shape)
            hidden = run.hidden if places is None else run.hidden[places]
            mask = inputs.mask if places is None else None
            call = self._head_call(hidden, run.pooled, mask, rng=rng, choices=choices)
            steps = self._run(call)
            if places is not None:
                labels = {**labels, "labels": np.asarray(labels["labels"])[places]}
            objective = self.kind.objective(call, steps, labels, items)
            if not np.isfinite(objective.loss):
                self._check(call, steps, self.kind.scores(call, steps))
            back = self.kind.backward(call, steps, objective.score_gradients)
            grad = back.hidden
            if places is not None and grad is not None:
                grad = np.zeros_like(run.hidden)
                grad[places] = back.hidden
            bert = run.gradients(hidden=grad, pooled=back.pooled, decoder=back.decoder)
            return LossAndGradients(loss=objective.loss, bert=bert, head=back.parameters)

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """Return how many labels of a batch count, which each of the model's losses is a mean over.

        Parameters
        ----------
        batch : mapping
            What `loss_and_gradients` takes.

        Returns
        -------
        dict of str to int
            By the names of the labels.

        References
        ----------
        .. [1] transformers, trainer.py, Trainer.get_batch_samples.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batches = [
        ...     {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]},
        ...     {"input_ids": [[2, 4, 4, 3]], "labels": [[-100, 7, 8, -100]]}]
        >>> counts = [model.num_items_in_batch(batch)["labels"] for batch in batches]
        >>> counts
        [1, 2]
        >>> total = sum(counts)
        >>> found = [model.loss_and_gradients(b, num_items_in_batch=total) for b in batches]
        >>> round(sum(part.loss for part in found), 3)
        16.578
        """
        given, labels = split_batch(batch, self.kind.targets)
        return self.kind.items(labels, given, self.config)

    def with_parameters(self: Self, arrays: Mapping[str, Array]) -> Self:
        """Return a model of the same kind with other arrays, not copied, and the same tokenizer.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            By the keys of `named_parameters`: all of them and no others, each of the shape that it
            has here and in the model's dtype. A decoder tied to the word table is no parameter; it
            may be there too, as cls.predictions.decoder.weight, if it is equal to the table.

        Raises
        ------
        InputError
            Naming what is missing, unknown, or of another shape or dtype.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> arrays = {name: 2 * array for name, array in model.named_parameters()}
        >>> twice = model.with_parameters(arrays).bert.embeddings.word_embeddings
        >>> bool((twice.weight == 2 * model.bert.embeddings.word_embeddings.weight).all())
        True
        """
        config, checked = self.config, self._checked(arrays)
        bert = type(self.bert)(config, bert_parameters(config, checked), self.loading_info)
        head = build(type(self.head), config, checked.__getitem__, "")
        found = type(self)(bert, head, self._folder)
        found._tokenizer = self._tokenizer
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.bert.dtype

    @property
    def folder(self) -> Path:
        """The checkpoint's folder; InputError where the model was not loaded from one."""
        if self._folder is None:
            raise InputError(
                f"{type(self).__name__} was not loaded from a folder, so it has no tokenizer; set "
                "it: model.tokenizer = BertTokenizer.from_pretrained(name)."
            )
        return self._folder

    @property
    def tokenizer(self) -> BertTokenizer:
        """The checkpoint's tokenizer, loaded at its first use; set it to use another."""
        from numpy_bert.text.tokenizer import BertTokenizer

        if self._tokenizer is None:
            self._tokenizer = BertTokenizer.from_pretrained(self.folder)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, value: BertTokenizer) -> None:
        from numpy_bert.text.tokenizer import BertTokenizer

        if not isinstance(value, BertTokenizer):
            raise InputError(
                f"{type(self).__name__}.tokenizer: is {type(value).__name__}; a BertTokenizer was "
                "expected."
            )
        self._tokenizer = value

    @property
    def max_length(self) -> int:
        """How many tokens of a text are read: as many as both the tokenizer and the model take."""
        return limit_of(self.tokenizer, self.config.max_tokens)

    if not TYPE_CHECKING:  # to which any name would be an attribute

        def __getattr__(self, name: str) -> Any:
            """Return the model under the head by transformers' name for it, as ``roberta``."""
            if name != "bert" and f"{name}." == ARCHITECTURES[self.model_type].prefix:
                return self.bert
            return super().__getattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tokenizer": self._tokenizer_at_hand()}

    def _tokenizer_at_hand(self) -> BertTokenizer | None:
        """Return the tokenizer without a request to the hub; None where the folder has none."""
        if self._tokenizer is None and (self._folder is None or look(self._folder) != "folder"):
            return None
        try:
            return self.tokenizer
        except NumpyBertError:  # as the model says itself when a text is given to it
            return None

    def _inputs(self, given: Mapping[str, Any]) -> tuple[ModelInputs, int]:
        """Check the inputs; return them, and how many sequences belong to one example."""
        return self.bert.inputs(**given), 1

    def _labels(self, targets: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels that were given; raise TypeError for any other argument."""
        for name in targets:
            if name not in self.kind.targets:
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument {name!r}; it "
                    f"takes {', '.join(self.kind.targets)}."
                )
        return {name: as_array(value, name) for name, value in targets.items() if value is not None}

    def _judges_padding(self, inputs: ModelInputs, labels: Mapping[str, Any]) -> bool:
        """Tell whether there is a loss that depends on what stands at padding."""
        mask = inputs.mask
        return mask is not None and bool(labels) and self.kind.judges_padding(labels, mask)

    def _without_padding(
        self, computed: BertModelOutput, inputs: ModelInputs
    ) -> BertModelOutput | None:
        """Return what a run without padding would have, of one with it; None if that is unknown.

        Its numbers at tokens are the same to the bit, unless the head reads the first rows alone,
        or another code had to compute the padding.
        """
        is_other = self.bert.dtype == np.float32 and (
            "tokens" not in self.kind.reads or inputs.has_empty_rows
        )
        return None if is_other else self.bert.without_padding(computed, inputs.mask)

    def _labelled(
        self, labels: Mapping[str, Any], shape: tuple[int, int]
    ) -> tuple[IntArray, ...] | None:
        """Return which of the tokens (B, T) alone the head has to read in training; None for all.

        A row of a decoder's scores is as long as the vocabulary.
        """
        if not self.kind.labelled_alone or "labels" not in labels:
            return None
        return places_that_count(labels["labels"], shape, self.config.vocab_size)

    def _bert(
        self,
        inputs: ModelInputs,
        *,
        every: bool,
        weights: bool,
        unpad: bool,
        rng: np.random.Generator | None,
    ) -> BertModelOutput:
        """Run the model under the head, its last layer only for the rows that the head reads."""
        has_first_alone = "tokens" not in self.kind.reads and unpad and inputs.shape[1] > 0
        if has_first_alone and not every and not weights and rng is None:
            first = np.arange(inputs.shape[0]) * inputs.shape[1]
            hidden = self.bert.hidden_at(inputs, first)[:, np.newaxis]  # (B, 1, H)
            pooled = self.bert.pool(hidden) if "pooled" in self.kind.reads else None
            output = None if pooled is None else pooled.output
            return BertModelOutput(last_hidden_state=hidden, pooler_output=output)
        return self.bert.run(
            inputs,
            output_hidden_states=every,
            output_attentions=weights,
            unpad_inputs=unpad,
            rng=rng,
        )

    def _call(
        self,
        bert: BertModelOutput,
        inputs: ModelInputs,
        *,
        rng: np.random.Generator | None = None,
        choices: int = 1,
    ) -> HeadCall:
        """Return what the head is called with after the model under it."""
        hidden, pooled = bert.last_hidden_state, bert.pooler_output
        return self._head_call(hidden, pooled, inputs.mask, rng=rng, choices=choices)

    def _head_call(
        self,
        hidden: Array,
        pooled: Array | None = None,
        mask: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        choices: int = 1,
        fast: bool = True,
    ) -> HeadCall:
        """Return what the head is called with; kernels may multiply by the decoder in float32."""
        reads = self.kind.reads
        if ("pooled" in reads and pooled is None) or ("first" in reads and not hidden.shape[1]):
            raise InputError(
                f"{type(self).__name__}: a sequence of 0 tokens has no first one to read it off; "
                "frame texts by [CLS] and [SEP]."
            )
        call = HeadCall(self.head, self.config, hidden, pooled, rng, mask, choices=choices)
        if not self.kind.decoder:
            return call
        call = call._replace(decoder=self._decoder_weight())
        if fast and self.dtype == np.float32:
            return call._replace(product=decode, product_backward=decode_backward)
        return call

    def _decoder_weight(self) -> Array | None:
        """Return the weight of the decoder, for a head that predicts words."""
        return None

    @np.errstate(all="ignore")  # also where the caller's own settings would raise
    def _run(self, call: HeadCall) -> Any:
        """Run the head."""
        if not self._is_sound:
            check_weights(self._weights(), source=self._source)
            self._is_sound = True
        with self._in_memory(call):
            return self.kind.forward(call)

    def _in_memory(self, call: HeadCall) -> memory_for:
        """Return a block in which a MemoryError says what the head was to do."""

        def what() -> str:
            rows = call.pooled if call.hidden is None else call.hidden
            columns = "" if call.decoder is None else f" and {len(call.decoder)} words"
            shape = () if rows is None else rows.shape
            return f"the head over hidden states of shape {shape}{columns}"

        return memory_for(type(self).__name__, what, FEWER)

    @np.errstate(all="ignore")
    def _judge(self, call: HeadCall, steps: Any, labels: Mapping[str, Any]) -> float:
        """Return the loss of the head's scores."""
        with self._in_memory(call):
            return self.kind.objective(call, steps, labels, None).loss

    def _scored(self, hidden: Array, pooled: Array | None = None) -> Output:
        """Return the scores of hidden states that the head reads."""
        call = self._head_call(hidden, pooled)
        steps = self._run(call)
        scores = self.kind.scores(call, steps)
        self._check(call, steps, scores)
        found: Output = self.kind.returned(scores)
        return found

    def _check(self, call: HeadCall, steps: Any, scores: Sequence[Array]) -> None:
        """Name what in the head is to blame for scores that are not finite."""
        if all(np.isfinite(array).all() for array in scores):
            return
        reads = self.kind.reads
        read = [call.hidden if reads != {"pooled"} else None, call.pooled]
        check_finite(
            scores,
            self._weights(),
            steps=self.kind.traced(steps),
            source=self._source,
            given=not all(np.isfinite(array).all() for array in read if array is not None),
        )

    def _trees(self) -> dict[str, object]:
        pools = "pooled" in self.kind.reads
        pooler = self.bert.parameters.pooler if pools else None  # as transformers saves it
        return {"bert.": replace(self.bert.parameters, pooler=pooler), "": self.head}

    def _weights(self) -> dict[str, object]:
        """Return the head's parameter trees by the prefixes of their keys."""
        return {"": self.head}

    @property
    def _source(self) -> str:
        """The checkpoint's files, for messages."""
        return ", ".join(self.loading_info.files)


class BertWithDecoder(BertWithHead[Output, Steps]):
    """A model whose head predicts words: by the word table, or by a decoder of its own."""

    _prepared = BertWithHead._prepared | {"_table"}
    _table: Array | None = None

    @property
    def decoder(self) -> Array:
        """The decoder's weight, (V, E): the head's own, else the word table, widened once."""
        own = attrgetter(self.kind.decoder)(self.head).decoder
        if own is not None:
            return own.weight  # type: ignore[no-any-return]
        if self._table is None:
            self._table = self.bert.embeddings.word_embeddings.weight
        return self._table

    def _decoder_weight(self) -> Array | None:
        return self.decoder

    def _weights(self) -> dict[str, object]:
        if not self.config.tie_word_embeddings:
            return super()._weights()
        return {**super()._weights(), "embeddings.word_embeddings.weight.": self.decoder}


class BertWithWords(BertWithDecoder[Output, Steps]):
    """A model that returns the score of each word for each token."""

    def at_labels(self, batch: Mapping[str, Any]) -> Output:
        """Return the scores of the tokens that are to be guessed, not of all.

        Parameters
        ----------
        batch : mapping
            What `loss_and_gradients` takes.

        Returns
        -------
        ModelOutput
            What a call returns; the scores of words are (N, V), for the N tokens whose label
            counts.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batch = {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}
        >>> model.at_labels(batch).logits.shape
        (1, 8000)
        """
        given, labels = split_batch(batch, self.kind.targets)
        inputs, _ = self._inputs(given)
        places = self._labelled(labels, inputs.shape)
        if places is None or not len(places[0]):
            raise InputError("labels: none counts (all are -100), so there is nothing to score.")
        pads = self._judges_padding(inputs, labels)
        bert = self.bert.run(inputs, unpad_inputs=not pads)
        return self._scored(bert.last_hidden_state[places], bert.pooler_output)
