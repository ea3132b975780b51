"""One check of a container: an HTTP GET, a TCP connection or a command, judged and worded as the kubelet does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

from drillbook.sandbox.node.api import Json
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.runtime_client import RuntimeCallError
from drillbook.sandbox.node.spec import ContainerSpec


@dataclass(frozen=True, slots=True)
class Timing:
    """A probe's figures in seconds and counts, with the API's defaults."""

    delay: float
    period: float
    timeout: float
    failures: int
    successes: int

    @classmethod
    def of(cls, probe: Json) -> Timing:
        return cls(
            delay=probe.get("initialDelaySeconds") or 0, period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1, failures=probe.get("failureThreshold") or 3,
            successes=probe.get("successThreshold") or 1,
        )  # fmt: skip


def port_of(container: Json, port: int | str) -> int:
    """A port given by number or by the container port's name; 0 where there is none of that name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    return next((row["containerPort"] for row in container.get("ports") or [] if row.get("name") == port), 0)


async def check(host: Host, handler: Json, container: Json, spec: ContainerSpec, address: str,
                timeout: float) -> tuple[bool, str]:  # fmt: skip
    """Whether the handler (a probe's, or a lifecycle hook's) succeeds within ``timeout`` seconds, and what it said."""
    if "httpGet" in handler:
        action = handler["httpGet"]
        where = action.get("host") or address
        return await _http(action, where, port_of(container, action["port"]), timeout)
    if "tcpSocket" in handler:
        action = handler["tcpSocket"]
        where = action.get("host") or address
        return await _tcp(where, port_of(container, action["port"]), timeout)
    if "exec" in handler:
        return await _exec(host, spec, handler["exec"].get("command") or [], timeout)
    return False, "this kind of probe is not known in the sandbox"


async def _http(action: Json, host: str, port: int, timeout: float) -> tuple[bool, str]:
    scheme, path = (action.get("scheme") or "HTTP").lower(), action.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.33", "Accept": "*/*", "Connection": "close"}
    headers |= {row["name"]: row["value"] for row in action.get("httpHeaders") or []}
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n"
    context = _unverified() if scheme == "https" else None
    writer = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.write(request.encode())
            line = await reader.readline()
        status = int(line.split()[1])
    except TimeoutError:
        what = "awaiting headers" if writer is not None else "dialing"
        return False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while {what})'
    except ConnectionRefusedError:
        return False, f'Get "{url}": dial tcp {host}:{port}: connect: connection refused'
    except (IndexError, ValueError):
        return False, f'Get "{url}": EOF'
    except OSError as error:
        return False, f'Get "{url}": {error.strerror or error}'
    finally:
        if writer is not None:
            writer.close()
    if 200 <= status < 400:
        return True, ""
    return False, f"HTTP probe failed with statuscode: {status}"


async def _tcp(host: str, port: int, timeout: float) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False, f"dial tcp {host}:{port}: i/o timeout"
    except ConnectionRefusedError:
        return False, f"dial tcp {host}:{port}: connect: connection refused"
    except OSError as error:
        return False, f"dial tcp {host}:{port}: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True, ""


async def _exec(host: Host, spec: ContainerSpec, argv: list[str], timeout: float) -> tuple[bool, str]:
    try:
        code, output = await host.run_inside(spec, argv, timeout)
    except TimeoutError:
        return False, f"command timed out: {argv} timed out after {timeout:g}s"
    except RuntimeCallError as error:
        return False, str(error)
    return code == 0, output


def _unverified() -> ssl.SSLContext:
    """Probes do not verify certificates: the kubelet's do not either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
