"""From an experiment and a live target to a plan: real objects, exact calls, their undo. Nothing is touched.

``drillbook plan`` stops here; a run goes on from here. What can be known now is checked now, and all of it at once, so
that a person mends everything in one go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Literal

import msgspec

from drillbook.adversarial import plan as attacks
from drillbook.errors import DrillbookError, PreflightError, RefusedError
from drillbook.experiments.load import Loaded
from drillbook.faults import blast
from drillbook.faults.fault import Draw
from drillbook.faults.registry import FAULTS
from drillbook.load import engines
from drillbook.load.client import Client
from drillbook.load.locust.pods import Pods
from drillbook.model.events import PreflightChecked
from drillbook.model.experiment import AttackSpec, Experiment
from drillbook.model.plan import Permission, Plan, PlannedFault
from drillbook.model.request import Outcome, Stream
from drillbook.model.units import Dimension, show
from drillbook.probes.collectors.kinds import KINDS, NEEDED
from drillbook.probes.prometheus import queries
from drillbook.probes.prometheus.preflight import answers
from drillbook.probes.prometheus.source import find
from drillbook.targets.target import Target
from drillbook.undo import watchdog_pod


def _watched() -> tuple[Permission, ...]:
    return tuple(need for kind in NEEDED for need in KINDS[kind].permissions())


BASE_PERMISSIONS = (
    *_watched(),
    *(
        Permission(verb=verb, group="", resource="configmaps")
        for verb in ("get", "list", "create", "update", "delete")
    ),
    *(
        Permission(verb=verb, group="coordination.k8s.io", resource="leases") for verb in ("get", "create", "update")
    ),
)  # fmt: skip
"""What every run needs beside its faults: to watch, to keep the undo at the target, to hold the target's Lease."""


Watched = Literal["auto", "pod", "local"]
"""Which watchdog a run has beside its runner: one at the target as well, or the one on the runner's machine alone."""
_AS_POD = "as a pod at the target, and on this machine"


async def make(loaded: Loaded, target: Target, *, run_id: str, seed: int) -> Plan:
    """Resolve every step against the live target.

    Raises:
        PreflightError: a step selects nothing, is unsupported there, or the blast radius exceeds the limits.
        RefusedError: the target does not let us look.

    """
    experiment = loaded.experiment
    engines.check(experiment.load)
    draw = Draw(seed, run_id)
    faults: list[PlannedFault] = []
    for index, step in enumerate(experiment.method):
        faults.append(await FAULTS[step.fault].plan(step, index, target, draw))
    await blast.check(faults, experiment.limits, target)
    pods = await load_pods(experiment, target, run_id)
    needs = [*BASE_PERMISSIONS, *(need for fault in faults for need in fault.permissions)]
    return Plan(
        run_id=run_id,
        experiment=experiment.title,
        target=target.label,
        faults=tuple(faults),
        permissions=tuple(dict.fromkeys([*needs, *(pods.permissions if pods else ())])),
        baseline=experiment.baseline,
        observe=experiment.observe,
        settle=experiment.settle,
        expected_requests=round(experiment.load.rate * longest(experiment)),
        engine=engines.told(experiment.load),
        load=pods.calls if pods else (),
        attacks=tuple(_attack(spec, loaded) for spec in experiment.attacks),
    )


async def load_pods(experiment: Experiment, target: Target, run_id: str) -> Pods | None:
    """The pods that the load is sent from; None where it is sent from here."""
    return await engines.pods(experiment.load, target, run_id=run_id, seconds=longest(experiment))


def _attack(spec: AttackSpec, loaded: Loaded) -> str:
    plan, _ = attacks.resolved(spec, loaded.path.parent)
    return f"{spec.plan or spec.pack}: {plan.title} ({show(plan.rate, Dimension.RATE)})"


async def resolve(loaded: Loaded, target: Target, *, run_id: str, seed: int) -> Plan:
    """What a run would do, for people; ``warnings`` say what would keep it from beginning. Touches nothing.

    Raises:
        PreflightError: it cannot be done there.

    """
    try:
        with target.one_look():
            plan = await make(loaded, target, run_id=run_id, seed=seed)
            checks = [await _permissions(plan.permissions, target), await _engines(target)]
            if plan.load:
                checks.append(await _asked("load", _sent_from(loaded.experiment, target)))
            if queries.needed(loaded.experiment) or target.spec.prometheus:
                checks.append(await _asked("prometheus", _prometheus(loaded.experiment, target)))
            alone = await guard(target, "auto")
    except RefusedError as error:
        raise PreflightError(error.message, error.hint) from error
    warnings = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
    if not target.simulated and not is_pod(alone):
        warnings.append(f"watchdog: {alone.detail}")
    return msgspec.structs.replace(plan, warnings=tuple(warnings))


