"""A sandbox's life: up, find, status, down; and its control plane's death and return, for drills.

Everything of a sandbox is in its state directory, carries its mark, or bears a name made from that directory's path, so
that ``down`` finds whatever a killed one left: processes, bridge, volumes in memory, control groups, files.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from drillbook import clock
from drillbook.errors import DrillbookError, PreflightError, UnreachableError, UsageError
from drillbook.sandbox import config as sandbox_config
from drillbook.sandbox import images, processes, stack, subnets
from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.control.settings import Settings
from drillbook.sandbox.kube import Kube

CONTROL, NODE = "drillbook.sandbox.control", "drillbook.sandbox.node"
NODE_SETTINGS = ("backoff_initial", "backoff_max", "endpoint_delay")
_START_LIMIT = {"sim": 60.0, "vllm": 600.0}
"""Seconds until the first answer; vLLM on two cores was seen to take 78 s an engine."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is up."""

    name: str
    engine: str
    stack: str
    """Which manifests it runs: ``production-stack``, ``distributed`` …"""
    state_dir: Path
    kubeconfig: Path
    api_url: str
    namespace: str
    context: str
    endpoint: str
    """Base URL of the router's Service, without ``/v1``."""


def root() -> Path:
    """Where sandboxes live: ``$DRILLBOOK_HOME/sandboxes``, else under the user's state directory."""
    home = os.environ.get("DRILLBOOK_HOME")
    if home:
        return Path(home).resolve() / "sandboxes"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state).resolve() / "drillbook" / "sandboxes"


