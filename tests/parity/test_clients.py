"""The official clients of OpenAI's API and LangChain's, unchanged, against a real process."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import numpy.typing as npt
import pytest
from bench_servers import Server, ours

from numpy_bert import SentenceEncoder

openai = pytest.importorskip("openai")

KEY = "a key of these tests"
TEXTS = ["The sun is shining.", "He drives a car.", "Wie geht's? \u4f60\u597d \U0001f389", " x"]
# What an encoding together with others may change.
TOGETHER = 1e-6


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A service of the built-in model, for whoever has the key."""
    with Server(ours("demo"), environment={"NUMPY_BERT_API_KEY": KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("demo")


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=base(server), api_key=KEY, max_retries=0) as client:
        yield client


def base(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/v1"


def vectors(response: Any) -> npt.NDArray[np.float64]:
    """Return the vectors of a response in the order of their texts."""
    assert [one.index for one in response.data] == list(range(len(response.data)))
    return np.array([one.embedding for one in response.data])


def test_a_text_is_encoded_to_the_bit(client: Any, encoder: SentenceEncoder) -> None:
    """The client asks for base64 unless it is told otherwise, and reads it as float32."""
    for text in TEXTS:
        response = client.embeddings.create(model="demo", input=text)
        expected = encoder.encode([text])
        found = vectors(response)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found.astype(np.float32), expected)


def test_base64_is_little_endian_float32(client: Any, encoder: SentenceEncoder) -> None:
    response = client.embeddings.create(model="demo", input=TEXTS[0], encoding_format="base64")
    data = base64.b64decode(response.data[0].embedding)
    assert data == encoder.encode(TEXTS[:1]).astype("<f4").tobytes()


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_texts_in_both_formats(form: dict[str, Any], client: Any, encoder: SentenceEncoder) -> None:
    response = client.embeddings.create(model="demo", input=TEXTS, **form)
    np.testing.assert_allclose(vectors(response), encoder.encode(TEXTS), atol=TOGETHER, rtol=0)
    count = sum(len(ids) for ids in encoder.tokenizer(TEXTS)["input_ids"])
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (count, count)
    assert (response.object, response.model) == ("list", "demo")


def test_fewer_dimensions_have_length_1_again(client: Any, encoder: SentenceEncoder) -> None:
    """As OpenAI's own models: cut, and scaled to length 1."""
    response = client.embeddings.create(model="demo", input=TEXTS, dimensions=24)
    expected = encoder.encode(TEXTS, truncate_dim=24, normalize_embeddings=True)
    np.testing.assert_allclose(vectors(response), expected, atol=TOGETHER, rtol=0)


def test_the_models_are_listed(client: Any) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object) == ("demo", "model")
    assert client.models.retrieve("demo") == model


def test_a_user_and_an_unknown_header_change_nothing(client: Any) -> None:
    plain = client.embeddings.create(model="demo", input="a test")
    named = client.embeddings.create(
        model="demo", input="a test", user="somebody", extra_headers={"X-Any": "thing"}
    )
    np.testing.assert_array_equal(vectors(named), vectors(plain))


def test_the_async_client(server: Server, encoder: SentenceEncoder) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=base(server), api_key=KEY, max_retries=0) as client:
            calls = [client.embeddings.create(model="demo", input=text) for text in TEXTS * 4]
            return await asyncio.gather(*calls)

    found = np.concatenate([vectors(one) for one in asyncio.run(ask())])
    np.testing.assert_allclose(found, encoder.encode(TEXTS * 4), atol=TOGETHER, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [5, 6]}, "input"),
        ({"input": {"a": "b"}}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 385}, "dimensions"),
        ({"input": "a", "dimensions": 2.5}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "word " * 5000}, "input"),
    ],
    ids=str,
)
def test_a_bad_request_names_its_argument(
    arguments: dict[str, Any], param: str, client: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="demo", **arguments)
    failure = caught.value
    assert failure.param == param
    assert failure.type == "invalid_request_error"
    assert param in failure.body["message"]


def test_what_is_not_there(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="other"):
        client.embeddings.create(model="other", input="a")
    with pytest.raises(openai.NotFoundError, match="other"):
        client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="demo", prompt="a")


