"""Everything that a report says, said once. Pure: computed from the journal and its judgement alone.

``Facts`` is also the JSON report: its field names are public and only grow. ``SCHEMA`` changes when one is taken away
or changes its meaning. Times are seconds after time zero (the end of the baseline), shares are between 0 and 1.
"""

from __future__ import annotations

import msgspec

from drillbook.model.attack import AttackRecord
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.model.verdict import Finding
from drillbook.probes.index import Indexed
from drillbook.reports.alerts import AlertFacts, alert_facts
from drillbook.reports.backlog import Item, backlog
from drillbook.reports.batching import BatchingFacts, batching_facts
from drillbook.reports.caveats import caveats
from drillbook.reports.clocks import ClockFacts, clock_facts
from drillbook.reports.cost import CostFacts, cost
from drillbook.reports.faults import FaultFacts, faults
from drillbook.reports.guardrails import GuardrailFacts, guardrails
from drillbook.reports.harm import Harm, harm
from drillbook.reports.header import Header, header
from drillbook.reports.headline import Figure, headline
from drillbook.reports.links import LinkFacts, links
from drillbook.reports.names import names
from drillbook.reports.phases import PhaseBand, phase_bands
from drillbook.reports.pods import PodFacts, pods
from drillbook.reports.rollout import RolloutFacts, rollout_facts
from drillbook.reports.routing import RoutingFacts, routing_facts
from drillbook.reports.scaling import ScalingFacts, scaling
from drillbook.reports.series import Series, series
from drillbook.reports.signals import Signal, signals
from drillbook.reports.slis import Comparison, Sli, comparisons, slis
from drillbook.reports.stretches import stretches
from drillbook.reports.timeline import Row, timeline

SCHEMA = "drillbook.report/1"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    header: Header
    headline: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    backlog: tuple[Item, ...]
    clocks: ClockFacts
    signals: tuple[Signal, ...]
    alerts: tuple[AlertFacts, ...]
    harm: Harm
    slis: tuple[Sli, ...]
    comparisons: tuple[Comparison, ...]
    faults: tuple[FaultFacts, ...]
    links: tuple[LinkFacts, ...]
    """Faults on the links between ranks: what was set, and how the engine answered."""
    phases: tuple[PhaseBand, ...]
    series: Series
    pods: PodFacts
    timeline: tuple[Row, ...]
    scaling: ScalingFacts | None = None
    """None where no autoscaler was watched."""
    rollout: RolloutFacts | None = None
    """None where no new revision of the engines came."""
    routing: RoutingFacts | None = None
    """None where no router told where it sends requests."""
    batching: BatchingFacts | None = None
    """None where there was no second load, and nobody asked for preemptions or the KV cache."""
    cost: CostFacts | None = None
    """None where no engine holds a GPU."""
    guardrails: GuardrailFacts | None = None
    """None where no attacks ran."""
    attacks: tuple[AttackRecord, ...] = ()
    """Each adversarial prompt; no part of the JSON report, which tells what they came to."""
    names: dict[str, str]
    """Real names of the target, by the placeholder of playbooks."""
    caveats: tuple[str, ...]


def facts(history: History, judgement: Judgement) -> Facts:
    clocks, index = judgement.clocks, Indexed.of(history)
    parts = stretches(history, clocks)
    seen, hit, harmed = signals(index, clocks), faults(history), harm(index, parts)
    clocked, measured, timed = clock_facts(history, clocks), slis(index, parts), series(index)
    guard = guardrails(index, width=timed.width)
    return Facts(
        header=header(history, judgement),
        headline=headline(clocked, harmed, measured, guard),
        findings=judgement.findings,
        backlog=backlog(judgement, hit, seen, harmed),
        clocks=clocked,
        signals=seen,
        alerts=alert_facts(index, clocks, judgement.findings),
        harm=harmed,
        slis=measured,
        comparisons=comparisons(index, parts),
        faults=hit,
        links=links(index),
        phases=phase_bands(history),
        series=timed,
        pods=pods(history),
        timeline=timeline(history, clocks, seen),
        scaling=scaling(index),
        rollout=rollout_facts(index),
        routing=routing_facts(index, parts),
        batching=batching_facts(index, parts),
        cost=cost(index, parts),
        guardrails=guard,
        attacks=tuple(history.attacks),
        names=names(history),
        caveats=caveats(history, clocks, judgement.status),
    )
