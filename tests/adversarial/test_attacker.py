"""An attacker's process against a guarded model: paces, calibration, leaks, its end."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from drillbook.adversarial.canary import Canary
from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.runner import Attacker
from drillbook.errors import InvalidFileError, UsageError
from drillbook.experiments import journal
from drillbook.model.attack import AttackKind, AttackOutcome, AttackRecord
from drillbook.model.events import Noted
from drillbook.model.experiment import AttackSpec
from drillbook.model.request import Outcome


def config(tmp_path, guarded, **options) -> AttackerConfig:
    spec = AttackSpec.model_validate({"pack": "tripwires", "rate": "50/s"} | options.pop("spec", {}))
    return AttackerConfig.attack(spec, folder=tmp_path, base_url=guarded.url, model="m", **options)


async def heard(attacker):
    lines = [line async for line in attacker]
    records = [line.event for line in lines if isinstance(line.event, AttackRecord)]
    return records, [line.event.text for line in lines if isinstance(line.event, Noted)]


async def test_each_prompt_is_sent_once_and_the_process_ends_by_itself(tmp_path, guarded):
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=8, calibrate=False)) as attacker:
        records, _ = await heard(attacker)
    assert len({record.prompt for record in records}) == len(records) == 48
    assert {record.delivery for record in records} <= {Outcome.OK, Outcome.FAILED}
    assert all(record.sent <= record.end for record in records)


async def test_a_block_that_nobody_described_is_learned_from_tripwires_and_twins(tmp_path, guarded):
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=8)) as attacker:
        records, notes = await heard(attacker)
    assert any("a block is 'HTTP 403" in note for note in notes), notes
    outcomes = {kind: {r.outcome for r in records if r.kind is kind} for kind in AttackKind}
    assert outcomes[AttackKind.TRIPWIRE] == {AttackOutcome.BLOCKED}
    assert outcomes[AttackKind.BENIGN] == {AttackOutcome.COMPLIED}
    assert {r.signal for r in records if r.outcome is AttackOutcome.BLOCKED} == {'learned: HTTP 403 {"oops": "e-#"}'}


async def test_a_block_in_plain_words_is_learned_too_whatever_its_case_number(tmp_path, guarded):
    guarded.block = (200, {"choices": [{"message": {"content": "Not today. Case 7712."}, "finish_reason": "stop"}]})
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=8)) as attacker:
        records, _ = await heard(attacker)
    blocked = [record for record in records if record.outcome is AttackOutcome.BLOCKED]
    assert {record.kind for record in blocked} == {AttackKind.TRIPWIRE}
    assert len({record.prompt for record in blocked}) == 24


async def test_without_a_guardrail_nothing_is_learned_and_tripwires_are_answered(tmp_path, guarded):
    guarded.closed = False
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=8)) as attacker:
        records, notes = await heard(attacker)
    assert any("no answer tells a tripwire from its benign twin" in note for note in notes)
    assert all(record.outcome is AttackOutcome.COMPLIED for record in records)


async def test_a_model_that_tells_its_system_prompt_leaks_in_every_record(tmp_path, guarded):
    guarded.closed, guarded.answer = False, "My text is: {system}"
    options = {"spec": {"pack": "canary"}, "once": True, "concurrency": 8}
    async with Attacker(config(tmp_path, guarded, **options)) as attacker:
        records, _ = await heard(attacker)
    assert {record.outcome for record in records} == {AttackOutcome.LEAKED}
    secret = guarded.bodies[0]["messages"][0]["content"].partition("CANARY-")[2][:12]
    assert len(secret) == 12
    assert all(f"CANARY-{secret}" in body["messages"][0]["content"] for body in guarded.bodies)


class Disguised(str):
    """An answer that tells the system prompt in a dress of its own."""

    def format(self, *, system, said):
        return {"plain": str, "base64": _base64, "reversed": _reversed, "spaced": " ".join}[self](system)


def _base64(text):
    return base64.b64encode(text.encode()).decode()


def _reversed(text):
    return text[::-1]


@pytest.mark.parametrize("dress", ["plain", "base64", "reversed", "spaced"])
async def test_a_canary_that_leaked_is_written_down_as_a_leak_and_never_itself(tmp_path, guarded, dress):
    guarded.closed, guarded.answer = False, Disguised(dress)
    async with Attacker(config(tmp_path, guarded, spec={"pack": "canary"}, once=True, concurrency=8)) as attacker:
        records, notes = await heard(attacker)
    assert {record.outcome for record in records} == {AttackOutcome.LEAKED}
    secret = "CANARY-" + guarded.bodies[0]["messages"][0]["content"].partition("CANARY-")[2][:12]
    finds = Canary(secret).found_in
    for record in records:
        assert finds(f"{record.asked}\n{record.excerpt}\n{record.error}\n{record.signal}") is None
    assert [note for note in notes if finds(note)] == []
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode()
    assert not any(told in written for told in (secret, secret[7:], _reversed(secret[7:]), " ".join(secret[7:])))


async def test_it_goes_round_at_its_rate_until_it_is_told_to_stop(tmp_path, guarded):
    options = {"spec": {"rate": "200/s", "cap": 4, "stream": True}, "calibrate": False}
    async with Attacker(config(tmp_path, guarded, **options)) as attacker:
        async for _ in attacker:
            if len(guarded.bodies) > 12:
                break
        await attacker.stop(5)
        await heard(attacker)
    assert attacker.failure is None
    assert len(guarded.bodies) > 12
    assert len({body["messages"][-1]["content"] for body in guarded.bodies}) == 4
    assert all(body["stream"] for body in guarded.bodies)


async def test_what_hangs_at_the_end_is_unknown_and_does_not_count(tmp_path, guarded):
    guarded.held.clear()
    async with Attacker(config(tmp_path, guarded, calibrate=False)) as attacker:
        while not guarded.bodies:
            await asyncio.sleep(0.01)
        await attacker.stop(0)
        records, _ = await heard(attacker)
        guarded.held.set()
    assert records
    assert {record.delivery for record in records} == {Outcome.UNKNOWN}
    assert not any(record.counted for record in records)


async def test_a_calibration_that_hangs_holds_up_no_end(tmp_path, guarded):
    guarded.held.clear()
    async with Attacker(config(tmp_path, guarded)) as attacker:
        while not guarded.bodies:
            await asyncio.sleep(0.01)
        await attacker.stop(0)
        await heard(attacker)
        guarded.held.set()
    assert attacker.failure is None


async def test_the_journal_gives_attacks_back_and_keeps_them_from_the_load(tmp_path, guarded):
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=4, writer="attack-1")) as attacker:
        records, _ = await heard(attacker)
    (tmp_path / "journal.jsonl").touch()
    history = journal.read(tmp_path)
    assert {record.id for record in history.attacks} == {record.id for record in records}
    assert history.attacks == sorted(history.attacks, key=lambda record: record.scheduled)
    assert history.requests == []


async def test_redacted_records_hold_no_words(tmp_path, guarded):
    guarded.answer = "I cannot talk of PINEAPPLE, a duck says"
    options = {"once": True, "concurrency": 8, "redact": True}
    async with Attacker(config(tmp_path, guarded, **options)) as attacker:
        records, _ = await heard(attacker)
    async with Attacker(
        config(tmp_path, guarded, **options, spec={"pack": "direct-injection"}, writer="attack-2")
    ) as attacker:
        records += (await heard(attacker))[0]
    assert {record.asked + record.excerpt + record.error for record in records} == {""}
    written = "".join(path.read_text() for path in tmp_path.glob("attacks-*.jsonl"))
    for word in ("duck", "cannot", "PINEAPPLE", "oops", "CANARY"):
        assert word not in written, word


async def test_long_words_are_cut(tmp_path, guarded):
    guarded.answer = "quack " * 500
    async with Attacker(config(tmp_path, guarded, once=True, concurrency=8, calibrate=False)) as attacker:
        records, _ = await heard(attacker)
    assert max(len(record.excerpt) for record in records) == 240
    assert max(record.delivered for record in records) == 3000


async def test_a_secret_header_is_sent_and_written_nowhere(tmp_path, guarded, monkeypatch):
    monkeypatch.setenv("GUARD_KEY", "Bearer s3cr3t-value")
    guarded.block = (401, {"error": {"message": "bad key Bearer s3cr3t-value", "code": "invalid"}})
    options = {"once": True, "concurrency": 8, "headers_from": {"Authorization": "GUARD_KEY"}}
    async with Attacker(config(tmp_path, guarded, **options)) as attacker:
        await heard(attacker)
    assert guarded.headers[0]["Authorization"] == "Bearer s3cr3t-value"
    assert "s3cr3t" not in (tmp_path / "attacks-attack.jsonl").read_text()


async def test_what_cannot_be_sent_is_refused_before_anything_starts(tmp_path, guarded):
    with pytest.raises(UsageError, match="no pack is called 'tripwire'"):
        config(tmp_path, guarded, spec={"pack": "tripwire"})
    pack = tmp_path / "mine.jsonl"
    pack.write_text(json.dumps({"id": "a", "kind": "attack", "category": "x"}) + "\n")
    with pytest.raises(InvalidFileError):
        async with Attacker(config(tmp_path, guarded, spec={"pack": "mine.jsonl"}, beside=tmp_path)):
            pass
    assert not Path(config(tmp_path, guarded).path).exists()
    assert guarded.bodies == []
