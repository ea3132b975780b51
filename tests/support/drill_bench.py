"""A bench for whole drills: one sandbox, the command line as its users start it, and eyes that are not drillbook's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from drillbook.experiments.drill import drill
from drillbook.experiments.load import load
from drillbook.sandbox.lifecycle import Sandbox
from drillbook.targets.target import open_target

DRILLBOOK = (sys.executable, "-m", "drillbook")
ENGINES = "/api/v1/namespaces/llm/pods?labelSelector=app.kubernetes.io/component%3Dserving-engine"
ROUTERS = "/api/v1/namespaces/llm/pods?labelSelector=app.kubernetes.io/component%3Drouter"
PERMISSIONS = "/api/v1/namespaces/kube-system/configmaps"
HANG = {"fault": "process-hang", "process": "VLLM::EngineCore"}
LOAD = {
    "rate": "10/s",
    "arrivals": "constant",
    "output-tokens": 16,
    "stall-timeout": "1500ms",
    "timeout": "20s",
    "max-lag": "1s",
}


class Running:
    """A ``drillbook run`` that was started, and its journal as it grows."""

    def __init__(self, process: subprocess.Popen[str], runs: Path) -> None:
        self.process, self.runs = process, runs

    @property
    def folder(self) -> Path:
        return next(path for path in self.runs.glob("*/2*") if path.is_dir())

    def events(self, kind: str) -> list[dict[str, Any]]:
        try:
            rows = (self.folder / "journal.jsonl").read_bytes().splitlines()
        except (OSError, StopIteration):
            return []
        found = []
        for row in rows:
            try:
                found.append(json.loads(row)["event"])
            except ValueError:
                continue  # the last line is being written
        return [event for event in found if event["type"] == kind]

    def reaches(self, phase: str, seconds: float = 60) -> None:
        self.until(lambda: any(event["phase"] == phase for event in self.events("phase-started")), seconds)

    def fault_is(self, state: str, seconds: float = 60) -> None:
        self.until(lambda: any(event["state"] == state for event in self.events("fault-changed")), seconds)

    def until(self, so: Callable[[], Any], seconds: float) -> None:
        def over() -> bool:
            assert self.process.poll() is None, f"it ended early: {self.process.communicate()[1]}"
            return bool(so())

        until(over, seconds)

    def end(self, seconds: float = 120) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Bench:
    """One sandbox, and a folder for what a test writes."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder, self.runs = sandbox, folder, folder / "runs"
        self._started: list[Running] = []

    def experiment(self, *steps: dict[str, Any], **changes: Any) -> Path:
        """An experiment file; keyword arguments are its keys, ``_`` for ``-``."""
        written = {
            "title": "A drill of the tests",
            "target": {"stack": "production-stack", "namespace": "llm"},
            "load": LOAD,
            "warm-up": "0s",
            "baseline": "3s",
            "steady-state": ["goodput >= 80%"],
            "method": list(steps),
            "expect": ["goodput >= 20%"],
            "observe": "20s",
            "settle": "500ms",
        } | {key.replace("_", "-"): value for key, value in changes.items()}
        path = self.folder / "drill.yaml"
        path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        return path

    def shell(
        self, *words: object, seconds: float = 120, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Any command, to its end."""
        return subprocess.run(
            [*DRILLBOOK, *map(str, words)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=seconds,
            check=False,
        )

    def here(self, command: str, *words: object) -> subprocess.CompletedProcess[str]:
        """A command about this sandbox."""
        return self.shell(command, *words, "--sandbox", self.sandbox.name)

    def start(
        self, experiment: Path, *words: str, program: tuple[str, ...] = DRILLBOOK, where: tuple[str, ...] = ()
    ) -> Running:
        """``drillbook run``, in the background; against the sandbox unless ``where`` says otherwise."""
        where = where or ("--sandbox", self.sandbox.name)
        command = [*program, "run", str(experiment), *where, "--runs", str(self.runs), *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, start_new_session=True
        )
        self._started.append(Running(process, self.runs))
        return self._started[-1]

    def run(self, experiment: Path, *words: str) -> tuple[int, str, str, Path]:
        """``drillbook run`` to its end: exit code, stdout, stderr, run folder."""
        running = self.start(experiment, *words)
        return *running.end(), running.folder

    async def drill(self, experiment: Path, *, sinks: tuple[Any, ...] = (), **spec: Any) -> Path:
        """The run in this very process: for tests that break parts of it, or that it refuses at once."""
        loaded = load(experiment)
        async with await open_target(loaded.experiment.target.model_copy(update=spec), sandbox=self.sandbox) as target:
            return await drill(loaded, target, self.runs, seed=1, sinks=sinks)

    def close(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.kill()

    # -- seen from outside

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.sandbox.api_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Impersonate-User": "system:admin"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def engines(self) -> list[dict[str, Any]]:
        return list(self.call("GET", ENGINES)["items"])

    def whole(self) -> bool:
        """Whether all engines are ready, none is stopped, and the router sends requests to each."""
        engines = self.engines()
        if len(engines) != 3 or not all(map(_is_ready, engines)) or self.stopped():
            return False
        try:
            with urllib.request.urlopen(f"{self.sandbox.endpoint}/workers", timeout=5) as answer:
                workers = json.load(answer)["workers"]
        except OSError:
            return False
        healthy = {worker["url"] for worker in workers if worker["is_healthy"]}
        return healthy == {f"http://{pod['status']['podIP']}:8000" for pod in engines} and len(workers) == 3

    def renew_router(self) -> None:
        """vllm-router 0.1.17 looks at pods again only 60 s after its watch broke; a new one does so at once."""
        for pod in self.call("GET", ROUTERS)["items"]:
            self.call("DELETE", f"/api/v1/namespaces/llm/pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})

    def engine_cores(self) -> dict[int, str]:
        """The state of each engine process of this sandbox, as the kernel tells it: ``T`` is stopped."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _cmdline(int(entry.name)).startswith(b"VLLM::EngineCore"):
                chain = list(_ancestors(int(entry.name)))
                if any(os.fsencode(self.sandbox.state_dir) in _cmdline(pid) for pid in chain):
                    found[int(entry.name)] = _stat(int(entry.name))[0]
        return found

    def stopped(self) -> int:
        return list(self.engine_cores().values()).count("T")

    def records(self) -> list[str]:
        """The undo records that lie at the target."""
        items = self.call("GET", "/api/v1/namespaces/llm/configmaps")["items"]
        names = [str(item["metadata"]["name"]) for item in items]
        return [name for name in names if name.startswith("drillbook-undo")]

    def holder(self) -> str:
        """The run that holds the target's Lease."""
        leases = self.call("GET", "/apis/coordination.k8s.io/v1/namespaces/llm/leases")["items"]
        return "".join(str(lease["spec"].get("holderIdentity") or "") for lease in leases)

    def versions(self) -> dict[str, str]:
        """The resourceVersion of every object that a drill could touch."""
        found = {}
        for place in ("api/v1/namespaces/llm/pods", "api/v1/namespaces/llm/configmaps",
                      "apis/apps/v1/namespaces/llm/deployments", "apis/coordination.k8s.io/v1/namespaces/llm/leases",
                      "api/v1/namespaces/llm/services"):  # fmt: skip
            for item in self.call("GET", f"/{place}")["items"]:
                found[f"{place}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
        return found

    @contextmanager
    def denied(self, **rule: list[str]) -> Iterator[None]:
        """Take a permission away, and give it back."""
        data = {"denied": yaml.safe_dump([rule])}
        self.call("POST", PERMISSIONS, {"metadata": {"name": "sandbox-permissions"}, "data": data})
        try:
            yield
        finally:
            self.call("DELETE", f"{PERMISSIONS}/sandbox-permissions")


def until(so: Callable[[], Any], seconds: float) -> float:
    """Poll until it is so; how long that took."""
    began = time.monotonic()
    while not so():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def children(pid: int) -> dict[int, bytes]:
    """Pid and command line of each child process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) and int(stat[1]) == pid:
            found[int(entry.name)] = _cmdline(int(entry.name))
    return found


def child(pid: int, module: str) -> int:
    """The child that runs this module."""
    return next(each for each, line in children(pid).items() if module.encode() in line)


def is_alive(pid: int) -> bool:
    stat = _stat(pid)
    return bool(stat) and stat[0] not in "ZX"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    fine = any(row["type"] == "Ready" and row["status"] == "True" for row in conditions)
    return fine and "deletionTimestamp" not in pod["metadata"]


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1 and (stat := _stat(pid)):
        yield pid
        pid = int(stat[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
