from __future__ import annotations

import json
from xml.etree import ElementTree

import msgspec
import pytest

from drillbook.model.units import show
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict
from drillbook.reports.facts import SCHEMA, Facts, facts
from drillbook.reports.renderers import html, junit, markdown, playbook
from drillbook.reports.renderers import json as json_renderer

HOSTILE = '<script>alert(1)</script> | `x` {{ 7*7 }} ]]> & "q" \x00\x1b[31m \u202e'


def hostile(told: Facts) -> Facts:
    """The facts of a run whose every free text is an attack on a reader's browser, terminal or parser."""

    def poison(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        if isinstance(value, str) and key in ("title", "why", "reason", "error", "event", "detail", "text", "name"):
            return HOSTILE + value if key != "name" else value
        return value

    return msgspec.convert(poison(msgspec.to_builtins(told)), Facts)


def test_json_is_the_facts_rounded(pod_kill_facts: Facts) -> None:
    told = json.loads(json_renderer.render(pod_kill_facts))
    assert told["schema"] == SCHEMA
    assert told["header"]["verdict"] == "held"
    assert told["harm"]["outcomes"] == pod_kill_facts.harm.outcomes
    assert told["clocks"]["broken_seconds"] == pytest.approx(pod_kill_facts.clocks.broken_seconds, abs=1e-6)
    assert [finding["verdict"] for finding in told["findings"]] == [f.verdict.value for f in pod_kill_facts.findings]
    assert msgspec.convert(told, Facts).headline == pod_kill_facts.headline


def test_json_has_null_and_not_infinity(engine_hang_facts: Facts) -> None:
    told = json.loads(json_renderer.render(engine_hang_facts), parse_constant=lambda name: pytest.fail(name))
    during = next(sli for sli in told["slis"] if sli["stretch"]["name"] == "during")
    assert during["ttft"]["p95"] is None
    assert during["ttft"]["count"] > 0


def test_the_keys_of_the_json_report_are_those_that_users_rely_on(pod_kill_facts: Facts) -> None:
    told = json.loads(json_renderer.render(pod_kill_facts))
    assert list(told) == [
        "schema", "header", "headline", "findings", "backlog", "clocks", "signals", "alerts", "harm", "slis",
        "comparisons", "faults", "links", "phases", "series", "pods", "timeline", "scaling", "rollout", "routing",
        "batching", "cost", "guardrails", "names", "caveats",
    ]  # fmt: skip


def test_markdown_and_html_carry_the_same_figures(pod_kill_facts: Facts) -> None:
    for text in (markdown.render(pod_kill_facts), html.render(pod_kill_facts)):
        for figure in pod_kill_facts.headline:
            assert figure.value in text
        for sli in pod_kill_facts.slis:
            assert show(sli.goodput or 0.0, "share") in text
        for finding in pod_kill_facts.findings:
            assert finding.expectation.replace(">", "&gt;").replace("<", "&lt;") in text or finding.expectation in text
        for one in pod_kill_facts.clocks.elapsed:
            assert one.seconds is None or show(one.seconds, "duration") in text


def test_every_row_of_a_markdown_table_has_its_columns(engine_hang_facts: Facts) -> None:
    width = None
    for line in markdown.render(hostile(engine_hang_facts)).splitlines():
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else None
        assert width is None or cells is None or cells == width, line
        width = cells


def test_junit_has_a_case_a_finding_with_refuted_as_failure_and_inconclusive_as_error(engine_hang: tuple) -> None:
    history, judgement = engine_hang
    doubt = Finding(expectation="ttft.p95 < 2s", role="expect", verdict=Verdict.INCONCLUSIVE, reason="no data")
    judgement = msgspec.structs.replace(judgement, findings=(*judgement.findings, doubt))
    told = facts(history, judgement)
    suite = ElementTree.fromstring(junit.render(told)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    cases = suite.findall("testcase")
    assert [case.find("failure") is not None for case in cases] == [False, False, True, False]
    error = cases[3].find("error")
    assert error is not None
    assert error.get("message") == "no data"


def test_junit_fails_when_something_may_be_left_behind(pod_kill: tuple) -> None:
    history, judgement = pod_kill
    judgement = msgspec.structs.replace(judgement, undo=UndoState.REMAINS, status=RunStatus.CRASHED)
    suite = ElementTree.fromstring(junit.render(facts(history, judgement))).find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")


def test_hostile_texts_stay_texts_in_every_format(engine_hang_facts: Facts) -> None:
    told = hostile(engine_hang_facts)
    page, words, book = html.render(told), markdown.render(told), playbook.render(told) or ""
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    for text in (page, words, book):
        assert "49" not in text[: text.index("alert")]
        assert not set(text) & {"\x00", "\x1b", "\u202e"}
    for text in (words, book):
        outside = "".join(part for number, part in enumerate(text.split("`")) if number % 2 == 0)
        assert "<script" not in outside.replace("\\<script", "")
    assert ElementTree.fromstring(junit.render(told)) is not None
    assert json.loads(json_renderer.render(told))["header"]["title"].startswith("<script>")


def test_a_million_requests_make_a_page_no_larger(pod_kill_facts: Facts) -> None:
    series = pod_kill_facts.series
    many = msgspec.structs.replace(series, dots=())
    page = html.render(msgspec.structs.replace(pod_kill_facts, series=many))
    assert "p50 to p95" in page
    assert len(page) < len(html.render(pod_kill_facts))
