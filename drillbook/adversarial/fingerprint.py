"""How *this* guardrail blocks, learned while it is healthy: what its tripwires get and their benign twins never do.

So a gateway that nobody has described works too, and a 403 of its own is a block while a 403 of a broken key stays an
error. Only what was seen at least twice and of no benign prompt is believed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from drillbook.adversarial.evidence import Evidence

NEEDED = 2
"""Tripwires that must get the same answer."""
LONGEST = 400
"""Characters of an answer that can be a block's text; a model's essay is none."""
_VARIES = re.compile(r"\b(?:[0-9a-f]{6,}|[0-9]+)(?:-[0-9a-f]+)*\b")


@dataclass
class Fingerprint:
    """Grows while tripwires and twins are answered; ``matches`` reads what was learned so far."""

    blocks: Counter[str] = field(default_factory=Counter)
    benign: set[str] = field(default_factory=set)
    known: tuple[str, ...] = ()
    """The traits of a block, the most frequent first."""

    def learn(self, seen: Evidence, *, tripwire: bool) -> None:
        """Take one answer of the healthy time; what failed to arrive teaches nothing."""
        key = trait(seen)
        if key is None:
            return
        if tripwire:
            self.blocks[key] += 1
        else:
            self.benign.add(key)
        told = self.blocks.most_common()
        self.known = tuple(key for key, count in told if count >= NEEDED and key not in self.benign)

    def matches(self, seen: Evidence) -> str | None:
        """The trait of a block that this answer has."""
        if not self.known:
            return None
        key = trait(seen)
        return key if key in self.known else None


def trait(seen: Evidence) -> str | None:
    """What two answers share that say the same: the status and code of an error, or the words of a short answer.

    An unavailable server (429, 5xx) is no trait: it looks the same for everyone, and a fault makes it look so.
    """
    status = seen.status
    if status is None or status == 429 or status >= 500:
        return None
    if status >= 400 or (seen.errors and not seen.words):
        codes = sorted({str(error[key]) for error in seen.errors for key in ("code", "type") if error.get(key)})
        return f"HTTP {status} {' '.join(codes) or _plain(seen.said)}".strip()
    if seen.record.finish_reason == "content_filter":
        return "finish reason content_filter"
    if seen.words and len(seen.words) <= LONGEST:
        return f"text {_plain(seen.words)}"
    return None


def _plain(text: str) -> str:
    """Without what differs from one answer to the next: numbers and ids."""
    return _VARIES.sub("#", text.lower())[:120]
