"""kubectl believes it: the everyday commands, against the control plane over HTTP."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import WSMsgType, web

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine, labels: {app: engine}}
spec:
  replicas: 3
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      containers:
      - name: vllm
        image: sim:1
        ports: [{containerPort: 8000, name: http}]
        resources: {limits: {nvidia.com/gpu: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: engine}
spec: {selector: {app: engine}, ports: [{port: 80, targetPort: http}]}
"""


@pytest.fixture
async def engine(kubectl, kubelet):
    """The manifest, applied and rolled out."""
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert out.splitlines() == ["deployment.apps/engine created", "service/engine created"]
    await kubectl("rollout", "status", "deploy/engine", "--timeout=60s")


async def test_apply_get_describe_diff_and_delete(kubectl, engine):
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=MANIFEST)
    row = (await kubectl("get", "deploy", "engine", "-o", "wide", "--no-headers")).split()
    assert row[:4] == ["engine", "3/3", "3", "3"]
    assert row[5:] == ["vllm", "sim:1", "app=engine"]
    rows = (await kubectl("get", "pods", "--no-headers")).splitlines()
    assert [line.split()[1:4] for line in rows] == [["1/1", "Running", "0"]] * 3 or all(
        line.split()[2] == "Running" for line in rows
    )
    assert (await kubectl("get", "deploy", "engine", "-o", "jsonpath={.status.readyReplicas}")) == "3"
    described = await kubectl("describe", "deploy", "engine")
    assert "3 desired | 3 updated | 3 total | 3 available" in described
    assert "Scaled up replica set" in described
    assert "Endpoints:" in await kubectl("describe", "service", "engine")
    assert "nvidia.com/gpu" in await kubectl("describe", "node", "node-a")
    changed = MANIFEST.replace("sim:1", "sim:2")
    difference = await kubectl("diff", "-f", "-", stdin=changed, code=1)
    assert "-      - image: sim:1" in difference
    assert "+      - image: sim:2" in difference
    assert "configured" in await kubectl("apply", "-f", "-", stdin=changed)
    await kubectl("delete", "deploy,service", "engine", "--timeout=60s")
    assert "No resources found" in await kubectl("get", "deploy")


async def test_server_side_apply_and_its_conflict(kubectl, engine):
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
    await kubectl("scale", "deploy/engine", "--replicas=2")
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST, code=1)
    assert ".spec.replicas" in out


async def test_rollouts_are_restarted_undone_paused_and_told(kubectl, engine):
    await kubectl("rollout", "restart", "deploy/engine")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deploy/engine", "--timeout=60s")
    await kubectl("set", "image", "deploy/engine", "vllm=sim:2")
    await kubectl("rollout", "status", "deploy/engine", "--timeout=60s")
    history = await kubectl("rollout", "history", "deploy/engine")
    assert [line.split()[0] for line in history.splitlines()[2:5]] == ["1", "2", "3"]
    await kubectl("rollout", "undo", "deploy/engine", "--to-revision=1")
    await kubectl("rollout", "status", "deploy/engine", "--timeout=60s")
    assert (await kubectl("get", "deploy", "engine", "-o", "jsonpath={..image}")) == "sim:1"
    await kubectl("rollout", "pause", "deploy/engine")
    assert "paused" in await kubectl("rollout", "restart", "deploy/engine", code=1)
    await kubectl("rollout", "resume", "deploy/engine")


async def test_scale_wait_and_autoscale(kubectl, engine):
    await kubectl("scale", "deploy/engine", "--replicas=5", "--current-replicas=3")
    await kubectl("wait", "deploy/engine", "--for=jsonpath={.status.readyReplicas}=5", "--timeout=60s")
    await kubectl("wait", "pods", "-l", "app=engine", "--for=condition=Ready", "--timeout=60s")
    await kubectl("autoscale", "deploy/engine", "--min=1", "--max=7", "--cpu-percent=50")
    assert "Deployment/engine" in await kubectl("get", "hpa", "engine")
    assert "FailedGetResourceMetric" in await kubectl("describe", "hpa", "engine")


async def test_a_gpu_too_many_is_told_in_the_schedulers_words(kubectl, engine):
    await kubectl("scale", "deploy/engine", "--replicas=9")

    async def told():
        return "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." in await kubectl(
            "get", "events", "--field-selector", "reason=FailedScheduling"
        )

    for _ in range(50):
        if await told():
            break
    assert await told()
    assert "FailedScheduling" in await kubectl("events", "--types=Warning")
    pending = await kubectl("get", "pods", "--field-selector=status.phase=Pending", "--no-headers")
    assert len(pending.splitlines()) == 1


async def test_a_node_is_cordoned_drained_and_uncordoned(kubectl, engine):
    await kubectl("drain", "node-a", "--ignore-daemonsets", "--timeout=60s")
    assert "Ready,SchedulingDisabled" in await kubectl("get", "node", "node-a")
    assert "node-a" not in await kubectl("get", "pods", "-o", "wide")
    await kubectl("uncordon", "node-a")
    assert "SchedulingDisabled" not in await kubectl("get", "nodes")


async def test_a_watch_prints_rows_as_they_change(kubectl, engine):
    async with kubectl.following("get", "deploy", "-w") as rows:
        async with asyncio.timeout(60):
            while (await rows())[:2] != ["engine", "3/3"]:
                pass
            await kubectl("scale", "deploy/engine", "--replicas=4")
            while (await rows())[:2] != ["engine", "4/4"]:
                pass


