"""What the models of all tasks have in common: a BertModel with a head over it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_dtype
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError, NumpyBertError
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.model.bert import BertModel
from numpy_bert.model.differentiable import Differentiable, HeadInput
from numpy_bert.model.faults import check_finite
from numpy_bert.model.loaded import load_head
from numpy_bert.model.outputs import BertSteps, HeadOutput
from numpy_bert.model.packed import has_padding
from numpy_bert.model.saving import Saveable, bert_parameters
from numpy_bert.parameters import build
from numpy_bert.parameters_heads import HeadParameters
from numpy_bert.text.lost import limit_of
from numpy_bert.trace import named_steps

if TYPE_CHECKING:
    # Not when a model is loaded: it can be called with ids, without the tokenizers library.
    from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["BertWithHead"]

Parameters = TypeVar("Parameters", bound=HeadParameters)
HeadSteps = TypeVar("HeadSteps")
Steps = TypeVar("Steps")
Output = TypeVar("Output", bound=HeadOutput)
Self = TypeVar("Self", bound="BertWithHead[Any, Any, Any, Any]")
States = tuple[Array, ...] | None


class BertWithHead(
    Saveable,
    Differentiable[Parameters, HeadSteps, Output],
    Generic[Parameters, HeadSteps, Steps, Output],
):
    """Base of all tasks' models; it can be called, a subclass says what its head is.

    A call changes nothing that another one could see, so threads can share a model. A copy or a
    pickle of it carries weights, config and tokenizer, so that it works where there is no folder.

    Attributes
    ----------
    bert : BertModel
        The model under the head.
    head : one of the classes of `numpy_bert.parameters_heads`
        The head's weights, named as in transformers.
    config : BertConfig
        Sizes and settings.
    loading_info : LoadingInfo
        What the checkpoint held, lacked, and what was cast.
    folder : Path
        The checkpoint's folder.
    tokenizer : BertTokenizer
        The checkpoint's, loaded from its folder at its first use. It can be set to another.
    """

    _fixed = frozenset({"bert", "head", "config", "loading_info", "folder"})
    _tree: ClassVar[type[HeadParameters]]
    _pools: ClassVar[bool] = False

    def __init__(self, bert: BertModel, head: Parameters, folder: Path) -> None:
        self.bert = bert
        self.head = head
        self.config: BertConfig = bert.config
        self.loading_info: LoadingInfo = bert.loading_info
        self.folder = folder
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
    ) -> Self:
        """Load a published checkpoint of this task.

        Parameters
        ----------
        name_or_path, dtype, revision, cache_dir, local_files_only, token, mmap
            As in `BertModel.from_pretrained`.

        Raises
        ------
        ConfigError, CheckpointError
            Naming the file, the field or the tensors; also where the checkpoint has no such head.
        """
        model, head = load_head(
            name_or_path,
            cls._tree,
            dtype=as_dtype(dtype),
            mmap=mmap,
            pools=cls._pools,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(BertModel(model.config, model.parameters, model.info), head, model.folder)

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
        rng: np.random.Generator | None = None,
        **targets: npt.ArrayLike | None,
    ) -> Output:
        """Run the model and its head.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
            As of a call of `BertModel`.
        output_hidden_states, output_attentions : bool
            Whether to return every layer's output, and the probabilities of its attention.
        rng : numpy.random.Generator, optional
            Turns dropout on, the head's too, and draws its masks.
        labels : array_like, optional
            What the scores should be, as `numpy_bert.tasks.objectives` has it for each task; the
            output then has a loss, and padding is computed as transformers does. Of a
            BertForPreTraining next_sentence_label too; of a BertForQuestionAnswering
            start_positions and end_positions instead. Without all of them there is no loss.

        Returns
        -------
        ModelOutput
            The class and its fields are transformers' of this task.

        Raises
        ------
        InputError
            Naming the argument, the place, the value and the limit.
        CheckpointError
            If the result is not finite because a weight is not; the weight is named.
        """
        labels = self._labels(targets)
        is_judged = len(labels) == len(self._targets)
        # The kernels leave padding out, on which transformers' losses may depend: an answer's
        # place is looked for there, too, and a first token may be padding.
        pads = is_judged and has_padding(attention_mask)
        output = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions or pads,
            rng=rng,
        )
        attentions = output.attentions if output_attentions else None
        steps = self._run_head(HeadInput(output.last_hidden_state, output.pooler_output, rng))
        found = self._output(steps, output.hidden_states, attentions)
        self._check(steps, found.scores, output.last_hidden_state)
        if not is_judged:
            return found
        with np.errstate(all="ignore"):
            return replace(found, loss=self._objective(steps, labels).loss)

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

        Parameters and errors as of a call.
        """
        bert = self.bert.steps(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, rng=rng
        )
        pooled = None if bert.pooler is None else bert.pooler.output
        return self._steps(bert, self._run_head(HeadInput(bert.encoder.output, pooled, rng)))

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
        bert = BertModel(config, bert_parameters(config, checked), self.loading_info)
        head = build(type(self.head), config, checked.__getitem__, "")
        found = type(self)(bert, head, self.folder)
        found._tokenizer = self._tokenizer
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.bert.dtype

    def eval(self: Self) -> Self:
        """Return the model itself: dropout is off in every call without `rng`."""
        return self

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

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tokenizer": self._tokenizer_at_hand()}

    def _tokenizer_at_hand(self) -> BertTokenizer | None:
        """Return the tokenizer without a request to the hub; None where the folder has none."""
        if self._tokenizer is None and not self.folder.is_dir():
            return None
        try:
            return self.tokenizer
        except NumpyBertError:  # as the model says itself when a text is given to it
            return None

    @property
    def _limit(self) -> int:
        """How many tokens both the tokenizer and the model take."""
        return limit_of(self.tokenizer, self.config.max_position_embeddings)

    @abstractmethod
    def _head(self, read: HeadInput) -> HeadSteps:
        """Run the head."""

    @abstractmethod
    def _steps(self, bert: BertSteps, head: HeadSteps) -> Steps:
        """Put the steps of both parts together."""

    def _labels(self, targets: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels that were given; raise TypeError for any other argument."""
        for name in targets:
            if name not in self._targets:
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument {name!r}; it "
                    f"takes {', '.join(self._targets)}."
                )
        return {name: value for name, value in targets.items() if value is not None}

    def _trees(self) -> dict[str, object]:
        pooler = self.bert.parameters.pooler if self._pools else None  # as transformers saves it
        return {"bert.": replace(self.bert.parameters, pooler=pooler), "": self.head}

    def _weights(self) -> dict[str, object]:
        """Return the head's parameter trees by the prefixes of their keys."""
        return {"": self.head}

    def _check(self, steps: HeadSteps, scores: tuple[Array, ...], hidden: Array) -> None:
        """Name what in the head is to blame for scores that are not finite."""
        check_finite(
            scores,
            self._weights(),
            steps=named_steps(steps, ""),
            source=", ".join(self.loading_info.files),
            given=not np.isfinite(hidden).all(),
        )

    @np.errstate(all="ignore")  # also where the caller's own settings would raise
    def _run_head(self, read: HeadInput) -> HeadSteps:
        """Run the head over what the model returned."""
        if self._pools and read.pooled is None:
            raise InputError(
                f"{type(self).__name__}: a sequence of 0 tokens has no first one to read it off; "
                "frame texts by [CLS] and [SEP]."
            )
        return self._head(read)
