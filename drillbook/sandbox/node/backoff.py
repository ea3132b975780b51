"""The kubelet's back-off: none before the first restart, then 10 s doubling to 300 s, forgotten after a long run."""

from __future__ import annotations


class Backoff:
    """One container's. Times are epoch seconds."""

    def __init__(self, initial: float, most: float) -> None:
        self._initial = initial
        self._most = most
        self._next = 0.0

    def delay(self, ended: float, now: float, ran: float) -> tuple[float, float]:
        """Seconds still to wait at ``now`` before a container that ran ``ran`` seconds and ended at ``ended`` restarts.

        With the whole back-off, which messages name. A run of twice the longest back-off clears it, as in the kubelet.
        """
        if ran > 2 * self._most:
            self._next = 0.0
        whole = self._next
        self._next = min(whole * 2, self._most) if whole else self._initial
        return max(0.0, ended + whole - now), whole
