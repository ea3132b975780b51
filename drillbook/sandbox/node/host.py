"""What every pod of this agent shares."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node.api import Api
from drillbook.sandbox.node.network import PodNetwork
from drillbook.sandbox.node.recorder import Recorder
from drillbook.sandbox.node.references import References
from drillbook.sandbox.node.runtime_client import RuntimeClient
from drillbook.sandbox.node.spec import ContainerSpec, Exit


@dataclass(kw_only=True)
class Host:
    """The agent's own things, lent to its pods."""

    config: SandboxConfig
    api: Api
    runtime: RuntimeClient
    recorder: Recorder
    references: References
    network: PodNetwork
    isolated: bool
    """Containers have PID and mount namespaces."""
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the pods of all nodes are known, and with them the addresses that are taken."""
    exits: dict[str, asyncio.Future[Exit]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.config.path / "node"

    @property
    def memory_folder(self) -> Path:
        """Where volumes live that are memory on a cluster: /dev/shm of pods, emptyDirs with ``medium: Memory``."""
        return Path("/dev/shm", f"drillbook-{self.config.tag}")  # noqa: S108 -- memory is what is wanted

    def ended(self, container: str) -> asyncio.Future[Exit]:
        """The container's end, past or to come."""
        return self.exits.setdefault(container, asyncio.get_running_loop().create_future())

    def on_exit(self, container: str, end: Exit) -> None:
        future = self.ended(container)
        if not future.done():
            future.set_result(end)

    async def run_inside(self, spec: ContainerSpec, argv: Sequence[str], seconds: float) -> tuple[int, str]:
        """Run a command in a container. Its exit code and the first 10 KiB of what it printed.

        :raises TimeoutError: it took longer, and was killed.
        :raises RuntimeCallError: it could not be started, or exec is refused here.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pid, code = await self.runtime.exec(spec.id, argv, spec.env, (null, write, write))
        except BaseException:  # a cancellation too: nobody else would close it
            os.close(read)
            raise
        finally:
            os.close(write)
            os.close(null)
        os.set_blocking(read, False)
        try:
            result = await asyncio.wait_for(asyncio.shield(code), seconds)
            return result, _read_all(read)
        except TimeoutError:
            await self.runtime.signal_exec(pid, 9)
            raise
        finally:
            os.close(read)


def _read_all(fd: int) -> str:
    try:
        return os.read(fd, 10240).decode(errors="replace")
    except BlockingIOError:
        return ""


def load_spec(folder: Path) -> ContainerSpec:
    return msgspec.json.decode((folder / "spec.json").read_bytes(), type=ContainerSpec)


def base_environment(config: SandboxConfig, *, hostname: str, address: str) -> Mapping[str, str]:
    """What every container has, as an image would bring it."""
    from drillbook.sandbox.config import MARK

    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    path = os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {
        "PATH": f"{config.path / 'bin'}:{path}", "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8",
        "HOSTNAME": hostname, "PYTHONUNBUFFERED": "1", "KUBECONFIG": str(config.path / "pod.kubeconfig"),
        MARK: config.state_dir, "POD_IP": address, **kept,
    }  # fmt: skip
