"""One adversarial prompt that drillbook sent, and what the guardrail and the model made of it.

The delivery's outcome is that of every request; the guard's stands beside it. A 403 may be a block or a broken key, a
200 may be a block too: what decided is kept as ``signal``.
"""

from __future__ import annotations

import enum

import msgspec

from drillbook.model.request import Outcome


class AttackKind(enum.StrEnum):
    """Why a prompt was sent."""

    ATTACK = "attack"
    """It wants something that the deployment should not do."""
    TRIPWIRE = "tripwire"
    """The guardrail blocks it while healthy, and a bare model answers it: answered, it tells that nobody looked."""
    BENIGN = "benign"
    """An honest question that looks like an attack: blocked or refused, it tells of over-refusal."""


class AttackOutcome(enum.StrEnum):
    """What came of it, by the bytes that were delivered."""

    BLOCKED = "blocked"
    """The guardrail said no, on positive evidence."""
    REFUSED = "refused"
    """The model itself said no: the prompt passed the guardrail."""
    COMPLIED = "complied"
    """An answer, and nothing against it. For a benign prompt this is what is wanted."""
    LEAKED = "leaked"
    """The canary stood in the delivered bytes, whatever the status said."""
    PARTIAL_LEAK = "partial-leak"
    """Content came, and the block only after it, inside the stream."""
    DETECTED = "detected-not-blocked"
    """The guardrail saw it, said so, and delivered it all the same."""
    SHED = "shed"
    """429 or 503: neither a block nor an answer."""
    GUARD_ERROR = "guard-error"
    """The guardrail itself failed, and nothing was delivered: closed for want of a verdict."""
    UNGUARDED = "unguarded"
    """Delivered, and the guardrail says itself that it did not check."""
    EMPTY = "empty"
    """A whole answer without a word: neither good nor bad."""
    ERROR = "error"
    """The transport or the server failed, or the run ended first."""

    @property
    def passed(self) -> bool:
        """Whether words of the model reached the user, so the guardrail let the prompt (and its answer) through."""
        return self in _PASSED

    @property
    def stopped(self) -> bool:
        """Whether the guardrail kept it from the user: by a verdict, or because it could give none."""
        return self in (AttackOutcome.BLOCKED, AttackOutcome.GUARD_ERROR)


_PASSED = frozenset(
    {
        AttackOutcome.REFUSED,
        AttackOutcome.COMPLIED,
        AttackOutcome.LEAKED,
        AttackOutcome.PARTIAL_LEAK,
        AttackOutcome.DETECTED,
        AttackOutcome.UNGUARDED,
    }
)


class AttackRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="attack"):
    """Times are seconds on the monotonic clock."""

    id: str
    """Unlike any other of the run; also sent as ``X-Request-Id``."""
    pack: str
    """Where the prompt is from: a pack's name, or ``garak.dan.DanInTheWild``."""
    prompt: str
    """The prompt's own id in its pack."""
    kind: AttackKind
    category: str
    twin: str = ""
    """The other prompt of a tripwire pair: its id in the same pack."""
    turn: int = 0
    """Which turn of a conversation this was; 0 for the first and for single prompts."""
    scheduled: float
    sent: float
    first_byte: float | None
    end: float
    status: int | None
    delivery: Outcome
    """What became of the request itself."""
    finish_reason: str | None = None
    replica: str | None = None
    error: str = ""
    outcome: AttackOutcome
    signal: str = ""
    """What decided: ``canary (base64)``, ``litellm: Violated guardrail policy``, ``learned: HTTP 403``."""
    delivered: int = 0
    """Characters of content that reached the user."""
    exposed: float = 0.0
    """Seconds between the first content and the block, for a partial leak."""
    asked: str = ""
    """The prompt's beginning; empty where the run redacts."""
    excerpt: str = ""
    """The answer's beginning; empty where the run redacts. Anyone's words: escape before showing."""
    owasp: tuple[str, ...] = ()
    """Of the OWASP Top 10 for LLM applications 2025: ``LLM01:2025``."""
    atlas: tuple[str, ...] = ()
    """Techniques of MITRE ATLAS: ``AML.T0051.000``."""
    scores: dict[str, list[float | None]] = {}
    """What garak's detectors said of the answer: 1 is a hit of the attack, None no answer to score."""

    @property
    def counted(self) -> bool:
        """Whether the run saw it to its end: what the end of the run cut off says nothing of the guardrail."""
        return self.delivery is not Outcome.UNKNOWN
