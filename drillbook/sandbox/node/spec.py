"""What the runtime needs to know to start one container; written to the container's folder before it is started."""

from __future__ import annotations

import msgspec


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """``source`` on the machine appears at ``target`` in the container."""

    source: str
    target: str
    read_only: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One start of one container."""

    id: str
    """64 hexadecimal digits."""
    pod: str
    """The pod's uid; its network namespace has the same name in the runtime."""
    container: str
    folder: str
    """The container's own folder, which holds its scaffolding."""
    log: str
    argv: tuple[str, ...]
    entry: str = ""
    """``module:function`` called with ``argv[1:]`` in a fork of the warm runtime; else ``argv`` is executed."""
    env: dict[str, str] = {}
    cwd: str = "/"
    hostname: str = ""
    own_network: bool = True
    mounts: tuple[Mount, ...] = ()
    processes_of: str = ""
    """Id of the container whose PID namespace this one joins (an ephemeral container's target)."""
    host_processes: bool = False
    """It has no PID namespace of its own but the node's: it sees the processes of all pods of this sandbox."""
    memory: int = 0
    """Bytes; 0 is no limit."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a container ended."""

    code: int
    """As containers report it: 128 + the signal's number where one killed it."""
    finished: float
    """Epoch seconds."""
    oom: bool = False


class ContainerRecord(msgspec.Struct, kw_only=True):
    """A container that the runtime holds, running or ended and not yet forgotten."""

    id: str
    pod: str
    pid: int
    exit: Exit | None = None
