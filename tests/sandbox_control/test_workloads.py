"""StatefulSets, DaemonSets, Jobs and LeaderWorkerSets."""

import pytest

from drillbook.sandbox.control.controllers.leaderworkersets import LeaderWorkerSets
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.store import Change, Entry

APPS = "/apis/apps/v1/namespaces/default"
PODS = "/api/v1/namespaces/default/pods"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
GROUPS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"


def spec(name, **more):
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "sim:1"}]},
            },
            **more,
        },
    }


async def names(api, **query):
    return [
        row["metadata"]["name"] for row in await api.items(PODS, **query) if "deletionTimestamp" not in row["metadata"]
    ]


def image(text):
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": text}]}}}}


async def status_is(api, path, **wanted):
    async def test():
        found = await api.get(path)
        return wanted.items() <= found.get("status", {}).items() and found

    return await api.until(test)


async def test_an_ordered_stateful_set_waits_for_each_pod(api, kubelet):
    kubelet.judge = lambda pod: "unready" if pod["metadata"]["name"] == "s-1" else "ready"
    await api.post(f"{APPS}/statefulsets", spec("s", replicas=3, serviceName="s"))

    async def second():
        rows = await api.items(PODS)
        return [row["metadata"]["name"] for row in rows if row["status"]["phase"] == "Running"] == ["s-0", "s-1"]

    await api.until(second)
    assert await names(api) == ["s-0", "s-1"]
    await kubelet.set_state(f"{PODS}/s-1", "ready")
    await status_is(api, f"{APPS}/statefulsets/s", readyReplicas=3, currentReplicas=3)
    pod = await api.get(f"{PODS}/s-2")
    assert pod["spec"]["hostname"] == "s-2"
    assert pod["spec"]["subdomain"] == "s"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
    await api.patch(f"{APPS}/statefulsets/s/scale", {"spec": {"replicas": 1}})
    await status_is(api, f"{APPS}/statefulsets/s", replicas=1)
    assert await names(api) == ["s-0"]


async def test_a_killed_stateful_pod_comes_back_under_its_name(api, kubelet):
    await api.post(f"{APPS}/statefulsets", spec("s", replicas=2, podManagementPolicy="Parallel"))
    await status_is(api, f"{APPS}/statefulsets/s", readyReplicas=2)
    before = (await api.get(f"{PODS}/s-1"))["metadata"]["uid"]
    await api.delete(f"{PODS}/s-1", gracePeriodSeconds=0)

    async def again():
        return await api.exists(f"{PODS}/s-1") and (await api.get(f"{PODS}/s-1"))["metadata"]["uid"] != before

    await api.until(again)


async def test_a_stateful_set_rolls_from_the_top_down_to_its_partition(api, kubelet):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await api.post(f"{APPS}/statefulsets", spec("s", replicas=3, updateStrategy=strategy))
    made = await status_is(api, f"{APPS}/statefulsets/s", readyReplicas=3)
    await api.patch(f"{APPS}/statefulsets/s", image("sim:2"))
    rolled = await status_is(api, f"{APPS}/statefulsets/s", readyReplicas=3, updatedReplicas=2)
    images = {row["metadata"]["name"]: row["spec"]["containers"][0]["image"] for row in await api.items(PODS)}
    assert images == {"s-0": "sim:1", "s-1": "sim:2", "s-2": "sim:2"}
    assert rolled["status"]["currentRevision"] == made["status"]["currentRevision"]
    assert rolled["status"]["updateRevision"] != rolled["status"]["currentRevision"]
    assert len(await api.items(f"{APPS}/controllerrevisions")) == 2


async def test_a_daemon_set_is_on_every_node_and_on_new_ones(api, kubelet):
    await api.post(f"{APPS}/daemonsets", spec("d"))
    await status_is(api, f"{APPS}/daemonsets/d", numberReady=2, desiredNumberScheduled=2)
    await kubelet.add_node("node-c")
    await status_is(api, f"{APPS}/daemonsets/d", numberReady=3)
    assert {row["spec"]["nodeName"] for row in await api.items(PODS)} == {"node-a", "node-b", "node-c"}
    await api.patch(f"{APPS}/daemonsets/d", image("sim:2"))
    await status_is(api, f"{APPS}/daemonsets/d", updatedNumberScheduled=3, numberAvailable=3)
    await api.patch("/api/v1/nodes/node-c", {"spec": {"unschedulable": True}})
    await api.patch(f"{APPS}/daemonsets/d", {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}})
    await status_is(api, f"{APPS}/daemonsets/d", desiredNumberScheduled=1, numberReady=1)


def job(name, **more):
    return {
        "metadata": {"name": name},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "sim:1"}]}},
            **more,
        },
    }


async def test_a_job_completes(api, kubelet):
    kubelet.judge = lambda pod: "succeeded"
    await api.post(JOBS, job("j", completions=3, parallelism=2))
    done = await status_is(api, f"{JOBS}/j", succeeded=3)
    assert [row["type"] for row in done["status"]["conditions"]] == ["Complete"]
    assert done["status"]["completionTime"]


