"""The models that look at each token: labels of words, and answers in a context."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.arrays import Array, as_array
from numpy_bert.blocks.gradients import dense_backward
from numpy_bert.blocks.heads import ClassifierSteps
from numpy_bert.errors import InputError
from numpy_bert.model.classifier import BertWithClassifier
from numpy_bert.model.differentiable import HeadInput, HeadRun
from numpy_bert.model.gradients import HeadGradients
from numpy_bert.model.head import BertWithHead, States
from numpy_bert.model.outputs import BertSteps, QuestionAnsweringModelOutput, TokenClassifierOutput
from numpy_bert.ops.linear import linear
from numpy_bert.ops.softmax import softmax
from numpy_bert.parameters_heads import ClassifierParameters, QuestionAnsweringParameters
from numpy_bert.tasks.answers import Window, best_answers, windows, word_spans
from numpy_bert.tasks.batches import Cuts, Row, batches_of, text_batches
from numpy_bert.tasks.entities import Token, check_aggregation, find_entities
from numpy_bert.tasks.items import Items, items_of, span_items
from numpy_bert.tasks.labels import as_top_k
from numpy_bert.tasks.objectives import Objective, label_objective, span_objective
from numpy_bert.text.inputs import as_pairs, as_texts

__all__ = [
    "BertForQuestionAnswering",
    "BertForTokenClassification",
    "QuestionAnsweringSteps",
]

# Questions whose windows are in memory at once.
_QUESTIONS = 64


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuestionAnsweringSteps:
    """Every intermediate of a BertForQuestionAnswering; qa_outputs (B, T, 2): start and end."""

    bert: BertSteps
    qa_outputs: Array


class BertForTokenClassification(BertWithClassifier[ClassifierParameters, TokenClassifierOutput]):
    """BERT as a classifier of tokens: names, parts of speech.

    Examples
    --------
    >>> from numpy_bert import BertForTokenClassification
    >>> BertForTokenClassification.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no classifier (classifier.weight, ...
    """

    _tree = ClassifierParameters

    def tag(
        self,
        text: str | Sequence[str],
        aggregation: str = "simple",
        *,
        ignore_labels: Collection[str] = ("O",),
    ) -> list[Any]:
        """Label the words of texts.

        Parameters
        ----------
        text : str or sequence of str
            Texts. What the model cannot read of a long one is cut, which is warned of.
        aggregation : {"simple", "first", "average", "max", "none"}
            How the labels of tokens become entities; see `numpy_bert.tasks.entities`.
        ignore_labels : collection of str
            Labels that are no entity.

        Returns
        -------
        list of Entity
            Of a text, first to last: entity, score, word, start, end. Of a list of texts a list of
            such lists.

        Raises
        ------
        InputError
            Naming the text's place in the list, or the argument.
        """
        single, items = as_texts(text)
        check_aggregation(aggregation)
        cuts = Cuts(self._limit)
        found: list[Any] = [None] * len(items)
        for batch in text_batches(self.tokenizer, items, cuts):
            scores = softmax(self(**batch.inputs).logits)
            for number, row, own in zip(batch.numbers, batch.rows, scores, strict=True):
                found[number] = find_entities(
                    self._tokens(row, own, items[number]),
                    self.config.labels,
                    aggregation=aggregation,
                    join=self.tokenizer.convert_tokens_to_string,
                    ignore=ignore_labels,
                )
        cuts.warn(len(items))
        return found[0] if single else found

    def _tokens(self, row: Row, scores: Array, text: str) -> list[Token]:
        """Return a text's own tokens; an unknown one says what stands in the text."""
        names = self.tokenizer.convert_ids_to_tokens(row.input_ids)
        unknown = self.tokenizer.unk_token_id
        return [
            Token(
                word=text[start:end] if row.input_ids[index] == unknown else names[index],
                start=start,
                end=end,
                index=index,
                scores=scores[index],
                continues=row.input_ids[index] != unknown and names[index].startswith("##"),
            )
            for index, (start, end) in enumerate(row.offsets)
            if not row.special[index]
        ]

    def _objective(
        self, head: ClassifierSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        count = None if items is None else items_of(items, "labels")
        return label_objective(head.classifier, labels["labels"], num_items_in_batch=count)

    def _output(
        self, head: ClassifierSteps, states: States, attentions: States
    ) -> TokenClassifierOutput:
        return TokenClassifierOutput(
            logits=head.classifier, hidden_states=states, attentions=attentions
        )


class BertForQuestionAnswering(
    BertWithHead[
        QuestionAnsweringParameters, Array, QuestionAnsweringSteps, QuestionAnsweringModelOutput
    ]
):
    """BERT as a finder of answers: parts of a context.

    Examples
    --------
    >>> from numpy_bert import BertForQuestionAnswering
    >>> BertForQuestionAnswering.from_pretrained("demo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: ...: has no qa_outputs (qa_outputs.weight, ...
    """

    _tree = QuestionAnsweringParameters
    _targets = ("start_positions", "end_positions")

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
            Of a question, best first: answer, score, start, end, with ``context[start:end]`` the
            answer. Of a list a list of such lists.

        Raises
        ------
        InputError
            If a context has no tokens, or a question leaves no room for any.
        """
        single, items = as_pairs(question, context, ("question", "context"))
        options: dict[str, Any] = {
            "top_k": as_top_k(top_k),
            "max_answer_len": _positive("max_answer_len", max_answer_len),
            "handle_impossible_answer": handle_impossible_answer,
        }
        limit = min(self._limit, _positive("max_seq_len", max_seq_len))
        overlap = _positive("doc_stride", doc_stride, least=0)
        found: list[Any] = []
        for start in range(0, len(items), _QUESTIONS):
            part = items[start : start + _QUESTIONS]
            encoded = self._encoded(part)
            cut = [
                windows(row, limit=limit, overlap=overlap, where=_place(start + n, single))
                for n, row in enumerate(encoded)
            ]
            scored = self._scored(cut)
            for item, row, marks in zip(part, encoded, scored, strict=True):
                inside = [
                    i for i, kind in enumerate(row.token_type_ids) if kind and not row.special[i]
                ]
                tokens = self.tokenizer.convert_ids_to_tokens([row.input_ids[i] for i in inside])
                words = word_spans(tokens, [row.offsets[i] for i in inside])
                found.append(best_answers(item[1], words, marks, **options))
        return found[0] if single else found

    def _encoded(self, items: Sequence[Any]) -> list[Row]:
        """Encode questions and contexts in full."""
        encoded = self.tokenizer(
            items, return_offsets_mapping=True, return_special_tokens_mask=True
        )
        columns = ("input_ids", "token_type_ids", "special_tokens_mask", "offset_mapping")
        return [
            Row(input_ids=ids, token_type_ids=types, special=special, offsets=offsets)
            for ids, types, special, offsets in zip(*(encoded[c] for c in columns), strict=True)
        ]

    def _scored(self, cut: list[list[Window]]) -> list[list[tuple[Window, Array, Array]]]:
        """Run the model over the windows of all questions; return each with its logits."""
        flat = [(question, window) for question, of in enumerate(cut) for window in of]
        found: list[list[tuple[Window, Array, Array]]] = [[] for _ in cut]
        for batch in batches_of([window.row for _, window in flat], self.tokenizer.pad_token_id):
            output = self(**batch.inputs)
            for row, number in enumerate(batch.numbers):
                question, window = flat[number]
                found[question].append((window, output.start_logits[row], output.end_logits[row]))
        return found

    def _head(self, read: HeadInput) -> Array:
        outputs = self.head.qa_outputs
        return linear(read.hidden, outputs.weight, outputs.bias)  # (B, T, 2)

    def _items(self, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, int]:
        rows = inputs.get("input_ids", inputs.get("inputs_embeds"))
        shape = np.shape(as_array(() if rows is None else rows, "input_ids"))
        length = shape[1] if len(shape) > 1 else 0  # what has another shape is refused later
        return {name: span_items(labels[name], length, name=name) for name in self._targets}

    def _objective(
        self, head: Array, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        given = (labels[name] for name in self._targets)
        return span_objective(head, *given, num_items_in_batch=items)

    def _head_backward(self, run: HeadRun[Array]) -> HeadGradients[QuestionAnsweringParameters]:
        back = dense_backward(run.score_gradients[0], run.read.hidden, self.head.qa_outputs)
        return HeadGradients(
            parameters=QuestionAnsweringParameters(qa_outputs=back.parameters), hidden=back.x
        )

    def _steps(self, bert: BertSteps, head: Array) -> QuestionAnsweringSteps:
        return QuestionAnsweringSteps(bert=bert, qa_outputs=head)

    def _output(
        self, head: Array, states: States, attentions: States
    ) -> QuestionAnsweringModelOutput:
        return QuestionAnsweringModelOutput(
            start_logits=head[..., 0],
            end_logits=head[..., 1],
            hidden_states=states,
            attentions=attentions,
        )


def _place(number: int, single: bool) -> str:
    """Name a question of a list in a message."""
    return "" if single else f"[{number}]: "


def _positive(name: str, value: object, least: int = 1) -> int:
    """Return a number of tokens."""
    is_number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_number or int(value) < least:  # type: ignore[call-overload]
        raise InputError(f"{name}={value!r}: a number of tokens from {least} was expected.")
    return int(value)  # type: ignore[call-overload,no-any-return]
