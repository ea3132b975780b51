"""A pod's life and its end, event by event: what drillbook's clocks are read from."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import datetime, timedelta
from typing import Any

import pytest
from stage import DEFIES, OBEYS, SERVES, Seen, Stage, condition, is_ready, main_container

from drillbook import clock

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTENS = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}


def moment(seen: Seen) -> str:
    pod = seen.obj
    if seen.type == "DELETED":
        return "gone"
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    if pod["status"]["phase"] != "Pending":
        return "ready" if is_ready(pod) else pod["status"]["phase"].lower()
    return "assigned" if pod["spec"].get("nodeName") else "pending"


def moments(told: list[Seen]) -> list[str]:
    """In order, each once for as long as it lasts."""
    found = [moment(seen) for seen in told]
    return [now for before, now in zip(["", *found], found, strict=False) if now != before]


async def gone(stage: Stage, name: str) -> list[Seen]:
    await stage.pods.until(lambda one: one.name == name and one.type == "DELETED", within=40)
    return stage.pods.of(name)


async def whole_life(stage: Stage) -> list[Seen]:
    await stage.run("life", SERVES, **LISTENS)
    await stage.ready("life")
    await stage.kube.delete(stage.path("pods", "life"))
    return await gone(stage, "life")


@pytest.mark.parametrize("told", [whole_life], indirect=True)
class TestAWholeLife:
    async def test_it_is_told_in_this_order(self, told):
        assert moments(told) == ["pending", "assigned", "running", "ready", "ending", "gone"]
        assert [seen.type for seen in told] == ["ADDED", *["MODIFIED"] * (len(told) - 2), "DELETED"]
        versions = [int(seen.obj["metadata"]["resourceVersion"]) for seen in told]
        assert versions == sorted(set(versions))

    async def test_it_begins_pending_with_defaults_filled_in(self, told):
        pod = told[0].obj
        assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
        assert pod["spec"]["restartPolicy"] == "Always"
        assert pod["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
        seconds = {row["key"]: row["tolerationSeconds"] for row in pod["spec"]["tolerations"]}
        assert seconds == {"node.kubernetes.io/not-ready": 300, "node.kubernetes.io/unreachable": 300}

    async def test_the_scheduler_says_so_before_the_kubelet_says_anything(self, told):
        assigned = next(seen.obj for seen in told if seen.obj["spec"].get("nodeName"))
        assert [row["type"] for row in assigned["status"]["conditions"]] == ["PodScheduled"]
        assert condition(assigned, "PodScheduled")["status"] == "True"

    async def test_a_container_is_first_being_created_then_unready_then_ready(self, told):
        states = [main_container(seen.obj) for seen in told if seen.obj["status"].get("containerStatuses")]
        first = states[0]
        assert (first["state"]["waiting"]["reason"], first["ready"], first["restartCount"]) == (
            "ContainerCreating", False, 0)  # fmt: skip
        running = next(seen.obj for seen in told if moment(seen) == "running")
        assert condition(running, "Ready")["reason"] == "ContainersNotReady"
        assert condition(running, "Ready")["message"] == "containers with unready status: [main]"
        assert running["status"]["podIP"] == running["status"]["podIPs"][0]["ip"]
        assert running["status"]["hostIP"]
        assert main_container(running)["started"] is True

    async def test_its_end_is_marked_then_written_down_then_confirmed(self, told):
        ending = [seen.obj for seen in told if moment(seen) == "ending"]
        assert [obj["metadata"]["deletionGracePeriodSeconds"] for obj in (ending[0], ending[-1])] == [2, 0]
        assert is_ready(ending[0])
        assert "running" in main_container(ending[0])["state"]
        for obj in (ending[-1], told[-1].obj):
            ended = main_container(obj)["state"]["terminated"]
            assert (ended["exitCode"], ended["reason"]) == (137, "Error")
            assert condition(obj, "Ready")["status"] == "False"
        assert told[-1].obj["metadata"]["deletionTimestamp"] < ending[0]["metadata"]["deletionTimestamp"]

    async def test_events_tell_it_too(self, stage, told):
        rows = await stage.reasons("life", "Scheduled", "Pulled", "Created", "Started", "Killing")
        assert all(row["type"] == "Normal" and row["involvedObject"]["kind"] == "Pod" for row in rows)
        assert {row["involvedObject"]["uid"] for row in rows} == {told[0].obj["metadata"]["uid"]}
        scheduled, pulled, created, started, killing = rows
        node = told[-1].obj["spec"]["nodeName"]
        assert scheduled["message"] == f"Successfully assigned {stage.namespace}/life to {node}"
        assert pulled["message"].startswith("Container image ")
        assert killing["message"] == "Stopping container main"
        assert {row["involvedObject"]["fieldPath"] for row in (pulled, created, started, killing)} == {
            "spec.containers{main}"}  # fmt: skip
        assert {(row["source"]["component"], row["source"]["host"]) for row in (created, started)} == {
            ("kubelet", node)
        }


async def forced(stage: Stage) -> dict[str, Any]:
    """A forced deletion of a pod that serves, with what becomes of connections to its address."""
    await stage.run("forced", SERVES, **LISTENS)
    address = (await stage.ready("forced"))["status"]["podIP"]
    attempts: list[tuple[float, str]] = []
    held = None
    if await attempt(address) == "open":
        held = asyncio.create_task(ends(*await asyncio.open_connection(address, 8000)))
    begun = clock.monotonic()
    await stage.kube.delete(stage.path("pods", "forced"), grace=0)
    while held is not None and not {"silence", "unreachable"} & {met for _, met in attempts}:
        attempts.append((clock.monotonic() - begun, await attempt(address)))
        await asyncio.sleep(0.1)
    result = {"told": await gone(stage, "forced"), "attempts": attempts, "begun": begun}
    if held is not None:
        result["held"] = (await held) - begun
    return result


async def attempt(address: str) -> str:
    """What a new connection meets: ``open``, ``refused``, ``unreachable``, or ``silence`` for four seconds."""
    try:
        with socket.socket() as one:  # a stream that opens as the patience ends would be nobody's to close
            one.setblocking(False)
            async with asyncio.timeout(4):
                await asyncio.get_running_loop().sock_connect(one, (address, 8000))
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "unreachable"
    return "open"


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """When a connection that nobody uses ends."""
    try:
        with contextlib.suppress(ConnectionError):  # a reset ends it as well
            await reader.read()
        return clock.monotonic()
    finally:
        writer.close()


@pytest.mark.parametrize("told", [forced], indirect=True)
class TestAForcedDeletion:
    async def test_it_is_two_events_the_mark_and_the_end(self, told):
        *_, mark, end = told["told"]
        assert (mark.type, end.type) == ("MODIFIED", "DELETED")
        assert end.at - mark.at < 15  # not its grace of 30 s
        for seen in (mark, end):
            assert seen.obj["metadata"]["deletionTimestamp"]
            assert seen.obj["metadata"]["deletionGracePeriodSeconds"] == 0
            assert is_ready(seen.obj)
        assert moments(told["told"])[-3:] == ["ready", "ending", "gone"]

    async def test_its_containers_go_on_for_the_two_seconds_that_a_kubelet_gives_at_least(self, told):
        if not told["attempts"]:
            pytest.skip("pods of this cluster cannot be reached from here")
        last = max(at for at, met in told["attempts"] if met == "open")
        assert 0.5 < last < 20
        assert 0.5 < told["held"] < 20

    async def test_its_address_is_silent_or_has_no_route_from_then_on(self, told):
        """Silence for as long as the machine remembers the pod's link address (up to 45 s), then no route to host."""
        if not told["attempts"]:
            pytest.skip("pods of this cluster cannot be reached from here")
        met = [what for _, what in told["attempts"]]
        met = [now for before, now in zip(["", *met], met, strict=False) if now != before]
        assert met[0] == "open"
        assert "open" not in met[1:]
        assert met[-1] in ("silence", "unreachable")
        assert set(met[1:-1]) <= {"refused"}


