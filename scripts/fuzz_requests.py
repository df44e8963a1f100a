"""The target of fuzz.py for the service: requests of each endpoint with wrong and odd bodies.

They go through the ASGI application in this process. What is taken must be answered by the vectors
or scores that the model itself gives for the texts that Python's own json reads in the body; what
is refused, by a status of the client's fault in the shape of that endpoint's errors.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from fuzz_json import PIECES, edited
from fuzz_target import Difference, Target
from json_edits import ODD, changed

from numpy_bert import BertModel, CrossEncoder, SentenceEncoder
from numpy_bert.loading.cache import demo_folder

__all__ = ["TARGETS"]

Floats = npt.NDArray[np.float32]
FEATURES = 384
# What a batch with others may change, as the service promises.
NEAR = 1e-6
LONGEST_MESSAGE = 1000
REFUSALS = {400, 404, 405, 408, 413, 415, 422, 424, 429}
TEXTS = (
    *(
        "a test",
        "A test.",
        "The sun is shining, and the birds sing.",
        "x",
        " ",
        "\u00e9",
        "e\u0301",
    ),
    *("\u4f60\u597d", "\U0001f389\u200d\U0001f389", "\x00", "\r\n", "[CLS] [MASK]", "#" * 300),
    *("word " * 600, "a" * 3000, "\u202e right to left", "\ufffd", "null", "NaN", '"', "\\"),
)
_SOME = ["a test", "The sun is shining.", "a test"]
GOOD: dict[str, tuple[dict[str, Any], ...]] = {
    "/v1/embeddings": (
        {"input": "a test", "model": "demo"},
        {"input": _SOME, "model": "demo", "encoding_format": "float", "user": "somebody"},
        {"input": _SOME, "model": "demo", "encoding_format": "base64", "dimensions": 7},
    ),
    "/embed": (
        {"inputs": "a test"},
        {"inputs": _SOME, "normalize": False, "truncate": False},
        {"inputs": _SOME, "normalize": True, "truncate": True, "dimensions": 7},
        {"inputs": "a test", "prompt_name": "query"},
    ),
    "/rerank": (
        {"query": "a test", "texts": _SOME},
        {"query": "a test", "texts": _SOME, "raw_scores": True, "return_text": True},
    ),
    "/v1/rerank": (
        {"model": "ranker", "query": "a test", "documents": _SOME},
        {"model": "ranker", "query": "a", "documents": [{"text": "b"}, "c"], "top_n": 1},
        {"model": "ranker", "query": "a", "documents": _SOME, "return_documents": True},
    ),
}
NAMES = (
    *("input", "inputs", "model", "dimensions", "encoding_format", "user", "truncate", "texts"),
    *("normalize", "prompt_name", "query", "documents", "top_n", "raw_scores", "x", ""),
)
ODD_VALUES = (*ODD, *TEXTS, list(TEXTS[:9]), "float", "base64", 384, 385, "demo", ["a"] * 3000)


class State(NamedTuple):
    """What all attempts share."""

    runner: asyncio.Runner
    clients: dict[str, Any]
    encoder: SentenceEncoder
    ranker: CrossEncoder


def prepare(folder: Path) -> State:
    """Make an application of an encoder and one of a ranker, for as long as the process lives."""
    import httpx

    from numpy_bert.serving import create_app
    from numpy_bert.training import new_classifier

    bert = BertModel.from_pretrained("demo")
    new_classifier(bert, ["score"], demo_folder()).save_pretrained(folder / "ranker")
    encoder, ranker = SentenceEncoder("demo"), CrossEncoder(folder / "ranker")
    runner = asyncio.Runner()

    async def begin(app: Any) -> Any:
        await app.router.lifespan_context(app).__aenter__()
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60
        )

    apps = {"demo": create_app(encoder, name="demo"), "ranker": create_app(ranker, name="ranker")}
    clients = {name: runner.run(begin(app)) for name, app in apps.items()}
    return State(runner, clients, encoder, ranker)


def attempt(state: State, rng: random.Random) -> bool:
    """Send one request and judge its answer."""
    path = rng.choice(list(GOOD))
    body = _body(path, rng)
    which = "ranker" if "rerank" in path else "demo"
    if rng.random() < 0.05:  # the other kind of model
        which = "demo" if which == "ranker" else "ranker"
    answer = state.runner.run(_asked(state.clients[which], path, body, rng))
    if answer.status_code != 200:
        _check_refusal(path, answer)
        return False
    try:
        given, said = json.loads(body), answer.json()
    except ValueError as failure:
        raise Difference(f"{path}: {body[:200]!r} was taken: {failure}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that are cut
        CHECKS[path](state, given, said)
    return True


async def _asked(client: Any, path: str, body: bytes, rng: random.Random) -> Any:
    """Send the body, in one piece or several."""
    cut = rng.randint(0, len(body))

    async def pieces() -> Any:
        yield body[:cut]
        yield body[cut:]

    kind = rng.choice(("application/json", "application/json; charset=utf-8", "text/plain"))
    content = pieces() if rng.random() < 0.2 else body
    return await client.post(path, content=content, headers={"Content-Type": kind})


def _body(path: str, rng: random.Random) -> bytes:
    """Return a good body with other texts, or with changes in its JSON or in its bytes."""
    good = json.loads(json.dumps(rng.choice(GOOD[path])))
    for key in ("input", "inputs", "texts", "documents"):
        if key in good and rng.random() < 0.5:
            many = rng.choices(TEXTS, k=rng.choice((1, 1, 2, 3, 9)))
            good[key] = many if isinstance(good[key], list) else many[0]
    kind = rng.random()
    if kind < 0.3:
        return json.dumps(good, ensure_ascii=rng.random() < 0.5).encode()
    if kind < 0.85:
        return changed(json.dumps(good), rng, ODD_VALUES, NAMES)
    return edited(json.dumps(good).encode(), rng, PIECES)


def _check_refusal(path: str, answer: Any) -> None:
    """Raise Difference unless a refusal has the shape of the endpoint's errors and can be read."""
    if answer.status_code not in REFUSALS:
        raise Difference(f"{path}: {answer.status_code}: {answer.text[:300]!r}")
    said, shape = answer.json(), dict[str, Any]()
    if path.startswith("/v1/"):
        shape = {"message": str, "type": str, "param": (str, type(None)), "code": (str, type(None))}
        said = said["error"]
        message = said["message"]
    else:
        shape = {"error": str, "error_type": str}
        message = said["error"]
    if set(said) != set(shape) or not all(isinstance(said[key], shape[key]) for key in shape):
        raise Difference(f"{path}: the error has another shape: {said!r}")
    if len(message) > LONGEST_MESSAGE or not message.isprintable():
        raise Difference(f"{path}: the error is not to be read: {message[:300]!r}")


