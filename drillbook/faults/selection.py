"""Which pods a step hits: by role and count (the seed chooses), or by name. And how much that is."""

from __future__ import annotations

from drillbook.errors import PreflightError
from drillbook.faults import gangs
from drillbook.faults.fault import Draw
from drillbook.faults.gangs import runs
from drillbook.model.experiment import PodStep
from drillbook.model.plan import BlastRadius
from drillbook.targets import accelerators
from drillbook.targets.kube import Objects
from drillbook.targets.target import Target


async def select(step: PodStep, index: int, target: Target, draw: Draw) -> tuple[Objects, BlastRadius]:
    """The pods of one step and its blast radius. Pods that are ending or have ended are never chosen.

    :raises PreflightError: there are not as many as the step wants.
    """
    pods = await target.pods(step.role)
    usable = [pod for pod in pods if runs(pod)]
    where = f"namespace {target.namespace} of {target.context}"
    if not usable:
        why = f"none of the {len(pods)} {step.role} pods is running" if pods else f"there are no {step.role} pods"
        raise PreflightError(
            f"step {index} ({step.fault}): {why} in {where}",
            hint="check the deployment, or give target.selectors for this role",
        )
    if step.names:
        chosen = [pod for pod in usable if pod["metadata"]["name"] in step.names]
        missing = sorted(set(step.names) - {pod["metadata"]["name"] for pod in chosen})
        if missing:
            raise PreflightError(
                f"step {index} ({step.fault}): no running {step.role} pod is called {', '.join(missing)} in {where}",
                hint=f"there are {', '.join(pod['metadata']['name'] for pod in usable)}",
            )
        draw.take(chosen)
    else:
        count = len(usable) if step.count == "all" else step.count
        if not 1 <= count <= len(usable):
            raise PreflightError(
                f"step {index} ({step.fault}): {count} {step.role} pods wanted, {len(usable)} running in {where}",
                hint=f"write count: 1 to {len(usable)}, or count: all",
            )
        chosen = draw.choose(usable, count, f"{index}")
    return chosen, await radius(chosen, step.role, pods, target)


async def radius(hit: Objects, role: str, of_role: Objects, target: Target) -> BlastRadius:
    """How much is hit, gangs whole. ``capacity_left`` is the share of the engines' token capacity that stays."""
    engines = of_role if role == "engine" else await target.pods("engine")
    going = gangs.taken_along(hit, await target.everything())
    return BlastRadius(
        pods=len(going),
        gpus=sum(map(accelerators.count, going)),
        role_total=len(of_role),
        capacity_left=gangs.capacity_left(engines, {pod["metadata"]["uid"] for pod in going}),
    )
