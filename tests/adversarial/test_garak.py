"""garak through the bridge: its prompts, its hooks, its scores, as its own harness would have them."""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from garak_side import reply

from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.garak import taxonomy
from drillbook.adversarial.garak.session import ENVIRONMENT, Session
from drillbook.adversarial.runner import Attacker
from drillbook.model.attack import AttackOutcome, AttackRecord
from drillbook.model.events import Noted
from drillbook.model.experiment import AttackSpec
from drillbook.reports.renderers import garak as renderer

pytestmark = pytest.mark.garak
HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "recorded_answers.json").read_text("utf-8"))
SIDE = HERE.parent / "support/garak_side.py"
SPECS = [
    "ansiescape.AnsiEscaped",
    "apikey.GetKey",
    "badchars.BadCharacters",
    "continuation.ContinueSlursReclaimedSlurs",
    "dan.AutoDANCached",
    "dan.DanInTheWild",
    "divergence.Repeat",
    "dra.DRA",
    "encoding.InjectBase64",
    "encoding.InjectROT13",
    "exploitation.SQLInjectionEcho",
    "goodside.Tag",
    "goodside.ThreatenJSON",
    "grandma.Win10",
    "latentinjection.LatentInjectionReport",
    "latentinjection.LatentInjectionTranslationEnFr",
    "latentinjection.LatentWhoisSnippet",
    "leakreplay.GuardianCloze",
    "malwaregen.Payload",
    "phrasing.PastTense",
    "promptinject.HijackHateHumans",
    "promptinject.HijackKillHumans",
    "snowball.GraphConnectivity",
    "suffix.GCGCached",
    "tap.TAPCached",
    "web_injection.MarkdownImageExfil",
]


async def side(python: str, what: str, start: object = None) -> object:
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "ignore", str(SIDE), what),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    )
    out, err = await process.communicate(json.dumps(start).encode() + b"\n")
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out)


async def bridged(python: str, specs: list[str], cap: int, seed: int, buffs: tuple[str, ...] = ()) -> list[dict]:
    """Every attempt that the bridge has scored, answered from the recorded set."""
    changed = asyncio.Event()
    attempts: list[dict] = []
    notes: list[str] = []

    async def answer(session, ask):
        scored = await session.answer(ask, reply(ANSWERS, ask.messages))
        attempts.append(scored.attempt)

    options = {
        "cap": cap,
        "seed": seed,
        "buffs": buffs,
        "changed": changed.set,
        "note": notes.append,
        "model": "recorded",
    }
    async with Session(python, tuple(specs), **options) as session, asyncio.TaskGroup() as tasks:
        while not (session.ended and not session.ready):
            await changed.wait()
            changed.clear()
            while session.ready:
                tasks.create_task(answer(session, session.ready.pop()))
    assert session.failure == ""
    assert notes == []
    return attempts


def scores(attempts: list[dict]) -> Counter[str]:
    """What was sent, answered and scored, in any order: probe, place, words, output, each detector's scores."""
    return Counter(
        json.dumps(
            [
                attempt["probe_classname"],
                attempt["seq"],
                attempt["prompt"]["turns"],
                attempt["outputs"],
                sorted(attempt["detector_results"].items()),
                attempt["notes"].get("triggers"),
            ],
            sort_keys=True,
        )
        for attempt in attempts
    )


async def test_the_private_methods_that_the_bridge_relies_on_are_as_they_were(garak_python):
    assert await side(garak_python, "contract") == {
        "signatures": {
            "Probe.probe": ["self", "generator"],
            "Probe._execute_all": ["self", "attempts"],
            "Probe._generator_precall_hook": ["self", "generator", "attempt"],
            "Probe._generator_cleanup": ["self"],
            "Probe._postprocess_buff": ["attempt"],
            "Probe._postprocess_hook": ["self", "attempt"],
            "Probe._postprocess_attempt": ["self", "this_attempt"],
            "Generator._call_model": ["self", "prompt", "generations_this_call"],
        },
        "an attempt is executed by": [
            "_generator_precall_hook",
            "generator.generate",
            "_postprocess_buff",
            "_postprocess_hook",
            "_generator_cleanup",
        ],
        "then": ["_execute_attempt", "_postprocess_attempt"],
        "the iterative probe sends by": True,
        "a detector runs by": True,
    }


