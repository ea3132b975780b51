"""What to do next, derived from what was found: the input of the improvement plan."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from drillbook.model.judgement import Clocks, Judgement
from drillbook.model.units import Dimension, show
from drillbook.model.verdict import Finding, UndoState, Verdict
from drillbook.reports.clocks import total
from drillbook.reports.faults import FaultFacts
from drillbook.reports.harm import Harm
from drillbook.reports.signals import Signal
from drillbook.reports.text import count

NOTICEABLE = 2.0
"""Seconds of harm below which a missing signal is not worth a task: usual polls are no finer."""


HEARTBEAT = "Give the health signal a heartbeat that fails when no token moves"


class Work(enum.StrEnum):
    """What a task improves."""

    DETECT = "detect"
    PREVENT = "prevent"
    MITIGATE = "mitigate"
    PROCESS = "process"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One task. ``because`` is the evidence in one sentence; ``finding`` the expectation that asked, if one did."""

    id: str
    title: str
    work: Work
    because: str
    finding: str
    urgent: bool


_Bare = tuple[bool, Work, str, str, str]


def backlog(
    judgement: Judgement, faults: tuple[FaultFacts, ...], signals: tuple[Signal, ...], harm: Harm
) -> tuple[Item, ...]:
    """Urgent tasks first; within that, in the order of the findings."""
    bare = [
        *_undo(judgement, faults),
        *(row for finding in judgement.findings for row in _finding(finding)),
        *_detection(judgement.clocks, signals, harm),
        *_service(judgement.clocks, harm),
    ]
    first: dict[str, _Bare] = {}
    for row in bare:
        first.setdefault(row[2], row)
    ordered = sorted(first.values(), key=lambda row: not row[0])
    return tuple(
        Item(id=f"B{number}", urgent=urgent, work=work, title=title, because=because, finding=asked)
        for number, (urgent, work, title, because, asked) in enumerate(ordered, 1)
    )


def _undo(judgement: Judgement, faults: tuple[FaultFacts, ...]) -> Iterator[_Bare]:
    if judgement.undo is UndoState.REMAINS:
        left = ", ".join(fault.id for fault in faults if fault.undo in ("undo-failed", "pending")) or "something"
        yield True, Work.PROCESS, "Run `drillbook recover`: the target may still be broken", f"not undone: {left}", ""
    for fault in faults:
        if fault.undo == "superseded":
            yield False, Work.PROCESS, f"Look at what changed beside {fault.id}", fault.undo_detail, ""


def _finding(finding: Finding) -> Iterator[_Bare]:
    text, reason = finding.expectation, finding.reason
    if finding.verdict is Verdict.INCONCLUSIVE:
        yield False, Work.PROCESS, f"Make “{text}” answerable, then run again", reason, text
    elif finding.verdict is Verdict.REFUTED:
        work, title = _refuted(text)
        yield True, work, title, reason, text


def _refuted(text: str) -> tuple[Work, str]:
    if text.split()[0] == "alert":
        wish = "keep silent" if text.endswith("silent") else "fire in time"
        return Work.DETECT, f"Let the alert {text.split()[1]} {wish} under this fault: “{text}”"
    if "green-while-broken" in text:
        return Work.DETECT, HEARTBEAT
    if text.split()[0] in ("recovered", "mitigated"):
        return Work.MITIGATE, f"Shorten the recovery until “{text}” holds"
    if "guardrail" in text:
        return Work.PREVENT, f"Make the guardrail hold under this fault: “{text}”"
    return Work.PREVENT, f"Make “{text}” hold under this fault"


def _detection(clocks: Clocks, signals: tuple[Signal, ...], harm: Harm) -> Iterator[_Bare]:
    broken = total(clocks.broken)
    beat = next((signal.turned for signal in signals if signal.kind == "heartbeat"), None)
    alerted = clocks.detect.source.startswith("alert ")
    if broken > NOTICEABLE and beat is not None and clocks.inject.at is not None and not alerted:
        after = show(beat - clocks.inject.at, Dimension.DURATION)
        because = f"tokens stood still on a busy engine: an alert on that would have turned {after} after the injection"
        yield clocks.detect.at is None, Work.DETECT, "Alert on a busy engine that makes no tokens", because, ""
    if broken > NOTICEABLE and clocks.detect.at is None:
        because = f"users were failing for {show(broken, Dimension.DURATION)} and nothing turned"
        yield (
            True,
            Work.DETECT,
            "Alert on what users see: streams that stall or end without a finish reason",
            because,
            "",
        )
    if not any(signal.kind == "alert" for signal in signals):
        because = "the journal holds no reading of any alert, so whether one would have fired is not known"
        yield False, Work.DETECT, "Let the drill watch the alerts that on-call gets", because, ""
    if harm.hidden:
        because = f"{harm.hidden} of {harm.bad} bad answers came behind an HTTP 200, where status counters do not look"
        yield False, Work.DETECT, "Count failures inside a 200: parse the stream, not the status", because, ""


def _service(clocks: Clocks, harm: Harm) -> Iterator[_Bare]:
    if hung := harm.outcomes["hung"]:
        because = (
            f"{count(hung, 'user', 'users')} waited up to {show(harm.longest_wait, Dimension.DURATION)} for nothing"
        )
        yield (
            False,
            Work.MITIGATE,
            "Bound the wait for the next token at the router, and retry before the first one",
            because,
            "",
        )
    if cut := harm.outcomes["truncated"]:
        because = f"{count(cut, 'stream was', 'streams were')} cut, {harm.tokens_wasted} tokens made for nothing"
        yield False, Work.MITIGATE, "Drain before a replica goes, or resume cut streams elsewhere", because, ""
    legs = [leg for leg in clocks.recovery if leg.end is not None]
    if legs:
        longest = max(legs, key=lambda leg: (leg.end or 0.0) - leg.start)
        spent, whole = (longest.end or 0.0) - longest.start, (legs[-1].end or 0.0) - legs[0].start
        if whole > NOTICEABLE and spent > whole / 3:
            because = f"“{longest.name}” took {show(spent, Dimension.DURATION)} of {show(whole, Dimension.DURATION)}"
            yield False, Work.MITIGATE, f"Shorten the longest leg of the recovery: {longest.name}", because, ""
