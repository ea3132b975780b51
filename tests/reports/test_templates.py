from __future__ import annotations

from pathlib import Path

import pytest

from drillbook.errors import InvalidFileError
from drillbook.reports import text
from drillbook.reports.facts import Facts
from drillbook.reports.renderers import html, markdown


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own drillbook, in which their templates go first."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports"


def test_a_users_own_template_is_taken_first(mine: Path, pod_kill_facts: Facts) -> None:
    (mine / "report.md.j2").write_text(
        "{{ facts.header.verdict.value }} in {{ facts.clocks.broken_seconds | duration }}\n"
    )
    assert markdown.render(pod_kill_facts).startswith("held in 5.")


def test_a_name_that_does_not_exist_is_an_error_with_its_line(mine: Path, pod_kill_facts: Facts) -> None:
    (mine / "report.md.j2").write_text("# {{ facts.header.title }}\n\n{{ facts.header.titel }}\n")
    with pytest.raises(InvalidFileError) as caught:
        markdown.render(pod_kill_facts)
    (problem,) = caught.value.problems
    assert (Path(problem.file).name, problem.line) == ("report.md.j2", 3)
    assert "titel" in problem.message


def test_a_template_that_is_none_is_an_error_with_its_line(mine: Path, pod_kill_facts: Facts) -> None:
    (mine / "report.html.j2").write_text("<p>\n{% for x in %}\n")
    with pytest.raises(InvalidFileError) as caught:
        html.render(pod_kill_facts)
    assert caught.value.problems[0].line == 2


def test_a_template_that_fails_in_python_is_an_error_and_no_traceback(mine: Path, pod_kill_facts: Facts) -> None:
    (mine / "report.md.j2").write_text("{{ facts.header.title + 1 }}")
    with pytest.raises(InvalidFileError, match="problem"):
        markdown.render(pod_kill_facts)


def test_templates_cannot_reach_python(mine: Path, pod_kill_facts: Facts) -> None:
    (mine / "report.md.j2").write_text("{{ facts.header.title.__class__.__mro__ }}")
    with pytest.raises(InvalidFileError):
        markdown.render(pod_kill_facts)


@pytest.mark.parametrize(
    ("raw", "safe"),
    [("a|b", r"a\|b"), ("<b>", r"\<b\>"), ("x\ny", "x y"), ("[a](b)", r"\[a\](b)"), ("\x1b[2J", r"�\[2J")],
)
def test_markdown_values_stand_for_themselves(raw: str, safe: str) -> None:
    assert text.markdown(raw) == safe


def test_code_cannot_be_left() -> None:
    assert text.code("a``b") == "```a``b```"
    assert text.fence("x\n```\ny", "sh") == "````sh\nx\n```\ny\n````"
