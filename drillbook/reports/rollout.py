"""What became of a new revision within the run: how long it was served, what spoke against it, who took it back."""

from __future__ import annotations

import msgspec

from drillbook.model.history import Span
from drillbook.probes import revisions, rollout
from drillbook.probes.capacity import is_ready
from drillbook.probes.index import Indexed
from drillbook.probes.recovery import Pod


class RevisionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One revision's pods. Seconds are after time zero."""

    revision: str
    """The pods' template hash."""
    new: bool
    """Whether it did not run at the injection."""
    pods: int
    first_ready: float | None
    share: float
    """Of the time from the injection to the undo in which a pod was ready and users could reach it."""
    requests: int | None
    """Users whom it is known to have answered since the injection; None where no answer says who gave it."""


class RolloutFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds are after time zero; None: it did not happen."""

    began: float
    revisions: tuple[RevisionFacts, ...]
    spoke: tuple[tuple[float, str, str], ...]
    """What spoke against the new revision: when, which signal, in its own words."""
    rolled_back: float | None
    trigger: str
    """The signal that the target acted upon, as far as the order of events tells; empty where it did not act."""
    declared: str
    """When the target says that it takes a bad revision back; empty where it says nothing."""
    kept: bool | None
    """Whether it did; None where nothing can be said."""
    lag: float | None
    """From the new revision's first pod to the rollback."""
    old_serves: float | None
    promoted: float | None


def rollout_facts(index: Indexed) -> RolloutFacts | None:
    """None where no new revision of the engines came."""
    start, injected = revisions.began(index), index.injected
    if start is None or injected is None:
        return None
    back, by, new = rollout.rolled_back(index), rollout.trigger(index), revisions.newcomers(index)
    policy = rollout.declared(index)
    after = {
        name: None if moment is None else index.relative(moment)
        for name, moment in (("back", back), ("old", rollout.old_serves(index)), ("all", revisions.promoted(index)))
    }
    return RolloutFacts(
        began=index.relative(start),
        revisions=_revisions(index, Span(injected, max(injected, revisions.until(index))), {pod.uid for pod in new}),
        spoke=tuple((index.relative(each.moment), each.name, each.detail) for each in rollout.signals(index)),
        rolled_back=after["back"],
        trigger=by.name if by else "",
        declared=rollout.words(policy) if policy else "",
        kept=rollout.kept(index),
        lag=max(0.0, back - new[0].born) if back is not None and new else None,
        old_serves=after["old"],
        promoted=after["all"],
    )


def _revisions(index: Indexed, window: Span, new: set[str]) -> tuple[RevisionFacts, ...]:
    found: dict[str, list[Pod]] = {}
    for pod in revisions.pods(index):
        if revision := revisions.revision_of(pod):
            found.setdefault(revision, []).append(pod)
    times = {
        name: sum(_ready(pod, span) for pod in each for span in revisions.reached(index, name, window))
        for name, each in found.items()
    }
    total = sum(times.values())
    known = {pod.name for each in found.values() for pod in each}
    answered = [user.replica for user in index.requests_of(window) if user.replica in known]
    rows = []
    for name, each in found.items():
        firsts = [at for pod in each if (at := pod.first(pod.born, is_ready)) is not None]
        mine = {pod.name for pod in each}
        rows.append(
            RevisionFacts(
                revision=name,
                new=any(pod.uid in new for pod in each),
                pods=len(each),
                first_ready=index.relative(min(firsts)) if firsts else None,
                share=times[name] / total if total else 0.0,
                requests=sum(replica in mine for replica in answered) if answered else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.new, row.first_ready is None, row.first_ready or 0.0)))


def _ready(pod: Pod, window: Span) -> float:
    """Seconds of the window in which the pod was Ready."""
    ends = [*(moment for moment, _ in pod.changes[1:]), window.end]
    return sum(
        max(0.0, min(end, window.end) - max(moment, window.start))
        for (moment, event), end in zip(pod.changes, ends, strict=True)
        if is_ready(event)
    )
