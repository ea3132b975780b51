"""Events live an hour: one timer takes away those whose time is over."""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.objects import dig, name_of, namespace_of
from drillbook.sandbox.control.store import Change

_SWEEP: Key = ("", "sweep")


class OldEvents(Controller):
    component = "event-ttl"

    def prime(self) -> list[Key]:
        self.store.listen("events", self._on_event)
        return [_SWEEP]

    def _on_event(self, change: Change) -> None:
        if change.type == "ADDED":
            self.enqueue_after(_SWEEP, self.registry.settings.event_ttl)

    def reconcile(self, namespace: str, name: str) -> float | None:
        kind, now = self.registry.kinds.of_resource("events"), clock.wall()
        left = []
        for event in list(self.store.objects("events")):
            last = event.get("lastTimestamp") or dig(event, "metadata", "creationTimestamp")
            rest = times.parse(last) + self.registry.settings.event_ttl - now
            if rest <= 0:
                self.registry.delete(kind, namespace_of(event), name_of(event))
            else:
                left.append(rest)
        return min(left, default=None)
