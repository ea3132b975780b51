"""What a DELETE does: grace for pods, finalizers for whoever asked for them, preconditions, propagation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drillbook import clock
from drillbook.sandbox.control import statuses, times
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, copy, dig, is_deleting, name_of, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
INSTANCES = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a CustomResourceDefinition until its objects are gone."""
_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_FINALIZER = {"Foreground": FOREGROUND, "Orphan": ORPHAN}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``metav1.DeleteOptions``, from a body or from query parameters."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def parse(cls, body: Json, query: dict[str, str]) -> DeleteOptions:
        """Raises ApiError 400."""
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
        orphan = body.get("orphanDependents")
        if orphan is not None and not propagation:
            propagation = "Orphan" if orphan else "Background"
        if propagation not in ("", "Background", *_FINALIZER):
            raise statuses.bad_request(f"propagationPolicy {propagation!r} is not Background, Foreground or Orphan")
        try:
            seconds = None if grace is None else int(grace)
        except ValueError:
            raise statuses.bad_request(f"gracePeriodSeconds {grace!r} is not a number of seconds") from None
        return cls(
            seconds,
            propagation,
            dig(body, "preconditions", "uid", default=""),
            dig(body, "preconditions", "resourceVersion", default=""),
            bool(body.get("dryRun")) or query.get("dryRun") == "All",
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The object as it is (or last was), and whether it is to be removed now; first to be stored if it ``changed``.

    A pod is always marked before it is removed, so that a watcher sees a forced deletion as two events: its
    ``deletionTimestamp``, then its end (seen on Kubernetes 1.20, milliseconds apart).
    """

    obj: Json
    remove: bool
    changed: bool


def check_preconditions(kind: Kind, obj: Json, options: DeleteOptions) -> None:
    """Raises ApiError 409."""
    version = obj["metadata"]["resourceVersion"]
    why = ""
    if options.uid and options.uid != uid_of(obj):
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid_of(obj)}). "
            "The object might have been deleted and then recreated"
        )
    elif options.resource_version and options.resource_version != version:
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({version}). The object might have been modified"
        )
    if why:
        raise statuses.conflict(f"{kind.kind}.{kind.group}" if kind.group else kind.kind, name_of(obj), why)


def decide(kind: Kind, current: Json, options: DeleteOptions) -> Outcome:
    """What becomes of ``current``. The result is a copy. Raises ApiError 409."""
    check_preconditions(kind, current, options)
    obj = copy(current)
    metadata = obj["metadata"]
    _set_propagation(kind, metadata, options.propagation)
    if kind.resource == "pods":
        grace = _grace(obj, options)
        marked = _begin(obj, current, grace)
        return marked if grace > 0 or metadata.get("finalizers") else replace(marked, remove=True)
    if kind.resource == "namespaces" and dig(obj, "spec", "finalizers"):
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        return _begin(obj, current, 0)
    if kind.resource == _DEFINITIONS and not is_deleting(current):
        metadata["finalizers"] = sorted({*(metadata.get("finalizers") or []), INSTANCES})
    if metadata.get("finalizers"):
        return _begin(obj, current, 0)
    return Outcome(obj, remove=True, changed=False)


def _set_propagation(kind: Kind, metadata: Json, propagation: str) -> None:
    if not propagation and kind.orphans and not metadata.get("deletionTimestamp"):
        propagation = "Orphan"
    if not propagation:
        return
    kept = [name for name in metadata.get("finalizers") or [] if name not in (FOREGROUND, ORPHAN)]
    if propagation in _FINALIZER:
        kept.append(_FINALIZER[propagation])
    metadata["finalizers"] = kept
    if not kept:
        del metadata["finalizers"]


def _grace(pod: Json, options: DeleteOptions) -> int:
    if not dig(pod, "spec", "nodeName") or dig(pod, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    wanted = options.grace
    if wanted is None:
        wanted = int(
            dig(
                pod,
                "metadata",
                "deletionGracePeriodSeconds",
                default=dig(pod, "spec", "terminationGracePeriodSeconds", default=30),
            )
        )
    return 1 if wanted < 0 else wanted


def _begin(obj: Json, current: Json, grace: int) -> Outcome:
    """Mark as deleting; a second deletion may only shorten the grace of the first."""
    metadata = obj["metadata"]
    if is_deleting(current):
        before = int(metadata.get("deletionGracePeriodSeconds") or 0)
        if grace < before:
            asked = times.parse(metadata["deletionTimestamp"]) - before
            metadata["deletionTimestamp"] = times.stamp(asked + grace)
            metadata["deletionGracePeriodSeconds"] = grace
    else:
        metadata["deletionTimestamp"] = times.stamp(clock.wall() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
    return Outcome(obj, remove=False, changed=obj != current)


def is_finished(kind: Kind, obj: Json) -> bool:
    """Whether a deleting object has nothing left that holds it."""
    if not is_deleting(obj) or obj["metadata"].get("finalizers"):
        return False
    if kind.resource == "pods":
        return not obj["metadata"].get("deletionGracePeriodSeconds")
    return not (kind.resource == "namespaces" and dig(obj, "spec", "finalizers"))
