from __future__ import annotations

import itertools

import pytest
from histories import Run, drill, refused, served

from drillbook.probes import clocks

UP = [{"name": "vllm", "state": "running"}]


def legs(run: Run) -> dict[str, tuple[float, float | None]]:
    parts = clocks.read(run.history).recovery
    for early, late in itertools.pairwise(parts):
        assert late.start == pytest.approx(early.end if early.end is not None else early.start)
    return {part.name: (round(part.start, 3), part.end and round(part.end, 3)) for part in parts}


def test_the_recovery_of_a_replaced_pod_splits_into_legs_that_add_up():
    def fate(at: float) -> dict:
        return refused() if 0 <= at < 12 else served() | ({"replica": "e9"} if at >= 12 else {})

    run = drill(fate).slice(-9, ["e0", "e1", "e2"])
    run.pod(0.1, "e0", ready=False, deleting=True).slice(0.3, ["e1", "e2"]).pod(0.4, "e0", change="deleted")
    run.pod(0.5, "e9", change="added", ready=False, phase="Pending", node="")
    run.pod(1.0, "e9", ready=False, phase="Pending", node="n2")
    run.pod(3.0, "e9", ready=False, containers=UP)
    run.observe("health", {9.0: 1.0}, replica="e9", path="/health")
    run.pod(11.0, "e9", containers=UP)

    assert legs(run) == {
        "endpoint removed": (0.0, 0.3),
        "pod scheduled": (0.3, 1.0),
        "process up": (1.0, 3.0),
        "model loaded": (3.0, 9.0),
        "ready": (9.0, 11.0),
        "first token": (11.0, 12.051),
        "SLO": (12.051, 12.051),
    }


def test_a_container_that_restarts_in_its_pod_has_no_scheduling_leg():
    run = drill(lambda at: refused() if 0 <= at < 6 else served())
    run.pod(1.0, "e0", ready=False, containers=[{"name": "vllm", "state": "terminated"}])
    run.pod(2.0, "e0", ready=False, restarts=1, containers=UP)
    run.pod(5.0, "e0", restarts=1, containers=UP)
    found = legs(run)
    assert "pod scheduled" not in found
    assert found["process up"] == (0.0, 2.0)
    assert found["ready"] == (2.0, 5.0)


def test_a_leg_that_nobody_saw_has_no_end_and_the_next_begins_where_it_began():
    run = drill().pod(0.1, "e0", ready=False, deleting=True).pod(0.4, "e0", change="deleted", ready=False)
    run.pod(0.5, "e9", change="added", ready=False, phase="Pending", node="n2")
    found = legs(run)
    assert found["ready"] == (0.5, None)
    assert found["first token"] == (0.5, None)


def test_where_no_answer_says_who_gave_it_the_first_token_is_the_engines_first_step():
    run = drill().pod(0.1, "e0", ready=False, deleting=True).pod(0.4, "e0", change="deleted", ready=False)
    run.pod(0.5, "e9", change="added", ready=False, phase="Pending", node="n2").pod(5.0, "e9")
    run.observe("vllm:iteration_tokens_total_count", {4.0: 0.0, 6.0: 0.0, 7.0: 3.0, 8.0: 9.0}, replica="e9")
    assert legs(run)["first token"] == (5.0, 7.0)


def test_where_no_user_was_harmed_nobody_waits_for_the_slo():
    """Seen on a real cluster: the other replica carried the load, and the report said that the SLO was never met."""
    run = drill().pod(0.1, "e0", ready=False, deleting=True).pod(0.4, "e0", change="deleted", ready=False)
    run.pod(0.5, "e9", change="added", ready=False, phase="Pending", node="n2").pod(5.0, "e9")
    assert "SLO" not in legs(run)
    harmed = drill(lambda at: refused() if at >= 0 else served())
    harmed.pod(0.1, "e0", ready=False, deleting=True).pod(0.4, "e0", change="deleted", ready=False)
    harmed.pod(0.5, "e9", change="added", ready=False, phase="Pending", node="n2").pod(5.0, "e9")
    assert legs(harmed)["SLO"][1] is None


def test_each_victim_has_its_own_heir():
    run = drill()
    for name in ("e0", "e1"):
        run.pod(0.1, name, ready=False, deleting=True).pod(0.4, name, change="deleted", ready=False)
    for place, name in enumerate(("e8", "e9")):
        run.pod(0.5 + place, name, change="added", ready=False, phase="Pending", node="n2").pod(5.0 + place, name)
    pods = {part.pod for part in clocks.read(run.history).recovery}
    assert pods == {"e8", "e9"}
