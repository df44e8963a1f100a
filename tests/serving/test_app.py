"""The paths: what each API's clients send and get, and what they are refused with."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from numpy_bert import CrossEncoder, SentenceEncoder
from numpy_bert.errors import InputError
from numpy_bert.serving import Limits, create_app
from numpy_bert.serving.app import KEY
from numpy_bert.serving.service import Service

TEXTS = ["The sun is shining.", "a", "He drives a car to the sea.", "a"]
DOCUMENTS = ["a man is here", "the sea", "nothing of it"]
# What an encoding together with others may change.
TOGETHER = 1e-6


@contextmanager
def served(model: Any, **options: Any) -> Iterator[TestClient]:
    app = create_app(model, **{"name": "me/demo", **options})
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(encoder: SentenceEncoder) -> Iterator[TestClient]:
    with served(encoder, limits=Limits(body=50_000, texts=8, tokens=1200)) as client:
        yield client


@pytest.fixture(scope="module")
def ranks(reranker: CrossEncoder) -> Iterator[TestClient]:
    with served(reranker) as client:
        yield client


def vectors(answer: Any) -> npt.NDArray[np.float32]:
    data = answer.json()["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    if isinstance(data[0]["embedding"], str):
        raw = [base64.b64decode(one["embedding"]) for one in data]
        return np.array([np.frombuffer(one, "<f4") for one in raw])
    return np.array([one["embedding"] for one in data], np.float32)


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_vectors_are_those_of_encode_to_the_bit(
    form: str | None, client: TestClient, encoder: SentenceEncoder
) -> None:
    """Nine digits are enough to say which float32 it is."""
    asked = {"input": TEXTS, "model": "me/demo", "encoding_format": form, "user": "me"}
    answer = client.post("/v1/embeddings", json=asked)
    assert answer.status_code == 200
    np.testing.assert_array_equal(vectors(answer), encoder.encode(TEXTS))
    count = sum(len(ids) for ids in encoder.tokenizer(TEXTS)["input_ids"])
    assert answer.json()["usage"] == {"prompt_tokens": count, "total_tokens": count}
    assert answer.json()["object"] == "list"
    assert answer.json()["model"] == "me/demo"


def test_a_model_in_float64_has_all_its_digits() -> None:
    encoder = SentenceEncoder("demo", dtype="float64")
    with served(encoder) as client:
        answer = client.post("/embed", json={"inputs": "a", "normalize": False})
    assert np.array_equal(np.array(answer.json()), encoder.encode(["a"]))


@pytest.mark.parametrize("name", ["me/demo", "demo", None])
def test_the_model_may_be_named_or_not(name: str | None, client: TestClient) -> None:
    asked = {"input": "a", "model": name}
    assert client.post("/v1/embeddings", json=asked).status_code == 200


def test_fewer_dimensions_have_length_1_again(client: TestClient, encoder: SentenceEncoder) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "dimensions": 24})
    expected = encoder.encode(TEXTS, truncate_dim=24, normalize_embeddings=True)
    np.testing.assert_array_equal(vectors(answer), expected)


def test_a_prompt_goes_by_its_name(encoder: SentenceEncoder) -> None:
    prompted = SentenceEncoder("demo", prompts={"find": "find: ", "read": "read: "})
    prompted.default_prompt_name = "read"
    with served(prompted) as client:
        for asked, prompt in (({"prompt_name": "find"}, "find: "), ({}, "read: ")):
            answer = client.post("/v1/embeddings", json={"input": TEXTS, **asked})
            expected = encoder.encode(TEXTS, prompt=prompt)
            np.testing.assert_array_equal(vectors(answer), expected)
        answer = client.post("/embed", json={"inputs": "a", "prompt_name": "none"})
    assert answer.status_code == 422
    assert "query, document" not in answer.text
    assert "'find'" in answer.json()["error"]


def test_embed_scales_to_length_1_unless_told_otherwise(
    client: TestClient, encoder: SentenceEncoder
) -> None:
    for path in ("/embed", "/"):
        for normalize in (True, False):
            answer = client.post(path, json={"inputs": TEXTS, "normalize": normalize})
            expected = encoder.encode(TEXTS, normalize_embeddings=normalize)
            np.testing.assert_array_equal(np.array(answer.json(), np.float32), expected)
    one = client.post("/embed", json={"inputs": "a", "dimensions": 5, "normalize": False}).json()
    assert np.shape(one) == (1, 5)


def sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = 1 / (1 + np.exp(-x.astype(np.float64)))
    return found


def test_ranks_as_text_embeddings_inference_has_them(
    ranks: TestClient, reranker: CrossEncoder
) -> None:
    logits = reranker.predict([("who?", text) for text in DOCUMENTS], activation_fn="identity")
    order = np.argsort(-logits).tolist()
    asked: dict[str, Any] = {"query": "who?", "texts": DOCUMENTS}
    for path in ("/rerank", "/"):
        found = ranks.post(path, json=asked).json()
        assert [sorted(one) for one in found] == [["index", "score"]] * 3
        assert [one["index"] for one in found] == order
        scores = [one["score"] for one in found]
        np.testing.assert_allclose(scores, sigmoid(logits[order]), rtol=1e-6)
    raw = ranks.post("/rerank", json={**asked, "raw_scores": True, "return_text": True}).json()
    assert [one["text"] for one in raw] == [DOCUMENTS[index] for index in order]
    np.testing.assert_array_equal(
        np.array([one["score"] for one in raw], np.float32), logits[order]
    )


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_ranks_as_jina_and_cohere_have_them(
    path: str, ranks: TestClient, reranker: CrossEncoder
) -> None:
    asked: dict[str, Any] = {"model": "demo", "query": "who?", "documents": DOCUMENTS}
    found = ranks.post(path, json=asked).json()
    ranked = reranker.rank("who?", DOCUMENTS)
    assert [one["index"] for one in found["results"]] == [one["corpus_id"] for one in ranked]
    scores = [one["relevance_score"] for one in found["results"]]
    np.testing.assert_allclose(scores, [one["score"] for one in ranked], rtol=1e-6)
    assert found["model"] == "me/demo"
    assert found["usage"]["total_tokens"] == sum(
        len(reranker.tokenizer("who?", text)["input_ids"]) for text in DOCUMENTS
    )
    plain = [{"text": text} for text in DOCUMENTS]
    some = {**asked, "documents": plain, "top_n": 2, "return_documents": True}
    best = ranks.post(path, json=some).json()["results"]
    assert [one["document"] for one in best] == [plain[one["index"]] for one in best]
    assert [one["index"] for one in best] == [one["corpus_id"] for one in ranked[:2]]


def test_the_other_kind_of_model_is_named(client: TestClient, ranks: TestClient) -> None:
    answer = client.post("/rerank", json={"query": "a", "texts": ["b"]})
    assert answer.status_code == 424  # as text-embeddings-inference
    assert answer.json()["error_type"] == "Backend"
    assert "cross-encoder" in answer.json()["error"]
    answer = ranks.post("/v1/embeddings", json={"input": "a"})
    assert answer.status_code == 400
    assert "sentence model" in answer.json()["error"]["message"]


def test_what_else_is_asked_of_a_service(client: TestClient, ranks: TestClient) -> None:
    model = {"id": "me/demo", "object": "model", "created": 0, "owned_by": "numpy_bert"}
    assert client.get("/v1/models").json() == {"object": "list", "data": [model]}
    for name in ("me/demo", "me%2Fdemo", "demo"):
        assert client.get(f"/v1/models/{name}").json() == model
    assert client.get("/v1/models/gpt").json()["error"]["code"] == "model_not_found"
    health = client.get("/health")
    assert (health.status_code, health.content) == (200, b"")
    info = client.get("/info").json()
    assert info["model_id"] == "me/demo"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 512
    assert "reranker" in ranks.get("/info").json()["model_type"]


BAD = {
    "no JSON": (b"hello", None),
    "nothing": (b"", None),
    "a list": (b"[]", None),
    "a key twice": (b'{"input": "a", "input": "b"}', None),
    "NaN": (b'{"input": "a", "dimensions": NaN}', None),
    "many digits": (b'{"input": "a", "dimensions": ' + b"9" * 5000 + b"}", None),
    "deep": (b'{"input": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", None),
    "no UTF-8": (b'{"input": "\xff"}', None),
    "half a surrogate": (b'{"input": ["a", "\\ud800"]}', "input"),
    "no input": (b"{}", "input"),
    "null": (b'{"input": null}', "input"),
    "no texts": (b'{"input": []}', "input"),
    "an empty text": (b'{"input": ["a", ""]}', "input"),
    "a number": (b'{"input": 5}', "input"),
    "texts and numbers": (b'{"input": ["a", 5]}', "input"),
    "numbers and texts": (b'{"input": [5, "a"]}', "input"),
    "too many texts": (json.dumps({"input": ["a"] * 9}).encode(), "input"),
    "ids": (b'{"input": [5, 6]}', "input"),
    "lists of ids": (b'{"input": [[5], [6]]}', "input"),
    "dimensions 0": (b'{"input": "a", "dimensions": 0}', "dimensions"),
    "dimensions true": (b'{"input": "a", "dimensions": true}', "dimensions"),
    "dimensions 385": (b'{"input": "a", "dimensions": 385}', "dimensions"),
    "format": (b'{"input": "a", "encoding_format": "hex"}', "encoding_format"),
    "no format": (b'{"input": "a", "encoding_format": []}', "encoding_format"),
    "prompt": (b'{"input": "a", "prompt_name": []}', "prompt_name"),
    "unknown": (b'{"input": "a", "input_type": "query"}', "input_type"),
    "too long": (json.dumps({"input": ["a", "a " * 600]}).encode(), "input"),
    "too many tokens": (json.dumps({"input": ["a " * 400] * 4}).encode(), None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_names_its_member(name: str, client: TestClient) -> None:
    body, param = BAD[name]
    answer = client.post("/v1/embeddings", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param is None or param in error["message"]


def test_each_api_has_its_own_status_for_too_much(client: TestClient) -> None:
    long = "a " * 600
    codes = [
        client.post("/v1/embeddings", json={"input": asked}).json()["error"]["code"]
        for asked in (long, ["a " * 400] * 4)
    ]
    assert codes == ["context_length_exceeded", "max_tokens_per_request"]
    for inputs in (long, ["a " * 400] * 4, ["a"] * 9):
        answer = client.post("/embed", json={"inputs": inputs})
        assert answer.status_code == 413
        assert sorted(answer.json()) == ["error", "error_type"]
        assert answer.json()["error_type"] == "Validation"
    with served(client.app.state.service.encoder) as roomy:
        answer = roomy.post("/embed", json={"inputs": [" " * 200_000], "truncate": True})
        assert answer.status_code == 413
        assert answer.json()["error"].endswith("so long a text is not cut.")
    answer = client.post("/embed", json={"inputs": ""})
    assert (answer.status_code, answer.json()["error_type"]) == (400, "Empty")
    answer = client.post("/embed", json={"inputs": "a", "truncation_direction": "Left"})
    assert answer.status_code == 422


def test_a_text_is_cut_where_that_is_asked_for(
    client: TestClient, encoder: SentenceEncoder
) -> None:
    long = "a b " * 600
    with pytest.warns(UserWarning, match="cut"):
        expected = encoder.encode(["a", long], normalize_embeddings=True)
    asked = {"inputs": ["a", long], "truncate": True, "truncation_direction": "Right"}
    answer = client.post("/embed", json=asked)
    np.testing.assert_array_equal(np.array(answer.json(), np.float32), expected)
    assert answer.headers["x-numpy-bert-cut"] == "1"
    with served(encoder, truncate=True) as cutting:
        answer = cutting.post("/v1/embeddings", json={"input": ["a", long]})
        assert answer.status_code == 200
        assert answer.json()["usage"]["total_tokens"] == 3 + 512
        assert "numpy_bert_cut_texts_total 1.0" in cutting.get("/metrics").text


def test_token_ids_are_taken_where_the_service_says_so(encoder: SentenceEncoder) -> None:
    with served(encoder, token_ids=True) as client:
        ids = encoder.tokenizer(TEXTS)["input_ids"]
        answer = client.post("/v1/embeddings", json={"input": ids})
        np.testing.assert_allclose(vectors(answer), encoder.encode(TEXTS), atol=TOGETHER, rtol=0)
        one = client.post("/v1/embeddings", json={"input": ids[0]})
        np.testing.assert_array_equal(vectors(one), encoder.encode(TEXTS[:1]))
        words = encoder.model.config.vocab_size
        for wrong in ([[1], [5, words]], [-1], [10**30], [[1], []], [[1], [1.5]], [5] * 513):
            answer = client.post("/v1/embeddings", json={"input": wrong})
            assert answer.status_code == 400, wrong
            assert answer.json()["error"]["param"] == "input"
        assert (
            "input[1][1]" in client.post("/v1/embeddings", json={"input": [[1], [5, words]]}).text
        )


def test_langchain_is_told_what_to_set(client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json={"input": [[5, 6]]})
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


def test_a_body_is_read_no_further_than_it_may_go(client: TestClient) -> None:
    for content in (b" " * 50_001, iter([b" " * 30_000] * 2)):
        answer = client.post("/v1/embeddings", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
    packed = client.post("/embed", content=b"x", headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_a_path_or_a_method_that_is_not_there(client: TestClient) -> None:
    for path in ("/nothing", "/embed/", "/v1/models/"):
        answer = client.post(path) if path == "/embed/" else client.get(path)
        assert answer.status_code == 404, path
    # The path is what was asked for, whatever the client calls the host.
    found = client.get("/nothing", headers={"Host": "a/b"}).json()["error"]["message"]
    assert found == "There is no '/nothing' here."
    for ask, path, allowed in (
        (client.get, "/embed", {"POST"}),
        (client.options, "/v1/embeddings", {"POST"}),
        (client.delete, "/health", {"GET", "HEAD"}),
    ):
        answer = ask(path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == allowed
    head = client.head("/v1/models")
    assert (head.status_code, head.headers["content-type"]) == (200, "application/json")


def test_a_key_is_asked_for_where_there_is_one(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a secret")
    with served(encoder) as client:
        for given in (None, "Bearer another", "Bearer a secre", "Basic a secret", "a secret"):
            headers = {} if given is None else {"Authorization": given}
            answer = client.post("/v1/embeddings", json={"input": "a"}, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert "secre" not in answer.text
            assert client.get("/metrics", headers=headers).status_code == 401
        odd = {b"Authorization": b"Bearer k\xe9y"}
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers=odd)
        assert answer.status_code == 401
        assert client.get("/health").status_code == 200
        right = {"Authorization": "bearer a secret"}
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers=right)
        assert answer.status_code == 200
    with pytest.raises(InputError, match=KEY):
        create_app(encoder, name="demo", api_key="two\nlines")


def test_everything_is_counted(encoder: SentenceEncoder) -> None:
    with served(encoder) as client:
        client.post("/v1/embeddings", json={"input": ["a", "b"]})
        client.post("/v1/embeddings", json={"input": []})
        for path in ("/x", "/y", "/v1/models/x"):
            client.get(path)
        text = client.get("/metrics").text
    for line in (
        'numpy_bert_requests_total{path="/v1/embeddings",status="200"} 1.0',
        'numpy_bert_requests_total{path="/v1/embeddings",status="400"} 1.0',
        'numpy_bert_requests_total{path="other",status="404"} 2.0',
        'numpy_bert_requests_total{path="/v1/models/{name:path}",status="404"} 1.0',
        'numpy_bert_rejected_total{reason="invalid"} 2.0',
        "numpy_bert_texts_total 2.0",
        "numpy_bert_tokens_total 6.0",
        "numpy_bert_queue_tokens 0.0",
        "numpy_bert_held_bytes 0.0",
        'numpy_bert_batch_requests_bucket{le="1.0"} 1.0',
        "numpy_bert_request_seconds_count 3.0",
    ):
        assert line in text.splitlines(), line
    assert re.search(r"^process_resident_memory_bytes \d", text, re.MULTILINE)


class Unread:
    """Bodies that wait to be read until they are let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open = threading.Semaphore(0), threading.Event()
        self.read = self.tokenized = 0
        read, job = Service.read, Service.job

        def held(service: Service, body: bytes, how: Any) -> Any:
            self.read += 1
            self.begun.release()
            assert self.open.wait(30)
            return read(service, body, how)

        def counted(service: Service, ask: Any, waiting: Any) -> Any:
            made = job(service, ask, waiting)
            self.tokenized += 1
            return made

        monkeypatch.setattr(Service, "read", held)
        monkeypatch.setattr(Service, "job", counted)


