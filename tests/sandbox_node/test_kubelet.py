"""What the node agent does with pods, seen through the API as a user of a cluster sees it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.error
import urllib.request

import pytest
from own_sandbox import own_sandbox

from drillbook import clock
from drillbook.sandbox import lifecycle
from drillbook.sandbox.kube import Kube, fetch

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.asyncio(loop_scope="module"),
]
PODS = "/api/v1/namespaces/llm/pods"
TERM_OBEYED = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    settings = {"backoff_initial": 0.4, "backoff_max": 1.5}
    with own_sandbox(tmp_path_factory.mktemp("home"), "kubelet", replicas=1, settings=settings) as sandbox:
        yield sandbox


class Cluster:
    """Calls to the sandbox's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(self, path: str, method: str = "GET", body: dict | None = None) -> tuple[int, dict]:
        status, content = await asyncio.to_thread(fetch, self.url + path, method, body)
        return status, json.loads(content)

    async def text(self, path: str) -> str:
        return (await asyncio.to_thread(fetch, self.url + path))[1].decode()

    async def run(self, name: str, *containers: dict, **spec) -> None:
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 2, **spec},
        }  # fmt: skip
        status, answer = await self.call(PODS, "POST", pod)
        assert status == 201, answer

    async def until(self, name: str, wanted, seconds: float = 60.0) -> dict:
        """The pod once ``wanted(status)`` is true."""
        end = clock.monotonic() + seconds
        while True:
            _, pod = await self.call(f"{PODS}/{name}")
            try:
                if wanted(pod["status"]):
                    return pod["status"]
            except (KeyError, IndexError):
                pass
            assert clock.monotonic() < end, json.dumps(pod["status"], indent=1)
            await asyncio.sleep(0.03)

    async def events(self, name: str) -> list[tuple[str, str]]:
        rows = await Kube(self.url).items("/api/v1/namespaces/llm/events")
        return [(row["reason"], row["message"]) for row in rows if row["involvedObject"]["name"] == name]

    async def log(self, name: str, **query: str) -> str:
        return await self.text(f"{PODS}/{name}/log?" + "&".join(f"{key}={value}" for key, value in query.items()))


@pytest.fixture
def cluster(sandbox):
    return Cluster(sandbox.api_url)


def shell(script: str, **more) -> dict:
    return {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script], **more}


def condition(status: dict, kind: str) -> str:
    return next((row["status"] for row in status["conditions"] if row["type"] == kind), "")


async def test_a_pod_that_ends_well_has_succeeded_and_says_completed(cluster):
    await cluster.run("succeeds", shell("echo done > /dev/termination-log"), restartPolicy="Never")
    status = await cluster.until("succeeds", lambda status: status["phase"] == "Succeeded")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "done\n")
    assert condition(status, "Ready") == "False"


async def test_a_pod_that_fails_says_so_with_its_exit_code(cluster):
    await cluster.run("fails", shell("exit 7"), restartPolicy="Never")
    status = await cluster.until("fails", lambda status: status["phase"] == "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")


