"""Where Locust's master and its workers run: on this machine, or (``pods``) on the target's cluster."""

from __future__ import annotations

from typing import Protocol

from drillbook.load import child
from drillbook.load.child import Process
from drillbook.load.config import GeneratorConfig
from drillbook.load.locust.config import HOST, check_installed


class Place(Protocol):
    """A place for one fleet."""

    async def begin(self) -> str:
        """Make it ready; the address at which the master will listen."""

    async def launch(self, module: str, config: GeneratorConfig) -> Process:
        """Start one process there."""

    async def end(self) -> None:
        """All processes have ended: take away what was made for them. Never raises, and may be said again."""


class Here:
    """On this machine: children of the runner, which share its clock and its disk."""

    async def begin(self) -> str:
        """Nothing needs to be made."""
        return HOST

    async def launch(self, module: str, config: GeneratorConfig) -> Process:
        """Start one process.

        :raises UsageError: Locust is not installed.
        """
        check_installed()
        return await child.launch(module, config)

    async def end(self) -> None:
        """Nothing was made."""


HERE = Here()
