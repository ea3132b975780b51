"""The autoscaler's documented behaviour, from measurements written through the API."""

import pytest

from drillbook.sandbox.control.settings import Settings

HPAS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def settings():
    return Settings(node_monitor_grace_period=3600, hpa_sync_period=0.05, hpa_downscale_stabilization=1)


def hpa(metric, **more):
    return {
        "metadata": {"name": "engine"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"},
            "minReplicas": 1,
            "maxReplicas": 6,
            "metrics": [metric],
            **more,
        },
    }


WAITING = {
    "type": "Pods",
    "pods": {"metric": {"name": "vllm_num_requests_waiting"}, "target": {"type": "AverageValue", "averageValue": "5"}},
}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


async def engines(api, make_deployment, replicas):
    wanted = make_deployment("engine", replicas=replicas)
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    await api.post(DEPLOYMENTS, wanted)

    async def ready():
        return (await api.get(f"{DEPLOYMENTS}/engine"))["status"].get("readyReplicas") == replicas

    await api.until(ready)


async def measure(api, **measured):
    """Write the same measurements for every pod there is now."""
    for pod in await api.items(PODS):
        name = pod["metadata"]["name"]
        body = {
            "metadata": {"name": name, "labels": pod["metadata"]["labels"]},
            "window": "10s",
            "timestamp": "2026-01-01T00:00:00Z",
            "containers": [],
            **measured,
        }
        if await api.exists(f"{METRICS}/{name}"):
            await api.put(f"{METRICS}/{name}", body)
        else:
            await api.post(METRICS, body)


async def conditions_are(api, **wanted):
    async def test():
        rows = (await api.get(f"{HPAS}/engine")).get("status", {}).get("conditions", [])
        found = {row["type"]: row["reason"] for row in rows}
        return wanted.items() <= found.items()

    await api.until(test)


async def replicas_are(api, count, seconds=60):
    async def test():
        return (await api.get(f"{DEPLOYMENTS}/engine"))["spec"]["replicas"] == count

    await api.until(test, seconds)


async def test_a_queue_scales_the_engines_up_and_then_down_after_the_window(api, kubelet, make_deployment):
    await engines(api, make_deployment, 2)
    await measure(api, custom={"vllm:num_requests_waiting": "10"})
    await api.post(HPAS, hpa(WAITING))
    await replicas_are(api, 4)
    await conditions_are(api, ScalingActive="ValidMetricFound")
    await measure(api, custom={"vllm:num_requests_waiting": "1"})
    await conditions_are(api, AbleToScale="ScaleDownStabilized")
    assert (await api.get(f"{DEPLOYMENTS}/engine"))["spec"]["replicas"] == 4
    await replicas_are(api, 1)
    reasons = {row["reason"] for row in await api.items("/api/v1/namespaces/default/events")}
    assert "SuccessfulRescale" in reasons


async def test_cpu_within_the_tolerance_scales_nothing(api, kubelet, make_deployment):
    await engines(api, make_deployment, 2)
    await measure(api, containers=[{"name": "vllm", "usage": {"cpu": "530m"}}])
    await api.post(HPAS, hpa(CPU))
    await conditions_are(
        api, ScalingActive="ValidMetricFound", AbleToScale="ReadyForNewScale", ScalingLimited="DesiredWithinRange"
    )
    status = (await api.get(f"{HPAS}/engine"))["status"]
    assert status["currentMetrics"][0]["resource"]["current"] == {"averageValue": "530m", "averageUtilization": 53}
    assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 2)


async def test_a_missing_metric_stops_scaling_and_says_which(api, kubelet, make_deployment):
    await engines(api, make_deployment, 2)
    await api.post(HPAS, hpa(WAITING))
    await conditions_are(api, AbleToScale="SucceededGetScale", ScalingActive="FailedGetPodsMetric")
    assert (await api.get(f"{DEPLOYMENTS}/engine"))["spec"]["replicas"] == 2
    reasons = {row["reason"] for row in await api.items("/api/v1/namespaces/default/events")}
    assert {"FailedGetPodsMetric", "FailedComputeMetricsReplicas"} <= reasons


async def test_the_maximum_is_the_limit_and_said_to_be(api, kubelet, make_deployment):
    await engines(api, make_deployment, 4)
    await measure(api, custom={"vllm:num_requests_waiting": "100"})
    await api.post(HPAS, hpa(WAITING))
    await replicas_are(api, 6)
    await conditions_are(api, ScalingLimited="TooManyReplicas")


async def test_a_policy_slows_the_way_up(api, kubelet, make_deployment):
    await engines(api, make_deployment, 1)
    await measure(api, custom={"vllm:num_requests_waiting": "100"})
    slow = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    await api.post(HPAS, hpa(WAITING, behavior=slow))
    await replicas_are(api, 2)
    await conditions_are(api, ScalingLimited="ScaleUpLimit")
    assert (await api.get(f"{DEPLOYMENTS}/engine"))["spec"]["replicas"] == 2


async def test_an_external_metric_is_summed_over_the_namespace(api, kubelet, make_deployment):
    await engines(api, make_deployment, 2)
    await measure(api, custom={"queue": "30"})
    await api.post(
        HPAS,
        hpa(
            {
                "type": "External",
                "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "20"}},
            }
        ),
    )
    await replicas_are(api, 3)


async def test_a_target_that_is_not_there_is_told(api):
    await api.post(HPAS, hpa(CPU))
    await conditions_are(api, AbleToScale="FailedGetScale")


async def test_at_zero_replicas_scaling_is_disabled(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=0))
    await api.post(HPAS, hpa(CPU))
    await conditions_are(api, ScalingActive="ScalingDisabled")
