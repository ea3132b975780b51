"""The Roles of ``deploy/faults``, as the faults' own plans ask for them.

A new fault belongs into a class here; then ``DRILLBOOK_WRITE_ROLES=1 pytest tests/deploy`` writes the files anew.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import drillbook
from drillbook.faults.fault import Draw
from drillbook.faults.registry import FAULTS
from drillbook.model.plan import Permission
from drillbook.targets.target import Target

Json = dict[str, Any]
FOLDER = Path(drillbook.__file__).parents[1] / "deploy" / "faults"
BY_HELPER = {"fault": "process-hang", "via": "helper"}
"""What starts a helper pod as the link faults do, which need an engine of several pods to be planned."""


@dataclass(frozen=True)
class FaultClass:
    """Faults that take the same rights, each with a step that can be planned in a sandbox of two engines."""

    says: str
    faults: dict[str, Json]


CLASSES = {
    "pods": FaultClass("Pods are deleted and evicted.", {"pod-kill": {}, "pod-evict": {}}),
    "processes": FaultClass(
        "Processes are stopped and killed, and containers restarted, through exec.",
        {"process-hang": {}, "process-kill": {}, "container-restart": {}},
    ),
    "helpers": FaultClass(
        "Privileged helper pods run on the victims' nodes: for links, and for processes where the image has no shell.",
        dict.fromkeys(("link-throttle", "link-delay", "link-loss", "link-cut", "link-flap"), BY_HELPER),
    ),
    "network": FaultClass("Pods are cut off by a NetworkPolicy.", {"partition": {}}),
    "rollouts": FaultClass("Revisions that do not work are rolled out, and rolled back.", {"bad-rollout": {}}),
    "scaling": FaultClass(
        "Workloads are scaled, and their autoscalers paused.", {"scale": {"replicas": 1}, "autoscaler-pause": {}}
    ),
    "nodes": FaultClass(
        "Nodes are cordoned, drained, tainted and reclaimed; they are not of one namespace, and so take a ClusterRole.",
        {key: {} for key in ("node-cordon", "node-drain", "node-taint", "spot-reclaim", "kubelet-gone")},
    ),
    "gpus": FaultClass("An engine loses its GPU, and its node counts one less.", {"gpu-lost": {}}),
}
NONE = ("load-surge", "prompt-flood", "metrics-gone")
"""Faults that touch nothing of the target; and the one whose object is in a namespace that only its users know."""


async def asked(kind: FaultClass, target: Target) -> set[Permission]:
    """Every permission that the class's faults ask for."""
    found: set[Permission] = set()
    for name, options in kind.faults.items():
        given = {"fault": name, **options}
        fault = FAULTS[given["fault"]]
        found |= set((await fault.plan(fault.step.model_validate(given), 0, target, Draw(1, "run-1"))).permissions)
    return found


def manifests(name: str, kind: FaultClass, needs: set[Permission], namespace: str) -> str:
    """The Role with its binding, and a ClusterRole where something reaches beyond the namespace."""
    inside = {need for need in needs if need.namespace in ("", namespace)}
    objects = _bound("Role", f"drillbook-{name}", inside, list(kind.faults))
    if inside != needs:
        objects += _bound("ClusterRole", f"drillbook-{name}", needs - inside, list(kind.faults))
    text = yaml.safe_dump_all(objects, sort_keys=False, default_flow_style=None, width=110)
    return (
        f"# {kind.says}\n# It allows what these faults' plans ask for, and nothing else; tests/deploy holds it.\n{text}"
    )


def _bound(kind: str, name: str, needs: set[Permission], faults: list[str]) -> list[Json]:
    if not needs:
        return []
    group = "rbac.authorization.k8s.io"
    meta = {"name": name, "annotations": {"drillbook.dev/faults": ", ".join(faults)}}
    subject = {"kind": "ServiceAccount", "name": "drillbook"}
    binding = {"apiVersion": f"{group}/v1", "kind": f"{kind}Binding", "metadata": {"name": name}}
    binding |= {"roleRef": {"apiGroup": group, "kind": kind, "name": name}, "subjects": [subject]}
    return [{"apiVersion": f"{group}/v1", "kind": kind, "metadata": meta, "rules": rules(needs)}, binding]


def rules(needs: set[Permission]) -> list[Json]:
    """Rules that allow exactly this."""
    verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for need in needs:
        verbs[need.group, f"{need.resource}/{need.subresource}" if need.subresource else need.resource].add(need.verb)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(allowed)}
        for (group, resource), allowed in sorted(verbs.items())
    ]


def allowed(role: Json) -> set[tuple[str, str, str]]:
    """Group, resource and verb that a Role allows."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
