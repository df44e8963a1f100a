"""What a service counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from numpy_bert.extras import optional

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        client = optional("prometheus_client", "serve", "A service")
        self._client = client
        self._registry = registry = client.CollectorRegistry()
        client.ProcessCollector(registry=registry)

        def counter(name: str, what: str, *labels: str) -> Any:
            return client.Counter(f"numpy_bert_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...]) -> Any:
            return client.Histogram(f"numpy_bert_{name}", what, buckets=buckets, registry=registry)

        def gauge(name: str, what: str) -> Any:
            return client.Gauge(f"numpy_bert_{name}", what, registry=registry)

        self.requests = counter("requests", "Requests that were answered.", "path", "status")
        self.rejected = counter("rejected", "Requests that were refused.", "reason")
        self.left = counter("left", "Requests whose client left before the answer.")
        self.texts = counter("texts", "Texts, or pairs, that were computed.")
        self.tokens = counter("tokens", "Tokens that were computed.")
        self.cut = counter("cut_texts", "Texts that were cut to what the model reads.")
        self.queue_tokens = gauge("queue_tokens", "Tokens that wait or are computed.")
        self.queue_requests = gauge("queue_requests", "Requests that wait or are computed.")
        self.held_bytes = gauge("held_bytes", "Bytes of bodies and answers that are held.")
        self.batch_tokens = histogram("batch_tokens", "Tokens of a batch.", _TOKENS)
        self.batch_requests = histogram("batch_requests", "Requests in a batch.", _REQUESTS)
        self.queue_seconds = histogram("queue_seconds", "What a request waits.", _SECONDS)
        self.compute_seconds = histogram("compute_seconds", "What a batch takes.", _SECONDS)
        self.request_seconds = histogram(
            "request_seconds", "What a request takes, from its head to the answer.", _SECONDS
        )

    def batch(self, jobs: int, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_requests.observe(jobs)
        self.batch_tokens.observe(tokens)
        self.compute_seconds.observe(seconds)
        self.texts.inc(texts)
        self.tokens.inc(tokens)

    def begun(self, waited: float) -> None:
        """Count how long a request has waited."""
        self.queue_seconds.observe(waited)

    def written(self) -> tuple[str, bytes]:
        """Return all of it as Prometheus reads it, behind its content type."""
        text: bytes = self._client.generate_latest(self._registry)
        return self._client.CONTENT_TYPE_LATEST, text
