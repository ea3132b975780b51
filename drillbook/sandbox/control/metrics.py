"""What autoscalers can read: the measurements that the node agent writes as PodMetrics.

``containers[].usage`` feeds resource metrics, as metrics-server would. Beside it the sandbox reads a field of its own,
``custom``: a mapping of metric names to quantities, which stands for both ``custom.metrics.k8s.io`` (Pods metrics) and,
summed over pods, ``external.metrics.k8s.io``. Names match with ``:`` or ``_`` alike, as adapters rename them.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from drillbook.sandbox.control import quantity, selectors
from drillbook.sandbox.control.objects import Json, dig, labels_of, name_of, namespace_of
from drillbook.sandbox.control.store import Store

RESOURCE = "pods.metrics.k8s.io"


def _plain(name: str) -> str:
    return name.replace(":", "_")


def usage_of(store: Store, pod: Json, resource: str) -> Decimal | None:
    """What the pod's containers use of ``cpu`` or ``memory``; None where nobody measured."""
    entry = store.get(RESOURCE, namespace_of(pod), name_of(pod))
    if entry is None:
        return None
    found = [dig(row, "usage", resource) for row in entry.obj.get("containers") or []]
    known = [quantity.parse(value) for value in found if value is not None]
    return sum(known, Decimal(0)) if known else None


def custom_of(store: Store, pod: Json, metric: str) -> Decimal | None:
    """The pod's own value of a metric; None where it has none."""
    entry = store.get(RESOURCE, namespace_of(pod), name_of(pod))
    values = (entry.obj.get("custom") or {}) if entry is not None else {}
    return next((quantity.parse(value) for name, value in values.items() if _plain(name) == _plain(metric)), None)


def external(store: Store, namespace: str, metric: str, selector: Json | None) -> Decimal | None:
    """The sum over the namespace's pods that the selector takes; None where no pod has the metric."""
    test = selectors.of_selector(selector or {})
    pods: Iterable[Json] = (pod for pod in store.objects("pods", namespace) if test(labels_of(pod)))
    known = [value for pod in pods if (value := custom_of(store, pod, metric)) is not None]
    return sum(known, Decimal(0)) if known else None
