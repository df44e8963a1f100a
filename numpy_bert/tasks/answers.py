"""Start and end scores to answers: windows over a long context, and the best spans in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.arguments import as_count, check_switches
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.tasks.batches import Row, TextModel, encoded_rows
from numpy_bert.tasks.windows import Window, cut_windows, run_windows
from numpy_bert.text.inputs import as_pairs

__all__ = ["Answer", "answer_questions", "best_answers", "windows", "word_spans"]

# The windows of so many questions are in memory at once.
_QUESTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A part of the context: ``context[start:end]``; empty for "there is no answer"."""

    answer: str
    score: float
    start: int
    end: int


def answer_questions(
    model: TextModel,
    question: str | Sequence[str],
    context: str | Sequence[str],
    *,
    top_k: int,
    max_answer_len: int,
    doc_stride: int,
    max_seq_len: int,
    handle_impossible_answer: bool,
) -> list[Any]:
    """Find answers in contexts; see `numpy_bert.BertForQuestionAnswering.answer`."""
    single, items = as_pairs(question, context, ("question", "context"))
    check_switches(handle_impossible_answer=handle_impossible_answer)
    options: dict[str, Any] = {
        "top_k": as_count("top_k", top_k),
        "max_answer_len": as_count("max_answer_len", max_answer_len),
        "handle_impossible_answer": handle_impossible_answer,
    }
    limit = min(model.max_length, as_count("max_seq_len", max_seq_len))
    overlap = as_count("doc_stride", doc_stride, least=0)
    found: list[Any] = []
    for start in range(0, len(items), _QUESTIONS):
        part = items[start : start + _QUESTIONS]
        encoded = model.tokenizer(
            part, return_offsets_mapping=True, return_special_tokens_mask=True
        )
        cut, words = [], []
        for number, row in enumerate(encoded_rows(encoded)):
            where = "" if single else f"[{start + number}]: "
            inside = _inside(encoded.sequence_ids(number))
            cut.append(windows(row, inside, limit=limit, overlap=overlap, where=where))
            owners = encoded.word_ids(number)[inside]
            words.append(word_spans(owners, row.offsets[inside]))
        for item, spans, marks in zip(part, words, _scored(model, cut), strict=True):
            found.append(best_answers(item[1], spans, marks, **options))
    return found[0] if single else found


def _inside(owners: Sequence[int | None]) -> slice:
    """Return where the second text's tokens are, which stand together."""
    count = owners.count(1)
    start = owners.index(1) if count else 0
    return slice(start, start + count)


def _scored(model: TextModel, cut: list[list[Window]]) -> list[list[tuple[Window, Array, Array]]]:
    """Run the model over the windows of all questions; return each with its logits."""
    found: list[list[tuple[Window, Array, Array]]] = [[] for _ in cut]
    for question, window, output, row in run_windows(model, cut):
        found[question].append((window, output.start_logits[row], output.end_logits[row]))
    return found


def windows(row: Row, inside: slice, *, limit: int, overlap: int, where: str = "") -> list[Window]:
    """Split a question and a long context into windows that a model can read.

    Parameters
    ----------
    row : Row
        Both texts, framed, in full.
    inside : slice
        Where the tokens of the context are.
    limit : int
        The number of tokens of a window, with the question and the frame.
    overlap : int
        How many tokens of the context a window shares with the next, so that an answer is not cut
        in two; at most half of what a window holds.
    where : str
        The question's name in a message.

    Returns
    -------
    list of Window
        The windows, first to last; together they hold the whole context.

    Raises
    ------
    InputError
        If the context has no tokens, or the question leaves no room for any.

    References
    ----------
    .. [1] google-research/bert, run_squad.py, convert_examples_to_features ("doc_stride").

    Examples
    --------
    >>> row = Row(input_ids=[2, 9, 3, 5, 6, 7, 8, 3], token_type_ids=[0, 0, 0, 1, 1, 1, 1, 1],
    ...           special=[1, 0, 1, 0, 0, 0, 0, 1], offsets=[(0, 0)] * 8)
    >>> [window.row.input_ids for window in windows(row, slice(3, 7), limit=6, overlap=1)]
    [[2, 9, 3, 5, 6, 3], [2, 9, 3, 6, 7, 3], [2, 9, 3, 7, 8, 3]]
    """
    start, count = inside.start, inside.stop - inside.start
    if not count:
        raise InputError(f"{where}context has no tokens in which an answer could be.")
    frame = len(row.input_ids) - count
    room = min(limit - frame, count)
    if room < 1:
        raise InputError(
            f"{where}question takes {frame} tokens with the frame around it, but the model reads "
            f"{limit} and the context needs some. Shorten it."
        )
    return cut_windows(row, start, count, room=room, overlap=overlap)


