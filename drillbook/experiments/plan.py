"""From an experiment and a live target to a plan: real objects, exact calls, their undo. Nothing is touched.

``drillbook plan`` stops here; a run goes on from here. What can be known now is checked now, and all of it at once, so
that a person mends everything in one go.
"""

from __future__ import annotations

from drillbook.errors import PreflightError
from drillbook.experiments.load import Loaded
from drillbook.faults import blast
from drillbook.faults.fault import Draw
from drillbook.faults.registry import FAULTS
from drillbook.load.client import Client
from drillbook.model.events import PreflightChecked
from drillbook.model.experiment import Experiment
from drillbook.model.plan import Permission, Plan, PlannedFault
from drillbook.model.request import Outcome, Stream
from drillbook.model.units import show
from drillbook.targets.target import Target

BASE_PERMISSIONS = (
    Permission(verb="list", group="", resource="pods"),
    Permission(verb="watch", group="", resource="pods"),
    Permission(verb="create", group="", resource="configmaps"),
    Permission(verb="update", group="", resource="configmaps"),
    Permission(verb="create", group="coordination.k8s.io", resource="leases"),
    Permission(verb="update", group="coordination.k8s.io", resource="leases"),
)
"""What every run needs beside its faults: to watch, to store the undo at the target, to hold the target's Lease."""


async def make(loaded: Loaded, target: Target, *, run_id: str, seed: int) -> Plan:
    """Resolve every step against the live target.

    Raises:
        PreflightError: a step selects nothing, is unsupported there, or the blast radius exceeds the limits.

    """
    experiment = loaded.experiment
    draw = Draw(seed)
    faults: list[PlannedFault] = []
    for index, step in enumerate(experiment.method):
        faults.append(await FAULTS[step.fault].plan(step, index, target, draw))
    await blast.check(faults, experiment.limits, target)
    return Plan(
        run_id=run_id,
        experiment=experiment.title,
        target=target.label,
        faults=tuple(faults),
        permissions=tuple(
            dict.fromkeys([*BASE_PERMISSIONS, *(need for fault in faults for need in fault.permissions)])
        ),
        baseline=experiment.baseline,
        observe=experiment.observe,
        settle=experiment.settle,
        expected_requests=round(experiment.load.rate * longest(experiment)),
    )


def longest(experiment: Experiment) -> float:
    """Seconds that the run takes at most, preflight and undo aside."""
    last = max(step.at for step in experiment.method)
    return experiment.warm_up + experiment.baseline + last + experiment.observe + experiment.settle


async def preflight(plan: Plan, loaded: Loaded, target: Target) -> list[PreflightChecked]:
    """Everything that can be known before anything is touched, each as a check that held or did not."""
    checks = [PreflightChecked(name="target", ok=True, detail=f"{target.label} answers")]
    missing = [need for need in plan.permissions if not await target.kube.can(placed(need, target.namespace))]
    checks.append(
        PreflightChecked(
            name="permissions",
            ok=not missing,
            detail=f"missing: {', '.join(map(str, missing))}" if missing else f"all {len(plan.permissions)} granted",
        )
    )
    engines = await target.pods("engine")
    ready = [pod for pod in engines if pod_is_ready(pod)]
    checks.append(
        PreflightChecked(
            name="engines",
            ok=bool(engines) and len(ready) == len(engines),
            detail=f"{len(ready)} of {len(engines)} ready",
        )
    )
    checks.append(await _answers(loaded, target))
    return checks


def pod_is_ready(pod: dict[str, object]) -> bool:
    status = pod.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def refuse(checks: list[PreflightChecked]) -> None:
    """Stop here if any check failed.

    Raises:
        PreflightError: names every failed check.

    """
    failed = [check for check in checks if not check.ok]
    if failed:
        raise PreflightError(
            "preflight failed: " + "; ".join(f"{check.name}: {check.detail}" for check in failed),
            hint="nothing was touched; `drillbook doctor` shows what the target allows",
        )


def placed(need: Permission, namespace: str) -> Permission:
    """The permission in the target's namespace, where it names none of its own."""
    if need.namespace:
        return need
    return Permission(
        verb=need.verb, group=need.group, resource=need.resource, subresource=need.subresource, namespace=namespace
    )


async def _answers(loaded: Loaded, target: Target) -> PreflightChecked:
    """One real request: a token must come back before a run may claim that it measures tokens."""
    spec = loaded.experiment.load
    url = await target.endpoint()
    async with Client(
        url, await target.model(), api=spec.api, stall_timeout=spec.stall_timeout, timeout=spec.timeout
    ) as client:
        record = await client.send("Say hello.", stream_kind=Stream.VERIFY, output_tokens=1)
    if record.outcome is not Outcome.OK or record.ttft is None:
        return PreflightChecked(
            name="endpoint", ok=False, detail=f"{url} gave no token: {record.outcome} {record.error}"
        )
    return PreflightChecked(name="endpoint", ok=True, detail=f"{url} gave a token in {show(record.ttft, 'duration')}")