def test_bodies_that_wait_to_be_read_are_bounded_by_time_and_bytes(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Unread(monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder, timeout=0.3, body=100)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            left = asyncio.Event()
            second = asyncio.create_task(call(app, {"input": "b"}, left))
            third = asyncio.create_task(call(app, {"input": "c" * 85}))
            fourth = asyncio.create_task(call(app, {"input": "d" * 85}))
            more = [asyncio.create_task(call(app, {"input": "e" * 85})) for _ in range(3)]
            left.set()
            statuses = [status for status, _ in await asyncio.gather(first, second, third, fourth)]
            assert statuses == [503, 0, 503, 503]
            refused = [await one for one in more]
            assert sorted(status for status, _ in refused) == [429, 429, 503]
            assert all("retry-after" in headers for _, headers in refused)
            held.open.set()
            assert (await call(app, {"input": "f"}))[0] == 200
            # Of those that are answered already, or left, no byte is looked at.
            assert (held.read, held.tokenized) == (2, 1)

    asyncio.run(run())


class Held:
    """An encoder whose batches wait until they are let."""

    def __init__(self, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open, self.batches = threading.Semaphore(0), threading.Event(), list[int]()
        encode = SentenceEncoder.encode_tokenized

        def held(own: SentenceEncoder, items: Any, *arguments: Any, **options: Any) -> Any:
            self.batches.append(len(items))
            self.begun.release()
            assert self.open.wait(30)
            return encode(own, items, *arguments, **options)

        monkeypatch.setattr(SentenceEncoder, "encode_tokenized", held)


async def call(
    app: Any, asked: Any, left: asyncio.Event | None = None, sends: asyncio.Event | None = None
) -> tuple[int, Any]:
    """Call the application as a server does; the client sends its body and leaves when told to."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}]

    async def receive() -> Any:
        if messages:
            if sends is not None:
                await sends.wait()
            return messages.pop()
        await (left or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": []}
    await app({**scope, "query_string": b"", "root_path": ""}, receive, send)
    if not sent:
        return 0, {}
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers


async def begun(held: Held | Unread) -> None:
    await asyncio.to_thread(held.begun.acquire, timeout=30)


async def queued(app: Any, requests: int) -> None:
    while app.state.service.batcher.requests < requests:
        await asyncio.sleep(0)


def running(encoder: SentenceEncoder, **limits: Any) -> Any:
    app = create_app(encoder, name="demo", limits=Limits(**limits))
    return app, app.router.lifespan_context(app)


def test_a_full_service_says_when_to_come_again(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder, queue_requests=2)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            second = asyncio.create_task(call(app, {"input": "b"}))
            await queued(app, 2)
            status, headers = await call(app, {"input": "c"})
            assert (status, int(headers["retry-after"])) == (429, 1)
            # Nor is a body waited for that would be read in vain.
            assert (await call(app, {"input": "d"}, sends=asyncio.Event()))[0] == 429
            held.open.set()
            assert (await first)[0] == (await second)[0] == 200
        assert app.state.service.batcher.tokens == 0

    asyncio.run(run())


def test_a_body_that_comes_late_keeps_nobody_out(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)
    bodies, read = list[bytes](), Service.read

    def kept(service: Service, body: bytes, how: Any) -> Any:
        bodies.append(body)
        return read(service, body, how)

    monkeypatch.setattr(Service, "read", kept)

    async def run() -> None:
        app, lifespan = running(encoder, queue_requests=1)
        async with lifespan:
            sends = asyncio.Event()
            late = asyncio.create_task(call(app, {"input": "a"}, sends=sends))
            await asyncio.sleep(0)
            quick = asyncio.create_task(call(app, {"input": "b"}))
            await begun(held)
            sends.set()
            assert (await late)[0] == 429
            held.open.set()
            assert (await quick)[0] == 200

    asyncio.run(run())
    assert bodies == [b'{"input": "b"}']


def test_what_is_held_for_all_clients_is_bounded(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)
    one = 14 + 100 + 16 * 384  # a body, and about an answer
    monkeypatch.setattr("numpy_bert.serving.app._HELD", one + 100)

    async def run() -> None:
        app, lifespan = running(encoder)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            assert app.state.service.metrics.held_bytes.collect()[0].samples[0].value == one
            status, headers = await call(app, {"input": "b"})
            assert (status, int(headers["retry-after"])) == (429, 1)
            held.open.set()
            assert (await first)[0] == 200
            # One that is larger than all is taken where nothing else is held.
            assert (await call(app, {"input": ["a"] * 9}))[0] == 200

    asyncio.run(run())


def test_an_ending_queue_is_an_answer(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            second = asyncio.create_task(call(app, {"input": "b"}))
            await queued(app, 2)
            closing = asyncio.create_task(asyncio.to_thread(app.state.service.batcher.close))
            while app.state.service.batcher.is_alive:
                await asyncio.sleep(0)
            assert (await call(app, {"input": "c"}))[0] == 503
            held.open.set()
            await closing
            assert [(await first)[0], (await second)[0]] == [200, 503]

    asyncio.run(run())


def test_who_left_is_not_computed(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            left = asyncio.Event()
            second = asyncio.create_task(call(app, {"input": ["b"] * 5}, left))
            await queued(app, 2)
            left.set()
            assert (await second)[0] == 0
            held.open.set()
            assert (await first)[0] == 200
            assert (await call(app, {"input": "c"}))[0] == 200
        assert held.batches == [1, 1]
        assert "numpy_bert_left_total 1.0" in app.state.service.metrics.written()[1].decode()

    asyncio.run(run())


def test_who_has_waited_too_long_is_told_so(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder, timeout=0.2)
        async with lifespan:
            first = asyncio.create_task(call(app, {"input": "a"}))
            await begun(held)
            status, headers = await call(app, {"input": "b"})
            assert (status, int(headers["retry-after"]) >= 1) == (503, True)
            held.open.set()
            assert (await first)[0] == 200  # which was begun in time
        assert held.batches == [1]

    asyncio.run(run())


def test_a_service_that_ends_takes_nothing_new(encoder: SentenceEncoder) -> None:
    with served(encoder) as client:
        client.app.state.service.is_draining = True
        assert client.get("/health").status_code == 503
        answer = client.post("/embed", json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (503, "Unhealthy")


def test_a_failure_is_answered_and_says_nothing_of_this_machine(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("/a/secret/path")

    monkeypatch.setattr(SentenceEncoder, "encode_tokenized", failing)
    with served(encoder) as client:
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert "secret" not in answer.text
        assert client.get("/health").status_code == 200
    assert "/a/secret/path" in caplog.text


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_json_has_not_are_a_failure_of_their_request_alone(
    number: float, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = SentenceEncoder.encode_tokenized

    def broken(own: SentenceEncoder, items: Any, *arguments: Any, **options: Any) -> Any:
        rows = encode(own, items, *arguments, **options)
        rows[[item.text == "bad" for item in items], 7] = number
        return rows

    monkeypatch.setattr(SentenceEncoder, "encode_tokenized", broken)
    with served(encoder) as client:
        for form in ("float", "base64"):
            asked = {"input": ["a", "bad"], "encoding_format": form}
            assert client.post("/v1/embeddings", json=asked).status_code == 500
            assert client.post("/v1/embeddings", json={**asked, "input": "a"}).status_code == 200


def test_long_work_of_a_short_body_keeps_no_short_one_waiting(
    reranker: CrossEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query is tokenized with each of its documents."""
    hands: list[tuple[int, str]] = []
    job = Service.job

    def told(service: Service, ask: Any, waiting: Any) -> Any:
        hands.append((len(ask.texts), threading.current_thread().name))
        return job(service, ask, waiting)

    monkeypatch.setattr(Service, "job", told)
    with served(reranker) as client:
        for count, query in ((2, "who?"), (300, "x" * 500)):
            answer = client.post("/rerank", json={"query": query, "texts": ["a"] * count})
            assert len(answer.json()) == count
    assert [(count, name.rpartition("_")[0]) for count, name in hands] == [
        (2, "numpy_bert short"),
        (300, "numpy_bert long"),
    ]


def test_a_query_is_not_repeated_without_bound(reranker: CrossEncoder) -> None:
    asked = {"query": "x" * 500, "texts": ["a"] * 20}
    with served(reranker, limits=Limits(body=1000)) as client:
        assert client.post("/rerank", json={**asked, "query": "x"}).status_code == 200
        answer = client.post("/rerank", json=asked)
        assert answer.status_code == 413
        assert "more than 4,000 characters" in answer.json()["error"]


def test_who_is_not_waited_for_at_the_end_is_told_so(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(encoder, monkeypatch)

    async def run() -> None:
        app, lifespan = running(encoder)
        async with lifespan:
            for is_draining in (False, True):
                asked = asyncio.create_task(call(app, {"input": "a"}))
                await begun(held)
                app.state.service.is_draining = is_draining
                asked.cancel()  # as the server does when its patience ends
                if is_draining:
                    status, headers = await asked
                    assert (status, headers["retry-after"]) == (503, "1")
                else:
                    with pytest.raises(asyncio.CancelledError):
                        await asked
                held.open.set()

    asyncio.run(run())


def test_a_model_without_a_score_is_refused(tmp_path: Any) -> None:
    from numpy_bert import BertModel
    from numpy_bert.loading.cache import demo_folder
    from numpy_bert.training import new_classifier

    new = new_classifier(BertModel.from_pretrained("demo"), ["no", "yes"], demo_folder())
    new.save_pretrained(tmp_path / "two")
    with pytest.raises(InputError, match="2 labels"):
        create_app(CrossEncoder(tmp_path / "two"), name="two")