def word_spans(
    owners: Sequence[int | None], offsets: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return, for each token, the characters of the whole word that it is a piece of.

    Parameters
    ----------
    owners : sequence of int or None
        For each token the number of its word; one that has none is a word by itself.
    offsets : sequence of (int, int)
        The characters of each token.

    Examples
    --------
    >>> word_spans([0, 1, 1], [(0, 1), (2, 6), (6, 12)])
    [(0, 1), (2, 12), (2, 12)]
    """
    words: list[list[int]] = []
    for number, owner in enumerate(owners):
        if words and owner is not None and owner == owners[number - 1]:
            words[-1].append(number)
        else:
            words.append([number])
    return [(offsets[word[0]][0], offsets[word[-1]][1]) for word in words for _ in word]


@np.errstate(all="ignore")
def best_answers(
    context: str,
    words: Sequence[tuple[int, int]],
    found: Iterable[tuple[Window, Array, Array]],
    *,
    top_k: int,
    max_answer_len: int,
    handle_impossible_answer: bool,
) -> list[Answer]:
    """Return the best answers in a context, best first.

    Parameters
    ----------
    context : str
        The text that the answers are in.
    words : sequence of (int, int)
        For each token of the context, the characters of the word that it is a piece of.
    found : iterable of (Window, ndarray, ndarray)
        Each window with its start and end logits, (T,).
    top_k : int
        How many answers are returned at most.
    max_answer_len : int
        How many tokens an answer has at most.
    handle_impossible_answer : bool
        Whether "there is no answer", scored at the first token, is one of them.

    Returns
    -------
    list of Answer
        The answers, in whole words. `score` is the product of the probabilities of start and end,
        among all places of all windows, so answers of different windows can be compared; with one
        window it is transformers'. A place in several windows counts where it scores best.
    """
    listed = list(found)
    starts = _probabilities([(w, start) for w, start, _ in listed], handle_impossible_answer)
    ends = _probabilities([(w, end) for w, _, end in listed], handle_impossible_answer)
    spans: dict[tuple[int, int], float] = {}
    null = np.inf
    for (window, _, _), (start_null, start), (end_null, end) in zip(
        listed, starts, ends, strict=True
    ):
        null = min(null, start_null * end_null)  # unless no window finds one, there is an answer
        # (length of the part, max_answer_len): the span from a token over so many more.
        width = min(max_answer_len, len(start))
        padded = np.concatenate([end, np.full(width - 1, -1.0)])
        scores = start[:, np.newaxis] * np.lib.stride_tricks.sliding_window_view(padded, width)
        places: set[tuple[int, int]] = set()
        for flat in np.argsort(-scores, axis=None, kind="stable").tolist():
            first, more = divmod(flat, width)
            if first + more < len(start) and len(places) < top_k:
                here = window.first + first
                place = (words[here][0], words[here + more][1])
                places.add(place)  # pieces of the same words count once
                spans[place] = max(spans.get(place, 0.0), float(scores.flat[flat]))
            elif len(places) == top_k:
                break
    answers = [
        Answer(answer=context[start:end], score=score, start=start, end=end)
        for (start, end), score in spans.items()
    ]
    if handle_impossible_answer:
        answers.append(Answer(answer="", score=float(null), start=0, end=0))
    return sorted(answers, key=lambda answer: -answer.score)[:top_k]


def _probabilities(
    logits: Sequence[tuple[Window, Array]],
    handle_impossible_answer: bool,
) -> list[tuple[float, Array]]:
    """Return the probability of the first token and of the context's, window by window.

    They sum to 1 over all windows together; the first counts where it stands for "no answer".
    """
    parts = [
        (
            float(scores[0]) if handle_impossible_answer else -np.inf,
            scores[window.place : window.place + window.last - window.first].astype(np.float64),
        )
        for window, scores in logits
    ]
    largest = max(max(null, part.max()) for null, part in parts)
    weights = [(float(np.exp(null - largest)), np.exp(part - largest)) for null, part in parts]
    total = sum(null + part.sum() for null, part in weights)
    return [(null / total, part / total) for null, part in weights]
