"""What pods use and what they tell of themselves, as ``kubectl top`` and autoscalers read it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from drillbook import clock
from drillbook.sandbox import images, lifecycle
from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node import metrics
from drillbook.sandbox.node.usage import Meter
from drillbook.targets.kube import Kube

BUSY = "import time\nwhile time.process_time() < 30: pass"
HUNGRY = "import sys, time\nkept = bytearray(64 << 20)\nprint('there', flush=True)\ntime.sleep(60)"


def test_a_busy_process_is_measured_as_about_the_time_that_it_got():
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        meter, seen = Meter(), 0.0
        deadline = clock.monotonic() + 20
        while seen <= 0.05:
            assert clock.monotonic() < deadline, "it never seemed busy"
            asyncio.run(asyncio.sleep(0.3))
            usage = meter.measure({"busy": process.pid})["busy"]
            seen = usage.cpu
        process.kill()
    assert seen < 3  # of one core, on a clock that another process may stop; a wrong unit is off by a hundred
    assert usage.window > 0


def test_memory_counts_what_the_process_has_for_itself():
    with subprocess.Popen([sys.executable, "-c", HUNGRY], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"there\n"
        usage = Meter().measure({"hungry": process.pid})["hungry"]
        process.kill()
    assert 64 << 20 <= usage.memory < 110 << 20


def test_a_process_that_has_ended_is_not_measured():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert Meter().measure({"gone": process.pid}) == {}


def test_metrics_are_summed_over_their_labels_and_found_under_either_name():
    text = '# HELP a b\nvllm:num_requests_waiting{engine="0"} 2.0\nvllm:num_requests_waiting{engine="1"} 3.0\nother 1\n'
    assert metrics.sums(text, {"vllm_num_requests_waiting"}) == {"vllm:num_requests_waiting": 5.0}
    assert metrics.sums("vllm:x NaN\n", {"vllm_x"}) == {}


def test_an_image_without_an_entry_point_runs_its_arguments_alone(tmp_path):
    config = SandboxConfig(
        name="x", engine="sim", state_dir=str(tmp_path), api_port=1, network="10.208.0.0/20", bridged=True
    )
    assert images.resolve(config, "busybox:1.36", [], ["sleep", "60"]).argv == ("sleep", "60")
    assert images.resolve(config, "busybox", [], []).argv == ("sh",)
    assert images.resolve(config, "vllm/vllm-openai:v0.32.0", [], ["m"]).argv == ("vllm", "m")


@pytest.mark.root
async def test_pods_and_nodes_are_measured_and_an_autoscaler_reads_the_engines_own_metric(home):
    sandbox = await lifecycle.up("top", replicas=1, settings={"hpa_sync_period": 1.0})
    scaler = {
        "metadata": {"name": "engines"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "vllm-tiny-llama-deployment-vllm",
            },
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "vllm:num_requests_waiting"},
                        "target": {"type": "AverageValue", "averageValue": "5"},
                    },
                }
            ],
        },
    }
    path = f"/apis/autoscaling/v2/namespaces/{sandbox.namespace}/horizontalpodautoscalers"
    try:
        async with await Kube.from_kubeconfig(sandbox.kubeconfig) as kube:
            await kube.create(path, scaler)
            deadline = clock.monotonic() + 30
            while True:
                rows = await kube.list(f"/apis/metrics.k8s.io/v1beta1/namespaces/{sandbox.namespace}/pods")
                conditions = (await kube.get(f"{path}/engines")).get("status", {}).get("conditions") or []
                reasons = {row["type"]: row["reason"] for row in conditions}
                if len(rows) == 2 and reasons.get("ScalingActive") == "ValidMetricFound":
                    break
                assert clock.monotonic() < deadline, (len(rows), reasons)
                await asyncio.sleep(0.1)
            nodes = await kube.list("/apis/metrics.k8s.io/v1beta1/nodes")
    finally:
        await lifecycle.down("top")
    assert {node["metadata"]["name"] for node in nodes} == {"gpu-node-a", "gpu-node-b"}
    assert all(int(row["containers"][0]["usage"]["memory"].removesuffix("Ki")) > 1024 for row in rows)
