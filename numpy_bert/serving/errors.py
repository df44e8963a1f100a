"""What a service refuses, and how each API says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["RefusalError", "openai_body", "tei_body"]

# OpenAI's names of errors, by status, and those of text-embeddings-inference, which has no others.
_OPENAI_TYPES = {
    401: "invalid_request_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
_TEI_TYPES = {
    422: "Tokenizer",
    424: "Backend",
    429: "Overloaded",
    500: "Backend",
    503: "Unhealthy",
}


@dataclass(slots=True, eq=False)
class RefusalError(Exception):
    """A request that is not answered with what it asks for.

    Attributes
    ----------
    status : int
        HTTP's status.
    message : str
        What must hold, what came, and what to do.
    param : str or None
        The member of the request that is wrong.
    code : str or None
        OpenAI's name for what is wrong.
    reason : str
        How it is counted.
    retry_after : int or None
        In how many seconds to try again.
    tei_status : int or None
        The status that text-embeddings-inference has for it, where that is another one.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    reason: str = "invalid"
    retry_after: int | None = None
    tei_status: int | None = None
    tei_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Exception.__init__(self, self.message)
        if self.retry_after is not None:
            self.headers = {**self.headers, "Retry-After": str(self.retry_after)}


def openai_body(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of a refusal, as OpenAI has them.

    Examples
    --------
    >>> status, body = openai_body(RefusalError(429, "Come again.", retry_after=1))
    >>> status, body["error"]["type"], body["error"]["param"]
    (429, 'rate_limit_error', None)
    """
    error = {
        "message": refusal.message,
        "type": _OPENAI_TYPES.get(refusal.status, "invalid_request_error"),
        "param": refusal.param,
        "code": refusal.code,
    }
    return refusal.status, {"error": error}


def tei_body(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of a refusal, as text-embeddings-inference has them.

    Examples
    --------
    >>> tei_body(RefusalError(400, "too long", tei_status=413))
    (413, {'error': 'too long', 'error_type': 'Validation'})
    """
    status = refusal.tei_status or refusal.status
    kind = refusal.tei_type or _TEI_TYPES.get(status, "Validation")
    return status, {"error": refusal.message, "error_type": kind}
