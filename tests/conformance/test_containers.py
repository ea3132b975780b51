"""Containers: restarts and back-off, probes and what follows from them, exec and logs."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest
from stage import DEFIES, OBEYS, Seen, Stage, condition, is_ready, main_container

from drillbook.errors import UnsupportedError
from drillbook.targets.answers import ApiError

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRATCH = {"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]},
           "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}  # fmt: skip


def probe(command: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 1, "failureThreshold": 1}


async def restarted(stage: Stage, name: str, count: int = 1) -> Seen:
    return await stage.pods.until(
        lambda one: (
            one.name == name
            and main_container(one.obj)["restartCount"] >= count
            and main_container(one.obj)["state"]["running"]
        ),
        within=40,
    )


async def crashing(stage: Stage) -> dict[str, Any]:
    await stage.run("ends-well", "echo one; sleep 2; exit 0")
    await stage.run("ends-badly", "echo two; sleep 2; exit 3")
    names = ("ends-well", "ends-badly")
    result: dict[str, Any] = {name: (await restarted(stage, name)).obj for name in names}
    async with asyncio.timeout(30):  # between an end and the next start a kubelet has just removed it
        while (await stage.kube.logs(stage.namespace, "ends-badly", "main", previous=True)) != "two\n":
            await asyncio.sleep(0.3)
    for name in names:
        waiting = await stage.pods.until(
            lambda one, name=name: (
                one.name == name and main_container(one.obj)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            ),
            within=40,
        )
        result[f"{name}-waits"] = waiting.obj
        result[f"{name}-again"] = (await restarted(stage, name, 2)).obj
    result["events"] = await stage.reasons("ends-badly", "BackOff")
    return result


@pytest.mark.parametrize("told", [crashing], indirect=True)
class TestRestarts:
    @pytest.mark.parametrize(("name", "code", "reason"), [("ends-well", 0, "Completed"), ("ends-badly", 3, "Error")])
    async def test_whatever_it_ends_with_it_is_started_again_and_the_end_is_kept(self, told, name, code, reason):
        row = main_container(told[name])
        ended = row["lastState"]["terminated"]
        assert (row["restartCount"], ended["exitCode"], ended["reason"]) == (1, code, reason)
        assert "running" in row["state"]
        assert told[name]["status"]["phase"] == "Running"
        assert ended["containerID"] != row["containerID"]

    @pytest.mark.parametrize("name", ["ends-well", "ends-badly"])
    async def test_the_first_restart_is_at_once_and_the_second_waits_ten_seconds(self, told, name):
        """A kubelet looks again only when it next syncs the pod, so it may be more."""
        waits = main_container(told[f"{name}-waits"])
        assert waits["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=")
        assert (waits["restartCount"], waits["ready"], waits["started"]) == (1, False, False)
        assert told[f"{name}-waits"]["status"]["phase"] == "Running"
        assert paused(main_container(told[name])) < 9
        assert 9 <= paused(main_container(told[f"{name}-again"])) <= 90

    async def test_the_log_of_the_run_before_is_kept(self, told):
        """Else the act would not have gone on."""

    async def test_the_back_off_is_an_event(self, told):
        row = told["events"][0]
        assert row["type"] == "Warning"
        assert row["message"].lower().startswith("back-off restarting failed container")


def paused(row: dict[str, Any]) -> float:
    """Seconds from the last end of a container to its present start, as it tells them."""
    ended = datetime.fromisoformat(row["lastState"]["terminated"]["finishedAt"])
    return (datetime.fromisoformat(row["state"]["running"]["startedAt"]) - ended).total_seconds()


async def unlively(stage: Stage) -> dict[str, Any]:
    await stage.run("unlively", DEFIES, livenessProbe=probe("exit 1"), spec={"terminationGracePeriodSeconds": 1})
    after = await restarted(stage, "unlively")
    events = await stage.reasons("unlively", "Unhealthy", "Killing")
    await stage.kube.delete(stage.path("pods", "unlively"), grace=0)
    return {"pod": after.obj, "events": events}


@pytest.mark.parametrize("told", [unlively], indirect=True)
async def test_a_failed_liveness_probe_kills_and_restarts_the_container(told):
    ended = main_container(told["pod"])["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    unhealthy, killing = told["events"]
    assert unhealthy["type"] == "Warning"
    assert unhealthy["message"].startswith("Liveness probe failed: ")
    assert killing["message"] == "Container main failed liveness probe, will be restarted"


async def flipping(stage: Stage) -> dict[str, Any]:
    """Ready, unready and ready by a file, behind a Service; then deleted."""
    await stage.expose("flips")
    ready = {"readinessProbe": probe("test -e /scratch/ready")}
    await stage.run("flips", DEFIES, **SCRATCH, **ready)
    await stage.pods.until(lambda one: one.name == "flips" and one.obj["status"]["phase"] == "Running")
    started = main_container(await stage.kube.get(stage.path("pods", "flips")))
    result: dict[str, Any] = {"started": started}
    story = stage.stories["endpoints"]

    async def shown(field: str, since: int) -> Seen:
        return await story.until(
            lambda one: one.name == "flips" and story.seen.index(one) >= since
            and len(one.obj["subsets"]) == 1 and set(one.obj["subsets"][0]) == {field, "ports"})  # fmt: skip

    result["before"] = await shown("notReadyAddresses", 0)
    for step, command in (
        ("up", "touch /scratch/ready"),
        ("down", "rm /scratch/ready"),
        ("again", "touch /scratch/ready"),
    ):
        since = len(story.seen)
        done = await stage.kube.exec(stage.namespace, "flips", "main", ("sh", "-c", command))
        assert done.exit_code == 0
        result[step] = await shown("notReadyAddresses" if step == "down" else "addresses", since)
    result["pod"] = await stage.kube.get(stage.path("pods", "flips"))
    since = len(story.seen)
    await stage.kube.delete(stage.path("pods", "flips"))
    result["empty"] = await story.until(
        lambda one: one.name == "flips" and story.seen.index(one) >= since and not one.obj.get("subsets")
    )
    gone = await stage.pods.until(lambda one: one.name == "flips" and one.type == "DELETED", within=40)
    result["gone"] = gone
    return result


@pytest.mark.parametrize("told", [flipping], indirect=True)
class TestReadiness:
    async def test_endpoints_follow_readiness_both_ways(self, told):
        for step, field in (("up", "addresses"), ("down", "notReadyAddresses"), ("again", "addresses")):
            row = told[step].obj["subsets"][0][field][0]
            assert row["ip"] == told["pod"]["status"]["podIP"]
            assert row["nodeName"] == told["pod"]["spec"]["nodeName"]
            assert row["targetRef"]["name"] == "flips"
            assert row["targetRef"]["uid"] == told["pod"]["metadata"]["uid"]
            assert told[step].obj["subsets"][0]["ports"] == [{"name": "http", "port": 8000, "protocol": "TCP"}]

    async def test_a_pod_leaves_its_endpoints_when_it_is_marked_not_when_it_is_gone(self, told):
        assert told["gone"].at - told["empty"].at > 1.2

    async def test_no_restart_comes_of_unreadiness(self, told):
        row = main_container(told["pod"])
        assert (row["restartCount"], row["started"], told["started"] != {}) == (0, True, True)

    async def test_the_failed_probe_is_an_event(self, stage, told):
        (row,) = await stage.reasons("flips", "Unhealthy")
        assert row["message"].startswith("Readiness probe failed:")


async def sliced(stage: Stage) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    api = await stage.serves("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1")
    await stage.expose("sliced")
    await stage.run("sliced")
    pod = await stage.ready("sliced")
    path, labels = stage.path("endpointslices", api=api), "kubernetes.io/service-name=sliced"
    async with asyncio.timeout(20):
        while True:
            found = await stage.kube.list(path, labels=labels)
            full = [one for one in found if one.get("endpoints") and one["endpoints"][0]["conditions"]["ready"]]
            if full:
                return full, pod
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("told", [sliced], indirect=True)
async def test_an_endpoint_slice_says_the_same(told):
    (found,), pod = told
    assert found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert found["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert (found["addressType"], found["ports"]) == ("IPv4", [{"name": "http", "port": 8000, "protocol": "TCP"}])
    (row,) = found["endpoints"]
    assert row["addresses"] == [pod["status"]["podIP"]]
    assert row["targetRef"]["uid"] == pod["metadata"]["uid"]


async def starting_up(stage: Stage) -> list[Seen]:
    await stage.run("slow-start", startupProbe=probe("test -e /scratch/up") | {"failureThreshold": 30}, **SCRATCH)
    await stage.pods.until(lambda one: one.name == "slow-start" and one.obj["status"]["phase"] == "Running")
    await stage.kube.exec(stage.namespace, "slow-start", "main", ("touch", "/scratch/up"))
    await stage.ready("slow-start")
    return stage.pods.of("slow-start")


@pytest.mark.parametrize("told", [starting_up], indirect=True)
async def test_a_container_is_not_ready_before_its_startup_probe_succeeds(told):
    running = [seen.obj for seen in told if seen.obj["status"]["phase"] == "Running"]
    assert (main_container(running[0])["started"], is_ready(running[0])) == (False, False)
    assert (main_container(running[-1])["started"], is_ready(running[-1])) == (True, True)


async def first_things(stage: Stage) -> list[Seen]:
    spec = {"volumes": SCRATCH["spec"]["volumes"], "restartPolicy": "Never"}
    mounts = {"volumeMounts": SCRATCH["volumeMounts"]}
    init = stage.container("echo first > /scratch/order; sleep 1", **mounts) | {"name": "init"}
    await stage.run("prepared", "cat /scratch/order", spec={**spec, "initContainers": [init]}, **mounts)
    await stage.pods.until(lambda one: one.name == "prepared" and one.obj["status"]["phase"] == "Succeeded")
    return stage.pods.of("prepared")


@pytest.mark.parametrize("told", [first_things], indirect=True)
async def test_init_containers_end_before_the_others_begin(stage, told):
    waiting = next(seen.obj for seen in told if seen.obj["status"].get("initContainerStatuses"))
    assert condition(waiting, "Initialized")["reason"] == "ContainersNotInitialized"
    assert condition(waiting, "Initialized")["message"] == "containers with incomplete status: [init]"
    assert main_container(waiting)["state"]["waiting"]["reason"] == "PodInitializing"
    assert told[-1].obj["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert await stage.kube.logs(stage.namespace, "prepared", "main") == "first\n"


async def unpulled(stage: Stage) -> dict[str, Any]:
    await stage.run("unpulled", "true", image="localhost:1/acme/none:1", imagePullPolicy="IfNotPresent")
    waiting = []
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        seen = await stage.pods.until(
            lambda one, reason=reason: one.name == "unpulled"
            and main_container(one.obj)["state"]["waiting"]["reason"] == reason)  # fmt: skip
        waiting.append(seen.obj)
    events = await stage.reasons("unpulled", "Pulling", "BackOff")
    failed = await stage.stories["events"].until(
        lambda one: (
            one.obj["involvedObject"]["name"] == "unpulled" and one.obj["message"].startswith("Failed to pull image ")
        )
    )
    return {"waiting": waiting, "events": [*events, failed.obj]}


@pytest.mark.parametrize("told", [unpulled], indirect=True)
async def test_an_image_that_cannot_be_had_leaves_the_pod_pending_and_says_so(told):
    assert {pod["status"]["phase"] for pod in told["waiting"]} == {"Pending"}
    message = main_container(told["waiting"][1])["state"]["waiting"]["message"]
    assert message.startswith('Back-off pulling image "localhost:1/acme/none:1"')
    pulling, back_off, failed = told["events"]
    assert [row["type"] for row in (pulling, back_off, failed)] == ["Normal", "Normal", "Warning"]
    assert failed["message"].startswith('Failed to pull image "localhost:1/acme/none:1"')
    assert failed["reason"] == "Failed"
    assert back_off["message"] == 'Back-off pulling image "localhost:1/acme/none:1"'


async def talkative(stage: Stage) -> None:
    await stage.run("talks", f"echo a; echo b; echo c >&2; {OBEYS}")
    await stage.ready("talks")


@pytest.mark.parametrize("told", [talkative], indirect=True)
class TestExecAndLogs:
    async def test_output_error_and_exit_code_come_apart(self, stage, told):
        done = await stage.kube.exec(stage.namespace, "talks", "main", ("sh", "-c", "echo out; echo err >&2; exit 7"))
        assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 7)
        done = await stage.kube.exec(stage.namespace, "talks", "main", ("sh", "-c", "kill -9 $$"))
        assert done.exit_code == 137

    async def test_a_large_output_comes_whole(self, stage, told):
        done = await stage.kube.exec(stage.namespace, "talks", "main", ("head", "-c", "300000", "/dev/zero"))
        assert (len(done.stdout), done.exit_code) == (300000, 0)

    async def test_what_is_sent_arrives_and_its_end_too(self, stage, told):
        try:
            done = await stage.kube.exec(stage.namespace, "talks", "main", ("cat",), stdin=b"hello")
        except ApiError:
            if stage.simulated:
                raise
            pytest.skip("this server cannot end stdin: v5.channel.k8s.io came with Kubernetes 1.30")
        assert done.stdout == "hello"

    async def test_a_program_that_is_not_there_is_told_from_one_that_fails(self, stage, told):
        with pytest.raises(UnsupportedError):
            await stage.kube.exec(stage.namespace, "talks", "main", ("no-such-program",))

    async def test_a_container_that_is_not_there_is_refused(self, stage, told):
        with pytest.raises(ApiError) as refused:
            await stage.kube.exec(stage.namespace, "talks", "other", ("true",))
        assert refused.value.code == 400
        code, status = await stage.status_of("GET", stage.path("pods", "talks") + "/log", container="other")
        assert (code, status["reason"]) == (400, "BadRequest")
        assert status["message"] == "container other is not valid for pod talks"

    async def test_the_log_has_both_streams_and_can_be_cut(self, stage, told):
        assert sorted((await stage.kube.logs(stage.namespace, "talks", "main")).split()) == ["a", "b", "c"]
        assert len((await stage.kube.logs(stage.namespace, "talks", "main", tail=1)).split()) == 1
        path = stage.path("pods", "talks") + "/log"
        assert len(await stage.kube.request("GET", path, params={"limitBytes": "3"})) == 3
        stamped = (await stage.kube.request("GET", path, params={"timestamps": "true"})).decode().splitlines()
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) [abc]$", line) for line in stamped)

    async def test_there_is_no_previous_log_before_a_restart(self, stage, told):
        code, status = await stage.status_of("GET", stage.path("pods", "talks") + "/log", previous="true")
        assert (code, status["message"]) == (400, 'previous terminated container "main" in pod "talks" not found')


async def out_of_memory(stage: Stage) -> dict[str, Any]:
    limits = {"limits": {"memory": "48Mi"}}
    script = "exec python3 -c 'x = bytearray(300_000_000); print(len(x))'"
    await stage.run("hungry", script, resources=limits, spec={"restartPolicy": "Never"})
    over = ("Succeeded", "Failed")
    return (await stage.pods.until(lambda one: one.name == "hungry" and one.obj["status"]["phase"] in over)).obj


@pytest.mark.parametrize("told", [out_of_memory], indirect=True)
async def test_a_container_over_its_memory_limit_is_killed_and_it_is_said_why(told):
    ended = main_container(told)["state"]["terminated"]
    if ended["exitCode"] == 0:
        pytest.skip("this machine lets nobody make memory control groups")
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
