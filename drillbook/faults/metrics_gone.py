"""metrics-gone: the metrics pipeline is away, and with it the eyes of autoscalers, dashboards and alerts.

On a cluster the Deployment behind the metrics API (found through its APIService) is scaled to zero, or one that is
named (a Prometheus); one in ``kube-system`` is never touched. In the sandbox the metrics of the target's namespace are
withheld.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import blast, fields, nodes, proof
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.model.experiment import Step
from drillbook.model.plan import Permission, PlannedFault
from drillbook.model.undo import ObjectRef, RestoreFields
from drillbook.sandbox.node.metrics import PERIOD, WITHHELD
from drillbook.targets import labels, paths
from drillbook.targets.answers import ApiError, UnavailableError
from drillbook.targets.kube import Json
from drillbook.targets.target import Target

APIS = {
    "resource": "v1beta1.metrics.k8s.io",
    "custom": "v1beta1.custom.metrics.k8s.io",
    "external": "v1beta1.external.metrics.k8s.io",
}
REGISTRATION = "/apis/apiregistration.k8s.io/v1/apiservices"
GROUPS = "/apis"


class MetricsGoneStep(Step):
    """Take the metrics pipeline away."""

    fault: Literal["metrics-gone"]
    api: Literal["resource", "custom", "external"] = "resource"
    """Whose pipeline: metrics-server's, an adapter's custom metrics, or external ones (KEDA)."""
    workload: str | None = Field(default=None, pattern=r"^[a-z0-9-]+/[a-z0-9.-]+$")
    """A Deployment as NAMESPACE/NAME instead of what serves the API: ``monitoring/prometheus-server``."""


class MetricsGone:
    """See the module."""

    name = "metrics-gone"
    summary = "take the metrics pipeline away (scale its Deployment to zero); undone by bringing it back"
    step = MetricsGoneStep

    async def plan(self, step: MetricsGoneStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        if target.simulated:
            ref = await _namespace(target)
            words = f"withhold the metrics of namespace {target.namespace}"
        else:
            ref = await _deployment(step, target)
            words = f"scale {ref.namespace}/{ref.name} to zero: {step.workload or APIS[step.api]} is away"
        now = await target.kube.get(paths.of(ref))
        undo = _undo(ref, now)
        if not undo.fields:
            raise PreflightError(f"step {index} (metrics-gone): {ref} gives no metrics already")
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=words,
            targets=(ref,),
            calls=(fields.call(undo, now, "no metrics"),),
            undo=(undo,),
            undo_summary=f"{ref} as before",
            radius=nodes.UNTOUCHED,
            permissions=(*fields.permissions(ref), *(() if target.simulated else _to_find(step))),
            # The sandbox's autoscalers read their own metrics off what its metrics API tells of each pod.
            options={"api": "" if step.workload else APIS["resource" if target.simulated else step.api]},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        undo = _undo(ref, now)
        if not undo.fields:
            raise RefusedError(f"{ref} gave no metrics already before the fault")
        api = str(planned.options["api"])
        if api and (before := await _silent(api, target)).bit:
            raise RefusedError(f"there was nothing to take away: {before.detail}")
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{planned.summary}{doubt}", undo=(undo,))

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (ref,) = planned.targets
        api = str(planned.options["api"])

        async def look() -> Bite:
            if api:
                return await _silent(api, target)
            there = (await target.kube.get(paths.of(ref))).get("status", {}).get("replicas", 0)
            return Bite(there == 0, f"{ref} has {there} pods")

        return await proof.until(look, seconds + (2 * PERIOD if target.simulated else 0.0))


async def _silent(api: str, target: Target) -> Bite:
    """Whether the metrics API gives nothing of the target."""
    version, _, group = api.partition(".")
    place = f"{GROUPS}/{group}/{version}"
    resource = group == "metrics.k8s.io"
    try:
        answer = await target.kube.get(f"{place}/namespaces/{target.namespace}/pods" if resource else place)
    except (UnavailableError, ApiError) as error:
        return Bite(True, f"the API {group} does not answer: {error}")
    count = len(answer.get("items") or [])
    return Bite(resource and not count, f"the API {group} tells of {count} pods" if resource else f"{group} answers")


async def _namespace(target: Target) -> ObjectRef:
    found = await target.kube.get(f"/api/v1/namespaces/{target.namespace}")
    return paths.ref(found, "namespaces", api_version="v1", kind="Namespace")


async def _deployment(step: MetricsGoneStep, target: Target) -> ObjectRef:
    """What serves the metrics.

    :raises UnsupportedError: nothing that may be touched does.
    """
    if step.workload:
        namespace, _, name = step.workload.partition("/")
        _spare(namespace, step.workload)
        found = await target.kube.find(f"{paths.collection('apps/v1', 'deployments', namespace)}/{name}")
        if found is None:
            raise PreflightError(f"there is no Deployment {step.workload}")
        return paths.ref(found, "deployments", api_version="apps/v1", kind="Deployment")
    service = ((await target.kube.find(f"{REGISTRATION}/{APIS[step.api]}")) or {}).get("spec", {}).get("service")
    if not service:
        raise UnsupportedError(
            f"nothing serves {APIS[step.api]} here", hint="say which Deployment: workload: NAMESPACE/NAME"
        )
    _spare(service["namespace"], APIS[step.api])
    place = paths.collection("v1", "services", service["namespace"])
    wanted = (await target.kube.get(f"{place}/{service['name']}"))["spec"].get("selector") or {}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    for found in await target.kube.list(paths.collection("apps/v1", "deployments", service["namespace"])):
        if wanted and labels.matches(selector, found["spec"]["template"]["metadata"].get("labels") or {}):
            return paths.ref(found, "deployments", api_version="apps/v1", kind="Deployment")
    raise UnsupportedError(f"no Deployment stands behind the Service {service['namespace']}/{service['name']}")


def _spare(namespace: str, what: str) -> None:
    if namespace in blast.PROTECTED:
        raise UnsupportedError(
            f"{what} is served from {namespace}, which is protected: the cluster itself runs there",
            hint="metrics-gone reaches adapters and Prometheus in namespaces of their own",
        )


def _undo(ref: ObjectRef, now: Json) -> RestoreFields:
    if ref.kind == "Namespace":
        return fields.undo(ref, now, {("metadata", "annotations", WITHHELD): "withheld"})
    return fields.undo(ref, now, {("spec", "replicas"): 0})


def _to_find(step: MetricsGoneStep) -> tuple[Permission, ...]:
    if step.workload:
        return ()
    return (Permission(verb="get", group="apiregistration.k8s.io", resource="apiservices", namespace="*"),)


FAULT: Fault = MetricsGone()
