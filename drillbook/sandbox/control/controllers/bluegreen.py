"""Blue/green as the steps of a canary that no user sees before it is promoted, and the delay of what was replaced.

The new revision gets all of its replicas beside the old ones, then the analysis, then the active Service; the old
replicas stay for a while, so that a way back is short. The shape of the objects is that of Argo Rollouts
(https://argo-rollouts.readthedocs.io/en/stable/features/bluegreen/).
"""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.objects import Json, annotations_of, dig

DEADLINE = "scale-down-deadline"
"""The annotation of a ReplicaSet that is on its way out: until when it stays."""
_DELAY = 30
"""``scaleDownDelaySeconds`` and ``abortScaleDownDelaySeconds``, unless said."""


def strategy(rollout: Json) -> Json | None:
    """None of a canary."""
    found: Json | None = dig(rollout, "spec", "strategy", "blueGreen")
    return found


def steps(said: Json) -> list[Json]:
    rows: list[Json] = [{"setWeight": 100}]
    if "prePromotionAnalysis" in said:
        rows.append({"analysis": said["prePromotionAnalysis"]})
    if said.get("autoPromotionEnabled", True) is False:
        rows.append({"pause": {}})
    return [*rows, {"promote": {}}]


def delay(said: Json, *, aborted: bool) -> int:
    """Seconds for which replicas stay that no user reaches any more."""
    return int(said.get("abortScaleDownDelaySeconds" if aborted else "scaleDownDelaySeconds", _DELAY))


def left(row: Json) -> float:
    """Seconds for which a ReplicaSet still stays; 0 where nothing keeps it."""
    until = annotations_of(row).get(DEADLINE)
    return max(0.0, times.parse(until) - clock.wall()) if until else 0.0
