"""The requests and answers of each API: from a decoded JSON object to a value, and back."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted, shown
from numpy_bert.ops.activation import sigmoid
from numpy_bert.reprs import short_repr
from numpy_bert.serving.batching import Limits
from numpy_bert.serving.errors import RefusalError
from numpy_bert.text.inputs import Pair, check_text

__all__ = [
    "Ask",
    "Facts",
    "Wish",
    "check_model",
    "read_embed",
    "read_embeddings",
    "read_rerank",
    "read_tei_rerank",
]

_IDS = (
    "input holds token ids, and nothing says of which tokenizer: another one's would give vectors "
    "of other words. Send texts: LangChain's OpenAIEmbeddings does with "
    "check_embedding_ctx_length=False. numpy-bert serve --token-ids takes ids of this model's own "
    "tokenizer."
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with texts: those of one wish can be computed together."""

    prompt: str = ""
    normalize: bool = False
    dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What requests are checked against.

    Attributes
    ----------
    name : str
        The model's name, as the service has it.
    features : int
        How many features a vector has; 0 for a cross-encoder.
    limits : Limits
        What a request may have.
    prompt_of : callable
        From a prompt's name, or None, to the prompt.
    token_ids : bool
        Whether ids are taken in the place of texts.
    """

    name: str
    features: int
    limits: Limits
    prompt_of: Callable[[str | None], str]
    token_ids: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ask:
    """What a request asks for.

    Attributes
    ----------
    texts : sequence of str or of pairs
        The texts; none where `ids` are given.
    ids : list of list of int, optional
        Token ids.
    name : str
        The member that they came in.
    is_single : bool
        Whether it was one text, not in a list.
    wish : Wish
        What is to be done with them.
    truncate : bool
        Whether those that are too long are cut.
    answer : callable
        From the rows and the number of tokens to the answer's body.
    """

    __repr__ = short_repr

    texts: Sequence[str] | Sequence[Pair]
    ids: list[list[int]] | None = None
    name: str
    is_single: bool = False
    wish: Wish
    truncate: bool = False
    answer: Callable[[Array, int], bytes]

    @property
    def size(self) -> int:
        """How many characters are tokenized; those of a pair's query each time."""
        return sum(
            len(text) if isinstance(text, str) else sum(map(len, text)) for text in self.texts
        )


