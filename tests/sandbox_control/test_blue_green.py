"""Blue/green Rollouts of Argo's shape: a preview that no user sees, then all users at once, or none."""

import pytest

GROUP = "/apis/argoproj.io/v1alpha1/namespaces/default"
ENGINE = f"{GROUP}/rollouts/engine"
SERVICES = "/api/v1/namespaces/default/services"
HASH = "rollouts-pod-template-hash"


@pytest.fixture
async def make(api, kubelet, make_deployment):
    """Two replicas of a first revision behind the active Service; a later one is first behind the preview's."""
    suite = {"restartPolicy": "Never", "containers": [{"name": "suite", "image": "suite:1"}]}
    job = {"spec": {"backoffLimit": 0, "template": {"spec": suite}}}
    metrics = [{"name": "safety", "provider": {"job": job}}]
    await api.post(f"{GROUP}/analysistemplates", {"metadata": {"name": "well"}, "spec": {"metrics": metrics}})
    for name in ("active", "preview"):
        spec = {"selector": {"app": "engine"}, "ports": [{"port": 80}]}
        await api.post(SERVICES, {"metadata": {"name": name}, "spec": spec})

    async def making(suite_ends, **strategy):
        kubelet.judge = lambda pod: suite_ends if pod["spec"]["containers"][0]["name"] == "suite" else "ready"
        analysis = {"templates": [{"templateName": "well"}]}
        said = {"activeService": "active", "previewService": "preview", "prePromotionAnalysis": analysis}
        made = make_deployment("engine", 2, strategy={"blueGreen": said | strategy})
        await api.post(f"{GROUP}/rollouts", made | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"})
        before = await api.until_it(ENGINE, lambda found: phase(found) == "Healthy")
        container = before["spec"]["template"]["spec"]["containers"][0] | {"image": "sim:2"}
        await api.patch(ENGINE, {"spec": {"template": {"spec": {"containers": [container]}}}})
        return before["status"]["stableRS"]

    return making


def phase(found):
    return found.get("status", {}).get("phase")


async def images(api):
    pods = await api.items("/api/v1/namespaces/default/pods", labelSelector="app=engine")
    return sorted(
        each["spec"]["containers"][0]["image"] for each in pods if "deletionTimestamp" not in each["metadata"]
    )


async def selected(api, service):
    return (await api.get(f"{SERVICES}/{service}"))["spec"]["selector"][HASH]


async def test_a_good_revision_gets_all_users_at_once_and_the_former_stays_for_its_delay(api, make):
    former = await make("succeeded", scaleDownDelaySeconds=3)
    found = await api.until_it(ENGINE, lambda found: found["status"].get("stableRS") != former)
    assert await images(api) == ["sim:1", "sim:1", "sim:2", "sim:2"]
    await api.until_it(ENGINE, lambda found: found["status"]["blueGreen"]["activeSelector"] != former)
    assert await selected(api, "active") == found["status"]["stableRS"]
    await api.until_it(ENGINE, lambda found: phase(found) == "Healthy" and found["status"]["replicas"] == 2)
    assert await images(api) == ["sim:2", "sim:2"]


async def test_a_revision_whose_suite_fails_gets_no_user_and_goes(api, make):
    former = await make("failed", abortScaleDownDelaySeconds=2)
    found = await api.until_it(ENGINE, lambda found: found["status"].get("abort"))
    assert "'safety' assessed Failed" in found["status"]["message"]
    assert found["status"]["blueGreen"]["prePromotionAnalysisRunStatus"]["status"] == "Failed"
    assert await selected(api, "active") == former
    assert await selected(api, "preview") != former
    await api.until_it(ENGINE, lambda found: found["status"]["replicas"] == 2)
    assert await images(api) == ["sim:1", "sim:1"]


async def test_without_auto_promotion_somebody_has_to_say_so(api, make):
    former = await make("succeeded", autoPromotionEnabled=False)
    found = await api.until_it(ENGINE, lambda found: phase(found) == "Paused")
    assert found["status"]["pauseConditions"][0]["reason"] == "BlueGreenPause"
    assert await selected(api, "active") == former
    await api.patch(f"{GROUP}/rollouts/engine/status", {"status": {"pauseConditions": None}})
    await api.until_it(ENGINE, lambda found: found["status"]["blueGreen"]["activeSelector"] != former)