async def test_permissions_are_asked_for_and_taken_away(kubectl, api):
    assert await kubectl("auth", "can-i", "delete", "pods") == "yes\n"
    rules = json.dumps([{"verbs": ["delete"], "resources": ["pods"]}])
    await kubectl("create", "configmap", "sandbox-permissions", "-n", "kube-system", f"--from-literal=denied={rules}")
    assert "no" in await kubectl("auth", "can-i", "delete", "pods", code=1)
    out = await kubectl("delete", "pod", "any", code=1)
    assert 'pods "any" is forbidden: User "sandbox-admin" cannot delete resource "pods"' in out
    assert await kubectl("auth", "can-i", "delete", "pods", "--as=system:admin") == "yes\n"
    assert "sandbox-admin" in await kubectl("auth", "whoami")


async def test_things_are_created_from_the_command_line(kubectl, kubelet):
    await kubectl("create", "namespace", "llm")
    await kubectl("create", "deployment", "web", "-n", "llm", "--image=sim:1", "--replicas=2", "--port=8000")
    await kubectl("rollout", "status", "deploy/web", "-n", "llm", "--timeout=60s")
    await kubectl("create", "secret", "generic", "s", "-n", "llm", "--from-literal=token=abc")
    assert await kubectl("get", "secret", "s", "-n", "llm", "-o", "jsonpath={.data.token}") == "YWJj"
    await kubectl("create", "serviceaccount", "robot", "-n", "llm")
    await kubectl("create", "job", "once", "-n", "llm", "--image=sim:1", "--", "true")
    await kubectl("expose", "deploy/web", "-n", "llm", "--port=80", "--target-port=8000")
    await kubectl("label", "ns", "llm", "team=serving")
    await kubectl("annotate", "deploy/web", "-n", "llm", "note=x")
    await kubectl("taint", "node", "node-a", "gpu=broken:NoSchedule")
    await kubectl("run", "lonely", "-n", "llm", "--image=sim:1")
    await kubectl("delete", "ns", "llm", "--timeout=60s")
    assert "NotFound" in await kubectl("get", "ns", "llm", code=1)


async def test_names_of_kinds_are_discovered(kubectl):
    listed = await kubectl("api-resources")
    for word in ("deployments", "hpa", "leaderworkersets", "lws", "endpointslices", "pdb"):
        assert word in listed
    assert "v1.32.4+drillbook" in await kubectl("version")


async def test_usage_is_printed_where_it_is_measured(kubectl, api, kubelet):
    await api.post(
        "/api/v1/namespaces/default/pods",
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "vllm", "image": "x"}]}},
    )
    now = {"timestamp": "2026-01-01T00:00:00Z", "window": "10s"}
    await api.post(
        "/apis/metrics.k8s.io/v1beta1/nodes",
        {"metadata": {"name": "node-a"}, **now, "usage": {"cpu": "500m", "memory": "1Gi"}},
    )
    await api.post(
        "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
        {
            "metadata": {"name": "a"},
            **now,
            "containers": [{"name": "vllm", "usage": {"cpu": "250m", "memory": "64Mi"}}],
        },
    )
    assert (await kubectl("top", "pods", "--no-headers")).split() == ["a", "250m", "64Mi"]
    assert (await kubectl("top", "nodes", "--no-headers")).split()[:2] == ["node-a", "500m"]


@pytest.fixture
async def node_with_kubelet(api) -> Any:
    """A node whose kubelet answers logs and exec."""

    async def logs(request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"log of {request.path} {json.dumps(query, sort_keys=True)}\n".encode())
        if query.get("follow") == "true":
            await asyncio.sleep(0.05)
            await response.write(b"and more\n")
        return response

    async def execute(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        words = " ".join(request.query.getall("command"))
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == b"\x00":
                await socket.send_bytes(b"\x01" + f"{words}: ".encode() + message.data[1:])
                break
        await socket.send_bytes(b"\x02to stderr\n")
        await socket.send_bytes(
            b"\x03"
            + json.dumps(
                {
                    "metadata": {},
                    "status": "Failure",
                    "reason": "NonZeroExitCode",
                    "message": "command terminated with exit code 3",
                    "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
                }
            ).encode()
        )
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/containerLogs/{tail:.*}", logs)
    app.router.add_get("/exec/{tail:.*}", execute)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await api.post(
        "/api/v1/nodes",
        {
            "metadata": {"name": "n"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": runner.addresses[0][1]}},
            },
        },
    )
    await api.post(
        "/api/v1/namespaces/default/pods",
        {"metadata": {"name": "a"}, "spec": {"nodeName": "n", "containers": [{"name": "vllm", "image": "x"}]}},
    )
    await api.patch("/api/v1/namespaces/default/pods/a/status", {"status": {"phase": "Running"}})
    yield
    await runner.cleanup()


async def test_logs_are_relayed_with_their_options(kubectl, node_with_kubelet):
    out = await kubectl("logs", "a", "--tail=5", "--previous")
    assert out == 'log of /containerLogs/default/a/vllm {"previous": "true", "tailLines": "5"}\n'
    assert (await kubectl("logs", "-f", "a")).endswith("and more\n")
    assert "container nope is not valid for pod a" in await kubectl("logs", "a", "-c", "nope", code=1)


async def test_exec_is_relayed_both_ways_with_its_exit_code(kubectl, node_with_kubelet):
    out = await kubectl("exec", "-i", "a", "--", "echo", "it", stdin="hello\n", code=3)
    assert "echo it: hello" in out
    assert "to stderr" in out
    assert "command terminated with exit code 3" in out
