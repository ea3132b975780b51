"""The real names that a run met: what a playbook's commands and queries are filled in with."""

from __future__ import annotations

from drillbook.errors import DrillbookError
from drillbook.model.events import ObjectChanged
from drillbook.model.history import History
from drillbook.probes.capacity import ENGINE_ROLES, desired_engines
from drillbook.reports.header import started
from drillbook.targets.stack import stack_named

_WORKLOADS = ("Deployment", "StatefulSet", "LeaderWorkerSet", "Rollout")


def names(history: History) -> dict[str, str]:
    """Only those that the journal tells; the names of ``drillbook.playbooks.playbook.PLACEHOLDERS``."""
    run = started(history)
    target = run.experiment.get("target") or {}
    fault = next((fault for fault in (history.plan.faults if history.plan else ()) if fault.targets), None)
    victim = fault.targets[0] if fault else None
    pod = victim.name if victim and victim.kind == "Pod" else ""
    found = {
        "namespace": (victim.namespace if victim else "") or str(target.get("namespace") or ""),
        "deployment": _workload(history, ENGINE_ROLES),
        "router": _workload(history, frozenset({"router"})),
        "pod": pod,
        "one_more": _one_more(history),
        "container": (fault.container if fault else "") or _container(history, pod, run.stack),
        "node": _node(history, pod),
        "endpoint": run.endpoint,
        "model": str(target.get("model") or run.facts.get("model", "")),
        "selector": str((target.get("selectors") or {}).get("engine") or _selector(run.stack)),
    }
    return {name: value for name, value in found.items() if value}


def _workload(history: History, roles: frozenset[str]) -> str:
    return next(
        (event.name for _, event in history.events(ObjectChanged) if event.kind in _WORKLOADS and event.role in roles),
        "",
    )


def _one_more(history: History) -> str:
    desired = desired_engines(history).values
    return f"{desired[-1] + 1:.0f}" if desired else ""


def _node(history: History, pod: str) -> str:
    pods = (event for _, event in history.events(ObjectChanged) if event.kind == "Pod" and event.name == pod)
    return next((str(event.summary["node"]) for event in pods if event.summary.get("node")), "")


def _container(history: History, pod: str, stack: str) -> str:
    """The container that serves, among those of the pod: as the stack calls it, else the only one."""
    pods = (event for _, event in history.events(ObjectChanged) if event.kind == "Pod" and event.name == pod)
    found = next(([str(each.get("name", "")) for each in event.summary.get("containers") or ()] for event in pods), [])
    try:
        usual = stack_named(stack).role("engine").containers
    except DrillbookError:
        usual = ()
    return next((name for name in usual if name in found), found[0] if len(found) == 1 else "")


def _selector(stack: str) -> str:
    """The stack's own labels of its engines; a run of a stack that this version no longer has goes without."""
    try:
        return stack_named(stack).role("engine").selectors[0]
    except DrillbookError:
        return ""