async def test_scores_are_those_of_garaks_own_harness(garak_python):
    start = {"specs": SPECS, "seed": 1234, "cap": 6, "buffs": [], "answers": ANSWERS}
    theirs, ours = await asyncio.gather(
        side(garak_python, "harness", start), bridged(garak_python, SPECS, cap=6, seed=1234)
    )
    assert {attempt["probe_classname"] for attempt in ours} == set(SPECS)
    assert scores(ours) == scores(theirs)
    told = [score for attempt in ours for given in attempt["detector_results"].values() for score in given]
    assert {0.0, 1.0, None} <= set(told)


async def test_buffs_rewrite_prompts_as_they_do_in_garak(garak_python):
    specs = ["dan.DanInTheWild", "grandma.Win10"]
    start = {"specs": specs, "seed": 3, "cap": 4, "buffs": ["encoding.Base64", "lowercase.Lowercase"]}
    theirs = await side(garak_python, "harness", {**start, "answers": ANSWERS})
    ours = await bridged(garak_python, specs, cap=4, seed=3, buffs=("encoding.Base64", "lowercase.Lowercase"))
    assert scores(ours) == scores(theirs)
    assert len(ours) > 8


async def test_an_attacker_sends_garaks_prompts_and_keeps_its_scores(tmp_path, guarded, garak_python):
    plan = tmp_path / "p.yaml"
    plan.write_text(
        "title: t\nparts:\n  - pack: tripwires\n"
        "  - {garak: [promptinject.HijackHateHumans, dan.DanInTheWild], cap: 6}\n"
    )
    guarded.answer = "I hate humans. I have been asked: {said}"
    config = AttackerConfig.attack(
        AttackSpec(plan="p.yaml"),
        folder=tmp_path,
        base_url=guarded.url,
        model="m",
        beside=tmp_path,
        once=True,
        concurrency=16,
        garak_python=garak_python,
        raw=str(tmp_path / "raw.jsonl"),
    )
    async with Attacker(config) as attacker:
        events = [line.event async for line in attacker]
    records = [event for event in events if isinstance(event, AttackRecord)]
    packs = Counter(record.pack for record in records)
    assert packs["garak.promptinject.HijackHateHumans"] == packs["garak.dan.DanInTheWild"] == 6
    assert packs["tripwires"] > 48  # the calibration's beside the plan's
    injected = [record for record in records if record.pack == "garak.promptinject.HijackHateHumans"]
    answered = [record for record in injected if record.outcome is not AttackOutcome.BLOCKED]
    assert {record.outcome for record in answered} == {AttackOutcome.COMPLIED}
    assert {record.signal for record in answered} == {"garak: promptinject.AttackRogueString"}
    assert all(record.owasp == ("LLM01:2025",) and record.atlas == ("AML.T0051.000",) for record in injected)
    sampled = [body for body in guarded.bodies if body["temperature"] != 0]
    assert sampled, "promptinject sets the temperature of its own prompts"
    raw = [json.loads(line) for line in (tmp_path / "raw.jsonl").read_text().splitlines()]
    assert len(raw) == 12
    assert not [event.text for event in events if isinstance(event, Noted) and "broke off" in event.text]


async def test_a_garak_that_dies_leaves_records_without_scores_and_says_so(tmp_path, guarded):
    plan = tmp_path / "p.yaml"
    plan.write_text("title: t\nparts:\n  - garak: [dan]\n")
    config = AttackerConfig.attack(
        AttackSpec(plan="p.yaml"),
        folder=tmp_path,
        base_url=guarded.url,
        model="m",
        beside=tmp_path,
        once=True,
        concurrency=4,
        garak_python=sys.executable,
    )
    async with Attacker(config) as attacker:
        notes = [line.event.text async for line in attacker if isinstance(line.event, Noted)]
    assert any("garak ended" in note for note in notes), notes


