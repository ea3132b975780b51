"""Deployments and StatefulSets healing, scaling and rolling, and the budgets that hold evictions back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stage import DEFIES, Json, Seen, Stage, condition, is_complete, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")

APPS = "apps/v1"
REVISION = "deployment.kubernetes.io/revision"


def counts(told: list[Seen], app: str) -> list[int]:
    """After each event: how many pods of the app are ready and not ending."""
    alive: dict[str, bool] = {}
    result = []
    for seen in told:
        pod = seen.obj
        if pod["metadata"]["labels"].get("app") != app:
            continue
        if seen.type == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            alive.pop(pod["metadata"]["uid"], None)
        else:
            rows = pod["status"].get("conditions") or []
            alive[pod["metadata"]["uid"]] = any(row["type"] == "Ready" and row["status"] == "True" for row in rows)
        result.append(sum(alive.values()))
    return result


def asked_for(stage: Stage, app: str) -> list[int]:
    """After each event: how many replicas all ReplicaSets of the app were asked for.

    Pods may for a moment be more: the set that grows does not wait for the one that shrinks to have deleted its own.
    """
    replicas: dict[str, int] = {}
    result = []
    for seen in stage.stories["replicasets"].seen:
        if seen.obj["metadata"]["labels"].get("app") == app:
            replicas[seen.name] = seen.obj["spec"]["replicas"]
            result.append(sum(replicas.values()))
    return result


def of_app(stage: Stage, app: str) -> list[Seen]:
    return [seen for seen in stage.pods.seen if seen.obj["metadata"]["labels"].get("app") == app]


async def sets_of(stage: Stage, name: str) -> dict[str, Json]:
    """A Deployment's ReplicaSets by revision."""
    found = await stage.kube.list(stage.path("replicasets", api=APPS), labels=f"app={name}")
    return {one["metadata"]["annotations"][REVISION]: one for one in found}


async def settled(stage: Stage, name: str, generation: int) -> Json:
    """The Deployment once this generation of it is complete."""
    seen = await stage.stories["deployments"].until(
        lambda one: one.name == name and one.obj["metadata"]["generation"] >= generation and is_complete(one.obj)
    )
    return seen.obj


async def change(stage: Stage, name: str, spec: Json) -> int:
    """Patch a Deployment's spec; its new generation."""
    path = stage.path("deployments", name, APPS)
    return (await stage.kube.patch(path, {"spec": spec}, "strategic"))["metadata"]["generation"]


def with_env(value: str) -> Json:
    return {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "V", "value": value}]}]}}}


async def healing(stage: Stage) -> dict[str, list[Seen]]:
    """One pod of each of two Deployments is deleted, one with its grace and one by force."""
    result = {}
    for name, grace in (("heals", None), ("heals-forced", 0)):
        await stage.deploy(name, 2, DEFIES)
        await stage.available(name)
        before = of_app(stage, name)
        victim = before[-1].name
        await stage.kube.delete(stage.path("pods", victim), grace=grace)
        known = {seen.name for seen in before}
        new = await stage.pods.until(
            lambda one, name=name, known=known: one.obj["metadata"]["labels"].get("app") == name
            and one.name not in known and is_ready(one.obj))  # fmt: skip
        gone = await stage.pods.until(
            lambda one, victim=victim: one.name == victim and one.type == "DELETED", within=40
        )
        marked = next(seen for seen in stage.pods.of(victim) if seen.obj["metadata"].get("deletionTimestamp"))
        result[name] = [marked, stage.pods.of(new.name)[0], new, gone]
    return result


