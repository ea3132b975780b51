"""Finding the base URL of the OpenAI-compatible API: the Service in front of the router, or of the engines."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from drillbook.errors import UnreachableError, UsageError

Json = dict[str, Any]
ASK_SECONDS = 5.0
"""How long ``/v1/models`` may take before an address counts as not reachable from here."""


@dataclass(frozen=True)
class Endpoint:
    """``url`` is without ``/v1``. ``model`` is the first served model, empty where it is not told to us (401, 403)."""

    url: str
    model: str


Fronts = list[tuple[list[Json], int]]
"""Groups of pods, the outermost first, each with its usual port."""


async def find(services: list[Json], fronts: Fronts, namespace: str) -> Endpoint:
    """The first address that answers, trying the Services in front of each group of pods (with its usual port) in turn.

    :raises UnreachableError: no Service, or none of their addresses answers here.
    """
    tried: dict[str, str] = {}
    for pods, port in fronts:
        for url in [url for service in services if _fronts(service, pods) for url in addresses(service, port)]:
            if url not in tried:
                try:
                    return await ask(url)
                except UnreachableError as error:
                    tried[url] = error.message
    what = "; ".join(tried.values()) if tried else f"no Service in {namespace} selects the router or an engine"
    raise UnreachableError(
        f"no endpoint of the deployment is reachable from here: {what}",
        hint="give target.endpoint; outside the cluster for example "
        f"`kubectl -n {namespace} port-forward service/NAME 8000:80` and endpoint: http://127.0.0.1:8000",
    )


def inside(services: list[Json], fronts: Fronts, namespace: str) -> str:
    """The first address within the cluster of a Service in front of the pods.

    :raises UnreachableError: there is none.
    """
    for pods, port in fronts:
        for service in services:
            if _fronts(service, pods) and (found := addresses({**service, "status": {}}, port)):
                return found[0]
    raise UnreachableError(
        f"it is not known where pods reach the deployment: no Service in {namespace} selects the router or an engine",
        hint="give a target.endpoint that pods reach as well",
    )


def is_loopback(url: str) -> bool:
    """Whether the address leads to this machine alone."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def ask(url: str) -> Endpoint:
    """Ask ``/v1/models`` what is served.

    :raises UnreachableError: no answer, or none of an OpenAI-compatible API.
    :raises UsageError: the URL holds a user's name or password, which journals and reports would tell.
    """
    if holds_credentials(url):
        raise UsageError(
            f"the endpoint's URL holds credentials: {without_credentials(url)}",
            hint="leave them out; a URL is written into every journal and report",
        )
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS, sock_connect=2.0)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url.rstrip('/')}/v1/models") as response,
        ):
            if response.status in (401, 403):
                return Endpoint(url.rstrip("/"), "")
            if response.status != 200:
                raise UnreachableError(f"{url}/v1/models answers {response.status}")
            served = (await response.json(content_type=None))["data"]
            return Endpoint(url.rstrip("/"), str(served[0]["id"]) if served else "")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = f"not within {ASK_SECONDS:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise UnreachableError(f"{url} does not answer: {why}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{url}/v1/models is not an OpenAI-compatible list of models") from error


def holds_credentials(url: str) -> bool:
    """Whether a user's name, a password or a query, which may be a key, is part of the address."""
    parts = urlsplit(url)
    return "@" in parts.netloc or bool(parts.query)


def without_credentials(url: str) -> str:
    """The address with ``***`` for each of them."""
    parts = urlsplit(url)
    _, user, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}" if user else host, query="***" if parts.query else ""))


def _fronts(service: Json, pods: list[Json]) -> bool:
    selector = service["spec"].get("selector")
    if not selector:
        return False
    return any(selector.items() <= pod["metadata"].get("labels", {}).items() for pod in pods)


def addresses(service: Json, usual: int) -> list[str]:
    """URLs of a Service, those that work from outside the cluster first."""
    spec = service["spec"]
    ports = [port for port in spec.get("ports", []) if port.get("protocol", "TCP") == "TCP"]
    if not ports:
        return []
    wanted = {usual, "http", "container-port"}
    port = next((each for each in ports if wanted & {each["port"], each.get("targetPort"), each.get("name")}), ports[0])
    scheme = "https" if port["port"] in (443, 8443) else "http"
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    hosts = [entry.get("hostname") or entry.get("ip") for entry in ingress]
    hosts += [spec["clusterIP"]] if spec.get("clusterIP") not in (None, "", "None") else []
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port['port']}" for host in hosts if host]