async def prepare(loaded: Loaded, target: Target, *, run_id: str, seed: int) -> tuple[Plan, list[PreflightChecked]]:
    """The plan, and everything that can be known before anything is touched, each as a check that held.

    Raises:
        PreflightError: names every check that did not.

    """
    checks = [PreflightChecked(name="target", ok=True, detail=f"{target.label} answers")]
    plan: Plan | None = None
    refusal: DrillbookError | None = None
    try:
        with target.one_look():
            plan = await make(loaded, target, run_id=run_id, seed=seed)
    except (PreflightError, RefusedError) as error:
        refusal = error
    needs = plan.permissions if plan else BASE_PERMISSIONS
    checks.append(await _asked("permissions", _permissions(needs, target)))
    checks.append(await _asked("engines", _engines(target)))
    checks.append(await _asked("endpoint", _answers(loaded, target)))
    if plan is not None and plan.load:
        checks.append(await _asked("load", _sent_from(loaded.experiment, target)))
    if queries.needed(loaded.experiment) or target.spec.prometheus:
        checks.append(await _asked("prometheus", _prometheus(loaded.experiment, target)))
    failed = [check for check in checks if not check.ok]
    if plan is not None and not failed:
        return plan, checks
    if refusal is not None and not failed:
        raise PreflightError(refusal.message, refusal.hint)
    told = [f"{check.name}: {check.detail}" for check in failed]
    if refusal is not None and not any(refusal.message in each for each in told):
        told.append(f"plan: {refusal.message}")
    raise PreflightError(
        "preflight failed: " + "; ".join(told),
        hint="nothing was touched; `drillbook doctor` shows what the target allows",
    )


async def guard(target: Target, wanted: Watched) -> PreflightChecked:
    """Where the watchdog will run. In the sandbox, which shares its machine, one on that machine sees all there is."""
    if wanted == "local" or (wanted == "auto" and target.simulated):
        return PreflightChecked(name="watchdog", ok=True, detail="on this machine")
    why = await watchdog_pod.refusal(target)
    if not why:
        return PreflightChecked(name="watchdog", ok=True, detail=_AS_POD)
    detail = f"on this machine alone, which may be cut off from the target: {why}"
    return PreflightChecked(name="watchdog", ok=wanted == "auto", detail=detail)


def is_pod(guard: PreflightChecked) -> bool:
    """Whether the watchdog that ``guard`` found runs at the target too."""
    return guard.detail == _AS_POD


def longest(experiment: Experiment) -> float:
    """Seconds that the run takes at most, preflight and undo aside."""
    last = max(step.at for step in experiment.method)
    return experiment.warm_up + experiment.baseline + last + experiment.observe + experiment.settle


async def missing(needs: Sequence[Permission], target: Target) -> list[Permission]:
    """Those that the target's own API server would not grant us.

    Raises:
        UnreachableError: it does not answer.
        RefusedError: it does not even let us ask.

    """
    granted = await asyncio.gather(*(target.kube.can(placed(need, target.namespace)) for need in needs))
    return [need for need, allowed in zip(needs, granted, strict=True) if not allowed]


def placed(need: Permission, namespace: str) -> Permission:
    """The permission in the target's namespace, where it names none of its own; as the API server is asked for it."""
    return msgspec.structs.replace(need, namespace="" if need.namespace == "*" else need.namespace or namespace)


def pod_is_ready(pod: dict[str, object]) -> bool:
    status = pod.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


async def _asked(name: str, check: Awaitable[PreflightChecked]) -> PreflightChecked:
    """A check that could not even be asked has not held."""
    try:
        return await check
    except (PreflightError, RefusedError) as error:
        return PreflightChecked(name=name, ok=False, detail=error.message)


async def _permissions(needs: Sequence[Permission], target: Target) -> PreflightChecked:
    lacking = await missing(needs, target)
    detail = f"missing: {', '.join(map(str, lacking))}" if lacking else f"all {len(needs)} granted"
    return PreflightChecked(name="permissions", ok=not lacking, detail=detail)


async def _engines(target: Target) -> PreflightChecked:
    engines = await target.pods("engine")
    ready = sum(map(pod_is_ready, engines))
    fit = bool(engines) and ready == len(engines)
    return PreflightChecked(name="engines", ok=fit, detail=f"{ready} of {len(engines)} ready")


async def _prometheus(experiment: Experiment, target: Target) -> PreflightChecked:
    """A sandbox on a machine without Prometheus runs all the same: what is asked of it is then inconclusive."""
    source = await find(experiment, target)
    fine, detail = await answers(experiment, source)
    return PreflightChecked(name="prometheus", ok=fine or (source is None and target.simulated), detail=detail)


async def _sent_from(experiment: Experiment, target: Target) -> PreflightChecked:
    """Whether the target takes the pods of the load; nothing is made (a server-side dry run)."""
    pods = await load_pods(experiment, target, "dry-run")
    assert pods is not None
    await pods.check()
    return PreflightChecked(name="load", ok=True, detail=f"pods are taken; they reach the target at {pods.url}")


async def _answers(loaded: Loaded, target: Target) -> PreflightChecked:
    """One real request: a token must come back before a run may claim that it measures tokens."""
    spec = loaded.experiment.load
    url = await target.endpoint()
    async with Client(
        url, await target.model(), api=spec.api, stall_timeout=spec.stall_timeout, timeout=spec.timeout
    ) as client:
        record = await client.send("Say hello.", stream_kind=Stream.VERIFY, output_tokens=1)
    if record.outcome is not Outcome.OK or record.ttft is None:
        detail = f"{url} gave no token: {record.outcome} {record.error}".strip()
        return PreflightChecked(name="endpoint", ok=False, detail=detail)
    return PreflightChecked(name="endpoint", ok=True, detail=f"{url} gave a token in {show(record.ttft, 'duration')}")
