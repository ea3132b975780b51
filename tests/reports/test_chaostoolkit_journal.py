"""A run of drillbook's as a journal of Chaos Toolkit."""

from __future__ import annotations

import json
from datetime import datetime

import msgspec

from drillbook.model.verdict import RunStatus, UndoState
from drillbook.reports.facts import Facts, facts
from drillbook.reports.renderers import chaostoolkit

KEYS = {
    "chaoslib-version", "platform", "node", "experiment", "start", "end", "duration", "status", "deviated",
    "steady_states", "run", "rollbacks",
}  # fmt: skip


def test_it_has_every_key_of_chaos_toolkit_s_journals(pod_kill_facts: Facts) -> None:
    told = json.loads(chaostoolkit.render(pod_kill_facts))
    assert set(told) >= KEYS
    for item in [*told["run"], *told["rollbacks"], *told["steady_states"]["after"]["probes"]]:
        assert {"activity", "output", "start", "end", "duration", "status"} <= set(item)
        assert datetime.fromisoformat(item["start"]) <= datetime.fromisoformat(item["end"])


def test_a_held_run_is_completed_and_has_not_deviated(pod_kill_facts: Facts) -> None:
    told = json.loads(chaostoolkit.render(pod_kill_facts))
    assert (told["status"], told["deviated"]) == ("completed", False)
    assert told["steady_states"]["before"]["steady_state_met"]
    assert told["steady_states"]["after"]["steady_state_met"]
    assert [item["status"] for item in told["run"]] == ["succeeded"]


def test_a_refuted_run_has_deviated_and_the_refuted_probe_says_why(engine_hang_facts: Facts) -> None:
    told = json.loads(chaostoolkit.render(engine_hang_facts))
    assert told["deviated"]
    missed = [item for item in told["steady_states"]["after"]["probes"] if not item["tolerance_met"]]
    assert missed
    assert all(item["reason"] for item in missed)


def test_the_status_of_the_run_and_a_failed_undo_are_kept(engine_hang: tuple) -> None:
    history, judgement = engine_hang
    changed = msgspec.structs.replace(judgement, status=RunStatus.INTERRUPTED, undo=UndoState.REMAINS)
    told = json.loads(chaostoolkit.render(facts(history, changed)))
    assert told["status"] == "interrupted"
    assert told["drillbook"]["undo"] == "remains"
