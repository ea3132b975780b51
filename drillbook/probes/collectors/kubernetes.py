"""Watches pods, workloads, endpoints, events, nodes and autoscalers, and writes down each change that is news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from drillbook.model.events import AnyEvent, Noted, ObjectChanged
from drillbook.probes.capacity import ENGINE_ROLES
from drillbook.probes.collectors import engines
from drillbook.probes.collectors.kinds import KINDS
from drillbook.probes.collectors.summaries import Json, summarise
from drillbook.targets import paths
from drillbook.targets.answers import ForbiddenError, NotFoundError
from drillbook.targets.target import Target
from drillbook.targets.watching import Change

CHANGES = {"PRESENT": "present", "ADDED": "added", "MODIFIED": "modified", "DELETED": "deleted"}
ROUTER = "router"
_WORKLOADS = ("Deployment", "StatefulSet", "Rollout")


class Watcher(Protocol):
    """The part of ``Kube`` that this needs."""

    def watch(self, path: str) -> AsyncIterator[Change]: ...


@dataclass
class KubernetesWatcher:
    """Follows the objects of one namespace until it is cancelled.

    Only what belongs to the deployment is kept (pods of a role, workloads that make such pods), and a change that
    leaves the summary as it was, such as a heartbeat, is not written down.
    """

    kube: Watcher
    target: Target
    emit: Callable[[AnyEvent], object]
    on_pod: Callable[[Json], object] = lambda _: None
    """Told each pod of a role as it is now."""
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first list of every kind has been told."""
    _awaited: set[str] = field(default_factory=lambda: set(KINDS))
    _seen: dict[str, tuple[str, Json]] = field(default_factory=dict)
    _urls: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    _nodes: dict[str, Json] = field(default_factory=dict)
    _hosts: set[str] = field(default_factory=set)

    def engines(self) -> dict[str, str]:
        """Base URL of each engine pod that runs now, by its name."""
        return {name: url for role, name, url in self._urls.values() if role != ROUTER}

    def routers(self) -> dict[str, str]:
        """Base URL of the metrics of each router pod that runs now, by its name."""
        return {name: url for role, name, url in self._urls.values() if role == ROUTER}

    async def follow(self, kind: str) -> None:
        """Watch one kind, in the newest version that the target serves.

        Raises what ``Kube.watch`` raises: refused, or never answered. What is not needed is done without.
        """
        watched = KINDS[kind]
        places = list(watched.places)
        while places:
            version, plural = places.pop(0)
            place = paths.collection(version, plural, self.target.namespace if watched.namespaced else "")
            try:
                async for change in self.kube.watch(place):
                    if change.type == "BOOKMARK":
                        self._told_all(kind)
                    else:
                        self.take(kind, change)
            except (NotFoundError, ForbiddenError) as error:
                if places and isinstance(error, NotFoundError):
                    continue
                if watched.needed:
                    raise
                self._told_all(kind)
                if not (watched.foreign and isinstance(error, NotFoundError)):
                    self.emit(Noted(actor="watch", text=f"not watched: {error.message}"))

    def _told_all(self, kind: str) -> None:
        """The first list of this kind is through, or there will be none."""
        self._awaited.discard(kind)
        if not self._awaited:
            self.listed.set()

    def take(self, kind: str, change: Change) -> None:
        """Write one change down, if it says something new."""
        meta = change.object["metadata"]
        uid = str(meta.get("uid", ""))
        role, before = self._seen.get(uid, ("", {}))
        role = self._role(kind, change.object) or role
        gone = change.type == "DELETED"
        summary = {**before, **_known(kind, change.object)} if gone else summarise(kind, change.object)
        if kind == "Pod":
            self._note_address(uid, role, change)
            if role and not gone:
                self._note_host(summary["node"])
                self.on_pod(change.object)
        if kind == "Node" and not self._is_host(change.object, change.type):
            return
        if (kind in ("Pod", *_WORKLOADS) and not role) or (kind == "Event" and change.type == "PRESENT"):
            return
        if gone:
            self._seen.pop(uid, None)
        elif uid in self._seen and before == summary:
            return
        else:
            self._seen[uid] = role, summary
        self.emit(
            ObjectChanged(
                change=CHANGES[change.type],
                kind=kind,
                name=str(meta.get("name", "")),
                uid=uid,
                role=role,
                resource_version=str(meta.get("resourceVersion", "")),
                summary=summary,
            )
        )

    def _is_host(self, node: Json, change: str) -> bool:
        """Whether a pod of the deployment is or was on it; of the others only the latest state is kept in mind."""
        name = str(node["metadata"]["name"])
        if change == "DELETED":
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        return name in self._hosts

    def _note_host(self, name: str) -> None:
        """A node counts from the first pod of the deployment on."""
        if name and name not in self._hosts:
            self._hosts.add(name)
            if name in self._nodes:
                self.take("Node", Change("PRESENT", self._nodes[name]))

    def _role(self, kind: str, obj: Json) -> str:
        """The role of a pod, or of the pods that a workload makes."""
        if kind == "Pod":
            return self.target.role_of(obj) if "spec" in obj else ""
        template: dict[str, Any] = (obj.get("spec") or {}).get("template") or {}
        if kind in _WORKLOADS and template.get("spec"):
            return self.target.role_of({"metadata": template.get("metadata") or {}, "spec": template["spec"]})
        return ""

    def _note_address(self, uid: str, role: str, change: Change) -> None:
        url = engines.base_url(change.object, self.target, role) if role in ENGINE_ROLES else None
        if role == ROUTER:
            url = engines.router_url(change.object, self.target)
        if url is None or change.type == "DELETED":
            self._urls.pop(uid, None)
        else:
            self._urls[uid] = role, str(change.object["metadata"]["name"]), url


def _known(kind: str, obj: Json) -> Json:
    """Of an object that went, the last state; a list that missed its end knows only its metadata."""
    return summarise(kind, obj) if "status" in obj or kind == "Event" else {}