def _folder(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise UsageError(f"{name!r} cannot name a sandbox", "use 1 to 40 lower-case letters, digits and dashes")
    return root() / name


async def up(
    name: str = "default", engine: str = "sim", replicas: int | None = None, vllm_python: str | None = None,
    on_progress: Callable[[str], None] = lambda _line: None, settings: Mapping[str, float] = MappingProxyType({}),
    stack_name: str = "production-stack",
) -> Sandbox:  # fmt: skip
    """Start a sandbox and wait until its router answers for a model; one that is up already is returned as it is.

    :param replicas: engines; unless given as many as the stack's layout says (production-stack: 3 of ``sim``, 2 of
        ``vllm``).
    :param vllm_python: the Python of an environment with vLLM, for ``vllm``.
    :param settings: seconds that differ from a real cluster's: ``backoff_initial``, ``backoff_max``,
        ``endpoint_delay``, and those of the control plane (``node_monitor_grace_period`` …).
    :param stack_name: which manifests: a key of ``stack.LAYOUTS``.
    :raises UsageError: an impossible name or engine.
    :raises PreflightError: it cannot run here, or did not come up; what was started is removed again.
    """
    if engine not in _START_LIMIT:
        raise UsageError(f"engine {engine!r} is not known", "the engines are sim and vllm")
    if stack_name not in stack.LAYOUTS:
        raise UsageError(f"stack {stack_name!r} is not known", f"the sandbox's stacks are {', '.join(stack.LAYOUTS)}")
    unknown = set(settings) - {*NODE_SETTINGS, *Settings.__dataclass_fields__}
    if unknown:
        allowed = ", ".join(sorted({*NODE_SETTINGS, *Settings.__dataclass_fields__}))
        raise UsageError(f"{min(unknown)!r} is not a setting of the sandbox", f"allowed are {allowed}")
    if engine == "vllm" and (vllm_python is None or shutil.which(vllm_python) is None):
        what = "engine vllm needs the Python of an environment with vLLM"
        raise PreflightError(what, "make vllm-env, or --vllm-python")
    found = find(name)
    if found is not None and (found.engine, found.stack) == (engine, stack_name) and await _answers(found):
        on_progress(f"sandbox {name} is up already")
        return found
    folder = _folder(name)
    if folder.exists():
        on_progress(f"removing what is left of sandbox {name}")
    await down(name)
    with _choosing():
        config = _configure(name, engine, stack_name, folder, vllm_python, replicas or 0, settings)
    try:
        await _start(config, replicas, on_progress)
    except BaseException:  # Ctrl-C too: half a sandbox is nobody's
        await down(name)
        raise
    result = find(name)
    assert result is not None
    return result


def _configure(name: str, engine: str, stack_name: str, folder: Path, vllm_python: str | None, replicas: int,
               settings: Mapping[str, float]) -> SandboxConfig:  # fmt: skip
    bridged = os.geteuid() == 0 and Path("/proc/self/ns/net").exists()
    layout = stack.LAYOUTS[stack_name]
    if layout.networked and not bridged:
        raise PreflightError(
            f"the stack {stack_name} needs pods with networks of their own", "start it as root on Linux"
        )
    settings = {**dict(layout.settings), **settings}
    taken = [other.network for other in _all_configs()]
    config = SandboxConfig(
        name=name, engine=engine, stack=stack_name, state_dir=str(folder), api_port=_free_port(), bridged=bridged,
        network=subnets.choose(sandbox_config.tag_of(folder), taken, bridged=bridged), vllm_python=vllm_python or "",
        nodes=sandbox_config.nodes_for(replicas * layout.pods),
        **{key: value for key, value in settings.items() if key in NODE_SETTINGS},
        control={key: str(value) for key, value in settings.items() if key not in NODE_SETTINGS},
    )  # fmt: skip
    for part in ("control", "node", "logs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "kubeconfig").write_text(stack.kubeconfig(config, "127.0.0.1"), encoding="utf-8")
    (folder / "pod.kubeconfig").write_text(stack.kubeconfig(config, config.gateway), encoding="utf-8")
    images.write_programs(config)
    config.save()
    return config


async def _start(config: SandboxConfig, replicas: int | None, on_progress: Callable[[str], None]) -> None:
    on_progress("starting the control plane and the node agent")
    _start_control(config)
    start_node(config)
    kube = Kube(config.api_url)
    deadline = clock.monotonic() + _START_LIMIT[config.engine]
    await _until_ready(config, kube)
    await asyncio.to_thread(stack.write_model, config)
    objects = stack.objects(config, replicas)
    for obj in objects:
        await kube.create(obj)
    count, pods = stack.replicas_of(objects), stack.LAYOUTS[config.stack].pods
    of = f" of {pods} pods each" if pods > 1 else ""
    on_progress(f"starting {count} {config.engine} engine{'s' if count != 1 else ''}{of} behind vllm-router")
    endpoint, next_look = None, clock.monotonic() + 3.0
    while True:
        endpoint = endpoint or await stack.endpoint(kube, stack.LAYOUTS[config.stack].front)
        if endpoint is not None and (not count or (await stack.serves(endpoint) and not await stack.missing(kube))):
            break
        if clock.monotonic() > next_look:
            next_look += 3.0
            trouble = await stack.trouble(kube)
            if trouble:
                raise PreflightError(f"sandbox {config.name} did not come up: {trouble}")
        if clock.monotonic() > deadline:
            lacking = "; ".join(await stack.missing(kube)) or "the router does not answer for the model"
            raise PreflightError(f"sandbox {config.name} did not come up: {lacking}")
        await asyncio.sleep(0.03 if config.engine == "sim" else 0.3)
    (config.path / "endpoint").write_text(endpoint, encoding="utf-8")
    on_progress(f"sandbox {config.name} is up: {endpoint}/v1")


async def _until_ready(config: SandboxConfig, kube: Kube) -> None:
    """Wait for the API server and its nodes.

    :raises PreflightError: they are not there within a minute.
    """
    deadline = clock.monotonic() + 60.0
    while not (await kube.is_ready() and len(await kube.items("/api/v1/nodes")) >= len(config.nodes)):
        if clock.monotonic() > deadline:
            log = (config.path / "logs" / "control.log").read_text(encoding="utf-8", errors="replace")
            log += (config.path / "logs" / "node.log").read_text(encoding="utf-8", errors="replace")
            raise PreflightError(f"the sandbox's control plane does not answer. The end of its log:\n{log[-1500:]}")
        await asyncio.sleep(0.02)


def _start_control(config: SandboxConfig) -> None:
    arguments = ["--state-dir", str(config.path / "control"), "--port", str(config.api_port),
                 "--service-cidr", config.service_cidr]  # fmt: skip
    for key, value in config.control.items():
        arguments += ["--" + key.replace("_", "-"), value]
    processes.start(config.path, CONTROL, arguments, config.path / "logs" / "control.log")


def start_node(config: SandboxConfig) -> None:
    """Start the node agent; the runtime and the proxy of an earlier one are taken over."""
    arguments = ["--state-dir", config.state_dir, "--api", config.api_url]
    processes.start(config.path, NODE, arguments, config.path / "logs" / "node.log")


def find(name: str = "default") -> Sandbox | None:
    """The sandbox of this name, if its node agent runs; its control plane may be down."""
    folder = _folder(name)
    try:
        config = sandbox_config.load(folder)
        endpoint = (folder / "endpoint").read_text(encoding="utf-8")
    except (UsageError, OSError):
        return None
    if not any(processes.runs_module(pid, NODE) for pid in processes.marked(folder)):
        return None
    return Sandbox(
        name=name, engine=config.engine, stack=config.stack, state_dir=folder,
        kubeconfig=folder / "kubeconfig", api_url=config.api_url,
        namespace=stack.NAMESPACE, context=f"drillbook-sandbox-{name}", endpoint=endpoint,
    )  # fmt: skip


def names() -> list[str]:
    """Every sandbox that has a state directory, whatever its state."""
    return sorted(entry.name for entry in root().iterdir() if entry.is_dir()) if root().exists() else []


async def status(name: str = "default") -> dict[str, object]:
    """What there is: ``state`` is ``absent``, ``up``, ``degraded`` (with what is ``missing``) or ``dead``."""
    folder = _folder(name)
    if not folder.exists():
        return {"name": name, "state": "absent"}
    found = find(name)
    if found is None:
        return {"name": name, "state": "dead", "missing": ["its processes; `up` or `down` cleans up"]}
    kube = Kube(found.api_url)
    try:
        missing = await stack.missing(kube)
        pods = await kube.items(f"/api/v1/namespaces/{found.namespace}/pods")
    except UnreachableError:
        missing, pods = ["the control plane does not answer"], []
    return {
        "name": name, "state": "degraded" if missing else "up", "missing": missing, "engine": found.engine,
        "endpoint": found.endpoint, "kubeconfig": str(found.kubeconfig), "context": found.context,
        "pods": {pod["metadata"]["name"]: pod.get("status", {}).get("phase", "") for pod in pods},
    }  # fmt: skip


async def down(name: str = "default") -> list[str]:
    """Remove everything of a sandbox, whatever state it is in. Returns what was there to remove; empty: nothing.

    :raises DrillbookError: something could not be removed (another user's processes, or no right to the network).
    """
    return await asyncio.to_thread(_remove, name)


def _remove(name: str) -> list[str]:
    folder = _folder(name)
    tag = sandbox_config.tag_of(folder)
    removed: list[str] = []
    for _ in range(20):  # what is killed may have started something meanwhile
        pids = processes.marked(folder)
        if not pids:
            break
        pids = processes.descendants(pids)
        removed = removed or [f"{len(pids)} processes"]
        left = processes.kill(pids)
        if left:
            raise DrillbookError(f"processes {left} of sandbox {name} do not end", "remove them as their owner")
    containers = {path.parent.name for path in folder.glob("node/pods/*/containers/*/*/spec.json")}
    if containers:
        _sweep_memory_limits(folder)
    bridge = f"dbk{tag}"
    if Path("/sys/class/net", bridge).exists():
        from drillbook.sandbox.node.network import remove_bridge

        if not remove_bridge(bridge):
            raise DrillbookError(f"cannot remove the network bridge {bridge} of sandbox {name}", "try again as root")
        removed.append(f"bridge {bridge}")
    for path in (Path("/dev/shm", f"drillbook-{tag}"), folder):  # noqa: S108 -- volumes in memory
        if path.exists():
            shutil.rmtree(path)
            removed.append(str(path))
    return removed


def _sweep_memory_limits(folder: Path) -> None:
    from drillbook.sandbox.node import memory_limit

    ids = set()
    for path in folder.glob("node/pods/*/containers/*/*/spec.json"):
        with contextlib.suppress(ValueError, KeyError, OSError):
            ids.add(str(json.loads(path.read_bytes())["id"]))
    memory_limit.sweep(ids)


async def control_down(name: str = "default") -> None:
    """Kill the control plane, and nothing else: pods, probes and Services go on.

    :raises UsageError: there is no such sandbox.
    """
    config = sandbox_config.load(_folder(name))
    await asyncio.to_thread(processes.kill, [pid for pid in processes.marked(config.path)
                                             if processes.runs_module(pid, CONTROL)])  # fmt: skip


async def control_up(name: str = "default") -> None:
    """Start the control plane again, from its store, and wait until it answers.

    :raises UsageError: there is no such sandbox.
    :raises PreflightError: it does not answer.
    """
    config = sandbox_config.load(_folder(name))
    if not any(processes.runs_module(pid, CONTROL) for pid in processes.marked(config.path)):
        _start_control(config)
    await _until_ready(config, Kube(config.api_url))


async def _answers(sandbox: Sandbox) -> bool:
    kube = Kube(sandbox.api_url)
    try:
        if not await stack.wants_engines(kube):
            return await kube.is_ready()
        return not await stack.missing(kube) and await stack.serves(sandbox.endpoint)
    except UnreachableError:
        return False


def _all_configs() -> Iterator[SandboxConfig]:
    for name in names():
        with contextlib.suppress(UsageError):
            yield sandbox_config.load(root() / name)


@contextlib.contextmanager
def _choosing() -> Iterator[None]:
    """One sandbox at a time chooses its network and port."""
    root().mkdir(parents=True, exist_ok=True)
    fd = os.open(root() / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