async def test_a_crashing_container_backs_off_longer_each_time_and_keeps_its_previous_log(cluster):
    await cluster.run("crashes", shell("echo I was here; exit 1"))
    status = await cluster.until(
        "crashes",
        lambda status: (
            status["containerStatuses"][0]["restartCount"] >= 2
            and status["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        ),
    )
    row = status["containerStatuses"][0]
    assert row["state"]["waiting"]["message"].startswith("back-off ")
    assert row["lastState"]["terminated"]["exitCode"] == 1
    assert status["phase"] == "Running"
    assert await cluster.log("crashes", previous="true") == "I was here\n"
    reasons = [reason for reason, _ in await cluster.events("crashes")]
    assert {"Scheduled", "Pulled", "Created", "Started", "BackOff"} <= set(reasons)
    await cluster.call(f"{PODS}/crashes", "DELETE", {})


async def test_init_containers_run_in_order_before_the_others_and_a_sidecar_stays(cluster):
    share = [{"name": "share", "mountPath": "/share"}]
    init = [
        {**shell("echo one >> /share/order", volumeMounts=share), "name": "first"},
        {**shell(TERM_OBEYED), "name": "sidecar", "restartPolicy": "Always"},
        {**shell("echo two >> /share/order", volumeMounts=share), "name": "second"},
    ]
    main = shell("cat /share/order", volumeMounts=share)
    await cluster.run("inits", main, initContainers=init, restartPolicy="Never",
                      volumes=[{"name": "share", "emptyDir": {}}])  # fmt: skip
    status = await cluster.until("inits", lambda status: status["phase"] == "Succeeded")
    assert condition(status, "Initialized") == "True"
    assert (await cluster.log("inits", container="main")).split() == ["one", "two"]


async def test_a_failing_init_container_keeps_the_pod_pending(cluster):
    await cluster.run("stuck", shell("true"), initContainers=[{**shell("exit 2"), "name": "init"}])
    status = await cluster.until("stuck", lambda status: status["initContainerStatuses"][0]["restartCount"] >= 1)
    assert status["phase"] == "Pending"
    assert condition(status, "Initialized") == "False"
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    await cluster.call(f"{PODS}/stuck", "DELETE", {})


async def test_readiness_follows_its_probe_and_liveness_restarts_the_container(cluster):
    probes = {
        "startupProbe": {"exec": {"command": ["test", "-e", "/share"]}},
        "readinessProbe": {"exec": {"command": ["test", "-e", "/share/ready"]}},
        "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/share/dead"]}},
    }
    for probe in probes.values():
        probe |= {"periodSeconds": 1, "failureThreshold": 1}
    share = {"volumeMounts": [{"name": "share", "mountPath": "/share"}]}
    await cluster.run("probed", shell(f"rm -f /share/dead; {TERM_OBEYED}", **probes, **share),
                      volumes=[{"name": "share", "emptyDir": {}}])  # fmt: skip
    status = await cluster.until("probed", lambda status: status["containerStatuses"][0]["started"])
    assert condition(status, "Ready") == "False"
    await inside(cluster, "probed", "touch /share/ready")
    await cluster.until("probed", lambda status: condition(status, "Ready") == "True")
    await inside(cluster, "probed", "rm /share/ready")
    await cluster.until("probed", lambda status: condition(status, "Ready") == "False")
    await inside(cluster, "probed", "touch /share/dead")
    await cluster.until("probed", lambda status: status["containerStatuses"][0]["restartCount"] == 1)
    messages = dict(await cluster.events("probed"))
    assert "failed liveness probe, will be restarted" in messages["Killing"]
    await cluster.call(f"{PODS}/probed", "DELETE", {})


async def inside(cluster: Cluster, pod: str, script: str) -> str:
    """Run a script in the pod, through exec."""
    kubeconfig = str(lifecycle.find("kubelet").kubeconfig)
    command = ["kubectl", "--kubeconfig", kubeconfig, "exec", pod, "--", "sh", "-c", script]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return done.stdout


async def test_kubectl_exec_it_has_a_terminal_and_the_exit_code(cluster):
    await cluster.run("talks", shell("while :; do sleep 1; done"))
    await cluster.until("talks", lambda status: condition(status, "Ready") == "True")
    kubeconfig = str(lifecycle.find("kubelet").kubeconfig)
    leader, follower = os.openpty()
    command = ["kubectl", "--kubeconfig", kubeconfig, "exec", "-it", "talks", "--", "sh"]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        os.write(leader, b"tty; echo $((6 * 7)); exit 7\n")
        assert await asyncio.to_thread(process.wait, 60) == 7
    told = os.read(leader, 1 << 16)
    os.close(leader)
    assert b"/dev/pts/" in told
    assert b"42" in told
    await cluster.call(f"{PODS}/talks", "DELETE", {"gracePeriodSeconds": 0})


async def test_environment_and_volumes_come_from_where_the_manifest_says(cluster):
    config = {"kind": "ConfigMap", "metadata": {"name": "given"}, "data": {"KEY": "of-map", "X": "1"}}
    assert (await cluster.call("/api/v1/namespaces/llm/configmaps", "POST", config))[0] == 201
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "given", "key": "KEY"}}},
        {"name": "BOTH", "value": "$(ONE)-$(NAME)-$$(NAME)-$(NONE)"},
    ]
    script = 'echo "$NAME $LIMIT $BOTH $X $0"; test "$(hostname -i | cut -d" " -f1)" = "$ADDRESS" && cat /given/KEY; '
    mounts = [{"name": "given", "mountPath": "/given"}]
    container = shell(script, env=env, envFrom=[{"configMapRef": {"name": "given"}}],
                      resources={"limits": {"memory": "64Mi"}}, volumeMounts=mounts)  # fmt: skip
    container["command"] += ["arg-$(ONE)"]
    await cluster.run("informed", container, restartPolicy="Never",
                      volumes=[{"name": "given", "configMap": {"name": "given"}}])  # fmt: skip
    await cluster.until("informed", lambda status: status["phase"] == "Succeeded")
    assert (await cluster.log("informed")).splitlines() == [
        "informed 64 of-map-informed-$(NAME)-$(NONE) 1 arg-of-map", "of-map",
    ]  # fmt: skip


