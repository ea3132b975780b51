"""The arithmetic of a canary without a traffic router: which step stands, and how many replicas each side has. Pure.

The shape of the objects is that of Argo Rollouts (https://argo-rollouts.readthedocs.io/en/stable/features/canary/).
Here weights round up and nothing old goes before what is new is available: ``maxSurge`` and ``maxUnavailable`` of the
real one are not read.
"""

from __future__ import annotations

import math
import re

from drillbook.sandbox.control.controllers import bluegreen
from drillbook.sandbox.control.objects import Json, dig

HASH = "rollouts-pod-template-hash"
REVISION = "rollout.argoproj.io/revision"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def steps(rollout: Json) -> list[Json]:
    said = bluegreen.strategy(rollout)
    if said is not None:
        return bluegreen.steps(said)
    found: list[Json] = dig(rollout, "spec", "strategy", "canary", "steps", default=[])
    return found


def paused(rollout: Json) -> str:
    """Why a step waits for somebody, in Argo's word."""
    return "CanaryPauseStep" if bluegreen.strategy(rollout) is None else "BlueGreenPause"


def weight(rollout: Json, index: int) -> int:
    """Percent of the replicas that are new at step ``index``: the last ``setWeight`` up to it, all after the last."""
    rows = steps(rollout)
    if index >= len(rows):
        return 100
    return next((int(row["setWeight"]) for row in reversed(rows[: index + 1]) if "setWeight" in row), 0)


def size(wanted: int, percent: int) -> int:
    """How many of ``wanted`` replicas are new."""
    return math.ceil(wanted * percent / 100)


def mixed(wanted: int, percent: int, fresh: int) -> tuple[int, int]:
    """Replicas of the new and of the stable revision, of which ``fresh`` new ones are available."""
    new = size(wanted, percent)
    return new, max(wanted - new, wanted - min(fresh, new))


def leaving(wanted: int, available: int, present: int) -> int:
    """How many of ``present`` replicas that should go are still kept, while the stable ones come back."""
    return min(present, max(0, wanted - available))


def seconds(duration: object) -> float:
    """``30``, ``30s``, ``5m``. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([smh]?)", str(duration))
    if match is None:
        raise ValueError(f"{duration!r} is not a duration")
    return int(match[1]) * _UNITS[match[2]]
