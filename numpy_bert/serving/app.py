"""The service as an ASGI application: routes, keys, bodies, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy_bert import __version__
from numpy_bert.arrays import Array
from numpy_bert.encoding.cross_encoder import CrossEncoder
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.extras import optional
from numpy_bert.messages import shown
from numpy_bert.serving.batching import ClosedError, FullError, Job, LateError, Limits
from numpy_bert.serving.errors import RefusalError, openai_body, tei_body
from numpy_bert.serving.schemas import (
    Ask,
    check_model,
    read_embed,
    read_embeddings,
    read_rerank,
    read_tei_rerank,
)
from numpy_bert.serving.service import Read, Service

__all__ = ["KEY", "create_app"]

# The environment variable that holds the key which clients must send.
KEY = "NUMPY_BERT_API_KEY"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Bytes of bodies and answers that are held at a time; and of an answer that are sent at a time,
# so that one whose client reads slowly waits for it.
_HELD = 256 << 20
_PIECE = 64 << 10
# Seconds in which a body must come.
_PATIENCE = 30.0
# Seconds in which it must, when the service ends.
_HURRY = 1.0
# Bytes of a body, and texts of an answer, that are soon read and written: those that are longer
# have a thread of their own, so that the others do not wait for them. Of bodies that wait to be
# read there may be so many times the longest.
_SHORT = 64 << 10
_MANY = 64
_UNREAD = 4
_JSON = "application/json"
# Where a request keeps how many of them are its own.
_OWN = "numpy_bert.held"
_LOG = logging.getLogger("numpy_bert.serving")


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What is sent."""

    body: bytes
    status: int = 200
    kind: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, _: Message, __: Receive, send: Send) -> None:
        headers = {"Content-Type": self.kind, "Content-Length": str(len(self.body)), **self.headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE):
            piece = bytes(view[start : start + _PIECE])
            more = start + _PIECE < len(view)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
        if not view:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _LeftError(Exception):
    """The client left."""


class _Client:
    """A client that waits for an answer, and may leave.

    Attributes
    ----------
    deadline : float
        When, by `time.monotonic`, its turn must have come.
    """

    def __init__(self, request: Any, deadline: float) -> None:
        self.deadline = deadline
        self._is_closed = False
        self._left = asyncio.create_task(_left(request))

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_closed or self._left.done()

    def close(self) -> None:
        """Say that it has its answer, or gets none."""
        self._is_closed = True
        self._left.cancel()

    async def waits(self, future: asyncio.Future[Any], deadline: float | None = None) -> Any:
        """Wait for something, and return its result.

        Raises
        ------
        _LeftError
            If the client left before.
        TimeoutError
            If the deadline came before.
        """
        patience = None if deadline is None else max(deadline - time.monotonic(), 0)
        both = (self._left, future)
        await asyncio.wait(both, timeout=patience, return_when="FIRST_COMPLETED")
        if future.done():
            return future.result()
        future.add_done_callback(_forget)
        raise _LeftError if self._left.done() else TimeoutError


class _Held:
    """The bytes that are held for all clients."""

    def __init__(self, service: Service) -> None:
        self.bytes = 0
        self._service = service

    def take(self, size: int, own: int) -> int:
        """Hold so many bytes more for a request that holds `own`, and return what it holds then.

        Raises
        ------
        RefusalError
            If they are too many, and not all its own.
        """
        if self.bytes + size > _HELD and self.bytes > own:
            raise _full("memory", self._service.batcher.advice())
        self.bytes += size
        return own + size

    def free(self, size: int) -> None:
        """Let go of bytes."""
        self.bytes -= size