@pytest.mark.parametrize("told", [healing], indirect=True)
class TestHealing:
    async def test_a_replacement_is_made_when_a_pod_is_marked_not_when_it_is_gone(self, told):
        marked, made, _, gone = told["heals"]
        assert made.type == "ADDED"
        assert marked.at < made.at < gone.at

    async def test_a_forced_deletion_is_healed_as_fast(self, told):
        marked, made, ready, gone = told["heals-forced"]
        assert marked.at <= gone.at <= ready.at
        assert 0 < made.at - marked.at < 15

    async def test_a_replacement_bears_a_name_of_its_set_and_is_owned_by_it(self, stage, told):
        made = told["heals"][1].obj
        owner = made["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ReplicaSet", True, True)
        assert made["metadata"]["generateName"] == f"{owner['name']}-"
        assert owner["name"] == f"heals-{made['metadata']['labels']['pod-template-hash']}"


def is_empty(seen: Seen) -> bool:
    status = seen.obj["status"]
    observed = status["observedGeneration"] >= seen.obj["metadata"]["generation"]
    return seen.name == "scales" and seen.obj["spec"]["replicas"] == 0 and observed and not status.get("replicas")


async def scaling(stage: Stage) -> list[Json]:
    await stage.deploy("scales", 1)
    await stage.available("scales")
    result = []
    for replicas in (3, 0):
        generation = await change(stage, "scales", {"replicas": replicas})
        if replicas:
            result.append(await settled(stage, "scales", generation))
        else:
            result.append((await stage.stories["deployments"].until(is_empty)).obj)
    return result


@pytest.mark.parametrize("told", [scaling], indirect=True)
async def test_scale_up_and_down_change_pods_not_revisions(stage, told):
    up, down = told
    assert up["status"]["readyReplicas"] == 3
    assert "readyReplicas" not in down["status"]
    assert {one["metadata"]["annotations"][REVISION] for one in told} == {"1"}
    assert len(await sets_of(stage, "scales")) == 1
    events = await stage.reasons("scales", "ScalingReplicaSet")
    assert events[0]["message"].startswith("Scaled up replica set scales-")


async def rolling(stage: Stage) -> dict[str, Any]:
    """A rollout with surge, one without, and the first one undone."""
    for name, surge, unavailable in (("surges", 1, 0), ("makes-room", 0, 1)):
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
        await stage.deploy(name, 2, strategy=strategy)
    result: dict[str, Any] = {}
    for name in ("surges", "makes-room"):
        await stage.available(name)
        since = len(stage.pods.seen)
        result[f"{name}-first"] = await sets_of(stage, name)
        result[name] = await settled(stage, name, await change(stage, name, with_env("2")))
        result[f"{name}-pods"] = counts(stage.pods.seen, name)[len(counts(stage.pods.seen[:since], name)) :]
        result[f"{name}-asked"] = asked_for(stage, name)
        result[f"{name}-sets"] = await sets_of(stage, name)
    remove = {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "V", "$patch": "delete"}]}]}}}
    result["undone"] = await settled(stage, "surges", await change(stage, "surges", remove))
    result["undone-sets"] = await sets_of(stage, "surges")
    return result


@pytest.mark.parametrize("told", [rolling], indirect=True)
class TestRollouts:
    async def test_with_surge_there_is_one_more_and_never_one_less(self, told):
        assert max(told["surges-asked"]) == 3
        assert min(told["surges-pods"]) >= 2

    async def test_without_surge_there_is_one_less_and_never_one_more(self, told):
        assert max(told["makes-room-asked"]) == 2
        assert min(told["makes-room-pods"]) == 1

    async def test_each_template_has_a_set_and_each_rollout_a_revision(self, told):
        first, after = told["surges-first"], told["surges-sets"]
        assert set(first) == {"1"}
        assert set(after) == {"1", "2"}
        assert after["1"]["metadata"]["uid"] == first["1"]["metadata"]["uid"]
        assert [after[revision]["spec"]["replicas"] for revision in ("1", "2")] == [0, 2]
        assert told["surges"]["metadata"]["annotations"][REVISION] == "2"

    async def test_a_finished_rollout_says_so(self, told):
        progressing = condition(told["surges"], "Progressing")
        assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")
        name = told["surges-sets"]["2"]["metadata"]["name"]
        assert progressing["message"] == f'ReplicaSet "{name}" has successfully progressed.'
        available = condition(told["surges"], "Available")
        assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")

    async def test_the_old_template_brings_back_its_set_under_a_new_revision(self, told):
        after = told["undone-sets"]
        assert set(after) == {"2", "3"}
        assert after["3"]["metadata"]["uid"] == told["surges-first"]["1"]["metadata"]["uid"]
        assert after["3"]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert told["undone"]["metadata"]["annotations"][REVISION] == "3"