def _texts(path: str, value: Any) -> list[str]:
    """Return the texts that a member must be for an answer."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Difference(f"{path}: {str(value)[:200]!r} was taken for texts")
    if not texts or (path in ("/v1/embeddings", "/embed") and "" in texts):
        raise Difference(f"{path}: no text, or an empty one, was taken")
    return texts


def _whole(path: str, name: str, value: Any, default: int) -> int:
    """Return a whole number of at least 1."""
    if value is None:
        return default
    if type(value) is not int or value < 1:
        raise Difference(f"{path}: {name} {str(value)[:50]!r} was taken for a whole number")
    return value


def _switch(path: str, given: dict[str, Any], name: str, *, default: bool) -> bool:
    """Return what a switch says."""
    value = given.get(name)
    if value is not None and type(value) is not bool:
        raise Difference(f"{path}: {name} {str(value)[:50]!r} was taken for true or false")
    return default if value is None else value


def _check_near(path: str, found: Any, expected: Floats) -> None:
    """Raise Difference unless the numbers are those of the model."""
    found = np.asarray(found, np.float64)
    if found.shape != expected.shape:
        raise Difference(f"{path}: shape {found.shape} in place of {expected.shape}")
    worst = float(np.abs(found - expected).max(initial=0.0))
    if not worst <= NEAR:
        raise Difference(f"{path}: the numbers are {worst:.1e} from the model's")


def _check_openai(state: State, given: Any, said: Any) -> None:
    path = "/v1/embeddings"
    texts = _texts(path, given["input"])
    size = _whole(path, "dimensions", given.get("dimensions"), FEATURES)
    form = given.get("encoding_format")
    rows = [one["embedding"] for one in said["data"]]
    if form == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    elif form not in ("float", None):
        raise Difference(f"{path}: encoding_format {str(form)[:50]!r} was taken")
    expected = state.encoder.encode(
        texts, truncate_dim=size, normalize_embeddings=given.get("dimensions") is not None
    )
    _check_near(path, rows, expected)
    _check_uncut(path, state.encoder, texts, given)
    tokens = sum(map(len, state.encoder.tokenizer(texts)["input_ids"]))
    if said["usage"] != {"prompt_tokens": tokens, "total_tokens": tokens}:
        raise Difference(f"{path}: {said['usage']} for {tokens} tokens")


def _check_embed(state: State, given: Any, said: Any) -> None:
    path = "/embed"
    texts = _texts(path, given["inputs"])
    size = _whole(path, "dimensions", given.get("dimensions"), FEATURES)
    expected = state.encoder.encode(
        texts,
        prompt_name=given.get("prompt_name"),
        truncate_dim=size,
        normalize_embeddings=_switch(path, given, "normalize", default=True),
    )
    _check_uncut(path, state.encoder, texts, given)
    _check_near(path, said, expected)


def _check_uncut(path: str, model: Any, texts: list[Any], given: Any) -> None:
    """Raise Difference if a text, or a pair, was cut that nobody let the service cut."""
    longest = max(map(len, model.tokenizer(texts, truncation=False)["input_ids"]))
    is_cut = longest > model.max_seq_length
    if is_cut and not _switch(path, given, "truncate", default=False):
        raise Difference(f"{path}: a text of {longest} tokens was cut")


def _check_rerank(state: State, given: Any, said: Any) -> None:
    path = "/rerank"
    texts = _texts(path, given["texts"])
    raw = _switch(path, given, "raw_scores", default=False)
    _check_ranks(path, state, given, texts, said, "score", raw=raw)
    if _switch(path, given, "return_text", default=False) and any(
        one["text"] != texts[one["index"]] for one in said
    ):
        raise Difference(f"{path}: another text was returned")


def _check_jina(state: State, given: Any, said: Any) -> None:
    path = "/v1/rerank"
    if not isinstance(given["documents"], list):
        raise Difference(f"{path}: {str(given['documents'])[:200]!r} was taken for documents")
    texts = _texts(
        path, [one["text"] if isinstance(one, dict) else one for one in given["documents"]]
    )
    most = _whole(path, "top_n", given.get("top_n"), len(texts))
    _check_ranks(path, state, given, texts, said["results"], "relevance_score", most=most)


def _check_ranks(
    path: str,
    state: State,
    given: Any,
    texts: list[str],
    ranks: list[Any],
    key: str,
    *,
    raw: bool = False,
    most: int | None = None,
) -> None:
    """Raise Difference unless the scores are the model's, and the best come first."""
    query = given["query"]
    if not isinstance(query, str):
        raise Difference(f"{path}: {str(query)[:200]!r} was taken for a query")
    pairs = [(query, text) for text in texts]
    name = "Identity" if raw else "Sigmoid"
    _check_uncut(path, state.ranker, pairs, given)
    scores = np.asarray(state.ranker.predict(pairs, activation_fn=name)).reshape(-1)
    count = len(texts) if most is None else min(most, len(texts))
    found = [one[key] for one in ranks]
    if len({one["index"] for one in ranks}) != count or len(ranks) != count:
        raise Difference(f"{path}: {len(ranks)} of {count} ranks")
    if found != sorted(found, reverse=True):
        raise Difference(f"{path}: not in order: {found}")
    _check_near(path, found, scores[[one["index"] for one in ranks]])
    if count and found[0] < scores.max() - NEAR:
        raise Difference(f"{path}: the best is not there")


CHECKS: dict[str, Callable[[State, Any, Any], None]] = {
    "/v1/embeddings": _check_openai,
    "/embed": _check_embed,
    "/rerank": _check_rerank,
    "/v1/rerank": _check_jina,
}
TARGETS = [
    Target(
        "requests", "the model itself, on what json reads", prepare, attempt, "starlette", cost=10
    )
]
