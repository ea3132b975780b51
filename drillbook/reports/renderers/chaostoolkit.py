"""``chaostoolkit.json``: the run as a journal of Chaos Toolkit, for ``chaos report`` and whatever else reads those.

The steady state becomes the hypothesis before the method, each fault an action, each expectation a probe of the
hypothesis after it, each undo a rollback. What has no place there stands under ``drillbook``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from drillbook.chaostoolkit import journal
from drillbook.model.verdict import Finding, RunStatus, Verdict
from drillbook.reports.facts import Facts
from drillbook.reports.faults import FaultFacts

FILENAME = "chaostoolkit.json"

Json = dict[str, Any]
_STATUSES = {RunStatus.ABORTED: "aborted", RunStatus.INTERRUPTED: "interrupted", RunStatus.CRASHED: "aborted"}


def render(facts: Facts) -> str:
    return json.dumps(_journal(facts), indent=1, ensure_ascii=False) + "\n"


def _journal(facts: Facts) -> Json:
    run = facts.header
    before = [_asked(facts, finding) for finding in facts.findings if finding.role == "steady-state"]
    after = [_asked(facts, finding) for finding in facts.findings if finding.role in ("expect", "abort-when")]
    undone = [fault for fault in facts.faults if fault.undo != "nothing-to-undo"]
    experiment = {
        "title": run.title,
        "description": run.why or run.title,
        "steady-state-hypothesis": {"title": "Users are served", "probes": [item["activity"] for item in after]},
        "method": [_activity("action", fault.summary) for fault in facts.faults],
        "rollbacks": [_activity("action", f"undo {fault.id}") for fault in undone],
    }
    return {
        **journal.head(experiment, _at(facts, 0.0)),
        "platform": run.target,
        "node": run.endpoint,
        "status": _STATUSES.get(run.status, "completed"),
        "deviated": run.verdict is Verdict.REFUTED,
        "steady_states": {"before": _state(before), "after": _state(after), "during": []},
        "run": [_struck(facts, fault) for fault in facts.faults],
        "rollbacks": [_undone(facts, fault) for fault in undone],
        "end": _at(facts, run.seconds),
        "duration": run.seconds,
        "drillbook": {"verdict": run.verdict, "reason": run.reason, "run-id": run.run_id, "undo": run.undo},
    }


def _asked(facts: Facts, finding: Finding) -> Json:
    held = finding.verdict is Verdict.HELD
    activity = {**_activity("probe", finding.expectation), "tolerance": finding.expectation}
    start, end = finding.window or (0.0, facts.header.seconds - _zero(facts))
    said = _record(facts, activity, finding.value, start, end)
    unknown = finding.verdict is Verdict.INCONCLUSIVE
    return said | {"tolerance_met": held, "reason": finding.reason} | (_failed(finding.reason) if unknown else {})


def _struck(facts: Facts, fault: FaultFacts) -> Json:
    start = fault.injected_at if fault.injected_at is not None else fault.planned_at
    said = _record(facts, _activity("action", fault.summary), fault.bite_detail, start, start)
    return said | ({} if fault.bite == "bit" else _failed(f"{fault.bite}: {fault.bite_detail}"))


def _undone(facts: Facts, fault: FaultFacts) -> Json:
    end = fault.undone_at if fault.undone_at is not None else facts.header.seconds - _zero(facts)
    said = _record(facts, _activity("action", f"undo {fault.id}"), fault.undo_detail, end, end)
    clean = fault.undo in ("undone", "gone", "superseded")
    return said | ({} if clean else _failed(f"{fault.undo}: {fault.undo_detail}"))


def _activity(kind: str, name: str) -> Json:
    return {"type": kind, "name": name, "provider": {"type": "python", "module": "drillbook", "func": "run"}}


def _record(facts: Facts, activity: Json, output: object, start: float, end: float) -> Json:
    """One activity; times are seconds after time zero."""
    zero = _zero(facts)
    return {
        "activity": activity,
        "output": output,
        "start": _at(facts, zero + start),
        "status": "succeeded",
        "end": _at(facts, zero + end),
        "duration": round(end - start, 6),
    }


def _failed(reason: str) -> Json:
    return {"status": "failed", "exception": [f"{reason}\n"]}


def _state(asked: list[Json]) -> Json | None:
    return {"steady_state_met": all(item["tolerance_met"] for item in asked), "probes": asked} if asked else None


def _zero(facts: Facts) -> float:
    """Time zero, in seconds after the run's beginning."""
    return -facts.phases[0].start if facts.phases else 0.0


def _at(facts: Facts, seconds: float) -> str:
    """A moment so many seconds after the run's beginning; the epoch's, where even that is not known."""
    try:
        start = datetime.fromisoformat(facts.header.started)
    except ValueError:
        start = datetime.fromtimestamp(0, UTC)
    try:
        return (start + timedelta(seconds=seconds)).isoformat()
    except OverflowError:  # a damaged journal's: no calendar has that day
        return start.isoformat()
