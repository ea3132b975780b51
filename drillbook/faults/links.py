"""What all faults between ranks share: choosing links, finding out whether they can be reached, holding and proving.

A fault here is a schedule of settings (``drillbook.helper.shaping.Setting``): one for a plain throttle, several for a
ramp or a flap. The proof is a measurement of the link itself, between the two pods' networks, before and during.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from types import ModuleType
from typing import Any

from drillbook import clock
from drillbook.errors import DrillbookError, UnsupportedError
from drillbook.faults import link_chaos, link_drivers, link_ephemeral, link_group, link_helper, selection
from drillbook.faults.fault import Bite, Draw, Injected, Record
from drillbook.faults.link_group import Links, LinkStep
from drillbook.helper.shaping import Setting, show_rate
from drillbook.model.experiment import Step
from drillbook.model.plan import PlannedFault
from drillbook.targets import paths, transport
from drillbook.targets.target import Target
from drillbook.targets.transport import Kind, Transport

LONGEST = 900.0
"""Seconds after which a helper clears by itself where the step does not say how long it is held."""
SLACK = 30.0
"""Seconds that a helper waits, beyond the step's own time, to be ended by the run."""
LOOK_SECONDS = 0.3
SLOWER = 1.5
"""A throttled link that carries more than so many times its rate is not throttled."""

Schedule = Callable[[Any, float], list[tuple[float, Setting]]]
"""From a step and the seconds it lasts to its settings, each with the second at which it begins."""


class LinkFault:
    """One way of harming a link; see the module."""

    def __init__(self, name: str, summary: str, step: type[Step], schedule: Schedule) -> None:
        self.name, self.summary, self.step = name, summary, step
        self._schedule = schedule

    async def plan(self, step: LinkStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        links = await link_group.choose(step, index, target, draw)
        found = await transport.find(target, links.pods, step.role)
        _reach(step, links, found)
        seconds = step.for_ or LONGEST
        schedule = self._schedule(step, seconds)
        radius = await selection.radius(list(links.pods), step.role, await target.pods(step.role), target)
        driver = await link_drivers.choose(step, target, draw.run_id, links, schedule, seconds + SLACK)
        more = f", in {len(schedule)} steps" if len(schedule) > 1 else ""
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"the link {links} {schedule[0][1]}{more} ({found.kind.value}), by {driver.told}",
            targets=tuple(map(paths.pod_ref, links.pods)),
            calls=driver.calls,
            undo=driver.undo,
            undo_summary=driver.undo_told,
            radius=radius,
            permissions=driver.permissions,
            options={
                "steps": [(at, asdict(setting)) for at, setting in schedule],
                "driver": driver.name,
                "objects": driver.objects,
                "transport": found.kind.value,
                "evidence": found.evidence,
                "spared": list(links.spared),
            },
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        if planned.options["driver"] == link_chaos.NAME:
            return Injected(await link_chaos.inject(planned, target, record), undo=planned.undo)
        told = await _way(planned).inject(planned, target, record)
        before = [each for one in told for each in one["before"]]
        words = "; ".join(f"{each['peer']}: {_measured(each)}" for each in before)
        return Injected(f"{told[0]['set']} (before: {words})", undo=planned.undo, seen={"before": before})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        if planned.options["driver"] == link_chaos.NAME:
            return await link_chaos.verify(planned, target, seconds)
        steps: Any = planned.options["steps"]
        setting = Setting.of(steps[0][1])
        before = {each["peer"]: each for each in injected.seen["before"]}
        until = clock.monotonic() + seconds
        detail = "nothing was measured yet"
        while True:
            try:
                lines = [line["measured"] for line in await _way(planned).told(planned, target) if "measured" in line]
                during = {each["peer"]: each for each in lines if each["step"] == 0}
                if during.keys() >= before.keys():
                    return _compare(setting, before, during)
            except DrillbookError as error:
                detail = f"it cannot be seen: {error}"
            if clock.monotonic() > until:
                return Bite(False, detail)
            await asyncio.sleep(LOOK_SECONDS)


def _way(planned: PlannedFault) -> ModuleType:
    return link_ephemeral if planned.options["driver"] == link_ephemeral.NAME else link_helper


def _compare(setting: Setting, before: dict[str, Any], during: dict[str, Any]) -> Bite:
    """Whether each link that is measured shows what was set, and did not before."""
    words, bit = [], bool(before)
    for peer, now in during.items():
        then = before[peer]
        words.append(f"link to {peer}: {_measured(then)} before, {_measured(now)} now")
        match setting.kind:
            case "throttle":
                slow = now["rate"] is None or now["rate"] <= setting.rate * SLOWER
                bit = bit and slow and now["answered"] > 0 and (then["rate"] or 0.0) > setting.rate * SLOWER
            case "cut":
                bit = bit and now["answered"] == 0 and then["answered"] > 0
            case "loss":
                bit = bit and now["lost"] > max(then["lost"], setting.share / 4)
            case _:
                slower = (now["round_trip"] or 0.0) - (then["round_trip"] or 0.0)
                bit = bit and slower >= 0.7 * setting.delay
    return Bite(bit, "; ".join(words) or "no link could be measured")


def _measured(told: dict[str, Any]) -> str:
    if not told["answered"]:
        return "nothing comes back"
    lost = f", {told['lost']:.0%} lost" if told["lost"] else ""
    rate = show_rate(told["rate"]) if told["rate"] else "too little to tell its rate"
    return f"{rate}{lost}, round trip {told['round_trip'] * 1000:.1f} ms"


def _reach(step: LinkStep, links: Links, found: Transport) -> None:
    """:raises UnsupportedError: a rule in the pods' network does not reach what the ranks talk over."""
    if found.reached or (found.kind is Kind.UNKNOWN and step.bites is not None):
        return
    names = ", ".join(pod["metadata"]["name"] for pod in links.pods)
    ranks = f"the ranks in {names} talk over {found.kind.value}"
    if found.kind is Kind.UNKNOWN:
        ranks = f"nothing tells over what the ranks in {names} talk"
    raise UnsupportedError(f"{step.fault} is unsupported: {ranks} ({found.evidence})", hint=found.remedy)