async def test_a_job_gives_up_after_its_backoff_limit(api, kubelet):
    kubelet.judge = lambda pod: "failed"
    await api.post(JOBS, job("j", backoffLimit=0))
    done = await status_is(api, f"{JOBS}/j", failed=1)
    assert done["status"]["conditions"][0]["reason"] == "BackoffLimitExceeded"


async def test_an_indexed_job_numbers_its_pods(api, kubelet):
    await api.post(JOBS, job("j", completions=2, parallelism=2, completionMode="Indexed"))
    await status_is(api, f"{JOBS}/j", active=2)
    rows = await api.items(PODS)
    indices = [row["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for row in rows]
    assert sorted(indices) == ["0", "1"]


def group(name, replicas=2, size=2, **more):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "sim:1"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "leaderWorkerTemplate": {"size": size, "workerTemplate": template, **more}},
    }


async def test_a_group_has_a_leader_and_workers_who_know_each_other(api, kubelet):
    await api.post(GROUPS, group("vllm", size=3))
    done = await status_is(api, f"{GROUPS}/vllm", readyReplicas=2, replicas=2, updatedReplicas=2)
    assert {row["type"]: row["status"] for row in done["status"]["conditions"]}["Available"] == "True"
    assert await names(api) == ["vllm-0", "vllm-0-1", "vllm-0-2", "vllm-1", "vllm-1-1", "vllm-1-2"]
    prefix = "leaderworkerset.sigs.k8s.io/"
    worker = await api.get(f"{PODS}/vllm-1-2")
    labels = worker["metadata"]["labels"]
    assert (labels[f"{prefix}group-index"], labels[f"{prefix}worker-index"]) == ("1", "2")
    environment = {row["name"]: row["value"] for row in worker["spec"]["containers"][0]["env"]}
    assert environment == {"LWS_LEADER_ADDRESS": "vllm-1.vllm.default", "LWS_GROUP_SIZE": "3", "LWS_WORKER_INDEX": "2"}
    assert await names(api, labelSelector=f"{prefix}worker-index=0") == ["vllm-0", "vllm-1"]
    assert (await api.get(f"{GROUPS}/vllm/scale"))["status"]["selector"] == f"{prefix}name=vllm,{prefix}worker-index=0"


async def uids(api):
    return {row["metadata"]["name"]: row["metadata"]["uid"] for row in await api.items(PODS)}


@pytest.mark.parametrize("victim", ["vllm-1", "vllm-1-1"], ids=["leader", "worker"])
async def test_one_lost_pod_restarts_its_whole_group_and_no_other(api, kubelet, victim):
    await api.post(GROUPS, group("vllm"))
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2)
    before = await uids(api)
    await api.delete(f"{PODS}/{victim}", gracePeriodSeconds=0)

    async def renewed():
        now = await uids(api)
        return now.keys() == before.keys() and {name for name in now if now[name] != before[name]} == {
            "vllm-1",
            "vllm-1-1",
        }

    await api.until(renewed)
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2)


@pytest.mark.parametrize("late", ["vllm-1", "vllm-1-1"], ids=["leader", "worker"])
async def test_the_end_of_a_former_groups_pod_is_no_loss_of_the_new_group(api, kubelet, plane, late):
    """Found in a cut link's drill: word of the old leader's end came late, and took the new one along."""
    await api.post(GROUPS, group("vllm"))
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2)
    former, before = await api.get(f"{PODS}/{late}"), await uids(api)
    await api.delete(f"{PODS}/vllm-1", gracePeriodSeconds=0)

    async def renewed():
        now = await uids(api)
        return now.keys() == before.keys() and not {now["vllm-1"], now["vllm-1-1"]} & set(before.values())

    await api.until(renewed)
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2)
    now = await uids(api)
    controller = LeaderWorkerSets(plane.registry, Recorder(plane.registry))
    last = Entry(former, 1)
    controller._on_part(Change("DELETED", "pods", last, last))
    controller.reconcile("default", "vllm")
    assert await uids(api) == now
    assert not any("deletionTimestamp" in row["metadata"] for row in await api.items(PODS))


async def test_a_restarted_container_restarts_the_group(api, kubelet):
    await api.post(GROUPS, group("vllm", replicas=1))
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=1)
    before = await uids(api)
    await api.patch(f"{PODS}/vllm-0-1/status", {"status": {"containerStatuses": [{"name": "c", "restartCount": 1}]}})

    async def renewed():
        now = await uids(api)
        return now.keys() == before.keys() and not set(now.values()) & set(before.values())

    await api.until(renewed)


async def test_groups_roll_one_after_the_other(api, kubelet):
    await api.post(GROUPS, group("vllm"))
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2)
    changed = group("vllm")["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    changed["spec"]["containers"][0]["image"] = "sim:2"
    await api.patch(f"{GROUPS}/vllm", {"spec": {"leaderWorkerTemplate": {"workerTemplate": changed}}})

    async def rolled():
        images = {row["spec"]["containers"][0]["image"] for row in await api.items(PODS)}
        return images == {"sim:2"} and len(await names(api)) == 4

    await api.until(rolled)
    await status_is(api, f"{GROUPS}/vllm", readyReplicas=2, updatedReplicas=2)
    await api.delete(f"{GROUPS}/vllm")

    async def empty():
        return not await api.items(PODS) and not await api.items(f"{APPS}/statefulsets")

    await api.until(empty)
