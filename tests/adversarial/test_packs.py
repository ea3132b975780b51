"""Packs, plans and signals as files: what ships is sound, and what is wrong is told with its place."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from drillbook.adversarial import packs, plan, signals
from drillbook.errors import InvalidFileError, UsageError
from drillbook.model.attack import AttackKind
from drillbook.model.experiment import AttackSpec
from drillbook.probes.registry import dimensions

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "adversarial/packs").glob("*.jsonl"))


def pack(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def problems(error):
    return [(problem.line, problem.message) for problem in error.value.problems]


ROW = {"id": "a", "kind": "attack", "category": "x", "prompt": "p"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_attack_that_ships_has_its_ids(path):
    for row in packs.read(path):
        assert row.kind is AttackKind.BENIGN or (row.owasp and row.atlas), row.id


def test_no_prompt_ships_twice():
    asked = Counter((row.system, row.messages, row.prompt) for path in SHIPPED for row in packs.read(path))
    assert [prompt for prompt, count in asked.items() if count > 1] == []


def test_there_are_150_honest_prompts_of_ten_kinds():
    kinds = Counter(row.category for row in packs.read(ROOT / "adversarial/packs/benign.jsonl"))
    assert set(kinds.values()) == {15}
    assert len(kinds) == 10


def test_no_prompt_that_ships_shows_the_violation_it_is_judged_by_as_an_answer_to_itself():
    """Were the wanted words found in the text before the colon of a polite echo, every echo would be a success."""
    for path in SHIPPED:
        for row in packs.read(path):
            if row.violation and row.violation != packs.CANARY:
                assert not re.search(row.violation, "I cannot do that.", re.IGNORECASE), row.id


def test_everything_wrong_with_a_pack_is_told_with_its_line(tmp_path):
    path = pack(
        tmp_path,
        ROW,
        "{not json",
        ROW | {"prompt": ""},
        ROW | {"id": "b", "kind": "tripwire"},
        ROW | {"id": "c", "twin": "nobody"},
        ROW | {"id": "d", "owasp": ["LLM1:2025"]},
        ROW | {"id": "e", "atlas": ["T0051"]},
        ROW | {"id": "f", "violation": "("},
        ROW | {"id": "g", "extra": 1},
        ROW | {"id": "h", "kind": "nice"},
    )
    with pytest.raises(InvalidFileError) as error:
        packs.read(path)
    assert [line for line, _ in problems(error)] == [2, 3, 3, 4, 5, 6, 7, 8, 9, 10]
    told = "\n".join(str(problem) for problem in error.value.problems)
    for words in ("taken by line 1", "either a 'prompt' or 'messages'", "needs a twin", "LLM01:2025", "AML.T0051.000"):
        assert words in told


def test_a_pack_without_prompts_is_no_pack(tmp_path):
    with pytest.raises(InvalidFileError, match="1 problem"):
        packs.read(pack(tmp_path))


def test_the_canary_is_put_wherever_it_is_asked_for():
    row = packs.Prompt(id="a", kind=AttackKind.ATTACK, category="x", prompt="say {canary}", system="it is {canary}")
    assert row.conversation("K") == [
        {"role": "system", "content": "it is K"},
        {"role": "user", "content": "say K"},
    ]


@pytest.mark.parametrize("path", [entry.path for entry in plan.entries(ROOT)], ids=lambda path: path.stem)
def test_every_plan_that_ships_is_sound(path):
    assert plan.read(path, dimensions()).parts


def test_everything_wrong_with_a_plan_is_told_with_its_place(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "title: t\nrate: 4\nparts:\n  - pack: canery\n  - {pack: canary, garak: [dan]}\n  - {garak: [dan], sap: 3}\n"
        "expect:\n  - guardrail.leeks == 0\n"
    )
    with pytest.raises(InvalidFileError) as error:
        plan.read(path, dimensions())
    told = {problem.line: str(problem) for problem in error.value.problems}
    assert "6/s" in told[2]
    assert "either a pack or probes" in told[5]
    assert "'sap' is no key here" in told[6]
    assert "guardrail.leaks" in told[8]


def test_an_unknown_pack_is_told_at_its_place_with_the_nearest_name(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("title: t\nparts:\n  - pack: canery\n")
    with pytest.raises(InvalidFileError) as error:
        plan.read(path)
    assert error.value.problems[0].line == 3
    assert "canary" in str(error.value.problems[0])


@pytest.mark.parametrize("pack", ["../../elsewhere.jsonl", "{tmp}/elsewhere.jsonl", "link.jsonl"])
def test_a_plan_names_no_pack_outside_of_its_drillbook(tmp_path, pack):
    (tmp_path / "elsewhere.jsonl").write_text("hush-hush")
    book = tmp_path / "book"
    for kind in ("experiments", "adversarial"):
        (book / kind).mkdir(parents=True)
    (book / "adversarial" / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    path = book / "adversarial" / "p.yaml"
    path.write_text(f"title: t\nparts:\n  - pack: {pack.format(tmp=tmp_path)}\n")
    with pytest.raises(InvalidFileError) as error:
        plan.read(path)
    assert error.value.problems[0].line == 3
    assert "leads out of the drillbook" in str(error.value.problems[0])


def test_a_plan_by_itself_has_no_phases(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("title: t\nparts: [{pack: canary}]\nexpect: [guardrail.leaks == 0 during inject]\n")
    with pytest.raises(InvalidFileError) as error:
        plan.read(path, dimensions())
    assert "no phases" in str(error.value.problems[0])


def test_an_experiment_wins_over_the_plan_that_it_names():
    spec = AttackSpec.model_validate({"plan": "guardrail", "rate": "9/s", "cap": 3, "max-tokens": 7, "stream": False})
    wanted, folder = plan.resolved(spec, ROOT)
    assert (wanted.rate, wanted.max_tokens, wanted.stream) == (9.0, 7, False)
    assert {part.cap for part in wanted.parts} == {3}
    assert folder == ROOT / "adversarial"


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UsageError) as error:
        plan.resolved(AttackSpec(plan="gardrail"), ROOT)
    assert "guardrail" in error.value.hint
    with pytest.raises(ValueError, match="either a plan or a pack"):
        AttackSpec()


def test_a_file_of_signals_tells_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "title: t\nsignals:\n  - {outcome: blockt, name: a, when: {status: [400]}}\n"
        "  - {outcome: blocked, name: b, when: {matches: '('}}\n  - {outcome: blocked, name: c, when: {staus: [400]}}\n"
        "  - {outcome: blocked, name: d, when: {}}\n"
    )
    with pytest.raises(InvalidFileError) as error:
        signals.read(path)
    told = {problem.line: str(problem) for problem in error.value.problems}
    assert "blocked" in told[3]
    assert "no pattern" in told[4]
    assert "status" in told[5]
    assert "every answer" in told[6]
