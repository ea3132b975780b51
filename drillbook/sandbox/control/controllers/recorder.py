"""Events: what controllers tell people. A repeated event counts up instead of being written again."""

from __future__ import annotations

import uuid
from collections import OrderedDict

from drillbook.sandbox.control import times
from drillbook.sandbox.control.objects import Json, dig, name_of, namespace_of, uid_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError

_REMEMBERED = 4096
_Sameness = tuple[str, str, str, str]


class Recorder:
    """Writes core/v1 Events."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kind = registry.kinds.of_resource("events")
        self._seen: OrderedDict[_Sameness, tuple[str, str]] = OrderedDict()

    def normal(self, about: Json, component: str, reason: str, message: str) -> None:
        self._record(about, component, "Normal", reason, message)

    def warning(self, about: Json, component: str, reason: str, message: str) -> None:
        self._record(about, component, "Warning", reason, message)

    def _record(self, about: Json, component: str, severity: str, reason: str, message: str) -> None:
        sameness = (uid_of(about), component, reason, message)
        known = self._seen.get(sameness)
        if known is not None and self._count_up(*known):
            self._seen.move_to_end(sameness)
            return
        namespace = namespace_of(about) or "default"
        now = times.stamp()
        event = {
            "metadata": {"name": f"{name_of(about)}.{uuid.uuid4().hex[:16]}"},
            "involvedObject": {
                "kind": about["kind"], "namespace": namespace_of(about), "name": name_of(about), "uid": uid_of(about),
                "apiVersion": about["apiVersion"], "resourceVersion": dig(about, "metadata", "resourceVersion"),
            },
            "reason": reason, "message": message, "type": severity, "source": {"component": component},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": None,
            "reportingComponent": component, "reportingInstance": "",
        }  # fmt: skip
        if not namespace_of(about):
            del event["involvedObject"]["namespace"]  # type: ignore[attr-defined]  # the literal above is a dict
        try:
            entry = self._registry.create(self._kind, namespace, event)
        except ApiError:
            return  # its namespace is going away, and nobody will read about it
        self._seen[sameness] = (namespace, name_of(entry.obj))
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _count_up(self, namespace: str, name: str) -> bool:
        if self._registry.find("events", namespace, name) is None:
            return False

        def change(event: Json) -> None:
            event["count"] = event.get("count", 1) + 1
            event["lastTimestamp"] = times.stamp()

        self._registry.modify(self._kind, namespace, name, change)
        return True
