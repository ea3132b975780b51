from __future__ import annotations

import re

from drillbook.sandbox.node.policies import PodView, ruleset

ENGINE = PodView("llm", {"app": "engine"}, "10.0.1.1", {"http": 8000})
ROUTER = PodView("llm", {"app": "router"}, "10.0.1.2", {})
OTHER = PodView("other", {"app": "router"}, "10.0.1.3", {})
PODS = [ENGINE, ROUTER, OTHER]
SPACES = {"llm": {"team": "serving"}, "other": {"team": "web"}}


def policy(**spec) -> dict:
    return {"metadata": {"namespace": "llm"}, "spec": {"podSelector": {"matchLabels": {"app": "engine"}}, **spec}}


def sets(*policies: dict) -> dict[str, set[str]]:
    text = ruleset("dbk0", policies, PODS, SPACES)
    found = {}
    for name, elements in re.findall(r"set (\w+) \{ type [\w .]+;(?: elements = \{ (.*?) \})? \}", text):
        found[name] = set(elements.split(", ")) if elements else set()
    return found


def test_without_a_policy_no_pod_is_isolated():
    assert not any(sets().values())


def test_a_policy_without_rules_isolates_and_allows_nothing():
    found = sets(policy(policyTypes=["Ingress", "Egress"]))
    assert found["in_pods"] == found["out_pods"] == {"10.0.1.1"}
    assert not found["in_any"] | found["in_port"] | found["out_any"] | found["out_port"]


def test_the_directions_that_are_not_said_are_those_of_the_api_server():
    assert not sets(policy())["out_pods"]
    assert sets(policy(egress=[{}]))["out_pods"] == {"10.0.1.1"}


def test_a_rule_without_peers_or_ports_allows_all():
    assert sets(policy(ingress=[{}]))["in_any"] == {f"10.0.1.1 . {pod.address}" for pod in PODS}


def test_peers_are_of_the_policy_s_namespace_unless_one_is_said():
    router = {"podSelector": {"matchLabels": {"app": "router"}}}
    assert sets(policy(ingress=[{"from": [router]}]))["in_any"] == {"10.0.1.1 . 10.0.1.2"}
    web = {"namespaceSelector": {"matchLabels": {"team": "web"}}}
    assert sets(policy(ingress=[{"from": [web]}]))["in_any"] == {"10.0.1.1 . 10.0.1.3"}
    assert sets(policy(ingress=[{"from": [router | web]}]))["in_any"] == {"10.0.1.1 . 10.0.1.3"}


def test_a_block_of_addresses_spares_its_exceptions():
    block = {"ipBlock": {"cidr": "10.0.1.0/24", "except": ["10.0.1.3/32", "10.0.1.1/32"]}}
    assert sets(policy(egress=[{"to": [block]}]))["out_any"] == {"10.0.1.1 . 10.0.1.2"}


def test_ports_are_the_server_s_by_number_name_or_range():
    peer = [{"podSelector": {"matchLabels": {"app": "router"}}}]
    named = sets(policy(ingress=[{"from": peer, "ports": [{"port": "http"}]}]))
    assert named["in_port"] == {"10.0.1.1 . 10.0.1.2 . 8000"}
    ranged = sets(policy(egress=[{"to": peer, "ports": [{"port": 80, "endPort": 81}]}]))
    assert ranged["out_port"] == {"10.0.1.1 . 10.0.1.2 . 80", "10.0.1.1 . 10.0.1.2 . 81"}
