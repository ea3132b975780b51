"""Probes look and never judge. Bottom up: ``reading`` (the port), ``index`` (a history counted once), the sources
``requests``, ``capacity``, ``observed`` and ``signals``, the clocks (``suffering``, ``recovery``, ``clocks``,
``moments``), and ``registry``, which names them all. ``collectors`` write events while a run is live; all else is pure.

In a probe file of your own::

    from drillbook.probes import probe

    @probe("queue-length", dimension="count", every="1s")
    async def queue_length(target) -> float: ...
"""

from drillbook.probes.custom import probe

__all__ = ["probe"]
