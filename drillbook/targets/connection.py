"""Credentials and transport: the official client's ``kubernetes.aio`` signs, encrypts and proxies; nothing is typed.

Only this module and ``podexec`` touch the client, and it is imported when a connection is made (0.7 s). Paths and plain
JSON go in and come out: 10,000 pods as the client's typed objects took 5.5 s and 674 MB, as JSON 0.6 s and 148 MB
(measured).
"""

from __future__ import annotations

import asyncio
import binascii
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from drillbook.errors import UnreachableError
from drillbook.targets import endpoint
from drillbook.targets.answers import ForbiddenError, UnavailableError

IN_CLUSTER = "in-cluster"
"""The context of who runs in a pod: the cluster that the pod is in, as its own account."""
CONNECT_SECONDS = 3.0
"""How long the API server may take to accept a connection."""


@dataclass(frozen=True)
class Connection:
    """One API server, reached with one set of credentials. ``close`` when done."""

    client: Any
    """A ``kubernetes.aio.stream.WsApiClient``: the plain client that can also open WebSockets."""
    server: str
    context: str
    namespace: str
    """The context's own namespace; ``default`` where it names none."""

    async def close(self) -> None:
        await self.client.close()

    async def sign(self, method: str, path: str, params: Params, body: Any, content: str) -> tuple[str, dict[str, str]]:
        """The URL and headers of one request, with whatever the credentials add (tokens are refreshed here)."""
        target = f"{path}?{urlencode(params)}" if params else path
        headers = {"Accept": "application/json", "Content-Type": content}
        _, url, headers, _, _ = await self.client.param_serialize(
            method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        return str(url), headers

    async def send(
        self, method: str, path: str, params: Params, body: Any, content: str, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send one request; the caller reads and releases the response.

        :raises UnavailableError: nobody answers.
        :raises ForbiddenError: no header can hold the credentials.
        """
        try:
            url, headers = await self.sign(method, path, params, body, content)
            answer = await self.client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except TRANSPORT_ERRORS as error:
            raise self.unavailable(f"{method} {path}", error) from error
        except ValueError:  # what it says of a header could quote it
            told = f"{method} {path}: the credentials cannot be sent: they hold what no header can"
            raise ForbiddenError(told, hint="log in to the cluster again", code=401) from None
        response: aiohttp.ClientResponse = answer.response
        return response

    def unavailable(self, doing: str, error: BaseException) -> UnavailableError:
        """Our error for one of ``TRANSPORT_ERRORS``."""
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return UnavailableError(
            f"{doing}: the API server {self.server} does not answer: {why}",
            hint="is it running? `kubectl get --raw /readyz` asks it; for the sandbox: drillbook sandbox status",
        )


Params = list[tuple[str, str]]
TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError)


async def connect(kubeconfig: Path | None, context: str | None) -> Connection:
    """Find credentials as kubectl does: the file given, ``$KUBECONFIG``, ``~/.kube/config``; inside a pod its own.

    :raises UnreachableError: there are none, or they cannot be used.
    """
    from kubernetes.aio import client, config
    from kubernetes.aio.config.config_exception import ConfigException
    from kubernetes.aio.stream import WsApiClient
    from yaml import YAMLError

    settings = client.Configuration()
    settings.client_side_validation = False
    context = None if context == IN_CLUSTER else context
    named = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG", "")
    place = named or _usual_place()
    found, namespace = context or "", "default"
    try:
        if not named and not await asyncio.to_thread(os.path.exists, place) and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=settings)
            found, namespace = IN_CLUSTER, await asyncio.to_thread(_own_namespace)
        else:
            await config.load_kube_config(place, context, settings, persist_config=False)
            contexts, active = config.list_kube_config_contexts(place)
            chosen = next((each for each in contexts if each["name"] == context), active)
            found, namespace = chosen["name"], chosen["context"].get("namespace", "default")
        if endpoint.holds_credentials(settings.host):
            shown = endpoint.without_credentials(settings.host)
            raise ConfigException(f"the server's address is written into records, and holds credentials: {shown}")
        if endpoint.is_loopback(settings.host):
            settings.client_session_kwargs = {"trust_env": False}  # a proxy of the environment is not for this machine
        opened = WsApiClient(settings)
    except (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = f" (context {context})" if context else ""
        raise UnreachableError(
            f"cannot use the kubeconfig {place}{wanted}: {_why(error)}",
            hint="give --kubeconfig and --context (`kubectl config get-contexts` lists them), or use --sandbox",
        ) from None  # a traceback would quote it too
    return Connection(client=opened, server=settings.host, context=found, namespace=namespace)


def _why(error: Exception) -> str:
    """Never in words that quote the file: what it holds are secrets. A password like ``*x`` is an alias to YAML."""
    from yaml import MarkedYAMLError, YAMLError

    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"it is no YAML at line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    if isinstance(error, YAMLError):
        return "it is no YAML"
    if isinstance(error, ssl.SSLError):
        return "its certificate or key is none in PEM"
    if isinstance(error, binascii.Error):
        return "its certificate or key is not base64"
    if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
        return "it has not the form of a kubeconfig"
    return str(error)


def _usual_place() -> str:
    return str(Path("~/.kube/config").expanduser())


def _own_namespace() -> str:
    return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8").strip()
