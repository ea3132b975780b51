"""Bodies in and out: JSON and YAML are read, JSON is written."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from aiohttp import web

from drillbook.sandbox.control import protobuf, statuses
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json

_YAML = ("yaml",)


def content_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read(request: web.Request) -> Any:
    """The decoded body, None where there is none. Raises ApiError 400, 415."""
    data = await request.read()
    if not data:
        return None
    kind = content_type(request)
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(data)
    if kind.endswith("+cbor"):
        raise statuses.unsupported_media(
            f"the body of the request was in an unknown format - accepted media types "
            f"include: application/json, application/yaml (not {kind})"
        )
    try:
        return yaml.safe_load(data) if kind.endswith(_YAML) else msgspec.json.decode(data)
    except (msgspec.DecodeError, yaml.YAMLError) as problem:
        raise statuses.bad_request(f"the body cannot be read: {problem}") from None


async def read_object(request: web.Request, kind: Kind | None = None) -> Json:
    """An object, of this kind where one is named. Raises ApiError 400, 415."""
    body = await read(request)
    if not isinstance(body, dict):
        raise statuses.bad_request("the body is not a Kubernetes object")
    if kind is not None:
        found = (body.get("apiVersion", kind.api_version), body.get("kind", kind.kind))
        if found != (kind.api_version, kind.kind):
            raise statuses.bad_request(
                f"the object is a {found[0]}, Kind={found[1]}, the URL is for {kind.api_version}, Kind={kind.kind}"
            )
    if not isinstance(body.get("metadata", {}), dict):
        raise statuses.bad_request("metadata is not an object")
    return body


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    data = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return web.Response(body=data, status=status, content_type="application/json", headers=headers)
