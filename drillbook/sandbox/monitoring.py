"""Prometheus in a sandbox: the real one, where its binary is, brought up when an experiment first asks for it.

``up`` does not wait for it: most drills read nothing off it, and a first token within seconds is worth more.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from urllib.parse import quote

import yaml

from drillbook import clock
from drillbook.errors import PreflightError, UnreachableError
from drillbook.sandbox import config as sandbox_config
from drillbook.sandbox.kube import Json, Kube, fetch
from drillbook.sandbox.lifecycle import Sandbox

BINARY = "prometheus"
NAME = "prometheus"
SCRAPED = 'count(vllm:num_requests_running) >= (count(up{component="serving-engine"}) or vector(1))'
"""Gives something once every engine was scraped."""
_START_LIMIT = 60.0
"""Seconds until it is ready and has scraped every engine; about three on an idle machine."""


def unavailable(sandbox: Sandbox) -> str:
    """Why this machine cannot run it; empty where it can."""
    if shutil.which(BINARY) is None:
        return "this machine has no prometheus binary (Debian: apt-get install prometheus)"
    if not sandbox_config.load(sandbox.state_dir).bridged:
        return "without root on Linux a sandbox mounts no configuration into its pods"
    return ""


async def ensure(
    sandbox: Sandbox,
    rules: Mapping[str, str] = MappingProxyType({}),
    on_progress: Callable[[str], None] = lambda _line: None,
) -> str | None:
    """Start Prometheus in the sandbox unless it runs there already, and wait until it has scraped every engine.

    :param rules: files of alert rules by name, as Prometheus reads them.
    :returns: its base URL; None where it is ``unavailable``.
    :raises PreflightError: it did not come up.
    :raises UnreachableError: the control plane does not answer.
    """
    if unavailable(sandbox):
        return None
    kube = Kube(sandbox.api_url)
    url = await _url(kube, sandbox.namespace)
    if url is None:
        on_progress("starting Prometheus in the sandbox")
        for obj in objects(rules):
            await kube.create(obj)
    deadline = clock.monotonic() + _START_LIMIT
    lacking = "its Service has no address"
    while clock.monotonic() < deadline:
        url = url or await _url(kube, sandbox.namespace)
        if url is not None:
            lacking = await asyncio.to_thread(_lacking, url)
            if not lacking:
                return url
        await asyncio.sleep(0.1)
    raise PreflightError(
        f"Prometheus did not come up in sandbox {sandbox.name}: {lacking}",
        hint=f"kubectl --kubeconfig {sandbox.kubeconfig} logs deployment/{NAME}",
    )


def objects(rules: Mapping[str, str]) -> list[Json]:
    """The manifests as objects, with the rules."""
    text = (files("drillbook.sandbox") / "manifests" / "prometheus.yaml").read_text(encoding="utf-8")
    found: list[Json] = [json.loads(json.dumps(obj)) for obj in yaml.safe_load_all(text)]  # no anchors shared
    for obj in found:
        if obj["metadata"]["name"] == "prometheus-rules":
            obj["data"] = dict(rules)
    return found


async def _url(kube: Kube, namespace: str) -> str | None:
    for service in await kube.items(f"/api/v1/namespaces/{namespace}/services"):
        if service["metadata"]["name"] == NAME and service["spec"].get("clusterIP"):
            return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    return None


def _lacking(url: str) -> str:
    """What is missing before the first query can be answered; empty when nothing is."""
    try:
        status, _ = fetch(f"{url}/-/ready", timeout=2.0)
        if status != 200:
            return f"{url}/-/ready answers {status}"
        # targets that give no metrics (a stack may have some) are waited for by nobody, once engines do
        status, content = fetch(f"{url}/api/v1/query?query={quote(SCRAPED)}", timeout=2.0)
    except UnreachableError as error:
        return error.message
    if status == 200 and json.loads(content)["data"]["result"]:
        return ""
    return "it has not scraped the engines yet"
