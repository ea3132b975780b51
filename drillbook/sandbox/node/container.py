"""One container of a pod through all its starts: image, environment, probes, restarts with back-off, and its status."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import uuid
from pathlib import Path
from typing import Protocol

from drillbook import clock
from drillbook.sandbox import images
from drillbook.sandbox.control import quantity, times
from drillbook.sandbox.node import environment, probe
from drillbook.sandbox.node.api import ApiError, Json
from drillbook.sandbox.node.backoff import Backoff
from drillbook.sandbox.node.environment import ConfigError
from drillbook.sandbox.node.health import Health
from drillbook.sandbox.node.host import Host, base_environment, load_spec
from drillbook.sandbox.node.runtime_client import RuntimeCallError
from drillbook.sandbox.node.spec import ContainerRecord, ContainerSpec, Exit, Mount
from drillbook.sandbox.node.volumes import VolumeError, Volumes

MINIMUM_GRACE = 2.0
"""The kubelet never gives a container less between SIGTERM and SIGKILL, not even on a forced delete."""
_RETRY_CONFIG = 5.0
ID_PREFIX = "drillbook://"


class Home(Protocol):
    """What a container needs of its pod."""

    obj: Json
    address: str
    hostname: str
    folder: Path
    volumes: Volumes
    machine: Json
    stopping: asyncio.Event

    def changed(self) -> None: ...

    def id_of(self, container: str) -> str: ...


class Container:
    """One entry of ``containers``, ``initContainers`` or ``ephemeralContainers``."""

    def __init__(self, host: Host, home: Home, definition: Json, field: str) -> None:
        self._host = host
        self._home = home
        self.definition = definition
        self.field = field
        self.name: str = definition["name"]
        self.id = ""
        self.restarts = 0
        self.ready = False
        self.started: bool | None = False
        self.state: Json = {"waiting": {"reason": "PodInitializing" if home.obj["spec"].get("initContainers") and
                                        field == "containers" else "ContainerCreating"}}  # fmt: skip
        self.last_state: Json = {}
        self.spec: ContainerSpec | None = None
        self._backoff = Backoff(host.config.backoff_initial, host.config.backoff_max)
        self._health: Health | None = None
        self._probing: asyncio.Task[None] | None = None
        self._running = False
        self._begun = 0.0
        self._killing: asyncio.Task[None] | None = None
        self._over: Json = {}
        self._ended_at = 0.0
        self._given_up = False

    # -- what the pod asks ---------------------------------------------------------------------------------------------

    @property
    def is_sidecar(self) -> bool:
        """An init container that stays (``restartPolicy: Always``)."""
        return self.field == "initContainers" and self.definition.get("restartPolicy") == "Always"

    @property
    def is_running(self) -> bool:
        return self._running

    @property
    def exit_code(self) -> int | None:
        """Of a container that has ended and will not start again, so far as its own state says."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    def status(self) -> Json:
        """Its entry in the pod's status."""
        return {
            "name": self.name, "image": self.definition.get("image", ""), "restartCount": self.restarts,
            "imageID": f"sandbox/{images.repository(self.definition.get('image', ''))}" if self.id else "",
            "ready": self.ready, "started": self.started, "state": self.state, "lastState": self.last_state,
            **({"containerID": ID_PREFIX + self.id} if self.id else {}),
        }  # fmt: skip

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start and restart until it has ended for good, or the pod stops."""
        ended = bool(self._over)
        while not self._home.stopping.is_set():
            if not self._running:
                if ended and not (self._restarts() and await self._wait_for_restart()):
                    return
                if not await self._start():
                    return
            await self._follow()
            ended = True

    def adopt(self, status: Json, record: ContainerRecord | None) -> None:
        """Take over what an earlier agent left: its status, and the runtime's record of its latest start."""
        self.restarts = status.get("restartCount", 0)
        self.state, self.last_state = status.get("state") or self.state, status.get("lastState") or {}
        self.id = status.get("containerID", "").removeprefix(ID_PREFIX)
        if "running" not in self.state:
            self._over = self.state.get("terminated") or self.last_state.get("terminated") or {}
            if self._over:
                self._begun = times.parse(self._over["startedAt"])
                self._ended_at = times.parse(self._over["finishedAt"])
            return
        self._begun = times.parse(self.state["running"]["startedAt"])
        self.ready, self.started = status.get("ready", False), status.get("started", True)
        if record is None:
            self._record_end(Exit(code=255, finished=clock.wall()), reason="Unknown")
            return
        self.spec = load_spec(self._folder(self.restarts))
        self._running = True
        self._probe()
        if record.exit is not None:
            self._host.on_exit(self.id, record.exit)

    def _folder(self, attempt: int) -> Path:
        return self._home.folder / "containers" / self.name / str(attempt)

    def log_path(self, *, previous: bool = False) -> Path | None:
        """The log of the latest start, or of the one before. None where there was none."""
        attempt = self.restarts - (1 if previous else 0)
        path = self._home.folder / "logs" / self.name / f"{attempt}.log"
        return path if path.exists() else None

    async def _start(self) -> bool:
        """Bring it to running. False where the pod stopped meanwhile, or the container ended before it began."""
        command = await self._pull()
        while command is not None:
            try:
                spec = await self._make_spec(command)
                break
            except (ConfigError, VolumeError, ApiError) as error:
                self._wait("CreateContainerConfigError", error.message)
                self._event("Failed", f"Error: {error.message}", warning=True)
                if await self._stopped_within(_RETRY_CONFIG):
                    return False
        else:
            return False
        if self._home.stopping.is_set():
            return False
        self._event("Created", f"Created container: {self.name}")
        self.spec, self.id, self._begun = spec, spec.id, clock.wall()
        try:
            await self._host.runtime.start(spec)
        except RuntimeCallError as error:
            message = f"failed to create containerd task: failed to create shim task: {error.message}"
            self._event("Failed", f"Error: {message}", warning=True)
            self._record_end(Exit(code=128, finished=clock.wall()), reason="StartError", message=message)
            return True
        hook = (self.definition.get("lifecycle") or {}).get("postStart")
        waits = hook or self.definition.get("startupProbe") or (self.field == "initContainers" and not self.is_sidecar)
        self._running, self.started = True, not waits  # what has no probe is told as ready at once with its running
        self.ready = self.started and not self.definition.get("readinessProbe")
        self.state = {"running": {"startedAt": times.stamp(self._begun)}}
        self._event("Started", f"Started container {self.name}")
        self._home.changed()
        if hook:
            await self._post_start(hook, spec)
        self._probe()
        return True

    async def _pull(self) -> images.Command | None:
        """The image's command; with the words of a failing pull for as long as nothing stands for the image."""
        image, pause = self.definition.get("image", ""), 10.0
        while True:
            try:
                command = images.resolve(
                    self._host.config, image, self.definition.get("command") or [], self.definition.get("args") or []
                )
            except images.ImageNotFoundError as error:
                message = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {error.message}'
                self._event("Pulling", f'Pulling image "{image}"')
                self._event("Failed", message, warning=True)
                self._event("Failed", "Error: ErrImagePull", warning=True)
                self._wait("ErrImagePull", message.partition(": ")[2])
                if await self._stopped_within(1.0):
                    return None
                self._event("BackOff", f'Back-off pulling image "{image}"')
                self._event("Failed", "Error: ImagePullBackOff", warning=True)
                self._wait("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error.message}')
                if await self._stopped_within(pause):
                    return None
                pause = min(pause * 2, 300.0)
                continue
            self._event("Pulled", f'Container image "{image}" already present on machine')
            return command

    async def _make_spec(self, command: images.Command) -> ContainerSpec:
        home, host, pod = self._home, self._host, self._home.obj
        _must_be_possible(pod, self.definition, host)
        base = base_environment(host.config, hostname=home.hostname, address=home.address)
        view = {**pod, "status": {**pod.get("status", {}), "podIP": home.address}}
        env = await environment.resolve(view, self.definition, {**base, **command.env}, home.machine, host.references)
        folder = self._folder(self.restarts)
        shutil.rmtree(self._folder(self.restarts - 2), ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "termination-log").touch()
        mounts = []
        if host.isolated:
            mounts = [*home.volumes.mounts(self.definition, env), *home.volumes.etc(home.hostname, home.address)]
            target = self.definition.get("terminationMessagePath") or "/dev/termination-log"
            mounts.append(Mount(source=str(folder / "termination-log"), target=target))
        elif self.definition.get("volumeMounts"):
            self._event("FailedMount", "volumes are not mounted: this machine allows no mount namespaces", warning=True)
        limit = (self.definition.get("resources") or {}).get("limits", {}).get("memory")
        (home.folder / "logs" / self.name).mkdir(parents=True, exist_ok=True)
        target_name = self.definition.get("targetContainerName")
        return ContainerSpec(
            id=uuid.uuid4().hex + uuid.uuid4().hex, pod=pod["metadata"]["uid"], container=self.name, folder=str(folder),
            log=str(home.folder / "logs" / self.name / f"{self.restarts}.log"), entry=command.entry, env=env,
            argv=tuple(environment.expand_all(command.argv, env)), cwd=self.definition.get("workingDir") or "/",
            hostname=home.hostname, own_network=not pod["spec"].get("hostNetwork"), mounts=tuple(mounts),
            processes_of=home.id_of(target_name) if target_name else "",
            host_processes=bool(pod["spec"].get("hostPID")),
            memory=int(quantity.parse(limit)) if limit else 0,
        )  # fmt: skip

    async def _follow(self) -> None:
        """Wait for the end of the current start, and write it down."""
        if self._running:
            end = await self._host.ended(self.id)
            self._host.exits.pop(self.id, None)
            self._record_end(end)

    def _record_end(self, end: Exit, reason: str = "", message: str = "") -> None:
        self._running, self.ready, self.started = False, False, False
        if self._probing is not None:
            self._probing.cancel()
        reason = reason or ("OOMKilled" if end.oom else "Completed" if end.code == 0 else "Error")
        text = message or self._termination_message(end)
        self._over = {
            "exitCode": end.code, "reason": reason, "startedAt": times.stamp(self._begun),
            "finishedAt": times.stamp(end.finished), "containerID": ID_PREFIX + self.id,
            **({"message": text} if text else {}),
        }  # fmt: skip
        self._ended_at = end.finished
        self.state = {"terminated": self._over}
        self._home.changed()

    def _termination_message(self, end: Exit) -> str:
        with contextlib.suppress(OSError):
            text = (self._folder(self.restarts) / "termination-log").read_text(encoding="utf-8", errors="replace")
            if text:
                return text[:4096]
        fallback = self.definition.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        log = self.log_path()
        if not fallback or end.code == 0 or log is None:
            return ""
        rows = log.read_text(encoding="utf-8", errors="replace").splitlines()[-80:]
        return "\n".join(row.split(" ", 3)[-1] for row in rows)[-2048:]

    def _restarts(self) -> bool:
        policy = self._home.obj["spec"].get("restartPolicy") or "Always"
        if self.field == "ephemeralContainers" or self._given_up or self._home.stopping.is_set():
            return False
        if self.field == "initContainers" and not self.is_sidecar:
            return policy != "Never" and self.exit_code != 0
        return self.is_sidecar or policy == "Always" or (policy == "OnFailure" and self.exit_code != 0)

    async def _wait_for_restart(self) -> bool:
        """The back-off. False where the pod stopped meanwhile."""
        await asyncio.sleep(0)  # so that the status shows the end before the next start hides it
        delay, whole = self._backoff.delay(self._ended_at, clock.wall(), self._ended_at - self._begun)
        self.last_state = {"terminated": self._over}
        if delay > 0:
            meta = self._home.obj["metadata"]
            where = f"pod={meta['name']}_{meta['namespace']}({meta['uid']})"
            self._wait("CrashLoopBackOff", f"back-off {whole:g}s restarting failed container={self.name} {where}")
            self._event("BackOff", f"Back-off restarting failed container {self.name} in pod {where[4:]}", warning=True)
            if await self._stopped_within(delay):
                self.state = {"terminated": self._over}
                return False
        self.restarts += 1
        return True

    # -- probes --------------------------------------------------------------------------------------------------------

    def _probe(self) -> None:
        if self.field == "initContainers" and not self.is_sidecar:
            self.started = True
            return
        self._health = Health(self.definition, self._check, self, clock.monotonic())
        self._probing = asyncio.create_task(self._health.run(started=bool(self.started)))

    async def _check(self, handler: Json, timeout: float) -> tuple[bool, str]:
        assert self.spec is not None
        return await probe.check(self._host, handler, self.definition, self.spec, self._home.address, timeout)

    def on_started(self) -> None:
        self.started = True
        self._home.changed()

    def on_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._home.changed()

    def on_probe_failed(self, kind: str, message: str, *, fatal: bool) -> None:
        self._event("Unhealthy", f"{kind.capitalize()} probe failed: {message}", warning=True)
        if fatal:
            found = self.definition[f"{kind}Probe"].get("terminationGracePeriodSeconds")
            grace = self._home.obj["spec"].get("terminationGracePeriodSeconds", 30) if found is None else found
            reason = f"Container {self.name} failed {kind} probe, will be restarted"
            self._killing = asyncio.create_task(self.stop(grace, reason))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _post_start(self, hook: Json, spec: ContainerSpec) -> None:
        ok, said = await self._hook(hook, spec, 600.0)
        if not ok:
            self._event("FailedPostStartHook", f"PostStartHook failed: {said}", warning=True)
            await self.stop(0, "FailedPostStartHook")

    async def _hook(self, hook: Json, spec: ContainerSpec, timeout: float) -> tuple[bool, str]:
        if "sleep" in hook:
            end = self._host.ended(self.id)
            await asyncio.wait({end}, timeout=min(timeout, hook["sleep"]["seconds"]))
            return True, ""
        return await probe.check(self._host, hook, self.definition, spec, self._home.address, timeout)

    async def stop(self, grace: float, reason: str = "") -> None:
        """preStop, SIGTERM, and SIGKILL when ``grace`` seconds are over; returns when it has ended."""
        if not self._running or self.spec is None:
            return
        self._event("Killing", reason or f"Stopping container {self.name}")
        if self._health is not None:
            self._health.terminating = True
        end, begun = asyncio.shield(self._host.ended(self.id)), clock.monotonic()
        hook = (self.definition.get("lifecycle") or {}).get("preStop")
        if hook and grace > 0:
            ok, said = await self._hook(hook, self.spec, grace)
            if not ok and self._running:
                self._event("FailedPreStopHook", f"PreStopHook failed: {said}", warning=True)
        await self._host.runtime.signal(self.id, signal.SIGTERM)
        left = max(grace - (clock.monotonic() - begun), MINIMUM_GRACE)
        await asyncio.wait({end}, timeout=left)
        if not end.done():
            await self._host.runtime.signal(self.id, signal.SIGKILL)
            await end

    def give_up(self) -> None:
        """It is not to be started again."""
        self._given_up = True

    async def kill(self) -> None:
        """SIGKILL, and no more waiting for a grace that was cut short."""
        if self._running:
            await self._host.runtime.signal(self.id, signal.SIGKILL)

    # -- small things --------------------------------------------------------------------------------------------------

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._home.stopping.wait(), seconds)
        return self._home.stopping.is_set()

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._home.changed()

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._host.recorder.pod(self._home.obj, reason, message, container=self.name, warning=warning,
                                field=f"spec.{self.field}")  # fmt: skip


def _must_be_possible(pod: Json, definition: Json, host: Host) -> None:
    """Without root a node's processes and links cannot be given to a pod, and it must not seem as if they were."""
    wanted = "hostPID" if pod["spec"].get("hostPID") else ""
    if (definition.get("securityContext") or {}).get("privileged"):
        wanted = "a privileged container"
    if wanted and not host.config.bridged:
        raise ConfigError(f"{wanted} is unsupported in a sandbox without root")
