"""The models of BERT's tasks: each a head of `numpy_bert.model.heads` and what it is used for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray, as_array
from numpy_bert.errors import InputError
from numpy_bert.inputs import ModelInputs
from numpy_bert.model.heads import (
    MASKED_LM,
    MULTIPLE_CHOICE,
    NEXT_SENTENCE,
    PRE_TRAINING,
    QUESTION_ANSWERING,
    SEQUENCE_CLASSIFICATION,
    TOKEN_CLASSIFICATION,
)
from numpy_bert.model.outputs import (
    BertForPreTrainingOutput,
    ClassificationSteps,
    MaskedLMOutput,
    MaskedLMSteps,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    NextSentenceSteps,
    PreTrainingSteps,
    QuestionAnsweringModelOutput,
    QuestionAnsweringSteps,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from numpy_bert.model.with_head import BertWithHead, BertWithWords
from numpy_bert.tasks.answers import answer_questions
from numpy_bert.tasks.entities import tag_texts
from numpy_bert.tasks.fill import fill_masks
from numpy_bert.tasks.labels import classify, judge_next

__all__ = [
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
]

# Masks whose words are scored at a time: 16 MB of scores for a vocabulary of 30522.
_MASKS = 128


class BertForPreTraining(BertWithWords[BertForPreTrainingOutput, PreTrainingSteps]):
    """BERT as it is pre-trained, with both heads.

    Examples
    --------
    >>> from numpy_bert import BertForPreTraining
    >>> model = BertForPreTraining.from_pretrained("demo")
    >>> output = model([[2, 5, 3]])
    >>> output.prediction_logits.shape, output.seq_relationship_logits.shape
    ((1, 3, 8000), (1, 2))
    >>> model.loading_info.unexpected_keys
    ()
    """

    kind = PRE_TRAINING


class BertForMaskedLM(BertWithWords[MaskedLMOutput, MaskedLMSteps]):
    """BERT as a masked language model.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> model([[2, 5, 3]]).logits.shape
    (1, 3, 8000)
    >>> len(model.fill_mask("this is a [MASK] sentence", top_k=3))
    3
    """

    kind = MASKED_LM

    def fill_mask(
        self,
        text: str | Sequence[str],
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
    ) -> list[Any]:
        """Say which words fit where a text has the tokenizer's mask, ``[MASK]`` of a BERT.

        Parameters
        ----------
        text : str or sequence of str
            Texts, each with at least one mask. What the model cannot read of a long one is cut,
            which is warned of.
        top_k : int
            Most words for a mask.
        targets : str or sequence of str, optional
            Words of which alone to choose, each a single token of the vocabulary. The scores stay
            what they are among all words.

        Returns
        -------
        list of Fill
            For one text with one mask, best first: score (a probability), token, token_str,
            sequence. For a text with several masks a list of such lists, each mask filled for
            itself; for a list of texts a list of either.

        Raises
        ------
        InputError
            If a text has no mask, or would lose one when it is cut; or a target is no token.
        """
        return fill_masks(self, self._scores_at, text, top_k, targets)

    def _scores_at(
        self, inputs: Mapping[str, Any], rows: IntArray, columns: IntArray
    ) -> Iterator[Array]:
        """Yield the scores of words (n, V) at some places of a batch, some at a time."""
        checked, _ = self._inputs(inputs)
        hidden = self.bert.hidden_at(checked, rows * checked.shape[1] + columns)
        for start in range(0, len(hidden), _MASKS):
            yield self._scored(hidden[start : start + _MASKS]).logits


class BertForNextSentencePrediction(BertWithHead[NextSentencePredictorOutput, NextSentenceSteps]):
    """BERT as a judge of whether one text follows another.

    Examples
    --------
    >>> from numpy_bert import BertForNextSentencePrediction
    >>> model = BertForNextSentencePrediction.from_pretrained("demo")
    >>> 0 < model.is_next("It rains.", "The street is wet.").score < 1
    True
    """

    kind = NEXT_SENTENCE

    def is_next(self, text: str | Sequence[str], text_pair: str | Sequence[str]) -> Any:
        """Judge whether the second text is what follows the first.

        Parameters
        ----------
        text, text_pair : str or sequence of str
            Texts, or as many of each. What the model cannot read of long ones is cut, which is
            warned of.

        Returns
        -------
        NextSentence
            is_next, and score, the probability of it. For lists, a list.
        """
        return judge_next(self, text, text_pair)


class BertForSequenceClassification(BertWithHead[SequenceClassifierOutput, ClassificationSteps]):
    """BERT as a classifier of texts or of pairs of texts; cross-encoders are of this kind.

    Examples
    --------
    >>> from numpy_bert import BertForSequenceClassification
    >>> BertForSequenceClassification.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    kind = SEQUENCE_CLASSIFICATION

    def classify(
        self,
        text: str | Sequence[str] | Sequence[tuple[str, str]],
        text_pair: str | Sequence[str] | None = None,
        *,
        top_k: int | None = None,
        function_to_apply: str | None = None,
    ) -> list[Any]:
        """Score the labels of texts.

        Parameters
        ----------
        text : str, or sequence of str or of (str, str)
            Texts, or pairs of texts. What the model cannot read of a long one is cut, which is
            warned of.
        text_pair : str or sequence of str, optional
            The second text of each.
        top_k : int, optional
            Most labels for a text; all by default.
        function_to_apply : {"softmax", "sigmoid", "none"}, optional
            What turns logits into scores. By default the activation that the files of a
            cross-encoder name, as sentence-transformers writes them. Where they name none it is as
            in transformers: nothing for a regression, the sigmoid where there is one label or
            config.json's problem_type says that several can be right, else the softmax.

        Returns
        -------
        list of LabelScore
            For a text, best first: label, score. For a list of texts a list of such lists.

        Raises
        ------
        InputError
            If a text or an argument is wrong; the message names it, and a text's place in the list.
        ConfigError
            If the files name an activation that is not supported.
        """
        return classify(self, text, text_pair, top_k, function_to_apply)

    def packed(
        self,
        input_ids: npt.ArrayLike,
        lengths: npt.ArrayLike,
        token_type_ids: npt.ArrayLike | None = None,
    ) -> Array:
        """Return the logits of sequences that stand one after another, without padding.

        Parameters
        ----------
        input_ids, lengths, token_type_ids
            They are those of `BertModel.packed`.

        Returns
        -------
        ndarray of shape (B, K)
            The logits of each sequence.

        Raises
        ------
        InputError
            If an argument does not fit; the message names it and says why.
        """
        sizes = as_array(lengths, "lengths")
        first = sizes.cumsum() - sizes
        hidden = self.bert.packed(input_ids, lengths, token_type_ids, places=first)[:, np.newaxis]
        pooled = self.bert.pool(hidden) if "pooled" in self.kind.reads else None
        return self._scored(hidden, None if pooled is None else pooled.output).logits


