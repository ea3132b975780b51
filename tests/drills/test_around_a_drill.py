"""What people do around a drill: look at the target, start and stop the sandbox, ask what is left."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.root


def test_the_doctor_looks_at_this_machine_alone_where_no_target_is_named(bench):
    told = bench.shell("doctor")
    assert told.returncode == 0, told.stderr
    assert "✓ python" in told.stdout
    assert "target" not in told.stdout.split("to look at a target too")[0]


def untouched(bench):
    """All that a doctor could touch; the watchdog of an earlier drill may only now let go of the Lease."""
    return {name: version for name, version in bench.versions().items() if "/leases/" not in name}


def test_the_doctor_tells_which_faults_a_target_allows_and_what_is_missing(bench):
    before = untouched(bench)
    with bench.denied(verbs=["create"], resources=["pods/exec"]):
        told = bench.here("doctor", "--json")
    assert told.returncode == 0, told.stderr
    checks = {check["name"]: check for check in json.loads(told.stdout)["target"]}
    assert checks["engines ready"] == {"name": "engines ready", "ok": True, "detail": "3 of 3"}
    assert checks["permissions"]["ok"]
    assert checks["fault pod-kill"]["ok"]
    assert checks["fault process-hang"]["ok"] is None
    assert "create pods/exec" in checks["fault process-hang"]["detail"]
    assert untouched(bench) == before


def test_the_doctor_exits_4_where_the_target_is_unfit(bench):
    with bench.denied(verbs=["create", "update"], resources=["leases"]):
        told = bench.here("doctor")
    assert told.returncode == 4
    assert "✗ permissions" in told.stdout
    assert "missing: create leases.coordination.k8s.io, update leases.coordination.k8s.io" in told.stdout
    nowhere = bench.shell("doctor", "--sandbox", "nothing-like-it")
    assert nowhere.returncode == 4
    assert "sandbox nothing-like-it is not up; start it: drillbook sandbox up --name nothing-like-it" in nowhere.stdout


def test_where_nothing_is_left_recover_says_so(bench):
    told = bench.here("recover")
    assert told.returncode == 0
    assert "nothing to undo: no run has left a record at sandbox drills (sim)/llm" in told.stdout
    assert json.loads(bench.here("recover", "--json").stdout) == []


def test_recover_starts_no_sandbox(bench):
    told = bench.shell("recover", "--sandbox", "nothing-like-it")
    assert told.returncode == 4
    assert json.loads(bench.shell("sandbox", "status", "--name", "nothing-like-it", "--json").stdout) == {
        "name": "nothing-like-it",
        "state": "absent",
    }


def test_a_run_with_other_engines_than_the_sandbox_has_is_refused(bench):
    told = bench.here("plan", "pod-kill", "--engine", "vllm")
    assert told.returncode == 2
    assert "sandbox drills is up with sim engines, not vllm" in told.stderr


def test_a_sandbox_is_started_shown_and_stopped_as_often_as_one_likes(bench):
    up = bench.shell("sandbox", "up", "--name", "second", "--replicas", 1)
    try:
        assert up.returncode == 0, up.stderr
        assert "drillbook run pod-kill --sandbox second" in up.stdout
        state = json.loads(bench.shell("sandbox", "status", "--name", "second", "--json").stdout)
        assert state["state"] == "up"
        assert len(state["pods"]) == 2
        shown = bench.shell("sandbox", "status", "--name", "second").stdout
        assert all(f"{pod}  Running" in shown for pod in state["pods"])
    finally:
        down = bench.shell("sandbox", "down", "--name", "second")
    assert (down.returncode, down.stdout) == (0, "sandbox second is down\n")
    again = bench.shell("sandbox", "down", "--name", "second")
    assert (again.returncode, again.stdout) == (0, "sandbox second was not up\n")
    absent = bench.shell("sandbox", "status", "--name", "second")
    assert absent.returncode == 0
    assert "absent" in absent.stdout
    assert "start it: drillbook sandbox up --name second" in absent.stdout
