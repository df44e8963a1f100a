"""The service of bench_serve.py on sentence-transformers, as its users write it.

`/v1/embeddings` by starlette and uvicorn. Without `--batch` each request is encoded in a thread by
itself; with it whatever waits is encoded together, as our service does.

    pip install -e ".[serve,bench]"
    python scripts/service_on_torch.py PATH_OF_MINILM --port 0 [--batch]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["application"]

# Texts that are encoded together, sentence-transformers' own number.
BATCH = 32


def application(model: Any, *, batch: bool) -> Any:
    """Return the ASGI application of a model."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    waiting = asyncio.Queue[tuple[list[str], asyncio.Future[Any]]]()

    def encode(texts: list[str]) -> Any:
        return model.encode(texts, batch_size=BATCH, show_progress_bar=False)

    async def work() -> None:
        """Encode together what waits, up to BATCH texts of whole requests."""
        while True:
            taken = [await waiting.get()]
            while not waiting.empty() and sum(len(texts) for texts, _ in taken) < BATCH:
                taken.append(waiting.get_nowait())
            vectors = await run_in_threadpool(encode, [text for one, _ in taken for text in one])
            for texts, future in taken:
                part, vectors = vectors[: len(texts)], vectors[len(texts) :]
                if not future.done():
                    future.set_result(part)

    async def embeddings(request: Any) -> Any:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else given
        if batch:
            future = asyncio.get_running_loop().create_future()
            waiting.put_nowait((texts, future))
            vectors = await future
        else:
            vectors = await run_in_threadpool(encode, texts)
        rows = [
            {"object": "embedding", "index": i, "embedding": base64.b64encode(v.tobytes()).decode()}
            for i, v in enumerate(vectors)
        ]
        return JSONResponse({"object": "list", "data": rows})

    @asynccontextmanager
    async def lifespan(_: Any) -> Any:
        worker = asyncio.create_task(work())
        yield
        worker.cancel()

    routes = [Route("/v1/embeddings", embeddings, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", metavar="PATH_OF_MINILM")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--batch", action="store_true", help="encode together what waits")
    options = parser.parse_args()
    import torch
    import uvicorn
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(options.checkpoint, device="cpu")
    model.encode(["warm"], show_progress_bar=False)
    app = application(model, batch=options.batch)
    # At this level uvicorn writes its address.
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="info", access_log=False)


if __name__ == "__main__":
    main()
