"""What an API server says when it refuses: ``metav1.Status`` objects, raised as ``ApiError``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drillbook.sandbox.control.objects import Json


class ApiError(Exception):
    """A refusal with its HTTP code, the machine-readable reason, and the sentence that kubectl prints."""

    def __init__(
        self, code: int, reason: str, message: str, details: Json | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def to_status(self) -> Json:
        status: Json = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip
        if self.details:
            status["details"] = self.details
        return status


def _details(resource: str, name: str, **more: Any) -> Json:
    plural, _, group = resource.partition(".")
    return {**({"name": name} if name else {}), **({"group": group} if group else {}), "kind": plural, **more}


def success(resource: str, name: str, uid: str) -> Json:
    """The answer to a deletion that removed the object at once."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _details(resource, name, uid=uid),
    }


def not_found(resource: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists', _details(resource, name))


def conflict(resource: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def stale(resource: str, name: str) -> ApiError:
    return conflict(
        resource, name, "the object has been modified; please apply your changes to the latest version and try again"
    )


def expired(wanted: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {wanted} ({oldest})")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def forbidden(resource: str, name: str, why: str, causes: Sequence[Json] = ()) -> ApiError:
    head = f'{resource} "{name}" is forbidden' if name else f"{resource} is forbidden"
    more = {"causes": list(causes)} if causes else {}
    return ApiError(403, "Forbidden", f"{head}: {why}", _details(resource, name, **more))


def invalid(kind: str, group: str, name: str, causes: Sequence[tuple[str, str, str]]) -> ApiError:
    """``causes`` are (field, reason, message) with reasons such as ``FieldValueRequired``."""
    texts = [f"{field}: {message}" for field, _, message in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    full = f"{kind}.{group}" if group else kind
    details: Json = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"reason": r, "message": m, "field": f} for f, r, m in causes],
    }
    return ApiError(422, "Invalid", f'{full} "{name}" is invalid: {text}', details)
