"""Rollouts, read off what was watched: whether the target took a new revision back, by which signal, how fast.

A rollback is the target's own: whatever comes after drillbook began to undo the rollout is not counted. Argo Rollouts
and Flagger say it themselves; a Deployment is taken back where its former template is asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drillbook.model.events import AlertChanged, AlertState, ObjectChanged
from drillbook.model.experiment import RollbackSpec
from drillbook.model.history import Span
from drillbook.model.units import Dimension, show
from drillbook.probes import revisions
from drillbook.probes.capacity import Steps
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Probe, Reading, missing
from drillbook.probes.revisions import WORKLOADS, began, newcomers, until
from drillbook.probes.watched import Figure, Happened, lag

ANALYSES = ("AnalysisRun", "Canary")
_APART = 1.0
"""Seconds by which the watches of two kinds may be out of step."""


@dataclass(frozen=True)
class Signal:
    """Something that can make a target take a revision back."""

    moment: float
    name: str
    """``analysis``, ``progress deadline`` or ``alert``."""
    detail: str


def rollbacks(index: Indexed) -> list[Signal]:
    """Each time the target took a revision back, with how it said so."""
    start = began(index)
    if start is None:
        return []
    found, away = [], False
    for was, moment, template in revisions.templates(index):
        if moment > start and away and was == template:
            found.append(Signal(moment, "template", "the former template is asked for again"))
        away = was != template
    said: dict[str, bool] = {}
    for line, event in index.events(ObjectChanged):
        aborted = bool(event.summary.get("aborted")) or (
            event.kind == "Canary" and event.summary.get("phase") == "Failed"
        )
        if event.kind in (*WORKLOADS, "Canary") and aborted and not said.get(event.uid) and line.mono >= start:
            found.append(Signal(line.mono, "abort", str(event.summary.get("message") or "")))
        said[event.uid] = aborted
    return sorted((each for each in found if each.moment < until(index)), key=lambda each: each.moment)


def rolled_back(index: Indexed) -> float | None:
    return next((each.moment for each in rollbacks(index)), None)


def signals(index: Indexed) -> list[Signal]:
    """What spoke against the new revision, from its beginning to its end, in order."""
    start, back = began(index), rolled_back(index)
    end = until(index) if back is None else min(back + _APART, until(index))
    whole = revisions.promoted(index)  # an alert after that is about something else: there is nothing to compare with
    found = [] if start is None else [each for each in _signals(index) if start <= each.moment < end]
    mine = [each for each in found if each.name != "alert" or whole is None or each.moment < whole]
    return sorted(mine, key=lambda each: each.moment)


def _signals(index: Indexed) -> Iterator[Signal]:
    said: set[tuple[str, str]] = set()
    for line, event in index.events(ObjectChanged):
        summary = event.summary
        if event.kind in ANALYSES and summary.get("phase") in ("Failed", "Error"):
            name, detail = "analysis", f"{event.kind} {event.name}: {summary.get('message') or summary['phase']}"
        elif event.kind in WORKLOADS and event.role in revisions.roles(index) and summary.get("late"):
            name, detail = "progress deadline", f"{event.kind} {event.name}: ProgressDeadlineExceeded"
        else:
            said.discard((event.uid, "progress deadline"))
            continue
        if (event.uid, name) not in said:
            said.add((event.uid, name))
            yield Signal(line.mono, name, detail)
    for line, alert in index.events(AlertChanged):
        if alert.state is AlertState.FIRING and alert.source == "prometheus":
            yield Signal(line.mono, "alert", alert.name)


def trigger(index: Indexed) -> Signal | None:
    """The last analysis or deadline that spoke before the first rollback; where none did, the last alert."""
    before = [] if rolled_back(index) is None else signals(index)
    return next((each for each in reversed(before) if each.name != "alert"), before[-1] if before else None)


def first_signal(name: str) -> Callable[[Indexed], float | None]:
    return lambda index: next((each.moment for each in signals(index) if each.name == name), None)


def old_serves(index: Indexed) -> float | None:
    """When, after the rollback, only the former revision was ready and a user was served well."""
    back = rolled_back(index)
    if back is None:
        return None
    old, new = revisions.ready_of(index)
    clean = next(
        (at for at in sorted({back, *old.times, *new.times}) if at >= back and old.at(at) and new.at(at) == 0), None
    )
    if clean is None:
        return None
    ends = (user.end for user, good in zip(index.users, index.good, strict=True) if good and user.sent >= clean)
    return min(ends, default=None)


def declared(index: Indexed) -> RollbackSpec | None:
    """What the target says of its own pipeline."""
    written = (index.started.experiment.get("target") or {}).get("rollback") if index.started else None
    return RollbackSpec.model_validate(written) if written else None


def as_declared(index: Indexed) -> float | None:
    """When the target took the revision back, if that was the declared time after the declared signal."""
    back, policy, spoke = rolled_back(index), declared(index), _declared_signal(index)
    if back is None or policy is None or spoke is None or back - spoke > policy.within:
        return None
    return back


def kept(index: Indexed) -> bool | None:
    """Whether the target did as it declares; None where nothing can be said."""
    return None if _undeclared(index) else as_declared(index) is not None


def _declared_signal(index: Indexed) -> float | None:
    policy = declared(index)
    return first_signal(policy.after.replace("-", " "))(index) if policy else None


def _undeclared(index: Indexed) -> str:
    """Why nothing can be said of the policy; empty where something can."""
    policy, spoke = declared(index), _declared_signal(index)
    if why := _unknown(index):
        return why
    if policy is None:
        return "the target declares no rollback (target.rollback)"
    if began(index) is None:
        return "no new revision came"
    if spoke is None:
        return f"nothing was seen of the {policy.after} that the declared rollback comes after: it had no occasion"
    if rolled_back(index) is None and until(index) - spoke < policy.within:
        return f"a rollback {words(policy)} is declared, and only {_seconds(until(index) - spoke)} of that were watched"
    return ""


def _broken_promise(index: Indexed) -> str:
    back, policy, spoke = rolled_back(index), declared(index), _declared_signal(index)
    assert policy is not None
    assert spoke is not None
    came = "it was not taken back" if back is None else f"it was taken back {_seconds(back - spoke)} after it"
    return f"a rollback {words(policy)} is declared, and {came}"


def words(policy: RollbackSpec) -> str:
    """The policy for people."""
    return f"within {_seconds(policy.within)} of the {policy.after}" + (f" ({policy.by})" if policy.by else "")


def _seconds(value: float) -> str:
    return show(value, Dimension.DURATION)


def _unknown(index: Indexed) -> str:
    """Why nothing can be said; empty where something can."""
    if index.injected is None:
        return "no fault was injected"
    if not revisions.is_watched(index):
        return f"no workload of {_whose(index)} pods was watched"
    return "" if revisions.old_revisions(index) else f"no {_whose(index)} said of which revision it is"


def _whose(index: Indexed) -> str:
    return "engine" if "engine" in revisions.roles(index) else " or ".join(sorted(revisions.roles(index)))


def _why(index: Indexed) -> str:
    if began(index) is None:
        return "no new revision came"
    spoke = "; ".join(f"{each.name}: {each.detail}" for each in signals(index))
    return f"what spoke against the new revision: {spoke or 'nothing'}"


def _by(index: Indexed) -> tuple[str, ...]:
    by = trigger(index)
    return (by.detail,) if by else ()


def _event(name: str, text: str, moment: Callable[[Indexed], float | None]) -> Happened:
    return Happened(name, text, moment, _unknown, _why, _by)


def _rollback_lag(index: Indexed, _: Span) -> Reading:
    first = next(iter(newcomers(index)), None)
    if first is None:
        return missing("no pod of a new revision was seen")
    return lag(first.born, rolled_back(index), until(index), why=_why(index), evidence=_by(index))


def _rollbacks(index: Indexed, window: Span) -> Reading:
    if began(index) is None:
        return missing("no new revision came")
    found = [each for each in rollbacks(index) if each.moment in window]
    return Reading(len(found), samples=1, evidence=tuple(each.detail for each in found))


def _share(index: Indexed, window: Span) -> Reading:
    old, new = (_time(steps, window) for steps in revisions.ready_of(index))
    if old + new <= 0:
        return missing("nothing was ready")
    return Reading(new / (old + new), samples=len(newcomers(index)) or 1)


def _time(steps: Steps, window: Span) -> float:
    ends = [*steps.times[1:], math.inf]
    rows = zip(steps.times, ends, steps.values, strict=True)
    return sum(max(0.0, min(end, window.end) - max(start, window.start)) * value for start, end, value in rows)


PROBES: tuple[Probe, ...] = (
    _event("rollout-began", "another template is asked for, or a pod of a new revision is seen", began),
    _event("rolled-back", "the target itself took the new revision back", rolled_back),
    Happened(
        "rolled-back-as-declared",
        "the target took the new revision back as `target.rollback` says that it does",
        as_declared,
        _undeclared,
        _broken_promise,
        _by,
    ),
    _event("old-revision-serves", "after the rollback only the former revision is ready, and serves", old_serves),
    _event("promoted", "all that is asked for is ready and of the new revision", revisions.promoted),
    _event("analysis-failed", "an analysis of the new revision failed", first_signal("analysis")),
    _event("progress-deadline-exceeded", "the rollout made no progress in time", first_signal("progress deadline")),
    Figure(
        "rollback-lag",
        "from the first pod of the new revision to the rollback by the target itself",
        _rollback_lag,
        _unknown,
    ),
    Figure(
        "rollbacks",
        "how often the target took a new revision back by itself",
        _rollbacks,
        _unknown,
        dimension=Dimension.COUNT,
    ),
    Figure(
        "bad-revision-share",
        "share of the ready time that the new revision had: what part of the users it could reach",
        _share,
        _unknown,
        dimension=Dimension.SHARE,
    ),
)
