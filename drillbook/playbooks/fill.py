"""A playbook with a run put into it: what an on-call person reads at three in the morning."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drillbook.model.units import Dimension, show
from drillbook.playbooks.incident import Incident, SignalSeen
from drillbook.playbooks.playbook import Expected, Playbook, SignalEntry, Watch
from drillbook.playbooks.texts import Language, fill

NOTICEABLE = 1.0
"""Seconds of harm below which no signal can be said to have missed it: usual polls are no finer."""


class FilledSignal(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` is what the run tells of it; ``surprise`` where that is not what the playbook expects."""

    name: str
    expect: Expected
    symptom: str
    query: str
    command: str
    seen: str
    surprise: bool


class FilledStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of any section: what to do or ask, how, and what to make of the answer."""

    name: str
    query: str = ""
    command: str = ""
    notes: tuple[tuple[str, str], ...] = ()
    """Pairs of a word (``yes``, ``no``, ``expected``, ``risk``, ``why``) and its text."""


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    failure_mode: str
    incident: Incident
    preconditions: tuple[str, ...]
    severity: tuple[tuple[str, str], ...]
    signals: tuple[FilledSignal, ...]
    missed: tuple[str, ...]
    """Signals that the run watched and that stayed green while users were failing, with how long."""
    triage: tuple[FilledStep, ...]
    mitigation: tuple[FilledStep, ...]
    rollback: FilledStep
    verification: tuple[FilledStep, ...]
    escalation: tuple[FilledStep, ...]
    communication: tuple[tuple[str, str], ...]
    evidence: tuple[FilledStep, ...]
    gaps: tuple[str, ...]


def filled(playbook: Playbook, incident: Incident) -> Filled:
    """Pure: every text with its placeholders filled in for its language, and every signal with what it did."""
    write = _Writer(incident)
    return Filled(
        id=playbook.id,
        title=write.prose(playbook.title),
        failure_mode=write.prose(playbook.failure_mode),
        incident=incident,
        preconditions=tuple(map(write.prose, playbook.preconditions)),
        severity=tuple((rule.level, write.prose(rule.when)) for rule in playbook.severity),
        signals=tuple(_signal(entry, incident, write) for entry in playbook.signals),
        missed=tuple(
            f"{signal.name} ({show(signal.green_while_broken, Dimension.DURATION)})"
            for signal in incident.signals
            if signal.kind != "heartbeat" and signal.turned is None and signal.green_while_broken >= NOTICEABLE
        ),
        triage=tuple(
            write.step(f"{step.id}: {step.question}", step.query, step.command, yes=step.yes, no=step.no)
            for step in playbook.triage
        ),
        mitigation=tuple(
            write.step(action.name, "", action.command, expected=action.expected, risk=action.risk)
            for action in playbook.mitigation
        ),
        rollback=write.step(playbook.rollback.trigger, "", playbook.rollback.command),
        verification=tuple(
            write.step(check.name, check.query, check.command, expected=check.expected)
            for check in playbook.verification
        ),
        escalation=tuple(write.step(role.role, duty=role.duty, page=role.page) for role in playbook.escalation),
        communication=tuple((message.audience, write.prose(message.text)) for message in playbook.communication),
        evidence=tuple(write.step(kept.what, "", kept.command, why=kept.why) for kept in playbook.evidence),
        gaps=tuple(map(write.prose, playbook.gaps)),
    )


class _Writer:
    """Fills texts in with the names of one incident."""

    def __init__(self, incident: Incident) -> None:
        self.names = incident.names

    def prose(self, text: str) -> str:
        return fill(text, self.names, Language.PROSE).strip()

    def step(self, name: str, query: str = "", command: str = "", **notes: str) -> FilledStep:
        return FilledStep(
            name=self.prose(name),
            query=fill(query, self.names, Language.PROMQL).strip(),
            command=fill(command, self.names, Language.SHELL).strip(),
            notes=tuple((word, self.prose(text)) for word, text in notes.items() if text),
        )


def _signal(entry: SignalEntry, incident: Incident, write: _Writer) -> FilledSignal:
    seen, turned = _seen(entry.watch, incident)
    step = write.step(entry.name, entry.query, entry.command)
    return FilledSignal(
        name=step.name,
        expect=entry.expect,
        symptom=write.prose(entry.symptom),
        query=step.query,
        command=step.command,
        seen=seen,
        surprise=turned is not None and turned != (entry.expect is Expected.TURNS),
    )


def _seen(watch: Watch, incident: Incident) -> tuple[str, bool | None]:
    """What the run tells of a signal, and whether it turned; None where the run cannot tell."""
    if watch is Watch.NOT_WATCHED:
        return "not watched by the drill", None
    if watch is Watch.USERS:
        if incident.harmed_after is None:
            return "no user was harmed", False
        after = show(incident.harmed_after, Dimension.DURATION)
        words = f"first harm {after} after the injection; {incident.bad} of {incident.requests} requests ended badly"
        return f"{words}, {incident.hidden} of them behind an HTTP 200", True
    found = [signal for signal in incident.signals if _is(signal, watch, incident.victims)]
    if not found:
        return "not watched in this run", None
    return _told(found)


def _is(signal: SignalSeen, watch: Watch, victims: Sequence[str]) -> bool:
    endpoint = signal.kind == "health" and signal.name.startswith("endpoint ")
    match watch:
        case Watch.ENDPOINT_HEALTH:
            return endpoint
        case Watch.ENGINE_HEALTH:
            return signal.kind == "health" and not endpoint and signal.name.split(" ")[0] in victims
        case _:
            return signal.kind == watch.value


def _told(found: Sequence[SignalSeen]) -> tuple[str, bool]:
    turned = sorted((signal.turned, signal.name) for signal in found if signal.turned is not None)
    if turned:
        return f"{turned[0][1]} turned {show(max(0.0, turned[0][0]), Dimension.DURATION)} after the injection", True
    longest = max(signal.green_while_broken for signal in found)
    names = ", ".join(signal.name for signal in found[:3])
    return f"{names} stayed green, for {show(longest, Dimension.DURATION)} while users were failing", False