async def test_a_missing_configmap_waits_and_says_which(cluster):
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "KEY"}}}]
    await cluster.run("waits", shell("true", env=env))
    status = await cluster.until(
        "waits", lambda status: "message" in status["containerStatuses"][0]["state"]["waiting"]
    )
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "absent" not found'}
    await cluster.call(f"{PODS}/waits", "DELETE", {})


async def test_an_image_that_nothing_stands_for_fails_in_the_words_of_a_registry(cluster):
    await cluster.run("unknown", {"name": "main", "image": "acme/nothing:v1"})
    status = await cluster.until("unknown", lambda status: status["containerStatuses"][0]["state"]["waiting"]["reason"]
                                 == "ImagePullBackOff")  # fmt: skip
    assert 'Back-off pulling image "acme/nothing:v1"' in status["containerStatuses"][0]["state"]["waiting"]["message"]
    messages = [message for _, message in await cluster.events("unknown")]
    assert "Error: ErrImagePull" in messages
    assert any("failed to resolve reference" in message for message in messages)
    await cluster.call(f"{PODS}/unknown", "DELETE", {})


async def test_deletion_runs_pre_stop_then_term_then_kills_when_the_grace_is_over(cluster):
    hook = {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1"]}}}}
    await cluster.run("stubborn", shell("trap '' TERM; echo up; while :; do sleep 0.05; done", **hook))
    await cluster.until("stubborn", lambda status: condition(status, "Ready") == "True")
    following = asyncio.create_task(cluster.log("stubborn", follow="true"))
    begun = clock.monotonic()
    await cluster.call(f"{PODS}/stubborn", "DELETE", {})
    while (await cluster.call(f"{PODS}/stubborn"))[0] == 200:
        await asyncio.sleep(0.03)
    assert 2.0 <= clock.monotonic() - begun < 25, "the default grace of 30 s, not the pod's own of 2 s"
    assert (await asyncio.wait_for(following, 60)).split() == ["up", "stopping"]
    assert ("Killing", "Stopping container main") in await cluster.events("stubborn")


async def test_a_container_over_its_memory_limit_is_oom_killed(cluster):
    script = "python3 -c 'bytearray(200_000_000)'; exit $?"
    limits = {"limits": {"memory": "64Mi"}}
    await cluster.run("hungry", shell(f"exec {script}", resources=limits), restartPolicy="Never")
    status = await cluster.until("hungry", lambda status: status["phase"] in ("Failed", "Succeeded"))
    ended = status["containerStatuses"][0]["state"]["terminated"]
    if not os.access("/sys/fs/cgroup/memory", os.W_OK):
        pytest.skip("this machine lets nobody make memory control groups")
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


async def test_pods_find_services_by_name_and_reach_the_api_server(cluster):
    script = (
        "import os, re, urllib.request as u; "
        "print(u.urlopen('http://vllm-router-service/v1/models').status); "
        "print(u.urlopen('http://vllm-router-service.llm.svc.cluster.local/health').status); "
        "server = re.search('server: (.*)', open(os.environ['KUBECONFIG']).read())[1]; "
        "print(u.urlopen(server + '/readyz').status)"
    )
    await cluster.run("client", shell(f'python3 -c "{script}"'), restartPolicy="Never")
    await cluster.until("client", lambda status: status["phase"] in ("Succeeded", "Failed"))
    assert (await cluster.log("client")).split() == ["200", "200", "200"]


@pytest.mark.figure
async def test_the_service_proxy_adds_less_than_five_milliseconds(cluster, sandbox):
    _, pods = await cluster.call(f"{PODS}?labelSelector=app.kubernetes.io/component%3Drouter")
    direct = f"http://{pods['items'][0]['status']['podIP']}:8000/health"

    def median(url: str) -> float:
        times = []
        for _ in range(40):
            begun = clock.monotonic()
            urllib.request.urlopen(url, timeout=5).read()
            times.append(clock.monotonic() - begun)
        return sorted(times)[20]

    through, without = [await asyncio.to_thread(median, url) for url in (f"{sandbox.endpoint}/health", direct)]
    assert through - without < 0.005, f"{(through - without) * 1000:.2f} ms"


async def test_a_service_without_endpoints_refuses_connections(cluster):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "empty"},
               "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}}  # fmt: skip
    _, made = await cluster.call("/api/v1/namespaces/llm/services", "POST", service)
    with pytest.raises(urllib.error.URLError, match="refused"):
        await asyncio.to_thread(urllib.request.urlopen, f"http://{made['spec']['clusterIP']}", timeout=3)
