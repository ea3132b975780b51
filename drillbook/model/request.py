"""One request that drillbook sent, with every token's time. Load, attack and verify traffic share this record."""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterator

import msgspec


class Outcome(enum.StrEnum):
    """What the user got. A 200 is not an ``ok``: streams fail inside a 200."""

    OK = "ok"
    FAILED = "failed"
    """An HTTP error, a refused connection, or an error event inside a 200 before any token."""
    TRUNCATED = "truncated"
    """Tokens came, then an error event, a cut connection, or an end without a finish reason."""
    HUNG = "hung"
    """No byte for the stall time-out: the connection is open and nothing comes."""
    SHED = "shed"
    """429 or 503, as a status or as an error event's code: the target said no on purpose."""
    UNKNOWN = "unknown"
    """The run ended while it was in flight: neither good nor bad."""

    @property
    def bad(self) -> bool:
        return self not in (Outcome.OK, Outcome.UNKNOWN)


class Stream(enum.StrEnum):
    """Why it was sent. SLIs of the load ignore the others."""

    LOAD = "load"
    FLOOD = "flood"
    """A second load, which a fault sends: it harms the users of the first."""
    ATTACK = "attack"
    VERIFY = "verify"


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="request", gc=False):
    """Times are seconds on the monotonic clock. ``tokens`` are microseconds since ``sent``, one per content chunk."""

    id: str
    stream: Stream
    scheduled: float
    """When the open-loop schedule wanted it sent: the user's clock starts here (no coordinated omission)."""
    sent: float
    first_byte: float | None
    tokens: tuple[int, ...]
    end: float
    outcome: Outcome
    status: int | None
    """HTTP status; None where no answer came."""
    error: str = ""
    """The SSE or body error, or the transport's, in one line."""
    finish_reason: str | None = None
    replica: str | None = None
    """Who answered, where a header tells."""
    wanted_tokens: int = 0
    prompt_tokens: int = 0
    session: str | msgspec.UnsetType = msgspec.UNSET
    """Whose request it is, where the load has sessions; not written where it has none."""

    @property
    def chunks(self) -> int:
        """How many content chunks came."""
        return len(self.tokens)

    @property
    def first(self) -> int | None:
        """Microseconds from ``sent`` to the first content chunk."""
        return self.tokens[0] if self.tokens else None

    @property
    def last(self) -> int | None:
        """Microseconds from ``sent`` to the last content chunk."""
        return self.tokens[-1] if self.tokens else None

    @property
    def ttft(self) -> float | None:
        """Seconds from the *scheduled* send to the first token; None where none came."""
        first = self.first
        return None if first is None else self.sent + first / 1e6 - self.scheduled

    @property
    def last_progress(self) -> float:
        """The last moment at which the user saw something move."""
        return self.sent + (self.last or 0) / 1e6

    @property
    def gaps(self) -> Iterator[int]:
        """Microseconds between successive content chunks."""
        tokens = self.tokens
        return map(operator.sub, tokens[1:], tokens)

    @property
    def inter_token(self) -> tuple[float, ...]:
        """Seconds between successive content chunks (ITL)."""
        return tuple(gap / 1e6 for gap in self.gaps)
