"""A container's view of the file system: the machine's, but ``/proc``, ``/sys``, ``/dev``, volumes and ``/etc/hosts``.

Runs in the forked child, in a mount namespace of its own, so nothing here is seen or left behind outside. A mount point
that does not exist on the machine is made on a tmpfs laid over its nearest existing ancestor, never on the machine.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from drillbook.sandbox.node import namespaces as ns
from drillbook.sandbox.node.spec import Mount

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


def build(scaffold: Path, mounts: Iterable[Mount]) -> None:
    """Set up this process's mount namespace; ``scaffold`` is an empty folder that may be mounted over.

    :raises OSError: a mount failed; the message names its target.
    """
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    _own_sys()
    root = _Root(scaffold)
    ordered = sorted(mounts, key=lambda one: one.target.count("/"))
    if any(_nearest(Path(mount.target)) == Path("/") for mount in ordered):
        root.replace()
    # Opened now: the binds that follow may hide a source, and one opened on another root could not be bound any more.
    sources = [os.open(mount.source, os.O_PATH | os.O_CLOEXEC) for mount in ordered]
    root.own_dev()
    for mount, source in zip(ordered, sources, strict=True):
        root.bind(mount, source)


def _own_sys() -> None:
    """A ``/sys`` that shows this network namespace's links, not the machine's; its control groups stay as they are.

    Refused (EPERM, or EBUSY: the same is there) where the network namespace is the machine's: so are the links.
    """
    groups = os.open("/sys/fs/cgroup", os.O_PATH | os.O_CLOEXEC) if Path("/sys/fs/cgroup").exists() else None
    try:
        ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC | ns.MS_RDONLY)
        if groups is not None:
            ns.mount(f"/proc/self/fd/{groups}", "/sys/fs/cgroup", None, ns.MS_BIND | ns.MS_REC)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EBUSY):
            raise
    finally:
        if groups is not None:
            os.close(groups)


class _Root:
    def __init__(self, scaffold: Path) -> None:
        self._scaffold = scaffold
        self._layers: set[int] = set()
        """Device numbers of the file systems made in here: entries made in them stay in here."""
        self._volumes: list[Path] = []

    def own_dev(self) -> None:
        """A ``/dev`` with the devices that every container has; the machine's own are not for the taking."""
        staging = self._layer("dev", "mode=755,size=64k")
        for name in _DEVICES:
            source, target = Path("/dev", name), staging / name
            if not source.exists():
                continue
            _make(target, is_folder=source.is_dir())
            ns.mount(str(source), str(target), None, ns.MS_BIND | ns.MS_REC)
        for name, to in _LINKS.items():
            (staging / name).symlink_to(to)
        _make(staging / "shm", is_folder=True)
        _make(staging / "termination-log", is_folder=False)
        ns.mount(str(staging), "/dev", None, ns.MS_BIND | ns.MS_REC)

    def bind(self, mount: Mount, source: int) -> None:
        """``source`` is a descriptor of the mount's source."""
        target = Path(mount.target)
        if not target.exists():
            self._make_mount_point(target, is_folder=stat.S_ISDIR(os.fstat(source).st_mode))
        ns.mount(f"/proc/self/fd/{source}", mount.target, None, ns.MS_BIND | ns.MS_REC)
        if mount.read_only:
            kept = os.statvfs(target).f_flag & (ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
            ns.mount(None, mount.target, None, ns.MS_REMOUNT | ns.MS_BIND | ns.MS_RDONLY | kept)
        self._volumes.append(target)

    def _make_mount_point(self, target: Path, *, is_folder: bool) -> None:
        ancestor = _nearest(target.parent)
        in_volume = any(ancestor.is_relative_to(volume) for volume in self._volumes)
        if not in_volume and ancestor.stat().st_dev not in self._layers:
            self._overlay(ancestor)
        _make(target, is_folder=is_folder)

    def replace(self) -> None:
        """A root of symlinks and binds of the machine's own top level, in which further folders can be made."""
        layer = self._layer("new", "mode=755,size=16m")
        for entry in os.scandir("/"):
            target = layer / entry.name
            if entry.is_symlink():
                target.symlink_to(Path(entry.path).readlink())
            else:
                _make(target, is_folder=entry.is_dir())
                ns.mount(entry.path, str(target), None, ns.MS_BIND | ns.MS_REC)
        ns.pivot_root(str(layer))

    def _layer(self, name: str, options: str) -> Path:
        layer = self._scaffold / name
        layer.mkdir(parents=True, exist_ok=True)
        ns.mount("tmpfs", str(layer), "tmpfs", ns.MS_NOSUID, options)
        self._layers.add(layer.stat().st_dev)
        return layer

    def _overlay(self, folder: Path) -> None:
        layer = self._layer(f"layer{len(self._layers)}", "mode=755,size=16m")
        upper, work = layer / "upper", layer / "work"
        upper.mkdir()
        work.mkdir()
        ns.mount("overlay", str(folder), "overlay", 0, f"lowerdir={folder},upperdir={upper},workdir={work}")
        self._layers.add(folder.stat().st_dev)


def _make(target: Path, *, is_folder: bool) -> None:
    if is_folder:
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _nearest(target: Path) -> Path:
    """The nearest folder above ``target`` that exists; ``target`` itself if it does."""
    return next(folder for folder in (target, *target.parents) if folder.exists())
