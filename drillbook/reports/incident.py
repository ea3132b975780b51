"""The part of the facts that a playbook is filled in with."""

from __future__ import annotations

from drillbook.playbooks.incident import Incident, Interval, SignalSeen, Task
from drillbook.reports.facts import Facts


def incident(facts: Facts) -> Incident:
    head, clocks = facts.header, facts.clocks
    moments = {clock.name: clock.at for clock in clocks.moments}
    injected, effect = moments["inject"], moments["effect"]
    return Incident(
        run_id=head.run_id,
        experiment=head.experiment,
        tested=head.started,
        target=head.target,
        simulated=head.simulated,
        verdict=head.verdict.value,
        reason=head.reason,
        fault=head.done,
        versions=head.versions,
        names=facts.names,
        victims=tuple(target.rpartition("/")[2] for fault in facts.faults for target in fault.targets),
        harmed_after=None if injected is None or effect is None else max(0.0, effect - injected),
        broken=clocks.broken_seconds,
        green_while_broken=clocks.green_while_broken_seconds,
        requests=facts.harm.total,
        bad=facts.harm.bad,
        hidden=facts.harm.hidden,
        tokens_lost=facts.harm.tokens_lost,
        times=tuple(
            Interval(name=one.name, meaning=one.meaning, seconds=one.seconds, resolution=one.resolution, why=one.why)
            for one in clocks.elapsed
        ),
        legs=tuple(
            Interval(name=leg.name, meaning=leg.pod, seconds=None if leg.end is None else leg.end - leg.start)
            for leg in clocks.recovery
        ),
        signals=tuple(
            SignalSeen(
                name=signal.name,
                kind=signal.kind,
                turned=None if signal.turned is None else signal.turned - (injected or 0.0),
                green_while_broken=signal.green_while_broken,
            )
            for signal in facts.signals
        ),
        backlog=tuple(
            Task(id=item.id, title=item.title, work=item.work.value, because=item.because) for item in facts.backlog
        ),
    )
