"""What the processes of a load through Locust are told."""

from __future__ import annotations

from drillbook.load.config import GeneratorConfig

HOST = "127.0.0.1"
"""Where a master listens: its workers are on the same machine."""


class LocustConfig(GeneratorConfig, frozen=True, kw_only=True):
    """One process: a generator, or the master of several, which sends nothing itself."""

    workers: int = 1
    """How many workers the master waits for."""
    master: int = 0
    """The port of a worker's master; 0 where there is none."""


SEED_STEP = 1_000_003
"""Between the seeds of two workers: far enough apart that two runs of neighbouring seeds share none."""
CONNECT = 20.0
"""Seconds until all workers must have reached their master."""
SATURATED = "the load generator is saturated"
"""How a note begins that says so: what was measured then is not to be trusted."""
LISTENS = "Locust's master listens on port "
"""What a master says first; the port follows."""