async def stuck(stage: Stage) -> Seen:
    never = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    await stage.deploy("stuck", 1, container=never, progressDeadlineSeconds=2)
    return await stage.stories["deployments"].until(
        lambda one: one.name == "stuck" and condition(one.obj, "Progressing")["status"] == "False"
    )


@pytest.mark.parametrize("told", [stuck], indirect=True)
async def test_a_rollout_without_progress_is_called_so_at_its_deadline(told):
    progressing = condition(told.obj, "Progressing")
    assert progressing["reason"] == "ProgressDeadlineExceeded"
    assert progressing["message"].startswith('ReplicaSet "stuck-')
    assert progressing["message"].endswith('" has timed out progressing.')
    available = condition(told.obj, "Available")
    assert (available["status"], available["reason"]) == ("False", "MinimumReplicasUnavailable")
    assert told.obj["status"]["unavailableReplicas"] == 1


async def paused(stage: Stage) -> dict[str, Any]:
    await stage.deploy("pauses", 1)
    await stage.available("pauses")
    generation = await change(stage, "pauses", {"paused": True, **with_env("2")})
    seen = await stage.stories["deployments"].until(
        lambda one: one.name == "pauses" and one.obj["status"]["observedGeneration"] >= generation
        and condition(one.obj, "Progressing")["reason"] == "DeploymentPaused")  # fmt: skip
    sets = await sets_of(stage, "pauses")
    done = await settled(stage, "pauses", await change(stage, "pauses", {"paused": None}))
    return {"paused": seen.obj, "sets": sets, "done": done}


@pytest.mark.parametrize("told", [paused], indirect=True)
async def test_a_paused_deployment_rolls_out_nothing_until_it_is_resumed(told):
    assert condition(told["paused"], "Progressing")["status"] == "Unknown"
    assert set(told["sets"]) == {"1"}
    assert told["done"]["metadata"]["annotations"][REVISION] == "2"


async def removed(stage: Stage) -> tuple[int, dict[str, Json]]:
    await stage.deploy("removed", 1)
    await stage.available("removed")
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    code, _ = await stage.status_of("DELETE", stage.path("deployments", "removed", APPS), body)
    async with asyncio.timeout(40):
        while await stage.kube.list(stage.path("pods"), labels="app=removed"):
            await asyncio.sleep(0.1)
    return code, await sets_of(stage, "removed")


@pytest.mark.parametrize("told", [removed], indirect=True)
async def test_a_deployment_takes_its_sets_and_pods_along(told):
    code, sets = told
    assert code == 200
    assert not sets