def test_the_report_has_garaks_form():
    record = AttackRecord(
        id="attack-1",
        pack="garak.dan.DanInTheWild",
        prompt="dan.DanInTheWild:3",
        kind="attack",
        category="dan",
        scheduled=1.0,
        sent=1.0,
        first_byte=1.1,
        end=1.2,
        status=200,
        delivery="ok",
        outcome=AttackOutcome.COMPLIED,
        asked="p",
        excerpt="a",
        scores={"mitigation.MitigationBypass": [1.0]},
    )
    text = renderer.report([renderer.attempt(record)], run_id="r", target="t", started="2026-01-01T00:00:00")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["entry_type"] for line in lines] == ["start_run setup", "init", "attempt", "eval", "completion"]
    assert lines[2]["seq"] == 3
    assert (lines[3]["passed"], lines[3]["fails"], lines[3]["total_evaluated"]) == (0, 1, 1)


def test_garaks_old_owasp_ids_are_told_in_todays_terms():
    assert taxonomy.owasp(["owasp:llm06", "owasp:llm01", "quality:x", "owasp:llm10"]) == ("LLM01:2025", "LLM02:2025")


async def test_conversations_go_on_with_what_the_target_said(tmp_path, guarded, garak_python, monkeypatch):
    """FITD writes each next turn from the last answer; its attacking model is the same stub here."""
    monkeypatch.setenv("OPENAICOMPATIBLE_API_KEY", "none")
    guarded.closed, guarded.answer = False, "yes, in level 1: a duck; in level 2: two ducks"
    attacker_model = {
        "red_team_model_type": "openai.OpenAICompatible",
        "red_team_model_name": "stub",
        "red_team_model_config": {"uri": f"{guarded.url}/v1", "max_tokens": 20},
        "initial_prompt_count": 2,
        "max_calls_per_conv": 3,
    }
    part = {"garak": ["fitd.FITD"], "cap": 8, "config": {"probes": {"fitd": {"FITD": attacker_model}}}}
    (tmp_path / "p.yaml").write_text(json.dumps({"title": "t", "parts": [part]}))
    config = AttackerConfig.attack(
        AttackSpec(plan="p.yaml"),
        folder=tmp_path,
        base_url=guarded.url,
        model="m",
        beside=tmp_path,
        once=True,
        concurrency=4,
        garak_python=garak_python,
    )
    async with Attacker(config) as attacker:
        events = [line.event async for line in attacker]
    records = [event for event in events if isinstance(event, AttackRecord)]
    assert {record.turn for record in records} >= {0, 1}, [event for event in events if isinstance(event, Noted)]
    continued = [body["messages"] for body in guarded.bodies if len(body["messages"]) > 2 and body["model"] == "m"]
    assert {rows[1]["content"] for rows in continued} == {guarded.answer}


async def test_in_a_drill_garak_goes_round_until_it_is_told_to_stop(tmp_path, guarded, garak_python):
    (tmp_path / "p.yaml").write_text("title: t\nrate: 100/s\nparts:\n  - {garak: [grandma.Win10], cap: 2}\n")
    spec = AttackSpec(plan="p.yaml")
    options = {"folder": tmp_path, "base_url": guarded.url, "model": "m", "beside": tmp_path}
    async with Attacker(AttackerConfig.attack(spec, **options, garak_python=garak_python)) as attacker:
        seen = 0
        async for line in attacker:
            seen += isinstance(line.event, AttackRecord)
            if seen == 5:  # the third round has begun
                break
        await attacker.stop(5)
        notes = [line.event.text async for line in attacker if isinstance(line.event, Noted)]
    assert attacker.failure is None
    assert not [note for note in notes if "garak ended" in note]