async def graceful(stage: Stage) -> dict[str, tuple[float, int]]:
    """By name: seconds from the deletion to the end of the container as they tell it, and its exit code."""
    spec = {"terminationGracePeriodSeconds": 3}
    names = {"obeys": OBEYS, "defies": DEFIES}
    for name, script in names.items():
        await stage.run(name, script, spec=spec)
    for name in names:
        await stage.ready(name)
        await stage.kube.delete(stage.path("pods", name))
    result = {}
    for name in names:
        told = await gone(stage, name)
        marked = next(seen.obj["metadata"] for seen in told if moment(seen) == "ending")
        ended = main_container(told[-1].obj)["state"]["terminated"]
        asked = datetime.fromisoformat(marked["deletionTimestamp"]) - timedelta(seconds=3)
        result[name] = ((datetime.fromisoformat(ended["finishedAt"]) - asked).total_seconds(), ended["exitCode"])
    return result


@pytest.mark.parametrize("told", [graceful], indirect=True)
async def test_grace_is_as_long_as_a_container_wants_and_no_longer_than_it_has(told):
    seconds, code = told["obeys"]
    assert (code, 0 <= seconds <= 2) == (0, True), told
    seconds, code = told["defies"]
    assert (code, 3 <= seconds <= 5) == (137, True), told


