"""Looks at a sandbox from outside, with the standard library alone: what drillbook says of itself is not asked.

Processes are read from the machine's ``/proc``, objects with plain HTTP GETs. The decoys are processes that bear an
engine's name and must never feel a thing: they write down every signal that reaches them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ENGINES = "/apis/apps/v1/namespaces/llm/deployments/vllm-tiny-llama-deployment-vllm"
ROUTER = "/apis/apps/v1/namespaces/llm/deployments/vllm-deployment-router"
PODS = "/api/v1/namespaces/llm/pods"
RECORDS = "/api/v1/namespaces/llm/configmaps?labelSelector=drillbook.dev%2Frecord%3Dundo"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/llm/leases/drillbook-target"


class Api:
    """The API server, by plain HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Json | None:
        """The answer, or None for a 404. Raises OSError while nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": content})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise OSError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from error

    def get(self, path: str) -> Json | None:
        return self.call("GET", path)

    def items(self, path: str) -> list[Json]:
        return (self.get(path) or {}).get("items") or []

    def replicas(self, path: str) -> int:
        return int(((self.get(path) or {})["spec"]).get("replicas", 1))

    def scale(self, path: str, replicas: int) -> None:
        self.call("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")

    def renew_router(self) -> None:
        """vllm-router 0.1.17 follows no pods for 60 s once its watch broke off, and sends to those that are gone."""
        for pod in self.items(f"{PODS}?labelSelector=app.kubernetes.io%2Fcomponent%3Drouter"):
            self.call("DELETE", f"{PODS}/{pod['metadata']['name']}?gracePeriodSeconds=0")

    def is_settled(self) -> bool:
        """Whether every Deployment has as many ready pods as it asks for, and no others."""
        for path in (ENGINES, ROUTER):
            deployment = self.get(path) or {}
            status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
            if (status.get("readyReplicas", 0), status.get("replicas", 0)) != (wanted, wanted):
                return False
        pods = self.items(PODS)
        return all("deletionTimestamp" not in pod["metadata"] and _is_ready(pod) for pod in pods)

    def open_records(self) -> list[str]:
        """Undo records in which something is left to do, or that may still be added to."""
        found = []
        for config_map in self.items(RECORDS):
            record = json.loads(config_map["data"]["record.json"])
            left = [each for each in record["entries"] if each["operations"] and each["state"] in ("armed", "failed")]
            if left or not record["closed"]:
                found.append(f"{record['run_id']}: closed={record['closed']}, {len(left)} left")
        return found


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@dataclass(frozen=True)
class Seen:
    """One process, as /proc shows it."""

    pid: int
    start: int
    state: str
    title: str

    @property
    def stopped(self) -> bool:
        return self.state in "Tt"


def look(pid: int) -> Seen | None:
    """The process, if it is there and no zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return None
    return None if fields[0] in "ZX" else Seen(pid, int(fields[19]), fields[0], title)


def pod_processes(state_dir: Path) -> dict[int, Seen]:
    """Every process below the sandbox's node agent: those of its pods."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    mark = os.fsencode(state_dir)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
            if b"drillbook.sandbox.node" in words and mark in words:
                roots.append(int(entry.name))
    found: dict[int, Seen] = {}
    pending = list(roots)
    while pending:
        pid = pending.pop()
        pending += children.get(pid, [])
        seen = look(pid) if pid not in roots else None
        if seen is not None:
            found[pid] = seen
    return found


def engine_processes(state_dir: Path) -> set[tuple[int, int]]:
    """Pid and start time of every engine's own process, one a pod."""
    processes = pod_processes(state_dir).values()
    return {(each.pid, each.start) for each in processes if each.title == "VLLM::EngineCore"}


def tokens(endpoint: str) -> bool:
    """Whether the router gives an answer of one token."""
    body = {"model": "tiny-llama", "prompt": "hello", "max_tokens": 1}
    return bool((Api(endpoint).call("POST", "/v1/completions", body) or {}).get("choices"))


DECOY = """
import os, signal, sys, time
def told(number, _): open(sys.argv[1], "a").write(f"{signal.Signals(number).name}\\n")
for number in (1, 2, 3, 10, 12, 13, 15, 18): signal.signal(number, told)
try:
    import setproctitle; setproctitle.setproctitle("VLLM::EngineCore")
except ImportError: pass
parent = os.getppid()
print("ready", flush=True)
last = time.monotonic()
while os.getppid() == parent:  # an attack that was killed leaves nobody behind
    time.sleep(0.2)
    now = time.monotonic()
    if now - last > 20: open(sys.argv[1], "a").write(f"stood still for {now - last:.1f} s\\n")
    last = now
"""
"""SIGSTOP cannot be caught, but the SIGCONT after it can, and a process that stays stopped is seen in /proc."""


class Decoy:
    """A process of this machine that bears an engine's name."""

    def __init__(self, folder: Path) -> None:
        self._told = folder / "decoy.signals"
        command = [sys.executable, "-c", DECOY, str(self._told)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self._born = look(self._process.pid)

    def harm(self) -> str:
        """What was done to it; empty while it is unharmed."""
        told = self._told.read_text() if self._told.exists() else ""
        now = look(self._process.pid)
        if now is None or self._born is None or now.start != self._born.start:
            return f"it is gone {told}"
        return f"state {now.state} {told}" if told or now.stopped else ""

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def decoy_pod(api: Api, name: str = "decoy") -> None:
    """A pod beside the engines whose one process bears an engine's name."""
    script = "trap 'echo TERM' TERM; exec -a VLLM::EngineCore sleep 1000000"
    container = {"name": "main", "image": "busybox", "command": ["bash", "-c", script]}
    pod = {"metadata": {"name": name, "labels": {"app": "decoy"}}, "spec": {"containers": [container]}}
    api.call("POST", PODS, pod)
    wait(lambda: _is_ready(api.get(f"{PODS}/{name}") or {}), 20, "the decoy pod to be ready")


def decoy_pod_process(state_dir: Path) -> Seen | None:
    """The decoy pod's process: an ``EngineCore`` whose executable is ``sleep``."""
    for each in pod_processes(state_dir).values():
        with contextlib.suppress(OSError):
            if each.title == "VLLM::EngineCore" and Path(f"/proc/{each.pid}/comm").read_text().strip() == "sleep":
                return each
    return None


def wait(condition: Any, seconds: float, what: str, every: float = 0.05) -> float:
    """Seconds until it was so. While nobody answers, it is not."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, KeyError, TypeError):
            if condition():
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(every)