class _Routes:
    """What answers each path."""

    def __init__(self, service: Service, key: str | None) -> None:
        self.service = service
        self._key = None if key is None else key.encode()
        self._held = _Held(service)
        self._unread = 0
        self._reading = set[asyncio.Timeout]()
        self._short = ThreadPoolExecutor(1, thread_name_prefix="numpy_bert short")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="numpy_bert long")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="numpy_bert answers")
        service.metrics.held_bytes.set_function(lambda: self._held.bytes)

    def close(self) -> None:
        """End the threads."""
        self.service.batcher.close()
        for hand in (self._short, self._long, self._writer):
            hand.shutdown(cancel_futures=True)

    def hurry(self) -> None:
        """Wait no longer for bodies that have not come: the service ends."""
        for timeout in self._reading:
            with contextlib.suppress(RuntimeError):  # it is over already
                timeout.reschedule(_loop().time() + _HURRY)

    def computed(self, path: str, read: Read, *, tei: bool, reranks: bool) -> _Endpoint:
        """Return the endpoint that computes what `read` finds in a request's body."""

        async def endpoint(request: Any) -> _Answer:
            if reranks is not self.service.is_reranker:
                raise _wrong_kind(reranks=reranks)
            return await self._computed(request, read)

        return self.answered(path, endpoint, tei=tei)

    def answered(
        self, path: str, endpoint: Callable[[Any], Any], *, tei: bool, is_open: bool = False
    ) -> _Endpoint:
        """Return an endpoint whose refusals have the API's shape, and that is counted."""

        async def refusing(request: Any) -> _Answer:
            try:
                if not is_open:
                    self._check_key(request.scope)
                answer: _Answer = await endpoint(request)
            except RefusalError as refusal:
                return self._refused(refusal, tei=tei)
            except _LeftError:
                raise
            except asyncio.CancelledError:
                if not self.service.is_draining:
                    raise
                return self._refused(_ends(), tei=tei)  # the server waits no longer
            except Exception:  # noqa: BLE001 - the log says which, and the client that it failed
                _LOG.exception("A request to %s failed.", path)
                message = "The service failed; its log says where. The request may be sent again."
                return self._refused(RefusalError(500, message, reason="failure"), tei=tei)
            return answer

        async def whole(scope: Message, receive: Receive, send: Send) -> None:
            from starlette.requests import Request

            start, metrics = time.perf_counter(), self.service.metrics
            try:
                answer = await refusing(Request(scope, receive, send))
                metrics.requests.labels(path, str(answer.status)).inc()
                await answer(scope, receive, send)
                metrics.request_seconds.observe(time.perf_counter() - start)
            except _LeftError:
                metrics.left.inc()
            finally:
                self._held.free(scope.pop(_OWN, 0))

        return _Endpoint(whole)

    def refused(self, status: int) -> Callable[[Any, Exception], Any]:
        """Return what answers where no endpoint does: an unknown path, or another method."""

        async def answer(request: Any, failure: Any) -> _Answer:
            path = shown(request.scope["path"])  # a URL would have what the client calls the host
            message = f"There is no {path} here."
            if status == 405:
                message = f"{path} does not take {shown(request.method)}."
            self.service.metrics.requests.labels("other", str(status)).inc()
            refusal = RefusalError(status, message, reason="path", headers=failure.headers or {})
            return self._refused(refusal, tei=False)

        return answer

    async def health(self, _: Any) -> _Answer:
        """Say whether requests are taken."""
        is_well = self.service.batcher.is_alive and not self.service.is_draining
        return _Answer(b"", 200 if is_well else 503, "text/plain")

    async def metrics(self, _: Any) -> _Answer:
        """Return what is counted."""
        kind, text = self.service.metrics.written()
        return _Answer(text, kind=kind)

    async def models(self, _: Any) -> _Answer:
        """Return the one model, in OpenAI's list."""
        return _json({"object": "list", "data": [self._model()]})

    async def model(self, request: Any) -> _Answer:
        """Return the model by its name."""
        check_model(request.path_params["name"], self.service.facts)
        return _json(self._model())

    async def info(self, _: Any) -> _Answer:
        """Return what text-embeddings-inference says of its model."""
        service, limits = self.service, self.service.limits
        encoder = service.encoder
        kind: dict[str, Any] = {"reranker": {"id2label": {"0": "LABEL_0"}}}
        if isinstance(encoder, SentenceEncoder):
            kind = {"embedding": {"pooling": " + ".join(encoder.pooling)}}
        return _json(
            {
                "model_id": service.facts.name,
                "model_dtype": str(encoder.model.dtype),
                "model_type": kind,
                "max_concurrent_requests": limits.queue_requests,
                "max_input_length": encoder.max_seq_length,
                "max_batch_tokens": limits.batch_tokens,
                "max_client_batch_size": limits.texts,
                "auto_truncate": service.truncate,
                "version": __version__,
            }
        )

    def _model(self) -> dict[str, Any]:
        """Return OpenAI's object of the model."""
        name = self.service.facts.name
        return {"id": name, "object": "model", "created": 0, "owned_by": "numpy_bert"}

    def _check_key(self, scope: Message) -> None:
        """Raise RefusalError unless the client sent the key, if there is one."""
        if self._key is None:
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        # Both are compared, whatever the first is, and the key in constant time.
        is_key = hmac.compare_digest(key.strip(), self._key)
        if scheme.lower() != b"bearer" or not is_key:
            raise RefusalError(
                401,
                "The API key is missing or wrong; send it as Authorization: Bearer KEY.",
                code="invalid_api_key",
                reason="key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _refused(self, refusal: RefusalError, *, tei: bool) -> _Answer:
        """Return a refusal in an API's shape, and count it."""
        self.service.metrics.rejected.labels(refusal.reason).inc()
        status, body = (tei_body if tei else openai_body)(refusal)
        return _Answer(json.dumps(body).encode(), status, headers=refusal.headers)

    async def _computed(self, request: Any, read: Read) -> _Answer:
        """Read a request, compute what it asks for, and answer."""
        service = self.service
        if service.is_draining:
            raise _ends()
        _check_packed(request)
        self._check_room()  # whose body would be read in vain
        body = await self._body(request)
        # Not before: whoever sends a body drop by drop must not keep others out.
        self._check_room()
        service.active += 1
        client = _Client(request, time.monotonic() + service.limits.timeout)
        try:
            ask, job = await self._read(client, body, read)
            del body
            self._hold(request, service.bytes_of(job))
            rows = await self._rows(client, job)
            hand = self._writer if len(job.items) > _MANY else self._short
            text = await client.waits(_loop().run_in_executor(hand, ask.answer, rows, job.tokens))
            return _Answer(text, headers=_cut_header(job))
        finally:
            client.close()
            service.active -= 1

    def _check_room(self) -> None:
        """Raise RefusalError where there is no room for a request more."""
        if self.service.is_full:
            raise _full("requests", self.service.batcher.advice())

    async def _read(self, client: _Client, body: bytes, read: Read) -> tuple[Ask, Job]:
        """Return what a body asks for, and its job; the texts are tokenized in another thread."""
        service = self.service
        if self._unread and self._unread + len(body) > _UNREAD * service.limits.body:
            raise _full("bodies", service.batcher.advice())
        self._unread += len(body)

        is_long = len(body) > _SHORT

        def prepared() -> tuple[Ask, Job | None]:
            service.check_waits(client)
            ask = service.read(body, read)
            # A query is tokenized with each of its documents: a short body may be long work.
            return ask, service.job(ask, client) if is_long or ask.size <= _SHORT else None

        future = _loop().run_in_executor(self._long if is_long else self._short, prepared)
        future.add_done_callback(lambda _: self._read_so_far(len(body)))
        try:
            ask, job = await client.waits(future, client.deadline)
            if job is None:
                later = _loop().run_in_executor(self._long, service.job, ask, client)
                job = await client.waits(later, client.deadline)
        except (LateError, TimeoutError):
            raise self._late() from None
        return ask, job

    def _read_so_far(self, size: int) -> None:
        """Count out a body that was read."""
        self._unread -= size

    def _hold(self, request: Any, size: int) -> None:
        """Hold so many bytes for a request until it is answered."""
        scope = request.scope
        scope[_OWN] = self._held.take(size, scope.get(_OWN, 0))

    async def _body(self, request: Any) -> bytes:
        """Read a body, as far as it may be long."""
        service, limits = self.service, self.service.limits
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > limits.body):
            raise _too_large(limits)
        body = bytearray()
        patience = min(limits.timeout, _PATIENCE)
        try:
            async with self._in_time(patience):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise _LeftError
                    piece = message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) + len(piece) > limits.body:
                        raise _too_large(limits)
                    self._hold(request, len(piece))
                    body += piece
        except TimeoutError:
            if service.is_draining:
                raise _ends() from None
            message = f"The body did not come within {patience:g} seconds."
            close = {"Connection": "close"}
            raise RefusalError(408, message, reason="slow", headers=close) from None
        return bytes(body)

    @asynccontextmanager
    async def _in_time(self, patience: float) -> AsyncIterator[None]:
        """Raise TimeoutError where a body takes longer, or soon after the service has to end."""
        async with asyncio.timeout(patience) as timeout:
            self._reading.add(timeout)
            try:
                yield
            finally:
                self._reading.discard(timeout)

    async def _rows(self, client: _Client, job: Job) -> Array:
        """Put a job into the queue and wait for its rows, as long as the client is there."""
        loop = _loop()
        ready: asyncio.Future[None] = loop.create_future()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_set, ready)

        job.future.add_done_callback(tell)
        try:
            self.service.batcher.submit(job)
        except FullError as full:
            raise _full(str(full), full.seconds) from None
        except ClosedError:
            raise _ends() from None
        try:
            await self._waited(client, job, ready)
        finally:
            job.leave()  # done or not, nobody waits for it any more
        try:
            return job.future.result()
        except ClosedError:
            raise _ends() from None
        except LateError:
            raise self._late() from None

    async def _waited(self, client: _Client, job: Job, ready: asyncio.Future[None]) -> None:
        """Wait until a job is done; raise where its client left or it has waited too long."""
        try:
            await client.waits(ready, job.deadline)
        except TimeoutError:
            if job.done == 0:
                raise self._late() from None
            await client.waits(ready)

    def _late(self) -> RefusalError:
        """Say that a request has waited too long."""
        seconds = self.service.limits.timeout
        message = f"The request has waited for {seconds:g} seconds; send it again later."
        advice = self.service.batcher.advice()
        return RefusalError(503, message, reason="late", retry_after=advice, tei_type="Overloaded")