class _Members:
    """The members of a request, each of which is asked for; null stands for none."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = dict(members)

    def take(self, name: str) -> Any:
        """Return a member that must be there."""
        value = self._members.pop(name, None)
        if value is None:
            raise _wrong(name, f"{name} is missing; the request must have it.")
        return value

    def maybe(self, name: str) -> Any:
        """Return a member, or None."""
        return self._members.pop(name, None)

    def switch(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.maybe(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _wrong(name, f"{name} must be true or false; got {shown(value)}.")
        return value

    def count(self, name: str, most: int | None = None) -> int | None:
        """Return a whole number from 1."""
        value = self.maybe(name)
        if value is None:
            return None
        if not _is_whole(value) or value < 1 or (most is not None and value > most):
            upto = "" if most is None else f" to {most}"
            raise _wrong(name, f"{name} must be a whole number from 1{upto}; got {shown(value)}.")
        return int(value)

    def end(self) -> None:
        """Refuse what nothing has asked for: to leave it out would be another answer."""
        if self._members:
            name = next(iter(self._members))
            raise _wrong(
                quoted(name), f"{quoted(name)} is not known here, and is not left out silently."
            )


def read_embeddings(members: Mapping[str, Any], facts: Facts) -> Ask:
    """Read a request of OpenAI's ``/v1/embeddings``.

    Raises
    ------
    RefusalError
        If a member is wrong; it is named.
    """
    given = _Members(members)
    check_model(given.maybe("model"), facts)
    value = given.take("input")
    form = _form(given, "float", "base64")
    dimensions = given.count("dimensions", facts.features)
    wish = Wish(_prompt(given, facts), normalize=dimensions is not None, dimensions=dimensions)
    given.maybe("user")
    given.end()
    ids = _ids(value, facts)
    texts = [] if ids is not None else _texts(value, "input", facts)

    def answer(rows: Array, tokens: int) -> bytes:
        write = _base64 if form == "base64" else _numbers
        data = ",".join(
            f'{{"object":"embedding","index":{index},"embedding":{write(row)}}}'
            for index, row in enumerate(rows)
        )
        usage = f'{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}'
        name = json.dumps(facts.name)
        return f'{{"object":"list","data":[{data}],"model":{name},"usage":{usage}}}'.encode()

    single = isinstance(value, str)
    return Ask(texts=texts, ids=ids, name="input", is_single=single, wish=wish, answer=answer)


def read_embed(members: Mapping[str, Any], facts: Facts) -> Ask:
    """Read a request of text-embeddings-inference's ``/embed``.

    Raises
    ------
    RefusalError
        If a member is wrong; it is named.
    """
    given = _Members(members)
    value = given.take("inputs")
    normalize = given.switch("normalize", default=True)
    truncate = given.switch("truncate", default=False)
    _check_direction(given)
    _form(given, "float")
    dimensions = given.count("dimensions", facts.features)
    wish = Wish(_prompt(given, facts), normalize=normalize, dimensions=dimensions)
    given.end()

    def answer(rows: Array, _: int) -> bytes:
        return f"[{','.join(map(_numbers, rows))}]".encode()

    texts = _texts(value, "inputs", facts)
    single = isinstance(value, str)
    return Ask(
        texts=texts, name="inputs", is_single=single, wish=wish, truncate=truncate, answer=answer
    )


def read_tei_rerank(members: Mapping[str, Any], facts: Facts) -> Ask:
    """Read a request of text-embeddings-inference's ``/rerank``.

    Raises
    ------
    RefusalError
        If a member is wrong; it is named.
    """
    given = _Members(members)
    query = _text(given.take("query"), "query")
    texts = _several(given.take("texts"), "texts", facts)
    raw = given.switch("raw_scores", default=False)
    with_text = given.switch("return_text", default=False)
    truncate = given.switch("truncate", default=False)
    _check_direction(given)
    given.end()

    def answer(rows: Array, _: int) -> bytes:
        ranks = [
            {"index": index, "score": score} | ({"text": texts[index]} if with_text else {})
            for index, score in _ranked(rows, raw=raw)
        ]
        return _json(ranks)

    pairs = [(query, text) for text in texts]
    return Ask(texts=pairs, name="texts", wish=Wish(), truncate=truncate, answer=answer)


def read_rerank(members: Mapping[str, Any], facts: Facts) -> Ask:
    """Read a request of ``/v1/rerank``, as Jina and Cohere have it.

    Raises
    ------
    RefusalError
        If a member is wrong; it is named.
    """
    given = _Members(members)
    check_model(given.maybe("model"), facts)
    query = _text(given.take("query"), "query")
    documents = given.take("documents")
    texts = _several(_plain(documents), "documents", facts)
    most = given.count("top_n")
    with_text = given.switch("return_documents", default=False)
    truncate = given.switch("truncate", default=False)
    given.end()

    def answer(rows: Array, tokens: int) -> bytes:
        results = [
            {"index": index, "relevance_score": score}
            | ({"document": {"text": texts[index]}} if with_text else {})
            for index, score in _ranked(rows, raw=False)[:most]
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        name = facts.name
        return _json({"id": uuid.uuid4().hex, "model": name, "results": results, "usage": usage})

    pairs = [(query, text) for text in texts]
    return Ask(texts=pairs, name="documents", wish=Wish(), truncate=truncate, answer=answer)


def _wrong(name: str | None, message: str) -> RefusalError:
    """Say that a member is wrong."""
    return RefusalError(400, message, param=name, tei_status=422)


def _empty(where: str, name: str) -> RefusalError:
    """Say that a member, or a text in it, is empty."""
    return RefusalError(400, f"{where} must not be empty.", param=name, tei_type="Empty")


def check_model(model: object, facts: Facts) -> None:
    """Raise RefusalError where another model is asked for: its vectors are not this one's."""
    if model is None or model in (facts.name, facts.name.rpartition("/")[2]):
        return
    raise RefusalError(
        404,
        f"The model {shown(model)} is not served here; this is {shown(facts.name)}.",
        param="model",
        code="model_not_found",
    )


