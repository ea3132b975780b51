"""Whom a helper is about: the processes of one container, and a pod's network, as the node sees them.

A container's processes are known by its id in their control groups, which containerd, CRI-O and dockershim all write
there. Where no group bears it, two mounts tell that a kubelet makes for every container: ``/etc/hosts`` from
``…/pods/<uid>/etc-hosts`` and the termination log from ``…/pods/<uid>/containers/<name>/…``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from drillbook.errors import RefusedError

_NEW_NETWORK = 0x40000000
_PROC = Path("/proc")


class GoneError(RefusedError):
    """The container or pod has no process on this node (any more)."""


def pids(pod_uid: str, container: str, container_id: str) -> tuple[int, ...]:
    """The node's pids of one container's processes, ascending; ``container_id`` with or without its ``runtime://``.

    :raises GoneError: it has none here.
    """
    bare = container_id.rpartition("://")[2]
    found = tuple(pid for pid in _all() if _is_in(pid, pod_uid, container, bare))
    if not found:
        raise GoneError(
            f"no process of container {container} ({bare[:12]}) of pod {pod_uid} is seen here",
            hint="it has ended, or the helper runs on another node or without hostPID",
        )
    return found


@contextlib.contextmanager
def network(pod_uid: str) -> Iterator[None]:
    """Within it this process, and what it starts, is in the pod's network namespace.

    :raises GoneError: no process of the pod is seen here.
    :raises RefusedError: the namespace may not be entered.
    """
    inside = next((pid for pid in _all() if _is_of_pod(pid, pod_uid)), None)
    if inside is None:
        raise GoneError(f"no process of pod {pod_uid} is seen here", hint="it has ended, or runs on another node")
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(_open_network(inside, pod_uid))
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def _open_network(pid: int, pod_uid: str) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise GoneError(f"pod {pod_uid} ended while it was looked at") from error
    except OSError as error:
        raise RefusedError(
            f"the network of pod {pod_uid} may not be entered: {error.strerror}", hint="the helper must be privileged"
        ) from error


def _enter(namespace: int) -> None:
    try:
        _setns(namespace)
    finally:
        os.close(namespace)


def _setns(namespace: int) -> None:
    """``os.setns`` came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEW_NETWORK) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise RefusedError(f"the network namespace may not be entered: {reason}", hint="the helper must be privileged")


def _all() -> list[int]:
    own = os.getpid()
    return sorted(pid for entry in _PROC.iterdir() if entry.name.isdigit() and (pid := int(entry.name)) != own)


def _is_in(pid: int, pod_uid: str, container: str, container_id: str) -> bool:
    if container_id and container_id in _read(pid, "cgroup"):
        return True
    return any(f"/pods/{pod_uid}/containers/{container}/" in source for source, _ in _mounts(pid))


def _is_of_pod(pid: int, pod_uid: str) -> bool:
    groups = _read(pid, "cgroup")
    if pod_uid in groups or pod_uid.replace("-", "_") in groups:  # systemd's cgroup driver writes underscores
        return True
    return any(f"/pods/{pod_uid}/" in source and at == "/etc/hosts" for source, at in _mounts(pid))


def _mounts(pid: int) -> Iterator[tuple[str, str]]:
    """What the kubelet bound into the container: source within its file system, and place (proc(5), mountinfo).

    Only single files: a pod that mounts the node's whole file system sees every pod's folder, elsewhere.
    """
    for line in _read(pid, "mountinfo").splitlines():
        fields = line.split(" ", 5)
        if len(fields) == 6 and "/pods/" in fields[3]:
            yield fields[3], fields[4]


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
