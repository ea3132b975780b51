"""What the processes of a load through Locust are told."""

from __future__ import annotations

import importlib.util

from drillbook.errors import UsageError
from drillbook.load.config import GeneratorConfig

HOST = "127.0.0.1"
"""Where a master listens whose workers are on the same machine."""


class LocustConfig(GeneratorConfig, frozen=True, kw_only=True):
    """One process: a generator, or the master of several, which sends nothing itself."""

    workers: int = 1
    """How many workers the master waits for."""
    host: str = HOST
    """The address of the master, for itself and for its workers."""
    master: int = 0
    """The port of a worker's master; 0 where there is none."""
    connect: float = 20.0
    """Seconds until all workers must have reached their master."""
    rows: tuple[str | list[dict[str, str]], ...] = ()
    """The prompts themselves, for a process that does not see the file."""
    boot: str = ""
    """Whose clock is kept, where that is another machine's."""
    ahead: float = 0.0
    """Seconds by which that clock is ahead of the machine's own."""


SEED_STEP = 1_000_003
"""Between the seeds of two workers: far enough apart that two runs of neighbouring seeds share none."""
SATURATED = "the load generator is saturated"
"""How a note begins that says so: what was measured then is not to be trusted."""
DRIFTED = "the clocks of the load's machines drifted apart"
"""The same, of times that cannot be compared with the run's."""
MASTER = "master"
"""What the master's name ends with; a worker's ends with its number."""
LISTENS = "Locust's master listens on port "
"""What a master says first; the port follows."""


def check_installed() -> None:
    """Refuse a load through Locust where there is none.

    Raises:
        UsageError: it is not installed.

    """
    if importlib.util.find_spec("locust") is None:
        raise UsageError(
            "`load: {engine: locust}` needs Locust, which is not installed", "pip install 'drillbook[locust]'"
        )
