from __future__ import annotations

from pathlib import Path

import pytest

from drillbook import catalog
from drillbook.errors import InvalidFileError
from drillbook.playbooks.load import load
from drillbook.playbooks.playbook import Expected

SHIPPED = sorted(catalog.entries("playbooks"), key=lambda entry: entry.name)
MINIMAL = """\
id: my-mode
title: "{{ model }} is slow"
failure-mode: it is slow
severity: [{level: SEV-1, when: always}]
signals: [{name: users, expect: turns, symptom: they wait}]
triage: [{id: first, question: is it slow?, yes: go to second, no: stop}, {id: second, question: still?, yes: a, no: b}]
mitigation: [{name: wait, command: sleep 1, expected: it passes}]
rollback: {trigger: never}
verification: [{name: look, expected: it is fast}]
escalation: [{role: on-call, duty: waits}]
communication: [{audience: all, text: we wait}]
evidence: [{what: nothing, why: there is none}]
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "my-mode.yaml"
    path.write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        load(path)
    return [f"{p.line}: {p.message} / {p.hint}" for p in caught.value.problems]


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_every_playbook_that_comes_with_drillbook_is_right(entry: catalog.Entry) -> None:
    playbook = load(entry.path)
    assert playbook.id == entry.name
    assert {signal.expect for signal in playbook.signals} == set(Expected)
    assert any(signal.query for signal in playbook.signals)
    assert playbook.gaps


def test_the_three_failure_modes_of_the_first_drills_have_theirs() -> None:
    assert {"replica-down", "engine-hang", "engine-crash"} <= {entry.name for entry in SHIPPED}


def test_a_minimal_playbook_is_read(tmp_path: Path) -> None:
    path = tmp_path / "my-mode.yaml"
    path.write_text(MINIMAL)
    assert load(path).id == "my-mode"


def test_all_problems_are_told_at_their_lines(tmp_path: Path) -> None:
    text = MINIMAL.replace("expect: turns", "expect: maybe").replace("rollback:", "rolback:")
    found = problems(tmp_path, text)
    assert any(line.startswith("5: 'expect' cannot be 'maybe'") and "stays-green" in line for line in found)
    assert any(line.startswith("8: 'rolback' is no key here / did you mean 'rollback'?") for line in found)
    assert any("'rollback' is missing" in line for line in found)


def test_a_key_of_a_nested_entry_is_suggested_from_its_own_keys(tmp_path: Path) -> None:
    found = problems(tmp_path, MINIMAL.replace("symptom: they wait", "symptom: they wait, qery: up"))
    assert found == ["5: 'qery' is no key here / did you mean 'query'?"]


def test_an_unknown_placeholder_is_a_problem_of_its_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MINIMAL.replace("{{ model }}", "{{ modle }}"))
    assert found.startswith("2: no placeholder is called 'modle' / a text may name namespace, deployment")


def test_a_template_that_is_none_is_a_problem_of_its_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MINIMAL.replace("{{ model }}", "{{ model"))
    assert found.startswith("2: this is no template")


def test_a_step_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MINIMAL.replace("go to second", "go to secnd"))
    assert found == "6: no step is called 'secnd' / did you mean 'second'?"
