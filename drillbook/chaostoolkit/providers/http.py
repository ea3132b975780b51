"""HTTP activities: ``{status, headers, body}``. The body is JSON where the server says exactly that, else text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables

SECONDS = 60.0
"""How long a request may take whose activity does not say."""
_MAX_BODY = 16 * 1024 * 1024


async def run(provider: dict[str, Any], variables: Variables) -> dict[str, Any]:
    """Send the request.

    Raises:
        ActivityError: nobody answered.

    """
    import aiohttp

    filled = variables.fill(provider)
    url, retries = str(filled["url"]), int(filled.get("max_retries") or 0)
    try:
        for attempt in range(retries + 1):
            try:
                return await _send(filled, url)
            except aiohttp.ClientConnectorError:
                if attempt == retries:
                    raise
        raise AssertionError("unreachable")  # the loop runs at least once, and its last attempt returns or raises
    except TimeoutError as error:
        raise ActivityError(f"no answer from {url} in time", unanswered=True) from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise ActivityError(f"{url} cannot be asked: {error or type(error).__name__}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ActivityError(f"{url} does not answer: {error or type(error).__name__}", unanswered=True) from error


async def _send(provider: dict[str, Any], url: str) -> dict[str, Any]:
    import aiohttp

    method = str(provider.get("method", "GET")).upper()
    headers = {str(key): str(value) for key, value in (provider.get("headers") or {}).items()}
    arguments = provider.get("arguments")
    sent: dict[str, Any] = {}
    if arguments:
        if method == "GET":
            sent["params"] = _pairs(arguments)
        elif headers.get("Content-Type") == "application/json":
            sent["json"] = arguments
        else:
            sent["data"] = dict(_pairs(arguments)) if isinstance(arguments, dict) else str(arguments)
    if not provider.get("verify_tls", True):
        sent["ssl"] = False
    async with (
        aiohttp.ClientSession(timeout=_timeout(provider.get("timeout")), trust_env=True) as session,
        session.request(method, url, headers=headers, **sent) as answer,
    ):
        raw = await answer.content.read(_MAX_BODY)
        body: Any = raw.decode(answer.get_encoding() if raw else "utf-8", "replace")
        if answer.headers.get("Content-Type") == "application/json":
            try:
                body = json.loads(body)
            except ValueError:
                # A server that says JSON and sends something else is kept as it is: a tolerance may ask for it.
                await asyncio.sleep(0)
        return {"status": answer.status, "headers": dict(answer.headers), "body": body}


def _pairs(arguments: Any) -> list[tuple[str, str]]:
    if not isinstance(arguments, dict):
        return [(str(arguments), "")]
    return [
        (str(key), str(value))
        for key, item in arguments.items()
        for value in (item if isinstance(item, list) else [item])
        if value is not None
    ]


def _timeout(said: Any) -> Any:
    import aiohttp

    if isinstance(said, list | tuple) and len(said) == 2:
        return aiohttp.ClientTimeout(total=None, sock_connect=float(said[0]), sock_read=float(said[1]))
    return aiohttp.ClientTimeout(total=float(said) if said is not None else SECONDS)