async def budgeted(stage: Stage) -> dict[str, Any]:
    api = await stage.serves("policy/v1", "policy/v1beta1")
    await stage.deploy("guarded", 2)
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "guarded"}}}
    await stage.create("poddisruptionbudgets", {"metadata": {"name": "guarded"}, "spec": spec}, api)
    await stage.available("guarded")
    path = stage.path("poddisruptionbudgets", "guarded", api)

    async def allowed(number: int) -> Json:
        async with asyncio.timeout(40):
            while True:
                status = (await stage.kube.get(path)).get("status") or {}
                if status.get("currentHealthy") == 2 and status["disruptionsAllowed"] == number:
                    return status
                await asyncio.sleep(0.1)

    async def evict(name: str) -> tuple[int, Json]:
        body = {"apiVersion": api, "kind": "Eviction", "metadata": {"name": name, "namespace": stage.namespace}}
        return await stage.status_of("POST", stage.path("pods", name) + "/eviction", body)

    names = sorted({seen.name for seen in of_app(stage, "guarded")})
    result: dict[str, Any] = {"full": await allowed(0), "refused": await evict(names[0])}
    await stage.kube.patch(path, {"spec": {"minAvailable": 1}})
    result["loose"] = await allowed(1)
    result["evicted"] = await evict(names[0])
    result["again"] = await evict(names[1])
    result["pod"] = await stage.pods.until(
        lambda one: one.name == names[0] and one.obj["metadata"].get("deletionTimestamp")
    )
    return result


@pytest.mark.parametrize("told", [budgeted], indirect=True)
class TestBudgets:
    async def test_an_eviction_against_its_budget_is_told_to_come_again(self, told):
        code, status = told["refused"]
        assert (code, status["reason"]) == (429, "TooManyRequests")
        assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
        (cause,) = status["details"]["causes"]
        assert cause["reason"] == "DisruptionBudget"
        assert cause["message"] == "The disruption budget guarded needs 2 healthy pods and has 2 currently"

    async def test_a_budget_counts_and_an_eviction_within_it_deletes_with_grace(self, told):
        assert (told["full"]["desiredHealthy"], told["full"]["expectedPods"]) == (2, 2)
        assert (told["loose"]["desiredHealthy"], told["loose"]["disruptionsAllowed"]) == (1, 1)
        code, status = told["evicted"]
        assert (code, status["status"]) == (201, "Success")
        assert told["pod"].obj["metadata"]["deletionGracePeriodSeconds"] == 2

    async def test_the_next_eviction_has_to_wait_for_the_replacement(self, told):
        assert told["again"][0] == 429


async def numbered(stage: Stage) -> dict[str, Any]:
    labels = {"app": "numbered"}
    template = {"metadata": {"labels": labels}, "spec": stage.pod_spec(stage.container(DEFIES))}
    spec = {"serviceName": "numbered", "replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await stage.create("statefulsets", {"metadata": {"name": "numbered"}, "spec": spec}, APPS)
    await stage.ready("numbered-1")
    before = of_app(stage, "numbered")
    await stage.kube.delete(stage.path("pods", "numbered-0"))
    uid = stage.pods.of("numbered-0")[0].obj["metadata"]["uid"]
    again = await stage.pods.until(
        lambda one: one.name == "numbered-0" and one.type == "ADDED" and one.obj["metadata"]["uid"] != uid, within=40
    )
    gone = next(seen for seen in stage.pods.of("numbered-0") if seen.type == "DELETED")
    return {"before": before, "again": again, "gone": gone}


@pytest.mark.parametrize("told", [numbered], indirect=True)
async def test_a_stateful_set_keeps_order_and_names_and_waits_for_the_end_of_the_pod_before(told):
    ready = next(place for place, seen in enumerate(told["before"]) if seen.name == "numbered-0"
                 and any(row["type"] == "Ready" and row["status"] == "True"
                         for row in seen.obj["status"].get("conditions") or []))  # fmt: skip
    second = next(place for place, seen in enumerate(told["before"]) if seen.name == "numbered-1")
    assert ready < second
    assert told["gone"].at <= told["again"].at
    assert told["again"].obj["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "numbered-0"


async def test_an_autoscaler_is_stored_with_its_defaults(stage):
    api = await stage.serves("autoscaling/v2", "autoscaling/v1")
    target = {"apiVersion": APPS, "kind": "Deployment", "name": "nobody"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target}
    made = await stage.create("horizontalpodautoscalers", {"metadata": {"name": "scaler"}, "spec": spec}, api)
    assert made["spec"]["minReplicas"] == 1
    assert made["apiVersion"] == api
