"""Whole drills whose load comes from Locust's workers in pods of the sandbox."""

from __future__ import annotations

import importlib.util
import json

import pytest
from drill_bench import HANG, LOAD, until

from drillbook.experiments import journal
from drillbook.model.events import Noted
from drillbook.model.request import Outcome

pytestmark = [
    pytest.mark.root,
    pytest.mark.whole,
    pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed"),
]
PODS = "/api/v1/namespaces/llm/pods"
SENT = {"load": LOAD | {"engine": "locust", "workers": 2, "in": "pods", "arrivals": "poisson"}}


def sending(bench):
    """The names of the pods that send the load."""
    labels = "labelSelector=app.kubernetes.io/component%3Dload"
    return {pod["metadata"]["name"] for pod in bench.call("GET", f"{PODS}?{labels}")["items"]}


def test_a_drill_is_planned_measured_and_judged_as_with_any_load_and_leaves_no_pod(bench):
    experiment = bench.experiment(HANG | {"for": "5s"}, expect=["recovered within 15s of undo"], **SENT)
    plan = bench.here("plan", str(experiment))
    assert plan.stdout.count("start the load pod drillbook-load-") == 3, plan.stderr
    assert "get, create pods/exec" in plan.stdout
    code, out, err, folder = bench.run(experiment, "--json")
    told = json.loads(out)
    assert (told["verdict"], told["status"], told["undo"], code) == ("held", "completed", "clean", 0), out + err
    assert not sending(bench)
    assert bench.records() == []
    history = journal.read(folder)
    assert history.damage == []
    assert {request.id.rpartition("-")[0] for request in history.requests} == {"load-1", "load-2"}
    assert {Outcome.OK, Outcome.HUNG} <= {request.outcome for request in history.requests}
    counted = next(event.text for _, event in history.events(Noted) if event.text.startswith("Locust counted"))
    bad = sum(request.outcome is not Outcome.OK for request in history.requests)
    assert counted == f"Locust counted {len(history.requests)} requests, {bad} of them failures"


def test_where_a_worker_is_lost_nothing_is_concluded_and_all_is_put_back(bench):
    running = bench.start(bench.experiment(HANG, **SENT))
    running.fault_is("bit", 60)
    (victim,) = [name for name in sending(bench) if name.endswith("-2")]
    bench.call("DELETE", f"{PODS}/{victim}", {"gracePeriodSeconds": 0})
    code, out, err = running.end()
    assert code == 3, out + err
    notes = [event.text for _, event in journal.read(running.folder).events(Noted)]
    assert any(f"load-2: it died: exit code 137; the pod {victim}" in text for text in notes), notes
    assert not sending(bench)
    assert bench.stopped() == 0
    assert bench.records() == []


def test_the_pods_of_a_killed_runner_are_removed_by_its_watchdog(bench):
    running = bench.start(bench.experiment(HANG, **SENT))
    running.fault_is("bit", 60)
    assert len(sending(bench)) == 3
    running.kill()
    until(lambda: not sending(bench) and not bench.records(), 60)
    assert bench.stopped() == 0
    told = bench.here("recover", "--runs", str(bench.runs))
    assert told.returncode == 0, told.stdout
