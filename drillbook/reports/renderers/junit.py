"""``junit.xml``: one test case a finding, as CI systems read it. Refuted is a failure, inconclusive an error.

The shape is that of the JUnit reports of Apache Ant, in the subset that Jenkins, GitLab and GitHub actions agree on.
"""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict
from drillbook.reports.facts import Facts
from drillbook.reports.text import clean, measured

FILENAME = "junit.xml"


def render(facts: Facts) -> str:
    head = facts.header
    cases = [_case(facts, finding) for finding in facts.findings]
    cases += _run(facts)
    tags = [child.tag for case in cases for child in case]
    suite = Xml.Element(
        "testsuite",
        name=clean(head.title),
        tests=str(len(cases)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped="0",
        time=f"{head.seconds:.3f}",
        timestamp=head.started.removesuffix("Z"),
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in {
        "run": head.run_id,
        "target": head.target,
        "simulated": head.simulated,
        **head.versions,
    }.items():
        Xml.SubElement(properties, "property", name=clean(name), value=clean(value))
    suite.extend(cases)
    root = Xml.Element("testsuites", name="drillbook")
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _case(facts: Facts, finding: Finding) -> Xml.Element:
    case = _named(facts, f"{finding.role}: {finding.expectation}")
    if finding.verdict is not Verdict.HELD:
        tag = "failure" if finding.verdict is Verdict.REFUTED else "error"
        problem = Xml.SubElement(case, tag, message=clean(finding.reason), type=finding.verdict.value)
        lines = [f"measured: {measured(finding)}", *(f"evidence: {place}" for place in finding.evidence)]
        problem.text = clean("\n".join(lines))
    return case


def _run(facts: Facts) -> list[Xml.Element]:
    """The run itself: a failed undo is a failure whatever the findings say, and an unfinished run is an error."""
    head, found = facts.header, []
    if head.undo is UndoState.REMAINS:
        case = _named(facts, "undo: the target is as it was")
        Xml.SubElement(
            case, "failure", message="something may still be in place: drillbook recover", type="undo-failed"
        )
        found.append(case)
    if head.status in (RunStatus.CRASHED, RunStatus.INTERRUPTED):
        case = _named(facts, "run: it came to its end")
        Xml.SubElement(case, "error", message=f"the run was {head.status.value}", type=head.status.value)
        found.append(case)
    return found


def _named(facts: Facts, name: str) -> Xml.Element:
    return Xml.Element(
        "testcase", classname=clean(facts.header.experiment or facts.header.run_id), name=clean(name), time="0"
    )
