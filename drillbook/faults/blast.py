"""The blast radius of all steps together, against the experiment's limits. A plan that exceeds them is refused."""

from __future__ import annotations

from collections.abc import Sequence

from drillbook.errors import PreflightError
from drillbook.faults import gangs
from drillbook.model.experiment import Limits
from drillbook.model.plan import BlastRadius, PlannedFault
from drillbook.targets import accelerators
from drillbook.targets.target import Target

PROTECTED = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""What a cluster itself runs on; nothing is broken there, whatever an experiment says."""


async def check(faults: Sequence[PlannedFault], limits: Limits, target: Target) -> BlastRadius:
    """Add up what all steps hit (a pod that is hit twice counts once).

    :raises PreflightError: the namespace is protected, or a limit of the experiment is exceeded.
    """
    namespaces = {ref.namespace for fault in faults for ref in fault.targets} | {target.namespace}
    if protected := sorted(namespaces & PROTECTED):
        raise PreflightError(f"namespace {', '.join(protected)} is protected: the cluster itself runs there")
    if "default" in namespaces and target.spec.namespace != "default" and not target.simulated:
        raise PreflightError(
            "the target is in the namespace `default`, which nobody chose",
            hint="if you mean it, say so: target: {namespace: default}",
        )
    pods = await target.everything()
    named = {ref.uid for fault in faults for ref in fault.targets if ref.kind == "Pod"}
    hit = gangs.taken_along([pod for pod in pods if pod["metadata"]["uid"] in named], pods)
    engines = await target.pods("engine")
    # a workload that is scaled down or rolled out chooses its pods itself
    unnamed = [fault.radius for fault in faults if not any(ref.kind == "Pod" for ref in fault.targets)]
    left = gangs.capacity_left(engines, {pod["metadata"]["uid"] for pod in hit})
    whole = BlastRadius(
        pods=len(hit) + sum(part.pods for part in unnamed),
        gpus=sum(map(accelerators.count, hit)) + sum(part.gpus for part in unnamed),
        role_total=len(engines),
        capacity_left=max(0.0, left - sum(1 - part.capacity_left for part in unnamed)),
    )
    _hold(whole, limits)
    return whole


def _hold(whole: BlastRadius, limits: Limits) -> None:
    exceeded = []
    if limits.replicas is not None and whole.pods > limits.replicas:
        exceeded.append(f"{whole.pods} replicas are hit, at most {limits.replicas} may be (limits.replicas)")
    if limits.gpus is not None and whole.gpus > limits.gpus:
        exceeded.append(f"{whole.gpus} GPUs are hit, at most {limits.gpus} may be (limits.gpus)")
    if whole.capacity_left < limits.capacity_left - 1e-9:
        exceeded.append(
            f"{whole.capacity_left:.0%} of the engines stay untouched, at least {limits.capacity_left:.0%} must "
            "(limits.capacity-left)"
        )
    if exceeded:
        raise PreflightError(
            "the blast radius is too large: " + "; ".join(exceeded),
            hint="hit fewer pods, or raise the limit in the experiment if you mean it",
        )
