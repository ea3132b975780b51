"""What a run would do to which objects, with its undo: the answer of ``drillbook plan`` and the input of a run."""

from __future__ import annotations

import msgspec

from drillbook.model.undo import ObjectRef, UndoOperation


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the target, exactly as it will be sent (``DELETE /api/v1/namespaces/llm/pods/engine-0``)."""

    verb: str
    path: str
    body: str = ""
    why: str = ""


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """What a SelfSubjectAccessReview must allow before anything is touched."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    """Empty: the target's own; ``*``: all of the cluster, which also stands for what belongs to no namespace."""

    def __str__(self) -> str:
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {name}" + (f".{self.group}" if self.group else "")


class BlastRadius(msgspec.Struct, frozen=True, kw_only=True):
    """How much is hit, in the units that matter for serving. ``capacity_left`` is the share of engines untouched."""

    pods: int
    gpus: int
    role_total: int
    capacity_left: float


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault step resolved against the live target."""

    id: str
    """``<index>-<fault>``, unique in the run."""
    fault: str
    at: float
    """Seconds after time zero (the end of the baseline)."""
    hold: float | None
    """Seconds until this step's own undo; None where it is undone at the end, or cannot be."""
    summary: str
    """One line for people: ``delete 1 of 3 engine pods with grace 0s``."""
    targets: tuple[ObjectRef, ...]
    calls: tuple[Call, ...]
    undo: tuple[UndoOperation, ...]
    """What is known of the undo beforehand; an operation that names a pid is completed just before the injection."""
    undo_summary: str
    radius: BlastRadius
    permissions: tuple[Permission, ...] = ()
    container: str = ""
    options: dict[str, object] = {}
    """The step's own options, as its fault checked them."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, resolved: nothing has been touched yet."""

    run_id: str
    experiment: str
    target: str
    faults: tuple[PlannedFault, ...]
    permissions: tuple[Permission, ...]
    baseline: float
    observe: float
    settle: float
    expected_requests: int
    engine: str = "drillbook"
    """What sends them, for people."""
    load: tuple[Call, ...] = ()
    """What is made for that at the target: the pods of the load, taken away at the end."""
    attacks: tuple[str, ...] = ()
    """Adversarial prompts that are sent meanwhile: which, and how fast."""
    warnings: tuple[str, ...] = ()