@pytest.mark.parametrize("key", ["another", KEY[:-1], KEY + "x", KEY.upper(), "*"])
def test_another_key_is_refused(key: str, server: Server) -> None:
    with (
        openai.OpenAI(base_url=base(server), api_key=key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.embeddings.create(model="demo", input="a")
    assert KEY not in str(caught.value)
    assert caught.value.code == "invalid_api_key"


@pytest.fixture
def narrow() -> Iterator[Any]:
    """A client of a service that has room for one request at a time."""
    command = ours("demo", "--queue-requests", "1")
    with (
        Server(command, environment={"NUMPY_BERT_API_KEY": ""}) as server,
        openai.OpenAI(base_url=base(server), api_key="any", max_retries=0) as client,
    ):
        yield client


def at_once(client: Any, count: int) -> list[Any]:
    """Ask for something that takes a while, so often at once; return responses and refusals."""

    texts = [f"{number} {'word ' * 400}" for number in range(20)]  # equal ones are computed once

    def ask(_: int) -> Any:
        try:
            return client.embeddings.create(model="demo", input=texts)
        except openai.RateLimitError as failure:
            return failure

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def test_a_busy_service_says_when_to_come_again(narrow: Any) -> None:
    found = at_once(narrow, 4)
    refused = [one for one in found if isinstance(one, openai.RateLimitError)]
    assert 1 <= len(refused) < 4
    for failure in refused:
        assert failure.code == "rate_limit_exceeded"
        assert int(failure.response.headers["retry-after"]) >= 1


def test_a_client_that_is_still_sending_hears_that_the_service_is_busy(narrow: Any) -> None:
    """Its body, of which nothing is read, is longer than what the two sides' sockets hold."""
    health = f"http://127.0.0.1:{narrow.base_url.port}"
    long = [f"{number} {'word ' * 400}" for number in range(600)]  # 240,000 tokens: seconds of work
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(narrow.embeddings.create, model="demo", input=long)
        while "numpy_bert_queue_requests 1.0" not in httpx.get(f"{health}/metrics").text:
            assert not first.done()
        for _ in range(3):  # on the same connection, which is kept
            with pytest.raises(openai.RateLimitError):
                narrow.embeddings.create(model="demo", input="x" * 4_000_000)
            assert not first.done()
        assert len(first.result().data) == len(long)


@pytest.mark.slow
def test_a_client_that_comes_again_has_its_turn(narrow: Any) -> None:
    """As the client does unless it is told otherwise, though not so often."""
    found = at_once(narrow.with_options(max_retries=20), 4)
    assert [len(one.data) for one in found] == [20] * 4


def test_a_hub_client_gets_arrays(encoder: SentenceEncoder, server: Server) -> None:
    """huggingface_hub's InferenceClient, as text-embeddings-inference's users have it."""
    client = huggingface_hub.InferenceClient(
        model=f"http://127.0.0.1:{server.port}", token=KEY, timeout=60
    )
    found = client.feature_extraction(TEXTS)
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=TOGETHER, rtol=0)
    one = client.feature_extraction(TEXTS[0], normalize=False, truncate=True)
    np.testing.assert_allclose(one, encoder.encode(TEXTS[:1]), atol=TOGETHER, rtol=0)
    at_path = client.feature_extraction(
        TEXTS[0], model=f"http://127.0.0.1:{server.port}/embed", dimensions=24
    )
    assert at_path.shape == (1, 24)
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="left"):
        client.feature_extraction(TEXTS, truncate=True, truncation_direction="left")


@pytest.fixture
def langchain(server: Server) -> Iterator[Callable[..., Any]]:
    """What makes LangChain's embeddings by OpenAI's API; their clients are closed in the end."""
    from langchain_openai import OpenAIEmbeddings

    with ExitStack() as stack:

        def make(**options: Any) -> Any:
            made = OpenAIEmbeddings(
                model="demo", base_url=base(server), api_key=KEY, max_retries=0, **options
            )
            stack.callback(made.client._client.close)
            return made

        yield make


def test_langchain_sends_texts_where_it_is_told_to(
    langchain: Callable[..., Any], encoder: SentenceEncoder
) -> None:
    """The setting that its users need with any server that is not OpenAI's."""
    embeddings = langchain(check_embedding_ctx_length=False)
    found = embeddings.embed_documents(TEXTS)
    np.testing.assert_allclose(found, encoder.encode(TEXTS), atol=TOGETHER, rtol=0)
    one = np.array(embeddings.embed_query(TEXTS[0]), np.float32)
    np.testing.assert_array_equal(one, encoder.encode(TEXTS[0]))

    async def again() -> Any:
        try:
            return await embeddings.aembed_documents(TEXTS)
        finally:
            await embeddings.async_client._client.close()

    np.testing.assert_allclose(asyncio.run(again()), found, atol=TOGETHER, rtol=0)


def test_langchain_is_told_so_where_it_sends_ids(
    langchain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its default: the ids of OpenAI's own vocabulary, which mean other words here."""
    tiktoken = pytest.importorskip("tiktoken")
    bytewise = tiktoken.Encoding(
        "bytewise",
        pat_str=r"\w+|\W",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )
    for name in ("encoding_for_model", "get_encoding"):  # which would be fetched
        monkeypatch.setattr(tiktoken, name, lambda _: bytewise)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain().embed_documents(TEXTS)
