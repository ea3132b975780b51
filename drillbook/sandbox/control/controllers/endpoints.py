"""Services' Endpoints and EndpointSlices: the ready pods behind each selector."""

from __future__ import annotations

import functools
from typing import Any

from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import (
    Json,
    dig,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_SERVICE_LABEL = "kubernetes.io/service-name"
_MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
_SLICE_SIZE = 100


class EndpointsOfServices(Controller):
    resource = "services"
    component = "endpoint-slice-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._endpoints = registry.kinds.of_resource("endpoints")
        self._slices = registry.kinds.of_resource("endpointslices.discovery.k8s.io")
        self.store.listen("pods", self._on_pod)
        self.store.listen("endpointslices.discovery.k8s.io", self._on_slice)

    def _on_pod(self, change: Change) -> None:
        labels = labels_of(change.obj)
        before = labels_of(change.previous.obj) if change.previous is not None else labels
        for service in self.store.objects("services", namespace_of(change.obj)):
            wanted = (dig(service, "spec", "selector") or {}).items()
            if wanted and (wanted <= labels.items() or wanted <= before.items()):
                self.enqueue((namespace_of(service), name_of(service)))

    def _on_slice(self, change: Change) -> None:
        if change.type == "DELETED":
            self.enqueue_owner(change.obj, "Service")

    def reconcile(self, namespace: str, name: str) -> float | None:
        service = self.registry.find("services", namespace, name)
        if service is None:
            if self.registry.find("endpoints", namespace, name) is not None:
                self.registry.delete(self._endpoints, namespace, name)
            return None
        wanted = dig(service, "spec", "selector")
        if not wanted or is_deleting(service):
            return None
        pods = [
            pod
            for pod in self.store.objects("pods", namespace)
            if wanted.items() <= labels_of(pod).items()
            and dig(pod, "status", "podIP")
            and dig(pod, "status", "phase") not in ("Succeeded", "Failed")
        ]
        pods.sort(key=name_of)
        self._write_endpoints(service, pods)
        self._write_slices(service, pods)
        return None

    def _write_endpoints(self, service: Json, pods: list[Json]) -> None:
        anyway = bool(dig(service, "spec", "publishNotReadyAddresses"))
        groups: dict[str, tuple[list[Json], Json]] = {}
        for pod in pods:
            if is_deleting(pod) and not anyway:
                continue
            ports = _ports(service, pod)
            _, subset = groups.setdefault(repr(ports), (ports, {}))
            field = "addresses" if anyway or podset.is_ready(pod) else "notReadyAddresses"
            subset.setdefault(field, []).append(_address(service, pod))
        subsets = [
            {**subset, "ports": [_without_empty_name(port) for port in ports]} if ports else subset
            for ports, subset in groups.values()
        ]
        namespace, name = namespace_of(service), name_of(service)
        labels = dict(labels_of(service))
        if dig(service, "spec", "clusterIP") == "None":
            labels["service.kubernetes.io/headless"] = ""
        found = self.registry.find("endpoints", namespace, name)
        if found is None:
            obj: Json = {"metadata": {"name": name, "labels": labels}}
            self.registry.create(self._endpoints, namespace, obj | ({"subsets": subsets} if subsets else {}))
        elif (found.get("subsets") or []) != subsets or labels_of(found) != labels:

            def change(fresh: Json) -> None:
                fresh["metadata"]["labels"] = labels
                fresh["subsets"] = subsets

            self.registry.modify(self._endpoints, namespace, name, change)

    def _write_slices(self, service: Json, pods: list[Json]) -> None:
        wanted: list[Json] = []
        groups: dict[str, tuple[list[Json], list[Json]]] = {}
        for pod in pods:
            ports = _ports(service, pod)
            groups.setdefault(repr(ports), (ports, []))[1].append(_endpoint(service, pod))
        for ports, rows in groups.values() or [([], [])]:
            wanted += [
                {"addressType": "IPv4", "ports": ports, "endpoints": rows[start : start + _SLICE_SIZE]}
                for start in range(0, max(1, len(rows)), _SLICE_SIZE)
            ]
        present = [
            row
            for row in self.store.owned_by(uid_of(service), "endpointslices.discovery.k8s.io")
            if labels_of(row).get(_MANAGED_LABEL) == "endpointslice-controller.k8s.io" and not is_deleting(row)
        ]
        namespace = namespace_of(service)
        for row, content in zip(present, wanted, strict=False):
            if any(row.get(key) != value for key, value in content.items()):
                self.registry.modify(self._slices, namespace, name_of(row), functools.partial(_lay_over, content))
        for row in present[len(wanted) :]:
            self.registry.delete(self._slices, namespace, name_of(row))
        for content in wanted[len(present) :]:
            labels = {
                **labels_of(service),
                _SERVICE_LABEL: name_of(service),
                _MANAGED_LABEL: "endpointslice-controller.k8s.io",
            }
            self.registry.create(
                self._slices,
                namespace,
                {
                    "metadata": {
                        "generateName": f"{name_of(service)}-",
                        "labels": labels,
                        "ownerReferences": [owner_reference(service)],
                    },
                    **content,
                },
            )


def _ports(service: Json, pod: Json) -> list[Json]:
    """The service's ports as this pod numbers them; a named target port that the pod lacks is left out."""
    found = []
    for port in dig(service, "spec", "ports", default=[]):
        target: Any = port.get("targetPort", port.get("port"))
        number = target if isinstance(target, int) else _named_port(pod, str(target))
        if number is not None:
            row = {"port": number, "protocol": port.get("protocol", "TCP")}
            found.append({"name": port.get("name", ""), **row})
    return found


def _without_empty_name(port: Json) -> Json:
    """Endpoints leave an empty name out; EndpointSlices spell it, and clients rely on either."""
    return {key: value for key, value in port.items() if key != "name" or value}


def _named_port(pod: Json, name: str) -> int | None:
    if name.isdigit():
        return int(name)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == name:
                return int(port["containerPort"])
    return None


def _reference(pod: Json) -> Json:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def _host(service: Json, pod: Json) -> dict[str, str]:
    """The pod's DNS name below a headless service."""
    host = dig(pod, "spec", "hostname")
    return {"hostname": host} if host and dig(pod, "spec", "subdomain") == name_of(service) else {}


def _address(service: Json, pod: Json) -> Json:
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": dig(pod, "spec", "nodeName"),
        **_host(service, pod),
        "targetRef": _reference(pod),
    }


def _endpoint(service: Json, pod: Json) -> Json:
    ready, leaving = podset.is_ready(pod), is_deleting(pod)
    anyway = bool(dig(service, "spec", "publishNotReadyAddresses"))
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": anyway or (ready and not leaving), "serving": ready, "terminating": leaving},
        "nodeName": dig(pod, "spec", "nodeName"),
        **_host(service, pod),
        "targetRef": _reference(pod),
    }


def _lay_over(content: Json, obj: Json) -> None:
    obj.update(content)
