"""The traffic that a run sends, as a fault sees it: what can be asked of it, not how it is made."""

from __future__ import annotations

from typing import Protocol


class Traffic(Protocol):
    """The load under which a target is."""

    @property
    def rate(self) -> float:
        """Requests a second that the experiment's ``load`` says."""

    @property
    def sent(self) -> tuple[float, int]:
        """When the generator last told (monotonic seconds), and how many requests it had sent by then."""

    @property
    def flooded(self) -> int:
        """How many requests of a second load have come to their end, whatever became of them."""

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""

    def flood(self, *, at: float, until: float, rate: float, prompts: str, times: int, output_tokens: int) -> None:
        """Send a second load beside the first, counted apart: ``rate`` a second between two monotonic moments.

        ``prompts`` is a set of which ``times`` texts make one prompt.

        :raises UnsupportedError: what sends the load sends only one.
        """
