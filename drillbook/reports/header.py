"""The head of a report: what ran, against what, when, and how it ended, so that anyone can find and repeat it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from drillbook.model.events import AbortTripped, RunStarted
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.model.verdict import RunStatus, UndoState, Verdict


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Durations are seconds; times are UTC in ISO 8601."""

    title: str
    why: str
    done: str
    """What was done to the target, in one sentence."""
    run_id: str
    status: RunStatus
    verdict: Verdict
    exit_code: int
    reason: str
    undo: UndoState
    aborted: str
    """The abort condition that tripped, else empty."""
    target: str
    stack: str
    simulated: bool
    endpoint: str
    load: str
    started: str
    seconds: float
    experiment: str
    """Path of the experiment's file."""
    sha256: str
    """Hash of that file's text."""
    versions: dict[str, str]
    playbook: str


_UNKNOWN = RunStarted(
    run_id="unknown",
    drillbook="unknown",
    experiment={"title": "Unknown experiment: the journal's first line is missing"},
    source="",
    path="",
    sha256="",
    target="unknown",
    stack="unknown",
    simulated=False,
    endpoint="",
)


def started(history: History) -> RunStarted:
    """The run's first line, or a stand-in that says that it is missing."""
    return history.started or _UNKNOWN


def header(history: History, judgement: Judgement) -> Header:
    run = started(history)
    experiment = run.experiment
    return Header(
        title=str(experiment.get("title", run.path)),
        why=str(experiment.get("why", "")),
        done=_done(history),
        run_id=run.run_id,
        status=judgement.status,
        verdict=judgement.verdict,
        exit_code=int(judgement.exit_code),
        reason=judgement.reason,
        undo=judgement.undo,
        aborted=next((event.condition for _, event in history.events(AbortTripped)), ""),
        target=run.target,
        stack=run.stack,
        simulated=run.simulated,
        endpoint=run.endpoint,
        load=_load(experiment.get("load", {})),
        started=utc(history.lines[0].wall) if history.lines else "",
        seconds=history.end - history.lines[0].mono if history.lines else 0.0,
        experiment=run.path,
        sha256=run.sha256,
        versions={"drillbook": run.drillbook, **run.facts},
        playbook=str(experiment.get("playbook") or ""),
    )


def utc(wall: float) -> str:
    """Seconds since the epoch as ``2026-11-18T10:26:40Z``; no text of what lies outside of all calendars."""
    try:
        return datetime.fromtimestamp(wall, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def _done(history: History) -> str:
    faults = history.plan.faults if history.plan else ()
    deeds = [f"{fault.summary} at +{fault.at:g}s" for fault in faults]
    return "; ".join(deeds) if deeds else "nothing: the run ended before a plan was made"


def _load(load: dict[str, Any]) -> str:
    if not load:
        return ""
    kind = "streamed" if load.get("stream", True) else "not streamed"
    rate, prompts, tokens = (load.get(key, "?") for key in ("rate", "prompts", "output-tokens"))
    return f"{rate} open loop, {prompts} prompts, {tokens} tokens, {kind}"
