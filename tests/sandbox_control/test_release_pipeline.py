"""Deployments that ask for a pipeline are undone at their progress deadline, and no others."""

import pytest

from drillbook.sandbox.control.controllers.pipeline import ASKED

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
ENGINE = f"{DEPLOYMENTS}/engine"


@pytest.fixture
async def deployed(api, kubelet, make_deployment):
    """Makes two replicas of a first image, then asks for one that never becomes ready."""

    async def deploy(**annotations):
        made = make_deployment("engine", 2, progressDeadlineSeconds=1)
        made["metadata"]["annotations"] = annotations
        await api.post(DEPLOYMENTS, made)
        await api.until_it(ENGINE, lambda found: found.get("status", {}).get("availableReplicas") == 2)
        kubelet.judge = lambda pod: "ready" if image(pod["spec"]) == "sim:1" else "unready"
        await release(api, "sim:2")

    return deploy


def image(spec):
    return spec["containers"][0]["image"]


async def release(api, name):
    containers = [{"name": "vllm", "image": name}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    await api.patch(ENGINE, body, "application/strategic-merge-patch+json")


def reason(found):
    return next(row["reason"] for row in found["status"]["conditions"] if row["type"] == "Progressing")


def settled(found):
    return image(found["spec"]["template"]["spec"]) == "sim:1" and reason(found) == "NewReplicaSetAvailable"


async def test_a_release_without_progress_is_undone_once_and_the_next_one_again(api, deployed):
    await deployed(**{ASKED: "progress-deadline"})
    found = await api.until_it(ENGINE, settled)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    events = await api.items("/api/v1/namespaces/default/events")
    (undone,) = [row for row in events if row["reason"] == "DeploymentRollback"]
    assert "to revision 1: ProgressDeadlineExceeded" in undone["message"]
    await release(api, "sim:3")
    await api.until_it(ENGINE, lambda found: settled(found) and found["metadata"]["generation"] >= 5)
    pods = await api.items("/api/v1/namespaces/default/pods")
    assert {image(pod["spec"]) for pod in pods if "deletionTimestamp" not in pod["metadata"]} == {"sim:1"}


async def test_a_deployment_that_asks_for_no_pipeline_waits_for_a_person(api, deployed):
    await deployed()
    found = await api.until_it(ENGINE, lambda found: reason(found) == "ProgressDeadlineExceeded")
    assert image(found["spec"]["template"]["spec"]) == "sim:2"
