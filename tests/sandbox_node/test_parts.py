"""The kubelet's pure parts: back-off, phases, environment, images, subnets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drillbook.errors import PreflightError
from drillbook.sandbox import images, subnets
from drillbook.sandbox.config import SandboxConfig, nodes_for
from drillbook.sandbox.images import ImageNotFoundError
from drillbook.sandbox.node import environment, pod_status
from drillbook.sandbox.node.backoff import Backoff
from drillbook.sandbox.node.health import Health
from drillbook.sandbox.node.relay import Relay


def config(**more) -> SandboxConfig:
    return SandboxConfig(
        **{"name": "x", "engine": "sim", "state_dir": "/nowhere", "api_port": 1, "network": "10.208.0.0/20",
           "bridged": True, **more}
    )  # fmt: skip


def test_back_off_is_none_then_ten_seconds_doubling_to_five_minutes_and_forgotten_after_a_long_run():
    backoff = Backoff(10, 300)
    assert [backoff.delay(0, 0, 1)[0] for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.delay(0, 0, 601)[0] == 0


def test_what_of_the_back_off_has_passed_is_not_waited_for():
    backoff = Backoff(10, 300)
    backoff.delay(0, 0, 1)
    assert backoff.delay(100, 104, 1) == (6, 10)


def row(state: str, code: int | None = None, *, last: int | None = None) -> dict:
    ended = {"terminated": {"exitCode": code}}
    return {
        "name": "c", "ready": state == "running", "started": state == "running",
        "state": ended if state == "terminated" else {state: {}},
        "lastState": {"terminated": {"exitCode": last}} if last is not None else {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "rows", "over", "phase"),
    [
        ("Always", [row("waiting")], False, "Pending"),
        ("Always", [row("running")], False, "Running"),
        ("Always", [row("waiting", last=1)], False, "Running"),
        ("Always", [row("running"), row("waiting")], False, "Pending"),
        ("Never", [row("terminated", 0)], False, "Succeeded"),
        ("Never", [row("terminated", 3)], False, "Failed"),
        ("OnFailure", [row("terminated", 3)], False, "Running"),
        ("Always", [row("terminated", 0)], True, "Succeeded"),
        ("Always", [row("terminated", 137)], True, "Failed"),
    ],
)
def test_phases_are_the_kubelets(policy, rows, over, phase):
    assert pod_status.phase({"restartPolicy": policy}, [], rows, over=over) == phase


def test_a_condition_keeps_its_transition_time_while_its_status_holds():
    pod = {"spec": {}}
    first = pod_status.conditions(pod, "Running", [], [row("running")], {}, "early")
    before = {one["type"]: one for one in first}
    later = {one["type"]: one for one in pod_status.conditions(pod, "Running", [], [row("waiting")], before, "late")}
    assert later["Ready"]["lastTransitionTime"] == "late"
    assert later["Initialized"]["lastTransitionTime"] == "early"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("x$(A)y$", "x1y$"), ("$A", "$A"), ("$$$(A)", "$1")],
)
def test_references_are_expanded_as_kubernetes_does(text, expanded):
    assert environment.expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("docker.io/vllm/vllm-openai:v0.32", "vllm/vllm-openai"),
        ("registry:5000/vllm/vllm-openai", "vllm/vllm-openai"),
        ("busybox@sha256:00", "busybox"),
        ("library/busybox:1", "busybox"),
    ],
)
def test_an_image_is_known_by_its_name_alone(image, name):
    assert images.repository(image) == name


def test_a_vllm_image_runs_the_chosen_engine_however_its_command_is_written():
    module = ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"]
    assert images.resolve(config(), "vllm/vllm-openai:v1", [], ["m"]).argv == ("vllm", "m")
    served = images.resolve(config(), "vllm/vllm-openai:v1", ["vllm", "serve"], ["m"])
    assert served.entry == images.SIM_MODULE + ":main"
    assert images.resolve(config(), "vllm/vllm-openai:v1", module, []).argv == ("vllm", "--model", "m")
    real = images.resolve(config(engine="vllm", vllm_python="/v/python"), "vllm/vllm-openai", [], ["m"])
    assert (real.argv[:2], Path(real.argv[2]).name) == (("/v/python", "-P"), "vllm_launcher.py")
    assert real.argv[3:] == ("serve", "m")
    assert real.env["HF_HUB_OFFLINE"] == "1"
    assert images.resolve(config(), "vllm/vllm-openai", ["sh", "-c", "vllm serve m"], []).entry == ""


def test_an_unknown_image_fails_with_the_registrys_words():
    with pytest.raises(ImageNotFoundError, match="acme/thing:v1: not found"):
        images.resolve(config(), "acme/thing:v1", [], [])


def test_a_subnet_is_free_outside_a_clusters_ranges_and_the_same_for_the_same_sandbox():
    first = subnets.choose("00000005", [], bridged=True)
    assert subnets.choose("00000005", [], bridged=True) == first
    assert subnets.choose("00000005", [first], bridged=True) != first
    everything = [str(block) for block in subnets.BRIDGED.subnets(new_prefix=20)]
    with pytest.raises(PreflightError, match="no free /20"):
        subnets.choose("00000005", everything, bridged=True)


def test_there_are_nodes_for_as_many_engines_as_are_asked_for():
    assert sum(node.gpus for node in nodes_for(200)) >= 200
    assert len(nodes_for(3)) == 2


class Patient:
    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_started(self) -> None:
        self.seen.append("started")

    def on_ready(self, ready: bool) -> None:
        self.seen.append(ready)

    def on_probe_failed(self, kind: str, message: str, *, fatal: bool) -> None:
        self.seen.append((kind, fatal))


@pytest.mark.looptime
async def test_the_startup_probe_holds_the_others_back_and_thresholds_count_in_a_row(monkeypatch):
    results = {"startup": [False, True], "ready": [True, False, False, True]}
    patient, loop = Patient(), asyncio.get_running_loop()
    monkeypatch.setattr("drillbook.sandbox.node.health.clock.monotonic", loop.time)

    async def check(probe, _timeout):
        rows = results[probe["which"]]
        return (rows.pop(0) if len(rows) > 1 else rows[0]), "no"

    container = {
        "startupProbe": {"which": "startup", "periodSeconds": 1, "failureThreshold": 3},
        "readinessProbe": {"which": "ready", "periodSeconds": 1, "failureThreshold": 2},
    }
    task = asyncio.create_task(Health(container, check, patient, loop.time()).run())
    await asyncio.sleep(10)
    task.cancel()
    assert patient.seen[:7] == [
        ("startup", False), "started", True, ("readiness", False), ("readiness", False), False, True,
    ]  # fmt: skip


async def test_a_relay_passes_half_closes_and_resets_on():
    async def answer(reader, writer):
        data = await reader.read()  # until the client has closed its half
        writer.write(data.upper())
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    target = backend.sockets[0].getsockname()
    front = await loop.create_server(lambda: Relay(lambda: target), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
    writer.write(b"hello")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"HELLO"
    writer.close()
    nowhere = await loop.create_server(lambda: Relay(lambda: None), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*nowhere.sockets[0].getsockname())
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 60)
    writer.close()
    for server in (front, nowhere, backend):
        server.close()
    await asyncio.sleep(0.05)  # transports close in the loop's next rounds
