"""What Chaos Toolkit's Kubernetes extension does to a vLLM deployment, done to the sandbox of ``$KUBECONFIG``."""

import logging

from chaosk8s.deployment.actions import rollout_deployment, scale_deployment
from chaosk8s.deployment.probes import (
    deployment_available_and_healthy,
    deployment_fully_available,
    deployment_not_fully_available,
)
from chaosk8s.event.probes import get_events
from chaosk8s.namespace.actions import create_namespace, delete_namespace
from chaosk8s.namespace.probes import namespace_exists
from chaosk8s.node.actions import cordon_node, create_node, delete_nodes, drain_nodes, uncordon_node
from chaosk8s.node.probes import get_nodes, nodes_must_be_healthy, verify_nodes_condition
from chaosk8s.pod.actions import delete_pods, exec_in_pods, terminate_pods
from chaosk8s.pod.probes import all_pods_healthy, count_pods, pods_in_conditions, pods_in_phase, read_pod_logs
from chaosk8s.service.probes import service_is_initialized
from chaoslib.exceptions import ActivityFailed
from chaoslib.experiment import run_experiment
from checks import check, run_all, until
from kubernetes.client import ApiException

ENGINES, DEPLOYMENT, NS = "model=tiny-llama", "vllm-tiny-llama-deployment-vllm", "llm"


def running():
    return count_pods(ENGINES, phase="Running", ns=NS)


def recovered(replicas=3):
    until(lambda: deployment_available_and_healthy(DEPLOYMENT, ns=NS, raise_on_unavailable=False))
    return until(lambda: running() == replicas)


@check
def pods_are_counted_and_found_healthy():
    assert running() == 3
    assert pods_in_phase(ENGINES, phase="Running", ns=NS)
    assert pods_in_conditions(ENGINES, [{"type": "Ready", "status": "True"}], ns=NS)
    return all_pods_healthy(ns=NS)


@check
def a_wrong_phase_is_told():
    try:
        pods_in_phase(ENGINES, phase="Failed", ns=NS)
    except ActivityFailed as refusal:
        return refusal
    raise AssertionError("three running pods passed for failed ones")


@check
def deployments_and_services_are_probed():
    assert deployment_available_and_healthy(DEPLOYMENT, ns=NS)
    assert deployment_fully_available(DEPLOYMENT, ns=NS, timeout=5)
    return service_is_initialized("vllm-router-service", ns=NS)


@check
def a_random_pod_is_terminated_and_replaced():
    gone = terminate_pods(ENGINES, qty=1, rand=True, grace_period=0, ns=NS)
    assert deployment_fully_available(DEPLOYMENT, ns=NS, timeout=30)
    recovered()
    return gone


@check
def a_share_of_the_pods_is_terminated_with_grace():
    gone = terminate_pods(ENGINES, mode="percentage", qty=67, order="oldest", grace_period=5, ns=NS)
    assert deployment_not_fully_available(DEPLOYMENT, ns=NS, timeout=10)
    recovered()
    return gone


@check
def pods_are_terminated_by_the_pattern_of_their_names():
    gone = terminate_pods(name_pattern="^vllm-deployment-router-.*", all=True, grace_period=0, ns=NS)
    until(lambda: deployment_available_and_healthy("vllm-deployment-router", ns=NS, raise_on_unavailable=False))
    return gone


@check
def all_pods_of_a_label_are_deleted():
    delete_pods(label_selector=ENGINES, ns=NS)
    return recovered()


@check
def a_command_runs_in_a_pod():
    rows = exec_in_pods("cat /proc/1/comm", ENGINES, qty=1, container_name="vllm", ns=NS)
    assert rows[0]["exit_code"] == 0, rows
    return rows


@check
def logs_are_read():
    return {name: len(text) for name, text in read_pod_logs(label_selector=ENGINES, last="5m", ns=NS).items()}


@check
def a_deployment_is_scaled_up_and_down():
    scale_deployment(DEPLOYMENT, 4, ns=NS)
    recovered(4)
    scale_deployment(DEPLOYMENT, 3, ns=NS)
    return recovered(3)


@check
def a_deployment_is_rolled_out_anew():
    before = set(read_pod_logs(label_selector=ENGINES, ns=NS))
    rollout_deployment(DEPLOYMENT, ns=NS)
    until(lambda: not before & logged_pods(before))
    return recovered()


def logged_pods(otherwise):
    """The names of the engines that logs are read of; a container that is only being made has none yet, as anywhere."""
    try:
        return set(read_pod_logs(label_selector=ENGINES, ns=NS))
    except ApiException as error:
        if error.status != 400:
            raise
        return otherwise


@check
def nodes_are_read_and_healthy():
    assert nodes_must_be_healthy()
    assert verify_nodes_condition(condition_type="Ready", condition_value="True")
    return [node["metadata"]["name"] for node in get_nodes()["items"]]


@check
def a_node_is_cordoned_and_uncordoned():
    cordon_node(name="gpu-node-b")
    unschedulable = [node["spec"].get("unschedulable") for node in get_nodes()["items"]]
    uncordon_node(name="gpu-node-b")
    assert True in unschedulable
    return unschedulable


@check
def a_node_is_drained_of_its_engines():
    drained = drain_nodes(name="gpu-node-a", delete_pods_with_local_storage=True, timeout=60)
    try:
        return drained, recovered()
    finally:
        uncordon_node(name="gpu-node-a")


@check
def nodes_are_made_and_deleted():
    create_node(meta={"name": "spare", "labels": {"spare": "true"}})
    return delete_nodes(label_selector="spare=true")  # its `all` fails everywhere: it unpacks None


@check
def namespaces_come_and_go():
    create_namespace("scratch")
    assert namespace_exists("scratch")
    delete_namespace("scratch")
    return until(lambda: not namespace_exists("scratch"))


@check
def events_are_read():
    rows = get_events(limit=10)["items"]
    assert rows
    assert all(row.get("reason") for row in rows)
    return len(rows)


@check
def a_whole_experiment_runs():
    pods = {"type": "python", "module": "chaosk8s.pod.probes", "func": "count_pods"}
    kill = {"type": "python", "module": "chaosk8s.pod.actions", "func": "terminate_pods"}
    wait = {"type": "python", "module": "chaosk8s.deployment.probes", "func": "deployment_fully_available"}
    chosen = {"label_selector": ENGINES, "ns": NS}
    journal = run_experiment(
        {
            "title": "A killed engine comes back",
            "description": "As a user of Chaos Toolkit would write it.",
            "steady-state-hypothesis": {
                "title": "Three engines run",
                "probes": [
                    {
                        "type": "probe",
                        "name": "engines",
                        "tolerance": 3,
                        "provider": {**pods, "arguments": {**chosen, "phase": "Running"}},
                    }
                ],
            },
            "method": [
                {
                    "type": "action",
                    "name": "kill",
                    "provider": {**kill, "arguments": {**chosen, "qty": 1, "grace_period": 0}},
                    "pauses": {"after": 5},
                },
                {
                    "type": "probe",
                    "name": "back",
                    "provider": {**wait, "arguments": {"name": DEPLOYMENT, "ns": NS, "timeout": 30}},
                },
            ],
            "rollbacks": [],
        }
    )
    assert (journal["status"], journal["deviated"]) == ("completed", False), journal
    return journal["status"]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    run_all()
