"""What an API server can answer instead of an object, as errors of drillbook's own tree.

The Kubernetes API explains a refusal in a ``Status`` object (``message``, ``reason``, ``code``); these errors carry all
three, so that callers can tell a conflict from a missing object and people read the server's own words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from drillbook.errors import RefusedError, UnreachableError


@dataclass(eq=False)
class ApiError(RefusedError):
    """The API server understood and said no. ``code`` is the HTTP status, ``reason`` the Status object's."""

    code: int = 0
    reason: str = ""


class NotFoundError(ApiError):
    """404: there is no such object (any more), or no such kind."""


class ConflictError(ApiError):
    """409: a precondition (resourceVersion, uid) does not hold, or the object exists already."""


class GoneError(ApiError):
    """410: the resourceVersion asked for is too old; list again."""


class ForbiddenError(ApiError):
    """401 or 403: the credentials do not allow this."""


class InvalidError(ApiError):
    """422: the object or patch is not valid; also a JSON Patch whose ``test`` failed."""


class DisruptionError(ApiError):
    """429 on an eviction: a PodDisruptionBudget does not allow it now."""


@dataclass(eq=False)
class UnavailableError(UnreachableError):
    """The API server does not answer, or answers 429 or 5xx: the same request may succeed later.

    A request that failed so may have been carried out all the same, or may yet be.
    """

    code: int = 0


_BY_CODE: dict[int, type[ApiError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
}


def error_of(code: int, body: bytes | str, doing: str) -> ApiError | UnavailableError:
    """The error for one unsuccessful answer. ``doing`` is the request in words (``DELETE /api/v1/…``)."""
    message, reason = _explanation(body)
    text = f"{doing}: {message or 'no reason given'} ({code})"
    if code == 429 or code >= 500:
        return UnavailableError(text, hint="the API server is overloaded or starting; try again", code=code)
    hint = {
        401: "the credentials have expired or are wrong; log in to the cluster again",
        403: "ask for this permission, or use another context; `drillbook doctor` lists what is needed",
    }.get(code, "")
    return _BY_CODE.get(code, ApiError)(text, hint=hint, code=code, reason=reason)


def error_of_status(status: dict[str, Any], doing: str) -> ApiError | UnavailableError:
    """The error for a ``Status`` object that came inside a stream."""
    return error_of(int(status.get("code") or 500), json.dumps(status), doing)


def _explanation(body: bytes | str) -> tuple[str, str]:
    try:
        status = json.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        return text.strip()[:300], ""
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("message") or ""), str(status.get("reason") or "")
