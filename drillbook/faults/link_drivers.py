"""What holds the rule of a link fault, chosen by what the target allows, and told in the plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from drillbook.errors import UnsupportedError
from drillbook.faults import link_chaos, link_ephemeral, link_helper
from drillbook.faults.link_group import Links, LinkStep
from drillbook.helper.shaping import Setting
from drillbook.model.plan import Call, Permission
from drillbook.model.undo import UndoOperation
from drillbook.targets import helper
from drillbook.targets.kube import Objects
from drillbook.targets.target import Target

Schedule = list[tuple[float, Setting]]


@dataclass(frozen=True)
class Driver:
    """What one driver would do: ``objects`` are the manifests that it creates."""

    name: str
    told: str
    objects: Objects
    calls: tuple[Call, ...]
    undo: tuple[UndoOperation, ...]
    undo_told: str
    permissions: tuple[Permission, ...]


async def choose(
    step: LinkStep, target: Target, run_id: str, links: Links, schedule: Schedule, seconds: float
) -> Driver:
    """The driver that the step asks for, else the first that the target allows.

    :raises UnsupportedError: none is allowed there, each with its reason.
    """
    wanted = ("helper", "ephemeral", "chaos-mesh") if step.driver == "auto" else (step.driver,)
    reasons: list[UnsupportedError] = []
    for name in wanted:
        try:
            if name == "helper":
                return await _helper(target, run_id, links, schedule, seconds)
            if name == link_ephemeral.NAME:
                return await _ephemeral(target, run_id, links, schedule, seconds)
            return await _chaos(step, target, run_id, links, schedule, seconds)
        except UnsupportedError as error:
            reasons.append(error)
    raise UnsupportedError("; ".join(each.message for each in reasons), hint=reasons[0].hint)


async def _helper(target: Target, run_id: str, links: Links, schedule: Schedule, seconds: float) -> Driver:
    steps = [(at, asdict(setting)) for at, setting in schedule]
    held = link_helper.manifests(target, run_id, links, steps, seconds)
    manifests = [manifest for _, manifest in held]
    for manifest in manifests:
        await helper.check(target, manifest)
    return Driver(
        "helper",
        f"{len(manifests)} helper pod{'s' if len(manifests) != 1 else ''} in the pods' network namespaces",
        manifests,
        tuple(map(helper.call, manifests)),
        link_helper.undo(target, run_id, held),
        f"the helper pods are deleted, which clears their rules (they do so by themselves after {seconds:g}s); "
        "then each link is looked at",
        tuple(dict.fromkeys(need for manifest in manifests for need in helper.permissions(manifest))),
    )


async def _ephemeral(target: Target, run_id: str, links: Links, schedule: Schedule, seconds: float) -> Driver:
    steps = [(at, asdict(setting)) for at, setting in schedule]
    held = link_ephemeral.specs(target, run_id, links, steps, seconds)
    for pod, spec in held:
        await link_ephemeral.check(target, pod, spec)
    return Driver(
        link_ephemeral.NAME,
        f"{len(held)} ephemeral container{'s' if len(held) != 1 else ''} with NET_ADMIN in the pods",
        [spec for _, spec in held],
        tuple(link_ephemeral.call(pod, spec) for pod, spec in held),
        link_ephemeral.undo(held),
        f"the ephemeral containers are ended, which clears their rules (they do so by themselves after {seconds:g}s); "
        "their entries stay in the pods' lists",
        link_ephemeral.permissions(target.namespace),
    )


async def _chaos(
    step: LinkStep, target: Target, run_id: str, links: Links, schedule: Schedule, seconds: float
) -> Driver:
    if not await link_chaos.is_served(target):
        raise UnsupportedError("this cluster has no Chaos Mesh (NetworkChaos is not served)")
    if len(schedule) > 1:
        raise UnsupportedError("Chaos Mesh holds one setting; a ramp or a flap needs helper pods")
    if step.bites is None:
        raise UnsupportedError(
            "Chaos Mesh does not measure the link",
            hint="give the step a proof of its effect on the engine: `bites: itl.p50 > 100ms`",
        )
    manifest = link_chaos.manifest(target, run_id, links, schedule[0][1], seconds)
    return Driver(
        link_chaos.NAME,
        "Chaos Mesh, which matches whole pods: HTTP between them is hit as well",
        [manifest],
        (link_chaos.call(manifest),),
        (link_chaos.undo(manifest),),
        f"the NetworkChaos object is deleted (it ends by itself after {seconds:g}s)",
        link_chaos.permissions(manifest),
    )