class _Endpoint:
    """An ASGI application as the endpoint of a route: an object, since functions are called."""

    def __init__(self, whole: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._whole = whole

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._whole(scope, receive, send)


def create_app(
    encoder: SentenceEncoder | CrossEncoder,
    *,
    name: str,
    limits: Limits | None = None,
    truncate: bool = False,
    token_ids: bool = False,
    api_key: str | None = None,
) -> Any:
    """Return the service of a model as an ASGI application, for a server of one's own.

    The application ends its threads at the end of its lifespan, which every ASGI server tells it.

    Parameters
    ----------
    encoder : SentenceEncoder or CrossEncoder
        The model.
    name : str
        What clients call it.
    limits : Limits, optional
        What is taken at most.
    truncate : bool
        Whether texts that are too long are cut where a request says nothing of it.
    token_ids : bool
        Whether ``/v1/embeddings`` takes token ids.
    api_key : str, optional
        The key that clients must send; by default that of the environment variable
        NUMPY_BERT_API_KEY, and none where that is not set.

    Returns
    -------
    starlette.applications.Starlette
        The application; ``app.state.service`` is the `Service`.

    Raises
    ------
    InputError
        If a package of the extra "serve" is missing, or the model has no score to rank by.
    """
    applications = optional("starlette.applications", "serve", "A service")
    optional("uvicorn", "serve", "A service")
    key = os.environ.get(KEY) or None if api_key is None else api_key
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
        raise InputError(f"{KEY} must be printable ASCII without blanks around it; it is not.")
    service = Service(
        encoder, name=name, limits=limits or Limits(), truncate=truncate, token_ids=token_ids
    )
    routes = _Routes(service, key)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        loop = _loop()
        service.when_draining = lambda: loop.call_soon_threadsafe(routes.hurry)
        yield
        await asyncio.to_thread(routes.close)

    refused = {404: routes.refused(404), 405: routes.refused(405)}
    app = applications.Starlette(
        routes=_table(routes), lifespan=lifespan, exception_handlers=refused
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _table(routes: _Routes) -> list[Any]:
    """Return the paths, what answers them, and in whose shape."""
    from starlette.routing import Route

    def post(path: str, read: Read, *, tei: bool, reranks: bool) -> Route:
        endpoint = routes.computed(path, read, tei=tei, reranks=reranks)
        return Route(path, endpoint, methods=["POST"])

    def get(path: str, endpoint: Any, *, tei: bool = False, is_open: bool = False) -> Route:
        endpoint = routes.answered(path, endpoint, tei=tei, is_open=is_open)
        return Route(path, endpoint, methods=["GET"])

    is_reranker = routes.service.is_reranker
    root = read_tei_rerank if is_reranker else read_embed
    return [
        post("/v1/embeddings", read_embeddings, tei=False, reranks=False),
        post("/v1/rerank", read_rerank, tei=False, reranks=True),
        post("/v2/rerank", read_rerank, tei=False, reranks=True),
        post("/embed", read_embed, tei=True, reranks=False),
        post("/rerank", read_tei_rerank, tei=True, reranks=True),
        post("/", root, tei=True, reranks=is_reranker),
        get("/v1/models", routes.models),
        get("/v1/models/{name:path}", routes.model),
        get("/health", routes.health, tei=True, is_open=True),
        get("/info", routes.info, tei=True),
        get("/metrics", routes.metrics, tei=True),
    ]


def _json(value: object) -> _Answer:
    """Return an answer in JSON."""
    return _Answer(json.dumps(value).encode())


def _cut_header(job: Job) -> dict[str, str]:
    """Say how many texts were cut, where some were."""
    cut = sum(item.whole > item.length for item in job.items)
    return {"X-Numpy-Bert-Cut": str(cut)} if cut else {}


def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs this."""
    return asyncio.get_running_loop()


def _forget(future: asyncio.Future[Any]) -> None:
    """Look at the failure of what nobody waits for, which asyncio would complain of."""
    if not future.cancelled():
        future.exception()


def _set(future: asyncio.Future[None]) -> None:
    """Say that what is waited for has come, unless nobody waits any more."""
    if not future.done():
        future.set_result(None)


async def _left(request: Any) -> None:
    """Wait until the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_packed(request: Any) -> None:
    """Raise RefusalError where a body is packed: what it unpacks to could be of any size."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        message = f"Content-Encoding {shown(coding)} is not taken; send the body as it is."
        raise RefusalError(415, message, reason="packed", tei_type="Validation")


def _full(why: str, seconds: int) -> RefusalError:
    """Say that there is no room."""
    message = f"The service is busy ({why}); send the request again in {seconds} s."
    return RefusalError(
        429, message, code="rate_limit_exceeded", reason=f"full_{why}", retry_after=seconds
    )


def _ends() -> RefusalError:
    """Say that the service ends."""
    return RefusalError(
        503, "The service ends; send the request again.", reason="ends", retry_after=1
    )


def _too_large(limits: Limits) -> RefusalError:
    """Say that a body is too large."""
    message = f"The body must have at most {limits.body:,} bytes. Send several requests."
    return RefusalError(413, message, code="request_too_large", reason="body")


def _wrong_kind(*, reranks: bool) -> RefusalError:
    """Say that the model does something else."""
    wanted, other = ("a cross-encoder", "/v1/embeddings and /embed")
    if not reranks:
        wanted, other = ("a sentence model", "/v1/rerank and /rerank")
    message = f"This path needs {wanted}; the model that is served answers {other}."
    return RefusalError(400, message, param="model", reason="kind", tei_status=424)
