"""A run without anyone's words: what adversarial prompts asked, and what was answered to them."""

from __future__ import annotations

import msgspec

from drillbook.model.attack import AttackRecord
from drillbook.model.events import Line, Noted
from drillbook.model.history import History
from drillbook.probes.names import ATTACKER


def wordless(history: History) -> History:
    """The same run, to be told without prompts, answers, and the words in them that decided."""
    return History(
        [_line(line) for line in history.lines], history.requests, [_record(record) for record in history.attacks],
        history.damage,
    )  # fmt: skip


def _record(record: AttackRecord) -> AttackRecord:
    return msgspec.structs.replace(record, asked="", excerpt="", error="", signal=_ours(record.signal))


def _line(line: Line) -> Line:
    """What an attacker says of itself may quote how the guardrail answers."""
    event = line.event
    if not isinstance(event, Noted) or event.actor.partition("-")[0] != ATTACKER:
        return line
    return msgspec.structs.replace(line, event=Noted(actor=event.actor, text=_ours(event.text)))


def _ours(text: str) -> str:
    """What stands before the first colon: our own words, and then whatever was quoted."""
    return text.partition(": ")[0]
