"""The container runtime: one warm, thread-free process that forks every container, reaps it and writes its log.

It stays free of threads because it forks without ``exec``: ``sim`` engines start in a copy of this process, with all
imports done. Containers die with it (``PR_SET_PDEATHSIG``), and so do pod networks, which only its descriptors hold.
The agent talks to it over a SEQPACKET socket in JSON (:mod:`~drillbook.sandbox.node.runtime_client`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from drillbook import clock
from drillbook.sandbox.node import launch, memory_limit
from drillbook.sandbox.node import namespaces as ns
from drillbook.sandbox.node.log_writer import LogWriter
from drillbook.sandbox.node.spec import ContainerRecord, ContainerSpec, Exit

SOCKET = "runtime.sock"
LARGEST_MESSAGE = 1 << 17
_ENTERED = {"mnt": ns.NEW_MOUNT, "uts": ns.NEW_UTS}


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class _Container:
    """A container's main process, its pipes and its log."""

    def __init__(self, spec: ContainerSpec) -> None:
        self.spec = spec
        self.record = ContainerRecord(id=spec.id, pod=spec.pod, pid=0)
        self.pid = 0
        """As the runtime's own PID namespace numbers it; the record bears the machine's number."""
        self.log = LogWriter(spec.log)
        self.pipes: dict[int, str] = {}


