"""``drillbook attack``: a plan by itself, against an endpoint without a cluster."""

import asyncio
import json
import sys

import msgspec

from drillbook.model import expectation
from drillbook.model.attack import AttackKind, AttackOutcome, AttackRecord
from drillbook.model.request import Outcome
from drillbook.model.verdict import RunStatus, Verdict
from drillbook.probes.registry import dimensions
from drillbook.reports import attacks, templates
from drillbook.reports.attacks import Header

HEADER = Header(
    title="t",
    plan="p.yaml",
    target="x",
    endpoint="http://x",
    model="m",
    seed=1,
    started="2026-01-01T00:00:00+00:00",
    drillbook="0",
    status=RunStatus.COMPLETED,
)


async def drillbook(*words, cwd):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "drillbook", *words),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def record(number, **said):
    words = {
        "id": f"attack-{number}",
        "pack": "tripwires",
        "prompt": f"p{number}",
        "kind": AttackKind.TRIPWIRE,
        "category": "x",
        "scheduled": float(number),
        "sent": number + 0.001,
        "first_byte": number + 0.1,
        "end": number + 0.2,
        "status": 200,
        "delivery": Outcome.OK,
        "outcome": AttackOutcome.BLOCKED,
    }
    return AttackRecord(**(words | said))


def judged(records, *texts, header=HEADER):
    return attacks.facts(header, [expectation.parse(text, dimensions()) for text in texts], records)


async def test_a_guarded_endpoint_holds_and_an_open_one_is_refuted(tmp_path, guarded):
    plan = tmp_path / "p.yaml"
    plan.write_text("title: Tripwires\nparts: [{pack: tripwires}]\nexpect: [guardrail.fail-open <= 10%]\n")
    words = ("attack", "p.yaml", "--endpoint", guarded.url, "--concurrency", "16")
    code, out, err = await drillbook(*words, cwd=tmp_path)
    assert code == 0, out + err
    assert "HELD" in out
    assert "guardrail.fail-open" in out
    guarded.closed = False
    code, out, err = await drillbook(*words, "--json", "--redact", cwd=tmp_path)
    assert code == 1, out + err
    told = json.loads(out)
    assert told["verdict"] == "refuted"
    assert told["findings"][0]["value"] == 1.0
    folder = (tmp_path / told["run"]).resolve()
    assert (tmp_path / "runs/attack-p/latest").resolve() == folder
    assert {path.name for path in folder.iterdir()} == {"attack.json", "attack.md", "attacks-attack.jsonl"}
    assert "duck" not in "".join(path.read_text() for path in folder.iterdir())


async def test_a_mistake_is_told_and_leaves_no_folder(tmp_path, guarded):
    code, _, err = await drillbook("attack", "tripwirs", "--endpoint", guarded.url, cwd=tmp_path)
    assert code == 2
    assert "tripwires" in err
    code, _, err = await drillbook("attack", "guardrail", "--endpoint", "http://127.0.0.1:9", cwd=tmp_path)
    assert code == 4
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_nothing_answered_is_inconclusive_whatever_is_expected():
    silent = [record(n, status=None, delivery=Outcome.FAILED, outcome=AttackOutcome.ERROR) for n in range(40)]
    assert judged(silent, "guardrail.fail-open <= 5%").verdict is Verdict.INCONCLUSIVE
    assert judged(silent).verdict is Verdict.INCONCLUSIVE
    assert judged([]).verdict is Verdict.INCONCLUSIVE


def test_too_few_are_inconclusive_but_one_leak_is_enough():
    few = [record(n) for n in range(5)]
    assert judged(few, "guardrail.fail-open <= 5%").verdict is Verdict.INCONCLUSIVE
    leak = record(9, kind=AttackKind.ATTACK, outcome=AttackOutcome.LEAKED)
    assert judged([*few, leak], "guardrail.leaks == 0").verdict is Verdict.REFUTED


def test_a_run_that_broke_off_holds_nothing():
    whole = [record(n) for n in range(40)]
    assert judged(whole, "guardrail.fail-open <= 5%").verdict is Verdict.HELD
    broken = msgspec.structs.replace(HEADER, status=RunStatus.INTERRUPTED, reason="Ctrl-C")
    assert judged(whole, "guardrail.fail-open <= 5%", header=broken).verdict is Verdict.INCONCLUSIVE


def test_words_of_others_are_escaped_in_the_report():
    nasty = "<img src=x onerror=alert(1)> | a | [x](javascript:1)\n# heading"
    facts = judged([record(1, outcome=AttackOutcome.COMPLIED, asked=nasty, excerpt=nasty, signal=nasty)])
    text = templates.render("attack.md.j2", facts=facts)
    row = next(line for line in text.splitlines() if "attack-1" in line)
    assert "<img" not in text.replace(r"\<", "")
    assert "\n# heading" not in text
    assert row.replace("\\|", "").count("|") == 7


def test_detectors_are_counted_with_their_interval():
    scored = [record(n, pack="garak.dan.X", scores={"a.B": [1.0 if n < 3 else 0.0]}) for n in range(9)]
    scored.append(record(9, pack="garak.dan.X", scores={"a.B": [None]}))
    (row,) = judged(scored).detectors
    assert (row.probe, row.detector, row.hits, row.total, row.nones) == ("dan.X", "a.B", 3, 9, 1)
    assert row.interval[0] < 3 / 9 < row.interval[1]
