"""Running a program in a container: ``pods/exec`` over a WebSocket.

The stream carries channels, one byte in front of each message; channel 3 brings, at the end, a ``Status`` with the exit
code. Version 4 of the protocol cannot end stdin; version 5 can (channel 255 names the channel to close), so it is asked
for exactly when there is something to send: https://github.com/kubernetes/enhancements/issues/4006.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from drillbook.errors import UnsupportedError
from drillbook.targets import paths
from drillbook.targets.answers import ApiError, UnavailableError, error_of, error_of_status
from drillbook.targets.connection import TRANSPORT_ERRORS, Connection, Params

_ASK_SECONDS = 5.0
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255


class NoProgramError(UnsupportedError):
    """The container's image does not have the program."""


@dataclass(frozen=True)
class ExecResult:
    """What a program in a container wrote, and how it ended."""

    stdout: str
    stderr: str
    exit_code: int


async def run(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    argv: tuple[str, ...],
    *,
    stdin: bytes | None,
    timeout: float,
) -> ExecResult:
    """Run ``argv`` and wait for its end. What it does may go on after a time-out.

    :raises ApiError: refused (403), no such pod or container (404, 400).
    :raises UnsupportedError: the container has no such program.
    :raises UnavailableError: no answer within ``timeout`` seconds, or the stream broke off.
    """
    doing = _doing(pod, container)
    outputs = {STDOUT: bytearray(), STDERR: bytearray()}
    try:
        async with (
            asyncio.timeout(timeout),
            opened(connection, namespace, pod, container, argv, stdin=stdin is not None, ends=True) as socket,
        ):
            if stdin is not None:
                await socket.send_bytes(bytes([STDIN]) + stdin)
                await socket.send_bytes(bytes([CLOSE, STDIN]))
            status = await _collect(socket, outputs)
    except TimeoutError as error:
        raise connection.unavailable(doing, error) from error
    code = exit_code(status, doing)
    texts = {channel: bytes(output).decode("utf-8", "replace") for channel, output in outputs.items()}
    return ExecResult(texts[STDOUT], texts[STDERR], code)


@contextlib.asynccontextmanager
async def opened(
    connection: Connection, namespace: str, pod: str, container: str, argv: tuple[str, ...], *, stdin: bool, ends: bool
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The WebSocket of a program that has been started; ``ends``: its stdin will be closed before its end.

    Raises as ``run`` does, but for the time-out.
    """
    doing, place = _doing(pod, container), f"{paths.pod(namespace, pod)}/exec"
    params = [("container", container), ("stdout", "true"), ("stderr", "true")]
    params += [("stdin", "true")] if stdin else []
    params += [("command", part) for part in argv]
    protocol = "v5.channel.k8s.io" if stdin and ends else "v4.channel.k8s.io"
    try:
        url, headers = await connection.sign("GET", place, params, None, "*/*")
        headers |= {"Accept": "*/*", "sec-websocket-protocol": protocol}  # any narrower Accept is answered with 406
        async with await connection.client.request("GET", url, headers=headers, _preload_content=False) as socket:
            yield socket
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 403:
            raise await _forbidden(connection, place, params, doing) from error
        raise _refusal(error, doing) from error
    except TRANSPORT_ERRORS as error:
        raise connection.unavailable(doing, error) from error


def _doing(pod: str, container: str) -> str:
    return f"exec in {pod}/{container}"


async def _collect(socket: aiohttp.ClientWebSocketResponse, outputs: dict[int, bytearray]) -> dict[str, Any] | None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            channel, data = message.data[0], message.data[1:]
            if channel in outputs:
                outputs[channel] += data
            elif channel == ERROR and data:
                status: dict[str, Any] = json.loads(data)
                return status
    return None


def exit_code(status: dict[str, Any] | None, doing: str) -> int:
    """How a program ended, by the ``Status`` that came at its end (None: the stream broke off). Raises as ``run``."""
    if status is None:
        raise UnavailableError(f"{doing}: the stream ended without saying how the program ended")
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        causes = status.get("details", {}).get("causes", [])
        return next((int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"), 1)
    message = str(status.get("message", ""))
    if "executable file not found" in message or "no such file or directory" in message:
        raise NoProgramError(
            f"{doing}: the program is not in the image: {message}",
            hint="this fault needs a POSIX shell (`sh`) in the container; a distroless image has none",
        )
    raise error_of_status({"code": 500, **status}, doing)


async def _forbidden(connection: Connection, path: str, params: Params, doing: str) -> ApiError | UnavailableError:
    """A WebSocket that is refused is not told why: ask again without one, which no server runs anything for.

    It may be a missing permission (``get`` or ``create`` of ``pods/exec``) or a policy of the cluster's.
    """
    why = b""
    limits = aiohttp.ClientTimeout(total=_ASK_SECONDS)
    with contextlib.suppress(UnavailableError, *TRANSPORT_ERRORS):
        async with await connection.send("GET", path, params, None, "application/json", limits) as answer:
            why = await answer.read() if answer.status == 403 else b""
    return error_of(403, why or "the server does not say why", f"{doing}: not allowed to exec into pods")


def _refusal(error: aiohttp.WSServerHandshakeError, doing: str) -> ApiError | UnavailableError:
    said = {
        400: "the container is not running, or there is no container of that name",
        404: "there is no such pod",
    }
    return error_of(error.status, said.get(error.status, error.message), doing)
