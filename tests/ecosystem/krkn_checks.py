"""What krkn's scenarios do to a vLLM deployment through krkn-lib, done to the sandbox. ``$KUBECONFIG`` says where."""

import logging
import os
import tempfile
import time

import yaml
from checks import check, run_all, until
from krkn_lib.k8s import KrknKubernetes
from krkn_lib.k8s.pod_monitor import (
    select_and_monitor_by_label,
    select_and_monitor_by_name_pattern_and_namespace_pattern,
)
from krkn_lib.models.k8s import AffectedNode

ENGINES, DEPLOYMENT, NS = "model=tiny-llama", "vllm-tiny-llama-deployment-vllm", "llm"
KUBE = KrknKubernetes(kubeconfig_path=os.environ["KUBECONFIG"])


def engines():
    return sorted(KUBE.list_pods(NS, label_selector=ENGINES))


def recovered():
    return until(lambda: len(engines()) == 3 and KUBE.monitor_namespace(NS)[0])


@check
def the_cluster_tells_what_it_is():
    assert KUBE.is_kubernetes()
    assert KUBE.check_if_namespace_exists(NS)
    return KUBE.get_version(), KUBE.get_host()


@check
def nodes_are_listed_by_their_state():
    names = ["gpu-node-a", "gpu-node-b"]
    assert sorted(KUBE.list_nodes()) == sorted(KUBE.list_ready_nodes()) == names
    assert sorted(KUBE.list_killable_nodes()) == sorted(KUBE.list_schedulable_nodes()) == names
    assert KUBE.monitor_nodes() == (True, [])
    return KUBE.get_node_cpu_count("gpu-node-a"), KUBE.get_node_ip("gpu-node-a")


@check
def nodes_tell_about_themselves():
    infos, taints = KUBE.get_nodes_infos()
    assert sum(info.count for info in infos) == 2
    return [vars(info) for info in infos], taints


@check
def pods_are_found_by_label_and_pattern():
    found = KUBE.select_pods_by_label(ENGINES)
    assert sorted(name for name, _ in found) == engines()
    by_name = KUBE.select_pods_by_name_pattern_and_namespace_pattern("^vllm-tiny.*", "^llm$")
    assert sorted(by_name) == sorted(found)
    return len(KUBE.get_all_pods(ENGINES)), len(KUBE.get_all_pod_info(NS))


@check
def workloads_and_services_are_listed():
    assert DEPLOYMENT in KUBE.get_deployment_ns(NS)
    assert KUBE.get_deployment_ready(DEPLOYMENT, NS).status.replicas == 3
    assert KUBE.get_all_statefulset(NS) == []
    assert KUBE.service_exists("vllm-router-service", NS)
    return KUBE.get_all_replicasets(NS), KUBE.get_all_services(NS)


@check
def objects_are_counted():
    counts = KUBE.get_all_kubernetes_object_count(["Deployment", "Pod", "Secret", "ConfigMap"])
    assert counts["Deployment"] == 2, counts
    return counts


@check
def a_pod_tells_about_itself():
    pod = KUBE.get_pod_info(engines()[0], NS)
    assert len(pod.containers) == 1
    assert pod.containers[0].ready
    assert KUBE.is_pod_running(pod.name, NS)
    assert KUBE.get_containers_in_pod(pod.name, NS) == ["vllm"]
    return KUBE.get_container_ids(pod.name, NS), [volume.name for volume in pod.volumes]


@check
def commands_run_in_a_pod():
    pod = engines()[0]
    assert "vllm" in KUBE.exec_cmd_in_pod(["cat /proc/1/cmdline"], pod, NS, "vllm")
    assert KUBE.path_exists_in_pod(pod, "vllm", NS, "/models/tiny-llama")
    links = KUBE.list_pod_network_interfaces(pod, NS, "vllm")
    assert links == ["eth0"], links


@check
def a_log_is_read():
    return len(KUBE.get_pod_log(engines()[0], NS).data)


@check
def a_killed_pod_is_seen_to_recover():
    watching = select_and_monitor_by_label(ENGINES, 30, KUBE.cli)
    KUBE.delete_pod(engines()[0], NS)
    seen = watching.result().get_pods_status()
    recovered()
    assert not seen.error, seen.error
    assert len(seen.recovered) == 1, (seen.recovered, seen.unrecovered)
    assert seen.unrecovered == []
    return seen.recovered[0].pod_readiness_time


@check
def two_killed_pods_are_seen_to_recover_by_their_names():
    watching = select_and_monitor_by_name_pattern_and_namespace_pattern("^vllm-tiny.*", "^llm$", 30, KUBE.cli)
    for pod in engines()[:2]:
        KUBE.delete_pod(pod, NS, grace_period_seconds=0)
    seen = watching.result().get_pods_status()
    recovered()
    assert (len(seen.recovered), len(seen.unrecovered)) == (2, 0), (seen.recovered, seen.unrecovered)
    return [pod.total_recovery_time for pod in seen.recovered]


@check
def a_pod_is_made_from_a_manifest():
    container = {"name": "main", "image": "busybox", "command": ["sleep", "60"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "helper"}, "spec": spec}
    KUBE.create_pod(body, NS, timeout=20)
    assert KUBE.read_pod("helper", NS).status.phase == "Running"
    KUBE.delete_pod("helper", NS)
    return until(lambda: not KUBE.check_if_pod_exists("helper", NS))


@check
def a_job_is_made_and_ends():
    container = {"name": "main", "image": "busybox", "command": ["true"]}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    KUBE.create_job(body, NS)
    until(lambda: KUBE.get_job_status("once", NS).status.succeeded == 1)
    return KUBE.delete_job("once", NS).status


@check
def objects_are_applied_from_a_file():
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scratch"}, "data": {"key": "value"}}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(body, file)
        file.flush()
        return KUBE.apply_yaml(file.name, NS)


@check
def a_service_is_pointed_elsewhere_and_back():
    before = KUBE.replace_service_selector(["app=nobody"], "vllm-engine-service", NS)
    after = KUBE.cli.read_namespaced_service("vllm-engine-service", NS).spec.selector
    assert after == {"app": "nobody"}, after
    labels = [f"{key}={value}" for key, value in before["spec"]["selector"].items()]
    KUBE.replace_service_selector(labels, "vllm-engine-service", NS)
    return labels


@check
def a_network_policy_is_made_and_deleted():
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": spec}
    KUBE.create_net_policy(body, NS)
    assert "deny" in str(KUBE.get_namespaced_net_policy(NS))
    return KUBE.delete_net_policy("deny", NS)


@check
def a_change_of_a_nodes_state_is_watched():
    node = AffectedNode("gpu-node-a")
    KUBE.watch_node_status("gpu-node-a", "True", 10, node)
    return node.node_name


@check
def a_deployment_is_deleted_and_gone():
    KUBE.delete_deployment("vllm-deployment-router", NS)
    return until(lambda: "vllm-deployment-router" not in KUBE.get_deployment_ns(NS))


@check
def a_namespace_is_deleted():
    KUBE.delete_namespace(NS)
    return until(lambda: not KUBE.check_if_namespace_exists(NS), 60)


@check
def events_are_collected():
    now = int(time.time())
    return len(KUBE.collect_and_parse_cluster_events(now - 3600, now, "UTC"))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    run_all()
