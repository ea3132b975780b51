"""Rollouts of Argo's shape: promoted step by step, or taken back by their analysis or their deadline."""

import pytest
from aiohttp import web

GROUP = "/apis/argoproj.io/v1alpha1/namespaces/default"
ROLLOUTS, RUNS = f"{GROUP}/rollouts", f"{GROUP}/analysisruns"
PODS = "/api/v1/namespaces/default/pods"
HASH = "rollouts-pod-template-hash"


@pytest.fixture
async def answer():
    """What the revision under analysis answers, to be changed by a test, and where it is asked."""
    said = {"text": "right"}

    async def tell(request):
        return web.json_response(said)

    app = web.Application()
    app.router.add_get("/", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    said["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield said
    await runner.cleanup()


@pytest.fixture
async def rollout(api, kubelet, make_deployment, answer):
    """Two replicas of a first revision, all of them stable; a later one gets half, then an analysis."""
    metric = {
        "name": "answer",
        "successCondition": "result == 'right'",
        "provider": {"web": {"url": answer["url"], "jsonPath": "{$.text}"}},
    }
    await api.post(f"{GROUP}/analysistemplates", {"metadata": {"name": "well"}, "spec": {"metrics": [metric]}})
    service = {"metadata": {"name": "canary"}, "spec": {"selector": {"app": "engine"}, "ports": [{"port": 80}]}}
    await api.post("/api/v1/namespaces/default/services", service)
    canary = {
        "canaryService": "canary",
        "steps": [
            {"setWeight": 50},
            {"pause": {"duration": 1}},
            {"analysis": {"templates": [{"templateName": "well"}]}},
        ],
    }
    made = make_deployment("engine", 2, strategy={"canary": canary}, progressDeadlineAbort=True)
    made |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    await api.post(ROLLOUTS, made)
    return await phase(api, "Healthy", revision="1")


async def phase(api, wanted, revision):
    def test(found):
        notes = found["metadata"].get("annotations", {})
        seen = found.get("status", {}).get("phase")
        return notes.get("rollout.argoproj.io/revision") == revision and seen == wanted

    return await api.until_it(f"{ROLLOUTS}/engine", test)


async def release(api, image, **spec):
    before = await api.get(f"{ROLLOUTS}/engine")
    container = before["spec"]["template"]["spec"]["containers"][0] | {"image": image}
    await api.patch(f"{ROLLOUTS}/engine", {"spec": {"template": {"spec": {"containers": [container]}}, **spec}})


async def images(api):
    rows = await api.items(PODS)
    return sorted(pod["spec"]["containers"][0]["image"] for pod in rows if "deletionTimestamp" not in pod["metadata"])


async def only(api, image):
    async def test():
        return await images(api) == [image, image]

    await api.until(test)


async def test_the_first_revision_is_stable_without_any_step(api, rollout):
    assert rollout["status"]["stableRS"] == rollout["status"]["currentPodHash"]
    assert await images(api) == ["sim:1", "sim:1"]
    assert await api.items(RUNS) == []


async def test_a_good_revision_gets_half_then_all(api, rollout):
    await release(api, "sim:2")
    await phase(api, "Paused", revision="2")
    assert await images(api) == ["sim:1", "sim:2"]
    done = await phase(api, "Healthy", revision="2")
    assert done["status"]["stableRS"] != rollout["status"]["stableRS"]
    await only(api, "sim:2")
    (run,) = await api.items(RUNS)
    assert run["status"]["phase"] == "Successful"
    service = await api.get("/api/v1/namespaces/default/services/canary")
    assert service["spec"]["selector"][HASH] == done["status"]["stableRS"]


async def test_an_analysis_that_fails_takes_the_revision_back(api, rollout, answer):
    answer["text"] = "wrong"
    await release(api, "sim:2")
    found = await phase(api, "Degraded", revision="2")
    assert found["status"]["abort"] is True
    assert "'answer' assessed Failed: the last value was wrong" in found["status"]["message"]
    assert found["status"]["stableRS"] == rollout["status"]["stableRS"]
    await only(api, "sim:1")
    await release(api, "sim:1")
    back = await phase(api, "Healthy", revision="3")
    assert "abort" not in back["status"]
    assert len(await api.items(RUNS)) == 1


async def test_a_revision_that_never_starts_is_taken_back_at_the_deadline(api, kubelet, rollout):
    kubelet.judge = lambda pod: "unready"
    await release(api, "sim:2", progressDeadlineSeconds=1)
    found = await phase(api, "Degraded", revision="2")
    (progress,) = found["status"]["conditions"]
    assert (progress["status"], progress["reason"]) == ("False", "ProgressDeadlineExceeded")
    await only(api, "sim:1")


async def test_a_deadline_that_may_not_abort_only_tells(api, kubelet, rollout):
    kubelet.judge = lambda pod: "unready"
    await release(api, "sim:2", progressDeadlineSeconds=1, progressDeadlineAbort=False)
    found = await phase(api, "Degraded", revision="2")
    assert "abort" not in found["status"]
    assert await images(api) == ["sim:1", "sim:1", "sim:2"]


@pytest.fixture
async def suite(api, kubelet, rollout):
    """The analysis is a safety suite, run as a Job; the given function says how its pod ends."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "suite", "image": "suite:{{args.what}}"}]}}
    job = {"metadata": {"labels": {"suite": "safety"}}, "spec": {"backoffLimit": 0, "template": template}}
    spec = {"args": [{"name": "what", "value": "v1"}], "metrics": [{"name": "safety", "provider": {"job": job}}]}
    await api.patch(f"{GROUP}/analysistemplates/well", {"spec": spec})

    def ends(how):
        kubelet.judge = lambda pod: how if pod["spec"]["containers"][0]["name"] == "suite" else "ready"

    return ends


async def test_a_rollout_whose_safety_suite_passes_is_promoted(api, suite):
    suite("succeeded")
    await release(api, "sim:2")
    await phase(api, "Healthy", revision="2")
    (run,) = await api.items(RUNS)
    (job,) = await api.items("/apis/batch/v1/namespaces/default/jobs")
    assert run["status"]["phase"] == "Successful"
    assert job["metadata"]["labels"] == {"suite": "safety"}
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "suite:v1"


async def test_a_rollout_whose_safety_suite_fails_is_blocked(api, suite):
    suite("failed")
    await release(api, "sim:2")
    found = await phase(api, "Degraded", revision="2")
    assert found["status"]["abort"] is True
    assert "'safety' assessed Failed: Job engine-" in found["status"]["message"]
    await only_engines(api, "sim:1")


async def test_a_suite_that_is_deleted_while_it_runs_has_proven_nothing(api, suite):
    suite("unready")
    await release(api, "sim:2")

    async def jobs():
        return await api.items("/apis/batch/v1/namespaces/default/jobs")

    (job,) = await api.until(jobs)
    await api.delete(f"/apis/batch/v1/namespaces/default/jobs/{job['metadata']['name']}")

    async def measured():
        (run,) = await api.items(RUNS)
        results = run.get("status", {}).get("metricResults")
        return results and results[0]["measurements"][0]

    first = await api.until(measured)
    assert (first["phase"], first["message"]) == ("Error", "the Job was deleted")


async def only_engines(api, image):
    async def test():
        rows = await api.items(PODS, labelSelector="app=engine")
        return [pod["spec"]["containers"][0]["image"] for pod in rows] == [image, image]

    await api.until(test)