async def hook(stage: Stage) -> str:
    pre_stop = {"exec": {"command": ["sh", "-c", "echo hooked > /proc/1/fd/1; sleep 1"]}}
    script = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.1; done"
    await stage.run("hooked", script, spec={"terminationGracePeriodSeconds": 8}, lifecycle={"preStop": pre_stop})
    await stage.ready("hooked")
    following = asyncio.create_task(
        stage.kube.request("GET", stage.path("pods", "hooked") + "/log", params={"follow": "true"}, timeout=25)
    )
    await asyncio.sleep(0.3)
    await stage.kube.delete(stage.path("pods", "hooked"))
    return (await following).decode()


@pytest.mark.parametrize("told", [hook], indirect=True)
async def test_pre_stop_runs_before_the_container_is_asked_to_end_and_its_log_is_followed_to_the_end(told):
    assert told.split()[:2] == ["hooked", "asked"]


async def never_placed(stage: Stage) -> list[Seen]:
    await stage.run("nowhere", spec={"nodeSelector": {"drillbook.io/no-such": "node"}})
    await stage.pods.until(lambda one: one.name == "nowhere" and condition(one.obj, "PodScheduled"))
    await stage.kube.delete(stage.path("pods", "nowhere"))
    return await gone(stage, "nowhere")


@pytest.mark.parametrize("told", [never_placed], indirect=True)
async def test_a_pod_without_a_node_ends_at_once_and_is_marked_before(told):
    assert [seen.type for seen in told] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert moments(told) == ["pending", "ending", "gone"]
    assert told[-1].obj["metadata"]["deletionGracePeriodSeconds"] == 0
    unscheduled = condition(told[1].obj, "PodScheduled")
    assert (unscheduled["status"], unscheduled["reason"]) == ("False", "Unschedulable")


async def finished(stage: Stage) -> dict[str, dict[str, Any]]:
    await stage.run("well", "exit 0", spec={"restartPolicy": "Never"})
    await stage.run("badly", "exit 3", spec={"restartPolicy": "Never"})
    over = ("Succeeded", "Failed")
    result = {
        name: (
            await stage.pods.until(lambda one, name=name: one.name == name and one.obj["status"]["phase"] in over)
        ).obj
        for name in ("well", "badly")
    }
    begun = clock.monotonic()
    await stage.kube.delete(stage.path("pods", "well"))
    await gone(stage, "well")
    assert clock.monotonic() - begun < 25, "what has ended needs no grace"
    return result


@pytest.mark.parametrize("told", [finished], indirect=True)
async def test_a_pod_that_is_not_restarted_ends_as_its_container_did(told):
    well, badly = told["well"], told["badly"]
    assert (well["status"]["phase"], badly["status"]["phase"]) == ("Succeeded", "Failed")
    assert condition(well, "Ready")["reason"] == "PodCompleted"
    ended = main_container(well)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    ended = main_container(badly)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert ended["startedAt"] <= ended["finishedAt"]
    assert condition(badly, "Ready")["status"] == "False"
