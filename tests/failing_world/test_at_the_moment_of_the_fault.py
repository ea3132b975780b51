"""An API server that fails, or answers late, at the very moment of a fault."""

from __future__ import annotations

import itertools
import json
import signal
import threading

import pytest
from drill_bench import until
from faulty_proxy import Answer, Delay

pytestmark = [pytest.mark.root, pytest.mark.whole]
DEPLOYMENT = "/apis/apps/v1/namespaces/llm/deployments/vllm-tiny-llama-deployment-vllm"


@pytest.mark.parametrize("code", [429, 500])
def test_a_fault_that_the_server_does_not_carry_out_is_inconclusive(bench, code):
    bench.proxy.fault = lambda method, path: Answer(code) if method == "DELETE" and "/pods/" in path else None
    before = {pod["metadata"]["uid"] for pod in bench.engines()}
    running = bench.start_through(bench.experiment({"fault": "pod-kill", "force": True}, observe="3s"))
    ended, out, err = running.end()
    assert ended == 3, out + err
    assert "INCONCLUSIVE  the fault did not bite" in out
    assert bench.proxy.refused
    assert {pod["metadata"]["uid"] for pod in bench.engines()} == before


def test_a_request_without_an_answer_that_lands_after_the_undo_is_undone_too(bench):
    """It is given up after 10 s, its run is ended and put back at once, and then it is carried out."""
    patches, landed = itertools.count(), threading.Event()

    def late(method: str, path: str) -> Delay | None:
        if method != "PATCH" or not path.startswith(DEPLOYMENT) or next(patches):
            return None
        threading.Timer(12.0, landed.set).start()
        return Delay(11.5)

    generation = bench.call("GET", DEPLOYMENT)["metadata"]["generation"]
    bench.proxy.fault = late
    running = bench.start_through(bench.experiment({"fault": "scale", "replicas": 2, "for": "19s"}))
    running.fault_is("injected")
    running.process.send_signal(signal.SIGINT)
    code, out, err = running.end()
    assert landed.wait(20)
    now = bench.call("GET", DEPLOYMENT)
    assert now["metadata"]["generation"] == generation + 2, "it landed, and was put back"
    assert now["spec"]["replicas"] == 3
    assert code == 130, out + err
    judged = json.loads(bench.shell("check", running.folder, "--json").stdout)
    assert (judged["status"], judged["undo"]) == ("interrupted", "clean")
    until(lambda: bench.records() == [], 20)
    until(bench.whole, 60)
