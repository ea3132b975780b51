"""What is on each node: the scheduler's running account, so that a decision costs no walk over all pods."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal

from drillbook.sandbox.control.controllers import fit
from drillbook.sandbox.control.objects import Json, controller_of, dig, name_of, uid_of
from drillbook.sandbox.control.store import Change

_ENDED = ("Succeeded", "Failed")


def _occupies(pod: Json) -> str:
    """The node whose room the pod takes; empty where it takes none."""
    node = dig(pod, "spec", "nodeName", default="")
    return "" if dig(pod, "status", "phase") in _ENDED else str(node)


class Occupancy:
    """Pods, their requests and their owners, by node."""

    def __init__(self) -> None:
        self._pods: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self._used: defaultdict[str, fit.Amounts] = defaultdict(dict)
        self._siblings: Counter[tuple[str, str]] = Counter()
        self._shunning = 0
        self._room: dict[str, tuple[str, fit.Amounts]] = {}

    def pods_on(self, node: str) -> Iterable[Json]:
        return self._pods[node].values()

    def used_on(self, node: str) -> fit.Amounts:
        return self._used[node]

    def room_of(self, node: Json) -> fit.Amounts:
        """The node's allocatable amounts, parsed once per version of the node."""
        version = node["metadata"]["resourceVersion"]
        known = self._room.get(name_of(node))
        if known is None or known[0] != version:
            known = self._room[name_of(node)] = (version, fit.allocatable_of(node))
        return known[1]

    def siblings_on(self, node: str, pod: Json) -> int:
        """How many pods of the same controller are there: by default the scheduler spreads them."""
        owner = controller_of(pod)
        return 0 if owner is None else self._siblings[node, owner["uid"]]

    def has_shunning(self) -> bool:
        """Whether any placed pod keeps others away by anti-affinity."""
        return self._shunning > 0

    def follow(self, change: Change) -> None:
        before = change.previous.obj if change.previous is not None else None
        now = change.obj if change.type != "DELETED" else None
        if before is not None and now is not None and _occupies(before) == _occupies(now):
            if _occupies(now):
                self._pods[_occupies(now)][uid_of(now)] = now
            return
        if before is not None:
            self._count(before, -1)
        if now is not None:
            self._count(now, 1)

    def add(self, pod: Json) -> None:
        self._count(pod, 1)

    def _count(self, pod: Json, sign: int) -> None:
        node = _occupies(pod)
        if not node:
            return
        if sign > 0:
            self._pods[node][uid_of(pod)] = pod
        else:
            self._pods[node].pop(uid_of(pod), None)
        used = self._used[node]
        for name, amount in fit.requests_of(pod).items():
            used[name] = used.get(name, Decimal(0)) + sign * amount
        owner = controller_of(pod)
        if owner is not None:
            self._siblings[node, owner["uid"]] += sign
            if not self._siblings[node, owner["uid"]]:
                del self._siblings[node, owner["uid"]]
        self._shunning += sign * bool(dig(pod, "spec", "affinity", "podAntiAffinity"))