class BertForTokenClassification(BertWithHead[TokenClassifierOutput, ClassificationSteps]):
    """BERT as a classifier of tokens: names, parts of speech.

    Examples
    --------
    >>> from numpy_bert import BertForTokenClassification
    >>> BertForTokenClassification.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    kind = TOKEN_CLASSIFICATION

    def tag(
        self,
        text: str | Sequence[str] | Sequence[Sequence[str]],
        aggregation: str = "simple",
        *,
        ignore_labels: Collection[str] = ("O",),
        stride: int = 128,
        is_split_into_words: bool = False,
    ) -> list[Any]:
        """Label the words of texts.

        Parameters
        ----------
        text : str or sequence of str
            Texts, which may be longer than the model reads. With `is_split_into_words` a text is a
            sequence of words.
        aggregation : {"simple", "first", "average", "max", "none"}
            How the labels of tokens become entities; see `numpy_bert.tasks.entities`.
        ignore_labels : collection of str
            Labels that are no entity.
        stride : int
            Tokens that neighbouring windows over a long text share, at most half of a window. The
            labels of each are those of the window in which it has most around it.
        is_split_into_words : bool
            Whether each text is given as its words. Places are then those in the words with a space
            between each two, the strategies but "simple" label them whole, and "none" returns each
            word by its first token, with its number as `index`.

        Returns
        -------
        list of Entity
            For a text, first to last: entity, score, word, start, end. For a list of texts a list
            of such lists.

        Raises
        ------
        InputError
            If a text or an argument is wrong; the message names it, and a text's place in the list.
        """
        return tag_texts(
            self,
            text,
            aggregation,
            ignore_labels=ignore_labels,
            stride=stride,
            is_split_into_words=is_split_into_words,
        )


class BertForQuestionAnswering(BertWithHead[QuestionAnsweringModelOutput, QuestionAnsweringSteps]):
    """BERT as a finder of answers: parts of a context.

    Examples
    --------
    >>> from numpy_bert import BertForQuestionAnswering
    >>> BertForQuestionAnswering.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no qa_outputs (qa_outputs.weight, ...
    """

    kind = QUESTION_ANSWERING

    def answer(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        *,
        top_k: int = 1,
        max_answer_len: int = 15,
        doc_stride: int = 128,
        max_seq_len: int = 384,
        handle_impossible_answer: bool = False,
    ) -> list[Any]:
        """Find the answers to questions in their contexts.

        Parameters
        ----------
        question, context : str or sequence of str
            A question and its context, or as many of each.
        top_k : int
            Most answers to a question.
        max_answer_len : int
            Most tokens of an answer.
        doc_stride : int
            Tokens that neighbouring windows over a long context share, at most half of a window.
        max_seq_len : int
            Most tokens of a window, question and frame included; the model's own limit counts too.
        handle_impossible_answer : bool
            Whether "there is no answer", an empty one, may be returned.

        Returns
        -------
        list of Answer
            For a question, best first: answer, score, start, end, with ``context[start:end]`` the
            answer. For a list a list of such lists.

        Raises
        ------
        InputError
            If a context has no tokens, or a question leaves no room for any.
        """
        return answer_questions(
            self,
            question,
            context,
            top_k=top_k,
            max_answer_len=max_answer_len,
            doc_stride=doc_stride,
            max_seq_len=max_seq_len,
            handle_impossible_answer=handle_impossible_answer,
        )


class BertForMultipleChoice(BertWithHead[MultipleChoiceModelOutput, ClassificationSteps]):
    """BERT as a chooser: each question comes with C texts, each of which gets a score.

    The arguments of a call have an axis more than a BertModel's: ids and masks are (B, C, T). The
    logits are (B, C); hidden states, attentions and steps are those of B * C sequences.

    Examples
    --------
    >>> from numpy_bert import BertForMultipleChoice
    >>> BertForMultipleChoice.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    kind = MULTIPLE_CHOICE

    def _inputs(self, given: Mapping[str, Any]) -> tuple[ModelInputs, int]:
        """Take the axes of batch and choices together, and check the inputs."""
        flat, found = dict[str, Any](), None
        # The words first, as it is by them that the others are wrong.
        for name in sorted(given, key=lambda name: name not in ("input_ids", "inputs_embeds")):
            value = given[name]
            if value is None:
                continue
            array = as_array(value, name)
            axes = 4 if name == "inputs_embeds" else 3
            if array.ndim != axes:
                letters = "B, C, T, H" if axes == 4 else "B, C, T"
                raise InputError(f"{name} must have shape ({letters}); got {array.shape}.")
            if found is not None and array.shape[:2] != found:
                raise InputError(
                    f"{name} must have a shape that begins by {found}, as the others' do; got "
                    f"{array.shape}."
                )
            found = array.shape[:2]
            if 0 in found:
                raise InputError(f"{name} must have a choice at least; got shape {array.shape}.")
            flat[name] = array.reshape(found[0] * found[1], *array.shape[2:])
        if found is None:
            raise InputError("BertForMultipleChoice needs input_ids or inputs_embeds; give one.")
        return self.bert.inputs(**flat), found[1]
