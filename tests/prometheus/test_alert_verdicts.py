"""What an alert that came, came late, did not come, or could not be seen makes of a run."""

from __future__ import annotations

import pytest
from histories import BASELINE, drill, hung, served

from drillbook.experiments.check import judge
from drillbook.model.events import AlertChanged, AlertState, Observed
from drillbook.model.expectation import ExpectationError, parse
from drillbook.model.verdict import Verdict
from drillbook.probes.index import Indexed
from drillbook.probes.names import ALERTS
from drillbook.reports.alerts import alert_facts

FIRES, SILENT = "alert EngineHung fires within 30s", "alert EngineDown stays silent"
LABELS = {"pod": "e0", "severity": "critical"}


def run(*expect: str, changes=(), blind=(), looks=True, fate=None, took=1.0):
    """A drill whose alert rules were looked at every second; ``changes`` are (at, name, state)."""
    built = drill(
        fate or (lambda at: hung(5) if 0 <= at < 12 else served()), method=[{"fault": "pod-kill"}], expect=list(expect)
    )
    for name in ("EngineHung", "EngineDown"):
        if looks:
            built.add(-BASELINE - 0.4, AlertChanged(name=name, state=AlertState.INACTIVE), "observer")
    for second in range(int(-BASELINE), 46):
        if looks:
            dark = any(start <= second < end for start, end in blind)
            error = "Prometheus does not answer" if dark else ""
            built.add(second, Observed(probe=ALERTS, value=None if dark else 0.0, error=error), "observer")
    for at, name, state in changes:
        built.add(at, AlertChanged(name=name, state=state, labels=LABELS, took=took), "observer")
    return built.history


def told(history, text):
    return next(finding for finding in judge(history).findings if finding.expectation == text)


def test_an_alert_that_fires_in_time_is_held_and_says_when():
    found = told(run(FIRES, changes=[(9.0, "EngineHung", AlertState.FIRING)]), FIRES)
    assert found.verdict is Verdict.HELD
    assert found.value == 9.0
    assert "alert EngineHung fired 9s after inject" in found.reason


def test_an_alert_that_is_expected_and_missing_is_refuted():
    found = told(run(FIRES), FIRES)
    assert found.verdict is Verdict.REFUTED
    assert found.reason == "alert EngineHung did not fire within 30s of inject: it stayed silent"


def test_an_alert_that_comes_late_is_refuted():
    assert told(run(FIRES, changes=[(34.0, "EngineHung", AlertState.FIRING)]), FIRES).verdict is Verdict.REFUTED


def test_an_alert_that_is_only_pending_has_not_fired():
    found = told(run(FIRES, changes=[(9.0, "EngineHung", AlertState.PENDING)]), FIRES)
    assert found.verdict is Verdict.REFUTED
    assert "it was pending" in found.reason


def test_silence_that_was_watched_is_held_and_a_firing_alert_refutes_it():
    assert told(run(SILENT), SILENT).verdict is Verdict.HELD
    found = told(run(SILENT, changes=[(9.0, "EngineDown", AlertState.FIRING)]), SILENT)
    assert found.verdict is Verdict.REFUTED
    assert "alert EngineDown fired" in found.reason


@pytest.mark.parametrize("text", [FIRES, SILENT])
@pytest.mark.parametrize(
    ("told_by", "change"),
    [
        ("no Prometheus was asked", {"looks": False}),
        ("the rules were not seen for", {"blind": [(3, 38)]}),
        ("firing before the fault already", {"changes": [(-5.0, "?", AlertState.FIRING)]}),
        ("could not be evaluated", {"changes": [(5.0, "?", AlertState.UNKNOWN)]}),
    ],
)
def test_an_alert_that_could_not_be_judged_convicts_and_acquits_nobody(text, told_by, change):
    name = text.split()[1]
    change = change | {"changes": [(at, name, state) for at, _, state in change.get("changes", ())]}
    found = told(run(text, **change), text)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert told_by in found.reason


def test_the_first_alert_sets_the_clock_of_detection_and_not_a_pod_that_turned():
    history = run(FIRES, changes=[(9.0, "EngineHung", AlertState.FIRING)])
    detect = judge(history).clocks.detect
    assert (detect.at, detect.source, detect.resolution) == (9.0, "alert EngineHung", 1.0)


def test_where_no_alert_fires_nothing_was_detected_though_signals_turned():
    judgement = judge(run(FIRES))
    assert judgement.clocks.detect.at is None
    assert judgement.clocks.detect.why.startswith("no alert fired")


def test_where_no_rule_was_watched_health_signals_still_tell_the_time_of_detection():
    built = drill(lambda at: hung(5) if 0 <= at < 12 else served())
    built.health(lambda second: 0.0 if second == 4 else 1.0, replica="e0")
    assert judge(built.history).clocks.detect.source == "health e0"


def test_the_report_tells_what_was_expected_of_each_alert_and_how_late_it_came():
    history = run(
        FIRES, SILENT, changes=[(7.0, "EngineHung", AlertState.PENDING), (9.0, "EngineHung", AlertState.FIRING)]
    )
    judgement = judge(history)
    hung_one, down = alert_facts(Indexed.of(history), judgement.clocks, judgement.findings)
    assert (hung_one.name, hung_one.severity, hung_one.fired_at) == ("EngineHung", "critical", 9.0)
    assert hung_one.expected == "fires within 30s"
    assert hung_one.pending == ((7.0, 9.0),)
    assert hung_one.after_effect == pytest.approx(9.0 - judgement.clocks.effect.at)
    assert (down.expected, down.verdict, down.fired_at) == ("stays silent", "held", None)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("alert fires", 6, "an alert's name is wanted here"),
        ("alert X fire within 60s", 8, "an alert 'fires' or 'stays silent', not 'fire'"),
        ("alert X stays quiet", 14, "'silent' is wanted here"),
        ("alert X stays silent within 3s", 21, "an alert that stays takes no 'within'"),
        ("always alert X fires", 0, "an alert takes no 'always'"),
        ("alert X fires within soon", 21, "'soon' is not a quantity"),
    ],
)
def test_a_sentence_on_alerts_that_is_wrong_is_pointed_into(text, at, message):
    with pytest.raises(ExpectationError) as raised:
        parse(text, {})
    assert raised.value.at == at
    assert raised.value.message.startswith(message)


def test_while_nobody_looks_at_the_rules_no_silence_is_claimed():
    detect = judge(run(FIRES, blind=[(3, 38)])).clocks.detect
    assert detect.at is None
    assert detect.why.startswith("whether an alert fired is not known: the rules were not seen for")


def test_an_alert_that_may_have_come_in_time_while_nobody_looked_is_not_late():
    history = run(FIRES, changes=[(34.0, "EngineHung", AlertState.FIRING)], blind=[(20, 34)], took=14.0)
    found = told(history, FIRES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "or up to 14.0s before, when the rules were not seen" in found.reason
