"""Judges the run of a Chaos Toolkit experiment from its journal alone. Pure; judging again gives the same.

Validity comes before judgement, as for drillbook's own experiments: where the steady state did not hold before the
method, an action failed or a control failed, no expectation is believed; what was not measured is inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from drillbook.chaostoolkit.load import Json
from drillbook.model.judgement import Clocks, Judgement
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict
from drillbook.probes.clocks import CLOCKS

_ORDER = ("validity", "steady-state", "bite", "abort-when", "expect")


def judge(journal: Json) -> Judgement:
    """The verdict on a run, with every finding that it rests on."""
    valid = [*_baseline(journal), *_actions(journal), *_validity(journal)]
    doubt = next((finding.reason for finding in valid if finding.verdict is not Verdict.HELD), "")
    asked = [*_abort(journal), *_method_probes(journal), *_during(journal), *_after(journal)]
    findings = [*valid, *(_doubted(finding, doubt) for finding in asked)]
    if not asked and not doubt:
        reason = "no probe with a tolerance was asked during or after the method, so nothing could be refuted"
        findings.append(_finding("something is expected", "validity", Verdict.INCONCLUSIVE, reason))
    status = status_of(journal)
    verdict = Verdict.worst(finding.verdict for finding in findings)
    return Judgement(
        status=status,
        undo=undo_of(journal),
        verdict=verdict,
        reason=_reason(findings, verdict),
        findings=(*findings, *_told(journal)),
        clocks=_no_clocks(),
    )


def status_of(journal: Json) -> RunStatus:
    """What became of the run; a journal that was never ended is that of a runner that died."""
    ours = journal["drillbook"]
    return RunStatus(ours.get("status", "crashed")) if ours.get("ended") else RunStatus.CRASHED


def undo_of(journal: Json) -> UndoState:
    """What became of what the method changed."""
    ours, played = journal["drillbook"], journal["rollbacks"]
    begun = any(_is_action(item) for item in journal["run"])
    if begun and ours.get("still-running"):
        return UndoState.REMAINS
    if ours.get("rollbacks-skipped") or not journal["experiment"].get("rollbacks"):
        return UndoState.NOTHING
    wanted = {item.get("name") or item.get("ref") for item in journal["experiment"]["rollbacks"]}
    good = {item["activity"].get("name") for item in played if item["status"] == "succeeded"}
    if not begun and not played:
        return UndoState.NOTHING
    return UndoState.CLEAN if wanted <= good else UndoState.REMAINS


def _is_action(item: Json) -> bool:
    return bool(item["activity"].get("type") == "action" and not item.get("dry"))


def _baseline(journal: Json) -> Iterator[Finding]:
    state = journal["steady_states"].get("before")
    for probe in (state or {}).get("probes", ()):
        held = probe.get("tolerance_met")
        reason = probe.get("reason", "it was not asked to its end")
        if not held:
            reason = f"the steady state did not hold before the method: {reason}"
        yield _finding(
            probe["activity"]["name"], "steady-state", Verdict.HELD if held else Verdict.INCONCLUSIVE, reason
        )


def _actions(journal: Json) -> Iterator[Finding]:
    """An action that failed is a fault that did not happen: nothing is proven by what held all the same."""
    for item in journal["run"]:
        if item["activity"]["type"] != "action":
            continue
        name = item["activity"]["name"]
        if item.get("dry"):
            yield _finding(name, "bite", Verdict.INCONCLUSIVE, "it was not carried out: a dry run")
        elif item["status"] == "succeeded":
            yield _finding(name, "bite", Verdict.HELD, "it was carried out")
        elif item["status"] == "aborted" and status_of(journal) is RunStatus.ABORTED:
            yield _finding(name, "bite", Verdict.HELD, "it was ended with the run, before it was through")
        else:
            yield _finding(name, "bite", Verdict.INCONCLUSIVE, f"the action {_why(item)}")


def _validity(journal: Json) -> Iterator[Finding]:
    ours = journal["drillbook"]
    for note in ours.get("notes", ()):
        yield _finding("all controls work", "validity", Verdict.INCONCLUSIVE, note)
    for name in ours.get("still-running", ()):
        yield _finding(
            "all actions end",
            "validity",
            Verdict.INCONCLUSIVE,
            f"{name} was still at work when the rollbacks were played",
        )
    status = status_of(journal)
    if status in (RunStatus.CRASHED, RunStatus.INTERRUPTED):
        reason = ours.get("reason") or "the runner died"
        yield _finding(
            "the run came to its end", "validity", Verdict.INCONCLUSIVE, f"the run was {status.value}: {reason}"
        )
    for item in journal["run"]:
        if item["activity"]["type"] == "probe" and "tolerance_met" not in item and item["status"] != "succeeded":
            yield _finding(item["activity"]["name"], "validity", Verdict.INCONCLUSIVE, f"the probe {_why(item)}")


def _abort(journal: Json) -> Iterator[Finding]:
    if status_of(journal) is RunStatus.ABORTED:
        begun = bool(journal["run"])
        reason = journal["drillbook"].get("reason", "")
        verdict = Verdict.REFUTED if begun else Verdict.INCONCLUSIVE
        yield _finding("no safeguard trips", "abort-when", verdict, reason if begun else f"{reason}, before the method")


def _method_probes(journal: Json) -> Iterator[Finding]:
    """A tolerance in the method is asked too; chaoslib passes over it."""
    for item in journal["run"]:
        if item["activity"]["type"] == "probe" and "tolerance_met" in item:
            yield _asked(item)


def _during(journal: Json) -> Iterator[Finding]:
    strategy = (journal["experiment"].get("runtime") or {}).get("hypothesis", {}).get("strategy", "")
    samples = journal["steady_states"].get("during") or []
    if strategy not in ("continuously", "during-method-only"):
        return
    if not samples:
        yield _finding(
            "during the method", "expect", Verdict.INCONCLUSIVE, "the hypothesis was never sampled during the method"
        )
        return
    for place, probe in enumerate(samples[0]["probes"]):
        name = probe["activity"]["name"]
        asked = [sample["probes"][place] for sample in samples if place < len(sample["probes"])]
        bad = [each for each in asked if not each["tolerance_met"]]
        measured = [each for each in bad if each.get("measured")]
        verdict = Verdict.REFUTED if measured else Verdict.INCONCLUSIVE if bad else Verdict.HELD
        reason = f"{len(asked) - len(bad)} of {len(asked)} samples during the method were within tolerance"
        if bad:
            reason = f"{len(bad)} of {len(asked)} samples during the method were not: {(measured or bad)[0]['reason']}"
        found = _finding(f"{name}, continuously", "expect", verdict, reason)
        yield msgspec.structs.replace(found, samples=len(asked))


def _after(journal: Json) -> Iterator[Finding]:
    state = journal["steady_states"].get("after")
    yield from (_asked(probe) for probe in (state or {}).get("probes", ()))


def _asked(probe: Json) -> Finding:
    name, reason = probe["activity"]["name"], probe.get("reason", "it was not asked to its end")
    if probe.get("tolerance_met") and not probe.get("dry"):
        return _finding(name, "expect", Verdict.HELD, reason)
    verdict = Verdict.REFUTED if probe.get("measured") else Verdict.INCONCLUSIVE
    return _finding(name, "expect", verdict, reason)


def _told(journal: Json) -> Iterator[Finding]:
    """What is no matter of the verdict and must be known all the same."""
    skipped = journal["drillbook"].get("rollbacks-skipped")
    if skipped and journal["experiment"].get("rollbacks"):
        yield _finding("rollbacks", "validity", Verdict.HELD, f"not played: {skipped}")
    for item in journal["rollbacks"]:
        if item["status"] != "succeeded":
            yield _finding(f"rollback {item['activity']['name']}", "validity", Verdict.INCONCLUSIVE, f"it {_why(item)}")


def _why(item: Json) -> str:
    if item["status"] == "aborted":
        return "was ended before it was through"
    return "failed: " + "".join(item.get("exception", ["no reason given"])).strip().partition(": ")[2]


def _doubted(finding: Finding, doubt: str) -> Finding:
    if not doubt or finding.verdict is Verdict.INCONCLUSIVE:
        return finding
    return msgspec.structs.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=f"{finding.reason}; but {doubt}")


def _finding(expectation: str, role: str, verdict: Verdict, reason: str) -> Finding:
    return Finding(expectation=expectation, role=role, verdict=verdict, reason=reason, evidence=("journal.json",))


def _reason(findings: list[Finding], verdict: Verdict) -> str:
    if verdict is Verdict.HELD:
        count = sum(finding.role == "expect" for finding in findings)
        return f"all {count} expectations held" if count > 1 else findings[-1].reason
    deciding = [finding for finding in findings if finding.verdict is verdict]
    return min(deciding, key=lambda finding: _ORDER.index(finding.role)).reason


def _no_clocks() -> Clocks:
    why = "a Chaos Toolkit experiment sends no load to read it off"
    return msgspec.convert({name: {"name": name, "at": None, "why": why} for name in CLOCKS}, Clocks)