@contextlib.contextmanager
def socket_in(folder: Path) -> Iterator[str]:
    """The runtime's socket, by a path that fits into an address (107 bytes) however deep the folder lies."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)


class Runtime:
    """Serve until SIGTERM. ``isolated``: each container gets PID, mount and UTS namespaces."""

    def __init__(self, folder: Path, *, isolated: bool, own_networks: bool) -> None:
        self._isolated = isolated
        self._own_networks = own_networks
        self._selector = selectors.DefaultSelector()
        self._containers: dict[str, _Container] = {}
        self._networks: dict[str, int] = {}
        self._mains: dict[int, _Container] = {}
        self._execs: dict[int, tuple[socket.socket, str]] = {}
        self._clients: set[socket.socket] = set()
        self._stopping = False
        self._pid_namespace = _open("/proc/self/ns/pid") if isolated else -1
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with socket_in(folder) as path:
            Path(path).unlink(missing_ok=True)
            self._listener.bind(path)
        self._listener.listen()

    def serve(self) -> None:
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopping", True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._watch(wake, lambda: self._woken(wake))
        self._watch(self._listener.fileno(), self._accept)
        gc.collect()
        gc.freeze()  # so that the collector does not write to, and thereby copy, pages that all forks share
        while not self._stopping:
            for key, _ in self._selector.select():
                key.data()

    def _watch(self, fd: int, handle: Callable[[], object]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, handle)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_MESSAGE * 2)
        self._clients.add(client)
        self._watch(client.fileno(), lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(client, LARGEST_MESSAGE, 8)
        except OSError:
            data, fds = b"", []
        if not data:
            self._selector.unregister(client.fileno())
            self._clients.discard(client)
            client.close()
            return
        request = msgspec.json.decode(data)
        try:
            reply = getattr(self, f"_do_{request['op']}")(client, request, fds)
        except (OSError, KeyError, msgspec.MsgspecError) as error:
            reply = {"error": str(error)}
        finally:
            for fd in fds:
                os.close(fd)
        self._send(client, {"n": request["n"], **(reply or {})})

    def _send(self, client: socket.socket, message: dict[str, Any]) -> None:
        try:
            client.send(msgspec.json.encode(message))
        except BlockingIOError:
            client.shutdown(socket.SHUT_RDWR)  # too far behind to be told; it connects again and lists
        except OSError:
            pass  # it went away; its end of the socket is cleaned up on read

    # -- operations ----------------------------------------------------------------------------------------------------

    def _do_network(self, _client: socket.socket, request: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
        """Make a network namespace for a pod; the reply's path opens it from any process of this user."""
        pod = request["pod"]
        if pod not in self._networks:
            own = _open("/proc/self/ns/net")
            ns.unshare(ns.NEW_NETWORK)
            self._networks[pod] = _open("/proc/self/ns/net")
            ns.setns(own, ns.NEW_NETWORK)
            os.close(own)
        return {"path": f"/proc/{Path('/proc/self').readlink()}/fd/{self._networks[pod]}"}

    def _do_forget_pod(self, _client: socket.socket, request: dict[str, Any], _fds: list[int]) -> None:
        """Let go of a pod's network and of what is known of its ended containers."""
        fd = self._networks.pop(request["pod"], None)
        if fd is not None:
            os.close(fd)
        for id_, container in list(self._containers.items()):
            if container.spec.pod == request["pod"] and container.record.exit is not None:
                del self._containers[id_]

    def _do_start(self, _client: socket.socket, request: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
        spec = msgspec.json.decode(Path(request["spec"]).read_bytes(), type=ContainerSpec)
        container = _Container(spec)
        ends: list[int] = []
        for stream in ("stdout", "stderr"):
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            container.pipes[read] = stream
            ends.append(write)
        null = _open("/dev/null")
        network = self._networks[spec.pod] if spec.own_network and self._own_networks else None
        target = self._containers[spec.processes_of].record.pid if spec.processes_of else None

        def child(errors: int) -> None:
            launch.start_container(spec, network, launch.Stdio(null, ends[0], ends[1], errors), isolated=self._isolated)

        memory = memory_limit.make(spec.id, spec.memory) if spec.memory else None
        pid, error = self._fork(child, target, memory, own_processes=not spec.host_processes)
        for fd in (null, *ends):
            os.close(fd)
        container.pid, container.record.pid = pid, _machine_pid(pid)
        self._containers[spec.id] = self._mains[pid] = container
        for fd in container.pipes:
            self._watch(fd, lambda fd=fd: self._copy_output(container, fd))  # type: ignore[misc]  # bound now, not later
        return {"pid": container.record.pid, **({"error": error} if error else {})}

    def _do_exec(self, client: socket.socket, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Start a process beside a container's; the descriptors sent along are its stdin, stdout and stderr."""
        if not self._isolated:
            raise OSError("exec is refused: without PID namespaces it would open the whole machine")
        container = self._containers[request["id"]]
        if container.record.exit is not None:
            raise OSError("container not running")
        pid = container.record.pid
        kinds = {**_ENTERED, **({"net": ns.NEW_NETWORK} if self._own_networks else {})}
        entered = {kind: _open(f"/proc/{pid}/ns/{name}") for name, kind in kinds.items()}

        def child(errors: int) -> None:
            stdio, cwd = launch.Stdio(fds[0], fds[1], fds[2], errors), container.spec.cwd
            launch.start_exec(entered, request["argv"], request["env"], stdio, cwd=cwd, tty=request["tty"])

        try:
            started, error = self._fork(child, pid, None)
        finally:
            for fd in entered.values():
                os.close(fd)
        self._execs[started] = (client, request["token"])
        return {"pid": started, "error": error} if error else {"pid": started}

    def _do_signal(self, _client: socket.socket, request: dict[str, Any], _fds: list[int]) -> None:
        """Signal a container's main process (``id``) or a process that exec started (``pid``)."""
        pid = request.get("pid") or self._containers[request["id"]].pid
        if pid in self._execs or (pid in self._mains and self._mains[pid].record.exit is None):
            os.kill(pid, request["signal"])

    def _do_list(self, _client: socket.socket, _request: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
        return {
            "containers": [msgspec.to_builtins(one.record) for one in self._containers.values()],
            "isolated": self._isolated,
        }

    # -- processes -----------------------------------------------------------------------------------------------------

    def _fork(
        self, child: Callable[[int], None], beside: int | None, memory: Path | None, *, own_processes: bool = True
    ) -> tuple[int, str]:
        """Fork ``child`` into a new PID namespace, that of ``beside``, or (not ``own_processes``) the runtime's own.

        Returns its pid and an error.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        target = None
        if self._isolated and beside is not None:
            target = _open(f"/proc/{beside}/ns/pid")
        born_inside = ns.children_in_pid_namespace(self._pid_namespace, target)
        with born_inside if self._isolated and own_processes else contextlib.nullcontext():
            pid = os.fork()
            if pid == 0:
                if memory is not None:
                    memory_limit.enter(memory)
                child(write)
        os.close(write)
        if target is not None:
            os.close(target)
        error = os.read(read, 4096).decode(errors="replace")  # blocks for the milliseconds until the program takes over
        os.close(read)
        return pid, error

    def _copy_output(self, container: _Container, fd: int) -> None:
        if fd not in container.pipes:
            return  # closed by an event of the same batch; the number may be another's by now
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        if data:
            container.log.write(container.pipes[fd], data)
        else:
            self._close_pipe(container, fd)

    def _close_pipe(self, container: _Container, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        del container.pipes[fd]

    def _woken(self, wake: int) -> None:
        os.read(wake, 4096)
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
            if pid in self._mains:
                self._container_ended(self._mains.pop(pid), code)
            elif pid in self._execs:
                client, token = self._execs.pop(pid)
                self._send(client, {"event": "exec-exited", "token": token, "code": code})

    def _container_ended(self, container: _Container, code: int) -> None:
        if not self._isolated or container.spec.host_processes:
            _kill_session(container.record.pid)
        for fd in list(container.pipes):
            with contextlib.suppress(BlockingIOError):  # a process that outlived its main one still holds the pipe
                while data := os.read(fd, 65536):
                    container.log.write(container.pipes[fd], data)
            self._close_pipe(container, fd)
        container.log.close()
        oom = memory_limit.ended(container.spec.id) if container.spec.memory else False
        container.record.exit = Exit(code=code, finished=clock.wall(), oom=oom)
        event = {"event": "exited", "id": container.spec.id, "exit": msgspec.to_builtins(container.record.exit)}
        for client in self._clients:
            self._send(client, event)


def _machine_pid(pid: int) -> int:
    """The number that ``/proc`` here, which is the machine's, has for a child; 0 for one that has gone already."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        rows = Path(f"/proc/self/fdinfo/{process}").read_text(encoding="ascii").splitlines()
        return max(0, next(int(row.split()[1]) for row in rows if row.startswith("Pid:")))
    finally:
        os.close(process)


def _kill_session(leader: int) -> None:
    """End what a main process without a PID namespace of its own leaves behind; ``leader`` is the machine's pid."""
    level = len(_numbers("self")) - 1
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    os.kill(_numbers(entry.name)[level], signal.SIGKILL)


def _numbers(process: str) -> list[int]:
    """A process's pid in each PID namespace that it is in, the machine's first."""
    rows = Path("/proc", process, "status").read_text(encoding="utf-8", errors="replace").splitlines()
    return [int(number) for row in rows if row.startswith("NSpid:") for number in row.split()[1:]]


def main(folder: Path, preload: list[str], *, bridged: bool) -> None:
    """Run the runtime of the sandbox whose state directory's ``node`` folder this is, until SIGTERM."""
    isolated = True
    if os.geteuid() == 0:
        _become_a_node()
    else:
        try:
            _become_root_of_own_namespaces()
        except OSError:
            isolated = False
    for module in preload:
        importlib.import_module(module)
    launch.prepare_titles()
    Runtime(folder, isolated=isolated, own_networks=bridged).serve()


def _become_a_node() -> None:
    """As root: continue as the first process of a PID namespace of this sandbox.

    A pod that asks for its node's processes (``hostPID``) then sees those of this sandbox's pods, and can neither see
    nor signal any other of the machine. And whatever becomes of the runtime, the kernel ends all pods with it.
    """
    ns.unshare(ns.NEW_PID)
    _continue_in_child()


def _continue_in_child() -> None:
    """PID namespaces are entered by being born in them."""
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    ns.die_with_parent()


def _become_root_of_own_namespaces() -> None:
    """Without root: continue as root of a user namespace, in a child, whose PID namespace is that one's own too.

    Else the kernel would not let the runtime's later children return to the PID namespace that it was started in.

    :raises OSError: the kernel or its configuration forbids it.
    """
    ns.become_root_of_user_namespace()
    ns.unshare(ns.NEW_PID | ns.NEW_MOUNT)
    _continue_in_child()
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
