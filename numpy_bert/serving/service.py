"""A model that is served: requests tokenized and counted, and given to the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.cross_encoder import CrossEncoder
from numpy_bert.encoding.prompts import prompt_of
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.files import decode_json
from numpy_bert.serving.batching import Batcher, Job, LateError, Limits
from numpy_bert.serving.errors import RefusalError
from numpy_bert.serving.metrics import Metrics
from numpy_bert.serving.schemas import Ask, Facts, Wish
from numpy_bert.text.ids import Tokenized

__all__ = ["Read", "Service"]

# From the members of a request to what it asks for.
Read = Callable[[dict[str, Any], Facts], Ask]

# So many characters are tokenized at a time: a token takes hundreds of bytes meanwhile.
_CHUNK = 200_000
# A text may have so many characters for each token that is read; the rest would be cut off anyway.
_CHARACTERS = 256
# A query is tokenized with each of its documents: in all they may have so many times the characters
# that a body may have bytes.
_REPEATED = 4
_CUTS = "numpy-bert serve --truncate cuts it"


class Waiting(Protocol):
    """Who waits for a request: until when, and whether any more."""

    deadline: float

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits any more."""


class Service:
    """A model, its queue, and what is counted.

    Parameters
    ----------
    encoder : SentenceEncoder or CrossEncoder
        The model.
    name : str
        What clients call it.
    limits : Limits
        What is taken at most.
    truncate : bool
        Whether texts that are too long are cut where a request says nothing of it.
    token_ids : bool
        Whether ``/v1/embeddings`` takes token ids.

    Attributes
    ----------
    is_reranker : bool
        Whether the model scores pairs of texts.
    metrics : Metrics
        What is counted.
    active : int
        How many requests are read, wait, are computed or written.
    is_draining : bool
        Whether the service ends, and takes nothing new.
    when_draining : callable
        What is called when it begins to end.

    Raises
    ------
    InputError
        If a cross-encoder has several labels, none of which is the score.
    """

    def __init__(
        self,
        encoder: SentenceEncoder | CrossEncoder,
        *,
        name: str,
        limits: Limits,
        truncate: bool = False,
        token_ids: bool = False,
    ) -> None:
        self.encoder, self.limits, self.truncate = encoder, limits, truncate
        self.is_reranker = isinstance(encoder, CrossEncoder)
        if isinstance(encoder, CrossEncoder) and encoder.num_labels != 1:
            raise InputError(
                f"The model has {encoder.num_labels} labels, none of which is the score to rank "
                "by. Serve a cross-encoder with one label, or a sentence model."
            )
        self.facts = Facts(
            name=name,
            features=self._features(),
            limits=limits,
            prompt_of=partial(prompt_of, encoder.prompts, encoder.default_prompt_name, None),
            token_ids=token_ids,
        )
        self.metrics = Metrics()
        self.batcher = Batcher(self._compute, limits, self.metrics)
        self.metrics.queue_tokens.set_function(lambda: self.batcher.tokens)
        self.metrics.queue_requests.set_function(lambda: self.batcher.requests)
        self.active = 0
        self.is_draining = False
        self.when_draining: Callable[[], object] = lambda: None

    @property
    def is_full(self) -> bool:
        """Whether there is no room for a request more."""
        return self.active >= self.limits.queue_requests

    def read(self, body: bytes, read: Read) -> Ask:
        """Return what a request's body asks for.

        Raises
        ------
        RefusalError
            If it is not strict JSON, or a member is wrong.
        """
        try:
            members = decode_json(body, where="body", error=InputError)
        except InputError as failure:
            raise RefusalError(400, str(failure), reason="json") from None
        return read(members, self.facts)

    def drain(self) -> None:
        """Take nothing new from now on."""
        self.is_draining = True
        self.when_draining()

    def check_waits(self, waiting: Waiting) -> None:
        """Raise LateError if nobody waits for a request any more, or it is too late for it."""
        if waiting.is_gone or time.monotonic() > waiting.deadline:
            raise LateError("nobody waits for it")

    def job(self, ask: Ask, waiting: Waiting) -> Job:
        """Return the job of a request, whose texts are tokenized.

        Raises
        ------
        LateError
            If nobody waits for it any more, or its turn had to come before.
        RefusalError
            If a text has more tokens than the model reads and is not to be cut, or all together
            have more than a request may.
        """
        if ask.size > _REPEATED * self.limits.body:
            raise self._repeated()
        items = self._given_ids(ask) if ask.ids is not None else self._tokenized(ask, waiting)
        cut = sum(item.whole > item.length for item in items)
        if cut:
            self.metrics.cut.inc(cut)
        return Job(items=items, wish=ask.wish, deadline=waiting.deadline)

    def bytes_of(self, job: Job) -> int:
        """Return about how many bytes the answer of a job takes, vectors and JSON."""
        return len(job.items) * (100 + 16 * self.facts.features)

    def _features(self) -> int:
        """Return how many features a vector has."""
        encoder = self.encoder
        return encoder.get_embedding_dimension() if isinstance(encoder, SentenceEncoder) else 0

    def _compute(self, items: Sequence[Tokenized], wish: Hashable) -> Array:
        """Return the vectors or logits of a batch, for which JSON has numbers."""
        rows = self._rows(items, wish)
        if not np.isfinite(rows).all():
            raise ArithmeticError("the model's numbers are not finite (NaN or infinity)")
        return rows

    def _rows(self, items: Sequence[Tokenized], wish: Hashable) -> Array:
        """Return the vectors or logits of a batch."""
        if isinstance(self.encoder, CrossEncoder):
            return self.encoder.predict_tokenized(items, "Identity").reshape(-1, 1)
        want = cast("Wish", wish)
        return self.encoder.encode_tokenized(
            items,
            want.prompt,
            normalize_embeddings=want.normalize,
            truncate_dim=want.dimensions,
        )

    def _tokenized(self, ask: Ask, waiting: Waiting) -> list[Tokenized]:
        """Tokenize the texts of a request, a chunk at a time, until they are too much."""
        limit = self.encoder.max_seq_length
        items = list[Tokenized]()
        tokens = 0
        for chunk in self._chunks(ask, limit):
            self.check_waits(waiting)
            for item in self.encoder.tokenized(chunk, ask.wish.prompt):
                if item.whole > limit and not (ask.truncate or self.truncate):
                    raise self._too_long(ask, len(items), f"{item.whole:,} tokens", _CUTS)
                items.append(item)
                tokens += item.length
            if tokens > self.limits.tokens:
                raise self._too_many()
        return items

    def _chunks(self, ask: Ask, limit: int) -> Iterator[list[Any]]:
        """Yield the texts of a request, so many that they are soon tokenized."""
        chunk = list[Any]()
        size = 0
        for row, text in enumerate(ask.texts):
            parts: Any = (text,) if isinstance(text, str) else text
            if any(len(part) > _CHARACTERS * limit for part in parts):
                has = f"more than {_CHARACTERS * limit:,} characters"
                raise self._too_long(ask, row, has, "so long a text is not cut")
            chunk.append(text)
            size += sum(map(len, parts))
            if size > _CHUNK:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _given_ids(self, ask: Ask) -> list[Tokenized]:
        """Return texts that came as token ids, as they are."""
        rows, limit = ask.ids or [], self.encoder.max_seq_length
        words = self.encoder.model.config.vocab_size
        for row, ids in enumerate(rows):
            if len(ids) > limit:
                raise self._too_long(ask, row, f"{len(ids):,} tokens", "ids are not cut")
            for place, token in enumerate(ids):
                if not 0 <= token < words:
                    raise RefusalError(
                        400,
                        f"input[{row}][{place}] must be an id from 0 to {words - 1}, of this "
                        "model's tokenizer; the ids are another one's.",
                        param="input",
                    )
        if sum(map(len, rows)) > self.limits.tokens:
            raise self._too_many()
        return [Tokenized("", np.array(i, np.int64).tobytes(), None, len(i)) for i in rows]

    def _too_long(self, ask: Ask, row: int, has: str, cuts: str) -> RefusalError:
        """Say that a text is longer than the model reads."""
        where = ask.name if ask.is_single else f"{ask.name}[{row}]"
        limit = self.encoder.max_seq_length
        return RefusalError(
            400,
            f"{where} has {has}, and the model reads {limit:,} tokens. Send its parts; {cuts}.",
            param=ask.name,
            code="context_length_exceeded",
            reason="too_long",
            tei_status=413,
        )

    def _repeated(self) -> RefusalError:
        """Say that a query is too long to be read with so many documents."""
        return RefusalError(
            400,
            "The query is read with each document, which makes more than "
            f"{_REPEATED * self.limits.body:,} characters. Send a shorter one, or fewer documents.",
            param="query",
            reason="tokens",
            tei_status=413,
        )

    def _too_many(self) -> RefusalError:
        """Say that a request has too many tokens in all."""
        return RefusalError(
            400,
            f"The request has more than {self.limits.tokens:,} tokens, which is the most that one "
            "may have. Send the texts in several requests.",
            code="max_tokens_per_request",
            reason="tokens",
            tei_status=413,
        )