def _form(given: _Members, *known: str) -> str:
    """Return how vectors are written: the first that is known, or the one that is asked for."""
    form = given.maybe("encoding_format")
    if form is None:
        return known[0]
    if form not in known:
        wanted = " or ".join(map(repr, known))
        name = "encoding_format"
        raise _wrong(name, f"{name} must be {wanted}; got {shown(form)}.")
    return str(form)


def _check_direction(given: _Members) -> None:
    """Raise RefusalError where texts are to be cut at the left, which is not done here."""
    direction = given.maybe("truncation_direction")
    if isinstance(direction, str) and direction.lower() == "right":
        return
    if direction is not None:
        name = "truncation_direction"
        raise _wrong(name, f"{name} must be 'Right'; got {shown(direction)}.")


def _prompt(given: _Members, facts: Facts) -> str:
    """Return the prompt that a request names, or the model's own."""
    try:
        return facts.prompt_of(given.maybe("prompt_name"))
    except InputError as failure:
        raise _wrong("prompt_name", str(failure)) from None


def _texts(value: object, name: str, facts: Facts) -> list[str]:
    """Return one text, or several, none of which is empty."""
    texts = [_text(value, name)] if isinstance(value, str) else _several(value, name, facts)
    for row, text in enumerate(texts):
        if not text:
            raise _empty(name if isinstance(value, str) else f"{name}[{row}]", name)
    return texts


def _several(value: object, name: str, facts: Facts) -> list[str]:
    """Return the texts of a list that is not empty."""
    if not isinstance(value, list):
        raise _wrong(name, f"{name} must be a list of texts; got {shown(value)}.")
    if not value:
        raise _empty(name, name)
    _check_number(value, name, facts)
    return [_text(text, f"{name}[{row}]", name) for row, text in enumerate(value)]


def _check_number(value: Sequence[object], name: str, facts: Facts) -> None:
    """Raise RefusalError where a list has more items than a request may."""
    if len(value) > facts.limits.texts:
        raise RefusalError(
            400,
            f"{name} must have at most {facts.limits.texts:,} items; got {len(value):,}. Send "
            "them in several requests.",
            param=name,
            reason="texts",
            tei_status=413,
        )


def _text(value: object, where: str, name: str | None = None) -> str:
    """Return a text that the tokenizer can take."""
    try:
        return check_text(value, where)
    except InputError as failure:
        raise _wrong(name or where, str(failure)) from None


def _plain(documents: object) -> object:
    """Return documents as texts, of which some may stand in objects with "text"."""
    if not isinstance(documents, list):
        return documents
    return [
        document["text"] if isinstance(document, dict) and list(document) == ["text"] else document
        for document in documents
    ]


def _ids(value: object, facts: Facts) -> list[list[int]] | None:
    """Return token ids, of one text or several; None where the input is text."""
    if not isinstance(value, list) or not value or isinstance(value[0], str):
        return None
    rows = [value] if _is_whole(value[0]) else value
    if not all(isinstance(row, list) and all(map(_is_whole, row)) for row in rows):
        return None
    if not facts.token_ids:
        raise RefusalError(400, _IDS, param="input", code="token_ids_not_taken", reason="token_ids")
    _check_number(rows, "input", facts)
    if not all(rows):
        raise _empty("input", "input")
    return rows


def _is_whole(value: object) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


@lru_cache(maxsize=64)
def _format(count: int, digits: int) -> str:
    """Return the format of so many numbers: nine digits say which float32 it is."""
    return f"[{','.join([f'%.{digits}g'] * count)}]"


def _numbers(row: Array) -> str:
    """Return a vector as JSON."""
    digits = 9 if row.dtype == np.float32 else 17
    return _format(len(row), digits) % tuple(row.tolist())


def _base64(row: Array) -> str:
    """Return a vector as base64 of float32, the low byte first, as a JSON string."""
    return f'"{base64.b64encode(row.astype("<f4").tobytes()).decode()}"'


def _ranked(rows: Array, *, raw: bool) -> list[tuple[int, float]]:
    """Return the places of texts and their scores, the best first; of equal ones the first."""
    logits: Array = rows[:, 0].astype(np.float64)
    scores = (logits if raw else sigmoid(logits)).tolist()
    return [(index, scores[index]) for index in np.argsort(-logits, kind="stable").tolist()]


def _json(value: object) -> bytes:
    """Return JSON for a machine."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
