"""The columns of ``kubectl get``, kind by kind, as the real API server prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drillbook.sandbox.control import selectors, times
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, dig, is_condition_true, labels_of
from drillbook.sandbox.control.podcolumns import pod_cells

Cells = Callable[[Json], list[Any]]
_NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Printer:
    """``columns`` are (name, type, priority); priority 1 shows with ``-o wide`` only. Name and Age are added."""

    columns: tuple[tuple[str, str, int], ...]
    cells: Cells
    age: bool = True
    name_first: bool = True


def _columns(text: str) -> tuple[tuple[str, str, int], ...]:
    """``Ready Up-to-date* Containers+``: ``*`` marks an integer, ``+`` a wide column, ``_`` a space."""
    return tuple(
        (word.rstrip("*+").replace("_", " "), "integer" if "*" in word else "string", int("+" in word))
        for word in text.split()
    )


def _containers(template: Any) -> tuple[str, str]:
    rows = dig(template, "spec", "containers", default=[])
    return ",".join(row["name"] for row in rows), ",".join(row.get("image", "") for row in rows)


def _selector(obj: Json) -> str:
    return selectors.selector_text(dig(obj, "spec", "selector")) or _NONE


def _deployment(obj: Json) -> list[Any]:
    status = obj.get("status") or {}
    names, images = _containers(dig(obj, "spec", "template"))
    return [
        f"{status.get('readyReplicas', 0)}/{dig(obj, 'spec', 'replicas', default=0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        names,
        images,
        _selector(obj),
    ]


def _replica_set(obj: Json) -> list[Any]:
    status = obj.get("status") or {}
    return [
        dig(obj, "spec", "replicas", default=0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        *_containers(dig(obj, "spec", "template")),
        _selector(obj),
    ]


def _stateful_set(obj: Json) -> list[Any]:
    ready = dig(obj, "status", "readyReplicas", default=0)
    return [f"{ready}/{dig(obj, 'spec', 'replicas', default=0)}", *_containers(dig(obj, "spec", "template"))]


def _daemon_set(obj: Json) -> list[Any]:
    status = obj.get("status") or {}
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    wanted = dig(obj, "spec", "template", "spec", "nodeSelector", default={})
    return [
        *(status.get(name, 0) for name in names),
        ",".join(f"{k}={v}" for k, v in wanted.items()) or _NONE,
        *_containers(dig(obj, "spec", "template")),
        _selector(obj),
    ]


def _job(obj: Json) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    if is_condition_true(obj, "Complete"):
        word = "Complete"
    elif is_condition_true(obj, "Failed"):
        word = "Failed"
    else:
        word = "Suspended" if spec.get("suspend") else "Running"
    began, ended = status.get("startTime"), status.get("completionTime")
    took = ""
    if began:
        took = times.duration(times.parse(ended) - times.parse(began)) if ended else times.age(began)
    wanted = spec.get("completions") or f"1 of {spec.get('parallelism', 1)}"
    return [word, f"{status.get('succeeded', 0)}/{wanted}", took, *_containers(spec.get("template")), _selector(obj)]


def _service(obj: Json) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(
        f"{row['port']}{':' + str(row['nodePort']) if row.get('nodePort') else ''}/{row['protocol']}"
        for row in spec.get("ports") or []
    )
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    return [
        spec.get("type"),
        spec.get("clusterIP") or _NONE,
        spec.get("externalName") or _NONE,
        ports or _NONE,
        selector or _NONE,
    ]


def _endpoints(obj: Json) -> list[Any]:
    found = [
        f"{row['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for row in subset.get("addresses") or []
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return [",".join(found[:3]) + more or _NONE]


def _slice(obj: Json) -> list[Any]:
    addresses = [address for row in obj.get("endpoints") or [] for address in row.get("addresses") or []]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    ports = ",".join(str(row.get("port")) for row in obj.get("ports") or [])
    return [obj.get("addressType"), ports or "<unset>", ",".join(addresses[:3]) + more or "<unset>"]


def _node(obj: Json) -> list[Any]:
    words = ["Ready" if is_condition_true(obj, "Ready") else "NotReady"]
    if not any(row["type"] == "Ready" for row in dig(obj, "status", "conditions", default=[])):
        words = ["Unknown"]
    if dig(obj, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = ",".join(sorted(key.removeprefix(prefix) for key in labels_of(obj) if key.startswith(prefix)))
    info = dig(obj, "status", "nodeInfo", default={})
    addresses = {row["type"]: row["address"] for row in dig(obj, "status", "addresses", default=[])}
    unknown = "<unknown>"
    return [
        ",".join(words),
        roles or _NONE,
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", _NONE),
        addresses.get("ExternalIP", _NONE),
        info.get("osImage", unknown),
        info.get("kernelVersion", unknown),
        info.get("containerRuntimeVersion", unknown),
    ]


def _event(obj: Json) -> list[Any]:
    about = obj.get("involvedObject") or {}
    last = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp")
    return [
        times.age(last),
        obj.get("type"),
        obj.get("reason"),
        f"{about.get('kind', '').lower()}/{about.get('name')}",
        about.get("fieldPath", ""),
        dig(obj, "source", "component", default=""),
        obj.get("message", ""),
        times.age(obj.get("firstTimestamp") or last),
        obj.get("count", 1),
    ]


def _autoscaler(obj: Json) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    target = spec["scaleTargetRef"]
    return [
        f"{target['kind']}/{target['name']}",
        _metrics(spec, status),
        spec.get("minReplicas", 1),
        spec["maxReplicas"],
        status.get("currentReplicas", 0),
    ]


def _metrics(spec: Json, status: Json) -> str:
    texts = []
    for index, row in enumerate(spec.get("metrics") or []):
        field = row["type"][0].lower() + row["type"][1:]
        source = row.get(field) or {}
        target = source.get("target") or {}
        now = dig(status, "currentMetrics", index, field, "current", default={})
        head = f"{source['name']}: " if row["type"] == "Resource" else ""
        if target.get("averageUtilization") is not None:
            texts.append(f"{head}{_percent(now.get('averageUtilization'))}/{target['averageUtilization']}%")
        else:
            average = target.get("averageValue")
            found = now.get("averageValue" if average else "value", "<unknown>")
            texts.append(f"{head}{found}/{average or target.get('value')}{' (avg)' if average and not head else ''}")
    return ", ".join(texts[:2]) + (f" + {len(texts) - 2} more..." if len(texts) > 2 else "") or _NONE


def _percent(value: Any) -> str:
    return "<unknown>" if value is None else f"{value}%"


def _budget(obj: Json) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        dig(obj, "status", "disruptionsAllowed", default=0),
    ]


def _definition(obj: Json) -> list[Any]:
    return [dig(obj, "metadata", "creationTimestamp")]


PRINTERS: dict[str, Printer] = {
    "pods": Printer(_columns("Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+"), pod_cells,
                    age=False),
    "deployments.apps": Printer(_columns("Ready Up-to-date* Available* Containers+ Images+ Selector+"), _deployment),
    "replicasets.apps": Printer(_columns("Desired* Current* Ready* Containers+ Images+ Selector+"), _replica_set),
    "statefulsets.apps": Printer(_columns("Ready Containers+ Images+"), _stateful_set),
    "daemonsets.apps": Printer(_columns("Desired* Current* Ready* Up-to-date* Available* Node_Selector Containers+ "
                                        "Images+ Selector+"), _daemon_set),
    "jobs.batch": Printer(_columns("Status Completions Duration Containers+ Images+ Selector+"), _job),
    "services": Printer(_columns("Type Cluster-IP External-IP Port(s) Selector+"), _service),
    "endpoints": Printer(_columns("Endpoints"), _endpoints),
    "endpointslices.discovery.k8s.io": Printer(_columns("AddressType Ports Endpoints"), _slice),
    "nodes": Printer(_columns("Status Roles Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ "
                              "Container-Runtime+"), _node),
    "namespaces": Printer(_columns("Status"), lambda obj: [dig(obj, "status", "phase", default="Active")]),
    "configmaps": Printer(_columns("Data*"),
                          lambda obj: [len(obj.get("data") or {}) + len(obj.get("binaryData") or {})]),
    "secrets": Printer(_columns("Type Data*"), lambda obj: [obj.get("type"), len(obj.get("data") or {})]),
    "serviceaccounts": Printer(_columns("Secrets*"), lambda obj: [len(obj.get("secrets") or [])]),
    "leases.coordination.k8s.io": Printer(_columns("Holder"), lambda obj: [dig(obj, "spec", "holderIdentity")]),
    "events": Printer(_columns("Last_Seen Type Reason Object Subobject+ Source+ Message First_Seen+ Count*+"), _event,
                      age=False, name_first=False),
    "horizontalpodautoscalers.autoscaling": Printer(_columns("Reference Targets MinPods MaxPods* Replicas*"),
                                                    _autoscaler),
    "poddisruptionbudgets.policy": Printer(_columns("Min_Available Max_Unavailable Allowed_Disruptions*"), _budget),
    "controllerrevisions.apps": Printer(
        _columns("Controller Revision*"),
        lambda obj: ["/".join(dig(obj, "metadata", "ownerReferences", 0, field, default=_NONE).lower()
                              for field in ("kind", "name")), obj.get("revision")]),
    "customresourcedefinitions.apiextensions.k8s.io": Printer(_columns("Created_At"), _definition, age=False),
    "leaderworkersets.leaderworkerset.x-k8s.io": Printer(
        _columns("Ready* Desired* Up-to-date*"),
        lambda obj: [dig(obj, "status", "readyReplicas", default=0), dig(obj, "spec", "replicas", default=0),
                     dig(obj, "status", "updatedReplicas", default=0)]),
}  # fmt: skip


def of_custom(kind: Kind) -> Printer:
    """The printer of a kind without columns of its own: those of its definition, and the age."""

    def cells(obj: Json) -> list[Any]:
        return [dig(obj, *column.path) for column in kind.columns]

    return Printer(
        tuple((column.name, column.type, column.priority) for column in kind.columns),
        cells,
        age=not any(column.name == "Age" for column in kind.columns),
    )
